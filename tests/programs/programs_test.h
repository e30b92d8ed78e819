// SPDX-License-Identifier: Apache-2.0
// What the tests of programs share: a small model, recordings made here, and a way to run a program in a folder of its
// own. The example model answers at random: its answers are compared with the engine's, not with the truth.
#ifndef BISPARSE_TESTS_PROGRAMS_PROGRAMS_TEST_H_
#define BISPARSE_TESTS_PROGRAMS_PROGRAMS_TEST_H_

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numbers>
#include <regex>
#include <set>
#include <span>
#include <sstream>

#include "bisparse/engine.h"
#include "data/audio.h"
#include "deploy/base/file.h"
#include "deploy/packed/example_model.h"
#include "deploy/packed/model_file.h"

namespace bisparse {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;
using Json = nlohmann::ordered_json;

inline const std::vector<std::string> kPrograms = {
    "bisparse-bench",   "bisparse-classify", "bisparse-compose",   "bisparse-evaluate",
    "bisparse-inspect", "bisparse-listen",   "bisparse-synthesise"};

struct Result {
  int code;
  std::string out, err;
};

inline std::vector<std::string> KeysOf(const Json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

class Programs : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    packed::Model model = packed::MakeExampleModel(1);
    model.provenance.config_text = "";
    packed::WriteModel(model, model_path_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  /// `before` is shell text before the program: a limit, a variable.
  Result Run(const std::string& program, const std::string& arguments,
             const std::string& before = "") const {
    const std::string command = fmt::format("cd '{}' && {} '{}/{}' >out 2>err </dev/null {}",
                                            folder_, before, BISPARSE_BIN_DIR, program, arguments);
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status)) << command;
    return {WEXITSTATUS(status), ReadTextFile(Path("out")), ReadTextFile(Path("err"))};
  }

  /// Shell text in the folder, in which the programs are on the PATH.
  Result Shell(const std::string& script) const {
    const std::string command =
        fmt::format("cd '{}' && PATH='{}':\"$PATH\" && {{ {} ; }} >out 2>err </dev/null", folder_,
                    BISPARSE_BIN_DIR, script);
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status)) << command;
    return {WEXITSTATUS(status), ReadTextFile(Path("out")), ReadTextFile(Path("err"))};
  }

  /// A failure: nothing on stdout, "program: where: what …" on one line of stderr.
  void ExpectError(const std::string& program, const std::string& arguments, int code,
                   const std::string& message, const std::string& before = "") const {
    SCOPED_TRACE(program + " " + arguments);
    const Result result = Run(program, arguments, before);
    EXPECT_EQ(result.code, code);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, AllOf(StartsWith(program + ": "), HasSubstr(message)));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }

  void WriteText(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    WriteFileAtomically(Path(name), text);
  }

  void WriteTone(const std::string& name, double hz, int32_t rate_hz = 8000) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::vector<float> samples(static_cast<size_t>(rate_hz / 4));
    for (size_t i = 0; i < samples.size(); ++i) {
      samples[i] = static_cast<float>(
          0.3 * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / rate_hz));
    }
    data::WriteWav(Path(name), samples, rate_hz);
  }

  /// 32-bit floats, also above full scale.
  void WriteFloatWav(const std::string& name, std::span<const float> samples,
                     int32_t rate_hz) const {
    const auto number = [](uint32_t value) {
      return std::string(reinterpret_cast<const char*>(&value), 4);
    };
    const std::string data(reinterpret_cast<const char*>(samples.data()), samples.size_bytes());
    const auto bytes = static_cast<uint32_t>(data.size()), rate = static_cast<uint32_t>(rate_hz);
    WriteText(name, "RIFF" + number(36 + bytes) + "WAVEfmt " + number(16) +
                        number(3 | 1 << 16 /* floats, one channel */) + number(rate) +
                        number(4 * rate) + number(4 | 32 << 16) + "data" + number(bytes) + data);
  }

  /// Test-set layout: 12 recordings of the example's three classes.
  void WriteTestSet(const std::string& root) const {
    const char* const classes[] = {"yes", "no", "_silence_"};
    for (int i = 0; i < 12; ++i) {
      WriteTone(fmt::format("{}/{}/{}.wav", root, classes[i % 3], i), 200 + 290 * i);
    }
  }

  /// A recording as training and evaluation hear it.
  std::vector<float> Samples(const std::string& recording) const {
    std::vector<float> samples;
    data::ToFloats(data::ToPcm16(data::ReadAudio(recording, engine().sample_rate_hz()).samples),
                   samples);
    return samples;
  }
  /// Softmax of the model's answer to a recording, or to samples.
  std::vector<double> Scores(const std::string& recording) const {
    return Scores(Samples(recording));
  }
  std::vector<double> Scores(std::span<const float> samples) const {
    std::vector<float> logits(3);
    engine().RunPcm(samples, logits);
    std::vector<double> scores(logits.begin(), logits.end());
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score);
    for (double& score : scores) score /= sum;
    return scores;
  }
  size_t Answer(const std::string& recording) const {
    const std::vector<double> scores = Scores(recording);
    return static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  }
  const Engine& engine() const {
    if (!engine_) engine_ = std::make_unique<Engine>(Engine::Load(model_path_));
    return *engine_;
  }

  const std::string folder_ = fmt::format("{}bisparse_programs_{}", testing::TempDir(), ::getpid());
  const std::string model_path_ = folder_ + "/model.bisparse";
  const std::string no_path_ = folder_ + "/absent";
  mutable std::unique_ptr<Engine> engine_;
};

}  // namespace bisparse

#endif  // BISPARSE_TESTS_PROGRAMS_PROGRAMS_TEST_H_
