// SPDX-License-Identifier: Apache-2.0
// The trainer on a small data set in memory: files, resuming bit for bit, locks, full disks, losses
// that are not finite, teachers. Past 400 lines: all of it uses the same data set and configuration.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "bisparse/error.h"
#include "deploy/base/file.h"
#include "deploy/base/random.h"
#include "train/config/load.h"
#include "train/config/network.h"
#include "train/config/print.h"
#include "train/loop/checkpoint.h"
#include "train/loop/kernel_choice.h"
#include "train/loop/memory_dataset.h"
#include "train/loop/mixup.h"
#include "train/loop/normalise.h"
#include "train/loop/optimiser.h"
#include "train/loop/teacher.h"
#include "train/loop/trained_run.h"
#include "train/loop/trainer.h"
#include "train/loop/weight_average.h"

namespace bisparse::train {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

Config MakeConfig(const std::vector<std::string>& overrides = {}) {
  return ParseConfig(R"(
data: {type: npy, train_x: x.npy, train_y: y.npy, input: [6, 6, 1], class_names: [low, middle, high]}
train: {epochs: 4, batch_size: 16, learning_rate: 0.01, threads: 1, workers: 0, device: cpu, kernels: masked}
network:
  - conv2d: {channels: 8, kernel: 3, packing: {set_size: 2, lanes: 1}}
  - batch_norm
  - kwta: {winners: 2, winners_start: 4, groups: 2, boost: {strength: 1.0}}
  - flatten
  - linear: {units: 24, packing: {set_size: 4, lanes: 2}}
  - batch_norm
  - kwta: {winners: 6, scope: global}
  - dropout: {probability: 0.2}
  - linear: {units: classes}
)",
                     "loop.yaml", overrides);
}

/// A fresh folder of this test's own.
std::string NewFolder(const std::string& what) {
  static int count = 0;
  const std::string folder =
      fmt::format("{}loop_{}_{}_{}", testing::TempDir(), ::getpid(), ++count, what);
  fs::remove_all(folder);
  return folder;
}

std::string ErrorOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

/// Every tensor of last.pt: parameters, buffers, optimiser moments by way of one more identical
/// step.
std::vector<torch::Tensor> StateOf(const Config& config, const std::string& folder,
                                   Progress* progress = nullptr) {
  Network network(config.network, config.seed);
  auto optimiser = MakeOptimiser(config.train, *network);
  const Progress loaded = LoadCheckpoint(RunPaths(folder).last(), network, optimiser.get());
  if (progress != nullptr) *progress = loaded;
  std::vector<torch::Tensor> state;
  for (const torch::Tensor& p : network->parameters()) state.push_back(p.detach().clone());
  for (const torch::Tensor& b : network->buffers()) state.push_back(b.clone());
  for (const torch::Tensor& p : network->parameters()) p.mutable_grad() = torch::ones_like(p);
  optimiser->step();
  for (const torch::Tensor& p : network->parameters()) state.push_back(p.detach().clone());
  state.push_back(torch::rand({4}));  // the generator
  return state;
}

void ExpectSameBits(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].sizes(), b[i].sizes());
    const torch::Tensor x = a[i].contiguous(), y = b[i].contiguous();
    EXPECT_EQ(std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()), 0) << "tensor " << i;
  }
}

TEST(Trainer, ChoosesTheBestEpochByCleanAndPerturbedValidation) {
  const MemoryDataset dataset;
  MemoryDataset clean_only;
  clean_only.perturbed = 0;
  const std::string folder = NewFolder("score"), plain = NewFolder("plain");
  const TrainResult result =
      Train(MakeConfig({"train.epochs=6", "train.keep=best"}), dataset, {.run_folder = folder});
  Progress progress;
  StateOf(MakeConfig(), folder, &progress);
  ASSERT_EQ(progress.history.size(), 6u);
  int64_t best = 0, differ = 0;
  for (int64_t e = 0; e < 6; ++e) {
    const EpochMetrics& m = progress.history[e];
    EXPECT_GE(m.validation_perturbed, 0.0);
    EXPECT_DOUBLE_EQ(Score(m), (m.validation_accuracy + m.validation_perturbed) / 2);
    differ += m.validation_accuracy != m.validation_perturbed;
    if (Score(m) > Score(progress.history[best])) best = e;
  }
  EXPECT_GT(differ, 0);
  EXPECT_EQ(result.best_epoch, best);
  EXPECT_EQ(result.best_accuracy, progress.history[best].validation_accuracy);
  const auto summary = nlohmann::json::parse(ReadTextFile(RunPaths(folder).summary()));
  EXPECT_EQ(summary["validation_perturbed"], progress.history[best].validation_perturbed);
  EXPECT_THAT(ReadTextFile(RunPaths(folder).metrics()),
              HasSubstr("validation_accuracy,validation_perturbed,"));

  Train(MakeConfig({"train.epochs=1"}), clean_only, {.run_folder = plain});
  StateOf(MakeConfig(), plain, &progress);
  EXPECT_LT(progress.history[0].validation_perturbed, 0.0);
  EXPECT_EQ(Score(progress.history[0]), progress.history[0].validation_accuracy);
  EXPECT_FALSE(nlohmann::json::parse(ReadTextFile(RunPaths(plain).summary()))
                   .contains("validation_perturbed"));
}

/// Softmax of a split's logits.
torch::Tensor ProbabilitiesOf(const std::string& folder, const data::Dataset& dataset,
                              data::Split split) {
  const torch::NoGradGuard no_grad;
  TrainedRun run = LoadTrainedRun(folder);
  run.network->eval();
  torch::Tensor x = torch::zeros({dataset.size(split), 6, 6, 1});
  for (int64_t i = 0; i < dataset.size(split); ++i) {
    dataset.Features(split, i, 0, {x.data_ptr<float>() + i * 36, 36});
  }
  return torch::softmax(run.network->forward(x).to(torch::kFloat64), 1);
}

