// SPDX-License-Identifier: Apache-2.0
// Tests pictures in a model file and in the engine's calls for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/base/random.h"
#include "deploy/engine/engine_access.h"
#include "deploy/frontend/pixels.h"
#include "deploy/packed/example_model.h"
#include "deploy/packed/model_file.h"

namespace bisparse {
namespace {

using ::testing::HasSubstr;

/// Takes grey pictures of 8×8.
packed::Model Example() {
  packed::Model model = packed::MakeExampleModel(1);
  model.front_end.reset();
  model.pictures =
      PictureInput{.fit = PictureFit::kStretch, .mean_c = {0.5f}, .deviation_c = {0.25f}};
  return model;
}

template <typename Call>
std::string ErrorOf(ErrorKind kind, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "none";
}

std::vector<uint8_t> Draw(int64_t count) {
  std::vector<uint8_t> bytes;
  CounterRandom random(1, {2});
  for (int64_t i = 0; i < count; ++i) bytes.push_back(static_cast<uint8_t>(random.Below(256)));
  return bytes;
}

TEST(EnginePixels, TheFileKeepsThem) {
  packed::Model model = Example();
  model.pictures->order = ChannelOrder::kBgr;
  const packed::Model read = packed::ParseModel(packed::SerialiseModel(model), "a");
  EXPECT_EQ(read.pictures, model.pictures);
  EXPECT_FALSE(
      packed::ParseModel(packed::SerialiseModel(packed::MakeExampleModel(1)), "a").pictures);
  model.pictures->mean_c = {0.1f, 0.2f};
  EXPECT_THAT(ErrorOf(ErrorKind::kData, [&] { packed::SerialiseModel(model); }),
              HasSubstr("pictures: mean has 2 values, the input has 1 channel"));
  model = Example();
  model.front_end = packed::MakeExampleModel(1).front_end;
  EXPECT_THAT(ErrorOf(ErrorKind::kData, [&] { packed::SerialiseModel(model); }),
              HasSubstr("pictures: stands beside front_end"));
}

TEST(EnginePixels, AreFittedScaledAndRun) {
  const Engine engine = EngineAccess::FromModel(Example());
  EXPECT_EQ(engine.picture_channels(), 1);
  const size_t outputs = static_cast<size_t>(engine.output_count());
  std::vector<float> features(64), logits(outputs), expected(outputs);
  for (const Shape& shape : {Shape{8, 8, 1}, Shape{8, 8, 3}, Shape{20, 13, 3}, Shape{3, 5, 1}}) {
    const std::vector<uint8_t> bytes = Draw(shape.elements());
    const Pixels picture{bytes, shape.height, shape.width, shape.channels};
    std::vector<uint8_t> fitted(64);
    FitPixels(picture, PictureFit::kStretch, {8, 8, 1}, fitted);
    engine.ComputePixelFeatures(picture, features);
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(features[i], static_cast<float>((fitted[i] / 255.0 - 0.5) / 0.25));
    }
    engine.Run(features, expected);
    engine.RunPixels(picture, logits);
    EXPECT_EQ(logits, expected);
  }
}

TEST(EnginePixels, FaultsAreTold) {
  const Engine engine = EngineAccess::FromModel(Example());
  const std::vector<uint8_t> bytes(64);
  std::vector<float> logits(static_cast<size_t>(engine.output_count())), two(2);
  EXPECT_THAT(ErrorOf(ErrorKind::kData,
                      [&] {
                        engine.RunPixels({bytes, 8, 9, 1}, logits);
                      }),
              HasSubstr("64 bytes, 8x9x1 have 72"));
  EXPECT_THAT(ErrorOf(ErrorKind::kData,
                      [&] {
                        engine.RunPixels({bytes, 8, 8, 4}, logits);
                      }),
              HasSubstr("channels = 4, allowed are 1 and 3"));
  EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration,
                      [&] {
                        engine.RunPixels({bytes, 8, 8, 1}, two);
                      }),
              HasSubstr("logits"));
  const Engine hearing = EngineAccess::FromModel(packed::MakeExampleModel(1));
  EXPECT_EQ(hearing.picture_channels(), 0);
  EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration,
                      [&] {
                        hearing.RunPixels({bytes, 8, 8, 1}, logits);
                      }),
              HasSubstr("the model takes no pictures"));
}

}  // namespace
}  // namespace bisparse
