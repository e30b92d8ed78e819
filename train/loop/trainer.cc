// SPDX-License-Identifier: Apache-2.0
// The training loop, top to bottom: Run → TrainEpoch → TrainBatch → Validate → EndEpoch. Tested in:
// loop_test.cc, tests/resume_kill, tests/signature. Past 400 lines: these steps share one state, which a checkpoint holds.
#include "train/loop/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/loader.h"
#include "data/open_set.h"
#include "data/sample_table.h"
#include "data/speech_commands_layout.h"
#include "deploy/base/check.h"
#include "deploy/base/cores.h"
#include "deploy/base/print.h"
#include "deploy/base/progress.h"
#include "deploy/base/random.h"
#include "train/loop/checkpoint.h"
#include "train/loop/code_version.h"
#include "train/loop/kernel_choice.h"
#include "train/loop/libtorch_error.h"
#include "train/loop/mixup.h"
#include "train/loop/normalise.h"
#include "train/loop/optimiser.h"
#include "train/loop/teacher.h"
#include "train/loop/weight_average.h"
#include "train/nn/network.h"

namespace bisparse::train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kDivergenceHint =
    "(hint: lower train.learning_rate or set train.gradient_clip; in a new run, --out; earlier "
    "checkpoints are kept)";

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

torch::Device ChooseDevice(const Config& config) {
  const bool has_cuda = torch::cuda::is_available();
  if (config.train.device == Device::kCuda && !has_cuda) {
    Fail(ErrorKind::kConfiguration, config.path,
         "train.device = cuda, but this LibTorch finds no CUDA device (hint: auto or cpu)");
  }
  return config.train.device != Device::kCpu && has_cuda ? torch::kCUDA : torch::kCPU;
}

/// How arrays that were read as `got` become what the network takes.
std::string ShapeHint(const Config& config, const Shape& got, const Shape& want) {
  if (config.data.kind != data::DatasetKind::kNpy) return "";
  if (got == want) return " (hint: units: classes, or as many units in the last linear)";
  const bool last = config.data.npy.channels_last;
  // A file of a×b×c was read as a×b×c, or with channels first as b×c×a.
  if (!last && want == Shape{got.channels, got.height, got.width}) {
    return " (hint: data.channels_last: true)";
  }
  if (last && want == Shape{got.width, got.channels, got.height}) {
    return " (hint: data.channels_last: false)";
  }
  if (got.channels == 1 && want == Shape{1, got.width, got.height}) {
    return " (hint: a series N×C×L is saved as N×C×1×L: x[:, :, None, :])";
  }
  if (got.channels == 1 && want == Shape{1, got.height, got.width}) {
    return " (hint: a series N×L×C is saved as N×1×L×C, x[:, None], with data.channels_last: true)";
  }
  return fmt::format(" (hint: data.input: [{}, {}, {}])", got.height, got.width, got.channels);
}

/// One run from its start, or from its last checkpoint, to its end.
class Trainer {
 public:
  Trainer(const Config& config, const data::Dataset& dataset, const TrainOptions& options,
          const RunFolder& run, const ProcessGroup* group);
  TrainResult Run();

 private:
  struct DeviceBatch {
    torch::Tensor x_bhwc, y_b;
    double share = 1.0;  ///< of the joint batch
  };

  void TrainEpoch();
  void TrainBatch(const DeviceBatch& batch);
  struct SplitResult {
    double loss = 0, accuracy = 0;
  };
  SplitResult Evaluate(data::Split split);
  void MeasureOpenSet(EpochMetrics& metrics);
  void Validate(EpochMetrics& metrics);
  void EndEpoch(EpochMetrics metrics);

  void SumGradients();
  DeviceBatch ToDevice(data::Split split, data::Batch& batch) const;
  torch::Tensor Loss(const torch::Tensor& logits, const torch::Tensor& y_b) const;
  double GradientNorm() const;
  [[noreturn]] void FailNotFinite(const DeviceBatch& batch, double loss);
  void RequireInputInRange(data::Split split, const data::Batch& batch,
                           const torch::Tensor& x_bhwc) const;
  void RequireFiniteWeights() const;
  void Checkpoint();
  void Save(const std::string& path, const torch::optim::Optimizer* optimiser) const;
  void WriteMetrics() const;
  void WriteSummary() const;
  std::string Suffix(double batch_seconds) const;
  bool StopAsked() const { return options_.stop != nullptr && options_.stop->load(); }
  /// Several processes stop after the same batch.
  bool Stopping() const { return group_ == nullptr ? StopAsked() : stop_agreed_; }
  bool Leads() const { return group_ == nullptr || group_->rank() == 0; }
  bool Finished() const;
  double TotalSteps() const {
    return static_cast<double>(config_.train.epochs) * static_cast<double>(steps_per_epoch_);
  }
  double Minutes() const;