TEST(Trainer, MeasuresWhatIsTakenForAWord) {
  MemoryDataset dataset;
  dataset.names = {"low", "middle", "_unknown_"};
  dataset.held_out = 40;
  const std::string folder = NewFolder("open_set");
  Train(MakeConfig({"train.epochs=12", "data.class_names=[low, middle, _unknown_]"}), dataset,
        {.run_folder = folder});
  const auto summary = nlohmann::json::parse(ReadTextFile(RunPaths(folder).summary()));
  // By its definition: of all scores the highest that finds 90 % of the 20 samples of words.
  const torch::Tensor p = ProbabilitiesOf(folder, dataset, data::Split::kValidation);
  const torch::Tensor q = ProbabilitiesOf(folder, dataset, data::Split::kHeldOut);
  const auto score = [](const torch::Tensor& row) {
    return std::max(row[0].item<double>(), row[1].item<double>());
  };
  double threshold = -1;
  for (int64_t candidate = 0; candidate < 30; ++candidate) {
    const double t = score(p[candidate]);
    int64_t found = 0;
    for (int64_t i = 0; i < 30; ++i) {
      const int64_t word = p[i][0].item<double>() >= p[i][1].item<double>() ? 0 : 1;
      found += word == i % 3 && score(p[i]) >= t;
    }
    if (found >= 18) threshold = std::max(threshold, t);
  }
  ASSERT_GE(threshold, 0.0);
  int64_t unknown = 0, held_out = 0;
  for (int64_t i = 2; i < 30; i += 3) unknown += score(p[i]) >= threshold - 1e-6;
  for (int64_t i = 0; i < 40; ++i) held_out += score(q[i]) >= threshold - 1e-6;
  EXPECT_DOUBLE_EQ(summary["unknown_accepted"], static_cast<double>(unknown) / 10);
  EXPECT_DOUBLE_EQ(summary["held_out_accepted"], static_cast<double>(held_out) / 40);
  EXPECT_EQ(summary["held_out_samples"], 40);
  Progress progress;
  StateOf(MakeConfig(), folder, &progress);
  EXPECT_LT(progress.history[0].held_out_accepted, 0.0);  // measured where an epoch may be kept
  EXPECT_EQ(progress.history[11].held_out_accepted, summary["held_out_accepted"]);
  EXPECT_THAT(ReadTextFile(RunPaths(folder).metrics()),
              HasSubstr(",unknown_accepted,held_out_accepted,"));
}

TEST(Trainer, EachClassAgainstAllOthersIsLearnedToo) {
  const MemoryDataset dataset;
  const std::string folder = NewFolder("one_vs_all"), softmax = NewFolder("softmax");
  const TrainResult result = Train(MakeConfig({"train.epochs=6", "train.loss=one_vs_all"}), dataset,
                                   {.run_folder = folder});
  EXPECT_GT(result.best_accuracy, 0.8);
  Progress one, other;
  StateOf(MakeConfig(), folder, &one);
  Train(MakeConfig({"train.epochs=1"}), dataset, {.run_folder = softmax});
  StateOf(MakeConfig(), softmax, &other);
  // At the start, three binary decisions against one of three classes: about 3·log 2 and log 3.
  EXPECT_GT(one.history[0].train_loss, 1.3 * other.history[0].train_loss);
}

std::vector<torch::Tensor> TensorsOf(const TrainedRun& run) {
  std::vector<torch::Tensor> tensors = run.network->parameters();
  for (const torch::Tensor& buffer : run.network->buffers()) tensors.push_back(buffer);
  return tensors;
}

TEST(Trainer, KeepsTheLastEpochWhateverItsScore) {
  const MemoryDataset dataset;
  const std::string last = NewFolder("last"), best = NewFolder("best");
  // A rate this large makes the score go up and down.
  const std::vector<std::string> settings = {"train.epochs=6", "train.learning_rate=0.1",
                                             "train.ema_decay=0.9"};
  const auto with = [&](const std::string& setting) {
    std::vector<std::string> all = settings;
    all.push_back(setting);
    return MakeConfig(all);
  };
  const TrainResult result = Train(MakeConfig(settings), dataset, {.run_folder = last});
  EXPECT_EQ(result.best_epoch, 5);
  Progress progress;
  StateOf(MakeConfig(settings), last, &progress);
  for (const EpochMetrics& m : progress.history) {
    EXPECT_EQ(m.validation_perturbed >= 0.0, m.epoch == 5) << "epoch " << m.epoch;
  }
  EXPECT_EQ(result.best_accuracy, progress.history[5].validation_accuracy);
  const auto summary = nlohmann::json::parse(ReadTextFile(RunPaths(last).summary()));
  EXPECT_EQ(summary["keep"], "last");
  EXPECT_EQ(summary["best_epoch"], 6);
  EXPECT_EQ(summary["validation_perturbed"], progress.history[5].validation_perturbed);
  EXPECT_THAT(summary["code"], testing::StartsWith("0."));
  EXPECT_EQ(summary["teachers"], nlohmann::json::array());
  EXPECT_GE(summary["machine_load"], 0.0);

  // The last epoch of a run that keeps its best one is there too, and is the average.
  ASSERT_LT(Train(with("train.keep=best"), dataset, {.run_folder = best}).best_epoch, 5);
  const TrainedRun kept = LoadTrainedRun(last), of_best = LoadTrainedRun(best, Weights::kLast);
  EXPECT_EQ(of_best.epoch, 5);
  EXPECT_EQ(of_best.validation_accuracy, result.best_accuracy);
  ExpectSameBits(TensorsOf(kept), TensorsOf(of_best));
  ExpectSameBits(TensorsOf(kept), TensorsOf(LoadTrainedRun(last, Weights::kLast)));
  EXPECT_FALSE(torch::equal(TensorsOf(kept)[0], TensorsOf(LoadTrainedRun(best))[0]));
  Network raw(kept.config.network, 1);
  LoadCheckpoint(RunPaths(last).last(), raw, nullptr);
  EXPECT_FALSE(torch::equal(TensorsOf(kept)[0], raw->parameters()[0]));
}

TEST(TrainedRun, RefusesTheWeightsOfHalfAnEpoch) {
  MemoryDataset dataset;
  std::atomic<bool> stop{false};
  int left = 130;  // 80 samples an epoch
  dataset.on_train = [&](uint64_t) { stop = stop || --left <= 0; };
  const std::string folder = NewFolder("half");
  Train(MakeConfig(), dataset, {.run_folder = folder, .stop = &stop});
  EXPECT_THAT(ErrorOf([&] { LoadTrainedRun(folder, Weights::kLast); }),
              HasSubstr("last.pt: is from the middle of epoch 2"));
  EXPECT_EQ(LoadTrainedRun(folder).epoch, 0);
}

TEST(Trainer, LearnsAndWritesTheRun) {
  const MemoryDataset dataset;
  const Config config = MakeConfig({"train.epochs=8", "train.keep=best"});
  const std::string folder = NewFolder("learns");
  const TrainResult result = Train(config, dataset, {.run_folder = folder});
  EXPECT_FALSE(result.stopped);
  EXPECT_EQ(result.epochs, 8);
  EXPECT_GT(result.best_accuracy, 0.8);
  const RunPaths paths(folder);
  const std::string metrics = ReadTextFile(paths.metrics());
  EXPECT_THAT(metrics, HasSubstr("epoch,learning_rate,train_loss"));
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 9);
  const auto summary = nlohmann::json::parse(ReadTextFile(paths.summary()));
  EXPECT_EQ(summary["best_epoch"], result.best_epoch + 1);
  EXPECT_EQ(summary["validation_accuracy"], result.best_accuracy);
  EXPECT_TRUE(summary["finished"]);

  TrainedRun run = LoadTrainedRun(folder);
  EXPECT_EQ(run.epoch, result.best_epoch);
  EXPECT_EQ(run.validation_accuracy, result.best_accuracy);
  EXPECT_EQ(summary["nonzeros"], run.network->NonZeroWeights());
  // The loaded network classifies as the trainer said.
  std::vector<float> x_bhwc(30 * 36);
  int64_t correct = 0;
  for (int64_t i = 0; i < 30; ++i) {
    dataset.Features(data::Split::kValidation, i, 0, std::span(x_bhwc).subspan(i * 36, 36));
  }
  const torch::Tensor best = Logits(run.network, x_bhwc, 30).argmax(1);
  for (int64_t i = 0; i < 30; ++i) correct += best[i].item<int64_t>() == i % 3;
  EXPECT_DOUBLE_EQ(static_cast<double>(correct) / 30, result.best_accuracy);
}

