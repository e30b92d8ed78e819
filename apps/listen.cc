// SPDX-License-Identifier: Apache-2.0
// bisparse-listen: the words in recordings, or in raw sound from a pipe as it comes.
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "apps/support/hearing.h"
#include "apps/support/program.h"
#include "bisparse/engine.h"
#include "data/audio.h"
#include "deploy/base/check.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"

int main(int argc, char** argv) {
  CLI::App app("Tells the words in sound: recordings of any length and format, or a pipe.",
               "bisparse-listen");
  app.footer(
      bisparse::apps::Footer("bisparse-listen models/gsc_fast_int8.bisparse talk.wav") +
      "\n`-` reads raw 16-bit little-endian mono samples at the model's rate from stdin, of a "
      "microphone:\n  arecord -q -t raw -f S16_LE -c 1 -r 16000 | bisparse-listen "
      "models/gsc_fast_int8.bisparse -\n");
  std::string model_path;
  std::vector<std::string> files;
  bisparse::apps::HearingOptions options;
  std::vector<std::string> thresholds;
  double average_ms = 0, least_ms = 0, refractory_ms = 0, gate_db = 0;
  app.add_option("MODEL", model_path, "A .bisparse file with a front end")->required();
  app.add_option("FILE", files, "Recordings, or - for raw sound from stdin")->required();
  app.add_option("--hop-frames", options.stream.hop_frames,
                 "Frames of the front end from one window to the next")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option(
      "--threshold", thresholds,
      "For all words, or WORD=X for one (again for others); else what the model file says");
  const auto* average =
      app.add_option("--average-ms", average_ms, "Probabilities are averaged over so much time");
  const auto* least =
      app.add_option("--least-ms", least_ms, "A word's average stays at its threshold so long");
  const auto* refractory =
      app.add_option("--refractory-ms", refractory_ms, "After a word none is heard for so long");
  const auto* gate =
      app.add_option("--gate-db", gate_db, "Quieter windows hold no word; -200: no gate");
  app.add_flag("--json", options.json, "A line of JSON for each event");
  return bisparse::apps::RunProgram(app, argc, argv, [&] {
    const bisparse::Engine engine = bisparse::Engine::Load(model_path);
    options.detection = engine.detection();
    if (average->count() > 0) options.detection.average_ms = average_ms;
    if (least->count() > 0) options.detection.least_ms = least_ms;
    if (refractory->count() > 0) options.detection.refractory_ms = refractory_ms;
    if (gate->count() > 0) options.detection.gate_db = gate_db;
    for (const std::string& threshold : thresholds) {
      bisparse::apps::SetThreshold(threshold, options.detection);
    }
    bisparse::apps::Hearing hearing(engine, options);
    for (const std::string& file : files) {
      if (file == "-") {
        hearing.HearPipe(STDIN_FILENO);
        continue;
      }
      const auto audio = bisparse::data::ReadAudio(file, engine.sample_rate_hz());
      for (const std::string& remark : bisparse::data::Remarks(audio)) {
        bisparse::PrintRemark(stderr, "{} {}\n", bisparse::Shown(file), remark);
      }
      hearing.HearRecording(file, bisparse::data::ToPcm16(audio.samples));
    }
    return 0;
  });
}
