// SPDX-License-Identifier: Apache-2.0
// The version of the code that trains, for the run's summary. Written at every build by
// cmake/write_code_version.cmake. Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_CODE_VERSION_H_
#define BISPARSE_TRAIN_LOOP_CODE_VERSION_H_

namespace bisparse::train {

/// "0.1.0+aebaa2f": the project's version and git's commit, with -dirty where files were changed;
/// "0.1.0" outside of git.
const char* CodeVersion();

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_CODE_VERSION_H_
