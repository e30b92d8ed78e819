// SPDX-License-Identifier: Apache-2.0
// Config + weights → packed::Model: fold batch norms, drop dropouts, combine (pack) each layer. The
// exporter calls it with trained weights, the benchmark with random ones. Read first:
// deploy/packed/model.h. Tested in: assemble_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_ASSEMBLE_H_
#define BISPARSE_TRAIN_CONFIG_ASSEMBLE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "deploy/packed/model.h"
#include "train/config/config.h"

namespace bisparse::train {

/// A conv2d's or linear's, in the trainer's order.
struct LayerWeights {
  std::vector<float> weight_op;   ///< row-major [O][P], zero where the owner is another kernel
  std::vector<uint8_t> owner_nr;  ///< Layout::owners(); empty for a dense layer
  std::vector<float> bias_o;      ///< O, or empty = zeros
};

/// y = x·scale + shift for each channel: a batch_norm that has no weights to be folded into, or a layer_norm's gain and bias.
struct Affine {
  std::vector<float> scale_c, shift_c;
};

/// What a batch_norm has learned, C of each; gamma and beta may be empty (1 and 0).
struct BatchNormStatistics {
  std::span<const float> gamma, beta, mean, variance;
  double epsilon = 1e-5;
};

/// scale = γ / √(σ² + ε), shift = β − μ·scale, computed in double.
Affine ToAffine(const BatchNormStatistics& statistics);

/// W'[o] = W[o]·scale[o], b'[o] = b[o]·scale[o] + shift[o].
void FoldBatchNorm(LayerWeights& layer, const BatchNormStatistics& statistics);

/// How a layer is stored: as configured, dense ones with 16 lanes and no runs.
packed::Packing StoredPacking(const LayerConfig& layer);

/// `weights`: one per conv2d and linear, in order, batch norms folded already; `affines`: the one of
/// the input where network.normalise_input, then one per batch_norm without a FoldTarget (graph.h) and
/// per layer_norm, in order. Throws Error (kInternal)
/// where sizes differ or a weight is not zero that its owner doesn't allow, (kData) where a weight
/// is not finite.
packed::Model AssembleModel(const Config& config, std::span<const LayerWeights> weights,
                            std::span<const Affine> affines, std::vector<std::string> class_names,
                            packed::Provenance provenance);

/// Why int8 cannot hold the network, whatever its weights (packed::I8Fault); empty: it can.
std::string Int8Fault(const Config& config);

/// Static owners, random weights scaled to keep activations at about 1, class names where the
/// configuration tells them. A pure function of its arguments. For benchmarks of networks that
/// nobody has trained yet.
packed::Model MakeRandomModel(const Config& config, uint64_t seed);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_ASSEMBLE_H_
