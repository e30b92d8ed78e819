// SPDX-License-Identifier: Apache-2.0
// bisparse-listen: the words in recordings, in raw sound from a pipe, or of a microphone, as they come.
#include <algorithm>

#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "apps/support/detection_flags.h"
#include "apps/support/hearing.h"
#include "apps/support/microphone.h"
#include "apps/support/program.h"
#include "apps/support/stop.h"
#include "bisparse/engine.h"
#include "deploy/base/check.h"

int main(int argc, char** argv) {
  using namespace bisparse;
  CLI::App app(
      "Tells the words in sound: recordings of any length and format, a pipe, a microphone.",
      "bisparse-listen");
  app.footer(apps::Footer("bisparse-listen models/gsc_fast_int8.bisparse talk.wav") +
             "\nA device that is not there or is lost: 3. Ctrl-C ends in order: the last word is "
             "told, then how long it took.\n\nA microphone, and the same through a pipe:\n"
             "  bisparse-listen models/gsc_fast_int8.bisparse --device default\n"
             "  arecord -q -t raw -f S16_LE -c 1 -r 16000 | bisparse-listen "
             "models/gsc_fast_int8.bisparse -\n");
  std::string model_path, pipe_format = "s16";
  std::vector<std::string> files;
  apps::HearingOptions options;
  apps::MicrophoneOptions microphone;
  apps::PipeFormat pipe;
  app.add_option("MODEL", model_path, "A .bisparse file with a front end")->required();
  app.add_option("FILE", files, "Recordings, or - for raw sound from stdin");
  app.add_option("--device", microphone.device,
                 "Listen to this microphone: its number, its name, part of its name, or default");
  app.add_flag("--reconnect", microphone.reconnect,
               "Wait for a microphone that is not there or is lost")
      ->needs("--device");
  apps::AddTextFlag(
      app, "--list-devices", [] { return apps::DeviceTable(apps::MakeSoundSystem()->Devices()); },
      "The microphones that are there");
  const auto* format =
      app.add_option("--pipe-format", pipe_format, "Of a pipe: 16-bit integers or 32-bit floats")
          ->check(CLI::IsMember({"s16", "f32"}))
          ->capture_default_str();
  const auto* rate =
      app.add_option("--pipe-rate", pipe.rate_hz, "Samples a second of a pipe; else the model's")
          ->check(CLI::Range(1, 1 << 20));
  app.add_option("--hop-frames", options.stream.hop_frames,
                 "Frames of the front end from one window to the next")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  apps::DetectionFlags detection;
  apps::AddDetectionFlags(app, detection);
  app.add_flag("--json", options.json, "A line of JSON for each event, and one at the end");
  bool no_live = false;
  app.add_flag("--no-live", no_live, "No line of what is heard now on a terminal");
  return apps::RunProgram(app, argc, argv, [&] {
    if (files.empty() == microphone.device.empty()) {
      Fail(ErrorKind::kConfiguration, "flags",
           "{} (hint: bisparse-listen MODEL FILE, bisparse-listen MODEL - or bisparse-listen MODEL "
           "--device default)",
           files.empty() ? "nothing to listen to" : "FILE and --device exclude each other");
    }
    const auto pipes = std::count(files.begin(), files.end(), "-");
    if (pipes > 1) Fail(ErrorKind::kConfiguration, "FILE", "- is given {} times, 1 allowed", pipes);
    for (const auto* option : {format, rate}) {
      if (option->count() == 0 || pipes > 0) continue;
      Fail(ErrorKind::kConfiguration, option->get_name(),
           "is of no use here: recordings and devices say it themselves (hint: only with -)");
    }
    const Engine engine = Engine::Load(model_path);
    options.detection = apps::WithFlags(engine.detection(), detection);
    options.live = !no_live;
    apps::Hearing hearing(engine, options);
    pipe.floats = pipe_format == "f32";
    if (pipe.rate_hz == 0) pipe.rate_hz = engine.sample_rate_hz();
    apps::StopOnSignals();
    if (!microphone.device.empty()) {
      apps::HearMicrophone(hearing, *apps::MakeSoundSystem(), microphone,
                           [](int timeout_ms) { return apps::WaitOrStop(-1, timeout_ms); });
    }
    for (const std::string& file : files) {
      if (apps::StopRequested()) break;
      file == "-" ? apps::HearPipe(hearing, STDIN_FILENO, pipe)
                  : apps::HearRecording(hearing, file);
    }
    return apps::StopRequested() ? apps::kExitStopped : 0;
  });
}
