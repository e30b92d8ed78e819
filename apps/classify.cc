// SPDX-License-Identifier: Apache-2.0
// bisparse-classify: the top classes of recordings, in a long one with the place where each is
// heard best, and the time of front end and network apart.
#include <algorithm>

#include "apps/support/listening.h"
#include "apps/support/program.h"
#include "bisparse/engine.h"
#include "data/audio.h"
#include "deploy/base/check.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"

int main(int argc, char** argv) {
  CLI::App app(
      "Classifies recordings (WAV, FLAC, MP3, Ogg …; any length, rate and number "
      "of channels; a pipe too).",
      "bisparse-classify");
  app.footer(
      bisparse::apps::Footer("bisparse-classify models/gsc_aligned.bisparse hello.wav") +
      "\nThrough a recording longer than the model's clip a window slides: 'yes 98 % at 1.25 s' "
      "is\nheard in the window that begins there.");
  std::string model_path;
  std::vector<std::string> files;
  int top = 3;
  app.add_option("MODEL", model_path, "A .bisparse file with a front end")->required();
  app.add_option("FILE", files, "Recordings")->required();
  app.add_option("--top", top, "Classes to show")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  return bisparse::apps::RunProgram(app, argc, argv, [&] {
    const bisparse::Engine engine = bisparse::Engine::Load(model_path);
    if (engine.sample_rate_hz() == 0) {
      bisparse::Fail(bisparse::ErrorKind::kConfiguration, model_path,
                     "the model has no front end, so it can't classify recordings (hint: it takes "
                     "features through the API)");
    }
    const double rate_hz = engine.sample_rate_hz();
    std::vector<float> samples;
    for (const std::string& file : files) {
      const auto audio = bisparse::data::ReadAudio(file, engine.sample_rate_hz());
      for (const std::string& remark : bisparse::data::Remarks(audio)) {
        bisparse::PrintRemark(stderr, "{} {}\n", bisparse::Shown(file), remark);
      }
      bisparse::data::ToFloats(bisparse::data::ToPcm16(audio.samples), samples);
      const auto heard = bisparse::apps::Listen(engine, samples);
      const bool slid = heard.windows > 1;
      bisparse::PrintResult("{}:", bisparse::Shown(file));
      for (size_t i = 0; i < std::min(heard.classes.size(), static_cast<size_t>(top)); ++i) {
        const auto& [name, score, at] = heard.classes[i];
        bisparse::PrintResult("  {} {:.1f} %", bisparse::Shown(name), 100.0 * score);
        if (slid) bisparse::PrintResult(" at {:.2f} s", static_cast<double>(at) / rate_hz);
      }
      bisparse::PrintResult("  (");
      if (slid) {
        bisparse::PrintResult("{} windows in {:.2f} s; each: ", heard.windows,
                              static_cast<double>(samples.size()) / rate_hz);
      }
      bisparse::PrintResult("front end {:.0f} us, network {:.1f} us)\n", heard.front_end_us,
                            heard.network_us);
    }
    return 0;
  });
}
