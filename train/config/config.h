// SPDX-License-Identifier: Apache-2.0
// A training run as plain structs: what the YAML says, every default filled in, every shape
// inferred. Whoever holds a Config holds a checked one: windows fit, k-WTA divides, sizes follow
// from each other.
//
// Read first: docs/configuration.md (every key). Filled by: load.h. Keys, defaults and ranges:
// schema.cc. Tested in: load_test.cc, network_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_CONFIG_H_
#define BISPARSE_TRAIN_CONFIG_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "bisparse/detection.h"
#include "bisparse/shape.h"
#include "data/config.h"
#include "deploy/frontend/front_end.h"
#include "deploy/packed/layout.h"
#include "deploy/packed/model.h"

namespace bisparse::train {

enum class LayerKind : uint8_t {
  kConv2d,
  kConv1d,  ///< a conv2d of height 1
  kDepthwiseConv2d,
  kLinear,
  kBatchNorm,
  kMaxPool,
  kAvgPool,
  kRelu,
  kDropout,
  kFlatten,
  kKwta,
  kAdd,
  kMultiply,
  kConcat,
  kSigmoid,
  kHardSwish,
  kGelu,
  kLayerNorm,
};
inline constexpr LayerKind kLastLayerKind = LayerKind::kLayerNorm;
/// The word of the YAML: "conv2d", "batch_norm", …
const char* LayerKindName(LayerKind kind);

/// Who decides which kernel of a set owns a run.
enum class OwnerRule : uint8_t {
  kStatic,   ///< drawn at random once, balanced, from the seed (static_owners.h)
  kLearned,  ///< the kernel with the largest weights in the run (train/nn/packed_weight.h)
  kRigl,     ///< weak owners give their runs to the kernel with the largest gradient
};

/// How owners are learned; fractions are of the training. See train/nn/packed_weight.h.
struct OwnerLearning {
  int32_t update_steps = 10;  ///< steps from one choice of owners to the next
  double freeze_at = 0.6;     ///< fraction after which owners stay
  double anneal_until =
      0.3;  ///< learned: fraction in which the kernels kept per run fall from S to 1
  double loser_decay = 0.3;    ///< learned: on weights that are not kept, as weight_decay
  bool balanced = false;       ///< learned: each kernel of a set owns equally many runs
  double drop_fraction = 0.3;  ///< rigl: part of the runs that change hands at first
  bool operator==(const OwnerLearning&) const = default;
};

/// `packing:` of a conv2d or linear. set_size 1 is a dense layer (and has no owners).
struct PackingConfig {
  packed::Packing layout;
  OwnerRule owners = OwnerRule::kStatic;
  OwnerLearning learning;
  bool operator==(const PackingConfig&) const = default;
};

/// Boosting (training only, for ranking only): score = x·exp(β·(target duty − duty)), with
/// β(e) = strength · decay^e · max(0, 1 − (e / epochs) / until) in epoch e. See BoostAt.
struct BoostConfig {
  double strength = 0.0;  ///< β at the start; 0 = no boosting
  int32_t period_samples =
      1000;            ///< the running mean of the duty cycles covers about so many samples
  double decay = 1.0;  ///< factor per epoch
  double until = 0.7;  ///< fraction of the training after which β is 0
  bool operator==(const BoostConfig&) const = default;
};

/// Noise on the ranking (training only): score = x·exp(σ·g), g normal and drawn anew for each sample
/// and unit, σ(e) = strength · max(0, 1 − (e / epochs) / until). See NoiseAt.
struct KwtaNoiseConfig {
  double strength = 0.0;  ///< σ at the start; 0 = none
  double until = 0.8;     ///< fraction of the training after which σ is 0
  bool operator==(const KwtaNoiseConfig&) const = default;
};

/// ReLU, then exactly `rule.winners` units survive. Training may begin with more: winners fall from
/// winners_start to winners, linearly over the first anneal_until of the training. See WinnersAt.
struct KwtaConfig {
  packed::Kwta rule;          ///< as deployed: winners, scope, groups, chunk
  int32_t winners_start = 0;  ///< 0 = winners from the start
  double anneal_until = 0.6;  ///< fraction of the training
  /// Each step of training has up to this part more winners, drawn anew (a multiple of groups).
  double jitter = 0.0;
  /// Losers pass with this factor when training begins; falls linearly to 0 at anneal_until.
  double leak = 0.0;
  BoostConfig boost;
  KwtaNoiseConfig noise;
  bool operator==(const KwtaConfig&) const = default;
};

/// One layer. Only the members that belong to `kind` mean anything; the others keep their defaults.
struct LayerConfig {
  LayerKind kind = LayerKind::kRelu;
  std::string name;  ///< given or automatic (conv1, conv2, linear1, kwta1, …); unique
  /// The names as written: what is read in place of the value before; add, multiply and concat read both.
  std::vector<std::string> from;
  // conv2d, depthwise_conv2d, linear
  int32_t outputs =
      0;  ///< conv2d `channels`, linear `units` (the word `classes` is resolved here),
          ///< depthwise_conv2d: as many as the input has
  bool outputs_are_classes = false;  ///< linear `units: classes`
  bool bias = true;
  PackingConfig packing;
  // convolutions, max_pool, avg_pool
  packed::Window window;
  // batch_norm, layer_norm (epsilon alone)
  double momentum = 0.1, epsilon = 1e-5;
  bool affine = true;
  // dropout
  double dropout = 0.5;
  // kwta
  KwtaConfig kwta;
  // Filled by shape inference (network.h); channels last.
  /// The layers whose values it reads, by index, −1: the network's input. Never empty; an add's or multiply's first one
  /// has the full shape.
  std::vector<int32_t> inputs;
  Shape input, output;         ///< input: of the first one
  packed::KernelShape kernel;  ///< layers with weights; channels: packed::Layer::kernel

