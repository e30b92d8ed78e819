// SPDX-License-Identifier: Apache-2.0
// The C interface gives the C++ one's bits, from C and from two threads; what is wrong is a status and a message, never an
// exception or a crash. Past 400 lines: every function of the header with every wrong argument, on the same models.
#include "bisparse/bisparse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bisparse/detector.h"
#include "bisparse/engine.h"
#include "bisparse/stream.h"
#include "deploy/base/aligned_buffer.h"
#include "deploy/base/random.h"
#include "deploy/base/temporary_folder.h"
#include "deploy/c/in_c.h"
#include "deploy/packed/example_model.h"
#include "deploy/packed/model_file.h"

namespace bisparse {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Free {
  void operator()(bisparse_engine* engine) const { bisparse_engine_free(engine); }
  void operator()(bisparse_stream* stream) const { bisparse_stream_free(stream); }
};
using EnginePtr = std::unique_ptr<bisparse_engine, Free>;
using StreamPtr = std::unique_ptr<bisparse_stream, Free>;

std::vector<float> Noise(size_t count, uint64_t seed) {
  CounterRandom random(seed, {1});
  std::vector<float> noise(count);
  for (float& each : noise) each = static_cast<float>(0.1 * random.Normal());
  return noise;
}

std::vector<int16_t> NoiseInts(size_t count) {
  std::vector<int16_t> ints;
  for (const float each : Noise(count, 9)) ints.push_back(static_cast<int16_t>(each * 20000.0f));
  return ints;
}

/// Classes yes, no, _silence_; 8000 Hz, clips of 2048 samples, frames of 256.
class CApi : public testing::Test {
 protected:
  CApi() : bytes_(packed::SerialiseModel(packed::MakeExampleModel(1))) {
    packed::WriteModel(packed::MakeExampleModel(1), path_);
  }

  EnginePtr Load(const bisparse_engine_options* options = nullptr) const {
    bisparse_engine* engine = nullptr;
    EXPECT_EQ(bisparse_engine_load(path_.c_str(), options, &engine), BISPARSE_OK)
        << bisparse_last_error();
    return EnginePtr(engine);
  }

  static bisparse_engine_options EngineDefaults() {
    bisparse_engine_options options;
    EXPECT_EQ(bisparse_engine_options_init(&options, sizeof options), BISPARSE_OK);
    return options;
  }

  /// Such that noise is full of words.
  static bisparse_stream_options StreamDefaults(const EnginePtr& engine) {
    bisparse_stream_options options;
    EXPECT_EQ(bisparse_stream_options_init(engine.get(), &options, sizeof options), BISPARSE_OK);
    options.average_ms = 0;
    options.threshold = 0.4;
    options.refractory_ms = 0;
    options.word_count = 0;
    return options;
  }

  static StreamPtr New(const EnginePtr& engine, const bisparse_stream_options* options) {
    bisparse_stream* stream = nullptr;
    EXPECT_EQ(bisparse_stream_new(engine.get(), options, &stream), BISPARSE_OK)
        << bisparse_last_error();
    return StreamPtr(stream);
  }

