// SPDX-License-Identifier: Apache-2.0
// YAML → Config. Everything that is wrong is told at once, before any training starts, each fault
// with file, line and column; see faults.h for the form. Read first: config.h, schema.h. Tested in:
// load_test.cc; fuzzed by tests/fuzz/fuzz_config.cc.
#ifndef BISPARSE_TRAIN_CONFIG_LOAD_H_
#define BISPARSE_TRAIN_CONFIG_LOAD_H_

#include <string>
#include <vector>

#include "train/config/config.h"

namespace bisparse::train {

/// Reads the file, applies overrides ("train.epochs=3", in order), fills defaults, infers shapes,
/// checks. Throws Error: kData if the file can't be read, else kConfiguration with every fault, a
/// line each.
Config LoadConfig(const std::string& path, const std::vector<std::string>& overrides = {});

/// The same from text; `path` names it in messages and gives the default name.
Config ParseConfig(const std::string& text, const std::string& path,
                   const std::vector<std::string>& overrides = {});

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_LOAD_H_