  const Config& config_;
  const data::Dataset& dataset_;
  const TrainOptions& options_;
  const RunPaths paths_;
  const ProcessGroup* const group_;  ///< null: this process alone
  std::FILE* const progress_to_;
  bool stop_agreed_ = false;
  const torch::Device device_;
  data::LoaderOptions loader_options_;
  int64_t steps_per_epoch_ = 0;
  Network network_{nullptr};
  std::unique_ptr<torch::optim::Optimizer> optimiser_;
  std::optional<WeightAverage> average_;
  std::optional<Teacher> teacher_;
  Progress progress_;
  double learning_rate_ = 0.0;
  // Of the machine, by its load average at the ends of this session's epochs: whether a run had it
  // to itself.
  double load_sum_ = 0.0;
  int load_epochs_ = 0;
};

Trainer::Trainer(const Config& config, const data::Dataset& dataset, const TrainOptions& options,
                 const RunFolder& run, const ProcessGroup* group)
    : config_(config),
      dataset_(dataset),
      options_(options),
      paths_(run.paths()),
      group_(group),
      progress_to_(Leads() ? options.progress : nullptr),
      device_(ChooseDevice(config)) {
  const int threads = config.train.threads > 0 ? config.train.threads : UsableCores();
  at::set_num_threads(threads);
  // Moments of weights that get no gradient any more decay into denormal numbers, which are slow.
  at::globalContext().setFlushDenormal(true);

  const int64_t samples = dataset.size(data::Split::kTrain);
  if (samples < 2 || dataset.size(data::Split::kValidation) < 1) {
    Fail(ErrorKind::kData, config.path,
         "{} training and {} validation samples; at least 2 and 1 are needed", samples,
         dataset.size(data::Split::kValidation));
  }
  if (dataset.shape() != config.network.input ||
      static_cast<int64_t>(dataset.class_names().size()) != config.network.class_count) {
    const Shape got = dataset.shape(), want = config.network.input;
    Fail(ErrorKind::kConfiguration, config.path,
         "the data has samples of {}x{}x{} in {} classes, the network takes {}x{}x{} in {}{}",
         got.height, got.width, got.channels, dataset.class_names().size(), want.height, want.width,
         want.channels, config.network.class_count, ShapeHint(config, got, want));
  }
  loader_options_ = {.batch = config.train.batch_size,
                     .workers = config.train.workers,
                     .seed = config.seed,
                     .shuffle = true,
                     // An incomplete batch would have another batch norm than the rest.
                     .drop_last = samples >= config.train.batch_size,
                     .rank = group == nullptr ? 0 : group->rank(),
                     .ranks = group == nullptr ? 1 : group->size()};
  if (std::min<int64_t>(samples, config.train.batch_size) < loader_options_.ranks) {
    Fail(ErrorKind::kConfiguration, config.path,
         "train.batch_size = {}, {} samples, {} processes: some would have none",
         config.train.batch_size, samples, loader_options_.ranks);
  }
  steps_per_epoch_ = data::BatchCount(samples, loader_options_);

  torch::manual_seed(config.seed);
  network_ = Network(config.network, config.seed);
  if (config.network.normalise_input) {
    const Affine columns = ColumnNormalisation(dataset);
    network_->SetInputNormalisation(columns.scale_c, columns.shift_c);
  }
  if (!config.train.from.empty()) BeginWith(config.train.from, network_);
  if (!config.train.teacher.runs.empty()) {
    teacher_.emplace(config, dataset.class_names(), device_, dataset.picture_input());
  }
  network_->to(device_);
  optimiser_ = MakeOptimiser(config.train, *network_);
  average_.emplace(network_, config.train.ema_decay);
  network_->SetProcessGroup(group);
  run.Begin(DescribeData(dataset));
  if (group != nullptr) group->Wait();  // the leader has deleted what was to go
  // The kernels are for CPUs.
  if (device_.is_cpu()) {
    network_->SetWays(ChooseKernels(config, paths_.kernels(), options.open == OpenRun::kResume,
                                    group, progress_to_));
  }
  if (options.open == OpenRun::kResume && PathExists(paths_.last())) {
    progress_ = LoadCheckpoint(paths_.last(), network_, optimiser_.get(), &average_->tensors());
    network_->to(device_);
  }
  // Dropout and noise differ between the processes' shares.
  if (!Leads()) {
    const auto step =
        static_cast<uint64_t>(progress_.epoch * steps_per_epoch_ + progress_.next_batch);
    torch::manual_seed(
        CounterRandom(config.seed, {0x72616e6b, static_cast<uint64_t>(group->rank()), step})
            .Next());
  }
}

