// SPDX-License-Identifier: Apache-2.0
// Read first: limits.h.
#include "deploy/packed/limits.h"

#include <algorithm>

namespace bisparse::packed {
namespace {

Size Elements(const Shape& s) { return Size(s.height) * s.width * s.channels; }

}  // namespace

Size PaddedElements(const Layer& layer) {
  const Shape& in = layer.input;
  if (!layer.IsConvolution()) return Elements(in);  // a pool's padding is left out
  const Window& w = layer.window;
  return (Size(in.height) + Size(2) * w.pad_h) * (Size(in.width) + Size(2) * w.pad_w) * in.channels;
}

Size DenseWeights(const Layer& layer) {
  if (!layer.HasWeights()) return 0;
  const KernelShape kernel = layer.kernel();
  return Size(kernel.channels) * kernel.kernel_h * kernel.kernel_w *
         Size(kernel.outputs).RoundUp(16);
}

Size Work(const Layer& layer) {
  constexpr int64_t kPassed = 8, kCompetes = 64;
  const Size read = PaddedElements(layer), written = Elements(layer.output);
  Size taps = 0;  // of an output
  if (layer.HasWeights()) {
    const KernelShape kernel = layer.kernel();
    taps = Size(kernel.channels) * kernel.kernel_h * kernel.kernel_w;
  } else if (layer.kind == LayerKind::kMaxPool || layer.kind == LayerKind::kAvgPool) {
    taps = Size(std::min(layer.window.kernel_h, layer.input.height)) *
           std::min(layer.window.kernel_w, layer.input.width);
  }
  return written * taps + (layer.kind == LayerKind::kKwta ? read * kCompetes : read * kPassed) +
         written * kPassed;
}

}  // namespace bisparse::packed
