// SPDX-License-Identifier: Apache-2.0
// Walks the schema over a YAML tree: values go into the Config, whatever does not fit into the
// Faults. Read first: schema.h, yaml_tree.h. Tested in: load_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_READER_H_
#define BISPARSE_TRAIN_CONFIG_READER_H_

#include "train/config/config.h"
#include "train/config/faults.h"
#include "train/config/yaml_tree.h"

namespace bisparse::train {

/// Begins the name that stands for a layer of no known kind.
inline constexpr char kUnknownLayer = '?';

/// Keys that are not given keep what `config` holds. Names of layers are complete and unique
/// afterwards; shapes are not inferred yet. A layer's keys are known to `faults` as "<layer's
/// name>.<key>".
void ReadConfig(const YamlNode& root, Config& config, Faults& faults);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_READER_H_
