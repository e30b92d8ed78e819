// SPDX-License-Identifier: Apache-2.0
// What int8 peers need: the range of every map on sample inputs, and weights as s8 with a scale for
// each output. Read first: network.h. Tested in: network_test.cc.
#ifndef BISPARSE_APPS_PEERS_QUANTISE_H_
#define BISPARSE_APPS_PEERS_QUANTISE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "apps/peers/network.h"

namespace bisparse::peers {

struct Range {
  float low = 0, high = 0;  ///< low <= 0 <= high: zero has a step of its own
};

struct Ranges {
  Range input;
  std::vector<Range> layers;  ///< of the outputs of network.layers
};

/// Smallest and largest values on these samples (channels last), by bisparse's own engine.
/// `network` is MakeDenseNetwork(model).
Ranges Calibrate(const packed::Model& model, const DenseNetwork& network,
                 std::span<const float> x_bi);

/// real = scale · (q − zero), q in 0 … 255.
struct Steps {
  float scale = 1;
  uint8_t zero = 0;
};
Steps StepsOf(const Range& range);

/// weight ≈ scale_o · q, q in −127 … 127; an output without weights has scale 1.
struct QuantisedWeights {
  std::vector<int8_t> weight_op;
  std::vector<float> scale_o;
};
QuantisedWeights QuantiseWeights(const DenseLayer& layer);

}  // namespace bisparse::peers

#endif  // BISPARSE_APPS_PEERS_QUANTISE_H_
