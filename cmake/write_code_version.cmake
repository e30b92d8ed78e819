# Writes OUTPUT, the source of CodeVersion() (train/loop/code_version.h), where it differs from what is there.
# Called at every build: cmake -D SOURCE=… -D OUTPUT=… -D VERSION=… -P cmake/write_code_version.cmake
execute_process(
  COMMAND git -C ${SOURCE} describe --always --dirty
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
set(code ${VERSION})
if(NOT failed AND commit)
  string(APPEND code "+" ${commit})
endif()
set(text "// Written by cmake/write_code_version.cmake.
#include \"train/loop/code_version.h\"

namespace bisparse::train {

const char* CodeVersion() { return \"${code}\"; }

}  // namespace bisparse::train
")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE ${OUTPUT} "${text}")
endif()
