# Flags for every target. No -ffast-math: it deletes NaN tests. Contraction is off so that results do not depend on what the
# compiler happens to fuse; kernels ask for fma by name (decisions 19).
add_compile_options(
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
  -fvisibility=hidden -ffp-contract=off -fno-math-errno)
add_compile_definitions(_POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
if(DLT_WERROR)
  add_compile_options(-Werror)
endif()
if(NOT DLT_SANITIZE STREQUAL "OFF")
  add_compile_options(-UNDEBUG)
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" OR CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-fstack-protector-strong)
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
if(DLT_SANITIZE STREQUAL "asan")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(DLT_SANITIZE STREQUAL "tsan")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
endif()
