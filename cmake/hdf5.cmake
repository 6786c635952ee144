# libhdf5 as target dltrain_hdf5. Its archive is taken where there is one that links: Debian's shared library brings libcurl,
# OpenSSL, LDAP and Kerberos along (for an S3 driver that we never use), which takes 3.6 ms at each start of the program and of
# the child that reads foreign files (io/h5), and is more code in that child than anything else.
option(DLT_HDF5_STATIC "link the archive of libhdf5 where there is one" ON)
pkg_check_modules(HDF5 REQUIRED IMPORTED_TARGET hdf5-serial)
add_library(dltrain_hdf5 INTERFACE)
if(DLT_HDF5_STATIC)
  find_library(DLT_HDF5_ARCHIVE NAMES libhdf5_serial.a libhdf5.a HINTS ${HDF5_LIBRARY_DIRS})
  find_library(DLT_SZIP_LIBRARY NAMES sz)
  if(DLT_HDF5_ARCHIVE AND DLT_SZIP_LIBRARY)
    include(CheckCSourceCompiles)
    set(CMAKE_REQUIRED_INCLUDES ${HDF5_INCLUDE_DIRS})
    set(CMAKE_REQUIRED_LIBRARIES ${DLT_HDF5_ARCHIVE} ${DLT_SZIP_LIBRARY} ZLIB::ZLIB Threads::Threads m ${CMAKE_DL_LIBS})
    check_c_source_compiles("#include <hdf5.h>\nint main(void) { return H5open() < 0; }" DLT_HDF5_ARCHIVE_LINKS)
    unset(CMAKE_REQUIRED_INCLUDES)
    unset(CMAKE_REQUIRED_LIBRARIES)
  endif()
endif()
if(DLT_HDF5_ARCHIVE_LINKS)
  target_include_directories(dltrain_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
  target_link_libraries(dltrain_hdf5 INTERFACE ${DLT_HDF5_ARCHIVE} ${DLT_SZIP_LIBRARY} ZLIB::ZLIB Threads::Threads m
    ${CMAKE_DL_LIBS})
  # io/h5/h5_memory.c stands between libhdf5 and the C library, for libhdf5 does not bear that memory is refused
  target_link_options(dltrain_hdf5 INTERFACE
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free,--wrap=strdup)
  target_compile_definitions(dltrain_hdf5 INTERFACE DLT_H5_WRAPPED)
else()
  target_link_libraries(dltrain_hdf5 INTERFACE PkgConfig::HDF5)
endif()
