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

#include "bisparse/detection.h"
#include "bisparse/shape.h"
#include "deploy/frontend/front_end.h"
#include "deploy/frontend/picture_input.h"
#include "deploy/packed/layout.h"

namespace bisparse::packed {

/// Of a model file.
inline constexpr size_t kMaxLayers = 4096;
inline constexpr int32_t kMaxInputs = 64;     ///< of a layer
inline constexpr int32_t kTableSize = 256;    ///< of Layer::table: one for each u8
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
  kConcat,
  kSigmoid,
  kHardSwish,
  kGelu,
  kLayerNorm
};
inline constexpr LayerKind kLastLayerKind = LayerKind::kLayerNorm;
const char* LayerKindName(LayerKind kind);

/// Kernel window of a convolution or pool. Padding is zeros on all sides (a pool leaves it out of
/// the maximum and of the average's count).
struct Window {
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  int32_t dilation_h = 1, dilation_w = 1;  ///< convolutions: from one tap to the next one
  /// Rows and columns from the first tap to the last one.
  int64_t extent_h() const { return (int64_t{kernel_h} - 1) * dilation_h + 1; }
  int64_t extent_w() const { return (int64_t{kernel_w} - 1) * dilation_w + 1; }
  bool IsDilated() const { return dilation_h != 1 || dilation_w != 1; }
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
///   int8 activations u8, weights s8, sums i32. Powers of two make it exact integer arithmetic on every CPU. A value has a
///        scale and a zero:  real = scale · (q − zero).
///
///   network's input   scale input_scale, zero input_zero (0 … 255):
///                       q = rint(clamp(x · (1 / input_scale), −input_zero, 255 − input_zero)) + input_zero
///                     a float division and a multiplication, ties to even, NaN as −∞. An affine may be the first layer, and
///                     is then the only reader of the input; its floats (AffineAt) are what q is made of.
///   conv2d, depthwise, linear   scale output_scale, zero output_zero (0 or 128):
///                       q = clamp(((acc + 2^(shift−1)) >> shift) + output_zero, 0, 255)
///                     With output_zero 0 this is ReLU too. acc is bias + Σ weight · q of the input. Padding is the input's
///                     zero, and the bias holds −zero · Σ weight.
///   the last of them  logits = float(acc) · scale_o, one float multiplication. Only flatten comes after it.
///   max_pool, avg_pool, flatten   scale and zero of their input; avg_pool rounds half up.
///   relu, kwta        scale of their input, zero 0:  q' = max(q − zero, 0), of which kwta ranks and keeps (rank: the sum of
///                     a chunk).
///   add               q' = clamp(((Σ_i (q_i − zero_i) · 2^input_shift[i] + 2^(output_shift−1)) >> output_shift)
///                                + output_zero, 0, 255)
///   concat            the same of each element, a sum of one.
///   multiply          q' = clamp((((q_0 − zero_0) · (q_1 − zero_1) + 2^(output_shift−1)) >> output_shift)
///                                + output_zero, 0, 255), of two inputs
///   sigmoid, hard_swish, gelu   q' = table[q], of a table in the file; scale output_scale, zero output_zero (0 … 255)
///   layer_norm        in floating point, with its own floats and exact sums of q: deploy/ops/layer_norm/op.h; scale
///                     output_scale, zero output_zero (0 … 255)
///        There is no rounding term for a shift of 0. Scales of add and concat fit exactly:
///        scale_i = common · 2^input_shift[i], output_scale = common · 2^output_shift. Of multiply:
///        output_scale = float(scale_0 · scale_1 · 2^output_shift).
///
///        output_zero is 128 where values below 0 can be and are read (NegativesAreRead), else 0 or 128. input_zero is 0
///        where the input's values below 0 are not read: they count as 0 from there on.
enum class NumberFormat : uint8_t { kF32, kI8 };
const char* NumberFormatName(NumberFormat format);  ///< "f32", "int8"

/// int8 weights of at most this size are narrow: two products with u8 fit 16 bits (255 · 64 · 2 < 2^15), which makes dot
/// products three times shorter on CPUs without VNNI. bisparse-export writes no others; a file may hold up to ±127.
inline constexpr int32_t kNarrowWeight = 64;
bool AreNarrow(std::span<const int8_t> weights);

/// int8: the zero of a map that holds values below 0.
inline constexpr int32_t kSignedZero = 128;

/// int8: what a value's steps mean, real = scale · (q − zero).
struct Quantisation {
  float scale = 0;  ///< 0: logits
  int32_t zero = 0;
  bool operator==(const Quantisation&) const = default;
};

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
  float epsilon = 1e-5f;              ///< layer_norm: added to the variance
  std::span<const uint8_t> owner_nr;  ///< conv2d, linear with set_size > 1: Layout::owners()
  std::span<const float>
      weight_pnl;  ///< conv2d, linear: Layout::slots(); affine: scale, layer_norm: gain, channels floats
  std::span<const float> bias_o;  ///< conv2d, linear: Layout::outputs_padded(), padding zero;
                                  ///< affine, layer_norm: channels

