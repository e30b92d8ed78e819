// SPDX-License-Identifier: Apache-2.0
// Read first: hearing.h, bisparse/detector.h.
#include "apps/support/hearing.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "apps/support/json.h"
#include "apps/support/stop.h"
#include "data/audio.h"
#include "data/recording.h"
#include "deploy/base/check.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/detection.h"

namespace bisparse::apps {
namespace {

constexpr size_t kPipeBytes = 1 << 14;

/// Of all threads.
double CpuSeconds() {
  timespec time = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

Hearing::Hearing(const Engine& engine, const HearingOptions& options)
    : engine_(engine),
      options_(options),
      stream_(engine.NewStream(options.stream)),
      detector_(engine, options.stream, options.detection),
      // Where lines of JSON come on the same terminal there is no room for another one.
      live_(options.live && !(options.json && ::isatty(STDOUT_FILENO) == 1)),
      silence_(static_cast<size_t>(EngineAccess::model(engine).front_end->clip_samples)) {}

void Hearing::Begin(const std::string& name, int32_t rate_hz) {
  name_ = name;
  SetRate(rate_hz);
  stream_.Reset();
  detector_.Reset();
  peak_ = 0;
  taken_ = 0;
  cpu_begin_s_ = CpuSeconds();
}

std::string Hearing::Label() const { return name_ == "-" ? "stdin" : Shown(name_); }

void Hearing::SetRate(int32_t rate_hz) {
  resampler_.reset();
  if (rate_hz != sample_rate_hz()) resampler_.emplace(Label(), rate_hz, sample_rate_hz());
}

void Hearing::Push(std::span<const int16_t> samples) {
  taken_ += std::ssize(samples);
  if (!resampler_) return PushToStream(samples);
  data::ToFloats(samples, floats_);
  PushFloats(floats_);
}

void Hearing::Push(std::span<const float> samples) {
  floats_.clear();
  bool finite = true;
  for (const float sample : samples) {
    finite = std::isfinite(sample);
    if (!finite) break;
    peak_ = std::max(peak_, std::abs(static_cast<double>(sample)));
    floats_.push_back(std::clamp(sample, -1.0f, 1.0f));
  }
  taken_ += std::ssize(floats_);
  PushFloats(floats_);
  if (!finite) Fail(ErrorKind::kData, Label(), "sample {} is not finite", taken_);
}

/// In [-1, 1].
void Hearing::PushFloats(std::span<const float> samples) {
  if (resampler_) {
    resampled_.clear();
    resampler_->Push(samples, resampled_);
    samples = resampled_;
  }
  data::ToPcm16(samples, ints_);
  PushToStream(ints_);
}

void Hearing::PushToStream(std::span<const int16_t> samples) {
  stream_.Push(samples, [this](const StreamWindow& window) {
    const std::optional<Event> event = detector_.Push(window);
    if (event) Tell(*event);
    if (live_.on() && live_.Hear(window.rms)) ShowLive();
  });
}

void Hearing::Gap(int32_t rate_hz) {
  PushRest();
  PushToStream(silence_);
  SetRate(rate_hz);
}

void Hearing::PushRest() {
  if (!resampler_) return;
  resampled_.clear();
  resampler_->Finish(resampled_);
  data::ToPcm16(resampled_, ints_);
  PushToStream(ints_);
}

void Hearing::End(const SoundLoss& loss) {
  PushRest();
  const StreamStats stats = stream_.stats();
  const double cpu_s = CpuSeconds() - cpu_begin_s_;
  PushToStream(silence_);
  for (const std::string& remark : data::Remarks(peak_, /*only_channel=*/0)) {
    Remark(fmt::format("{} {}\n", Label(), remark));
  }
  TellTime(stats, cpu_s, loss);
}

void Hearing::Heading(const std::string& text) {
  if (options_.json) return;
  live_.Clear();
  WriteShownResult(text);
}

void Hearing::Remark(const std::string& text) {
  live_.Clear();
  WriteRemark(stderr, text);
}

/// Of the words: what means that there is none is no news.
void Hearing::ShowLive() {
  const std::span<const double> averages = detector_.averages();
  const std::vector<std::string>& names = engine_.class_names();
  size_t leading = names.size();
  for (size_t c = 0; c < names.size(); ++c) {
    if (packed::IsNoWord(names[c])) continue;
    if (leading == names.size() || averages[c] > averages[leading]) leading = c;
  }
  live_.Draw(names[leading], averages[leading]);
}

void Hearing::Tell(const Event& event) {
  const double rate_hz = engine_.sample_rate_hz();
  const double begin_s = static_cast<double>(event.begin) / rate_hz;
  const double end_s = static_cast<double>(event.end) / rate_hz;
  const std::string& word = engine_.class_names()[event.word];
  live_.Clear();
  if (options_.json) {
    const nlohmann::ordered_json line = {{"file", name_},
                                         {"word", word},
                                         {"begin_s", begin_s},
                                         {"end_s", end_s},
                                         {"score", event.score}};
    WriteResult(JsonLine(line));
  } else {
    PrintResult("{:9.2f} s  {} {:.0f} %\n", end_s, Shown(word), 100 * event.score);
  }
  FlushResults();
}

void Hearing::TellTime(const StreamStats& stats, double cpu_s, const SoundLoss& loss) {
  const double sound_s = static_cast<double>(stats.samples) / engine_.sample_rate_hz();
  const double windows = static_cast<double>(std::max<int64_t>(stats.windows, 1));
  const double front_end_us = static_cast<double>(stats.front_end_ns) / windows * 1e-3;
  const double network_us = static_cast<double>(stats.network_ns) / windows * 1e-3;
  const double factor = sound_s > 0 ? cpu_s / sound_s : 0;
  const int64_t streams = factor > 0 ? static_cast<int64_t>(1 / factor) : 0;
  Remark(fmt::format(
      "{}: {:.1f} s of sound, {} windows; each: front end {:.1f} us, network {:.1f} us; {:.5f} of "
      "real time on one core, which {} such streams fill\n",
      Label(), sound_s, stats.windows, front_end_us, network_us, factor, streams));
  if (loss.overruns > 0) {
    Remark(fmt::format("{}: sound was lost {} times, {:.2f} s in all\n", Label(), loss.overruns,
                       loss.seconds));
  }
  if (!options_.json) return;
  WriteResult(JsonLine({{"file", name_},
                        {"sound_s", sound_s},
                        {"windows", stats.windows},
                        {"front_end_us", front_end_us},
                        {"network_us", network_us},
                        {"real_time_factor", factor},
                        {"streams_per_core", streams},
                        {"overruns", loss.overruns},
                        {"lost_s", loss.seconds}}));
  FlushResults();
}

void HearRecording(Hearing& hearing, const std::string& path) {
  data::Recording recording(path, hearing.sample_rate_hz());
  hearing.Begin(path, hearing.sample_rate_hz());
  const int32_t only_channel = recording.RestartWithoutCancelling();
  hearing.Heading(Shown(path) + ":\n");
  const auto next = [&] {
    try {
      return recording.Next();
    } catch (const Error&) {
      hearing.End();
      throw;
    }
  };
  std::vector<int16_t> pcm;  // clipped: that resampling overshoots what is loud is no news
  for (auto block = next(); !block.empty() && !StopRequested(); block = next()) {
    data::ToPcm16(block, pcm);
    hearing.Push(pcm);
  }
  for (const std::string& remark : data::Remarks(recording.peak(), only_channel)) {
    hearing.Remark(fmt::format("{} {}\n", Shown(path), remark));
  }
  hearing.End();
}

namespace {

/// Who sends a file to a program that reads raw samples would hear its header, and what follows at a wrong rate.
void RefuseHeader(std::span<const uint8_t> bytes) {
  const std::string_view begin(reinterpret_cast<const char*>(bytes.data()), 4);
  for (const auto& [magic, format] : {std::pair<std::string_view, const char*>{"RIFF", "WAV"},
                                      {"fLaC", "FLAC"},
                                      {"OggS", "Ogg"},
                                      {"ID3\3", "MP3"},
                                      {"ID3\4", "MP3"}}) {
    if (begin != magic) continue;
    Fail(ErrorKind::kData, "stdin",
         "begins as a {} file does; raw samples are read from a pipe (hint: arecord -t raw, ffmpeg "
         "-f s16le; or /dev/stdin in place of -)",
         format);
  }
}

void PushSamples(Hearing& hearing, std::span<const uint8_t> bytes, bool floats) {
  std::array<int16_t, kPipeBytes / 2> ints;
  std::array<float, kPipeBytes / 4> reals;
  if (floats) {
    const size_t count = bytes.size() / 4;
    for (size_t i = 0; i < count; ++i) {
      reals[i] =
          std::bit_cast<float>(uint32_t{bytes[4 * i]} | uint32_t{bytes[4 * i + 1]} << 8 |
                               uint32_t{bytes[4 * i + 2]} << 16 | uint32_t{bytes[4 * i + 3]} << 24);
    }
    hearing.Push(std::span<const float>(reals).first(count));
  } else {
    const size_t count = bytes.size() / 2;
    for (size_t i = 0; i < count; ++i) {
      ints[i] = static_cast<int16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    }
    hearing.Push(std::span<const int16_t>(ints).first(count));
  }
}

/// looked: its beginning is that of samples.
void PushPipe(Hearing& hearing, int file, const PipeFormat& format, bool& looked) {
  const size_t sample_bytes = format.floats ? 4 : 2;
  std::array<uint8_t, kPipeBytes> bytes;
  size_t have = 0;
  while (WaitOrStop(file, -1)) {
    const ssize_t got = ::read(file, bytes.data() + have, bytes.size() - have);
    // EAGAIN: whoever made the pipe does not wait on it, and another reader was faster.
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) {
      Fail(ErrorKind::kData, "stdin", "cannot be read: {}", std::generic_category().message(errno));
    }
    if (got == 0) break;
    have += static_cast<size_t>(got);
    if (!looked && have < 4) continue;
    if (!looked) RefuseHeader(bytes);
    looked = true;
    const size_t whole = have - have % sample_bytes;
    PushSamples(hearing, std::span(bytes).first(whole), format.floats);
    std::copy(bytes.begin() + whole, bytes.begin() + have, bytes.begin());
    have -= whole;
  }
  const size_t whole = have - have % sample_bytes;  // of a pipe of less than four bytes
  PushSamples(hearing, std::span(bytes).first(whole), format.floats);
  if (have > whole && !StopRequested()) {
    hearing.Remark(fmt::format("stdin: ends in the middle of a sample; its first {} are left out\n",
                               have - whole == 1 ? "byte" : fmt::format("{} bytes", have - whole)));
  }
}

}  // namespace

void HearPipe(Hearing& hearing, int file, const PipeFormat& format) {
  hearing.Begin("-", format.rate_hz);
  bool looked = false;
  try {
    PushPipe(hearing, file, format, looked);
  } catch (const Error&) {
    if (looked) hearing.End();  // what came before the fault is heard and told
    throw;
  }
  hearing.End();
}

}  // namespace bisparse::apps