TrainResult Trainer::Run() {
  while (!Finished() && !Stopping()) {
    TrainEpoch();
    if (Stopping() && progress_.next_batch < steps_per_epoch_) break;
    RequireFiniteWeights();
    EpochMetrics metrics{.epoch = progress_.epoch, .learning_rate = learning_rate_};
    {
      const WeightAverage::InPlace average(*average_);
      Validate(metrics);
    }
    EndEpoch(std::move(metrics));
  }
  if (Stopping() && !Finished()) Checkpoint();
  return {.run_folder = paths_.folder,
          .stopped = !Finished(),
          .epochs = progress_.epoch,
          .best_epoch = progress_.best_epoch,
          .best_accuracy = progress_.best_accuracy,
          .minutes = Minutes(),
          .leads = Leads()};
}

/// Trains on the batches of progress_.epoch that are left; ends early when stopping.
void Trainer::TrainEpoch() {
  network_->train();
  network_->SetEpoch(static_cast<int32_t>(progress_.epoch), config_.train.epochs);
  data::Loader loader(dataset_, data::Split::kTrain, loader_options_,
                      static_cast<uint64_t>(progress_.epoch), progress_.next_batch);
  std::optional<ProgressBar> bar;
  if (progress_to_ != nullptr) {
    bar.emplace(fmt::format("epoch {:3}/{}", progress_.epoch + 1, config_.train.epochs),
                steps_per_epoch_, progress_to_);
  }
  const double earlier_seconds = progress_.seconds.total;
  const Clock::time_point start = Clock::now();
  Clock::time_point last_checkpoint = start;
  const int64_t first_batch = progress_.next_batch;
  Clock::time_point asked = start;
  for (data::Batch batch; !Stopping() && loader.Next(batch); asked = Clock::now()) {
    progress_.seconds.data += SecondsSince(asked);
    TrainBatch(ToDevice(data::Split::kTrain, batch));
    ++progress_.next_batch;
    if (options_.under_way != nullptr) *options_.under_way = true;
    progress_.seconds.total = earlier_seconds + SecondsSince(start);
    if (bar) {
      const double done = static_cast<double>(progress_.next_batch - first_batch);
      bar->Update(progress_.next_batch, Suffix(SecondsSince(start) / done));
    }
    if (SecondsSince(last_checkpoint) > options_.checkpoint_seconds) {
      Checkpoint();
      last_checkpoint = Clock::now();
    }
  }
  if (bar) bar->Finish();
}

void Trainer::TrainBatch(const DeviceBatch& batch) {
  const Clock::time_point start = Clock::now();
  const int64_t step = progress_.epoch * steps_per_epoch_ + progress_.next_batch;
  learning_rate_ = LearningRateAt(config_.train, step, steps_per_epoch_);
  SetLearningRate(*optimiser_, learning_rate_);
  // What is not owned has moments and averages no more.
  network_->PackFixedOwners(static_cast<double>(step) / TotalSteps(),
                            [&](const torch::Tensor& weight, const auto& repack) {
                              ChangeMoments(*optimiser_, weight, repack);
                              average_->Change(weight, repack);
                            });

  optimiser_->zero_grad();
  const double lambda = DrawMixup(config_.train.mixup, config_.seed, step);
  const bool mixed = lambda < 1.0;
  const torch::Tensor x_bhwc =
      mixed ? batch.x_bhwc.lerp(batch.x_bhwc.flip(0), 1.0 - lambda) : batch.x_bhwc;
  const torch::Tensor logits = network_->forward(x_bhwc);
  torch::Tensor loss = Loss(logits, batch.y_b);
  if (mixed) loss = lambda * loss + (1.0 - lambda) * Loss(logits, batch.y_b.flip(0));
  if (teacher_) loss = teacher_->Mix(loss, logits, x_bhwc);
  const Clock::time_point after_forward = Clock::now();
  progress_.seconds.forward += std::chrono::duration<double>(after_forward - start).count();
  if (group_ != nullptr) loss = loss * batch.share;  // summed over the processes: the joint mean
  loss.backward();
  SumGradients();
  network_->LearnOwners(step, static_cast<double>(step) / TotalSteps(), learning_rate_);

  // Before the step; RequireFiniteWeights looks at what the last one of an epoch made.
  double loss_value = loss.item<double>(), count = static_cast<double>(batch.y_b.size(0));
  double correct = static_cast<double>(logits.argmax(1).eq(batch.y_b).sum().item<int64_t>());
  if (group_ != nullptr) {
    torch::Tensor sums =
        torch::tensor({loss_value, correct, count, StopAsked() ? 1.0 : 0.0}, torch::kFloat64);
    group_->Sum(sums);
    loss_value = sums[0].item<double>();
    correct = sums[1].item<double>();
    count = sums[2].item<double>();
    stop_agreed_ = sums[3].item<double>() > 0.0;
  }
  const double norm = GradientNorm();
  if (!std::isfinite(loss_value) || !std::isfinite(norm)) FailNotFinite(batch, loss_value);
  const double clip = config_.train.gradient_clip;
  if (clip > 0.0 && norm > clip) {
    for (const torch::Tensor& parameter : network_->parameters()) {
      if (parameter.grad().defined()) parameter.grad().mul_(clip / norm);
    }
  }
  optimiser_->step();
  average_->Update(step);

  progress_.loss_sum += loss_value * count;
  progress_.correct += static_cast<int64_t>(correct);
  progress_.samples += static_cast<int64_t>(count);
  progress_.seconds.backward += SecondsSince(after_forward);
}

