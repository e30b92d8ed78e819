// SPDX-License-Identifier: Apache-2.0
// bisparse-synthesise: spoken commands from espeak-ng, in the layout of Speech Commands.
#include <optional>

#include "apps/support/program.h"
#include "data/synthesis/synthesise.h"
#include "deploy/base/print.h"
#include "deploy/base/progress.h"
#include "deploy/base/show.h"

int main(int argc, char** argv) {
  using namespace bisparse;
  CLI::App app(
      "Synthesises spoken commands (many voices, speeds and pitches) with the program espeak-ng.",
      "bisparse-synthesise");
  app.footer(apps::Footer("bisparse-synthesise --out speech --words yes,no,stop"));
  data::SynthesisConfig config;
  app.add_option("--out", config.out, "Folder to make; one made with the same settings is reused")
      ->required();
  app.add_option("--words", config.words, "Words to speak")->delimiter(',')->capture_default_str();
  app.add_option("--unknown-words", config.unknown_words,
                 "Other words, for the class _unknown_, a fifth as many of each")
      ->delimiter(',');
  app.add_option("--clips-per-word", config.clips_per_word, "Recordings of each word")
      ->capture_default_str();
  app.add_option("--seed", config.seed, "Of voices, speeds and pitches")->capture_default_str();
  app.add_option("--jobs", config.jobs, "Processes at a time; 0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  return apps::RunProgram(app, argc, argv, [&] {
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
