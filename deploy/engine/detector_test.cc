// SPDX-License-Identifier: Apache-2.0
// Events by hand: averages, thresholds, least duration, refractory time, gate; what is refused; what a file keeps.
#include "bisparse/detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "deploy/engine/engine_access.h"
#include "deploy/packed/example_model.h"
#include "deploy/packed/model_file.h"

namespace bisparse {
namespace {

/// Classes yes, no, _silence_; 8000 Hz, clips of 2048 samples, frames of 256: a hop of 1 frame is 32 ms.
packed::Model Example() {
  packed::Model model = packed::MakeExampleModel(1);
  model.front_end->mel_count = model.input.height;
  model.front_end->frame_count = model.input.width;
  return model;
}

/// Gives a detector windows whose probabilities are said.
class Script {
 public:
  explicit Script(const DetectionOptions& options)
      : engine_(EngineAccess::FromModel(Example())),
        detector_(engine_, {.hop_frames = 1}, options) {}

  std::optional<Event> Push(double yes, double no, double rms = 0.1) {
    const std::vector<float> logits = {static_cast<float>(std::log(yes)),
                                       static_cast<float>(std::log(no)),
                                       static_cast<float>(std::log(1 - yes - no))};
    const int64_t begin = 256 * windows_++;
    return detector_.Push({.begin = begin, .end = begin + 2048, .logits = logits, .rms = rms});
  }
  /// Indices of the windows in which there is an event, of `count` equal ones.
  std::vector<int> EventsOf(int count, double yes, double no, double rms = 0.1) {
    std::vector<int> events;
    for (int i = 0; i < count; ++i) {
      if (Push(yes, no, rms)) events.push_back(i);
    }
    return events;
  }
  Detector& detector() { return detector_; }

 private:
  Engine engine_;
  Detector detector_;
  int64_t windows_ = 0;
};

TEST(Detector, AveragesOverWindowsAndCountsThoseBeforeTheStreamAsNothing) {
  // 128 ms are 4 windows.
  Script script({.average_ms = 128, .threshold = 0.6});
  EXPECT_FALSE(script.Push(0.8, 0.1));  // 0.8 / 4
  EXPECT_NEAR(script.detector().averages()[0], 0.2, 1e-6);
  EXPECT_NEAR(script.detector().averages()[1], 0.025, 1e-6);
  EXPECT_FALSE(script.Push(0.8, 0.1));
  EXPECT_FALSE(script.Push(0.7, 0.1));
  const std::optional<Event> event = script.Push(0.9, 0.05);  // (0.8 + 0.8 + 0.7 + 0.9) / 4 = 0.8
  ASSERT_TRUE(event);
  EXPECT_EQ(event->word, 0u);
  EXPECT_NEAR(event->score, 0.8, 1e-6);
  EXPECT_EQ(event->begin, 3 * 256);
  EXPECT_EQ(event->end, 3 * 256 + 2048);
  EXPECT_FALSE(script.Push(0.1, 0.1));
  EXPECT_NEAR(script.detector().averages()[0], (0.8 + 0.7 + 0.9 + 0.1) / 4, 1e-6);
}

TEST(Detector, IsQuietForTheRefractoryTime) {
  // Each window by itself; 10 hops of 32 ms.
  Script script({.average_ms = 0, .threshold = 0.5, .refractory_ms = 320});
  EXPECT_THAT(script.EventsOf(25, 0.9, 0.05), testing::ElementsAre(0, 10, 20));
  // Of another word too.
  script.detector().Reset();
  EXPECT_TRUE(script.Push(0.9, 0.05));
  EXPECT_THAT(script.EventsOf(12, 0.05, 0.9), testing::ElementsAre(9));
}

TEST(Detector, WantsALeastDurationWithoutAGap) {
  // 64 ms: two hops after the first window at the threshold.
  Script script({.average_ms = 0, .threshold = 0.5, .least_ms = 64, .refractory_ms = 0});
  EXPECT_FALSE(script.Push(0.9, 0.05));
  EXPECT_FALSE(script.Push(0.9, 0.05));
  EXPECT_FALSE(script.Push(0.3, 0.05));
  EXPECT_FALSE(script.Push(0.9, 0.05));
  EXPECT_FALSE(script.Push(0.9, 0.05));
  const std::optional<Event> event = script.Push(0.9, 0.05);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->begin, 3 * 256);
  EXPECT_EQ(event->end, 5 * 256 + 2048);
}

TEST(Detector, EachWordHasItsThresholdAndTheLikeliestWins) {
  const DetectionOptions options{
      .average_ms = 0, .threshold = 0.9, .words = {{"no", 0.3}}, .refractory_ms = 0};
  Script script(options);
  EXPECT_FALSE(script.Push(0.85, 0.1));
  std::optional<Event> event = script.Push(0.1, 0.35);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->word, 1u);
  Script low({.average_ms = 0, .threshold = 0.2, .refractory_ms = 0});
  event = low.Push(0.3, 0.4);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->word, 1u);
  // What is no word is no event, however likely.
  EXPECT_FALSE(low.Push(0.01, 0.01));
}

