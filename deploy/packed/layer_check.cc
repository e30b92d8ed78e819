// SPDX-License-Identifier: Apache-2.0
// Read first: layer_check.h.
#include "deploy/packed/layer_check.h"

#include <cmath>

#include "deploy/packed/limits.h"

namespace bisparse::packed {

std::string Text(const Shape& s) { return fmt::format("{}x{}x{}", s.height, s.width, s.channels); }

bool IsSane(const Shape& s) {
  const auto sane = [](int32_t size) { return 1 <= size && size <= kMaxElements; };
  return sane(s.height) && sane(s.width) && sane(s.channels) &&
         Size(s.height) * s.width * s.channels <= kMaxElements;
}

bool IsScale(float scale) { return std::isfinite(scale) && scale > 0.0f; }

LayerCheck::LayerCheck(const Layer& layer_in, std::vector<Input> inputs_in, NumberFormat format_in,
                       bool logits_in, bool needs_sign_in, const std::string& location)
    : layer(layer_in),
      inputs(std::move(inputs_in)),
      format(format_in),
      logits(logits_in),
      needs_sign(needs_sign_in),
      location_(fmt::format("{}: layer '{}'", location, layer_in.name)) {}

void LayerCheck::CheckShape(const char* what, const Shape& shape) const {
  if (IsSane(shape)) return;
  Refuse("{} = {} is no map of 1 to {} elements", what, Text(shape), kMaxElements);
}

void LayerCheck::CheckOutput(const Shape& expected) const {
  if (layer.output == expected) return;
  Refuse("output = {}, {} of {} gives {}", Text(layer.output), LayerKindName(layer.kind),
         Text(layer.input), Text(expected));
}

void LayerCheck::CheckRange(const char* what, int64_t value, int64_t low, int64_t high) const {
  if (low <= value && value <= high) return;
  Refuse("{} = {} is not in [{}, {}]", what, value, low, high);
}

void LayerCheck::CheckWindow(int32_t channels, bool pool) const {
  const Window& w = layer.window;
  CheckRange("kernel_h", w.kernel_h, 1, kMaxKernel);
  CheckRange("kernel_w", w.kernel_w, 1, kMaxKernel);
  CheckRange("stride_h", w.stride_h, 1, kMaxKernel);
  CheckRange("stride_w", w.stride_w, 1, kMaxKernel);
  CheckRange("dilation_h", w.dilation_h, 1, pool ? 1 : kMaxKernel);
  CheckRange("dilation_w", w.dilation_w, 1, pool ? 1 : kMaxKernel);
  // A pool's window that lies in the padding alone would have nothing to take the maximum of.
  CheckRange("pad_h", w.pad_h, 0, pool ? w.kernel_h - 1 : kMaxKernel);
  CheckRange("pad_w", w.pad_w, 0, pool ? w.kernel_w - 1 : kMaxKernel);
  const Shape expected = WindowOutput(layer.input, w, channels);
  if (expected.height < 1 || expected.width < 1) {
    Refuse("a kernel of {}x{} does not fit into {} padded by {} and {}", w.extent_h(), w.extent_w(),
           Text(layer.input), w.pad_h, w.pad_w);
  }
  CheckOutput(expected);
  if (PaddedElements(layer) > kMaxElements) {
    Refuse("input {} padded by pad_h = {} and pad_w = {} has {} elements, at most {} are allowed",
           Text(layer.input), w.pad_h, w.pad_w, PaddedElements(layer).value(), kMaxElements);
  }
}

void LayerCheck::CheckFloats(const char* what, std::span<const float> floats,
                             int64_t expected) const {
  CheckSize(what, floats, expected);
  for (size_t i = 0; i < floats.size(); ++i) {
    if (!std::isfinite(floats[i])) Refuse("{}[{}] is {}, not a finite number", what, i, floats[i]);
  }
}

void LayerCheck::CheckNoF32() const {
  CheckSize("weight_pnl", layer.weight_pnl, 0);
  CheckSize("bias_o", layer.bias_o, 0);
}

void LayerCheck::CheckNoI8Weights() const {
  CheckSize("weight_i8_pnl", layer.weight_i8_pnl, 0);
  CheckSize("bias_i32_o", layer.bias_i32_o, 0);
  CheckSize("shift_o", layer.shift_o, 0);
  CheckSize("scale_o", layer.scale_o, 0);
}

void LayerCheck::CheckNoI8() const {
  CheckNoI8Weights();
  if (layer.output_scale != 0.0f) Refuse("output_scale = {}, 0 expected", layer.output_scale);
  CheckRange("output_zero", layer.output_zero, 0, 0);
  CheckNoShifts();
}

void LayerCheck::CheckNoOwners() const {
  if (!layer.owner_nr.empty()) Refuse("has {} owners, 0 expected", layer.owner_nr.size());
}

void LayerCheck::CheckNoWeights() const {
  CheckNoF32();
  CheckNoI8();
  CheckNoOwners();
}

void LayerCheck::CheckNoShifts() const {
  CheckSize("input_shift", std::span(layer.input_shift), 0);
  CheckRange("output_shift", layer.output_shift, 0, 0);
}

void LayerCheck::CheckAnySteps() const {
  if (!IsScale(layer.output_scale)) {
    Refuse("output_scale = {} is not a finite number above 0", layer.output_scale);
  }
  CheckRange("output_zero", layer.output_zero, 0, 255);
}

void LayerCheck::CheckOutputZero(bool negative) const {
  if (layer.output_zero != 0 && layer.output_zero != kSignedZero) {
    Refuse("output_zero = {}, 0 or {} expected", layer.output_zero, kSignedZero);
  }
  if (layer.output_zero == 0 && needs_sign && negative) {
    Refuse(
        "output_zero = 0, {} expected: its values below 0 are read (hint: only relu and kwta, also "
        "after max_pool or "
        "flatten, read none)",
        kSignedZero);
  }
}

}  // namespace bisparse::packed
