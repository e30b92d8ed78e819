// SPDX-License-Identifier: Apache-2.0
// small.bisparse is MakeExampleModel(1) as a file, small.txt a sample and the logits of its
// definition; small_int8 the same of an int8 network, whose logits are one set of bits everywhere; small_graph_int8 of one
// with branches and signed maps (format version 3), small_dilated_int8 with a dilation (version 4).
// They are kept: a program that no longer reads them, or gives other logits, breaks
// every file in the field. One is written anew, where that is meant, by
//   BISPARSE_WRITE_GOLDEN=small_int8 build/release/bin/golden_test
// Then what may happen to a file on its way: cut anywhere, any bit altered, once as it is (the
// checksum tells) and once with the checksum made right again (verifier and ValidateModel hold).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/base/checksum.h"
#include "deploy/base/file.h"
#include "deploy/base/random.h"
#include "deploy/engine/engine_access.h"
#include "deploy/ops/shared/test_util.h"
#include "deploy/packed/example_model.h"
#include "deploy/packed/model_file.h"
#include "deploy/reference/random_model.h"
#include "deploy/reference/reference.h"
#include "tests/golden/float_bound.h"

namespace bisparse {
namespace {

constexpr Mode kModes[] = {Mode::kAuto, Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse};
constexpr size_t kHeaderBytes = 64;
constexpr uint64_t kI8Seed = 149;  // convolutions, both scopes of k-WTA, linear layers; below 20 kB
constexpr uint64_t kGraphSeed =
    2305;  // add, multiply, concat, k-WTA, pools, depthwise, maps below 0
constexpr uint64_t kDilatedSeed = 1510;  // a convolution of winners and a depthwise one
constexpr const char* kNames[] = {"small", "small_int8", "small_graph_int8", "small_dilated_int8"};

std::string ModelPath(const std::string& name) {
  return BISPARSE_GOLDEN_DIR "/" + name + ".bisparse";
}
std::string SamplePath(const std::string& name) { return BISPARSE_GOLDEN_DIR "/" + name + ".txt"; }

/// Networks for new files. A random one may be drawn otherwise by now than when its file was written.
packed::Model MakeGolden(const std::string& name) {
  if (name == "small") return packed::MakeExampleModel(1);
  if (name == "small_int8") {
    return MakeRandomI8Model(kI8Seed, {.quads = false, .smooth = false});
  }
  return MakeRandomI8Model(name == "small_graph_int8" ? kGraphSeed : kDilatedSeed,
                           {.quads = false, .graphs = true, .smooth = false});
}

struct Sample {
  std::vector<float> features, logits;
};

Sample ReadSample(const std::string& name) {
  std::istringstream text(ReadTextFile(SamplePath(name)));
  Sample sample;
  for (auto [what, values] :
       {std::pair{"features", &sample.features}, std::pair{"logits", &sample.logits}}) {
    std::string word;
    size_t count = 0;
    text >> word >> count;
    EXPECT_EQ(word, what);
    values->resize(count);
    for (float& value : *values) text >> value;
  }
  EXPECT_TRUE(text) << SamplePath(name) << " ends early or holds something that is no number";
  return sample;
}

/// Random features, as a front end with a mean of 0 gives them.
void WriteGolden(const std::string& name) {
  const packed::Model model = MakeGolden(name);
  packed::WriteModel(model, ModelPath(name));
  CounterRandom random(1, {});
  std::vector<float> features(static_cast<size_t>(model.input.elements()));
  for (float& x : features) x = random.Normal();
  std::ostringstream text;
  text.precision(9);  // enough to read the same float back
  const std::vector<float> logits = model.format == packed::NumberFormat::kF32
                                        ? RunReference(model, features).layer_output.back()
                                        : RunReferenceI8(model, features).logits;
  text << "features " << features.size() << '\n';
  for (const float x : features) text << x << '\n';
  text << "logits " << logits.size() << '\n';
  for (const float logit : logits) text << logit << '\n';
  WriteFileAtomically(SamplePath(name), text.str());
}

std::vector<uint8_t> GoldenBytes(const std::string& name) {
  const std::string text = ReadTextFile(ModelPath(name));
  return {text.begin(), text.end()};
}

class Golden : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    if (const char* name = std::getenv("BISPARSE_WRITE_GOLDEN")) WriteGolden(name);
  }
};

