// SPDX-License-Identifier: Apache-2.0
// A network as it is deployed: layers in order, packed weights, front end, provenance. Plain data:
// the file reader and the exporter both produce it, the engine plans from it.
//
// Activations are channels last: element (y, x, c) of a map is at (y·W + x)·C + c, and flatten
// keeps that order. Read first: layout.h. File format: docs/model-format.md. Tested in:
// model_test.cc.
#ifndef BISPARSE_DEPLOY_PACKED_MODEL_H_
#define BISPARSE_DEPLOY_PACKED_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bisparse/shape.h"
#include "deploy/frontend/front_end.h"
#include "deploy/packed/layout.h"

namespace bisparse::packed {

/// Of a model file.
inline constexpr size_t kMaxLayers = 4096;
inline constexpr size_t kMaxNameBytes = 256;  ///< of the model, its layers and its classes

enum class LayerKind : uint8_t {
  kConv2d,
  kLinear,
  kAffine,
  kMaxPool,
  kAvgPool,
  kRelu,
  kKwta,
  kFlatten,
  kDepthwiseConv2d,
  kAdd,
  kMultiply,
  kConcat
};
inline constexpr LayerKind kLastLayerKind = LayerKind::kConcat;
const char* LayerKindName(LayerKind kind);

/// Kernel window of a convolution or pool. Padding is zeros on all sides (a pool leaves it out of
/// the maximum and of the average's count).
struct Window {
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  bool operator==(const Window&) const = default;
};

enum class KwtaScope : uint8_t { kLocal, kGlobal };

/// k-WTA after ReLU: exactly `winners` units survive, ties to the lowest index (channels-last
/// order), for each position (local) or for the map (global). A unit is `chunk` neighbouring
/// channels ranked by their sum. With groups, channels are cut into `groups` equal parts with
/// winners/groups each.
struct Kwta {
  int32_t winners = 1;
  KwtaScope scope = KwtaScope::kLocal;
  int32_t groups = 1;
  int32_t chunk = 1;
  bool operator==(const Kwta&) const = default;
};

/// How numbers are stored and computed with.
///   f32  weights and activations are floats.
///   int8 activations u8, weights s8, sums i32. A map's real values are output_scale · q; the
///        network's input is input_scale · (q − input_zero):
///          q = rint(clamp(x · (1 / input_scale), −input_zero, 255 − input_zero)) + input_zero
///        a float division and a multiplication, ties to even, NaN as −∞. Between layers, for every conv2d and linear
///        but the last:  q = clamp((acc + 2^(shift−1)) >> shift, 0, 255)  (no rounding term for
///        shift 0), which is ReLU too. Powers of two make it exact integer arithmetic on every CPU.
///        The last one's logits are float(acc) · scale_o, one float multiplication. Pools, k-WTA
///        (rank = sum of a chunk's u8) and flatten work on u8 (avg_pool rounds half up); relu does
///        nothing.
///        An affine may be the first layer, which brings inputs of unlike ranges to one: its floats
///        (AffineAt) are what q is made of.
///        What follows, and ValidateModel checks: no other affine layer; between a conv2d or linear and
///        the next one a relu or kwta with only max_pool and flatten in front of it; behind the
///        last one only flatten; a relu or kwta in front of the first one has no avg_pool in front
///        of it, and input_zero is 0 then: what is below 0 counts as 0 from the input on.
enum class NumberFormat : uint8_t { kF32, kI8 };
const char* NumberFormatName(NumberFormat format);  ///< "f32", "int8"

/// int8 weights of at most this size are narrow: two products with u8 fit 16 bits (255 · 64 · 2 < 2^15), which makes dot
/// products three times shorter on CPUs without VNNI. bisparse-export writes no others; a file may hold up to ±127.
inline constexpr int32_t kNarrowWeight = 64;
bool AreNarrow(std::span<const int8_t> weights);

struct Layer {
  LayerKind kind = LayerKind::kRelu;
  std::string name;
  /// The layers whose outputs it reads, in order, by index; each is below its own index. −1 is the network's input. Empty:
  /// the layer before it (graph.h reads both forms).
  std::vector<int32_t> inputs;
  Shape input, output;                ///< input: of the first of its inputs
  Window window;                      ///< convolutions, pools
  Packing packing;                    ///< layers with weights; a dense layer has set_size 1
  Kwta kwta;                          ///< kwta
  std::span<const uint8_t> owner_nr;  ///< conv2d, linear with set_size > 1: Layout::owners()
  std::span<const float>
      weight_pnl;  ///< conv2d, linear: Layout::slots(); affine: scale, channels floats
  std::span<const float>
      bias_o;  ///< conv2d, linear: Layout::outputs_padded(), padding zero; affine: channels

