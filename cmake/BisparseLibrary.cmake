# bisparse_library(name SOURCES … [LINK …] [PRIVATE_LINK …] [TESTS …] [TEST_SHARDS n] [TEST_LINK …] [BENCHMARKS …])
# makes the static library bisparse_<name>, its alias bisparse::<name>, its warnings, one test program
# <name>_test from TESTS and, with BISPARSE_BENCHMARKS, one <name>_bench from BENCHMARKS.
# LINK is what a user of the library's headers needs too; PRIVATE_LINK is not.
# ctest runs each test in a process of its own, or with TEST_SHARDS all of them in n processes: a program with LibTorch
# takes two seconds to start.

function(bisparse_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wnon-virtual-dtor
                                           -Wno-missing-field-initializers)
  if(BISPARSE_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(BISPARSE_SANITIZE)
    # g++ 12 takes what AddressSanitizer inserts for uses of uninitialised memory (GCC bug 105562).
    target_compile_options(${target} PRIVATE -fsanitize=${BISPARSE_SANITIZE} -fno-omit-frame-pointer
                                             -fno-sanitize-recover=all -Wno-maybe-uninitialized)
    target_link_options(${target} PRIVATE -fsanitize=${BISPARSE_SANITIZE})
  endif()
  if(BISPARSE_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

function(bisparse_library name)
  cmake_parse_arguments(ARG "" "TEST_SHARDS" "SOURCES;LINK;PRIVATE_LINK;TESTS;TEST_LINK;BENCHMARKS" ${ARGN})
  set(target bisparse_${name})
  add_library(${target} STATIC ${ARG_SOURCES})
  add_library(bisparse::${name} ALIAS ${target})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                              $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/deploy/include>)
  target_link_libraries(${target} PUBLIC ${ARG_LINK} PRIVATE ${ARG_PRIVATE_LINK})
  bisparse_options(${target})
  if(BISPARSE_TESTS AND ARG_TESTS)
    add_executable(${name}_test ${ARG_TESTS})
    target_link_libraries(${name}_test PRIVATE ${target} ${ARG_PRIVATE_LINK} ${ARG_TEST_LINK}
                                               GTest::gmock bisparse::test_main)
    target_compile_definitions(${name}_test PRIVATE
                               BISPARSE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    bisparse_options(${name}_test)
    if(ARG_TEST_SHARDS)
      foreach(shard RANGE 1 ${ARG_TEST_SHARDS})
        math(EXPR index "${shard} - 1")
        add_test(NAME ${name}_test_${shard}_of_${ARG_TEST_SHARDS} COMMAND ${name}_test)
        set_tests_properties(${name}_test_${shard}_of_${ARG_TEST_SHARDS} PROPERTIES LABELS ${name} TIMEOUT 600
          ENVIRONMENT "GTEST_TOTAL_SHARDS=${ARG_TEST_SHARDS};GTEST_SHARD_INDEX=${index}")
      endforeach()
    else()
      gtest_discover_tests(${name}_test PROPERTIES LABELS ${name} DISCOVERY_TIMEOUT 60)
    endif()
  endif()
  if(BISPARSE_BENCHMARKS AND ARG_BENCHMARKS)
    add_executable(${name}_bench ${ARG_BENCHMARKS})
    target_link_libraries(${name}_bench PRIVATE ${target} ${ARG_PRIVATE_LINK}
                                                benchmark::benchmark_main)
    bisparse_options(${name}_bench)
  endif()
endfunction()

# bisparse_program(name SOURCES … LINK …): a program in bin/, part of the target `programs`; installed where it was built.
# A project that contains this one may have `programs` of its own.
set(bisparse_programs programs)
if(NOT PROJECT_IS_TOP_LEVEL)
  set(bisparse_programs bisparse_programs)
endif()
if(NOT TARGET ${bisparse_programs})
  add_custom_target(${bisparse_programs})
endif()
function(bisparse_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  bisparse_options(${name})
  add_dependencies(${bisparse_programs} ${name})
  if(BISPARSE_INSTALL)
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs OPTIONAL)
  endif()
endfunction()
