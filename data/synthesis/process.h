// SPDX-License-Identifier: Apache-2.0
// Runs a synthesiser's program. Tested in: phonemes_test.cc, synthesise_test.cc.
#ifndef BISPARSE_DATA_SYNTHESIS_PROCESS_H_
#define BISPARSE_DATA_SYNTHESIS_PROCESS_H_

#include <string>
#include <vector>

namespace bisparse::data {

/// Runs arguments[0], found on the PATH; its stdout goes to the file `out`, its stderr nowhere. Its exit status. Throws
/// Error (kData) where there is no such program, with the way to install the Debian package of that name.
int RunProcess(const std::vector<std::string>& arguments, const std::string& out = "/dev/null");

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_SYNTHESIS_PROCESS_H_