/// Accuracy (fraction) and plain cross entropy (no label smoothing).
Trainer::SplitResult Trainer::Evaluate(data::Split split) {
  torch::NoGradGuard no_grad;
  network_->eval();
  data::LoaderOptions loader_options = loader_options_;
  loader_options.shuffle = loader_options.drop_last = false;
  data::Loader loader(dataset_, split, loader_options, 0);
  int64_t correct = 0, samples = 0;
  double loss_sum = 0.0;
  for (data::Batch batch; loader.Next(batch);) {
    if (batch.count == 0) continue;  // fewer samples than processes
    const DeviceBatch on_device = ToDevice(split, batch);
    const torch::Tensor logits = network_->forward(on_device.x_bhwc);
    loss_sum +=
        torch::cross_entropy_loss(logits, on_device.y_b, {}, at::Reduction::Sum).item<double>();
    correct += logits.argmax(1).eq(on_device.y_b).sum().item<int64_t>();
    samples += batch.count;
  }
  if (group_ != nullptr) {
    torch::Tensor sums = torch::tensor(
        {loss_sum, static_cast<double>(correct), static_cast<double>(samples)}, torch::kFloat64);
    group_->Sum(sums);
    loss_sum = sums[0].item<double>();
    correct = std::llround(sums[1].item<double>());
    samples = std::llround(sums[2].item<double>());
  }
  if (!std::isfinite(loss_sum)) {
    Fail(ErrorKind::kConfiguration, paths_.folder, "epoch {}: the loss on the {} samples is {} {}",
         progress_.epoch + 1, data::SplitName(split), loss_sum, kDivergenceHint);
  }
  return {loss_sum / static_cast<double>(samples),
          static_cast<double>(correct) / static_cast<double>(samples)};
}

/// Each of several processes takes all clips: a threshold follows from all of them.
void Trainer::MeasureOpenSet(EpochMetrics& metrics) {
  const std::vector<std::string>& names = dataset_.class_names();
  const auto unknown = static_cast<int32_t>(
      std::find(names.begin(), names.end(), data::kUnknownClass) - names.begin());
  if (unknown == static_cast<int32_t>(names.size())) return;
  torch::NoGradGuard no_grad;
  network_->eval();
  data::LoaderOptions loader_options = loader_options_;
  loader_options.shuffle = loader_options.drop_last = false;
  loader_options.rank = 0;
  loader_options.ranks = 1;
  std::vector<double> right, others, held_out;
  int64_t words = 0;
  for (const data::Split split : {data::Split::kValidation, data::Split::kHeldOut}) {
    data::Loader loader(dataset_, split, loader_options, 0);
    for (data::Batch batch; loader.Next(batch);) {
      const torch::Tensor logits_bo =
          network_->forward(ToDevice(split, batch).x_bhwc).to(torch::kCPU).contiguous();
      for (int64_t b = 0; b < batch.count; ++b) {
        const std::span<const float> logits(logits_bo.data_ptr<float>() + b * logits_bo.size(1),
                                            names.size());
        const data::WordScore score = data::WordScoreOf(logits, names);
        const auto label = static_cast<size_t>(batch.y_b[static_cast<size_t>(b)]);
        if (data::IsWord(names[label])) {
          ++words;
          if (score.word == label) right.push_back(score.score);
        } else if (names[label] == data::kUnknownClass) {
          (split == data::Split::kHeldOut ? held_out : others).push_back(score.score);
        }
      }
    }
  }
  if (words == 0) return;
  const auto threshold = data::ThresholdAtFound(std::move(right), words, 0.9);
  if (!threshold) return;
  if (!others.empty()) metrics.unknown_accepted = data::AcceptedAt(others, *threshold);
  if (!held_out.empty()) metrics.held_out_accepted = data::AcceptedAt(held_out, *threshold);
}