TEST(Mixup, IsBetaDistributedAndPureInItsStep) {
  EXPECT_EQ(DrawMixup(0.0, 1, 0), 1.0);
  EXPECT_EQ(DrawMixup(0.3, 1, 5), DrawMixup(0.3, 1, 5));
  EXPECT_NE(DrawMixup(0.3, 1, 5), DrawMixup(0.3, 1, 6));
  // Var Beta(α, α) = 1 / (8α + 4), and max(λ, 1 − λ) is as far from ½ as λ.
  constexpr int kDraws = 20000;
  for (const double alpha : {0.1, 0.4, 1.0}) {
    double variance = 0;
    for (int step = 0; step < kDraws; ++step) {
      const double lambda = DrawMixup(alpha, 3, step);
      ASSERT_GE(lambda, 0.5);
      ASSERT_LE(lambda, 1.0);
      variance += (lambda - 0.5) * (lambda - 0.5) / kDraws;
    }
    // (λ − ½)² lies in [0, ¼]: the mean's standard error is below ⅛ / √draws.
    EXPECT_NEAR(variance, 1 / (8 * alpha + 4), 4 * 0.125 / std::sqrt(kDraws)) << "alpha " << alpha;
  }
}

TEST(Trainer, MixupMixesSamplesAndLosses) {
  const MemoryDataset dataset;
  const std::string plain = NewFolder("plain"), mixed = NewFolder("mixed");
  Train(MakeConfig({"train.epochs=6"}), dataset, {.run_folder = plain});
  const Config config = MakeConfig({"train.epochs=6", "train.mixup=0.5"});
  const TrainResult result = Train(config, dataset, {.run_folder = mixed});
  EXPECT_GT(result.best_accuracy, 0.7);
  Progress of_plain, of_mixed;
  StateOf(config, plain, &of_plain);
  StateOf(config, mixed, &of_mixed);
  // What is mixed of two classes can't be fitted as well.
  EXPECT_GT(of_mixed.history.back().train_loss, of_plain.history.back().train_loss + 0.1);
}

TEST(WeightAverage, FollowsTheWeightsAndSwaps) {
  const Config config = MakeConfig();
  Network network(config.network, config.seed);
  const torch::NoGradGuard no_grad;
  WeightAverage average(network, 0.75);
  const torch::Tensor weight = network->parameters()[0];
  const torch::Tensor start = weight.clone();
  double expected = 0.0;  // what the average has moved, of a move of 1
  weight.add_(1.0);
  for (int64_t step : {0, 1, 2, 100}) {
    average.Update(step);
    const double decay = std::min(0.75, (1.0 + step) / (10.0 + step));
    expected = decay * expected + (1.0 - decay);
  }
  {
    const WeightAverage::InPlace in_place(average);
    EXPECT_TRUE(torch::allclose(weight, start + expected, 1e-5, 1e-6));
  }
  EXPECT_TRUE(torch::equal(weight, start + 1.0));
  // Statistics of batch norms take part, counters and duty cycles don't.
  for (const auto& buffer : network->named_buffers()) {
    const torch::Tensor before = buffer.value().clone();
    buffer.value().add_(1);
    {
      const WeightAverage::InPlace in_place(average);
      EXPECT_EQ(torch::equal(buffer.value(), before),
                buffer.key().find(".running_") != std::string::npos)
          << buffer.key();
    }
    EXPECT_TRUE(torch::equal(buffer.value(), before + 1)) << buffer.key();
  }
}

TEST(Trainer, EvaluatesAndKeepsTheAverageOfTheWeights) {
  const Config config = MakeConfig({"train.epochs=6", "train.ema_decay=0.9"});
  const std::string plain = NewFolder("plain"), averaged = NewFolder("averaged");
  const MemoryDataset dataset;
  Train(MakeConfig({"train.epochs=6"}), dataset, {.run_folder = plain});
  const TrainResult result = Train(config, dataset, {.run_folder = averaged});
  // Training itself is the same; what is evaluated and kept is not.
  Progress of_plain, of_averaged;
  ExpectSameBits(StateOf(config, plain, &of_plain), StateOf(config, averaged, &of_averaged));
  EXPECT_EQ(of_plain.history.back().train_loss, of_averaged.history.back().train_loss);
  EXPECT_NE(of_plain.history.back().validation_loss, of_averaged.history.back().validation_loss);
  TrainedRun run = LoadTrainedRun(averaged);
  std::vector<float> x_bhwc(30 * 36);
  for (int64_t i = 0; i < 30; ++i) {
    dataset.Features(data::Split::kValidation, i, 0, std::span(x_bhwc).subspan(i * 36, 36));
  }
  const torch::Tensor best = Logits(run.network, x_bhwc, 30).argmax(1);
  int64_t correct = 0;
  for (int64_t i = 0; i < 30; ++i) correct += best[i].item<int64_t>() == i % 3;
  EXPECT_DOUBLE_EQ(static_cast<double>(correct) / 30, result.best_accuracy);
}

/// Stops after 37, 2 and 160 further samples: in mid-epoch, at once, and in a later epoch. Then
/// goes on to the end.
void TrainInParts(const Config& config, const std::string& folder) {
  MemoryDataset dataset;
  for (const int64_t samples : {37, 2, 160}) {
    std::atomic<bool> stop{false};
    int64_t left = samples;
    dataset.on_train = [&](uint64_t) { stop = stop || --left <= 0; };
    const TrainResult result =
        Train(config, dataset, {.run_folder = folder, .open = OpenRun::kResume, .stop = &stop});
    EXPECT_TRUE(result.stopped);
  }
  dataset.on_train = nullptr;
  const TrainResult result =
      Train(config, dataset, {.run_folder = folder, .open = OpenRun::kResume});
  EXPECT_FALSE(result.stopped);
}

