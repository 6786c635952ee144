# What `cmake --install` puts where: the program, its man page, its completions and the example models. The texts are written by the program
# itself, from the tables of its commands; a cross build, which cannot run it, installs the program alone.
install(TARGETS dltrain RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(NOT CMAKE_CROSSCOMPILING)
  set(DLT_TEXTS ${CMAKE_BINARY_DIR}/texts)
  file(MAKE_DIRECTORY ${DLT_TEXTS})
  add_custom_command(
    OUTPUT ${DLT_TEXTS}/dltrain.1 ${DLT_TEXTS}/dltrain.bash ${DLT_TEXTS}/_dltrain ${DLT_TEXTS}/dltrain.fish
           ${DLT_TEXTS}/dltrain.schema.json
    COMMAND dltrain man > ${DLT_TEXTS}/dltrain.1
    COMMAND dltrain completion bash > ${DLT_TEXTS}/dltrain.bash
    COMMAND dltrain completion zsh > ${DLT_TEXTS}/_dltrain
    COMMAND dltrain completion fish > ${DLT_TEXTS}/dltrain.fish
    COMMAND dltrain schema --output ${DLT_TEXTS}/dltrain.schema.json
    DEPENDS dltrain
    VERBATIM)
  add_custom_target(dltrain_texts ALL DEPENDS ${DLT_TEXTS}/dltrain.1)
  install(FILES ${DLT_TEXTS}/dltrain.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${DLT_TEXTS}/dltrain.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME dltrain)
  install(FILES ${DLT_TEXTS}/_dltrain DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${DLT_TEXTS}/dltrain.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  install(FILES ${DLT_TEXTS}/dltrain.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/dltrain)
endif()
install(DIRECTORY ${CMAKE_SOURCE_DIR}/configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/dltrain/configs
  PATTERN runs EXCLUDE)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