void Trainer::Validate(EpochMetrics& metrics) {
  const SplitResult clean = Evaluate(data::Split::kValidation);
  metrics.validation_loss = clean.loss;
  metrics.validation_accuracy = clean.accuracy;
  // Several copies of each clip take their time, so only where they choose or are the run's result.
  const bool wanted = config_.train.KeepsBest() || progress_.epoch + 1 == config_.train.epochs;
  if (wanted && dataset_.size(data::Split::kPerturbed) > 0) {
    metrics.validation_perturbed = Evaluate(data::Split::kPerturbed).accuracy;
  }
  if (wanted) MeasureOpenSet(metrics);
}

/// Books the epoch, writes best.pt where it is the one to keep so far, then last.pt, metrics.csv and
/// summary.json. In this order a kill between two files loses nothing: the epoch is trained again,
/// to the same bits.
void Trainer::EndEpoch(EpochMetrics metrics) {
  const double samples = static_cast<double>(progress_.samples);
  metrics.train_loss = progress_.loss_sum / samples;
  metrics.train_accuracy = static_cast<double>(progress_.correct) / samples;
  metrics.seconds = progress_.seconds;
  metrics.clips_per_second = samples / std::max(metrics.seconds.total, 1e-9);
  for (const NetworkImpl::Measure& measure : network_->Measures()) {
    metrics.measures.push_back(measure.value);
  }
  network_->BeginEpoch();
  if (double load = 0; ::getloadavg(&load, 1) == 1) {
    load_sum_ += load;
    ++load_epochs_;
  }
  const bool keeps_best = config_.train.KeepsBest();
  const bool keep = !keeps_best || Score(metrics) > progress_.best_score;
  if (keep) {
    progress_.best_score = Score(metrics);
    progress_.best_accuracy = metrics.validation_accuracy;
    progress_.best_perturbed = metrics.validation_perturbed;
    progress_.best_epoch = metrics.epoch;
  }
  if (progress_to_ != nullptr) {
    const std::string perturbed =
        metrics.validation_perturbed < 0.0
            ? ""
            : fmt::format(", perturbed {:.2f} %", 100 * metrics.validation_perturbed);
    const auto accepted = [](const char* what, double part) {
      return part < 0.0 ? "" : fmt::format(", {} accepted {:.2f} %", what, 100 * part);
    };
    PrintRemark(
        progress_to_,
        "  train loss {:.4f}, accuracy {:.2f} %; validation loss {:.4f}, accuracy {:.2f} "
        "%{}{}{}{}\n",
        metrics.train_loss, 100 * metrics.train_accuracy, metrics.validation_loss,
        100 * metrics.validation_accuracy, perturbed, accepted("unknown", metrics.unknown_accepted),
        accepted("held out", metrics.held_out_accepted), keeps_best && keep ? " (best)" : "");
    const EpochTime& t = metrics.seconds;
    const double percent = 100.0 / std::max(t.total, 1e-9);
    PrintRemark(
        progress_to_,
        "  {:.0f} clips/s: data {:.0f} %, forward {:.0f} %, backward {:.0f} % of the time\n",
        metrics.clips_per_second, percent * t.data, percent * t.forward, percent * t.backward);
  }
  Progress next{.epoch = progress_.epoch + 1,
                .best_epoch = progress_.best_epoch,
                .best_score = progress_.best_score,
                .best_accuracy = progress_.best_accuracy,
                .best_perturbed = progress_.best_perturbed,
                .history = std::move(progress_.history)};
  next.history.push_back(std::move(metrics));
  progress_ = std::move(next);
  if (keep) {
    const WeightAverage::InPlace average(*average_);
    Save(paths_.best(), nullptr);
  }
  Checkpoint();
  WriteMetrics();
  WriteSummary();
}

