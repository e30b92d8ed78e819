// SPDX-License-Identifier: Apache-2.0
// Config → text: YAML with every default, and the reference of all keys. Both walk the schema.
// Read first: schema.h. Tested in: print_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_PRINT_H_
#define BISPARSE_TRAIN_CONFIG_PRINT_H_

#include <string>

#include "train/config/config.h"

namespace bisparse::train {

/// YAML that ParseConfig reads back to the same settings.
std::string PrintConfig(const Config& config);

/// A text as YAML: plain where no reader could take it for anything but text, else in double quotes.
/// Words such as no and off are text to this project, but not to others that may read the file.
std::string QuotedYaml(const std::string& text);

/// docs/configuration.md: each key with default, allowed values and meaning.
std::string DocumentSchema();

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_PRINT_H_
