// SPDX-License-Identifier: Apache-2.0
// bisparse-classify: the top classes of recordings, in a long one with the place where each is
// heard best, or of pictures, and the time of features and network apart.
#include <algorithm>

#include "apps/support/listening.h"
#include "apps/support/looking.h"
#include "apps/support/program.h"
#include "bisparse/engine.h"
#include "data/audio.h"
#include "data/picture.h"
#include "data/picture_folder.h"
#include "deploy/base/check.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"

namespace bisparse {
namespace {

void ClassifyRecording(const Engine& engine, const std::string& file, int top) {
  const double rate_hz = engine.sample_rate_hz();
  std::vector<float> samples;
  const auto audio = data::ReadAudio(file, engine.sample_rate_hz());
  for (const std::string& remark : data::Remarks(audio)) {
    PrintRemark(stderr, "{} {}\n", Shown(file), remark);
  }
  data::ToFloats(data::ToPcm16(audio.samples), samples);
  const auto heard = apps::Listen(engine, samples);
  const bool slid = heard.windows > 1;
  PrintResult("{}:", Shown(file));
  for (size_t i = 0; i < std::min(heard.classes.size(), static_cast<size_t>(top)); ++i) {
    const auto& [name, score, at] = heard.classes[i];
    PrintResult("  {} {:.1f} %", Shown(name), 100.0 * score);
    if (slid) PrintResult(" at {:.2f} s", static_cast<double>(at) / rate_hz);
  }
  PrintResult("  (");
  if (slid) {
    PrintResult("{} windows in {:.2f} s; each: ", heard.windows,
                static_cast<double>(samples.size()) / rate_hz);
  }
  PrintResult("front end {:.0f} us, network {:.1f} us)\n", heard.front_end_us, heard.network_us);
}

void ClassifyPicture(const Engine& engine, const std::string& file, int top) {
  const apps::Seen seen = apps::Look(engine, data::ReadPicture(file).pixels());
  PrintResult("{}:", Shown(file));
  for (size_t i = 0; i < std::min(seen.classes.size(), static_cast<size_t>(top)); ++i) {
    PrintResult("  {} {:.1f} %", Shown(seen.classes[i].first), 100.0 * seen.classes[i].second);
  }
  PrintResult("  (resizing {:.0f} us, network {:.1f} us)\n", seen.features_us, seen.network_us);
}

}  // namespace
}  // namespace bisparse

int main(int argc, char** argv) {
  CLI::App app(
      "Classifies recordings (WAV, FLAC, MP3, Ogg …; any length, rate and number "
      "of channels; a pipe too), or pictures (PNG, JPEG; any size), as the model takes them.",
      "bisparse-classify");
  app.footer(
      bisparse::apps::Footer("bisparse-classify models/gsc_aligned.bisparse hello.wav") +
      "\nThrough a recording longer than the model's clip a window slides: 'yes 98 % at 1.25 s' "
      "is\nheard in the window that begins there.");
  std::string model_path;
  std::vector<std::string> files;
  int top = 3;
  app.add_option("MODEL", model_path, "A .bisparse file that was trained on recordings or pictures")
      ->required();
  app.add_option("FILE", files, "Recordings; pictures, and folders of them")->required();
  app.add_option("--top", top, "Classes to show")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  return bisparse::apps::RunProgram(app, argc, argv, [&] {
    const bisparse::Engine engine = bisparse::Engine::Load(model_path);
    if (engine.sample_rate_hz() > 0) {
      for (const std::string& file : files) bisparse::ClassifyRecording(engine, file, top);
    } else if (engine.picture_channels() > 0) {
      for (const std::string& file : files) {
        for (const std::string& picture : bisparse::data::PicturesBelow(file)) {
          bisparse::ClassifyPicture(engine, picture, top);
        }
      }
    } else {
      bisparse::Fail(bisparse::ErrorKind::kConfiguration, model_path,
                     "the model has no front end and takes no pictures, so it can't classify files "
                     "(hint: it takes "
                     "features through the API)");
    }
    return 0;
  });
}
