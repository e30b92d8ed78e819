// SPDX-License-Identifier: Apache-2.0
// A network as an ONNX file (opset 13, IR 8): "input" [batch][C][H][W] → "logits" [batch][outputs],
// channels last where the output is a map.
//
//   k-WTA     ReLU, TopK over the units, ScatterElements of a mask, product: ties go to the lowest
//             index in TopK too, so the graph computes what the engine computes
//   int8      QuantizeLinear and DequantizeLinear around each map (u8), weights s8 for each output
//
// Read first: network.h. Tested in: onnx_writer_test.cc.
#ifndef BISPARSE_APPS_PEERS_ONNX_WRITER_H_
#define BISPARSE_APPS_PEERS_ONNX_WRITER_H_

#include <cstdint>
#include <string>

#include "apps/peers/network.h"
#include "apps/peers/quantise.h"

namespace bisparse::peers {

struct OnnxOptions {
  int64_t batch = 0;               ///< 0: any, a dimension called "batch"
  const Ranges* ranges = nullptr;  ///< given: int8
};

/// The file's bytes. Throws Error (kData) past the format's 2 GB.
std::string OnnxFile(const DenseNetwork& network, const OnnxOptions& options = {});

/// The model for other engines: f32 (an int8 model as the real numbers that it stands for), any
/// batch, k-WTA as it is.
void WriteOnnx(const packed::Model& model, const std::string& path);

}  // namespace bisparse::peers

#endif  // BISPARSE_APPS_PEERS_ONNX_WRITER_H_
