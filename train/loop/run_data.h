// SPDX-License-Identifier: Apache-2.0
// What a run is trained on, kept in its folder as data.json. It has the names of the classes as the data set has them:
// the configuration need not list any. It has what tells these samples from others, so that a run is not resumed with
// other data. Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_RUN_DATA_H_
#define BISPARSE_TRAIN_LOOP_RUN_DATA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace bisparse::train {

struct RunData {
  struct Samples {
    int64_t count = 0;
    uint64_t fingerprint = 0;  ///< data::Dataset::Fingerprint
  };
  std::vector<std::string> class_names;
  Samples train, validation;
  std::vector<float> mean_c, deviation_c;  ///< of pictures, as PictureInput has them; empty: others
};

/// Throws Error (kData) for a class whose name is not UTF-8: neither the model file nor JSON takes
/// it.
RunData DescribeData(const data::Dataset& dataset);

std::string PrintRunData(const RunData& data);

/// Empty where there is no such file: a run of an older version. Throws Error (kData) for one that
/// is damaged.
std::optional<RunData> ReadRunData(const std::string& path);

/// In what the samples differ, a line each; empty: nothing.
std::vector<std::string> DifferingData(const RunData& run, const RunData& now);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_RUN_DATA_H_
