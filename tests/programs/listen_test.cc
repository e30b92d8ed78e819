// SPDX-License-Identifier: Apache-2.0
// bisparse-listen: the same events from a recording, from a pipe and from the API; its flags; wrong input; signals,
// terminals and memory. It passes 400 lines because all of these share one sound and the events that are in it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cmath>
#include <iterator>
#include <limits>
#include <numbers>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "bisparse/detector.h"
#include "bisparse/stream.h"
#include "data/audio.h"
#include "data/resampler.h"
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

  /// Lines of JSON with a word, without the file's name.
  static std::vector<Json> Events(const std::string& out) {
    std::vector<Json> events;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
      Json json = Json::parse(line);
      json.erase("file");
      if (json.contains("word")) events.push_back(std::move(json));
    }
    return events;
  }
  /// The last line.
  static Json Summary(const std::string& out) {
    return Json::parse(out.substr(out.rfind('\n', out.size() - 2) + 1));
  }

  static std::string Bytes(const std::vector<float>& samples) {
    return {reinterpret_cast<const char*>(samples.data()), samples.size() * sizeof(float)};
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
  const Json summary = Summary(recording.out);
  keys.clear();
  AddKeys(summary, "", keys);
  EXPECT_EQ(keys, KeysOnPage("bisparse-listen --json, the last line"));
  EXPECT_EQ(summary["file"], "a.wav");
  EXPECT_EQ(summary["sound_s"], 2);
  EXPECT_EQ(summary["windows"], (16'000 - 2048) / 256 + 1);
  EXPECT_GT(summary["real_time_factor"], 0);
  EXPECT_EQ(summary["streams_per_core"],
            static_cast<int64_t>(1 / summary["real_time_factor"].get<double>()));
  EXPECT_EQ(summary["overruns"], 0);
  EXPECT_THAT(recording.err, HasSubstr("a.wav: 2.0 s of sound, "));
  EXPECT_THAT(recording.err, HasSubstr(" of real time on one core, which "));
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
  EXPECT_EQ(Summary(nothing.out)["windows"], 0);
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

TEST_F(ListenProgram, TakesAPipeOfFloatsAndOfOtherRates) {
  const std::vector<int16_t> sound = WriteSound();
  std::vector<float> floats;
  data::ToFloats(sound, floats);
  WriteText("f32.raw", Bytes(floats));
  const std::string flags = std::string("model.bisparse - --json ") + kFlags;
  EXPECT_EQ(Events(Run("bisparse-listen", flags + " --pipe-format f32 <f32.raw").out),
            Expected(sound, kOptions));
  const std::vector<int16_t> half = data::ToPcm16(data::Resampled("half", floats, 16'000, 8000));
  const std::vector<Json> expected = Expected(half, kOptions);
  EXPECT_NE(expected, Expected(sound, kOptions));
  EXPECT_EQ(Events(Run("bisparse-listen", flags + " --pipe-rate 16000 <a.raw").out), expected);
  data::WriteWav(Path("half.wav"), floats, 16'000);
  EXPECT_EQ(
      Events(Run("bisparse-listen", "model.bisparse half.wav --json " + std::string(kFlags)).out),
      expected);
  ExpectError("bisparse-listen", flags + " --pipe-rate 1 <a.raw", 3,
              "stdin: sample rate 1 Hz cannot be resampled to 8000 Hz");
}

// Wrong input: the right result, or an error that says what is wrong.

TEST_F(ListenProgram, TellsWhatIsReadableOfABrokenRecording) {
  const std::vector<int16_t> sound = WriteSound();
  const auto events_until = [&](size_t samples) {
    return Expected({sound.begin(), sound.begin() + static_cast<std::ptrdiff_t>(samples)},
                    kOptions);
  };
  fs::resize_file(Path("a.wav"), 44 + 2 * 12'000);
  const std::string flags = std::string(" --json ") + kFlags;
  const Result cut = Run("bisparse-listen", "model.bisparse a.wav" + flags);
  EXPECT_EQ(cut.code, 3);
  EXPECT_EQ(Events(cut.out), events_until(12'000));
  EXPECT_EQ(Summary(cut.out)["sound_s"], 1.5);
  EXPECT_THAT(cut.err, HasSubstr("bisparse-listen: a.wav: is cut short, 8000 of 32000 bytes are "
                                 "missing\n"));
  std::vector<float> floats;
  data::ToFloats(sound, floats);
  for (const float wrong :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    floats[10'000] = wrong;
    WriteFloatWav("nan.wav", floats, 8000);
    const Result nan = Run("bisparse-listen", "model.bisparse nan.wav" + flags);
    EXPECT_EQ(nan.code, 3);
    EXPECT_EQ(Events(nan.out), events_until(10'000));
    EXPECT_THAT(nan.err, HasSubstr("nan.wav: sample 10000 is not finite"));
  }
}

TEST_F(ListenProgram, RefusesAPipeOfWhatIsNoNumberOrIsAFile) {
  const std::vector<int16_t> sound = WriteSound();
  std::vector<float> floats;
  data::ToFloats(sound, floats);
  floats[9000] = -std::numeric_limits<float>::infinity();
  WriteText("f32.raw", Bytes(floats));
  const Result nan =
      Run("bisparse-listen",
          std::string("model.bisparse - --json --pipe-format f32 ") + kFlags + " <f32.raw");
  EXPECT_EQ(nan.code, 3);
  EXPECT_THAT(nan.err, HasSubstr("bisparse-listen: stdin: sample 9000 is not finite"));
  EXPECT_THAT(nan.out, HasSubstr("real_time_factor")) << "what came before is told to the end";
  ExpectError(
      "bisparse-listen", "model.bisparse - <a.wav", 3,
      "stdin: begins as a WAV file does; raw samples are read from a pipe (hint: arecord -t raw");
  EXPECT_EQ(Run("bisparse-listen", "model.bisparse /dev/stdin <a.wav").code, 0);
}

TEST_F(ListenProgram, ClipsWhatIsLouderThanFullScaleAndSaysSo) {
  std::vector<float> floats;
  data::ToFloats(WriteSound(), floats);
  for (float& sample : floats) sample *= 10;
  WriteText("f32.raw", Bytes(floats));
  WriteFloatWav("loud.wav", floats, 8000);
  const std::vector<Json> expected = Expected(data::ToPcm16(floats), kOptions);
  const std::string flags = std::string(" --json ") + kFlags;
  const Result recording = Run("bisparse-listen", "model.bisparse loud.wav" + flags);
  EXPECT_EQ(Events(recording.out), expected);
  EXPECT_THAT(recording.err, HasSubstr("loud.wav peaks at 3 times full scale and is clipped"));
  const Result piped =
      Run("bisparse-listen", "model.bisparse - --pipe-format f32" + flags + " <f32.raw");
  EXPECT_EQ(Events(piped.out), expected);
  EXPECT_THAT(piped.err, HasSubstr("stdin peaks at 3 times full scale and is clipped"));
  // Resampling overshoots what is clipped: that is no news.
  WriteFloatWav("other_rate.wav", floats, 11025);
  const std::string err = Run("bisparse-listen", "model.bisparse other_rate.wav" + flags).err;
  const size_t first = err.find("peaks at");
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(err.find("peaks at", first + 1), std::string::npos) << err;
}

TEST_F(ListenProgram, HearsNoWordInSilenceADirectCurrentOrASquareWave) {
  for (const auto& [name, low, high] : {std::tuple{"silence", 0, 0},
                                        {"direct current", 12'000, 12'000},
                                        {"clipped", -32'768, 32'767}}) {
    SCOPED_TRACE(name);
    std::string raw;
    for (int i = 0; i < 3 * 16'000; ++i) {
      const int sample = i / 40 % 2 == 0 ? low : high;
      raw += {static_cast<char>(sample & 0xFF), static_cast<char>(sample >> 8 & 0xFF)};
    }
    WriteText("a.raw", raw);
    const Result result = Run("bisparse-listen",
                              BISPARSE_SOURCE_DIR "/models/gsc_fast_int8.bisparse - --json <a.raw");
    EXPECT_EQ(result.code, 0) << result.err;
    for (const Json& event : Events(result.out)) {
      EXPECT_GT(event["end_s"], 3) << event;  // from a direct current to silence is a click
    }
    EXPECT_EQ(Summary(result.out)["sound_s"], 3);
  }
}

TEST_F(ListenProgram, RefusesARateThatIsNone) {
  WriteFloatWav("slow.wav", std::vector<float>(100), 1);
  ExpectError("bisparse-listen", "model.bisparse slow.wav", 3,
              "slow.wav: sample rate 1 Hz cannot be resampled to 8000 Hz (at most 256-fold)");
}

// A stop, a terminal, a long time.

TEST_F(ListenProgram, EndsInOrderAtASignal) {
  const std::vector<int16_t> sound = WriteSound();
  const Result result = Shell(fmt::format(
      "mkfifo p; bisparse-listen model.bisparse - {} --json <p >events & exec 3>p; cat a.raw >&3; "
      "until [ -s events ]; do sleep 0.05; done; kill -TERM $!; wait $!; code=$?; exec 3>&-; "
      "cat events; exit $code",
      kFlags));
  EXPECT_EQ(result.code, 130) << result.err;
  ASSERT_FALSE(Events(result.out).empty());
  EXPECT_EQ(Events(result.out)[0], Expected(sound, kOptions)[0]);
  EXPECT_GT(Summary(result.out)["windows"], 0);
  EXPECT_THAT(result.err, HasSubstr(" s of sound, "));
}

TEST_F(ListenProgram, ShowsALineOnATerminalAlone) {
  WriteSound();
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(::grantpt(terminal), 0);
  ASSERT_EQ(::unlockpt(terminal), 0);
  const std::string name = ::ptsname(terminal);
  const int other_end = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);  // it stays open
  ASSERT_GE(other_end, 0);
  const auto shown = [&](const std::string& flags) {
    const std::string command =
        fmt::format("bisparse-listen model.bisparse a.wav {} {} 2>{}", kFlags, flags, name);
    EXPECT_EQ(Shell(command).code, 0);
    std::string text;
    pollfd more = {.fd = terminal, .events = POLLIN, .revents = 0};
    while (::poll(&more, 1, /*ms=*/300) > 0) {
      std::array<char, 4096> part;
      const ssize_t got = ::read(terminal, part.data(), part.size());
      if (got <= 0) break;
      text.append(part.data(), static_cast<size_t>(got));
    }
    return text;
  };
  // Cleared before anything else is written.
  EXPECT_THAT(shown(""), AllOf(StartsWith("\r["), ContainsRegex(" dB  [a-z]+ [0-9]+ %"),
                               HasSubstr("\x1b[K\r\x1b[Ka.wav: 2.0 s of sound")));
  EXPECT_THAT(shown("--no-live"), StartsWith("a.wav: 2.0 s of sound"));
  EXPECT_THAT(shown("--json"), StartsWith("\r["));
  EXPECT_THAT(shown("--json >" + name), StartsWith("{"));
  ::close(other_end);
  ::close(terminal);
}

/// Of a program that has heard something and waits for more, by /proc: peak and present memory.
class ListenMemory : public ListenProgram {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer has memory of its own";
#endif
    ListenProgram::SetUp();
    WriteSound();
    WriteText("memory", "grep -E 'VmHWM|VmRSS' /proc/$1/status | tr -dc '0-9\\n'\n");
  }
  /// Peak and present in kB, once for each time that `script` says `sh memory $!`.
  std::vector<int> Memory(const std::string& script) const {
    const Result result = Shell(script);
    EXPECT_EQ(result.code, 0) << result.err;
    std::istringstream numbers(result.out);
    return {std::istream_iterator<int>(numbers), {}};
  }
  static constexpr int kSlackKb = 1024;
  /// The bar of 20 MB for a model of 30 KB, and room for libraries that differ between machines.
  static constexpr int kMostKb = 32 << 10;
};

TEST_F(ListenMemory, OfTwentyMinutesFromAPipeIsThatOfOne) {
  const std::vector<int> memory = Memory(
      "mkfifo p; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do cat a.raw a.raw; done >minute; "
      "bisparse-listen model.bisparse - <p >/dev/null & exec 3>p; cat minute >&3; sh memory $!; "
      "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do cat minute >&3; done; "
      "sh memory $!; exec 3>&-; wait $!");
  ASSERT_EQ(memory.size(), 4u);
  EXPECT_LE(memory[2], memory[0] + kSlackKb);
  EXPECT_LE(memory[3], memory[1] + kSlackKb);
  EXPECT_LE(memory[2], kMostKb);
}

TEST_F(ListenMemory, OfALongRecordingIsThatOfAShortOne) {
  // At another rate, so that it is resampled, too.
  const auto peak_kb = [&](int minutes) {
    std::vector<float> samples(static_cast<size_t>(minutes * 60 * 4000));
    for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<float>(i % 97) / 200;
    data::WriteWav(Path("long.wav"), samples, 4000);
    const std::vector<int> memory = Memory(
        "mkfifo -m 600 q; bisparse-listen model.bisparse long.wav - <q >/dev/null 2>log & exec "
        "3>q; "
        "until grep -q 'long.wav: ' log; do sleep 0.05; done; sh memory $!; exec 3>&-; wait $!; rm "
        "q");
    return memory.empty() ? 0 : memory[0];
  };
  const int brief = peak_kb(1), extended = peak_kb(10);
  EXPECT_GT(brief, 0);
  EXPECT_LE(extended, brief + kSlackKb);
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
  ExpectError("bisparse-listen", "model.bisparse", 2, "flags: nothing to listen to (hint: ");
  ExpectError("bisparse-listen", "model.bisparse a.wav --device default", 2,
              "FILE and --device exclude each other");
  ExpectError("bisparse-listen", "model.bisparse a.wav --reconnect", 2, "--device");
#if BISPARSE_HAS_PORTAUDIO
  ExpectError("bisparse-listen", "model.bisparse --device 'no such microphone'", 3,
              "--device: 'no such microphone' ");
  const Result devices = Run("bisparse-listen", "--list-devices");
  EXPECT_EQ(devices.code, 0) << devices.err;
  EXPECT_NE(devices.out, "");
#else
  ExpectError("bisparse-listen", "model.bisparse --device default", 2,
              "built without PortAudio (hint: cmake/install_packages.sh --microphone");
  ExpectError("bisparse-listen", "--list-devices", 2, "built without PortAudio");
#endif
  packed::Model deaf = packed::MakeExampleModel(1);
  deaf.front_end.reset();
  packed::WriteModel(deaf, Path("deaf.bisparse"));
  ExpectError("bisparse-listen", "deaf.bisparse a.wav", 2, "the model has no front end");
}

}  // namespace
}  // namespace bisparse
