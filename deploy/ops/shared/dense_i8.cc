// SPDX-License-Identifier: Apache-2.0
// Read first: dense_i8.h.
#include "deploy/ops/shared/dense_i8.h"

#include "deploy/base/size.h"

namespace bisparse::ops {

using packed::Layer;

void FinishI8(const Layer& layer, const Ends& ends, const int32_t* acc, int64_t stride,
              int64_t begin, int64_t end, void* y) noexcept {
  const int64_t channels = layer.output.channels;
  if (layer.shift_o.empty()) {
    for (int64_t row = begin; row < end; ++row, acc += stride) {
      kernels::LogitsI8(acc, channels, layer.scale_o.data(),
                        static_cast<float*>(y) + row * channels);
    }
  } else {
    kernels::RequantiseI8(acc, end - begin, stride, channels, ends.shift_o.data(),
                          static_cast<uint8_t*>(y) + begin * channels);
  }
}

DenseI8::DenseI8(const packed::Layout& layout, const Layer& layer)
    : outputs(Size(layout.shape.outputs).RoundUp(16).value()),
      layer_(&layer),
      narrow_(packed::AreNarrow(layer.weight_i8_pnl)),
      ends_(layer, layout.shape.outputs) {
  const packed::KernelShape& kernel = layout.shape;
  const packed::Window& w = layer.window;
  const bool apart = w.dilation_w != 1;
  const int64_t taps = apart ? 1 : kernel.kernel_w;  // of a segment
  inputs = taps * kernel.channels;
  depth = Size(inputs).RoundUp(4).value();
  const int64_t pitch = (int64_t{layer.input.width} + 2 * w.pad_w) * kernel.channels;
  for (int64_t ky = 0; ky < kernel.kernel_h; ++ky) {
    for (int64_t kx = 0; kx < kernel.kernel_w; kx += taps) {
      offset_s_.push_back(
          static_cast<int32_t>(ky * w.dilation_h * pitch + kx * w.dilation_w * kernel.channels));
    }
  }
  weight_ = AlignedBuffer<int8_t>(static_cast<size_t>(std::ssize(offset_s_) * depth * outputs));
  layout.ForEachSlot(layer.owner_nr, [&](int64_t p, int32_t, int32_t, int64_t o, int64_t slot) {
    const int64_t kx = p % kernel.kernel_w, ky = p / kernel.kernel_w % kernel.kernel_h;
    const int64_t c = p / kernel.kernel_w / kernel.kernel_h;
    const int64_t segment = apart ? ky * kernel.kernel_w + kx : ky;
    const int64_t at = segment * depth + (apart ? 0 : kx * kernel.channels) + c;
    weight_.data()[kernels::MatMulWeightAt(at, o, outputs)] =
        layer.weight_i8_pnl[static_cast<size_t>(slot)];
  });
}

}  // namespace bisparse::ops
