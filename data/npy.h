// SPDX-License-Identifier: Apache-2.0
// A classification data set in .npy files as a Dataset; nothing in it is about speech.
//   x: N×D → 1×1×D, N×H×W → H×W×1, N×C×H×W (or N×H×W×C) → H×W×C; any type of numbers. Bytes stay
//      bytes in memory, the rest becomes f32.
//      Training samples of bytes with a height and width are changed as DatasetConfig::pixel_augment says.
//   y: N labels from 0, whole numbers of any type
// Read first: dataset.h, npy_file.h. Tested in: npy_test.cc.
#ifndef BISPARSE_DATA_NPY_H_
#define BISPARSE_DATA_NPY_H_

#include <memory>

#include "data/dataset.h"

namespace bisparse::data {

std::unique_ptr<Dataset> OpenNpy(const DatasetConfig& config, const OpenOptions& options);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_NPY_H_
