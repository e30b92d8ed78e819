// SPDX-License-Identifier: Apache-2.0
// bisparse-synthesise: spoken commands or a wake phrase from espeak-ng and flite, in the layout of Speech Commands.
#include <algorithm>
#include <map>
#include <optional>

#include "apps/support/program.h"
#include "data/synthesis/synthesise.h"
#include "deploy/base/print.h"
#include "deploy/base/progress.h"
#include "deploy/base/show.h"

int main(int argc, char** argv) {
  using namespace bisparse;
  CLI::App app(
      "Synthesises spoken commands or a wake phrase (many voices, speeds and pitches) with the "
      "programs espeak-ng and flite, and other words that sound like them.",
      "bisparse-synthesise");
  app.footer(apps::Footer("bisparse-synthesise --out speech --words yes,no,stop"));
  data::SynthesisConfig config;
  app.add_option("--out", config.out, "Folder to make; one made with the same settings is reused")
      ->required();
  app.add_option("--words", config.words, "Words to speak")->delimiter(',')->capture_default_str();
  app.add_option("--unknown-words", config.unknown_words,
                 "Other words, for the class _unknown_, a fifth as many of each")
      ->delimiter(',');
  auto* const clips =
      app.add_option("--clips-per-word", config.clips_per_word, "Recordings of each word")
          ->capture_default_str();
  std::string phrase;
  auto* const of_phrase = app.add_option(
      "--phrase", phrase,
      "A wake phrase in place of --words: 400 clips, 200 phrases that sound like it, 400 others, "
      "1.5 s long");
  of_phrase->excludes("--words");
  auto* const near = app.add_option("--near-misses", config.near_misses,
                                    "Words of the list that sound most like each of --words");
  auto* const other =
      app.add_option("--other-words", config.other_words, "Any other words of the list");
  app.add_option("--clips-per-other-word", config.clips_per_other_word,
                 "Recordings of each of them")
      ->capture_default_str();
  config.word_list = "/usr/share/dict/words";
  app.add_option("--word-list", config.word_list, "Words, one a line (Debian: wamerican-small)")
      ->capture_default_str();
  std::vector<std::string> engines = {"espeak-ng"};
  auto* const of_engines =
      app.add_option("--engines", engines, "Programs that speak: espeak-ng, flite")
          ->delimiter(',')
          ->check(CLI::IsMember({"espeak-ng", "flite"}))
          ->capture_default_str();
  const std::map<std::string, data::Voices> splits = {{"all", data::Voices::kAll},
                                                      {"training", data::Voices::kTraining},
                                                      {"validation", data::Voices::kValidation},
                                                      {"testing", data::Voices::kTesting}};
  std::string voices = "all";
  app.add_option("--voices", voices, "Those of one split: all, training, validation or testing")
      ->check(CLI::IsMember({"all", "training", "validation", "testing"}))
      ->capture_default_str();
  auto* const seconds =
      app.add_option("--seconds", config.seconds, "Length of a clip")->capture_default_str();
  app.add_option("--seed", config.seed, "Of voices, speeds and pitches")->capture_default_str();
  app.add_option("--jobs", config.jobs, "Processes at a time; 0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  return apps::RunProgram(app, argc, argv, [&] {
    config.voices = splits.at(voices);
    if (of_phrase->count() > 0) {
      config.words = {phrase};
      if (clips->count() == 0) config.clips_per_word = 400;
      if (near->count() == 0) config.near_misses = 200;
      if (other->count() == 0) config.other_words = 400;
      if (seconds->count() == 0) config.seconds = 1.5;
      if (of_engines->count() == 0) engines = {"espeak-ng", "flite"};
    }
    const auto speaks = [&](const char* engine) {
      return std::find(engines.begin(), engines.end(), engine) != engines.end();
    };
    config.espeak = speaks("espeak-ng");
    config.flite = speaks("flite");
    std::optional<ProgressBar> bar;
    config.progress = [&](int64_t done, int64_t total) {
      if (!bar) bar.emplace("speaking", total);
      bar->Update(done);
    };
    const data::SynthesisResult result = data::Synthesise(config);
    if (result.reused) {
      PrintResult("{}: complete already, {} recordings\n", Shown(config.out), result.clips);
      return 0;
    }
    if (bar) bar->Finish();
    PrintResult("{}: {} recordings by {} voices, {} skipped\n", Shown(config.out), result.clips,
                result.speakers, result.skipped);
    return 0;
  });
}
