// SPDX-License-Identifier: Apache-2.0
// Runs a split through an engine and counts.
#include "apps/support/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "data/picture_folder.h"
#include "data/speech_commands_layout.h"
#include "deploy/base/check.h"
#include "deploy/base/show.h"
#include "deploy/packed/detection.h"
#include "train/config/load.h"

namespace bisparse::apps {
namespace {

namespace fs = std::filesystem;

/// The official test-set archive has a folder a class and no background noise to cut silence from.
bool IsTestSetLayout(const fs::path& root) {
  return !fs::exists(root / data::kBackgroundFolder) &&
         (fs::exists(root / data::kSilenceClass) || fs::exists(root / data::kUnknownClass));
}

/// Nothing says that a part of it is for training.
bool IsBareFolder(const fs::path& root) {
  return !fs::exists(root / data::kBackgroundFolder) && !fs::exists(root / data::kValidationList) &&
         !fs::exists(root / data::kTestingList);
}

/// From class names alone: words, and the two special classes where the model has them.
data::DatasetConfig ConfigFromClasses(const packed::Model& model) {
  data::DatasetConfig config;
  config.speech_commands.unknown.amount = data::ExtraAmount::kNone;
  config.speech_commands.silence.amount = data::ExtraAmount::kNone;
  for (const std::string& name : model.class_names) {
    if (name == "_unknown_") {
      config.speech_commands.unknown.amount = data::ExtraAmount::kBalanced;
    } else if (name == "_silence_") {
      config.speech_commands.silence.amount = data::ExtraAmount::kBalanced;
    } else {
      config.speech_commands.words.push_back(name);
    }
  }
  return config;
}

/// The folder that a model was trained on.
const std::string& TrainingRoot(const train::Config& trained) {
  return trained.data.kind == data::DatasetKind::kImages ? trained.data.images.root
                                                         : trained.data.speech_commands.root;
}

/// A folder as the model's pictures. `whole`: every class folder is the test set.
data::DatasetConfig PicturesForModel(data::DatasetConfig config, const packed::Model& model,
                                     const EvaluationData& data, bool whole) {
  const bool known = config.kind == data::DatasetKind::kImages;
  config.kind = data::DatasetKind::kImages;
  data::ImagesConfig& images = config.images;
  if (!known) images = {};
  images.root = data.path;
  images.shape = model.input;
  images.input = *model.pictures;
  images.class_names = model.class_names;
  images.cache = "";  // what is read once needs none
  images.whole_is_test = whole;
  return config;
}

data::DatasetConfig NpyForModel(data::DatasetConfig config, const packed::Model& model,
                                const EvaluationData& data) {
  config.kind = data::DatasetKind::kNpy;
  config.npy.train_x = config.npy.train_y = config.npy.validation_x = config.npy.validation_y = "";
  config.npy.test_x = data.path;
  config.npy.test_y = data.labels;
  config.npy.class_names = model.class_names;
  return config;
}

}  // namespace

bool TakenWhole(const packed::Model& model, const EvaluationData& data) {
  if (data.path.ends_with(".npy")) return false;
  if (data.part == Part::kWhole) return true;
  if (!model.pictures && IsTestSetLayout(data.path)) return true;
  if (data.part == Part::kSplit) return false;
  if (model.pictures ? data::HasSplitFolders(data.path) : !IsBareFolder(data.path)) return false;
  if (model.provenance.config_text.empty()) return true;
  const train::Config trained =
      train::ParseConfig(model.provenance.config_text, model.name + " (its configuration)");
  std::error_code ignored;
  return !fs::equivalent(TrainingRoot(trained), data.path, ignored);
}

std::string MayHoldTrainingData(const packed::Model& model, const EvaluationData& data) {
  if (data.part == Part::kWhole || !TakenWhole(model, data) ||
      (!model.pictures && IsTestSetLayout(data.path)) || model.provenance.config_text.empty()) {
    return "";
  }
  const std::string root = TrainingRoot(
      train::ParseConfig(model.provenance.config_text, model.name + " (its configuration)"));
  std::error_code ignored;
  if (fs::exists(root, ignored)) return "";
  return fmt::format(
      "{}: taken whole. The folder of the training, '{}', is not there. If this is a copy of it, "
      "{} of the training "
      "count too (hint: --split test leaves them out, --split all says that it is none)",
      data.path, root, model.pictures ? "pictures" : "recordings");
}

std::unique_ptr<data::Dataset> OpenForModel(const packed::Model& model,
                                            const EvaluationData& data) {
  data::DatasetConfig config = ConfigFromClasses(model);
  uint64_t seed = model.provenance.seed;
  if (!model.provenance.config_text.empty()) {
    const train::Config trained =
        train::ParseConfig(model.provenance.config_text, model.name + " (its configuration)");
    const data::SpeechCommandsConfig by_names = config.speech_commands;
    config = trained.data;
    seed = trained.seed;
    if (config.speech_commands.words.empty()) {  // every folder that training found
      config.speech_commands.words = by_names.words;
      config.speech_commands.unknown = by_names.unknown;
    }
  }
  config.strict = data.strict;
  const bool npy = data.path.ends_with(".npy");
  if (npy == data.labels.empty()) {
    Fail(ErrorKind::kConfiguration, "--labels", "{}",
         npy ? "missing (hint: y.npy with the labels of " + data.path + ")"
             : fmt::format("given, but --data {} is no x.npy", Shown(data.path)));
  }
  const bool test_set = npy || TakenWhole(model, data);
  if (test_set && data.split != data::Split::kTest) {
    Fail(ErrorKind::kConfiguration, data.path,
         "is a test set without a {} split (hint: --split test)", data::SplitName(data.split));
  }
  if (npy && model.pictures) {
    Fail(ErrorKind::kConfiguration, data.path,
         "the model takes pictures (hint: give a folder with a folder of pictures for each class)");
  }
  if (npy) {
    config = NpyForModel(config, model, data);
  } else if (model.pictures) {
    config = PicturesForModel(config, model, data, test_set);
  } else {
    if (!model.front_end) {
      Fail(ErrorKind::kConfiguration, data.path,
           "the model has no front end, so recordings are nothing to it, and it takes no pictures "
           "(hint: give x.npy as --data and y.npy as --labels)");
    }
    config.kind = data::DatasetKind::kSpeechCommands;
    // A yardstick is the same for every model, whatever it was trained with.
    config.perturbed_copies = data::DatasetConfig{}.perturbed_copies;
    config.speech_commands.root = config.speech_commands.test_root = "";
    (test_set ? config.speech_commands.test_root : config.speech_commands.root) = data.path;
  }
  data::OpenOptions options{
      .seed = seed,
      .train = false,
      .validation = data.split == data::Split::kValidation || data.split == data::Split::kPerturbed,
      .test = data.split == data::Split::kTest,
      .digital_silence = false,
      .progress = {}};
  auto dataset = data::OpenDataset(config, model.front_end.value_or(FrontEnd{}), options);
  if (dataset->shape() != model.input || dataset->class_names() != model.class_names) {
    Fail(ErrorKind::kData, data.path,
         "samples of {}x{}x{} in {} classes, but the model takes {}x{}x{} and has {} classes",
         dataset->shape().height, dataset->shape().width, dataset->shape().channels,
         dataset->class_names().size(), model.input.height, model.input.width, model.input.channels,
         model.class_names.size());
  }
  if (dataset->size(data.split) == 0) {
    Fail(ErrorKind::kData, data.path, "no samples in the {} split", data::SplitName(data.split));
  }
  return dataset;
}

std::vector<float> SplitFeatures(const data::Dataset& dataset, data::Split split, int64_t limit) {
  const int64_t samples = std::min(limit, dataset.size(split));
  const int64_t floats = dataset.shape().elements();
  std::vector<float> x_bi(static_cast<size_t>(samples * floats));
  for (int64_t b = 0; b < samples; ++b) {
    dataset.Features(
        split, b, 0,
        std::span(x_bi).subspan(static_cast<size_t>(b * floats), static_cast<size_t>(floats)));
  }
  return x_bi;
}

Evaluation Evaluate(const Engine& engine, const data::Dataset& dataset, data::Split split,
                    bool whole) {
  const int64_t samples = dataset.size(split);
  const auto classes = static_cast<size_t>(engine.output_count());
  Evaluation evaluation{.class_names = dataset.class_names(),
                        .confusion = std::vector(classes, std::vector<int64_t>(classes)),
                        .samples = samples,
                        .skipped = static_cast<int64_t>(dataset.skipped().size()),
                        .part = whole ? "whole" : data::SplitName(split),
                        .recordings = dataset.counts().opened - std::ssize(dataset.skipped()),
                        .recordings_in_folder = dataset.counts().recordings,
                        .several = dataset.counts().several,
                        .silence_made = dataset.counts().silence_made};
  const std::vector<float> x_bi = SplitFeatures(dataset, split, samples);
  std::vector<float> logits_bo(static_cast<size_t>(samples) * classes);
  const auto start = std::chrono::steady_clock::now();
  engine.RunBatch(x_bi, samples, logits_bo);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  evaluation.samples_per_second = static_cast<double>(samples) / elapsed.count();
  const std::vector<std::string>& names = evaluation.class_names;
  const bool words = !std::all_of(names.begin(), names.end(), packed::IsNoWord);
  for (int64_t b = 0; b < samples; ++b) {
    const auto row = logits_bo.begin() + b * static_cast<int64_t>(classes);
    const auto predicted =
        static_cast<size_t>(std::max_element(row, row + static_cast<int64_t>(classes)) - row);
    const auto label = static_cast<size_t>(dataset.Label(split, b));
    evaluation.clips.push_back(dataset.Describe(split, b, 0));
    evaluation.labels.push_back(static_cast<int32_t>(label));
    evaluation.predictions.push_back(static_cast<int32_t>(predicted));
    if (words)
      evaluation.word_scores.push_back(
          WordScoreOf({row, row + static_cast<int64_t>(classes)}, names));
    ++evaluation.confusion[label][predicted];
    evaluation.correct += label == predicted ? 1 : 0;
  }
  return evaluation;
}

NoiseSweep EvaluateNoise(const Engine& engine, const data::Dataset& dataset, data::Split split) {
  NoiseSweep sweep{.alphas = {}, .accuracies = {}, .samples = dataset.size(split)};
  const auto floats = static_cast<size_t>(dataset.shape().elements());
  const auto classes = static_cast<size_t>(engine.output_count());
  std::vector<float> x_bi(static_cast<size_t>(sweep.samples) * floats);
  std::vector<float> logits_bo(static_cast<size_t>(sweep.samples) * classes);
  for (int step = 0; step <= 10; ++step) {
    const double alpha = step / 20.0;
    for (int64_t b = 0; b < sweep.samples; ++b) {
      dataset.NoisyFeatures(split, b, alpha,
                            std::span(x_bi).subspan(static_cast<size_t>(b) * floats, floats));
    }
    engine.RunBatch(x_bi, sweep.samples, logits_bo);
    int64_t right = 0;
    for (int64_t b = 0; b < sweep.samples; ++b) {
      const auto row = logits_bo.begin() + b * static_cast<int64_t>(classes);
      right += std::max_element(row, row + static_cast<int64_t>(classes)) - row ==
               dataset.Label(split, b);
    }
    sweep.alphas.push_back(alpha);
    sweep.accuracies.push_back(static_cast<double>(right) / static_cast<double>(sweep.samples));
    sweep.score += right;
  }
  return sweep;
}

nlohmann::ordered_json NoiseJson(const NoiseSweep& sweep) {
  return {{"alphas", sweep.alphas},
          {"accuracies", sweep.accuracies},
          {"samples", sweep.samples},
          {"score", sweep.score}};
}

Recall RecallOf(const Evaluation& evaluation) {
  Recall recall;
  std::vector<double> all, words;
  bool special = false;
  for (size_t c = 0; c < evaluation.class_names.size(); ++c) {
    const bool unknown = evaluation.class_names[c] == data::kUnknownClass;
    const bool word = !unknown && evaluation.class_names[c] != data::kSilenceClass;
    special = special || !word;
    const auto& row = evaluation.confusion[c];
    const auto of_class = static_cast<double>(std::accumulate(row.begin(), row.end(), int64_t{0}));
    recall.of_class.emplace_back();
    if (of_class == 0) continue;
    recall.of_class.back() = static_cast<double>(row[c]) / of_class;
    all.push_back(*recall.of_class.back());
    if (word) words.push_back(all.back());
    if (!unknown) continue;
    int64_t rejected = 0;
    for (size_t p = 0; p < row.size(); ++p) {
      const std::string& name = evaluation.class_names[p];
      if (name == data::kUnknownClass || name == data::kSilenceClass) rejected += row[p];
    }
    recall.unknown_rejected = static_cast<double>(rejected) / of_class;
  }
  const auto mean = [](const std::vector<double>& x) -> std::optional<double> {
    if (x.empty()) return std::nullopt;
    return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
  };
  recall.macro = mean(all);
  if (special) recall.words = mean(words);
  return recall;
}

std::string FormatEvaluation(const Evaluation& evaluation) {
  std::string text =
      fmt::format("accuracy {:.2f} % ({} of {}), {:.0f} samples/s", 100 * evaluation.accuracy(),
                  evaluation.correct, evaluation.samples, evaluation.samples_per_second);
  if (evaluation.skipped > 0)
    text += fmt::format(", {} broken {} skipped", evaluation.skipped, evaluation.several);
  if (evaluation.recordings_in_folder > 0) {
    text += fmt::format(
        "; {} of {} {}, {}", evaluation.recordings, evaluation.recordings_in_folder,
        evaluation.several,
        evaluation.part == "whole" ? "the whole folder" : "the " + evaluation.part + " split");
  }
  if (evaluation.silence_made > 0) {
    text += fmt::format(", and {} cuts of background noise", evaluation.silence_made);
  }
  const Recall recall = RecallOf(evaluation);
  const auto part = [&](const char* name, const std::optional<double>& value) {
    if (value) text += fmt::format(", {} {:.1f} %", name, 100 * *value);
  };
  if (recall.macro) text += fmt::format("\nrecall of all classes {:.1f} %", 100 * *recall.macro);
  part("of words", recall.words);
  part("unknown words rejected", recall.unknown_rejected);
  text += fmt::format("\n\n{:<16}{:>9}{:>11}{:>9}\n", "class", "samples", "precision", "recall");
  const size_t classes = evaluation.class_names.size();
  std::string matrix =
      "\nconfusion: a row is the true class, a column the predicted one\n" + std::string(16, ' ');
  for (size_t c = 0; c < classes; ++c) {
    const auto& row = evaluation.confusion[c];
    const int64_t of_class = std::accumulate(row.begin(), row.end(), int64_t{0});
    int64_t predicted = 0;
    for (const auto& of_true : evaluation.confusion) predicted += of_true[c];
    const auto percent = [&](int64_t whole) {
      return whole == 0 ? std::string("-")
                        : fmt::format("{:.1f} %", 100.0 * static_cast<double>(row[c]) /
                                                      static_cast<double>(whole));
    };
    const std::string name = fmt::format("{:>3} {}", c, Shown(evaluation.class_names[c]));
    text += fmt::format("{:<16}{:>9}{:>11}{:>9}\n", name, of_class, percent(predicted),
                        percent(of_class));
    matrix += fmt::format("{:>6}", c);
  }
  matrix += '\n';
  for (size_t c = 0; c < classes; ++c) {
    matrix += fmt::format("{:<16}", fmt::format("{:>3} {}", c, Shown(evaluation.class_names[c])));
    for (const int64_t count : evaluation.confusion[c]) matrix += fmt::format("{:>6}", count);
    matrix += '\n';
  }
  if (evaluation.open_set) matrix += "\n" + FormatOpenSet(*evaluation.open_set);
  return text + matrix;
}

nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation) {
  const Recall recall = RecallOf(evaluation);
  nlohmann::ordered_json json = {{"accuracy", evaluation.accuracy()},
                                 {"samples", evaluation.samples},
                                 {"samples_per_second", evaluation.samples_per_second}};
  if (recall.macro) json["macro_recall"] = *recall.macro;
  if (recall.words) json["words_recall"] = *recall.words;
  if (recall.unknown_rejected) json["unknown_rejected"] = *recall.unknown_rejected;
  json["classes"] = evaluation.class_names;
  nlohmann::ordered_json& of_class = json["recall"] = nlohmann::ordered_json::array();
  for (const auto& value : recall.of_class) {
    of_class.push_back(value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json());
  }
  json["confusion"] = evaluation.confusion;
  json["skipped"] = evaluation.skipped;
  json["part"] = evaluation.part;
  json["recordings"] = evaluation.recordings;
  json["recordings_in_folder"] = evaluation.recordings_in_folder;
  json["silence_made"] = evaluation.silence_made;
  if (evaluation.open_set) json["open_set"] = OpenSetJson(*evaluation.open_set);
  return json;
}

nlohmann::ordered_json PredictionsJson(const Evaluation& evaluation) {
  return {{"classes", evaluation.class_names},
          {"clips", evaluation.clips},
          {"labels", evaluation.labels},
          {"predictions", evaluation.predictions}};
}

}  // namespace bisparse::apps