TEST_P(Golden, TheModelIsWrittenAsItWas) {
  EXPECT_EQ(packed::SerialiseModel(packed::ReadModel(ModelPath(GetParam()))),
            GoldenBytes(GetParam()));
  EXPECT_LE(GoldenBytes(GetParam()).size(), 20'000u) << "small, so that every bit can be tried";
}

/// The farthest that each logit may be from the stored one.
std::vector<double> Bound(const packed::Model& model, const Sample& sample) {
  if (model.format != packed::NumberFormat::kF32) {
    return std::vector<double>(sample.logits.size(), 0.0);
  }
  const std::vector<double> bound = LogitBound(model, sample.features);
  // A bound as large as the logits would let everything pass: here no winner is a close call.
  for (size_t o = 0; o < bound.size(); ++o) EXPECT_LT(bound[o], 1e-3 * std::abs(sample.logits[o]));
  return bound;
}

TEST_P(Golden, EveryModeGivesTheStoredLogits) {
  const Sample sample = ReadSample(GetParam());
  const packed::Model model = packed::ReadModel(ModelPath(GetParam()));
  const std::vector<double> bound = Bound(model, sample);
  ASSERT_EQ(bound.size(), sample.logits.size());
  kernels::ForEachIsa([&] {
    for (const Mode mode : kModes) {
      const Engine engine = Engine::Load(ModelPath(GetParam()), {.mode = mode});
      std::vector<float> logits(sample.logits.size(), NAN);
      engine.Run(sample.features, logits);
      for (size_t o = 0; o < logits.size(); ++o) {
        EXPECT_NEAR(logits[o], sample.logits[o], bound[o]) << ModeName(mode) << ", logit " << o;
      }
    }
  });
}

/// Whether the bytes are refused as they must be; any other exception ends the test.
bool IsRefused(std::span<const uint8_t> bytes) {
  try {
    packed::ParseModel(bytes, "altered");
    return false;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
    return true;
  }
}

TEST_P(Golden, IsRefusedWhereverItIsCut) {
  const std::vector<uint8_t> bytes = GoldenBytes(GetParam());
  for (size_t length = 0; length < bytes.size(); ++length) {
    ASSERT_TRUE(IsRefused(std::span(bytes).first(length))) << "cut to " << length << " bytes";
  }
  ASSERT_FALSE(IsRefused(bytes));
}

TEST_P(Golden, IsRefusedWhicheverBitIsAltered) {
  std::vector<uint8_t> bytes = GoldenBytes(GetParam());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const auto mask = static_cast<uint8_t>(1u << bit % 8);
    bytes[bit / 8] ^= mask;
    ASSERT_TRUE(IsRefused(bytes)) << "byte " << bit / 8 << ", bit " << bit % 8;
    bytes[bit / 8] ^= mask;
  }
  ASSERT_FALSE(IsRefused(bytes));
}

// The result may be any: an altered weight is a weight.
TEST_P(Golden, DoesNoHarmWhicheverBitIsAlteredUnderARightChecksum) {
  std::vector<uint8_t> bytes = GoldenBytes(GetParam());
  const std::span<const uint8_t> payload = std::span(bytes).subspan(kHeaderBytes);
  int64_t refused = 0, ran = 0;
  // One bit of each byte, another one in the next byte. With this variable all, which take ten minutes under ASan.
  const bool all = std::getenv("BISPARSE_TEST_EVERY_BIT") != nullptr;
  for (size_t bit = 8 * kHeaderBytes; bit < 8 * bytes.size(); ++bit) {
    if (!all && bit % 8 != 5 * (bit / 8) % 8) continue;
    const auto mask = static_cast<uint8_t>(1u << bit % 8);
    bytes[bit / 8] ^= mask;
    const uint64_t checksum = XxHash64(payload);
    std::memcpy(bytes.data() + 24, &checksum, sizeof checksum);
    try {
      const Mode mode = kModes[bit % std::size(kModes)];
      const Engine engine =
          EngineAccess::FromModel(packed::ParseModel(bytes, "altered"), {.mode = mode});
      const std::vector<float> features(static_cast<size_t>(engine.input_shape().elements()), 0.5f);
      std::vector<float> logits(static_cast<size_t>(engine.output_count()));
      engine.Run(features, logits);
      ++ran;
    } catch (const Error& error) {
      ASSERT_EQ(error.kind(), ErrorKind::kData)
          << "byte " << bit / 8 << ", bit " << bit % 8 << ": " << error.what();
      ++refused;
    }
    bytes[bit / 8] ^= mask;
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(ran, 500);
  RecordProperty("refused", std::to_string(refused));
  RecordProperty("ran", std::to_string(ran));
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::ValuesIn(kNames),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace bisparse
