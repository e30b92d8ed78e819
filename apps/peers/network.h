// SPDX-License-Identifier: Apache-2.0
// A packed model as other engines want it: dense, f32, channels first, few layers.
//
//   packed::Model ─► Dequantise ─► (WithReluForKwta) ─► MakeDenseNetwork ─► oneDNN, ONNX, Eigen …
//
// Read first: deploy/packed/model.h. Tested in: network_test.cc.
#ifndef BISPARSE_APPS_PEERS_NETWORK_H_
#define BISPARSE_APPS_PEERS_NETWORK_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "deploy/packed/model.h"

namespace bisparse::peers {

/// An int8 model as the f32 model that it stands for, packed alike: with s = input_scale of the
/// layer, t = its output_scale and w, b its integers,
///   hidden layers  weight = w · t · 2^−shift / s,  bias = b · t · 2^−shift,  and a ReLU after them where output_zero is 0
///   the last one   weight = w · scale_o / s,       bias = b · scale_o
/// b of the first layer without its −input_zero·Σw. An f32 model comes back as it is.
packed::Model Dequantise(const packed::Model& model);

/// The model with a ReLU in the place of each k-WTA: the topology that dense engines run.
packed::Model WithReluForKwta(packed::Model model);

/// One layer on maps of real numbers. A map that was flattened still has its shape here (flatten
/// is gone), its elements in the order channel, row, column.
struct DenseLayer {
  packed::LayerKind kind = packed::LayerKind::kRelu;
  std::string name;
  std::vector<int32_t>
      inputs;           ///< the layers whose outputs it reads, by index; −1: the network's input
  Shape input, output;  ///< input: of the first one
  packed::Window window;
  std::vector<float> weight_op;  ///< conv2d [O][C][kh][kw], depthwise [C][1][kh][kw], linear
                                 ///< [O][C][H][W], affine: scale, layer_norm: gain
  std::vector<float> bias_o;  ///< affine: shift, layer_norm: bias. Both have [C] floats or, after
                              ///< flatten, [C][H][W]
  bool relu = false;          ///< layers with weights, affine, add, multiply: ReLU in the same pass
  bool nonnegative = false;   ///< no output is below zero
  packed::Kwta kwta;
  float epsilon = 0;  ///< layer_norm
  bool flat =
      false;  ///< kwta (channels last), layer_norm: over one position of input.elements() channels
  bool IsConvolution() const {
    return kind == packed::LayerKind::kConv2d || kind == packed::LayerKind::kDepthwiseConv2d;
  }
  bool HasWeights() const { return IsConvolution() || kind == packed::LayerKind::kLinear; }
  /// Parts of the channels that kernels read apart: each channel, or all in one.
  int64_t groups() const {
    return kind == packed::LayerKind::kDepthwiseConv2d ? input.channels : 1;
  }
  size_t source = 0;  ///< the model's layer with this output, but for the ReLU
};

/// Throws Error (kConfiguration): the engine computes no layers of this kind.
[[noreturn]] void RefuseLayer(const DenseLayer& layer, const char* engine);

struct DenseNetwork {
  std::string name;
  Shape input;
  std::vector<DenseLayer> layers;
  const Shape& ShapeOf(int32_t value) const {
    return value < 0 ? input : layers[static_cast<size_t>(value)].output;
  }
  int64_t output_count() const {
    return layers.empty() ? input.elements() : layers.back().output.elements();
  }
};

/// The row of `rows`, a table with a row a kind, for this layer. Throws Error (kConfiguration) where `engine` has none.
template <class Rows>
const auto& RowOf(const Rows& rows, const DenseLayer& layer, const char* engine) {
  for (const auto& row : rows) {
    if (row.kind == layer.kind) return row;
  }
  RefuseLayer(layer, engine);
}

/// Unpacks an f32 model and makes its layers fewer, without another result but by rounding: an
/// affine goes into the weights before it, a ReLU too, past max-pools if need be, where nothing else reads what lies
/// between. Throws Error (kConfiguration) on a window after flatten, and where maps that were flattened are joined with
/// others that were not.
DenseNetwork MakeDenseNetwork(const packed::Model& model);

/// Samples of channels-last maps with their channels first.
std::vector<float> ChannelsFirst(std::span<const float> x_byxc, const Shape& shape);

}  // namespace bisparse::peers

#endif  // BISPARSE_APPS_PEERS_NETWORK_H_
