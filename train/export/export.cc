// SPDX-License-Identifier: Apache-2.0
// Fold, pack, verify, quantise, write; see export.h.
#include "train/export/export.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
#include <memory>
#include <utility>

#include "data/dataset.h"
#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"
#include "deploy/reference/reference.h"
#include "train/config/assemble.h"
#include "train/config/graph.h"
#include "train/config/print.h"
#include "train/export/near_ties.h"
#include "train/export/quantise.h"
#include "train/loop/libtorch_error.h"
#include "train/loop/run_folder.h"
#include "train/loop/trained_run.h"

namespace bisparse::train {
namespace {

constexpr int64_t kVerifyBatch = 64;
constexpr int64_t kDefinitionSamples = 16;  // the definition is scalar: milliseconds each
constexpr Mode kModes[] = {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse};

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

/// Training samples come as validation sees them: not augmented.
std::unique_ptr<data::Dataset> Open(const Config& config, bool train,
                                    const std::string& cache_folder) {
  data::DatasetConfig plain = config.data;
  plain.augment.enabled = plain.pixel_augment.enabled = false;
  return data::OpenDataset(
      plain, config.front_end,
      {.seed = config.seed, .train = train, .test = false, .cache_folder = cache_folder});
}

/// At most `limit` samples spread over the split.
LabelledSamples Take(const data::Dataset& dataset, data::Split split, int64_t limit,
                     const Config& config) {
  const int64_t size = dataset.size(split), samples = std::min(limit, size);
  if (size == 0) {
    Fail(ErrorKind::kData, config.path,
         "no {} samples to verify the model on (hint: --data says where the data are)",
         data::SplitName(split));
  }
  const auto floats = static_cast<size_t>(dataset.shape().elements());
  LabelledSamples taken;
  taken.x_bhwc.resize(static_cast<size_t>(samples) * floats);
  for (int64_t b = 0; b < samples; ++b) {
    const int64_t index = b * size / samples;
    dataset.Features(split, index, 0,
                     std::span(taken.x_bhwc).subspan(static_cast<size_t>(b) * floats, floats));
    taken.class_b.push_back(dataset.Label(split, index));
  }
  return taken;
}

double Accuracy(const packed::Model& model, const LabelledSamples& samples) {
  const Engine engine = EngineAccess::FromModel(model, {.threads = 0});
  const size_t count = samples.class_b.size();
  const auto classes = static_cast<size_t>(engine.output_count());
  std::vector<float> logits_bo(count * classes);
  engine.RunBatch(samples.x_bhwc, static_cast<int64_t>(count), logits_bo);
  int64_t right = 0;
  for (size_t b = 0; b < count; ++b) {
    const auto row = logits_bo.begin() + static_cast<ptrdiff_t>(b * classes);
    const auto best = std::max_element(row, row + static_cast<ptrdiff_t>(classes)) - row;
    right += best == samples.class_b[b];
  }
  return static_cast<double>(right) / static_cast<double>(count);
}

}  // namespace

packed::Model BuildModel(const Config& config, Network& network,
                         const std::vector<std::string>& class_names, double validation_accuracy) {
  std::vector<LayerWeights> weights;
  std::vector<Affine> affines;
  if (config.network.normalise_input) {
    affines.push_back({ToVector(network->input_scale_c()), ToVector(network->input_shift_c())});
  }
  const std::vector<TrainedLayer> layers = network->TrainedLayers();
  std::vector<size_t> place(layers.size());  // in `weights`, of each layer with weights
  for (size_t i = 0; i < layers.size(); ++i) {
    const TrainedLayer& layer = layers[i];
    if (layer.config.HasWeights()) {
      place[i] = weights.size();
      weights.push_back({.weight_op = ToVector(layer.weight_op),
                         .owner_nr = layer.owner_nr,
                         .bias_o = ToVector(layer.bias_o)});
    } else if (layer.config.kind == LayerKind::kLayerNorm) {
      affines.push_back({ToVector(layer.scale_c), ToVector(layer.shift_c)});
    } else if (layer.config.kind == LayerKind::kBatchNorm) {
      const BatchNormStatistics statistics{.gamma = Values(layer.scale_c),
                                           .beta = Values(layer.shift_c),
                                           .mean = Values(layer.mean_c),
                                           .variance = Values(layer.variance_c),
                                           .epsilon = layer.config.epsilon};
      if (const std::optional<size_t> target = FoldTarget(config.network, i)) {
        FoldBatchNorm(weights[place[*target]], statistics);
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
  double lowest = 0, highest = 0;
  std::vector<torch::Tensor> difference, other_top1, nearly_tied;
  for (int64_t begin = 0; begin < samples; begin += kVerifyBatch) {
    const int64_t count = std::min(kVerifyBatch, samples - begin);
    const torch::Tensor x =
        torch::from_blob(const_cast<float*>(x_bhwc.data()) + begin * floats,
                         {count, model.input.height, model.input.width, model.input.channels});
    const TracedForward theirs = ForwardWithNearTies(network, x);
    const torch::Tensor ours_b = ours.narrow(0, begin, count);
    difference.push_back((ours_b - theirs.logits_bo).abs().amax(1));
    other_top1.push_back(ours_b.argmax(1).ne(theirs.logits_bo.argmax(1)));
    nearly_tied.push_back(theirs.nearly_tied_b);
    lowest = std::min(lowest, theirs.logits_bo.min().item<double>());
    highest = std::max(highest, theirs.logits_bo.max().item<double>());
  }
  const double range = std::max(highest - lowest, std::numeric_limits<double>::min());
  const torch::Tensor difference_b = torch::cat(difference) / range;
  const torch::Tensor other_b = torch::cat(other_top1), tied_b = torch::cat(nearly_tied);
  // NaN is a difference too.
  const torch::Tensor swapped_b =
      difference_b.le(kLargestDifference).logical_not().logical_or(other_b).logical_and(tied_b);
  result.nearly_tied = tied_b.sum().item<int64_t>();
  result.swapped = swapped_b.sum().item<int64_t>();
  result.top1_differ = other_b.logical_and(tied_b.logical_not()).sum().item<int64_t>();
  result.worst_difference = difference_b.masked_fill(swapped_b, 0).max().item<double>();
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
  if (static_cast<double>(v.swapped) > kLargestSwappedFraction * static_cast<double>(v.samples)) {
    Fail(ErrorKind::kInternal, where,
         "in {} of {} samples rounding swapped a k-WTA layer's winner with a loser and changed the "
         "logits (allowed: "
         "{:.0f} %); no file was written (hint: a network that has not learned yet ties often)",
         v.swapped, v.samples, 100 * kLargestSwappedFraction);
  }
}

FormatLoss MeasureLoss(const packed::Model& f32, const packed::Model& i8,
                       const LabelledSamples& samples) {
  return {.samples = static_cast<int64_t>(samples.class_b.size()),
          .f32_accuracy = Accuracy(f32, samples),
          .i8_accuracy = Accuracy(i8, samples)};
}

void RequireSmallLoss(const FormatLoss& loss, double max_loss, const std::string& location) {
  const double points = 100.0 * (loss.f32_accuracy - loss.i8_accuracy);
  if (points <= max_loss + 1e-9) return;
  Fail(ErrorKind::kData, location,
       "int8 is right in {:.2f} % of {} validation samples, f32 in {:.2f} %: loses {:.2f} points "
       "(allowed: {:.2f}); no file was written (hint: --max-loss {:.2f}, or --format f32)",
       100.0 * loss.i8_accuracy, loss.samples, 100.0 * loss.f32_accuracy, points, max_loss,
       std::ceil(100.0 * points - 1e-6) / 100.0);
}

void RequireDefinition(const packed::Model& i8, const std::vector<float>& x_bhwc) {
  const auto floats = static_cast<size_t>(i8.input.elements());
  for (const Mode mode : kModes) {
    const Engine engine = EngineAccess::FromModel(i8, {.mode = mode});
    std::vector<float> logits(static_cast<size_t>(engine.output_count()));
    for (size_t b = 0; b < x_bhwc.size() / floats; ++b) {
      const std::span<const float> x = std::span(x_bhwc).subspan(b * floats, floats);
      engine.Run(x, logits);
      const std::vector<float> definition = RunReferenceI8(i8, x).logits;
      for (size_t o = 0; o < logits.size(); ++o) {
        if (logits[o] == definition[o]) continue;
        Fail(ErrorKind::kInternal, fmt::format("{}, mode {}", i8.name, ModeName(mode)),
             "logit {} of sample {} is {} in the engine, {} by the definition of int8; no file was "
             "written",
             o, b, logits[o], definition[o]);
      }
    }
  }
}

void RedirectData(const ExportOptions& options, data::DatasetConfig& config) {
  const bool arrays = config.kind == data::DatasetKind::kNpy;
  const bool pictures = config.kind == data::DatasetKind::kImages;
  std::string& folder = pictures ? config.images.root : config.speech_commands.root;
  const std::string trained_on =
      fmt::format("the run was trained on {}", pictures ? "pictures" : "recordings");
  const auto refuse = [](const char* flag, const std::string& what) {
    Fail(ErrorKind::kConfiguration, flag, "{}", what);
  };
  if (!arrays && !options.labels.empty()) {
    refuse("--labels", trained_on + ", whose folders are the labels");
  }
  if (!arrays && options.data.ends_with(".npy")) {
    refuse("--data", trained_on + " (hint: give their folder)");
  }
  if (arrays && options.data.empty() != options.labels.empty()) {
    refuse(options.data.empty() ? "--data" : "--labels",
           "missing: the run was trained on arrays (hint: --data x.npy --labels y.npy)");
  }
  if (!options.data.empty()) {
    if (arrays) {
      config.npy.train_x = options.data;
      config.npy.train_y = options.labels;
      config.npy.validation_x = config.npy.validation_y = "";
    } else {
      folder = options.data;
    }
    return;
  }
  std::vector<std::string> paths = {folder};
  if (arrays) {
    paths = {config.npy.train_x, config.npy.train_y, config.npy.validation_x,
             config.npy.validation_y};
  }
  for (const std::string& path : paths) {
    if (path.empty() || PathExists(path)) continue;
    Fail(ErrorKind::kData, path,
         "is not there; the run in {} was trained with it, in the folder in which training ran "
         "(hint: run there, or say where it is now: {})",
         options.run, arrays ? "--data x.npy --labels y.npy" : "--data FOLDER");
  }
}

namespace {

/// The names of the outputs: those that the run was trained with.
std::vector<std::string> ClassNamesOf(const TrainedRun& run, const data::Dataset& dataset) {
  const std::vector<std::string>& theirs = dataset.class_names();
  if (run.class_names.empty()) {  // a run of an older version
    const bool fits = static_cast<int64_t>(theirs.size()) == run.config.network.class_count;
    return fits ? theirs : std::vector<std::string>();
  }
  if (theirs != run.class_names) {
    Fail(ErrorKind::kData, run.config.path,
         "the data have the classes [{}], the run was trained with [{}]", fmt::join(theirs, ", "),
         fmt::join(run.class_names, ", "));
  }
  return run.class_names;
}

/// ExportOptions::even_classes.
void EvenClasses(const data::Dataset& dataset, double tau, TrainedRun& run) {
  const LayerConfig& last = run.config.network.layers.back();
  torch::Tensor bias_o;
  for (const auto& entry : run.network->named_parameters()) {
    if (entry.key().ends_with(last.name + ".bias")) bias_o = entry.value();
  }
  if (last.kind != LayerKind::kLinear || !bias_o.defined()) {
    Fail(ErrorKind::kConfiguration, "--even-classes",
         "the last layer, '{}', is no linear layer with a bias", last.name);
  }
  const torch::NoGradGuard no_grad;
  torch::Tensor count_o = torch::zeros({bias_o.size(0)}, torch::kFloat64);
  for (int64_t i = 0; i < dataset.size(data::Split::kTrain); ++i) {
    count_o[dataset.Label(data::Split::kTrain, i)] += 1.0;
  }
  count_o.clamp_min_(1.0);  // a class without samples is not made infinitely probable
  bias_o.sub_((tau * torch::log(count_o / count_o.mean())).to(bias_o.dtype()));
}

ExportResult Export(const ExportOptions& options) {
  RequireWritable(options.output);
  TrainedRun run = LoadTrainedRun(options.run, options.weights);
  RedirectData(options, run.config.data);
  if (run.config.data.kind == data::DatasetKind::kNpy) {
    run.config.data.npy.class_names = run.class_names;
  }
  if (run.config.data.kind == data::DatasetKind::kImages) {
    run.config.data.images.class_names = run.class_names;
  }
  const bool i8 = options.format == packed::NumberFormat::kI8;
  const std::unique_ptr<data::Dataset> dataset =
      Open(run.config, /*train=*/i8 || options.even_classes != 0.0, FolderOfRun(options.run));
  if (options.even_classes != 0.0) EvenClasses(*dataset, options.even_classes, run);
  const auto take = [&](data::Split split, int64_t limit) {
    return Take(*dataset, split, limit, run.config);
  };
  const std::vector<float> x_bhwc = take(data::Split::kValidation, options.samples).x_bhwc;
  ExportResult result;
  result.model =
      BuildModel(run.config, run.network, ClassNamesOf(run, *dataset), run.validation_accuracy);

  packed::Model read_back =
      packed::ParseModel(packed::SerialiseModel(result.model), options.output);
  for (const Mode mode : kModes) {
    result.verifications.push_back(VerifyModel(read_back, run.network, x_bhwc, mode));
    RequireVerified(result.verifications.back());
  }
  if (i8) {
    const LabelledSamples calibration = take(data::Split::kTrain, options.calibration_samples);
    const LabelledSamples validation = take(data::Split::kValidation, INT64_MAX);
    const packed::Model f32 =
        std::exchange(result.model, QuantiseModel(result.model, calibration.x_bhwc));
    read_back = packed::ParseModel(packed::SerialiseModel(result.model), options.output);
    RequireDefinition(read_back, take(data::Split::kValidation, kDefinitionSamples).x_bhwc);
    result.loss = MeasureLoss(f32, read_back, validation);
    RequireSmallLoss(*result.loss, options.max_loss, options.output);
    result.model.provenance.validation_accuracy = result.loss->i8_accuracy;
  }
  const std::vector<uint8_t> bytes = packed::SerialiseModel(result.model);
  WriteFileAtomically(options.output, std::as_bytes(std::span(bytes)));
  result.file_bytes = std::ssize(bytes);
  return result;
}

}  // namespace

ExportResult ExportRun(const ExportOptions& options) {
  return CallLibTorch(options.run, [&] { return Export(options); });
}

}  // namespace bisparse::train
