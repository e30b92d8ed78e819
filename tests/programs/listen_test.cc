// SPDX-License-Identifier: Apache-2.0
// bisparse-listen: the same events from a recording, from a pipe and from the API; its flags; pipes that end anywhere.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <numbers>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "bisparse/detector.h"
#include "bisparse/stream.h"
#include "data/audio.h"
#include "tests/programs/json_page.h"

namespace bisparse {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ListenProgram : public Programs {
 protected:
  /// A tone that rises for two seconds, and as raw samples in "a.raw".
  std::vector<int16_t> WriteSound() const {
    std::vector<float> samples(16'000);
    for (size_t i = 0; i < samples.size(); ++i) {
      const double hz = 200.0 + 0.1 * static_cast<double>(i);
      samples[i] = static_cast<float>(
          0.3 * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / 8000.0));
    }
    data::WriteWav(Path("a.wav"), samples, 8000);
    const std::vector<int16_t> ints = data::ToPcm16(data::ReadAudio(Path("a.wav"), 8000).samples);
    std::string raw;
    for (const int16_t sample : ints) {
      raw += static_cast<char>(sample & 0xFF);
      raw += static_cast<char>((sample >> 8) & 0xFF);
    }
    WriteText("a.raw", raw);
    return ints;
  }

  /// Lines of JSON, without the file's name.
  static std::vector<Json> Events(const std::string& out) {
    std::vector<Json> events;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
      events.push_back(Json::parse(line));
      events.back().erase("file");
    }
    return events;
  }

  std::vector<Json> Expected(const std::vector<int16_t>& sound,
                             const DetectionOptions& options) const {
    const StreamOptions stream_options;
    Stream stream = engine().NewStream(stream_options);
    Detector detector(engine(), stream_options, options);
    std::vector<Json> events;
    const auto deliver = [&](const StreamWindow& window) {
      if (const std::optional<Event> event = detector.Push(window)) {
        events.push_back({{"word", engine().class_names()[event->word]},
                          {"begin_s", static_cast<double>(event->begin) / 8000},
                          {"end_s", static_cast<double>(event->end) / 8000},
                          {"score", event->score}});
      }
    };
    stream.Push(std::span<const int16_t>(sound), deliver);
    stream.Push(std::span<const int16_t>(std::vector<int16_t>(2048)), deliver);
    return events;
  }
};

constexpr const char* kFlags = "--threshold 0.4 --average-ms 100 --refractory-ms 200";
const DetectionOptions kOptions{.average_ms = 100, .threshold = 0.4, .refractory_ms = 200};

TEST_F(ListenProgram, HearsTheSameInARecordingAPipeAndTheApi) {
  const std::vector<int16_t> sound = WriteSound();
  const std::vector<Json> expected = Expected(sound, kOptions);
  ASSERT_GE(expected.size(), 3u);
  const std::string flags = std::string("model.bisparse ") + kFlags + " --json ";
  const Result recording = Run("bisparse-listen", flags + "a.wav");
  ASSERT_EQ(recording.code, 0) << recording.err;
  EXPECT_EQ(Events(recording.out), expected);
  std::set<std::string> keys;
  AddKeys(Json::parse(recording.out.substr(0, recording.out.find('\n'))), "", keys);
  EXPECT_EQ(keys, KeysOnPage("bisparse-listen --json"));
  EXPECT_THAT(recording.err, HasSubstr("a.wav: 2.0 s of sound, "));
  EXPECT_THAT(recording.err, HasSubstr(" of real time"));
  const Result piped = Run("bisparse-listen", flags + "- <a.raw");
  EXPECT_EQ(Events(piped.out), expected);
  // Two recordings know nothing of one another.
  const Result twice = Run("bisparse-listen", flags + "a.wav a.wav");
  std::vector<Json> both = expected;
  both.insert(both.end(), expected.begin(), expected.end());
  EXPECT_EQ(Events(twice.out), both);
  // For people.
  const Result text = Run("bisparse-listen", std::string("model.bisparse a.wav ") + kFlags);
  EXPECT_THAT(text.out, testing::StartsWith("a.wav:\n"));
  EXPECT_THAT(text.out,
              HasSubstr(fmt::format("{:9.2f} s  {} {:.0f} %\n", expected[0]["end_s"].get<double>(),
                                    expected[0]["word"].get<std::string>(),
                                    100 * expected[0]["score"].get<double>())));
}

