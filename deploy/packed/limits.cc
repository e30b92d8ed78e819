// SPDX-License-Identifier: Apache-2.0
// Read first: limits.h.
#include "deploy/packed/limits.h"

#include "deploy/ops/operator.h"

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

Size WorkOf(const Layer& layer, Size taps, int64_t of_reading) {
  const Size written = Elements(layer.output);
  return written * taps + PaddedElements(layer) * of_reading + written * kWorkOfPassing;
}

Size Work(const Layer& layer) { return OperatorOf(layer.kind).work(layer); }

}  // namespace bisparse::packed