  bool IsConvolution() const {
    return kind == LayerKind::kConv2d || kind == LayerKind::kConv1d ||
           kind == LayerKind::kDepthwiseConv2d;
  }
  bool HasWeights() const { return IsConvolution() || kind == LayerKind::kLinear; }
  bool HasOwners() const { return HasWeights() && packing.layout.set_size > 1; }
  bool operator==(const LayerConfig&) const = default;
};

struct NetworkConfig {
  std::vector<LayerConfig> layers;
  Shape input;                   ///< speech: {mels, frames, 1}; npy, images: data.input
  bool normalise_input = false;  ///< data.normalise: an affine of each channel before the layers
  int32_t class_count = 0;       ///< = layers.back().output.elements()
  bool operator==(const NetworkConfig&) const = default;
};

enum class OptimiserKind : uint8_t { kSgd, kAdamw };
struct OptimiserConfig {
  OptimiserKind kind = OptimiserKind::kAdamw;
  double momentum = 0.9;                              ///< sgd
  bool nesterov = false;                              ///< sgd
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< adamw
  bool operator==(const OptimiserConfig&) const = default;
};

enum class ScheduleKind : uint8_t { kConstant, kCosine, kOneCycle, kStep };
/// Factor of the learning rate at each optimiser step; see LearningRateAt.
struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kCosine;
  double warmup_epochs = 0.0;   ///< all but one_cycle: linear from 0 over so many epochs
  double final_factor = 0.0;    ///< cosine: factor at the end
  double rise_frac = 0.3;       ///< one_cycle: fraction of the training that rises to learning_rate
  double start_divisor = 25.0;  ///< one_cycle: begins at learning_rate / start_divisor
  double final_divisor =
      1e4;  ///< one_cycle: ends at learning_rate / (start_divisor · final_divisor)
  double step_factor = 0.5;  ///< step: multiplied by this …
  int32_t step_epochs = 10;  ///< … after each so many epochs
  bool operator==(const ScheduleConfig&) const = default;
};

enum class Device : uint8_t { kAuto, kCpu, kCuda };

/// Which epoch's network a run keeps: for export, as a teacher, to begin with. kAuto is kLast, and
/// kBest with early stopping, which ends after epochs without a gain.
enum class Keep : uint8_t { kAuto, kLast, kBest };

