// SPDX-License-Identifier: Apache-2.0
// Streams give the bits of RunPcm of each window, however the pieces are cut; what they refuse.
#include "bisparse/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "deploy/base/random.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/example_model.h"

namespace bisparse {
namespace {

packed::Model ModelWith(const FrontEnd& front_end) {
  packed::Model model = packed::MakeExampleModel(1);
  model.front_end = front_end;
  return model;
}

/// 8 bands and frames, as the example's input; windows of every kind.
std::vector<FrontEnd> FrontEnds() {
  FrontEnd usual;
  usual.sample_rate_hz = 8000;
  usual.clip_samples = 2048;
  usual.window_samples = 512;
  usual.hop_samples = 256;
  usual.fft_samples = 512;
  usual.mel_count = usual.frame_count = 8;
  usual.high_hz = 3800.0f;
  FrontEnd all_inside = usual;  // but the first two frames
  all_inside.clip_samples = 3000;
  FrontEnd sparse = usual;  // samples between windows of frames that nobody reads
  sparse.hop_samples = 700;
  sparse.clip_samples = 7 * 700 + 100;
  sparse.norm = FeatureNorm::kClipMeanStd;
  FrontEnd none_inside = usual;
  none_inside.clip_samples = 500;
  none_inside.hop_samples = 60;
  none_inside.norm = FeatureNorm::kNone;
  return {usual, all_inside, sparse, none_inside};
}

std::vector<int16_t> Sound(int64_t samples) {
  CounterRandom random(3, {9});
  std::vector<int16_t> sound;
  for (int64_t i = 0; i < samples; ++i) {
    const double loud = 0.5 + 0.5 * std::sin(static_cast<double>(i) * 1e-3);
    sound.push_back(static_cast<int16_t>(random.Normal() * 3000.0 * loud));
  }
  return sound;
}

std::vector<float> AsFloats(const std::vector<int16_t>& sound) {
  std::vector<float> floats;
  for (const int16_t sample : sound) floats.push_back(static_cast<float>(sample) / 32768.0f);
  return floats;
}

struct Window {
  int64_t begin, end;
  std::vector<float> logits;
  bool operator==(const Window&) const = default;
};

auto Into(std::vector<Window>& windows) {
  return [&windows](const StreamWindow& window) {
    windows.push_back({window.begin, window.end, {window.logits.begin(), window.logits.end()}});
  };
}

/// What the contract says.
std::vector<Window> Expected(const Engine& engine, const std::vector<float>& sound,
                             const FrontEnd& f, int32_t hop_frames) {
  std::vector<Window> windows;
  for (int64_t begin = 0; begin + f.clip_samples <= std::ssize(sound);
       begin += int64_t{hop_frames} * f.hop_samples) {
    Window window{begin, begin + f.clip_samples, {}};
    window.logits.resize(static_cast<size_t>(engine.output_count()));
    engine.RunPcm(
        std::span(sound).subspan(static_cast<size_t>(begin), static_cast<size_t>(f.clip_samples)),
        window.logits);
    windows.push_back(std::move(window));
  }
  return windows;
}

TEST(Stream, GivesTheBitsOfRunPcmHoweverPiecesAreCut) {
  const std::vector<int16_t> sound = Sound(40'000);
  const std::vector<float> floats = AsFloats(sound);
  for (const FrontEnd& f : FrontEnds()) {
    const Engine engine = EngineAccess::FromModel(ModelWith(f));
    for (const int32_t hop_frames : {1, 2, 5, 30}) {
      SCOPED_TRACE(testing::Message() << "clip " << f.clip_samples << ", hop " << hop_frames);
      const std::vector<Window> expected = Expected(engine, floats, f, hop_frames);
      ASSERT_GE(expected.size(), 2u);
      Stream stream = engine.NewStream({.hop_frames = hop_frames});
      for (uint64_t seed = 0; seed < 6; ++seed) {
        stream.Reset();
        CounterRandom random(seed, {10});
        std::vector<Window> windows;
        for (size_t at = 0; at < sound.size();) {
          const uint32_t longest = seed == 0 ? 1 : seed == 1 ? 100'000 : 3000;
          const size_t count = std::min<size_t>(random.Below(longest) + 1, sound.size() - at);
          // Floats and 16-bit numbers in turn, and pieces of nothing.
          if (random.Below(2) == 0) {
            stream.Push(std::span<const float>(floats).subspan(at, count), Into(windows));
          } else {
            stream.Push(std::span<const int16_t>(sound).subspan(at, count), Into(windows));
          }
          stream.Push(std::span<const float>(), Into(windows));
          at += count;
        }
        ASSERT_EQ(windows, expected) << "seed " << seed;
        EXPECT_EQ(stream.stats().samples, std::ssize(sound));
        EXPECT_EQ(stream.stats().windows, std::ssize(expected));
      }
    }
  }
}

TEST(Stream, ManyOnOneEngineFromManyThreads) {
  const FrontEnd f = FrontEnds()[0];
  Engine loaded = EngineAccess::FromModel(ModelWith(f), {.threads = 2});
  const std::vector<float> sound = AsFloats(Sound(20'000));
  const std::vector<Window> expected = Expected(loaded, sound, f, 1);
  std::vector<Stream> streams;
  for (int i = 0; i < 8; ++i) streams.push_back(loaded.NewStream({}));
  const Engine engine = std::move(loaded);  // streams follow
  std::vector<std::vector<Window>> windows(streams.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < streams.size(); ++i) {
    threads.emplace_back([&, i] {
      for (size_t at = 0; at < sound.size(); at += 100) {
        streams[i].Push(std::span(sound).subspan(at, 100), Into(windows[i]));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<Window>& each : windows) EXPECT_EQ(each, expected);
}

TEST(Stream, MeasuresItsTime) {
  const Engine engine = EngineAccess::FromModel(ModelWith(FrontEnds()[0]));
  Stream stream = engine.NewStream({});
  EXPECT_EQ(stream.stats().real_time_factor(), 0);
  stream.Push(std::span<const int16_t>(Sound(8000)), [](const StreamWindow&) {});
  const StreamStats stats = stream.stats();
  EXPECT_GT(stats.front_end_ns, 0);
  EXPECT_GT(stats.network_ns, 0);
  EXPECT_DOUBLE_EQ(stats.real_time_factor(),
                   static_cast<double>(stats.front_end_ns + stats.network_ns) / 1e9);
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

TEST(Stream, RefusesWhatIsNoSoundAndTakesNothingOfIt) {
  const FrontEnd f = FrontEnds()[0];
  const Engine engine = EngineAccess::FromModel(ModelWith(f));
  std::vector<float> sound = AsFloats(Sound(5000));
  const std::vector<Window> expected = Expected(engine, sound, f, 1);
  Stream stream = engine.NewStream({});
  std::vector<Window> windows;
  stream.Push(std::span<const float>(sound).first(3000), Into(windows));
  std::vector<float> rest(sound.begin() + 3000, sound.end());
  for (const float wrong : {NAN, INFINITY, -0x1p41f}) {
    std::vector<float> piece = rest;
    piece[7] = wrong;
    EXPECT_THAT(ErrorOf(ErrorKind::kData,
                        [&] { stream.Push(std::span<const float>(piece), Into(windows)); }),
                testing::HasSubstr("Stream::Push: samples[7] is "));
  }
  stream.Push(std::span<const float>(rest), Into(windows));
  EXPECT_EQ(windows, expected);
}

TEST(Stream, WhatTheCallbackThrowsEndsThePieceAfterItsWindow) {
  const FrontEnd f = FrontEnds()[0];
  const Engine engine = EngineAccess::FromModel(ModelWith(f));
  const std::vector<float> sound = AsFloats(Sound(5000));
  Stream stream = engine.NewStream({});
  EXPECT_THROW(stream.Push(std::span<const float>(sound),
                           [](const StreamWindow&) { throw std::runtime_error("enough"); }),
               std::runtime_error);
  EXPECT_EQ(stream.stats().samples, f.clip_samples);
  std::vector<Window> windows;
  stream.Push(std::span<const float>(sound).subspan(static_cast<size_t>(f.clip_samples)),
              Into(windows));
  std::vector<Window> expected = Expected(engine, sound, f, 1);
  expected.erase(expected.begin());
  EXPECT_EQ(windows, expected);
}

/// Silence becomes zeros, and whatever is loud logits beyond the range of floats.
packed::Model Overflowing() {
  struct Numbers {
    std::vector<float> weight_pnl = std::vector<float>(64, 1e38f), bias_o = {0.0f};
  };
  const auto numbers = std::make_shared<Numbers>();
  packed::Model model{.name = "overflowing"};
  model.input = {8, 8, 1};
  model.front_end = FrontEnds()[0];
  model.front_end->norm = FeatureNorm::kNone;
  model.front_end->log_floor = 1.0f;
  packed::Layer layer{.kind = packed::LayerKind::kLinear, .name = "linear"};
  layer.input = model.input;
  layer.output = {1, 1, 1};
  layer.weight_pnl = numbers->weight_pnl;
  layer.bias_o = numbers->bias_o;
  model.layers.push_back(layer);
  model.storage = numbers;
  return model;
}

TEST(Stream, GoesOnAfterAWindowWhoseLogitsOverflow) {
  const Engine engine = EngineAccess::FromModel(Overflowing());
  Stream stream = engine.NewStream({.hop_frames = 8});
  std::vector<Window> windows;
  const std::vector<float> loud(2048, 1.0f), silence(4096);
  EXPECT_THAT(
      ErrorOf(ErrorKind::kData, [&] { stream.Push(std::span<const float>(loud), Into(windows)); }),
      testing::HasSubstr("the range of floats"));
  stream.Push(std::span<const float>(silence), Into(windows));
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(windows[0], (Window{2048, 4096, {0.0f}}));
  EXPECT_EQ(windows[1], (Window{4096, 6144, {0.0f}}));
}

TEST(Stream, RefusesModelsWithoutAFrontEndAndHopsOutOfRange) {
  packed::Model without = packed::MakeExampleModel(1);
  without.front_end.reset();
  const Engine deaf = EngineAccess::FromModel(without);
  EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration, [&] { deaf.NewStream({}); }),
              testing::HasSubstr("Engine::NewStream: the model has no front end"));
  const Engine engine = EngineAccess::FromModel(ModelWith(FrontEnds()[0]));
  for (const int32_t hop : {0, -1, (1 << 20) + 1}) {
    EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration, [&] { engine.NewStream({.hop_frames = hop}); }),
                testing::HasSubstr("hop_frames = " + std::to_string(hop)));
  }
  Stream from = engine.NewStream({});
  const Stream to = std::move(from);
  EXPECT_THAT(ErrorOf(ErrorKind::kConfiguration, [&] { from.stats(); }),
              testing::HasSubstr("moved from"));
}

}  // namespace
}  // namespace bisparse