TEST(Detector, TheGateWantsOneLoudHopInTheWindow) {
  // 2048 samples are 8 hops.
  Script script({.average_ms = 0, .threshold = 0.5, .refractory_ms = 0, .gate_db = -40});
  EXPECT_THAT(script.EventsOf(3, 0.9, 0.05, 0.009), testing::ElementsAre());
  EXPECT_TRUE(script.Push(0.9, 0.05, 0.011));
  EXPECT_THAT(script.EventsOf(10, 0.9, 0.05, 0), testing::ElementsAre(0, 1, 2, 3, 4, 5, 6));
  Script open({.average_ms = 0, .threshold = 0.5, .refractory_ms = 0});
  EXPECT_TRUE(open.Push(0.9, 0.05, 0));
}

template <class Call>
std::string ErrorOf(ErrorKind kind, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(Detector, RefusesNumbersOutOfRangeAndWordsThatTheModelLacks) {
  const Engine engine = EngineAccess::FromModel(Example());
  const auto error_of = [&](const DetectionOptions& options) {
    return ErrorOf(ErrorKind::kConfiguration, [&] { Detector(engine, {}, options); });
  };
  EXPECT_EQ(error_of({.threshold = NAN}), "DetectionOptions: threshold = nan, allowed are 0 to 1");
  EXPECT_THAT(error_of({.average_ms = -1}), testing::HasSubstr("average_ms = -1"));
  EXPECT_THAT(error_of({.least_ms = 60'001}), testing::HasSubstr("least_ms = 60001"));
  EXPECT_THAT(error_of({.refractory_ms = INFINITY}), testing::HasSubstr("refractory_ms = inf"));
  EXPECT_THAT(error_of({.gate_db = 1}), testing::HasSubstr("gate_db = 1"));
  EXPECT_THAT(
      error_of({.words = {{"maybe", 0.5}}}),
      testing::HasSubstr("'maybe', which is no word of the model (its classes: yes, no, _"));
  EXPECT_THAT(error_of({.words = {{"_silence_", 0.5}}}), testing::HasSubstr("no word"));
  EXPECT_THAT(error_of({.words = {{"no", 0.5}, {"no", 0.6}}}), testing::HasSubstr("'no' twice"));
  EXPECT_THAT(error_of({.words = {{"no", 1.5}}}), testing::HasSubstr("threshold of 'no' = 1.5"));
  EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration, [&] { Detector(engine, {.hop_frames = 0}, {}); }),
              testing::HasSubstr("hop_frames = 0"));
  packed::Model fine = Example();  // 48 kHz, a window for each sample
  fine.front_end->sample_rate_hz = 48'000;
  fine.front_end->hop_samples = 1;
  const Engine every_sample = EngineAccess::FromModel(fine);
  EXPECT_THAT(
      ErrorOf(ErrorKind::kConfiguration,
              [&] { Detector(every_sample, {}, {.average_ms = 60'000}); }),
      testing::HasSubstr("average_ms = 60000 are 2880000 windows of 3 classes, at most 4194304"));
  packed::Model nameless = Example();
  nameless.class_names.clear();
  const Engine numbers = EngineAccess::FromModel(nameless);
  EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration, [&] { Detector(numbers, {}, {}); }),
              testing::HasSubstr("no class that is a word"));
  Detector detector(engine, {}, {});
  const std::vector<float> two(2);
  EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration, [&] { detector.Push({.logits = two}); }),
              testing::HasSubstr("window has 2 logits, the detector's model 3"));
  const Detector moved = std::move(detector);
  EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration, [&] { detector.Reset(); }),
              testing::HasSubstr("moved from"));
}

TEST(Detector, TheFileKeepsItsParameters) {
  packed::Model model = Example();
  EXPECT_EQ(EngineAccess::FromModel(model).detection(), DetectionOptions());
  const DetectionOptions options{.average_ms = 200,
                                 .threshold = 0.7,
                                 .words = {{"no", 0.25}, {"yes", 0.5}},
                                 .least_ms = 10,
                                 .refractory_ms = 1500,
                                 .gate_db = -50};
  model.detection = options;
  const std::vector<uint8_t> bytes = packed::SerialiseModel(model);
  EXPECT_EQ(Engine::Load(std::as_bytes(std::span(bytes))).detection(), options);
  model.detection->threshold = 3;
  EXPECT_THAT(ErrorOf(ErrorKind::kData, [&] { packed::SerialiseModel(model); }),
              testing::HasSubstr("detection: threshold = 3, allowed are 0 to 1"));
}

TEST(Detector, FollowsAStream) {
  const Engine engine = EngineAccess::FromModel(Example());
  Stream stream = engine.NewStream({});
  Detector detector(engine, {}, {.average_ms = 100, .threshold = 0.0, .refractory_ms = 0});
  const std::vector<float> sound(20'000, 0.1f);
  int64_t events = 0, windows = 0;
  stream.Push(std::span<const float>(sound), [&](const StreamWindow& window) {
    ++windows;
    EXPECT_NEAR(window.rms, 0.1, 1e-6);
    if (const std::optional<Event> event = detector.Push(window)) {
      ++events;
      EXPECT_EQ(event->begin, 0);  // at the threshold since the first window
      EXPECT_EQ(event->end, window.end);
    }
  });
  EXPECT_GT(windows, 50);
  EXPECT_EQ(events, windows);
}

}  // namespace
}  // namespace bisparse