/// Trained runs whose classes are learned beside the labels: loss = (1 − weight)·cross entropy +
/// weight·T²·KL(mean of the teachers ‖ network), all softened by T. Hinton et al. 2015.
struct TeacherConfig {
  std::vector<std::string> runs;  ///< their folders; empty: no teacher
  double weight = 0.5;
  double temperature = 2.0;
  bool operator==(const TeacherConfig&) const = default;
};

/// By what layers that have two ways train (train/nn/ways.h): kAuto times both at the start.
enum class Kernels : uint8_t { kAuto, kPacked, kMasked };

/// What a sample's logits are compared with its label by.
enum class LossKind : uint8_t {
  kCrossEntropy,  ///< of softmax(logits): one class or another
  kOneVsAll,  ///< Σ over classes of the binary cross entropy of sigmoid(logit): each class alone, or none of them
};

struct TrainConfig {
  std::string from;  ///< run folder whose weights training begins with; empty: at random
  TeacherConfig teacher;
  int32_t epochs = 30;
  int32_t batch_size = 64;
  OptimiserConfig optimiser;
  double learning_rate = 1e-3;  ///< the peak
  ScheduleConfig schedule;
  double weight_decay =
      0.01;  ///< on weights of conv2d and linear only (not biases, not batch_norm or layer_norm)
  LossKind loss = LossKind::kCrossEntropy;
  double label_smoothing = 0.0;
  double mixup = 0.0;          ///< α of mixup.h; 0 = none
  double ema_decay = 0.0;      ///< of weight_average.h, which evaluation and export use; 0 = none
  double gradient_clip = 0.0;  ///< largest L2 norm of all gradients together; 0 = no clipping
  Kernels kernels = Kernels::kAuto;
  Device device = Device::kAuto;
  int32_t threads = 0;            ///< LibTorch's threads; 0 = one per core
  int32_t workers = 1;            ///< threads that load, augment and compute features
  int32_t worker_timeout_s = 60;  ///< data-parallel: how long processes wait for one another
  Keep keep = Keep::kAuto;
  int32_t early_stop_epochs =
      0;                      ///< stop after so many epochs without a better validation; 0 = never
  std::string runs = "runs";  ///< folder of the run folders; a run's folder is runs/<name>
  bool KeepsBest() const {
    return keep == Keep::kBest || (keep == Keep::kAuto && early_stop_epochs > 0);
  }
  bool operator==(const TrainConfig&) const = default;
};

struct Config {
  std::string path;  ///< file it came from; empty for text
  std::string text;  ///< the YAML as read (with overrides: as PrintConfig gives it)
  std::string name;  ///< of the network and the run; the file's stem by default
  uint64_t seed = 1;
  data::DatasetConfig data;
  FrontEnd front_end;          ///< speech only
  DetectionOptions detection;  ///< speech only
  NetworkConfig network;
  TrainConfig train;
};

/// Winners of the k-WTA at `progress` (0 … 1) of the training: a multiple of groups, never below
/// rule.winners.
int32_t WinnersAt(const KwtaConfig& kwta, double progress);

/// β of the boosting in `epoch` (0-based) of `epochs`; 0 from `until` on.
double BoostAt(const BoostConfig& boost, int32_t epoch, int32_t epochs);

/// σ of the ranking's noise in `epoch` (0-based) of `epochs`; 0 from `until` on.
double NoiseAt(const KwtaNoiseConfig& noise, int32_t epoch, int32_t epochs);

/// Factor on the losers at `progress` (0 … 1) of the training.
double LeakAt(const KwtaConfig& kwta, double progress);

/// Kernels of a set kept in each run at `progress` (0 … 1) of the training, of `set_size`: falls
/// geometrically from all of them to 1 at anneal_until.
int32_t KeptAt(const OwnerLearning& learning, int32_t set_size, double progress);

/// Learning rate at optimiser step `step` of `steps_per_epoch · epochs`.
double LearningRateAt(const TrainConfig& train, int64_t step, int64_t steps_per_epoch);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_CONFIG_H_
