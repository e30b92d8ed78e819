// SPDX-License-Identifier: Apache-2.0
// CheckSettings: values that are fine alone and contradict each other. The front end's own rules
// live beside it (FrontEndFaults). Read first: network.h. Tested in: load_test.cc.
#include <fmt/format.h>

#include "deploy/frontend/log_mel.h"
#include "train/config/network.h"

namespace bisparse::train {
namespace {

void ReplaceAll(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

/// "window_samples = 2000 exceeds …" → key and rest; other sentences belong to the section.
void AddFrontEndFault(const std::string& sentence, Faults& faults) {
  const size_t space = sentence.find(" = ");
  if (space == std::string::npos || sentence.find(' ') < space) {
    return faults.Add("front_end", sentence);
  }
  faults.Add("front_end." + sentence.substr(0, space), sentence.substr(space + 1));
}

void CheckFrontEnd(const FrontEnd& front_end, Faults& faults) {
  if (faults.Concerns("front_end")) return;
  for (std::string sentence : FrontEndFaults(front_end)) {
    // As the YAML calls them.
    ReplaceAll(sentence, "mel_count", "mels");
    ReplaceAll(sentence, "frame_count", "frames");
    AddFrontEndFault(sentence, faults);
  }
}

/// All of a clip must reach the features, but for less than a hop at its end, which no frame of its
/// own would begin. Not a rule of the front end itself: models that hear less still run.
void CheckFramesCoverTheClip(const FrontEnd& f, Faults& faults) {
  if (f.hop_samples > f.window_samples) {
    faults.Add(
        "front_end.hop_samples",
        fmt::format("= {} exceeds window_samples = {}: what lies between two windows is never "
                    "heard (hint: hop_samples: {})",
                    f.hop_samples, f.window_samples, f.window_samples / 2));
    return;
  }
  const int64_t half = (int64_t{f.window_samples} + 1) / 2;  // frame t is centred at t·hop
  const int64_t heard = int64_t{f.frame_count - 1} * f.hop_samples + half;
  if (heard + f.hop_samples > f.clip_samples) return;
  const int64_t frames = (f.clip_samples - half + f.hop_samples - 1) / f.hop_samples + 1;
  faults.Add("front_end.frames",
             fmt::format("= {} hears {} of the {} samples of a clip (hint: frames: {}, or "
                         "clip_samples: {})",
                         f.frame_count, heard, f.clip_samples, frames, heard));
}

/// What is subtracted must leave something: a mean over one value is the value.
void CheckNormLeavesSomething(const FrontEnd& f, Faults& faults) {
  const bool nothing_left = f.norm == FeatureNorm::kBandMean ? f.frame_count == 1
                            : f.norm != FeatureNorm::kNone   ? f.frame_count * f.mel_count == 1
                                                             : false;
  if (!nothing_left) return;
  faults.Add("front_end.norm",
             fmt::format("takes the mean over {}: every feature would be 0 (hint: norm: none)",
                         f.norm == FeatureNorm::kBandMean ? "the one frame" : "the one feature"));
}

/// As the features' f32 see it.
void CheckScale(double scale, const char* key, Faults& faults) {
  if (static_cast<float>(scale) != 0.0f || faults.Concerns(key)) return;
  faults.Add(key,
             fmt::format("= {} makes 0 of every input (hint: scale: 1 changes nothing)", scale));
}

}  // namespace

void CheckSettings(const Config& config, Faults& faults) {
  if (config.data.kind == data::DatasetKind::kSpeechCommands) {
    CheckFrontEnd(config.front_end, faults);
    if (!faults.Concerns("front_end")) {
      CheckFramesCoverTheClip(config.front_end, faults);
      CheckNormLeavesSomething(config.front_end, faults);
      CheckScale(config.front_end.scale, "front_end.scale", faults);
    }
  } else {
    CheckScale(config.data.npy.scale, "data.scale", faults);
  }
  for (const std::string& sentence : data::ConfigFaults(config.data)) {
    const size_t space = sentence.find(' ');
    const std::string key = sentence.substr(0, space);
    // What the schema has refused is told.
    if (!faults.Concerns(key)) faults.Add(key, sentence.substr(space + 1));
  }
  const TrainConfig& train = config.train;
  if (train.optimiser.kind == OptimiserKind::kSgd && train.optimiser.nesterov &&
      train.optimiser.momentum == 0.0) {
    faults.Add("train.optimiser.nesterov", "= true needs momentum > 0");
  }
  if (train.schedule.warmup_epochs > train.epochs) {
    faults.Add(
        "train.schedule.warmup_epochs",
        fmt::format("= {} exceeds the {} epochs", train.schedule.warmup_epochs, train.epochs));
  }
  if (train.keep == Keep::kLast && train.early_stop_epochs > 0) {
    faults.Add(
        "train.keep",
        fmt::format("= last keeps an epoch without a gain where train.early_stop_epochs = {} "
                    "(hint: keep: best)",
                    train.early_stop_epochs));
  }
  if (train.runs.empty()) faults.Add("train.runs", "is empty (hint: runs: .)");
}

}  // namespace bisparse::train
