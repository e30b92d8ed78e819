// SPDX-License-Identifier: Apache-2.0
// CheckSettings: values that are fine alone and contradict each other. The front end's own rules
// live beside it (FrontEndFaults). Read first: network.h. Tested in: load_test.cc.
#include <fmt/format.h>

#include "deploy/frontend/log_mel.h"
#include "train/config/network.h"

namespace bisparse::train {
namespace {

// "window_samples = 2000 exceeds …" → key and rest; a sentence that names no key belongs to the
// section.
void AddFrontEndFault(const std::string& sentence, Faults& faults) {
  const size_t equals = sentence.find(" = ");
  std::string key = equals == std::string::npos ? "" : sentence.substr(0, equals);
  if (key.empty() || key.find(' ') != std::string::npos) {
    faults.Add("front_end", sentence);
    return;
  }
  if (key == "mel_count") key = "mels";
  if (key == "frame_count") key = "frames";
  faults.Add("front_end." + key, sentence.substr(equals + 1));
}

void CheckOrder(const char* low_key, double low, const char* high_key, double high,
                Faults& faults) {
  const std::string section = "data.augment.";
  if (low > high) {
    faults.Add(section + low_key, fmt::format("= {} exceeds {} = {}", low, high_key, high));
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

void CheckSpeech(const Config& config, Faults& faults) {
  if (!faults.Concerns("front_end")) {
    for (const std::string& fault : FrontEndFaults(config.front_end))
      AddFrontEndFault(fault, faults);
  }
  if (!faults.Concerns("front_end")) CheckFramesCoverTheClip(config.front_end, faults);
  const data::AugmentConfig& a = config.data.augment;
  CheckOrder("speed_min", a.speed_min, "speed_max", a.speed_max, faults);
  CheckOrder("background_snr_db_min", a.background_snr_db_min, "background_snr_db_max",
             a.background_snr_db_max, faults);
  CheckOrder("white_noise_snr_db_min", a.white_noise_snr_db_min, "white_noise_snr_db_max",
             a.white_noise_snr_db_max, faults);
  const data::SpeechCommandsConfig& s = config.data.speech_commands;
  if (s.validation_percent + s.testing_percent > 100.0) {
    faults.Add("data.validation_percent",
               fmt::format("= {} and testing_percent = {} exceed 100 together",
                           s.validation_percent, s.testing_percent));
  }
}

void CheckNpy(const data::NpyConfig& npy, Faults& faults) {
  if (npy.validation_x.empty() != npy.validation_y.empty()) {
    faults.Add("data.validation_x", "and validation_y go together");
  }
  if (npy.test_x.empty() != npy.test_y.empty()) faults.Add("data.test_x", "and test_y go together");
  if (npy.scale == 0.0) faults.Add("data.scale", "= 0 makes every sample the same");
}

}  // namespace

void CheckSettings(const Config& config, Faults& faults) {
  if (config.data.kind == data::DatasetKind::kSpeechCommands) {
    CheckSpeech(config, faults);
  } else {
    CheckNpy(config.data.npy, faults);
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
