// SPDX-License-Identifier: Apache-2.0
// bisparse-classify: the top classes of recordings, with the time of front end and network apart.
#include <fmt/format.h>

#include <chrono>

#include "apps/support/evaluation.h"
#include "apps/support/program.h"
#include "bisparse/engine.h"
#include "data/audio.h"
#include "deploy/base/check.h"

namespace {

double MicrosecondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Classifies recordings (WAV, FLAC; any rate and number of channels).",
               "bisparse-classify");
  app.footer(bisparse::apps::Footer("bisparse-classify models/gsc_aligned.bisparse hello.wav"));
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
    std::vector<float> features(static_cast<size_t>(engine.input_shape().elements()));
    std::vector<float> logits(static_cast<size_t>(engine.output_count()));
    for (const std::string& file : files) {
      const auto audio = bisparse::data::ReadAudio(file, engine.sample_rate_hz());
      engine.ComputeFeatures(audio.samples, features);  // the first call warms caches up
      engine.Run(features, logits);
      const double front_end_us =
          MicrosecondsOf([&] { engine.ComputeFeatures(audio.samples, features); });
      const double network_us = MicrosecondsOf([&] { engine.Run(features, logits); });
      fmt::print("{}:", file);
      for (const auto& [name, score] : bisparse::apps::TopClasses(engine, logits, top)) {
        fmt::print("  {} {:.1f} %", name, 100.0 * score);
      }
      fmt::print("  (front end {:.0f} us, network {:.1f} us)\n", front_end_us, network_us);
    }
    return 0;
  });
}
