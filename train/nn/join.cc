// SPDX-License-Identifier: Apache-2.0
// Read first: join.h. Tested in: operators_test.cc.
#include "train/nn/join.h"

#include <algorithm>
#include <vector>

#include "train/nn/shapes.h"

namespace bisparse::train {
namespace {

std::vector<torch::Tensor> Alike(Inputs x) {
  std::vector<torch::Tensor> alike(x.begin(), x.end());
  if (std::any_of(x.begin(), x.end(), [](const torch::Tensor& each) { return each.dim() == 4; })) {
    std::transform(x.begin(), x.end(), alike.begin(), Map);
  }
  return alike;
}

}  // namespace

torch::Tensor AddUp(const LayerConfig&, Inputs x, bool) {
  const std::vector<torch::Tensor> alike = Alike(x);
  torch::Tensor y = alike[0];
  for (size_t i = 1; i < alike.size(); ++i) y = y + alike[i];
  return y;
}

torch::Tensor Multiply(const LayerConfig&, Inputs x, bool) {
  const std::vector<torch::Tensor> alike = Alike(x);
  torch::Tensor y = alike[0];
  for (size_t i = 1; i < alike.size(); ++i) y = y * alike[i];
  return y;
}

torch::Tensor Concat(const LayerConfig&, Inputs x, bool) { return torch::cat(Alike(x), 1); }

}  // namespace bisparse::train
