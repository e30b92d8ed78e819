// SPDX-License-Identifier: Apache-2.0
// What the operators' checks are made of: one layer, what it reads, and refusals that name it. Part of ValidateModel.
// Read first: deploy/ops/operator.h. Tested in: model_test.cc, model_i8_test.cc.
#ifndef BISPARSE_DEPLOY_PACKED_LAYER_CHECK_H_
#define BISPARSE_DEPLOY_PACKED_LAYER_CHECK_H_

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/packed/model.h"

namespace bisparse::packed {

/// "3x3x8"
std::string Text(const Shape& shape);
/// A map of 1 to kMaxElements elements.
bool IsSane(const Shape& shape);
/// A finite number above 0.
bool IsScale(float scale);

class LayerCheck {
 public:
  struct Input {
    Shape shape;
    Quantisation steps;  ///< int8
  };

  /// `inputs`: what it reads, in order; their shapes are sane. `logits`: the last layer with weights of an int8 model.
  /// `needs_sign`: of an int8 model, somebody tells the values below 0 of its output apart.
  LayerCheck(const Layer& layer, std::vector<Input> inputs, NumberFormat format, bool logits,
             bool needs_sign, const std::string& location);

  const Layer& layer;
  const std::vector<Input> inputs;
  const NumberFormat format;
  const bool logits, needs_sign;

  /// Throws Error (kData): "<location>: layer 'conv2': …".
  template <typename... Args>
  [[noreturn]] void Refuse(fmt::format_string<Args...> text, Args&&... args) const {
    Fail(ErrorKind::kData, location_, text, std::forward<Args>(args)...);
  }
  const std::string& location() const { return location_; }

  void CheckShape(const char* what, const Shape& shape) const;
  /// The layer's output is `expected`, which its operator makes of its inputs.
  void CheckOutput(const Shape& expected) const;
  void CheckRange(const char* what, int64_t value, int64_t low, int64_t high) const;
  /// Of a convolution or pool: the window, the padded input and the output, which has `channels`.
  void CheckWindow(int32_t channels, bool pool) const;
  template <typename T>
  void CheckSize(const char* what, std::span<const T> values, int64_t expected) const {
    if (static_cast<int64_t>(values.size()) == expected) return;
    Refuse("{} has {} {}, {} expected", what, values.size(),
           std::is_same_v<T, float> ? "floats" : "integers", expected);
  }
  void CheckFloats(const char* what, std::span<const float> floats, int64_t expected) const;
  /// Nothing of f32, of int8, of either.
  void CheckNoF32() const;
  void CheckNoI8() const;
  void CheckNoOwners() const;
  void CheckNoWeights() const;
  void CheckNoI8Weights() const;  ///< nor biases, shifts and scales of them
  void CheckNoShifts() const;     ///< input_shift, output_shift
  /// int8: output_scale is one, output_zero is 0 … 255.
  void CheckAnySteps() const;
  /// int8: output_zero is 0 or 128, and 128 where a value below 0 can be (`negative`) and must not be lost.
  void CheckOutputZero(bool negative) const;

 private:
  const std::string location_;
};

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_LAYER_CHECK_H_