TEST(Trainer, StoppedAnywhereAndResumedGivesTheSameBits) {
  const Config config = MakeConfig({"train.ema_decay=0.9", "train.mixup=0.2"});
  const std::string whole = NewFolder("whole"), parts = NewFolder("parts");
  Train(config, MemoryDataset(), {.run_folder = whole});
  TrainInParts(config, parts);
  Progress of_whole, of_parts;
  ExpectSameBits(StateOf(config, whole, &of_whole), StateOf(config, parts, &of_parts));
  ASSERT_EQ(of_whole.history.size(), 4u);
  ASSERT_EQ(of_parts.history.size(), 4u);
  for (int e = 0; e < 4; ++e) {
    EXPECT_EQ(of_whole.history[e].train_loss, of_parts.history[e].train_loss) << "epoch " << e;
    EXPECT_EQ(of_whole.history[e].validation_loss, of_parts.history[e].validation_loss);
    for (const Progress* progress : {&of_whole, &of_parts}) {
      const EpochMetrics& m = progress->history[e];
      const double parts_of_it = m.seconds.data + m.seconds.forward + m.seconds.backward;
      EXPECT_GT(m.seconds.forward, 0.0);
      EXPECT_GT(m.seconds.backward, 0.0);
      EXPECT_LE(parts_of_it, m.seconds.total);
      EXPECT_NEAR(m.clips_per_second * m.seconds.total, 80.0, 1e-6);  // 5 whole batches of 16
    }
  }
  // Another seed is another network: the comparison can fail.
  const Config other = MakeConfig({"seed=2", "train.ema_decay=0.9", "train.mixup=0.2"});
  const std::string other_folder = NewFolder("other");
  Train(other, MemoryDataset(), {.run_folder = other_folder});
  EXPECT_FALSE(torch::equal(StateOf(config, whole)[0], StateOf(other, other_folder)[0]));
}

TEST(Trainer, AGraphResumesWithTheSameBits) {
  const Config config = MakeConfig(
      {"network=[{conv2d: {channels: 8, kernel: 3}}, {batch_norm: {name: trunk}}, "
       "{kwta: {winners: 2, groups: 2, boost: {strength: 1.0}}}, "
       "{conv2d: {channels: 8, kernel: 3, padding: 1, packing: {set_size: 2, owners: learned}}}, "
       "{batch_norm: {name: inner}}, {add: {from: trunk}}, {relu: {name: sum}}, {avg_pool: "
       "{kernel: 0}}, "
       "{multiply: {from: sum}}, {concat: {from: inner}}, flatten, {linear: {units: classes}}]"});
  const std::string whole = NewFolder("whole"), parts = NewFolder("parts");
  Train(config, MemoryDataset(), {.run_folder = whole});
  TrainInParts(config, parts);
  Progress of_whole, of_parts;
  ExpectSameBits(StateOf(config, whole, &of_whole), StateOf(config, parts, &of_parts));
  EXPECT_LT(of_whole.history.back().train_loss, of_whole.history.front().train_loss);
}

TEST(Trainer, ResumingAFinishedRunChangesNothing) {
  const Config config = MakeConfig({"train.epochs=1"});
  const std::string folder = NewFolder("finished");
  const MemoryDataset dataset;
  Train(config, dataset, {.run_folder = folder});
  const std::string before = ReadTextFile(RunPaths(folder).last());
  const TrainResult result =
      Train(config, dataset, {.run_folder = folder, .open = OpenRun::kResume});
  EXPECT_EQ(result.epochs, 1);
  EXPECT_EQ(ReadTextFile(RunPaths(folder).last()), before);
}

TEST(Trainer, EarlyStopEndsTheRun) {
  // A learning rate near zero never improves on the first epoch.
  const Config config =
      MakeConfig({"train.epochs=50", "train.learning_rate=1e-12", "train.early_stop_epochs=3"});
  const MemoryDataset dataset;
  const TrainResult result = Train(config, dataset, {.run_folder = NewFolder("early")});
  EXPECT_LT(result.epochs, 50);
  EXPECT_EQ(result.epochs, result.best_epoch + 4);
  EXPECT_FALSE(result.stopped);
}

/// A training that diverges: SGD whose rate grows too large at `epoch`, from 0.
Config Diverging(double learning_rate, const std::vector<std::string>& overrides = {}) {
  std::vector<std::string> all = {"train.optimiser.kind=sgd", "train.schedule.kind=constant"};
  all.insert(all.end(), overrides.begin(), overrides.end());
  Config config = MakeConfig(all);
  config.train.learning_rate = learning_rate;  // past what the schema allows
  return config;
}

TEST(Trainer, ALossThatIsNotFiniteNamesEpochStepAndLayer) {
  const MemoryDataset dataset;
  const std::string folder = NewFolder("nan");
  EXPECT_THAT(ErrorOf([&] { Train(Diverging(1e25), dataset, {.run_folder = folder}); }),
              AllOf(HasSubstr("epoch 1, step 2 of 5"), HasSubstr("of layer '"), HasSubstr("hint")));
  EXPECT_FALSE(fs::exists(RunPaths(folder).last()));
}

TEST(Trainer, AnEpochsLastStepThatDivergesReachesNoCheckpoint) {
  // One step an epoch: no later one shows a loss. Weights that are not finite, then weights that
  // are, but give no finite loss on validation.
  const MemoryDataset dataset;
  for (const auto& [rate, what] : {std::pair(3e38, "' is not finite"),
                                   std::pair(1e30, "the loss on the validation samples")}) {
    const std::string folder = NewFolder("last_step");
    const Config config = Diverging(rate, {"train.batch_size=90", "train.weight_decay=100"});
    EXPECT_THAT(ErrorOf([&] { Train(config, dataset, {.run_folder = folder}); }),
                AllOf(HasSubstr("epoch 1"), HasSubstr(what), HasSubstr("hint")));
    EXPECT_FALSE(fs::exists(RunPaths(folder).last()));
    EXPECT_FALSE(fs::exists(RunPaths(folder).best()));
  }
}

