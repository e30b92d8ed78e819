// SPDX-License-Identifier: Apache-2.0
// Fold, pack, verify, write; see export.h.
#include "train/export/export.h"

#include <ctime>

#include "data/dataset.h"
#include "deploy/base/check.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"
#include "train/config/assemble.h"
#include "train/config/network.h"
#include "train/config/print.h"
#include "train/export/near_ties.h"
#include "train/loop/trained_run.h"

namespace bisparse::train {
namespace {

constexpr int64_t kVerifyBatch = 64;

std::span<const float> Values(const torch::Tensor& tensor) {
  if (!tensor.defined()) return {};
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

std::vector<float> ToVector(const torch::Tensor& tensor) {
  const std::span<const float> values = Values(tensor);
  return {values.begin(), values.end()};
}

std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

/// Validation samples spread over the split, back to back.
std::vector<float> ValidationFeatures(const Config& config, int64_t limit, int64_t* samples) {
  const auto dataset = data::OpenDataset(config.data, config.front_end,
                                         {.seed = config.seed, .train = false, .test = false});
  const int64_t size = dataset->size(data::Split::kValidation);
  if (size == 0) {
    Fail(ErrorKind::kData, config.path,
         "no validation samples to verify the model on (hint: --data names the recordings)");
  }
  *samples = std::min(limit, size);
  const auto floats = static_cast<size_t>(dataset->shape().elements());
  std::vector<float> x_bhwc(static_cast<size_t>(*samples) * floats);
  for (int64_t b = 0; b < *samples; ++b) {
    dataset->Features(data::Split::kValidation, b * size / *samples, 0,
                      std::span(x_bhwc).subspan(static_cast<size_t>(b) * floats, floats));
  }
  return x_bhwc;
}

}  // namespace

packed::Model BuildModel(const Config& config, Network& network,
                         const std::vector<std::string>& class_names, double validation_accuracy) {
  std::vector<LayerWeights> weights;
  std::vector<Affine> affines;
  const std::vector<TrainedLayer> layers = network->TrainedLayers();
  for (size_t i = 0; i < layers.size(); ++i) {
    const TrainedLayer& layer = layers[i];
    if (layer.config.HasWeights()) {
      weights.push_back({.weight_op = ToVector(layer.weight_op),
                         .owner_nr = layer.owner_nr,
                         .bias_o = ToVector(layer.bias_o)});
    } else if (layer.config.kind == LayerKind::kBatchNorm) {
      const BatchNormStatistics statistics{.gamma = Values(layer.scale_c),
                                           .beta = Values(layer.shift_c),
                                           .mean = Values(layer.mean_c),
                                           .variance = Values(layer.variance_c),
                                           .epsilon = layer.config.epsilon};
      if (FoldsIntoWeights(config.network, i)) {
        FoldBatchNorm(weights.back(), statistics);
      } else {
        affines.push_back(ToAffine(statistics));
      }
    }
  }
  return AssembleModel(config, weights, affines, class_names,
                       {.config_text = PrintConfig(config),
                        .version = BISPARSE_VERSION,
                        .created_utc = UtcNow(),
                        .seed = config.seed,
                        .validation_accuracy = validation_accuracy});
}

Verification VerifyModel(const packed::Model& model, Network& network,
                         const std::vector<float>& x_bhwc, Mode mode) {
  const int64_t floats = model.input.elements(), classes = model.output_count();
  const auto samples = static_cast<int64_t>(x_bhwc.size()) / floats;
  const Engine engine = EngineAccess::FromModel(model, {.threads = 0, .mode = mode});
  std::vector<float> logits_bo(static_cast<size_t>(samples * classes));
  engine.RunBatch(x_bhwc, samples, logits_bo);
  const torch::Tensor ours = torch::from_blob(logits_bo.data(), {samples, classes});

  Verification result{.mode = mode, .samples = samples, .location = model.name};
  double lowest = 0, highest = 0, worst = 0;
  for (int64_t begin = 0; begin < samples; begin += kVerifyBatch) {
    const int64_t count = std::min(kVerifyBatch, samples - begin);
    const torch::Tensor x =
        torch::from_blob(const_cast<float*>(x_bhwc.data()) + begin * floats,
                         {count, model.input.height, model.input.width, model.input.channels});
    const TracedForward theirs = ForwardWithNearTies(network, x);
    const torch::Tensor clear_b = theirs.nearly_tied_b.logical_not();
    const torch::Tensor ours_b = ours.narrow(0, begin, count);
    result.nearly_tied += theirs.nearly_tied_b.sum().item<int64_t>();
    result.top1_differ +=
        ours_b.argmax(1).ne(theirs.logits_bo.argmax(1)).logical_and(clear_b).sum().item<int64_t>();
    const torch::Tensor difference = (ours_b - theirs.logits_bo).abs().amax(1);
    worst = std::max(worst, difference.masked_fill(theirs.nearly_tied_b, 0).max().item<double>());
    lowest = std::min(lowest, theirs.logits_bo.min().item<double>());
    highest = std::max(highest, theirs.logits_bo.max().item<double>());
  }
  result.worst_difference = highest > lowest ? worst / (highest - lowest) : 0.0;
  return result;
}

void RequireVerified(const Verification& v) {
  const std::string where = fmt::format("{}, mode {}", v.location, ModeName(v.mode));
  if (v.top1_differ > 0) {
    Fail(ErrorKind::kInternal, where,
         "the engine's top class differs from LibTorch's in {} of {} samples (allowed: none); no "
         "file was written",
         v.top1_differ, v.samples);
  }
  if (!(v.worst_difference <= kLargestDifference)) {
    Fail(ErrorKind::kInternal, where,
         "logits differ from LibTorch's by {:.2e} of their range (allowed: {:.0e}); no file was "
         "written",
         v.worst_difference, kLargestDifference);
  }
  if (static_cast<double>(v.nearly_tied) > kLargestTiedFraction * static_cast<double>(v.samples)) {
    Fail(ErrorKind::kInternal, where,
         "in {} of {} samples a k-WTA layer's winner is within rounding of a loser (allowed: "
         "{:.0f} %); no file was written (hint: a network that has not learned yet ties often)",
         v.nearly_tied, v.samples, 100 * kLargestTiedFraction);
  }
}

ExportResult ExportRun(const ExportOptions& options) {
  TrainedRun run = LoadTrainedRun(options.run);
  if (!options.data.empty()) run.config.data.speech_commands.root = options.data;
  int64_t samples = 0;
  const std::vector<float> x_bhwc = ValidationFeatures(run.config, options.samples, &samples);
  ExportResult result;
  result.model =
      BuildModel(run.config, run.network, ClassNames(run.config.data), run.validation_accuracy);

  const std::vector<uint8_t> bytes = packed::SerialiseModel(result.model);
  result.file_bytes = static_cast<int64_t>(bytes.size());
  const packed::Model read_back = packed::ParseModel(bytes, options.output);
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse}) {
    result.verifications.push_back(VerifyModel(read_back, run.network, x_bhwc, mode));
    RequireVerified(result.verifications.back());
  }
  packed::WriteModel(result.model, options.output);
  return result;
}

}  // namespace bisparse::train
