// SPDX-License-Identifier: Apache-2.0
// Read first: hearing.h, bisparse/detector.h.
#include "apps/support/hearing.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "apps/support/json.h"
#include "deploy/base/check.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"

namespace bisparse::apps {

void SetThreshold(const std::string& text, DetectionOptions& options) {
  const size_t equals = text.rfind('=');
  const char* const begin = text.c_str() + (equals == std::string::npos ? 0 : equals + 1);
  const char* const end = text.c_str() + text.size();
  double threshold = 0;
  const auto [stop, fault] = std::from_chars(begin, end, threshold);
  if (fault != std::errc() || stop != end || !(threshold >= 0 && threshold <= 1)) {
    Fail(ErrorKind::kConfiguration, "--threshold", "'{}' is no number from 0 to 1, nor WORD=NUMBER",
         text);
  }
  if (equals == std::string::npos) {
    options.threshold = threshold;
    options.words.clear();
    return;
  }
  const std::string word = text.substr(0, equals);
  for (WordThreshold& known : options.words) {
    if (known.word == word) {
      known.threshold = threshold;
      return;
    }
  }
  options.words.push_back({word, threshold});
}

Hearing::Hearing(const Engine& engine, const HearingOptions& options)
    : engine_(engine),
      options_(options),
      stream_(engine.NewStream(options.stream)),
      detector_(engine, options.stream, options.detection) {}

void Hearing::Push(std::span<const int16_t> samples) {
  stream_.Push(samples, [this](const StreamWindow& window) {
    if (const std::optional<Event> event = detector_.Push(window)) Tell(*event);
  });
}

void Hearing::Tell(const Event& event) {
  const double rate_hz = engine_.sample_rate_hz();
  const double begin_s = static_cast<double>(event.begin) / rate_hz;
  const double end_s = static_cast<double>(event.end) / rate_hz;
  const std::string& word = engine_.class_names()[event.word];
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

void Hearing::TellTime() {
  const StreamStats stats = stream_.stats();
  const double windows = static_cast<double>(std::max<int64_t>(stats.windows, 1));
  PrintRemark(stderr,
              "{}: {:.1f} s of sound, {} windows; each: front end {:.0f} us, network {:.1f} us; "
              "{:.4f} of real time\n",
              Shown(name_), static_cast<double>(stats.samples) / engine_.sample_rate_hz(),
              stats.windows, static_cast<double>(stats.front_end_ns) / windows * 1e-3,
              static_cast<double>(stats.network_ns) / windows * 1e-3, stats.real_time_factor());
}

void Hearing::HearRecording(const std::string& name, std::span<const int16_t> samples) {
  name_ = name;
  stream_.Reset();
  detector_.Reset();
  if (!options_.json) PrintResult("{}:\n", Shown(name));
  Push(samples);
  End();
}

void Hearing::End() {
  TellTime();
  const FrontEnd& front_end = *EngineAccess::model(engine_).front_end;
  Push(std::vector<int16_t>(static_cast<size_t>(front_end.clip_samples)));
}

void Hearing::HearPipe(int file) {
  name_.assign(1, '-');  // g++ 12 warns of an assignment of text here
  stream_.Reset();
  detector_.Reset();
  std::array<uint8_t, 1 << 14> bytes;
  std::array<int16_t, sizeof bytes / 2> samples;
  size_t have = 0;
  while (true) {
    const ssize_t got = ::read(file, bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {  // whoever made the pipe does not wait on it
      pollfd sound = {.fd = file, .events = POLLIN, .revents = 0};
      ::poll(&sound, 1, -1);
      continue;
    }
    if (got < 0) {
      Fail(ErrorKind::kData, "stdin", "cannot be read: {}", std::generic_category().message(errno));
    }
    if (got == 0) break;
    have += static_cast<size_t>(got);
    for (size_t i = 0; i < have / 2; ++i) {
      samples[i] = static_cast<int16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    }
    Push(std::span(samples).first(have / 2));
    if (have % 2 == 1) bytes[0] = bytes[have - 1];
    have %= 2;
  }
  if (have == 1) {
    PrintRemark(stderr, "stdin: ends in the middle of a sample; its one byte is left out\n");
  }
  End();
}

}  // namespace bisparse::apps
