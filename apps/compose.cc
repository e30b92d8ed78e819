// SPDX-License-Identifier: Apache-2.0
// bisparse-compose: long recordings with labels, to measure keyword spotters on as users judge them.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/support/program.h"
#include "data/compose/compose.h"
#include "deploy/base/print.h"
#include "deploy/base/progress.h"
#include "deploy/base/show.h"

int main(int argc, char** argv) {
  using namespace bisparse;
  using Kind = data::ComposeConfig::Kind;
  CLI::App app(
      "Composes long recordings of words, other words, talk and noise, with a label file beside "
      "each.",
      "bisparse-compose");
  app.footer(
      apps::Footer("bisparse-compose --out streams --split test --clips speech_commands_test "
                   "--others other_words --talk talk --noise noise") +
      "\n\nSpeakers, voices and noises of one split are in no stream of another "
      "(docs/streams.md).");
  data::ComposeConfig config;
  std::string split = "test", format = "wav";
  std::vector<std::string> whole;
  std::pair<double, double> snr_db = {config.snr_db_min, config.snr_db_max};
  std::pair<double, double> level_db = {config.level_db_min, config.level_db_max};
  app.add_option("--out", config.out, "New folder for stream_001.wav, stream_001.txt …")
      ->required();
  app.add_option("--clips", config.clips,
                 "Recordings of words: a folder as Speech Commands has it, or a test set")
      ->required();
  app.add_option("--words", config.words, "Those that are the words; else every folder")
      ->delimiter(',');
  app.add_option("--split", split, "Of the recordings")
      ->check(CLI::IsMember({"training", "validation", "test"}))
      ->capture_default_str();
  app.add_option("--others", config.others, "Folders of other words, WORD/recordings");
  app.add_option("--noise", config.noise, "Folders of noise, KIND/recordings");
  app.add_option("--talk", config.talk,
                 "Folders of talk, SPEAKER/recordings, with *.trans.txt as LibriSpeech has them");
  app.add_option("--whole", whole, "Kinds of folders that are taken whole, whatever the split")
      ->delimiter(',')
      ->check(CLI::IsMember({"clips", "others", "noise", "talk"}));
  app.add_option("--format", format, "Of the streams")
      ->check(CLI::IsMember({"wav", "flac"}))
      ->capture_default_str();
  app.add_option("--streams", config.streams, "How many")->capture_default_str();
  app.add_option("--minutes", config.minutes, "Of each")->capture_default_str();
  app.add_option("--words-per-minute", config.words_per_minute, "Words")->capture_default_str();
  app.add_option("--others-per-minute", config.others_per_minute, "Other words")
      ->capture_default_str();
  app.add_option("--talk-frac", config.talk_frac, "Part of the time that is talk")
      ->capture_default_str();
  app.add_option("--snr-db", snr_db, "Of speech over noise, from and to, drawn for each scene")
      ->capture_default_str();
  app.add_option("--level-db", level_db, "Of speech below full scale, from and to")
      ->capture_default_str();
  app.add_option("--seed", config.seed, "The same seed gives the same streams")
      ->capture_default_str();
  return apps::RunProgram(app, argc, argv, [&] {
    config.split = split == "training"     ? data::Split::kTrain
                   : split == "validation" ? data::Split::kValidation
                                           : data::Split::kTest;
    config.flac = format == "flac";
    std::tie(config.snr_db_min, config.snr_db_max) = snr_db;
    std::tie(config.level_db_min, config.level_db_max) = level_db;
    for (const Kind kind : {Kind::kClips, Kind::kOthers, Kind::kNoise, Kind::kTalk}) {
      for (const std::string& name : whole) {
        if (name == data::ComposeConfig::KindName(kind)) config.whole.push_back(kind);
      }
    }
    std::optional<ProgressBar> bar;
    config.progress = [&](int64_t done, int64_t total) {
      if (!bar) bar.emplace("composing", total);
      bar->Update(done);
    };
    const data::ComposeResult result = data::ComposeStreams(config);
    if (bar) bar->Finish();
    for (const auto& warning : result.warnings) PrintRemark(stderr, "{}\n", warning);
    for (const auto& reason : result.skipped) PrintRemark(stderr, "skipped {}\n", reason);
    if (result.talk_without_transcript > 0) {
      PrintRemark(stderr,
                  "{} recordings of talk have no transcript: they may hold words that have no "
                  "label\n",
                  result.talk_without_transcript);
    }
    PrintResult("{}: {} streams, {:.2f} hours, {} words, {} other words, {:.2f} hours of talk\n",
                Shown(config.out), config.streams, result.hours, result.words, result.others,
                result.talk_hours);
    PrintResult(
        "a recording of a word is used {} times at most; {} of talk hold a word and are passed "
        "over; {} samples are clipped\n",
        result.most_often, result.talk_with_words, result.clipped);
    return 0;
  });
}
