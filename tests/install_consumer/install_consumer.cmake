# cmake -D … -P install_consumer.cmake: every step must succeed, installed programs must start, all consumers must print
# the same logits, and the installed library must not reach LibTorch, OpenMP or a BLAS.
include(${CMAKE_CURRENT_LIST_DIR}/package_checks.cmake)
file(REMOVE_RECURSE ${WORK_DIR})
set(prefix ${WORK_DIR}/prefix)
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix})
file(GLOB programs ${prefix}/bin/bisparse-*)  # those that were built
foreach(program IN LISTS programs)
  run(${program} --version)
endforeach()
set(kind static)
if(EXISTS ${prefix}/${LIBDIR}/libbisparse.so)
  set(kind shared)
endif()

set(strict -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Werror)  # of headers too
list(JOIN strict " " strict_flags)
consumer(find ${prefix} ${CXX} -D CMAKE_BUILD_TYPE=Release)
# An older standard is raised, and hidden visibility hides nothing of the library.
consumer(find_17 ${prefix} ${CXX} -D CMAKE_CXX_STANDARD=17 -D CMAKE_CXX_VISIBILITY_PRESET=hidden
         -D CMAKE_CXX_FLAGS=${strict_flags} -D CMAKE_NO_SYSTEM_FROM_IMPORTED=ON)
pkg_config_consumer(pkg ${prefix} ${CXX} ${kind})
pkg_config_consumer(pkg_17 ${prefix} ${CXX} ${kind} -std=c++17 -fvisibility=hidden ${strict})
if(CLANGXX)
  consumer(find_clang ${prefix} ${CLANGXX})
  pkg_config_consumer(pkg_clang ${prefix} ${CLANGXX} ${kind} -fvisibility=hidden ${strict})
endif()
c_consumer(c ${prefix} ${kind})
file(WRITE ${WORK_DIR}/use.cc "#include <bisparse/engine.h>\n")
refused("bisparse needs C++20" ${CXX} -std=c++17 -fsyntax-only -I${prefix}/include ${WORK_DIR}/use.cc)
refused("C programs include bisparse/bisparse.h" ${CXX} -x c -fsyntax-only -I${prefix}/include ${WORK_DIR}/use.cc)

if(kind STREQUAL "static")
  return()
endif()
check_exports(${prefix}/${LIBDIR}/libbisparse.so)
if(NOT EXISTS ${prefix}/${LIBDIR}/libbisparse.so.0)
  message(FATAL_ERROR "programs look for libbisparse.so.0, which is not installed")
endif()
# The header is C++ of any standard, too.
file(WRITE ${WORK_DIR}/use_c.cc "#include <bisparse/bisparse.h>\n")
run(${CXX} -std=c++11 ${strict} -fsyntax-only -I${prefix}/include ${WORK_DIR}/use_c.cc)
file(WRITE ${WORK_DIR}/use_both.cc "#include <bisparse/bisparse.h>\n#include <bisparse/engine.h>\n")
refused("bisparse needs C++20" ${CXX} -std=c++17 -fsyntax-only -I${prefix}/include ${WORK_DIR}/use_both.cc)

# Two versions in one process, in either order, the host having functions of its own with the names of dependencies'.
# Only the public headers differ, so that the other version is quick to make.
set(other ${WORK_DIR}/other)
file(COPY ${prefix}/include/bisparse DESTINATION ${other})
file(READ ${other}/bisparse/version.h header)
string(REGEX REPLACE "(VERSION_MINOR) [0-9]+" "\\1 99" header "${header}")
file(WRITE ${other}/bisparse/version.h "${header}")
set(library -shared -fPIC -std=c++20)
run(${CXX} ${library} ${here}/plugins/other_version.cc -I${other} -o ${other}/libbisparse_other.so)
run(${CXX} ${library} ${here}/plugins/plugin.cc -I${other} -o ${WORK_DIR}/plugin_other.so -L${other} -lbisparse_other
    -Wl,-rpath,${other})
run(${CXX} ${library} ${here}/plugins/plugin.cc -I${prefix}/include -o ${WORK_DIR}/plugin_this.so
    -L${prefix}/${LIBDIR} -lbisparse -Wl,-rpath,${prefix}/${LIBDIR})
run(${CXX} -std=c++20 -fvisibility=hidden -rdynamic ${here}/plugins/host.cc -I${prefix}/include -o ${WORK_DIR}/host -ldl)
run(${WORK_DIR}/host ${model} ${WORK_DIR}/plugin_this.so)
set(this "${output}")
set(expected "42 takes anything\n")
if(NOT this MATCHES "^-?[0-9.e+-]+ throws Error 1\n$" OR this MATCHES "^42")
  message(FATAL_ERROR "the plug-in alone printed '${this}'")
endif()
run(${WORK_DIR}/host ${model} ${WORK_DIR}/plugin_this.so ${WORK_DIR}/plugin_other.so)
if(NOT output STREQUAL "${this}${expected}")
  message(FATAL_ERROR "with another version after it the plug-ins printed '${output}'")
endif()
run(${WORK_DIR}/host ${model} ${WORK_DIR}/plugin_other.so ${WORK_DIR}/plugin_this.so)
if(NOT output STREQUAL "${expected}${this}")
  message(FATAL_ERROR "with another version before it the plug-ins printed '${output}'")
endif()