TEST(Trainer, WhatLibTorchRefusesIsAFaultOfTheSettingsInOneLine) {
  const MemoryDataset dataset;
  const std::string message =
      ErrorOf([&] { Train(Diverging(1e300), dataset, {.run_folder = NewFolder("refused")}); });
  EXPECT_THAT(message, AllOf(HasSubstr("LibTorch refuses these settings: "), HasSubstr("hint")));
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST(Trainer, AFeatureThatOverflowsNamesItsSample) {
  struct Poisoned : MemoryDataset {
    data::Split where;
    float value;
    void Features(data::Split split, int64_t index, uint64_t epoch,
                  std::span<float> x) const override {
      MemoryDataset::Features(split, index, epoch, x);
      if (split == where && (split == data::Split::kValidation || epoch == 1) && index == 17) {
        x[5] = value;
      }
    }
  } dataset;
  for (const float value : {1e30f, -1e18f, std::numeric_limits<float>::quiet_NaN(),
                            -std::numeric_limits<float>::infinity()}) {
    dataset.value = value;
    dataset.where = data::Split::kValidation;
    EXPECT_THAT(
        ErrorOf([&] { Train(MakeConfig(), dataset, {.run_folder = NewFolder("validation")}); }),
        HasSubstr("memory[17]: a feature of this validation sample is "));
    dataset.where = data::Split::kTrain;
    const std::string folder = NewFolder("train");
    EXPECT_THAT(ErrorOf([&] { Train(MakeConfig(), dataset, {.run_folder = folder}); }),
                HasSubstr("memory[17]: a feature of this train sample is "));
    // Nothing is lost: the run goes on from the end of the first epoch.
    const TrainResult result =
        Train(MakeConfig(), MemoryDataset(), {.run_folder = folder, .open = OpenRun::kResume});
    EXPECT_EQ(result.epochs, 4);
  }
}

TEST(Normalise, ColumnsHaveMeanZeroAndDeviationOne) {
  struct Columns : MemoryDataset {
    Shape shape() const override { return {1, 2, 3}; }
    void Features(data::Split, int64_t index, uint64_t, std::span<float> x) const override {
      CounterRandom random(9, {static_cast<uint64_t>(index)});
      for (size_t i = 0; i < 6; i += 3) {
        x[i] = 48000 + 900 * random.Normal();
        x[i + 1] = 7;
        x[i + 2] = 1e-4f * random.Normal();
      }
    }
  } dataset;
  const Affine affine = ColumnNormalisation(dataset);
  for (const size_t c : {0, 1, 2}) {
    double sum = 0, squares = 0;
    std::vector<float> x(6);
    for (int64_t n = 0; n < 90; ++n) {
      dataset.Features(data::Split::kTrain, n, 0, x);
      for (const size_t i : {c, c + 3}) {
        const double y = double{x[i]} * affine.scale_c[c] + affine.shift_c[c];
        sum += y / 180;
        squares += y * y / 180;
      }
    }
    EXPECT_NEAR(sum, 0, 1e-4) << c;
    EXPECT_NEAR(squares, c == 1 ? 0 : 1, 1e-4) << c;
  }
}

TEST(Normalise, IsTheNetworksFirstStepAndIsKept) {
  struct Scaled : MemoryDataset {
    void Features(data::Split split, int64_t index, uint64_t epoch,
                  std::span<float> x) const override {
      MemoryDataset::Features(split, index, epoch, x);
      for (float& value : x) value = 48000 + 900 * value;
    }
  } dataset;
  const Config config = MakeConfig({"data.normalise=column", "train.epochs=1"});
  const std::string folder = NewFolder("normalise");
  Train(config, dataset, {.run_folder = folder});
  TrainedRun run = LoadTrainedRun(folder);
  EXPECT_NEAR(run.network->input_scale_c().item<float>(), 1 / 900.0f, 0.2 / 900);
  std::vector<float> x(36);
  dataset.Features(data::Split::kValidation, 0, 0, x);
  const torch::Tensor raw = torch::from_blob(x.data(), {1, 6, 6, 1});
  const torch::Tensor expected = raw * run.network->input_scale_c() + run.network->input_shift_c();
  EXPECT_TRUE(torch::equal(run.network->Normalised(raw), expected));
  EXPECT_LT(run.network->Normalised(raw).abs().max().item<float>(), 10.0f);
}

TEST(Trainer, ArraysOfAnotherShapeSayHowToTurnThem) {
  struct Shaped : MemoryDataset {
    Shape of;
    Shape shape() const override { return of; }
  } dataset;
  const auto hint = [&](Shape got, const std::string& input) {
    dataset.of = got;
    const Config config = ParseConfig(
        "data: {type: npy, train_x: x.npy, train_y: y.npy, " + input +
            ", class_names: [low, middle, high]}\nnetwork: [flatten, linear: {units: classes}]\n",
        "shape.yaml");
    return ErrorOf([&] { Train(config, dataset, {.run_folder = NewFolder("shape")}); });
  };
  // A file of 12×9×8, read with channels first.
  EXPECT_THAT(hint({9, 8, 12}, "input: [12, 9, 8]"), HasSubstr("(hint: data.channels_last: true)"));
  EXPECT_THAT(hint({9, 8, 7}, "input: [9, 8, 6]"), HasSubstr("(hint: data.input: [9, 8, 7])"));
  EXPECT_THAT(hint({5, 20, 1}, "input: [1, 20, 5]"), HasSubstr("x[:, :, None, :]"));
}

TEST(Trainer, AFullDiskLosesNothing) {
  const Config config = MakeConfig();
  MemoryDataset dataset;
  const std::string folder = NewFolder("full");
  // A file size limit refuses writes as a full disk does.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  std::string last;
  dataset.on_train = [&](uint64_t epoch) {
    if (epoch != 2 || !last.empty()) return;
    last = ReadTextFile(RunPaths(folder).last());
    const rlimit limit{.rlim_cur = 2000, .rlim_max = before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  };
  const std::string message = ErrorOf([&] { Train(config, dataset, {.run_folder = folder}); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(message,
              AllOf(HasSubstr(folder), HasSubstr("after 3 of 4 epochs"), HasSubstr("hint")));
  EXPECT_FALSE(last.empty());
  EXPECT_EQ(ReadTextFile(RunPaths(folder).last()), last);
  dataset.on_train = nullptr;
  EXPECT_EQ(Train(config, dataset, {.run_folder = folder, .open = OpenRun::kResume}).epochs, 4);
  const std::string whole = NewFolder("full_whole");
  Train(config, dataset, {.run_folder = whole});
  ExpectSameBits(StateOf(config, whole), StateOf(config, folder));
}

/// Class names and samples of MemoryDataset.
RunData MemoryData() { return DescribeData(MemoryDataset()); }

TEST(RunFolder, ExistingRunsAreNotOverwritten) {
  const Config config = MakeConfig();
  const std::string folder = NewFolder("existing");
  RunFolder(folder, config, OpenRun::kNew).Begin(MemoryData());
  EXPECT_THAT(ErrorOf([&] { RunFolder(folder, config, OpenRun::kNew); }),
              AllOf(HasSubstr(folder), HasSubstr("--resume"), HasSubstr("--force")));
  EXPECT_EQ(ErrorOf([&] { RunFolder(folder, config, OpenRun::kResume); }), "no error");
  EXPECT_EQ(ErrorOf([&] { RunFolder(folder, config, OpenRun::kForce); }), "no error");
}

TEST(RunFolder, AFailureBeforeTrainingLeavesARunAsItWas) {
  const MemoryDataset dataset;
  const std::string folder = NewFolder("before");
  Train(MakeConfig({"train.epochs=1"}), dataset, {.run_folder = folder});
  // --force with a configuration that does not fit the data: the old run is still there.
  const Config wrong = MakeConfig({"data.input=[8, 8, 1]"});
  EXPECT_THAT(
      ErrorOf([&] { Train(wrong, dataset, {.run_folder = folder, .open = OpenRun::kForce}); }),
      HasSubstr("6x6x1"));
  EXPECT_EQ(LoadTrainedRun(folder).config.train.epochs, 1);
}

TEST(RunFolder, ASecondTrainerIsRefused) {
  const Config config = MakeConfig();
  const std::string folder = NewFolder("lock");
  {
    RunFolder first(folder, config, OpenRun::kNew);
    EXPECT_THAT(ErrorOf([&] { RunFolder(folder, config, OpenRun::kResume); }),
                AllOf(HasSubstr("another trainer"), HasSubstr(std::to_string(::getpid()))));
    EXPECT_THAT(ErrorOf([&] { RunFolder(folder, config, OpenRun::kForce); }),
                HasSubstr("another trainer"));
  }
  EXPECT_EQ(ErrorOf([&] { RunFolder(folder, config, OpenRun::kResume); }), "no error");
}

TEST(RunFolder, ResumingWithOtherSettingsNamesThem) {
  const std::string folder = NewFolder("settings");
  RunFolder(folder, MakeConfig(), OpenRun::kNew).Begin(MemoryData());
  EXPECT_THAT(
      ErrorOf([&] {
        RunFolder(folder, MakeConfig({"train.learning_rate=0.02", "seed=7"}), OpenRun::kResume);
      }),
      AllOf(HasSubstr("train.learning_rate: 0.01 in the run, 0.02 now"), HasSubstr("seed")));
  EXPECT_EQ(ErrorOf([&] { RunFolder(folder, MakeConfig({"train.threads=2"}), OpenRun::kResume); }),
            "no error");
}

/// Each of these ways to open a folder is refused, for the sake of `file`, and nothing changes in it.
void ExpectUntouched(const std::string& folder, const std::string& file,
                     const std::vector<OpenRun>& ways = {OpenRun::kNew, OpenRun::kResume,
                                                         OpenRun::kForce}) {
  std::map<std::string, std::string> before;
  const auto files = [&] {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      all[entry.path()] = entry.is_regular_file() ? ReadTextFile(entry.path()) : "";
    }
    return all;
  };
  before = files();
  for (const OpenRun open : ways) {
    const std::string message =
        ErrorOf([&] { RunFolder(folder, MakeConfig(), open).Begin(MemoryData()); });
    EXPECT_THAT(message, AllOf(HasSubstr(folder + "/" + file + ": would be replaced"),
                               HasSubstr("hint: --out")));
  }
  EXPECT_EQ(files(), before);
}

TEST(RunFolder, NothingIsReplacedThatTheProgramDidNotWrite) {
  for (const char* file : {"config.yaml", "last.pt", "best.pt", "metrics.csv", "data.json",
                           "log/summary.json", "lock"}) {
    const std::string folder = NewFolder("foreign");
    fs::create_directories(folder + "/log");
    WriteFileAtomically(folder + "/" + file, "# tuned for a week\n" + PrintConfig(MakeConfig()));
    ExpectUntouched(folder, file);
  }
  // A run's own file that the user has changed is the user's.
  const std::string folder = NewFolder("edited");
  RunFolder(folder, MakeConfig(), OpenRun::kNew).Begin(MemoryData());
  const std::string config = ReadTextFile(RunPaths(folder).config());
  WriteFileAtomically(RunPaths(folder).config(), config + "# and a remark\n");
  ExpectUntouched(folder, "config.yaml", {OpenRun::kNew, OpenRun::kForce});
  RunFolder(folder, MakeConfig(), OpenRun::kResume).Begin(MemoryData());
  EXPECT_EQ(ReadTextFile(RunPaths(folder).config()), config + "# and a remark\n");
  EXPECT_THAT(ErrorOf([&] { RunFolder(folder, MakeConfig({"seed=5"}), OpenRun::kResume); }),
              HasSubstr("seed: 1 in the run, 5 now"));
  // As it was written it may be replaced.
  WriteFileAtomically(RunPaths(folder).config(), config);
  RunFolder(folder, MakeConfig({"seed=5"}), OpenRun::kForce).Begin(MemoryData());
  EXPECT_THAT(ReadTextFile(RunPaths(folder).config()), HasSubstr("\nseed: 5\n"));
}

TEST(RunFolder, RunsOfEarlierVersionsAreKnown) {
  const std::string folder = NewFolder("unmarked");
  fs::create_directories(folder + "/log");
  WriteFileAtomically(folder + "/lock", "1234");
  WriteFileAtomically(folder + "/config.yaml", PrintConfig(MakeConfig()));
  EXPECT_THAT(ErrorOf([&] { RunFolder(folder, MakeConfig(), OpenRun::kNew); }),
              HasSubstr("the run exists"));
  EXPECT_EQ(ErrorOf([&] { RunFolder(folder, MakeConfig(), OpenRun::kResume); }), "no error");
  // A setting that they did not know had its default.
  std::string older = PrintConfig(MakeConfig());
  const std::string setting = "  normalise: none\n";
  ASSERT_NE(older.find(setting), std::string::npos) << older;
  WriteFileAtomically(folder + "/config.yaml", older.erase(older.find(setting), setting.size()));
  EXPECT_EQ(ErrorOf([&] { RunFolder(folder, MakeConfig(), OpenRun::kResume); }), "no error");
  EXPECT_THAT(
      ErrorOf([&] { RunFolder(folder, MakeConfig({"data.normalise=column"}), OpenRun::kResume); }),
      HasSubstr("data.normalise: none in the run, column now"));
}

TEST(RunFolder, ALockThatIsLeftOverIsNoObstacle) {
  const std::string folder = NewFolder("left");
  { RunFolder(folder, MakeConfig(), OpenRun::kNew); }  // came no further
  EXPECT_EQ(ErrorOf([&] { RunFolder(folder, MakeConfig(), OpenRun::kNew); }), "no error");
}

TEST(RunFolder, ResumingWithOtherDataNamesWhatDiffers) {
  struct Other : MemoryDataset {
    int64_t train = 90, shift = 0;
    std::vector<std::string> names = {"low", "middle", "high"};
    const std::vector<std::string>& class_names() const override { return names; }
    int64_t size(data::Split split) const override {
      return split == data::Split::kTrain ? train : MemoryDataset::size(split);
    }
    int32_t Label(data::Split split, int64_t index) const override {
      return MemoryDataset::Label(split, index + shift);
    }
  };
  const std::string folder = NewFolder("data");
  const Config config = MakeConfig({"train.epochs=1"});
  Train(config, MemoryDataset(), {.run_folder = folder});
  const std::string last = ReadTextFile(RunPaths(folder).last());
  const auto fault = [&](const Other& other) {
    return ErrorOf([&] { Train(config, other, {.run_folder = folder, .open = OpenRun::kResume}); });
  };
  Other fewer, moved, renamed;
  fewer.train = 60;
  moved.shift = 1;
  renamed.names = {"low", "middle", "top"};
  EXPECT_THAT(fault(fewer), HasSubstr("training samples: 90 in the run, 60 now"));
  EXPECT_THAT(fault(moved), AllOf(HasSubstr("training samples: as many, but others"),
                                  HasSubstr("validation samples: as many, but others")));
  EXPECT_THAT(fault(renamed),
              HasSubstr("classes: [low, middle, high] in the run, [low, middle, top] now"));
  EXPECT_EQ(ReadTextFile(RunPaths(folder).last()), last);
  EXPECT_EQ(fault(Other()), "no error");
  // --force begins anew, with whatever data.
  Train(config, moved, {.run_folder = folder, .open = OpenRun::kForce});
  EXPECT_EQ(fault(moved), "no error");
}

TEST(RunFolder, KeepsTheClassesOfTheData) {
  // The configuration lists none, so only the data know them.
  const std::string folder = NewFolder("classes");
  const Config config =
      MakeConfig({"train.epochs=1", "data.class_names=[]", "network.8.linear.units=3"});
  ASSERT_TRUE(ClassNames(config.data).empty());
  Train(config, MemoryDataset(), {.run_folder = folder});
  EXPECT_THAT(LoadTrainedRun(folder).class_names, testing::ElementsAre("low", "middle", "high"));
  fs::remove(RunPaths(folder).data());  // as an earlier version left it
  EXPECT_THAT(LoadTrainedRun(folder).class_names, testing::IsEmpty());
  WriteFileAtomically(RunPaths(folder).data(), "{\"class_names\": [1]}");
  EXPECT_THAT(ErrorOf([&] { LoadTrainedRun(folder); }), HasSubstr("data.json: is damaged"));
}

TEST(RunFolder, ClassesThatAreNotUtf8AreRefusedBeforeTraining) {
  struct Latin1 : MemoryDataset {
    std::vector<std::string> names = {"low",
                                      "gr\xFC"
                                      "n",
                                      "high"};
    const std::vector<std::string>& class_names() const override { return names; }
  } dataset;
  EXPECT_THAT(ErrorOf([&] { Train(MakeConfig(), dataset, {.run_folder = NewFolder("latin1")}); }),
              HasSubstr("class 1: byte 3 of its name, 0xfc, is not UTF-8"));
}

TEST(RunFolder, AFolderThatCannotBeMadeIsNamed) {
  const std::string long_name(300, 'x');
  EXPECT_THAT(ErrorOf([&] { RunFolder(long_name, MakeConfig(), OpenRun::kNew); }),
              AllOf(HasSubstr(long_name), HasSubstr("File name too long")));
  EXPECT_THAT(ErrorOf([&] { LoadTrainedRun(long_name); }), HasSubstr("File name too long"));
  EXPECT_THAT(ErrorOf([&] { RunFolder("/dev/null/run", MakeConfig(), OpenRun::kNew); }),
              HasSubstr("/dev/null/run"));
}

TEST(Checkpoint, DamagedFilesAreRefused) {
  const Config config = MakeConfig({"train.epochs=1"});
  const std::string folder = NewFolder("damaged");
  const MemoryDataset dataset;
  Train(config, dataset, {.run_folder = folder});
  const std::string path = RunPaths(folder).best(), bytes = ReadTextFile(path);
  for (const size_t size : {size_t{0}, size_t{10}, bytes.size() / 2, bytes.size() - 30}) {
    WriteFileAtomically(path, std::string_view(bytes).substr(0, size));
    EXPECT_THAT(ErrorOf([&] { LoadTrainedRun(folder); }), HasSubstr("best.pt")) << size;
  }
}

TEST(Optimiser, DecaysWeightsOnly) {
  for (const char* kind : {"sgd", "adamw"}) {
    const Config config = MakeConfig({fmt::format("train.optimiser.kind={}", kind),
                                      "train.weight_decay=0.1", "train.learning_rate=0.5"});
    Network network(config.network, 1);
    auto optimiser = MakeOptimiser(config.train, *network);
    std::vector<torch::Tensor> before;
    for (const torch::Tensor& p : network->parameters()) {
      p.mutable_grad() = torch::zeros_like(p);
      before.push_back(p.detach().clone());
    }
    optimiser->step();
    size_t i = 0;
    for (const auto& entry : network->named_parameters()) {
      const bool same = torch::equal(entry.value(), before[i++]);
      const bool decays = entry.value().dim() > 1;
      EXPECT_EQ(same, !decays) << kind << ", " << entry.key();
    }
  }
}

TEST(Trainer, LearnedOwnersResumeBitForBitAndAreMeasured) {
  const MemoryDataset dataset;
  for (const char* rule : {"learned", "rigl"}) {
    const Config config = MakeConfig({fmt::format("network.0.conv2d.packing.owners={}", rule),
                                      fmt::format("network.4.linear.packing.owners={}", rule),
                                      "network.4.linear.packing.learning.update_steps=2"});
    const std::string whole = NewFolder("whole"), parts = NewFolder("parts");
    Train(config, dataset, {.run_folder = whole});
    TrainInParts(config, parts);
    ExpectSameBits(StateOf(config, whole), StateOf(config, parts));
    const std::string csv = ReadTextFile(RunPaths(whole).metrics());
    EXPECT_THAT(csv, AllOf(HasSubstr("density_conv1,owner_changes_conv1"), HasSubstr("dead_kwta1"),
                           HasSubstr("owner_changes_linear1")));
    Progress progress;
    StateOf(config, whole, &progress);
    // density, changes of conv1; entropy, dead of kwta1; density, changes of linear1.
    const std::vector<double>& last = progress.history.back().measures;
    ASSERT_EQ(last.size(), 8u);
    EXPECT_NEAR(last[4], 0.25, 1e-6);
    EXPECT_EQ(last[5], 0.0);  // frozen
    EXPECT_GT(progress.history[0].measures[5] + progress.history[1].measures[5], 0.0);
  }
}

/// By kernels: from the start, and from the step on at which owners freeze, which a stop may come before and after.
TEST(Trainer, PackedLayersResumeBitForBitAcrossFreezing) {
  const MemoryDataset dataset;
  for (const char* rule : {"static", "learned", "rigl"}) {
    SCOPED_TRACE(rule);
    const Config config = MakeConfig({"train.kernels=packed", "train.ema_decay=0.9",
                                      fmt::format("network.0.conv2d.packing.owners={}", rule),
                                      fmt::format("network.4.linear.packing.owners={}", rule),
                                      "network.4.linear.packing.learning.update_steps=3"});
    const std::string whole = NewFolder("whole"), parts = NewFolder("parts");
    Train(config, dataset, {.run_folder = whole});
    TrainInParts(config, parts);
    const auto state = StateOf(config, whole);
    ExpectSameBits(state, StateOf(config, parts));
    Network network(config.network, config.seed);
    LoadCheckpoint(RunPaths(whole).last(), network, nullptr);
    for (const char* name : {"conv1.weight", "linear1.weight"}) {
      EXPECT_EQ(network->named_parameters()[name].dim(), 3) << name << " is not packed";
    }
    // Who reads the run has dense weights, masked, of both files.
    for (const Weights weights : {Weights::kKept, Weights::kLast}) {
      const TrainedRun run = LoadTrainedRun(whole, weights);
      EXPECT_EQ(run.network->named_parameters()["conv1.weight"].dim(), 4);
      const TrainedLayer linear = run.network->TrainedLayers()[4];
      EXPECT_GT(linear.weight_op.ne(0).sum().item<int64_t>(), 0);
      EXPECT_LE(linear.weight_op.ne(0).sum().item<int64_t>(), 24 * 128 / 4);
    }
  }
}

TEST(Trainer, PackedAndMaskedRunsAgree) {
  const MemoryDataset dataset;
  std::vector<std::vector<double>> losses;
  for (const char* kernels : {"masked", "packed"}) {
    const Config config = MakeConfig({fmt::format("train.kernels={}", kernels), "train.epochs=3"});
    const std::string folder = NewFolder(kernels);
    Train(config, dataset, {.run_folder = folder});
    Progress progress;
    StateOf(config, folder, &progress);
    losses.emplace_back();
    for (const EpochMetrics& epoch : progress.history) losses.back().push_back(epoch.train_loss);
  }
  // Rounding alone, until it decides between winners that nearly tie.
  EXPECT_NEAR(losses[0][0], losses[1][0], 1e-3);
  EXPECT_NEAR(losses[0][2], losses[1][2], 2e-2);
}

TEST(Trainer, AutoKeepsItsChoiceInTheRun) {
  const MemoryDataset dataset;
  const Config config = MakeConfig({"train.kernels=auto", "train.epochs=1"});
  const std::string folder = NewFolder("auto");
  Train(config, dataset, {.run_folder = folder});
  const std::string path = RunPaths(folder).kernels();
  const auto kept = nlohmann::json::parse(ReadTextFile(path));
  ASSERT_EQ(kept["layers"].size(), 4u);
  EXPECT_EQ(kept["layers"][0]["name"], "conv1");
  EXPECT_GT(kept["layers"][0]["packed_ms"], 0.0);
  // Resumed runs read it and time nothing.
  for (const bool packed : {true, false}) {
    nlohmann::json choice = kept;
    for (auto& layer : choice["layers"]) layer["way"] = packed ? "packed" : "masked";
    WriteFileAtomically(path, choice.dump());
    const auto ways = ChooseKernels(config, path, /*resumes=*/true, nullptr, nullptr);
    for (const LayerWay& way : ways) EXPECT_EQ(way.packed, packed) << way.name;
    EXPECT_EQ(ReadTextFile(path), choice.dump());
  }
  std::vector<std::string> files = {"", "{}", "[]", R"({"layers": [{"name": "conv1"}]})"};
  for (const nlohmann::json& value : {nlohmann::json("fast"), nlohmann::json(1)}) {
    for (const char* key : {"name", "way"}) {
      nlohmann::json choice = kept;
      choice["layers"][3][key] = value;
      files.push_back(choice.dump());
    }
  }
  for (const std::string& broken : files) {
    WriteFileAtomically(path, broken);
    EXPECT_THAT(ErrorOf([&] { ChooseKernels(config, path, true, nullptr, nullptr); }),
                AllOf(HasSubstr(path), HasSubstr("packed or masked")))
        << broken;
  }
}

TEST(Trainer, BeginsWithTheWeightsOfARun) {
  const MemoryDataset dataset;
  const std::string first = NewFolder("first"), second = NewFolder("second");
  Train(MakeConfig(), dataset, {.run_folder = first});
  // A rate of next to nothing: what the second run has is what it began with.
  const Config config =
      MakeConfig({"train.from=" + first, "train.epochs=1", "train.learning_rate=1e-12", "seed=2",
                  "network.1.batch_norm.momentum=0"});
  Train(config, dataset, {.run_folder = second});
  const TrainedRun from = LoadTrainedRun(first), to = LoadTrainedRun(second);
  const auto theirs = from.network->named_parameters(), ours = to.network->named_parameters();
  EXPECT_TRUE(torch::allclose(theirs["conv1.weight"], ours["conv1.weight"], 0, 1e-6));
  EXPECT_TRUE(torch::allclose(theirs["linear2.bias"], ours["linear2.bias"], 0, 1e-6));
  EXPECT_TRUE(torch::equal(from.network->named_buffers()["batch_norm1.running_mean"],
                           to.network->named_buffers()["batch_norm1.running_mean"]));

  const auto fault = [&](const std::string& setting) {
    return ErrorOf([&] {
      Train(MakeConfig({"train.from=" + first, setting}), dataset,
            {.run_folder = NewFolder("fault")});
    });
  };
  EXPECT_THAT(fault("network.4.linear.units=32"),
              AllOf(HasSubstr("train.from"),
                    HasSubstr("'linear1.weight' has the shape 24x128 there, 32x128")));
  EXPECT_THAT(fault("train.from=/nowhere"), HasSubstr("holds no best.pt"));
}

TEST(Teacher, MixesTheDivergenceOfSoftenedLogits) {
  const MemoryDataset dataset;
  const std::string runs[] = {NewFolder("teacher"), NewFolder("teacher2")};
  for (const std::string& run : runs) {
    Train(MakeConfig({"train.epochs=1", run == runs[0] ? "seed=1" : "seed=2"}), dataset,
          {.run_folder = run});
  }
  // The summary says which teacher it was.
  const std::string taught = NewFolder("taught");
  Train(MakeConfig({"train.epochs=1", "train.teacher=" + runs[1]}), dataset,
        {.run_folder = taught});
  const auto teachers = nlohmann::json::parse(ReadTextFile(RunPaths(taught).summary()))["teachers"];
  ASSERT_EQ(teachers.size(), 1u);
  EXPECT_EQ(teachers[0]["run"], runs[1]);
  EXPECT_EQ(teachers[0]["digest"].get<std::string>().size(), 16u);
  EXPECT_EQ(teachers[0]["digest"],
            Teacher(MakeConfig({"train.teacher=" + runs[1]}), dataset.class_names(), torch::kCPU)
                .digests()[0]);
  EXPECT_NE(teachers[0]["digest"],
            Teacher(MakeConfig({"train.teacher=" + runs[0]}), dataset.class_names(), torch::kCPU)
                .digests()[0]);

  const torch::Tensor x = torch::rand({5, 6, 6, 1}), logits = torch::randn({5, 3});
  const torch::Tensor q = torch::softmax(logits / 3, 1);
  const auto classes = [&](const std::string& run) {
    return torch::softmax(LoadTrainedRun(run).network->forward(x).detach() / 3, 1);
  };
  const auto config_of = [](const std::string& teacher) {
    return MakeConfig(
        {"train.teacher=" + teacher, "train.teacher_weight=0.25", "train.teacher_temperature=3"});
  };
  const auto mixed = [&](const std::string& teacher) {
    return Teacher(config_of(teacher), dataset.class_names(), torch::kCPU)
        .Mix(torch::tensor(2.0), logits, x)
        .item<double>();
  };
  const auto expected = [&](const torch::Tensor& p) {
    return 0.75 * 2.0 + 0.25 * 9 * (p * (p / q).log()).sum().item<double>() / 5;
  };
  EXPECT_NEAR(mixed(runs[0]), expected(classes(runs[0])), 1e-5);
  EXPECT_NEAR(mixed("[" + runs[0] + ", " + runs[1] + "]"),
              expected((classes(runs[0]) + classes(runs[1])) / 2), 1e-5);

  const Config config = config_of(runs[0]);
  Train(config, dataset, {.run_folder = NewFolder("pupil")});  // and a run with it
  EXPECT_THAT(ErrorOf([&] {
                Teacher(config, {"low", "middle", "top"}, torch::kCPU);
              }),
              AllOf(HasSubstr("train.teacher"), HasSubstr("[low, middle, high]"),
                    HasSubstr("[low, middle, top]")));
}

}  // namespace
}  // namespace bisparse::train
