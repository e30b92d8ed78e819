// SPDX-License-Identifier: Apache-2.0
// Read first: pool.h. Tested in: network_test.cc.
#include "train/nn/pool.h"

#include "train/nn/shapes.h"

namespace bisparse::train {

torch::Tensor MaxPool(const LayerConfig& layer, Inputs x, bool) {
  const packed::Window& w = layer.window;
  return torch::max_pool2d(Map(x[0]), {w.kernel_h, w.kernel_w}, {w.stride_h, w.stride_w},
                           {w.pad_h, w.pad_w});
}

torch::Tensor AvgPool(const LayerConfig& layer, Inputs x, bool) {
  const packed::Window& w = layer.window;
  return torch::avg_pool2d(Map(x[0]), {w.kernel_h, w.kernel_w}, {w.stride_h, w.stride_w},
                           {w.pad_h, w.pad_w}, /*ceil_mode=*/false, /*count_include_pad=*/false);
}

}  // namespace bisparse::train