Trainer::DeviceBatch Trainer::ToDevice(data::Split split, data::Batch& batch) const {
  const Shape& shape = config_.network.input;
  const torch::Tensor x = torch::from_blob(
      batch.x_bhwc.data(), {batch.count, shape.height, shape.width, shape.channels});
  const torch::Tensor y = torch::from_blob(batch.y_b.data(), {batch.count}, torch::kInt64);
  const double share = static_cast<double>(batch.count) / static_cast<double>(batch.joint_count);
  RequireInputInRange(split, batch, x);
  return {x.to(device_), y.to(device_), share};
}

/// All gradients in one sum over the processes.
void Trainer::SumGradients() {
  if (group_ == nullptr) return;
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> gradients, flat;
  for (const torch::Tensor& parameter : network_->parameters()) {
    if (!parameter.grad().defined()) continue;
    gradients.push_back(parameter.grad());
    flat.push_back(parameter.grad().reshape({-1}));
  }
  torch::Tensor sums = torch::cat(flat);
  group_->Sum(sums);
  int64_t begin = 0;
  for (torch::Tensor& gradient : gradients) {
    gradient.copy_(sums.narrow(0, begin, gradient.numel()).view(gradient.sizes()));
    begin += gradient.numel();
  }
}

torch::Tensor Trainer::Loss(const torch::Tensor& logits, const torch::Tensor& y_b) const {
  if (config_.train.loss == LossKind::kOneVsAll) {
    const torch::Tensor target_bo =
        torch::one_hot(y_b, logits.size(1)).to(logits.dtype()) *
            (1.0 - config_.train.label_smoothing) +
        config_.train.label_smoothing / static_cast<double>(logits.size(1));
    return torch::binary_cross_entropy_with_logits(logits, target_bo, {}, {}, at::Reduction::Sum) /
           static_cast<double>(logits.size(0));
  }
  return torch::cross_entropy_loss(logits, y_b, {}, at::Reduction::Mean, /*ignore_index=*/-100,
                                   config_.train.label_smoothing);
}

/// L2 norm of all gradients together.
double Trainer::GradientNorm() const {
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> norms;
  for (const torch::Tensor& parameter : network_->parameters()) {
    if (parameter.grad().defined()) norms.push_back(parameter.grad().norm());
  }
  return norms.empty() ? 0.0 : torch::stack(norms).norm().item<double>();
}

/// Runs the batch again to find the first layer whose output, else whose gradient, is not finite.
void Trainer::FailNotFinite(const DeviceBatch& batch, double loss) {
  std::string where;
  const auto finite = [](const torch::Tensor& t) { return t.isfinite().all().item<bool>(); };
  {
    torch::NoGradGuard no_grad;
    network_->forward(batch.x_bhwc, [&](const LayerConfig& layer, const torch::Tensor& y) {
      if (where.empty() && !finite(y)) {
        where =
            fmt::format("the first output that is not finite is that of layer '{}'", layer.name);
      }
    });
  }
  if (where.empty()) {
    // Gradients flow backwards: the last parameter with one that is not finite is where they began.
    for (const auto& entry : network_->named_parameters()) {
      const torch::Tensor& gradient = entry.value().grad();
      if (gradient.defined() && !finite(gradient)) {
        where = fmt::format("the gradient of '{}' is not finite", entry.key());
      }
    }
  }
  Fail(ErrorKind::kConfiguration, paths_.folder, "epoch {}, step {} of {}: loss {}; {} {}",
       progress_.epoch + 1, progress_.next_batch + 1, steps_per_epoch_, loss,
       where.empty() ? "no layer shows it in a second run" : where, kDivergenceHint);
}

/// Names the sample whose features no sum can hold.
void Trainer::RequireInputInRange(data::Split split, const data::Batch& batch,
                                  const torch::Tensor& x_bhwc) const {
  // Squares of features, summed by batch norm, still fit single precision.
  constexpr double kLargestFeature = 1e15;
  const torch::NoGradGuard no_grad;
  if (batch.count == 0 || x_bhwc.abs().max().item<double>() <= kLargestFeature) return;
  const double inf = std::numeric_limits<double>::infinity();
  const torch::Tensor largest_b = x_bhwc.abs().amax({1, 2, 3}).nan_to_num(inf, inf);
  const int64_t b = largest_b.argmax().item<int64_t>();
  const int64_t index = batch.index_b[static_cast<size_t>(b)];
  Fail(ErrorKind::kData, dataset_.Describe(split, index, static_cast<uint64_t>(progress_.epoch)),
       "a feature of this {} sample is {:.3g}, and sums of it would leave single precision "
       "(allowed: {:.0e}) (hint: mend the sample or leave it out; arrays in other units: "
       "data.scale)",
       data::SplitName(split), largest_b[b].item<double>(), kLargestFeature);
}

