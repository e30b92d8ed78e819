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
///   hidden layers  weight = w · t · 2^−shift / s,  bias = b · t · 2^−shift,  and a ReLU behind
///   the last one   weight = w · scale_o / s,       bias = b · scale_o
/// b of the first layer without its −input_zero·Σw. An f32 model comes back as it is.
packed::Model Dequantise(const packed::Model& model);

/// The model with a ReLU in the place of each k-WTA: the topology that dense engines run.
packed::Model WithReluForKwta(packed::Model model);

/// One layer on a map of real numbers. A map that was flattened still has its shape here (flatten
/// is gone), its elements in the order channel, row, column.
struct DenseLayer {
  packed::LayerKind kind = packed::LayerKind::kRelu;
  std::string name;
  Shape input, output;
  packed::Window window;
  std::vector<float> weight_op;  ///< conv2d [O][C][kh][kw], depthwise [C][1][kh][kw], linear
                                 ///< [O][C][H][W], affine: scale
  std::vector<float> bias_o;     ///< affine: shift. Affine has [C] or, behind flatten, [C][H][W]
  bool relu = false;             ///< layers with weights, affine: ReLU in the same pass
  bool nonnegative = false;      ///< no output is below zero
  packed::Kwta kwta;
  bool flat = false;  ///< kwta over one position of input.elements() channels (channels last)
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

struct DenseNetwork {
  std::string name;
  Shape input;
  std::vector<DenseLayer> layers;
  int64_t output_count() const {
    return layers.empty() ? input.elements() : layers.back().output.elements();
  }
};

/// Unpacks an f32 model and makes its layers fewer, without another result but by rounding: an
/// affine goes into the weights before it, a ReLU too, past max-pools if need be. Throws Error
/// (kConfiguration) on a window behind flatten.
DenseNetwork MakeDenseNetwork(const packed::Model& model);

/// Samples of channels-last maps with their channels first.
std::vector<float> ChannelsFirst(std::span<const float> x_byxc, const Shape& shape);

}  // namespace bisparse::peers

#endif  // BISPARSE_APPS_PEERS_NETWORK_H_
