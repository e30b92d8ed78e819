// SPDX-License-Identifier: Apache-2.0
// What an operator is, apart from its kernels: a table with an entry for each LayerKind. An entry checks a layer, counts its
// work, says what int8 makes of it, and computes it from its definition, in f32 and in int8. The functions of an entry lie in
// the operator's folder (op.h, op.cc); ValidateModel, I8Fault and the references ask the table and know no operator.
// These files belong to the library deploy_packed: no Highway, no engine.
// Read first: deploy/packed/model.h. Tested in: operator_test.cc, deploy/packed/model_test.cc, deploy/reference/reference_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_OPERATOR_H_
#define BISPARSE_DEPLOY_OPS_OPERATOR_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "deploy/base/size.h"
#include "deploy/packed/model.h"

namespace bisparse::packed {

class LayerCheck;  // layer_check.h

/// What a reference reads: one value, channels last. T = float, or int32_t for the steps of int8.
template <class T>
struct Map {
  Shape shape;
  std::span<const T> x;
  int32_t zero = 0;  ///< int8: the step that means 0
  float scale = 0;   ///< int8: real value of one step

  size_t Index(int64_t y, int64_t x_at, int64_t c) const {
    return static_cast<size_t>((y * shape.width + x_at) * shape.channels + c);
  }
};

/// int8: what the steps of an operator's output mean.
enum class OutputSteps : uint8_t {
  kOwn,       ///< Layer::output_scale and output_zero; the sums of the logits have none
  kAsInput,   ///< scale and zero of its input
  kFromZero,  ///< the scale of its input, and zero 0
};

struct Operator {
  LayerKind kind;
  const char* name;  ///< as messages and the configuration say it
  /// 1, or for what joins values kMaxInputs: it reads 2 to that many. int8 may allow fewer.
  int32_t most_inputs = 1, most_inputs_i8 = most_inputs;
  bool has_weights = false, has_window = false;
  bool has_table = false;  ///< int8: Layer::table is its definition
  bool any_zero = false;   ///< int8: output_zero is 0 … 255, else 0 or 128
  bool is_view = false;    ///< its output is its input, number for number

  OutputSteps output_steps = OutputSteps::kAsInput;
  /// What is below 0 in its input counts as 0.
  bool drops_negatives = false;
  /// Dropping what is below 0 in its input instead of its output gives the same.
  bool keeps_order = false;

  /// Refuses what a plan cannot rely on: sizes that do not follow from the inputs' shapes, spans of other lengths, numbers
  /// out of range. Throws Error (kData).
  void (*check)(const LayerCheck&) = nullptr;
  /// Multiplications of a sample, or what takes as long; see Work in limits.h. Any numbers may stand in the layer.
  Size (*work)(const Layer&) = nullptr;
  /// The definition. `out` has the layer's output.elements() numbers, all 0. `largest` becomes at least the largest sum of
  /// magnitudes that was formed, if any was.
  void (*run_f32)(const Layer&, std::span<const Map<float>> inputs, std::span<float> out,
                  double& largest) = nullptr;
  /// The definition of NumberFormat, exact. Of the logits `out` gets the sums.
  void (*run_i8)(const Layer&, std::span<const Map<int32_t>> inputs,
                 std::span<int32_t> out) = nullptr;
};

/// In the order of LayerKind.
std::span<const Operator* const> Operators();

/// Of a kind up to kLastLayerKind.
const Operator& OperatorOf(LayerKind kind);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_OPS_OPERATOR_H_