/// A network that is broken is neither evaluated nor reaches a checkpoint. The last step before may
/// have broken it, which no loss has shown yet.
void Trainer::RequireFiniteWeights() const {
  const torch::NoGradGuard no_grad;
  const auto require = [&](const std::string& name, const torch::Tensor& tensor) {
    if (!tensor.is_floating_point() || tensor.isfinite().all().item<bool>()) return;
    Fail(ErrorKind::kConfiguration, paths_.folder, "epoch {}, step {} of {}: '{}' is not finite {}",
         progress_.epoch + 1, progress_.next_batch, steps_per_epoch_, name, kDivergenceHint);
  };
  for (const auto& entry : network_->named_parameters()) require(entry.key(), entry.value());
  for (const auto& entry : network_->named_buffers()) require(entry.key(), entry.value());
  for (const torch::Tensor& average : average_->tensors()) require("ema_decay", average);
}

void Trainer::Checkpoint() {
  RequireFiniteWeights();
  Save(paths_.last(), optimiser_.get());
}

void Trainer::Save(const std::string& path, const torch::optim::Optimizer* optimiser) const {
  if (!Leads()) return;
  try {
    SaveCheckpoint(path, network_, optimiser, progress_, average_->tensors());
  } catch (const Error& error) {
    Fail(error.kind(), "",
         "{}\n  after {} of {} epochs and {} steps; the checkpoint before it is kept "
         "(hint: make room, then --resume)",
         error.what(), progress_.epoch, config_.train.epochs, progress_.next_batch);
  }
}

void Trainer::WriteMetrics() const {
  if (!Leads()) return;
  std::string csv =
      "epoch,learning_rate,train_loss,train_accuracy,validation_loss,validation_accuracy,"
      "validation_perturbed,unknown_accepted,held_out_accepted,seconds,data_seconds,forward_"
      "seconds,backward_seconds,"
      "clips_per_second";
  for (const NetworkImpl::Measure& measure : network_->Measures()) csv += "," + measure.name;
  csv += '\n';
  for (const EpochMetrics& m : progress_.history) {
    const auto part = [](double x) { return x < 0.0 ? "" : fmt::format("{:.6f}", x); };
    csv += fmt::format(
        "{},{:.8g},{:.6f},{:.6f},{:.6f},{:.6f},{},{},{},{:.2f},{:.2f},{:.2f},{:.2f},{:.1f}",
        m.epoch + 1, m.learning_rate, m.train_loss, m.train_accuracy, m.validation_loss,
        m.validation_accuracy, part(m.validation_perturbed), part(m.unknown_accepted),
        part(m.held_out_accepted), m.seconds.total, m.seconds.data, m.seconds.forward,
        m.seconds.backward, m.clips_per_second);
    for (const double value : m.measures) csv += fmt::format(",{:.4f}", value);
    csv += '\n';
  }
  WriteFileAtomically(paths_.metrics(), csv);
}

