// SPDX-License-Identifier: Apache-2.0
// Which way a layer trains: `masked`, as LibTorch computes it (weights times a mask), or `packed`, by the kernels of
// deploy/ops/training. A layer has both ways if it has owners (packed_layer.h) or is a batch norm (norm_pool.h).
// Read first: network.h. Tested in: ways_test.cc.
#ifndef BISPARSE_TRAIN_NN_WAYS_H_
#define BISPARSE_TRAIN_NN_WAYS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "train/config/config.h"

namespace bisparse::train {

/// A layer that has both ways, and what one training step of it took. Milliseconds: forward, backward and optimiser;
/// below 0: not timed.
struct LayerWay {
  std::string name;
  bool packed = false;
  double packed_ms = -1.0, masked_ms = -1.0;
  double dense_ms = -1.0;  ///< of a layer with owners: the same without any, in LibTorch
};

/// The layers of a network that have both ways, in their order, untimed and masked.
std::vector<LayerWay> LayersWithWays(const NetworkConfig& network);

/// Times both ways of each of them with random samples of the real shapes and densities, in turn, and chooses the faster
/// one; with_dense: dense layers too. LibTorch's global generator is left as it was. `done` is called after each layer.
std::vector<LayerWay> TimeWays(const NetworkConfig& network, const OptimiserConfig& optimiser,
                               int64_t batch, bool with_dense,
                               const std::function<void(const LayerWay&)>& done);

/// For each value (0: the network's input, i + 1: of layer i) whether its producer stops gradients where it gave zero.
std::vector<bool> GatedValues(const NetworkConfig& network);
/// The part of each value that is not zero, as far as layers say so.
std::vector<double> ValueDensities(const NetworkConfig& network);
/// The only layer that reads the output of layer i, by index; -1 where there is another number of them.
int32_t OnlyReader(const NetworkConfig& network, size_t layer);
/// The max-pool that trains together with the batch norm `layer`; null where there is none.
const LayerConfig* PoolOf(const NetworkConfig& network, size_t layer);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_WAYS_H_
