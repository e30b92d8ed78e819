// SPDX-License-Identifier: Apache-2.0
// Plans and lists for the training kernels, made once when a layer's owners are fixed. Weights keep the packed order.
// Read first: winners_training_f32.h, dense_training_f32.h. Tested in: training_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_TRAINING_TRAINING_PREPARE_H_
#define BISPARSE_DEPLOY_OPS_TRAINING_TRAINING_PREPARE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "bisparse/shape.h"
#include "deploy/ops/shared/packed_lists.h"
#include "deploy/ops/training/dense_training_f32.h"
#include "deploy/ops/training/winners_training_f32.h"
#include "deploy/packed/layout.h"
#include "deploy/packed/model.h"

namespace bisparse::kernels {

/// Of one layer. Moving it keeps the plans' pointers valid.
struct PreparedTraining {
  WinnersTrainingPlan winners;
  /// rows, columns and distances are those of one map; of a linear layer (a map of one position) columns are the samples of
  /// a batch, which the caller counts. x is the map between its zeros, padded_h × padded_w.
  DenseTrainingF32Args dense;
  int32_t padded_h = 1, padded_w = 1;

  std::vector<int32_t> block_pn;
  std::vector<TapReach> reach;
  std::vector<PositionReach> reach_q;
  std::vector<int32_t> order_q;
  PackedLists lists;  ///< begin_b, input_e (into the padded map), weight_e
};

/// A linear layer: the default window, and maps of one position. Throws Error (kInternal) where sizes exceed 31 bits.
PreparedTraining PrepareTraining(const packed::Layout& layout, const packed::Window& window,
                                 const Shape& input, const Shape& output,
                                 std::span<const uint8_t> owner_nr);

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_TRAINING_TRAINING_PREPARE_H_