void Trainer::WriteSummary() const {
  if (!Leads()) return;
  double clips = 0, seconds = 0;  // of all epochs
  for (const EpochMetrics& m : progress_.history) {
    clips += m.clips_per_second * m.seconds.total;
    seconds += m.seconds.total;
  }
  nlohmann::ordered_json summary = {{"name", config_.name},
                                    {"seed", config_.seed},
                                    {"epochs", progress_.epoch},
                                    {"finished", Finished()},
                                    {"best_epoch", progress_.best_epoch + 1},
                                    {"keep", config_.train.KeepsBest() ? "best" : "last"},
                                    {"validation_accuracy", progress_.best_accuracy},
                                    {"minutes", Minutes()},
                                    {"clips_per_second", clips / std::max(seconds, 1e-9)},
                                    {"nonzeros", network_->NonZeroWeights()},
                                    {"weights_dense", network_->DenseWeights()},
                                    {"train_samples", dataset_.size(data::Split::kTrain)},
                                    {"validation_samples", dataset_.size(data::Split::kValidation)},
                                    {"skipped_clips", dataset_.skipped().size()},
                                    {"device", device_.str()},
                                    {"threads", at::get_num_threads()},
                                    {"code", CodeVersion()},
                                    {"teachers", nlohmann::ordered_json::array()}};
  for (size_t i = 0; teacher_ && i < teacher_->digests().size(); ++i) {
    summary["teachers"].push_back(nlohmann::ordered_json{{"run", config_.train.teacher.runs[i]},
                                                         {"digest", teacher_->digests()[i]}});
  }
  if (load_epochs_ > 0) summary["machine_load"] = load_sum_ / load_epochs_;
  if (progress_.best_perturbed >= 0.0) summary["validation_perturbed"] = progress_.best_perturbed;
  if (progress_.best_epoch >= 0) {
    const EpochMetrics& best = progress_.history[static_cast<size_t>(progress_.best_epoch)];
    if (best.unknown_accepted >= 0.0) summary["unknown_accepted"] = best.unknown_accepted;
    if (best.held_out_accepted >= 0.0) {
      summary["held_out_accepted"] = best.held_out_accepted;
      summary["held_out_samples"] = dataset_.size(data::Split::kHeldOut);
    }
  }
  WriteFileAtomically(paths_.summary(),
                      summary.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string Trainer::Suffix(double batch_seconds) const {
  const int64_t epochs_left = config_.train.epochs - progress_.epoch;
  const double batches_left =
      static_cast<double>(epochs_left * steps_per_epoch_ - progress_.next_batch);
  return fmt::format("loss {:.3f}, run {} left",
                     progress_.loss_sum / static_cast<double>(progress_.samples),
                     FormatDuration(batches_left * batch_seconds));
}

bool Trainer::Finished() const {
  const int64_t patience = config_.train.early_stop_epochs;
  return progress_.epoch >= config_.train.epochs ||
         (patience > 0 && progress_.best_epoch >= 0 &&
          progress_.epoch - 1 - progress_.best_epoch >= patience);
}

double Trainer::Minutes() const {
  double seconds = progress_.seconds.total;
  for (const EpochMetrics& m : progress_.history) seconds += m.seconds.total;
  return seconds / 60.0;
}

RunFolder OpenRunFolder(const Config& config, const TrainOptions& options,
                        const ProcessGroup* group) {
  const std::string folder =
      options.run_folder.empty() ? config.train.runs + "/" + config.name : options.run_folder;
  const bool leads = group == nullptr || group->rank() == 0;
  return RunFolder(folder, config, leads ? options.open : OpenRun::kFollow);
}

TrainResult RunTrainer(const Config& config, const data::Dataset& dataset,
                       const TrainOptions& options, const RunFolder& run,
                       const ProcessGroup* group) {
  return CallLibTorch(run.paths().folder,
                      [&] { return Trainer(config, dataset, options, run, group).Run(); });
}

/// Null: this process trains alone.
std::unique_ptr<ProcessGroup> JoinOthers(const Config& config) {
  const auto place = PlaceFromEnvironment([](const char* name) { return std::getenv(name); });
  if (!place) return nullptr;
  return std::make_unique<ProcessGroup>(*place, std::chrono::seconds(config.train.worker_timeout_s),
                                        ChooseDevice(config));
}

}  // namespace

TrainResult Train(const Config& config, const data::Dataset& dataset, const TrainOptions& options) {
  const std::unique_ptr<ProcessGroup> group = JoinOthers(config);
  const RunFolder run = OpenRunFolder(config, options, group.get());
  return RunTrainer(config, dataset, options, run, group.get());
}

std::unique_ptr<data::Dataset> OpenTrainingData(const Config& config, std::FILE* progress,
                                                const std::string& cache_folder) {
  data::OpenOptions open{.seed = config.seed, .test = false, .cache_folder = cache_folder};
  std::optional<ProgressBar> bar;
  if (progress != nullptr) {
    open.progress = [&](int64_t done, int64_t total) {
      if (!bar) bar.emplace("reading data", total, progress);
      bar->Update(done);
    };
  }
  auto dataset = data::OpenDataset(config.data, config.front_end, open);
  if (bar) bar->Finish();
  if (progress != nullptr) PrintRemark(progress, "{}", data::DatasetReport(*dataset));
  return dataset;
}

TrainResult Train(const Config& config, const TrainOptions& options) {
  const std::unique_ptr<ProcessGroup> group = JoinOthers(config);
  const RunFolder run = OpenRunFolder(config, options, group.get());
  std::FILE* const progress = group == nullptr || group->rank() == 0 ? options.progress : nullptr;
  const std::string int8 = Int8Fault(config);
  if (progress != nullptr && !int8.empty()) {
    PrintRemark(progress, "bisparse-export --format int8 would refuse this network: {}\n", int8);
  }
  // OpenBLAS asks for its buffer (128 MB) until it gets it: while there is room, before the data are read.
  torch::mm(torch::ones({8, 8}), torch::ones({8, 8}));
  const auto dataset = OpenTrainingData(config, progress, FolderOfRun(run.paths().folder));
  return RunTrainer(config, *dataset, options, run, group.get());
}

}  // namespace bisparse::train
