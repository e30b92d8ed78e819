// SPDX-License-Identifier: Apache-2.0
// Which layers of a run train by the packed kernels: train.kernels, and what was timed for `auto`. A run keeps its choice in
// log/kernels.json, so that it resumes with the same bits; processes that train together take their leader's.
// Read first: train/nn/ways.h. Tested in: loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_KERNEL_CHOICE_H_
#define BISPARSE_TRAIN_LOOP_KERNEL_CHOICE_H_

#include <cstdio>
#include <string>
#include <vector>

#include "train/config/config.h"
#include "train/nn/ways.h"
#include "train/parallel/process_group.h"

namespace bisparse::train {

/// The ways of the layers that have two. `path`: the file of the choice. It is read where `resumes` and it is there, else
/// written by the leader. progress: what was chosen and why is printed there; null: nothing is. Throws Error (kData) if the
/// file is not as it was written.
std::vector<LayerWay> ChooseKernels(const Config& config, const std::string& path, bool resumes,
                                    const ProcessGroup* group, std::FILE* progress);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_KERNEL_CHOICE_H_
