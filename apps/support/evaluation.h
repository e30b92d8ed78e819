// SPDX-License-Identifier: Apache-2.0
// Accuracy, precision, recall and confusion of a model on a data set, through the engine only.
#ifndef BISPARSE_APPS_SUPPORT_EVALUATION_H_
#define BISPARSE_APPS_SUPPORT_EVALUATION_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/support/open_set.h"
#include "bisparse/engine.h"
#include "data/dataset.h"
#include "deploy/packed/model.h"

namespace bisparse::apps {

/// Which of a folder's recordings are evaluated.
enum class Part : uint8_t {
  kAuto,  ///< kWhole if there are no lists and no background noise, unless the model was trained on
          ///< this very folder; else kSplit
  kSplit,  ///< EvaluationData::split; of a folder with _silence_ or _unknown_ the whole is the test
  kWhole,
};

struct EvaluationData {
  std::string
      path;  ///< Speech Commands (archive or test-set layout), folders of pictures, or the samples' x.npy
  std::string labels;  ///< y.npy, with an x.npy
  Part part = Part::kAuto;
  data::Split split = data::Split::kTest;
  bool strict = false;
};

/// Opens the split with the classes, front end and options that the model was trained with (its own
/// configuration; its class names where it has none). Throws Error.
std::unique_ptr<data::Dataset> OpenForModel(const packed::Model& model, const EvaluationData& data);

struct Evaluation {
  std::vector<std::string> class_names;
  std::vector<std::vector<int64_t>> confusion;  ///< [true class][predicted class], samples
  int64_t samples = 0, correct = 0, skipped = 0;
  std::string part;                                  ///< "whole", or the split's name
  int64_t recordings = 0, recordings_in_folder = 0;  ///< those evaluated, and all; 0 of arrays
  std::string several = "recordings";                ///< or "pictures"
  int64_t silence_made = 0;                  ///< samples of _silence_ that are no recordings of it
  std::vector<std::string> clips;            ///< names of the samples' recordings
  std::vector<int32_t> labels, predictions;  ///< classes, one a sample
  /// One a sample, of models with words and with a name for each class; else empty.
  std::vector<WordScore> word_scores;
  std::optional<OpenSet> open_set;  ///< Evaluate leaves it empty
  double samples_per_second = 0;    ///< of the engine alone, features ready

  double accuracy() const {
    return samples == 0 ? 0.0 : static_cast<double>(correct) / static_cast<double>(samples);
  }
};

/// Whether OpenForModel takes the folder whole.
bool TakenWhole(const packed::Model& model, const EvaluationData& data);
/// What to tell where a folder is taken whole and the one of the training can't be compared with it, since it is not
/// where the model says; empty else.
std::string MayHoldTrainingData(const packed::Model& model, const EvaluationData& data);

Evaluation Evaluate(const Engine& engine, const data::Dataset& dataset, data::Split split,
                    bool whole = false);

/// Accuracy against noise in the waveform, data::Dataset::NoisyFeatures.
struct NoiseSweep {
  std::vector<double> alphas, accuracies;  ///< fractions
  int64_t samples = 0;
  int64_t score = 0;  ///< right answers over all levels: the noise score of Ahmad, Scheinkman 2019
};
/// alpha from 0 to 0.5 in steps of 0.05.
NoiseSweep EvaluateNoise(const Engine& engine, const data::Dataset& dataset, data::Split split);
/// Keys: docs/json.md, "bisparse-evaluate --noise --json".
nlohmann::ordered_json NoiseJson(const NoiseSweep& sweep);

/// Features of a split's samples back to back, samples × input floats (at most `limit`).
std::vector<float> SplitFeatures(const data::Dataset& dataset, data::Split split, int64_t limit);

/// What a user feels; fractions. Of classes without a sample nothing is said.
struct Recall {
  std::vector<std::optional<double>> of_class;
  std::optional<double> macro;  ///< mean over the classes
  /// Where the model has the class _unknown_ or _silence_: the mean over the other classes.
  std::optional<double> words;
  /// Part of the samples of _unknown_ that are not taken for a word.
  std::optional<double> unknown_rejected;
};
Recall RecallOf(const Evaluation& evaluation);

/// Accuracy, precision and recall of each class, the confusion matrix.
std::string FormatEvaluation(const Evaluation& evaluation);
/// Keys: docs/json.md, "bisparse-evaluate --json".
nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation);
/// Keys: docs/json.md, "bisparse-evaluate --predictions".
nlohmann::ordered_json PredictionsJson(const Evaluation& evaluation);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_EVALUATION_H_
