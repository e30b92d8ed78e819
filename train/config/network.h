// SPDX-License-Identifier: Apache-2.0
// What follows from a configuration: the shape of every map, and whether all sizes fit together.
// Read first: config.h. Tested in: network_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_NETWORK_H_
#define BISPARSE_TRAIN_CONFIG_NETWORK_H_

#include <optional>
#include <string>
#include <vector>

#include "deploy/packed/model.h"
#include "train/config/config.h"
#include "train/config/faults.h"

namespace bisparse::train {

/// Names of the outputs where the configuration tells them (speech with `words`, npy with
/// `class_names`), else empty: then only the data set knows.
std::vector<std::string> ClassNames(const data::DatasetConfig& data);

/// Fills inputs, input, output and kernel of every layer, class_count and `units: classes`. What can't
/// be goes to `faults`; layers that read one of unknown shape are left out. `faults` may hold faults
/// already: those layers are not told again.
void InferShapes(Config& config, Faults& faults);

/// The same for a Config made by hand: throws Error (kConfiguration) with every fault.
void InferShapes(Config& config);

/// What the model file could not hold, and what the layers could not learn from such batches.
void CheckDeployed(const Config& config, Faults& faults);

/// Settings that contradict each other outside the network: front end, augmentation, optimiser.
void CheckSettings(const Config& config, Faults& faults);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_NETWORK_H_
