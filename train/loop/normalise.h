// SPDX-License-Identifier: Apache-2.0
// data.normalise: column. Of each channel of the input (of a table each column), over all training
// samples and places:
//   scale = 1 / deviation, shift = −mean / deviation
// so that x·scale + shift has mean 0 and deviation 1. A channel that never changes becomes 0.
// Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_NORMALISE_H_
#define BISPARSE_TRAIN_LOOP_NORMALISE_H_

#include "data/dataset.h"
#include "train/config/assemble.h"

namespace bisparse::train {

Affine ColumnNormalisation(const data::Dataset& dataset);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_NORMALISE_H_