  // int8 models, conv2d and linear; weight_pnl and bias_o are empty there.
  std::span<const int8_t> weight_i8_pnl;  ///< Layout::slots(), −127 … 127
  std::span<const int32_t>
      bias_i32_o;  ///< Layout::outputs_padded(); holds −input_zero·Σw of the first
  std::span<const uint8_t>
      shift_o;  ///< outputs_padded(), 0 … 30; empty in the last layer with weights
  std::span<const float> scale_o;  ///< outputs_padded(); the last layer with weights only
  float output_scale = 0;          ///< int8: real value of one step of the output map; 0 = logits
  int32_t output_zero = 0;         ///< int8: the step that means 0 in the output map, 0 or 128

  // int8 models; add, concat (and multiply, without input_shift): see NumberFormat.
  std::vector<uint8_t> input_shift;  ///< one for each input, to the left
  uint8_t output_shift = 0;          ///< of the joined value, to the right

  bool IsConvolution() const {
    return kind == LayerKind::kConv2d || kind == LayerKind::kDepthwiseConv2d;
  }
  bool HasWeights() const { return IsConvolution() || kind == LayerKind::kLinear; }
  /// For layers with weights only. A linear layer's channels are input.elements(), a depthwise
  /// one's 1: output o reads input channel o alone.
  KernelShape kernel() const;
};

/// Where the network came from; kept so that a file explains itself.
struct Provenance {
  std::string config_text, version, created_utc;
  uint64_t seed = 0;
  double validation_accuracy = -1.0;  ///< fraction at export, negative = not known
};

struct Model {
  std::string name;
  NumberFormat format = NumberFormat::kF32;
  Shape input;
  float input_scale = 0;   ///< int8: real value of one step of the input; 1 / input_scale is finite
  int32_t input_zero = 0;  ///< int8: the step that means 0, 0 … 255; what padding is filled with
  std::vector<Layer> layers;
  std::vector<std::string> class_names;  ///< empty or one per output
  std::optional<FrontEnd> front_end;
  Provenance provenance;
  /// Keeps what the spans point into alive: a copy or mapping of the file, or vectors of the builder.
  std::shared_ptr<const void> storage;

  int64_t output_count() const {
    return layers.empty() ? input.elements() : layers.back().output.elements();
  }
};

/// Checks everything that a plan relies on (shapes that follow from each other, sizes of spans,
/// owners in range, finite weights, k-WTA that divides, no size overflow). Throws Error (kData):
/// "<location>: layer 'conv2': …".
void ValidateModel(const Model& model, const std::string& location);

/// Why int8 cannot hold these layers in this order, whatever their numbers: "layer 'norm': kind =
/// …"; empty if it can. Activations are u8, so every sum but the logits has to end in a ReLU; see
/// NumberFormat.
std::string I8Fault(const Model& model);

/// An affine layer of element i, channels last: a product that a double holds and one sum, so that
/// every machine rounds alike.
inline float AffineAt(const Layer& affine, size_t i, float x) {
  const size_t c = i % affine.weight_pnl.size();
  return static_cast<float>(double{x} * double{affine.weight_pnl[c]} + double{affine.bias_o[c]});
}

/// The affine layer that the model begins with, or null.
const Layer* InputAffine(const Model& model);

/// A relu or kwta stands in front of the first layer with weights: int8 needs no values below 0.
bool InputIsUnsigned(const Model& model);

/// The index of the last layer with weights, −1 if there is none.
std::ptrdiff_t LastWithWeights(const Model& model);

/// Output shape of a convolution or pool; height or width <= 0 if the window does not fit.
Shape WindowOutput(const Shape& input, const Window& window, int32_t channels);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_MODEL_H_
