// SPDX-License-Identifier: Apache-2.0
// Layers with owners; see packed_weight.h. Tested in: sparse_test.cc.
#include "train/sparse/packed_weight.h"

#include <cmath>
#include <cstring>

#include "deploy/base/check.h"
#include "train/config/static_owners.h"

namespace bisparse::train {

torch::Tensor MaskFromOwners(const packed::Layout& layout, std::span<const uint8_t> owner_nr) {
  const int64_t outputs = layout.shape.outputs;
  torch::Tensor mask_op = torch::ones({outputs, layout.positions});
  if (layout.packing.set_size == 1) return mask_op;
  BISPARSE_CHECK(static_cast<int64_t>(owner_nr.size()) == layout.owners());
  float* mask = mask_op.data_ptr<float>();
  for (int64_t p = 0; p < layout.positions; ++p) {
    const int64_t run = layout.RunOf(p);
    for (int64_t o = 0; o < outputs; ++o) {
      const int64_t block = o / layout.packing.lanes;  // n·S + s
      const int64_t n = block / layout.packing.set_size, s = block % layout.packing.set_size;
      mask[o * layout.positions + p] = owner_nr[n * layout.runs + run] == s ? 1.0f : 0.0f;
    }
  }
  return mask_op;
}

PackedWeightImpl::PackedWeightImpl(const LayerConfig& config, uint64_t seed)
    : convolution_(config.IsConvolution()),
      groups_(config.kind == LayerKind::kDepthwiseConv2d ? config.kernel.outputs : 1),
      window_(config.window),
      layout_(config.kernel, config.packing.layout) {
  const packed::KernelShape& kernel = config.kernel;
  const std::vector<int64_t> sizes =
      convolution_
          ? std::vector<int64_t>{kernel.outputs, kernel.channels, kernel.kernel_h, kernel.kernel_w}
          : std::vector<int64_t>{kernel.outputs, kernel.channels};
  const double fan_in =
      static_cast<double>(layout_.positions) / static_cast<double>(layout_.packing.set_size);
  const double bound = std::sqrt(6.0 / std::max(fan_in, 1.0));
  torch::Tensor initial = torch::empty(sizes).uniform_(-bound, bound);
  if (config.HasOwners()) {
    const std::vector<uint8_t> owners = DrawStaticOwners(layout_, seed, config.name);
    owner_nr_ = register_buffer("owner_nr",
                                torch::empty({static_cast<int64_t>(owners.size())}, torch::kUInt8));
    std::memcpy(owner_nr_.data_ptr<uint8_t>(), owners.data(), owners.size());
    mask_ = register_buffer("mask", MaskFromOwners(layout_, owners).view(sizes));
    initial.mul_(mask_).add_(0.0);
  }
  weight = register_parameter("weight", initial);
  bias = register_parameter("bias", config.bias ? torch::zeros({kernel.outputs}) : torch::Tensor(),
                            /*requires_grad=*/config.bias);
}

torch::Tensor PackedWeightImpl::forward(const torch::Tensor& x) {
  const torch::Tensor w = mask_.defined() ? weight * mask_ : weight;
  if (!convolution_) return torch::nn::functional::linear(x, w, bias);
  // Weights in channels-last memory make the output and everything behind it channels last: on the
  // CPU batch norm and pools are then several times faster, and k-WTA needs no copy.
  return torch::conv2d(x, w.contiguous(torch::MemoryFormat::ChannelsLast), bias,
                       {window_.stride_h, window_.stride_w}, {window_.pad_h, window_.pad_w},
                       /*dilation=*/1, groups_);
}

torch::Tensor PackedWeightImpl::MaskedWeight() const {
  torch::NoGradGuard no_grad;
  torch::Tensor w = mask_.defined() ? weight * mask_ + 0.0 : weight.clone();
  return w.to(torch::kCPU, torch::kFloat32)
      .contiguous()
      .view({layout_.shape.outputs, layout_.positions});
}

std::vector<uint8_t> PackedWeightImpl::Owners() const {
  if (!owner_nr_.defined()) return {};
  const torch::Tensor owners = owner_nr_.to(torch::kCPU, torch::kUInt8).contiguous();
  const uint8_t* data = owners.data_ptr<uint8_t>();
  return {data, data + owners.numel()};
}

}  // namespace bisparse::train