TEST_F(ListenProgram, TakesWhatTheModelFileSaysUnlessFlagsSayOtherwise) {
  const std::vector<int16_t> sound = WriteSound();
  packed::Model model = packed::MakeExampleModel(1);
  model.detection = kOptions;
  packed::WriteModel(model, Path("tuned.bisparse"));
  const auto events = [&](const std::string& arguments) {
    return Events(Run("bisparse-listen", "tuned.bisparse a.wav --json " + arguments).out);
  };
  EXPECT_EQ(events(""), Expected(sound, kOptions));
  DetectionOptions other = kOptions;
  other.words = {{"yes", 1.0}};
  other.least_ms = 40;
  EXPECT_EQ(events("--threshold yes=1 --least-ms 40"), Expected(sound, other));
  EXPECT_THAT(events("--gate-db -1"), ElementsAre());
  EXPECT_THAT(events("--threshold 1"), ElementsAre());
}

TEST_F(ListenProgram, APipeMayEndAnywhereAndComeInAnyPieces) {
  const std::vector<int16_t> sound = WriteSound();
  const std::string flags = std::string("model.bisparse - --json ") + kFlags;
  const Result slow = Shell(
      "(head -c 5001 a.raw; sleep 0.2; tail -c +5002 a.raw; printf x) | bisparse-listen " + flags);
  ASSERT_EQ(slow.code, 0) << slow.err;
  EXPECT_EQ(Events(slow.out), Expected(sound, kOptions));
  EXPECT_THAT(slow.err, HasSubstr("ends in the middle of a sample"));
  const Result nothing = Run("bisparse-listen", flags + " </dev/null");
  EXPECT_EQ(nothing.code, 0);
  EXPECT_EQ(nothing.out, "");
  ExpectError("bisparse-listen", flags + " <.", 3, "stdin: cannot be read: Is a directory");
}

TEST_F(ListenProgram, WaitsForAPipeWhoseReadsDoNot) {
  const std::vector<int16_t> sound = WriteSound();
  const std::string raw = ReadTextFile(Path("a.raw"));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_LT(ends[0], 10);  // sh knows one digit
  ASSERT_EQ(::fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
  ASSERT_EQ(::fcntl(ends[1], F_SETFD, FD_CLOEXEC), 0);
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    EXPECT_EQ(::write(ends[1], raw.data(), raw.size()), std::ssize(raw));
    ::close(ends[1]);
  });
  const Result heard =
      Shell(fmt::format("bisparse-listen model.bisparse - --json {} <&{}", kFlags, ends[0]));
  writer.join();
  ::close(ends[0]);
  ASSERT_EQ(heard.code, 0) << heard.err;
  EXPECT_EQ(Events(heard.out), Expected(sound, kOptions));
}

TEST_F(ListenProgram, RefusesWhatItCannotUse) {
  WriteSound();
  const std::string run = "model.bisparse a.wav --threshold ";
  ExpectError("bisparse-listen", run + "loud", 2, "'loud' is no number from 0 to 1");
  ExpectError("bisparse-listen", run + "yes=2", 2, "'yes=2' is no number from 0 to 1");
  ExpectError("bisparse-listen", run + "maybe=0.5", 2, "'maybe', which is no word of the model");
  ExpectError("bisparse-listen", "model.bisparse a.wav --average-ms 70000", 2,
              "average_ms = 70000, allowed are 0 to 60000");
  ExpectError("bisparse-listen", "model.bisparse absent.wav", 3, "absent.wav: ");
  packed::Model deaf = packed::MakeExampleModel(1);
  deaf.front_end.reset();
  packed::WriteModel(deaf, Path("deaf.bisparse"));
  ExpectError("bisparse-listen", "deaf.bisparse a.wav", 2, "the model has no front end");
}

}  // namespace
}  // namespace bisparse