  // int8 models, conv2d and linear; weight_pnl and bias_o are empty there.
  std::span<const int8_t> weight_i8_pnl;  ///< Layout::slots(), −127 … 127
  std::span<const int32_t>
      bias_i32_o;  ///< Layout::outputs_padded(); holds −input_zero·Σw of the first
  std::span<const uint8_t>
      shift_o;  ///< outputs_padded(), 0 … 30; empty in the last layer with weights
  std::span<const float> scale_o;  ///< outputs_padded(); the last layer with weights only
  float output_scale = 0;          ///< int8: real value of one step of the output map; 0 = logits
  int32_t output_zero = 0;         ///< int8: the step that means 0 in the output map; 0 or 128,
                                   ///< or any where Operator::any_zero says so

  // int8 models; add, concat (and multiply, without input_shift): see NumberFormat.
  std::vector<uint8_t> input_shift;  ///< one for each input, to the left
  uint8_t output_shift = 0;          ///< of the joined value, to the right

  // int8 models; activations (deploy/ops/activation/op.h).
  std::span<const uint8_t> table;  ///< kTableSize bytes: the output for each step of the input

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
  std::optional<PictureInput>
      pictures;  ///< how a picture becomes the input; never beside front_end
  std::optional<DetectionOptions>
      detection;  ///< how words are told in a stream; none: the defaults
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

/// Why int8 cannot hold this network, whatever its numbers: "layer 'norm': kind = …"; empty if it can. See NumberFormat.
/// The graph is valid: inputs exist, every value is read.
std::string I8Fault(const Model& model);

/// Entry v + 1, for value v (−1: the input): somebody tells its values below 0 from 0. relu and kwta do not; max_pool and
/// flatten leave it to their readers.
std::vector<bool> NegativesAreRead(const Model& model);

/// Of a valid int8 model: entry v + 1, for value v (−1: the input), what its steps mean.
std::vector<Quantisation> Quantisations(const Model& model);
/// Of one layer's output; `input` is that of the first value that it reads.
Quantisation OutputQuantisation(const Layer& layer, const Quantisation& input);

/// An affine layer of element i, channels last: a product that a double holds and one sum, so that
/// every machine rounds alike.
inline float AffineAt(const Layer& affine, size_t i, float x) {
  const size_t c = i % affine.weight_pnl.size();
  return static_cast<float>(double{x} * double{affine.weight_pnl[c]} + double{affine.bias_o[c]});
}

/// The affine layer that the model begins with, or null.
const Layer* InputAffine(const Model& model);

/// Nobody reads the input's values below 0: int8 needs none.
bool InputIsUnsigned(const Model& model);

/// The index of the last layer with weights, −1 if there is none.
std::ptrdiff_t LastWithWeights(const Model& model);

/// Output shape of a convolution or pool; height or width <= 0 if the window does not fit.
Shape WindowOutput(const Shape& input, const Window& window, int32_t channels);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_MODEL_H_