  const TemporaryFolder folder_;
  const std::string path_ = folder_.path() + "/example.bisparse";
  const std::vector<uint8_t> bytes_;
};

TEST_F(CApi, GivesTheBitsOfCxxForSamplesBatchesAndSound) {
  const Engine cxx = Engine::Load(path_);
  bisparse_engine_options options = EngineDefaults();
  options.threads = 2;
  const EnginePtr engine = Load(&options);
  const auto inputs = static_cast<size_t>(cxx.input_shape().elements());
  const auto outputs = static_cast<size_t>(cxx.output_count());
  constexpr size_t kBatch = 5;
  const std::vector<float> features = Noise(kBatch * inputs, 3);
  std::vector<float> expected(kBatch * outputs), logits(kBatch * outputs);

  cxx.RunBatch(features, kBatch, expected);
  EXPECT_EQ(bisparse_engine_run_batch(engine.get(), features.data(), features.size(), kBatch,
                                      logits.data(), logits.size()),
            BISPARSE_OK);
  EXPECT_EQ(logits, expected);
  expected.resize(outputs);
  logits.assign(outputs, NAN);
  EXPECT_EQ(
      bisparse_engine_run(engine.get(), features.data(), inputs, logits.data(), logits.size()),
      BISPARSE_OK);
  EXPECT_EQ(logits, expected);
  logits.assign(outputs, NAN);
  std::vector<int64_t> layer_ns(cxx.layers().size());
  EXPECT_EQ(bisparse_engine_run_profiled(engine.get(), features.data(), inputs, logits.data(),
                                         logits.size(), layer_ns.data(), layer_ns.size()),
            BISPARSE_OK);
  EXPECT_EQ(logits, expected);
  EXPECT_THAT(layer_ns, testing::Contains(testing::Gt(0)));

  const std::vector<int16_t> ints = NoiseInts(2000);
  std::vector<float> floats;
  for (const int16_t each : ints) floats.push_back(static_cast<float>(each) / 32768.0f);
  cxx.RunPcm(floats, expected);
  EXPECT_EQ(bisparse_engine_run_pcm_f32(engine.get(), floats.data(), floats.size(), logits.data(),
                                        logits.size()),
            BISPARSE_OK);
  EXPECT_EQ(logits, expected);
  logits.assign(outputs, NAN);
  EXPECT_EQ(bisparse_engine_run_pcm_i16(engine.get(), ints.data(), ints.size(), logits.data(),
                                        logits.size()),
            BISPARSE_OK);
  EXPECT_EQ(logits, expected);
  std::vector<float> expected_features(inputs), c_features(inputs);
  cxx.ComputeFeatures(floats, expected_features);
  EXPECT_EQ(bisparse_engine_compute_features(engine.get(), floats.data(), floats.size(),
                                             c_features.data(), c_features.size()),
            BISPARSE_OK);
  EXPECT_EQ(c_features, expected_features);
}

TEST_F(CApi, LoadsFromMemoryCopiedAndInPlace) {
  const Engine cxx = Engine::Load(path_);
  const auto inputs = static_cast<size_t>(cxx.input_shape().elements());
  const auto outputs = static_cast<size_t>(cxx.output_count());
  const std::vector<float> features = Noise(inputs, 3);
  std::vector<float> expected(outputs);
  cxx.Run(features, expected);
  bisparse_engine_options options = EngineDefaults();
  for (const int32_t in_place : {0, 1}) {
    options.in_place = in_place;
    AlignedBuffer<uint8_t> memory(bytes_.size());
    std::memcpy(memory.data(), bytes_.data(), bytes_.size());
    bisparse_engine* engine = nullptr;
    ASSERT_EQ(bisparse_engine_load_memory(memory.data(), bytes_.size(), &options, &engine),
              BISPARSE_OK)
        << bisparse_last_error();
    const EnginePtr owner(engine);
    if (in_place == 0) std::memset(memory.data(), 0, bytes_.size());
    std::vector<float> logits(outputs);
    EXPECT_EQ(bisparse_engine_run(engine, features.data(), inputs, logits.data(), outputs),
              BISPARSE_OK);
    EXPECT_EQ(logits, expected);
  }
}

TEST_F(CApi, SaysWhatTheModelIs) {
  const Engine cxx = Engine::Load(path_, {.mode = Mode::kSparseDense});
  bisparse_engine_options options = EngineDefaults();
  options.mode = BISPARSE_MODE_SPARSE_DENSE;
  const EnginePtr engine = Load(&options);
  bisparse_shape shape;
  size_t features = 0, logits = 0, classes = 0, layers = 0;
  int32_t rate_hz = 0, threads = 0;
  bisparse_mode mode = BISPARSE_MODE_AUTO;
  int64_t workspace = 0;
  const char* isa = nullptr;
  EXPECT_EQ(bisparse_engine_input_shape(engine.get(), &shape), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_feature_count(engine.get(), &features), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_logit_count(engine.get(), &logits), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_class_count(engine.get(), &classes), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_layer_count(engine.get(), &layers), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_sample_rate_hz(engine.get(), &rate_hz), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_threads(engine.get(), &threads), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_mode(engine.get(), &mode), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_workspace_bytes(engine.get(), &workspace), BISPARSE_OK);
  EXPECT_EQ(bisparse_engine_isa(engine.get(), &isa), BISPARSE_OK);
  EXPECT_EQ((Shape{shape.height, shape.width, shape.channels}), cxx.input_shape());
  EXPECT_EQ(features, static_cast<size_t>(cxx.input_shape().elements()));
  EXPECT_EQ(logits, 3u);
  EXPECT_EQ(rate_hz, 8000);
  EXPECT_EQ(threads, 1);
  EXPECT_EQ(mode, BISPARSE_MODE_SPARSE_DENSE);
  EXPECT_EQ(workspace, cxx.workspace_bytes());
  EXPECT_EQ(isa, cxx.isa());
  ASSERT_EQ(classes, cxx.class_names().size());
  for (size_t i = 0; i < classes; ++i) {
    const char* name = nullptr;
    EXPECT_EQ(bisparse_engine_class_name(engine.get(), i, &name), BISPARSE_OK);
    EXPECT_EQ(name, cxx.class_names()[i]);
  }
  ASSERT_EQ(layers, cxx.layers().size());
  for (size_t i = 0; i < layers; ++i) {
    const LayerSummary& expected = cxx.layers()[i];
    bisparse_layer layer;
    EXPECT_EQ(bisparse_engine_layer(engine.get(), i, &layer, sizeof layer), BISPARSE_OK);
    EXPECT_EQ(layer.name, expected.name);
    EXPECT_EQ(layer.kind, expected.kind);
    EXPECT_EQ(layer.kernel, expected.kernel);
    EXPECT_EQ(layer.reason, expected.reason);
    EXPECT_EQ((Shape{layer.output.height, layer.output.width, layer.output.channels}),
              expected.output);
    EXPECT_EQ((Shape{layer.input.height, layer.input.width, layer.input.channels}), expected.input);
    EXPECT_EQ(layer.set_size, expected.set_size);
    EXPECT_EQ(layer.lanes, expected.lanes);
    EXPECT_EQ(layer.macs_dense, expected.macs_dense);
    EXPECT_EQ(layer.macs_executed, expected.macs_executed);
    EXPECT_EQ(layer.nonzeros, expected.nonzeros);
    EXPECT_EQ(layer.weights_dense, expected.weights_dense);
    EXPECT_EQ(layer.weight_bytes, expected.weight_bytes);
    EXPECT_EQ(layer.active_inputs, expected.active_inputs);
    EXPECT_EQ(layer.parallel, expected.parallel ? 1 : 0);
    EXPECT_EQ(layer.expected_us, expected.expected_us);
    EXPECT_EQ(layer.dense_us, expected.dense_us);
    EXPECT_EQ(layer.aligned_us, expected.aligned_us);
  }
}

TEST_F(CApi, StreamsGiveTheWindowsAndEventsOfCxx) {
  struct Window {
    int64_t begin, end;
    std::vector<float> logits;
    double rms;
    std::vector<double> averages;
    bool operator==(const Window&) const = default;
  };
  const Engine cxx = Engine::Load(path_);
  const StreamOptions hop = {.hop_frames = 2};
  const DetectionOptions detection = {
      .average_ms = 0, .threshold = 0.4, .words = {{"no", 0.2}}, .refractory_ms = 0};
  Stream cxx_stream = cxx.NewStream(hop);
  Detector detector(cxx, hop, detection);
  std::vector<Window> expected, windows;
  std::vector<Event> expected_events;
  const std::vector<int16_t> sound = NoiseInts(16000);
  cxx_stream.Push(std::span(sound), [&](const StreamWindow& window) {
    if (const auto event = detector.Push(window)) expected_events.push_back(*event);
    expected.push_back({window.begin,
                        window.end,
                        {window.logits.begin(), window.logits.end()},
                        window.rms,
                        {detector.averages().begin(), detector.averages().end()}});
  });
  ASSERT_GT(expected_events.size(), 3u);  // else the test says nothing

  EnginePtr engine = Load();
  bisparse_stream_options options = StreamDefaults(engine);
  EXPECT_EQ(options.detect, 1);
  const bisparse_word_threshold words[] = {{"no", 0.2}};
  options.words = words;
  options.word_count = 1;
  options.hop_frames = 2;
  options.user = &windows;
  options.on_window = [](void* user, const bisparse_window* window) {
    static_cast<std::vector<Window>*>(user)->push_back(
        {window->begin,
         window->end,
         {window->logits, window->logits + window->logit_count},
         window->rms,
         {window->averages, window->averages + window->logit_count}});
  };
  const StreamPtr stream = New(engine, &options);
  engine.reset();  // the stream holds on to what it needs
  for (int round = 0; round < 2; ++round) {
    windows.clear();
    std::vector<bisparse_event> events;
    for (size_t begin = 0; begin < sound.size(); begin += 3000) {
      EXPECT_EQ(bisparse_stream_push_i16(stream.get(), sound.data() + begin,
                                         std::min<size_t>(3000, sound.size() - begin)),
                BISPARSE_OK);
      for (int found = 1; begin > 5000 && found == 1;) {  // those of several pieces wait
        bisparse_event event;
        ASSERT_EQ(bisparse_stream_next_event(stream.get(), &event, &found), BISPARSE_OK);
        if (found == 1) events.push_back(event);
      }
    }
    EXPECT_EQ(windows, expected);
    ASSERT_EQ(events.size(), expected_events.size());
    for (size_t i = 0; i < events.size(); ++i) {
      EXPECT_EQ(events[i].class_index, expected_events[i].word);
      EXPECT_EQ(events[i].word, cxx.class_names()[expected_events[i].word]);
      EXPECT_EQ(events[i].begin, expected_events[i].begin);
      EXPECT_EQ(events[i].end, expected_events[i].end);
      EXPECT_EQ(events[i].score, expected_events[i].score);
    }
    bisparse_stream_stats stats;
    EXPECT_EQ(bisparse_stream_get_stats(stream.get(), &stats), BISPARSE_OK);
    EXPECT_EQ(stats.samples, 16000);
    EXPECT_EQ(stats.windows, std::ssize(expected));
    EXPECT_GT(stats.real_time_factor, 0);
    EXPECT_EQ(bisparse_stream_push_i16(stream.get(), sound.data(), sound.size()), BISPARSE_OK);
    EXPECT_EQ(bisparse_stream_reset(stream.get()), BISPARSE_OK);
    int found = 1;
    bisparse_event event;
    EXPECT_EQ(bisparse_stream_next_event(stream.get(), &event, &found), BISPARSE_OK);
    EXPECT_EQ(found, 0);  // reset takes those that waited along
  }
}

TEST_F(CApi, WindowsAloneHaveNoAveragesAndNoEvents) {
  const EnginePtr engine = Load();
  bisparse_stream_options options = StreamDefaults(engine);
  options.detect = 0;
  options.threshold = -7;  // nobody reads it
  int windows = 0;
  options.user = &windows;
  options.on_window = [](void* user, const bisparse_window* window) {
    EXPECT_EQ(window->averages, nullptr);
    ++*static_cast<int*>(user);
  };
  const StreamPtr stream = New(engine, &options);
  const std::vector<float> sound = Noise(3000, 1);
  EXPECT_EQ(bisparse_stream_push_f32(stream.get(), sound.data(), sound.size()), BISPARSE_OK);
  EXPECT_EQ(windows, 1 + (3000 - 2048) / 256);
  int found = 1;
  bisparse_event event;
  EXPECT_EQ(bisparse_stream_next_event(stream.get(), &event, &found), BISPARSE_OK);
  EXPECT_EQ(found, 0);
}

TEST_F(CApi, TwoThreadsOfAProgramInCGetTheBitsOfCxx) {
  const Engine cxx = Engine::Load(path_);
  const auto inputs = static_cast<size_t>(cxx.input_shape().elements());
  const auto outputs = static_cast<size_t>(cxx.output_count());
  constexpr size_t kBatch = 200;
  const std::vector<float> features = Noise(kBatch * inputs, 3);
  std::vector<float> expected(kBatch * outputs), logits(2 * kBatch * outputs);
  cxx.RunBatch(features, kBatch, expected);
  const std::vector<int16_t> sound = NoiseInts(12000);
  size_t events = 0, events_of[2] = {0, 0};
  Stream stream = cxx.NewStream({});
  Detector detector(cxx, {}, {.average_ms = 0, .threshold = 0.4, .refractory_ms = 0});
  stream.Push(std::span(sound),
              [&](const StreamWindow& window) { events += detector.Push(window) ? 1 : 0; });
  ASSERT_GT(events, 0u);
  ASSERT_EQ(RunInTwoThreads(path_.c_str(), features.data(), kBatch, logits.data(), sound.data(),
                            sound.size(), events_of),
            0)
      << "a line of in_c.c";
  const auto middle = logits.begin() + static_cast<std::ptrdiff_t>(kBatch * outputs);
  EXPECT_EQ(std::vector<float>(logits.begin(), middle), expected);
  EXPECT_EQ(std::vector<float>(middle, logits.end()), expected);
  EXPECT_THAT(events_of, testing::ElementsAre(events, events));
}

TEST_F(CApi, EveryNullIsAnErrorWithAName) {
  const EnginePtr owner = Load();
  bisparse_engine* const engine = owner.get();
  const StreamPtr stream_owner = New(owner, nullptr);
  bisparse_stream* const stream = stream_owner.get();
  bisparse_engine* made = engine;
  bisparse_stream* made_stream = stream;
  bisparse_engine_options options = EngineDefaults();
  bisparse_stream_options stream_options = StreamDefaults(owner);
  bisparse_shape shape;
  bisparse_layer layer;
  bisparse_mode mode;
  bisparse_event event;
  bisparse_stream_stats stats;
  size_t count;
  int32_t number;
  int64_t bytes;
  int found;
  const char* text;
  std::vector<float> x(64), y(3);
  std::vector<int64_t> ns(100);
  const int16_t ints[4] = {};
  bisparse_engine_options without_choices = options, without_layer = options;
  without_choices.choice_count = 1;
  const bisparse_layer_choice choice = {nullptr, BISPARSE_MODE_DENSE};
  without_layer.choices = &choice;
  without_layer.choice_count = 1;
  bisparse_stream_options without_words = stream_options, without_word = stream_options;
  without_words.words = nullptr;
  without_words.word_count = 2;
  const bisparse_word_threshold word = {nullptr, 0.5};
  without_word.words = &word;
  without_word.word_count = 1;
  const std::pair<const char*, std::function<bisparse_status()>> calls[] = {
      {"bisparse_engine_options_init: options is NULL",
       [&] { return bisparse_engine_options_init(nullptr, sizeof options); }},
      {"bisparse_engine_load: path is NULL",
       [&] { return bisparse_engine_load(nullptr, &options, &made); }},
      {"bisparse_engine_load: engine is NULL",
       [&] { return bisparse_engine_load(path_.c_str(), &options, nullptr); }},
      {"bisparse_engine_load: options.choices is NULL",
       [&] { return bisparse_engine_load(path_.c_str(), &without_choices, &made); }},
      {"bisparse_engine_load: options.choices[].layer is NULL",
       [&] { return bisparse_engine_load(path_.c_str(), &without_layer, &made); }},
      {"bisparse_engine_load_memory: bytes is NULL",
       [&] { return bisparse_engine_load_memory(nullptr, 5, &options, &made); }},
      {"bisparse_engine_load_memory: engine is NULL",
       [&] {
         return bisparse_engine_load_memory(bytes_.data(), bytes_.size(), &options, nullptr);
       }},
      {"bisparse_engine_input_shape: engine is NULL",
       [&] { return bisparse_engine_input_shape(nullptr, &shape); }},
      {"bisparse_engine_input_shape: shape is NULL",
       [&] { return bisparse_engine_input_shape(engine, nullptr); }},
      {"bisparse_engine_feature_count: engine is NULL",
       [&] { return bisparse_engine_feature_count(nullptr, &count); }},
      {"bisparse_engine_feature_count: count is NULL",
       [&] { return bisparse_engine_feature_count(engine, nullptr); }},
      {"bisparse_engine_logit_count: engine is NULL",
       [&] { return bisparse_engine_logit_count(nullptr, &count); }},
      {"bisparse_engine_logit_count: count is NULL",
       [&] { return bisparse_engine_logit_count(engine, nullptr); }},
      {"bisparse_engine_class_count: engine is NULL",
       [&] { return bisparse_engine_class_count(nullptr, &count); }},
      {"bisparse_engine_class_count: count is NULL",
       [&] { return bisparse_engine_class_count(engine, nullptr); }},
      {"bisparse_engine_class_name: engine is NULL",
       [&] { return bisparse_engine_class_name(nullptr, 0, &text); }},
      {"bisparse_engine_class_name: name is NULL",
       [&] { return bisparse_engine_class_name(engine, 0, nullptr); }},
      {"bisparse_engine_sample_rate_hz: engine is NULL",
       [&] { return bisparse_engine_sample_rate_hz(nullptr, &number); }},
      {"bisparse_engine_sample_rate_hz: rate_hz is NULL",
       [&] { return bisparse_engine_sample_rate_hz(engine, nullptr); }},
      {"bisparse_engine_threads: engine is NULL",
       [&] { return bisparse_engine_threads(nullptr, &number); }},
      {"bisparse_engine_threads: threads is NULL",
       [&] { return bisparse_engine_threads(engine, nullptr); }},
      {"bisparse_engine_mode: engine is NULL",
       [&] { return bisparse_engine_mode(nullptr, &mode); }},
      {"bisparse_engine_mode: mode is NULL", [&] { return bisparse_engine_mode(engine, nullptr); }},
      {"bisparse_engine_isa: engine is NULL", [&] { return bisparse_engine_isa(nullptr, &text); }},
      {"bisparse_engine_isa: isa is NULL", [&] { return bisparse_engine_isa(engine, nullptr); }},
      {"bisparse_engine_workspace_bytes: engine is NULL",
       [&] { return bisparse_engine_workspace_bytes(nullptr, &bytes); }},
      {"bisparse_engine_workspace_bytes: bytes is NULL",
       [&] { return bisparse_engine_workspace_bytes(engine, nullptr); }},
      {"bisparse_engine_layer_count: engine is NULL",
       [&] { return bisparse_engine_layer_count(nullptr, &count); }},
      {"bisparse_engine_layer_count: count is NULL",
       [&] { return bisparse_engine_layer_count(engine, nullptr); }},
      {"bisparse_engine_layer: engine is NULL",
       [&] { return bisparse_engine_layer(nullptr, 0, &layer, sizeof layer); }},
      {"bisparse_engine_layer: layer is NULL",
       [&] { return bisparse_engine_layer(engine, 0, nullptr, sizeof layer); }},
      {"bisparse_engine_run: engine is NULL",
       [&] { return bisparse_engine_run(nullptr, x.data(), 64, y.data(), 3); }},
      {"bisparse_engine_run: features is NULL",
       [&] { return bisparse_engine_run(engine, nullptr, 64, y.data(), 3); }},
      {"bisparse_engine_run: logits is NULL",
       [&] { return bisparse_engine_run(engine, x.data(), 64, nullptr, 3); }},
      {"bisparse_engine_run_batch: engine is NULL",
       [&] { return bisparse_engine_run_batch(nullptr, x.data(), 64, 1, y.data(), 3); }},
      {"bisparse_engine_run_batch: features is NULL",
       [&] { return bisparse_engine_run_batch(engine, nullptr, 64, 1, y.data(), 3); }},
      {"bisparse_engine_run_batch: logits is NULL",
       [&] { return bisparse_engine_run_batch(engine, x.data(), 64, 1, nullptr, 3); }},
      {"bisparse_engine_run_profiled: engine is NULL",
       [&] {
         return bisparse_engine_run_profiled(nullptr, x.data(), 64, y.data(), 3, ns.data(), 100);
       }},
      {"bisparse_engine_run_profiled: layer_ns is NULL",
       [&] {
         return bisparse_engine_run_profiled(engine, x.data(), 64, y.data(), 3, nullptr, 100);
       }},
      {"bisparse_engine_run_pcm_f32: engine is NULL",
       [&] { return bisparse_engine_run_pcm_f32(nullptr, x.data(), 64, y.data(), 3); }},
      {"bisparse_engine_run_pcm_f32: samples is NULL",
       [&] { return bisparse_engine_run_pcm_f32(engine, nullptr, 64, y.data(), 3); }},
      {"bisparse_engine_run_pcm_f32: logits is NULL",
       [&] { return bisparse_engine_run_pcm_f32(engine, x.data(), 64, nullptr, 3); }},
      {"bisparse_engine_run_pcm_i16: engine is NULL",
       [&] { return bisparse_engine_run_pcm_i16(nullptr, ints, 4, y.data(), 3); }},
      {"bisparse_engine_run_pcm_i16: samples is NULL",
       [&] { return bisparse_engine_run_pcm_i16(engine, nullptr, 4, y.data(), 3); }},
      {"bisparse_engine_run_pcm_i16: logits is NULL",
       [&] { return bisparse_engine_run_pcm_i16(engine, ints, 4, nullptr, 3); }},
      {"bisparse_engine_compute_features: engine is NULL",
       [&] { return bisparse_engine_compute_features(nullptr, x.data(), 64, x.data(), 64); }},
      {"bisparse_engine_compute_features: features is NULL",
       [&] { return bisparse_engine_compute_features(engine, x.data(), 64, nullptr, 64); }},
      {"bisparse_stream_options_init: engine is NULL",
       [&] {
         return bisparse_stream_options_init(nullptr, &stream_options, sizeof stream_options);
       }},
      {"bisparse_stream_options_init: options is NULL",
       [&] { return bisparse_stream_options_init(engine, nullptr, sizeof stream_options); }},
      {"bisparse_stream_new: engine is NULL",
       [&] { return bisparse_stream_new(nullptr, &stream_options, &made_stream); }},
      {"bisparse_stream_new: stream is NULL",
       [&] { return bisparse_stream_new(engine, &stream_options, nullptr); }},
      {"bisparse_stream_new: options.words is NULL",
       [&] { return bisparse_stream_new(engine, &without_words, &made_stream); }},
      {"bisparse_stream_new: options.words[].word is NULL",
       [&] { return bisparse_stream_new(engine, &without_word, &made_stream); }},
      {"bisparse_stream_push_f32: stream is NULL",
       [&] { return bisparse_stream_push_f32(nullptr, x.data(), 64); }},
      {"bisparse_stream_push_f32: samples is NULL",
       [&] { return bisparse_stream_push_f32(stream, nullptr, 64); }},
      {"bisparse_stream_push_i16: stream is NULL",
       [&] { return bisparse_stream_push_i16(nullptr, ints, 4); }},
      {"bisparse_stream_push_i16: samples is NULL",
       [&] { return bisparse_stream_push_i16(stream, nullptr, 4); }},
      {"bisparse_stream_next_event: stream is NULL",
       [&] { return bisparse_stream_next_event(nullptr, &event, &found); }},
      {"bisparse_stream_next_event: event is NULL",
       [&] { return bisparse_stream_next_event(stream, nullptr, &found); }},
      {"bisparse_stream_next_event: found is NULL",
       [&] { return bisparse_stream_next_event(stream, &event, nullptr); }},
      {"bisparse_stream_reset: stream is NULL", [&] { return bisparse_stream_reset(nullptr); }},
      {"bisparse_stream_get_stats: stream is NULL",
       [&] { return bisparse_stream_get_stats(nullptr, &stats); }},
      {"bisparse_stream_get_stats: stats is NULL",
       [&] { return bisparse_stream_get_stats(stream, nullptr); }},
  };
  for (const auto& [message, call] : calls) {
    EXPECT_EQ(call(), BISPARSE_ARGUMENT) << message;
    EXPECT_STREQ(bisparse_last_error(), message);
  }
  EXPECT_EQ(made, nullptr);  // what failed gives no handle
  EXPECT_EQ(made_stream, nullptr);
  bisparse_engine_free(nullptr);
  bisparse_stream_free(nullptr);
}

TEST_F(CApi, WrongCountsOptionsAndNumbersAreErrorsThatNameTheFunction) {
  const EnginePtr owner = Load();
  bisparse_engine* const engine = owner.get();
  std::vector<float> x(64), y(3);
  const auto says = [](bisparse_status expected, bisparse_status status, const char* message) {
    EXPECT_EQ(status, expected) << message;
    EXPECT_THAT(bisparse_last_error(), StartsWith(message));
  };
  const auto refused = [&](bisparse_status status, const char* message) {
    says(BISPARSE_ARGUMENT, status, message);
  };
  refused(bisparse_engine_run(engine, x.data(), 63, y.data(), 3),
          "bisparse_engine_run: features has 63 floats, the model needs 64");
  refused(bisparse_engine_run(engine, x.data(), 64, y.data(), 2),
          "bisparse_engine_run: logits has 2 floats, the model needs 3");
  refused(bisparse_engine_run(engine, nullptr, 0, y.data(), 3),
          "bisparse_engine_run: features has 0 floats, the model needs 64");
  refused(bisparse_engine_run(engine, x.data(), SIZE_MAX, y.data(), 3),
          "bisparse_engine_run: features has 18446744073709551615 elements");
  refused(bisparse_engine_run_batch(engine, x.data(), 64, SIZE_MAX, y.data(), 3),
          "bisparse_engine_run_batch: batch = 18446744073709551615");
  refused(bisparse_engine_run_batch(engine, x.data(), 64, 2, y.data(), 3),
          "bisparse_engine_run_batch: features has 64 floats, the model needs 128");
  refused(bisparse_engine_run_pcm_i16(engine, nullptr, 0, y.data(), 2),
          "bisparse_engine_run_pcm_i16: logits has 2 floats");
  says(BISPARSE_DATA, bisparse_engine_run_pcm_f32(engine, nullptr, 0, y.data(), 3),
       "bisparse_engine_run_pcm_f32: samples is empty");
  x[5] = NAN;
  says(BISPARSE_DATA, bisparse_engine_run(engine, x.data(), 64, y.data(), 3),
       "bisparse_engine_run: features[5] is nan");
  int64_t ns[1];
  refused(bisparse_engine_run_profiled(engine, x.data(), 64, y.data(), 3, ns, 1),
          "bisparse_engine_run_profiled: layer_ns has 1 entries");
  const char* name = nullptr;
  refused(bisparse_engine_class_name(engine, 3, &name), "bisparse_engine_class_name: index = 3");
  bisparse_layer layer;
  refused(bisparse_engine_layer(engine, 0, &layer, sizeof layer - 1),
          "bisparse_engine_layer: size = ");

  bisparse_engine* made = nullptr;
  bisparse_engine_options options = EngineDefaults();
  options.mode = 4;
  refused(bisparse_engine_load(path_.c_str(), &options, &made),
          "bisparse_engine_load: mode = 4, allowed are 0 to 3");
  options = {};
  refused(bisparse_engine_load(path_.c_str(), &options, &made),
          "bisparse_engine_load: options.size = 0");
  options = EngineDefaults();
  const bisparse_layer_choice choice = {"nobody", BISPARSE_MODE_DENSE};
  options.choices = &choice;
  options.choice_count = 1;
  EXPECT_EQ(bisparse_engine_load(path_.c_str(), &options, &made), BISPARSE_ARGUMENT);
  EXPECT_THAT(bisparse_last_error(), HasSubstr("nobody"));
  says(BISPARSE_DATA, bisparse_engine_load("/nowhere/at_all", nullptr, &made), "/nowhere/at_all");
  says(BISPARSE_DATA, bisparse_engine_load_memory("model", 5, nullptr, &made), "");
  EXPECT_EQ(made, nullptr);

  bisparse_stream* stream = nullptr;
  bisparse_stream_options stream_options = StreamDefaults(owner);
  stream_options.hop_frames = 0;
  refused(bisparse_stream_new(engine, &stream_options, &stream), "StreamOptions: hop_frames = 0");
  stream_options = StreamDefaults(owner);
  stream_options.threshold = NAN;
  EXPECT_EQ(bisparse_stream_new(engine, &stream_options, &stream), BISPARSE_ARGUMENT);
  EXPECT_EQ(stream, nullptr);
  const StreamPtr good = New(owner, nullptr);
  const float infinite = std::numeric_limits<float>::infinity();
  says(BISPARSE_DATA, bisparse_stream_push_f32(good.get(), &infinite, 1),
       "bisparse_stream_push_f32: samples[0] is inf");
}

TEST_F(CApi, AModelWithoutWordsOrFrontEndSaysSo) {
  packed::Model model = packed::MakeExampleModel(1);
  model.class_names.clear();
  const auto load = [](const packed::Model& from) {
    const std::vector<uint8_t> bytes = packed::SerialiseModel(from);
    bisparse_engine* engine = nullptr;
    EXPECT_EQ(bisparse_engine_load_memory(bytes.data(), bytes.size(), nullptr, &engine),
              BISPARSE_OK)
        << bisparse_last_error();
    return EnginePtr(engine);
  };
  const EnginePtr nameless = load(model);
  bisparse_stream_options options;
  EXPECT_EQ(bisparse_stream_options_init(nameless.get(), &options, sizeof options), BISPARSE_OK);
  EXPECT_EQ(options.detect, 0);
  EXPECT_NE(New(nameless, nullptr), nullptr);  // windows alone
  options.detect = 1;
  bisparse_stream* stream = nullptr;
  EXPECT_EQ(bisparse_stream_new(nameless.get(), &options, &stream), BISPARSE_ARGUMENT);
  EXPECT_THAT(bisparse_last_error(), HasSubstr("no class that is a word"));
  model.front_end.reset();
  const EnginePtr deaf = load(model);
  EXPECT_EQ(bisparse_stream_new(deaf.get(), nullptr, &stream), BISPARSE_ARGUMENT);
  EXPECT_THAT(bisparse_last_error(), StartsWith("bisparse_stream_new: the model has no front end"));
}

TEST_F(CApi, StructsOfNewerProgramsAreTakenWhereTheyAskForNothingNew) {
  struct Newer {
    bisparse_engine_options options;
    int64_t wish;
  } newer;
  std::memset(&newer, 0xff, sizeof newer);
  ASSERT_EQ(bisparse_engine_options_init(&newer.options, sizeof newer), BISPARSE_OK);
  EXPECT_EQ(newer.wish, 0);
  EXPECT_NE(Load(&newer.options), nullptr);
  newer.wish = 1;
  bisparse_engine* engine = nullptr;
  EXPECT_EQ(bisparse_engine_load(path_.c_str(), &newer.options, &engine), BISPARSE_ARGUMENT);
  EXPECT_THAT(bisparse_last_error(), HasSubstr("an option is set that version"));
  bisparse_engine_options older;
  EXPECT_EQ(bisparse_engine_options_init(&older, sizeof older - 8), BISPARSE_ARGUMENT);
}

TEST_F(CApi, ACallbackThatThrowsOrPushesIsAnError) {
  struct User {
    bisparse_stream* stream = nullptr;
    std::function<void(bisparse_stream*)> act;
  } user;
  const EnginePtr engine = Load();
  bisparse_stream_options options = StreamDefaults(engine);
  options.user = &user;
  options.on_window = [](void* of, const bisparse_window*) {
    static_cast<User*>(of)->act(static_cast<User*>(of)->stream);
  };
  const StreamPtr stream = New(engine, &options);
  user.stream = stream.get();
  const std::vector<float> sound = Noise(2048, 1);
  const auto push = [&] {
    return bisparse_stream_push_f32(stream.get(), sound.data(), sound.size());
  };
  user.act = [](bisparse_stream*) { throw std::runtime_error("no"); };
  EXPECT_EQ(push(), BISPARSE_INTERNAL);
  EXPECT_STREQ(bisparse_last_error(), "bisparse_stream_push_f32: no");
  user.act = [](bisparse_stream*) { throw 7; };
  EXPECT_EQ(push(), BISPARSE_INTERNAL);
  user.act = [](bisparse_stream*) { throw std::bad_alloc(); };
  EXPECT_EQ(push(), BISPARSE_OUT_OF_MEMORY);
  int refused = 0;
  user.act = [&](bisparse_stream* own) {
    const float sample = 0;
    refused += bisparse_stream_push_f32(own, &sample, 1) == BISPARSE_ARGUMENT ? 1 : 0;
    refused += bisparse_stream_reset(own) == BISPARSE_ARGUMENT ? 1 : 0;
  };
  EXPECT_EQ(push(), BISPARSE_OK) << bisparse_last_error();
  EXPECT_GE(refused, 2);
}

TEST_F(CApi, MessagesAreOfTheThreadAndCutBetweenCharacters) {
  bisparse_engine* engine = nullptr;
  EXPECT_EQ(bisparse_engine_load("/nowhere", nullptr, &engine), BISPARSE_DATA);
  const std::string mine = bisparse_last_error();
  std::string others = "unset";
  std::thread([&] { others = bisparse_last_error(); }).join();
  EXPECT_EQ(others, "");
  EXPECT_EQ(mine, bisparse_last_error());
  for (size_t length = 2030; length < 2050; ++length) {  // two bytes a character, cut anywhere
    std::string path(length % 2, 'a');
    while (path.size() < length + 40) path += "ä";
    EXPECT_EQ(bisparse_engine_load(path.c_str(), nullptr, &engine), BISPARSE_DATA);
    const std::string message = bisparse_last_error();
    EXPECT_LE(message.size(), 2047u);
    EXPECT_GE(message.size(), 2046u);
    EXPECT_EQ(message, path.substr(0, message.size()));
    EXPECT_NE(static_cast<unsigned char>(message.back()), 0xC3);  // the first byte of "ä"
  }
}

TEST(CApiVersion, IsTheHeaders) {
  EXPECT_EQ(std::string(bisparse_version()), std::to_string(BISPARSE_VERSION_MAJOR) + "." +
                                                 std::to_string(BISPARSE_VERSION_MINOR) + "." +
                                                 std::to_string(BISPARSE_VERSION_PATCH));
}

}  // namespace
}  // namespace bisparse
