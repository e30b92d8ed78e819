// SPDX-License-Identifier: Apache-2.0
// The C interface over the C++ one: handles hold C++ objects, and every call turns what is thrown into a status and a
// message. Read first: deploy/include/bisparse/bisparse.h. Tested in: c_api_test.cc.
// Past 400 lines: a short function for each of the header's, in its order.
#include "bisparse/bisparse.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "bisparse/detector.h"
#include "bisparse/engine.h"
#include "bisparse/error.h"
#include "bisparse/stream.h"
#include "deploy/base/check.h"

namespace {

using bisparse::Error;
using bisparse::ErrorKind;
using bisparse::Fail;

/// What streams hold on to when their engine's handle is freed.
struct Loaded {
  explicit Loaded(bisparse::Engine the_engine) : engine(std::move(the_engine)), isa(engine.isa()) {
    for (const bisparse::WordThreshold& each : engine.detection().words) {
      words.push_back({each.word.c_str(), each.threshold});
    }
  }

  bisparse::Engine engine;
  std::string isa;
  std::vector<bisparse_word_threshold> words;  // of the model file
};

}  // namespace

struct bisparse_engine {
  std::shared_ptr<const Loaded> loaded;
};

struct bisparse_stream {
  std::shared_ptr<const Loaded> loaded;  // outlives the next two
  bisparse::Stream stream;
  std::optional<bisparse::Detector> detector;
  bisparse_on_window on_window;
  void* user;
  std::vector<bisparse_event> events;  // from next_event on they wait
  size_t next_event = 0;
  bool pushing = false;
};

namespace {

constexpr size_t kMessageBytes = 2048;
// No std::string: it would have a destructor, after which a thread's later destructors could call nothing here.
thread_local char last_error[kMessageBytes] = "";

void SetLastError(std::string_view message) noexcept {
  size_t length = std::min(message.size(), kMessageBytes - 1);
  if (length < message.size()) {  // not within a character
    while (length > 0 && (static_cast<unsigned char>(message[length]) & 0xC0) == 0x80) --length;
  }
  std::memcpy(last_error, message.data(), length);
  last_error[length] = '\0';
}

/// Members of C++ classes are no names that a C program knows: `function` stands in their place.
void SetLastError(const char* function, const Error& error) {
  const std::string& location = error.location();
  for (const char* name : {"Engine::", "Stream::", "Detector::"}) {
    if (location.starts_with(name)) {
      return SetLastError(function + std::string(error.what()).substr(location.size()));
    }
  }
  SetLastError(error.what());
}

bisparse_status StatusOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kConfiguration:
      return BISPARSE_ARGUMENT;
    case ErrorKind::kData:
      return BISPARSE_DATA;
    case ErrorKind::kInternal:
      break;
  }
  return BISPARSE_INTERNAL;
}

/// Runs `body`; nothing that it throws goes further.
template <class Body>
bisparse_status Guarded(const char* function, const Body& body) noexcept {
  try {
    try {
      body();
      return BISPARSE_OK;
    } catch (const Error& error) {
      SetLastError(function, error);
      return StatusOf(error.kind());
    } catch (const std::bad_alloc&) {
      SetLastError("out of memory");
      return BISPARSE_OUT_OF_MEMORY;
    } catch (const std::length_error&) {  // more than any memory
      SetLastError("out of memory");
      return BISPARSE_OUT_OF_MEMORY;
    } catch (const std::system_error& error) {  // no thread could be started
      SetLastError(error.what());
      return BISPARSE_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
      SetLastError(std::string(function) + ": " + error.what());
    } catch (...) {
      SetLastError("an exception that is no std::exception");
    }
  } catch (...) {  // no memory for the message
    SetLastError("out of memory");
    return BISPARSE_OUT_OF_MEMORY;
  }
  return BISPARSE_INTERNAL;
}

template <class T>
T& Needed(const char* function, const char* name, T* pointer) {
  if (pointer == nullptr) Fail(ErrorKind::kConfiguration, function, "{} is NULL", name);
  return *pointer;
}

/// `count` elements; none at NULL is fine.
template <class T>
std::span<T> SpanOf(const char* function, const char* name, T* elements, size_t count) {
  if (count == 0) return {};
  Needed(function, name, elements);
  if (count > std::numeric_limits<std::ptrdiff_t>::max() / sizeof(T)) {
    Fail(ErrorKind::kConfiguration, function, "{} has {} elements: more than there is memory", name,
         count);
  }
  return {elements, count};
}

const bisparse::Engine& EngineOf(const char* function, const bisparse_engine* engine) {
  return Needed(function, "engine", engine).loaded->engine;
}

void CheckIndex(const char* function, size_t index, size_t count, const char* what) {
  if (index < count) return;
  Fail(ErrorKind::kConfiguration, function, "index = {}, the model has {} {}", index, count, what);
}

/// The bytes of `from` that the caller's struct of `size` bytes has room for, and 0 in what is newer than this library.
template <class T>
void GiveStruct(const char* function, const char* name, T from, T* to, size_t size) {
  Needed(function, name, to);
  if (size < sizeof(T)) {
    Fail(ErrorKind::kConfiguration, function,
         "size = {}, allowed are {} and more (hint: sizeof *{})", size, sizeof(T), name);
  }
  std::memset(static_cast<void*>(to), 0, size);
  std::memcpy(static_cast<void*>(to), &from, sizeof(T));
}

/// A caller's struct that may be newer than this library, if nothing is set that the library does not know.
template <class T>
T TakeStruct(const char* function, const char* hint, const T& from) {
  if (from.size < sizeof(T)) {
    Fail(ErrorKind::kConfiguration, function,
         "options.size = {}, allowed are {} and more (hint: {})", from.size, sizeof(T), hint);
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(&from);
  // A size that was never set must not send us through memory.
  constexpr size_t kMostBytes = 4096;
  const bool known =
      from.size <= kMostBytes && std::all_of(bytes + sizeof(T), bytes + from.size,
                                             [](unsigned char byte) { return byte == 0; });
  if (!known) {
    Fail(ErrorKind::kConfiguration, function,
         "options.size = {}: an option is set that version {}.{}.{} does not have (hint: {})",
         from.size, BISPARSE_VERSION_MAJOR, BISPARSE_VERSION_MINOR, BISPARSE_VERSION_PATCH, hint);
  }
  return from;
}

bisparse::Mode ModeOf(const char* function, int32_t mode) {
  switch (mode) {
    case BISPARSE_MODE_AUTO:
      return bisparse::Mode::kAuto;
    case BISPARSE_MODE_DENSE:
      return bisparse::Mode::kDense;
    case BISPARSE_MODE_SPARSE_DENSE:
      return bisparse::Mode::kSparseDense;
    case BISPARSE_MODE_SPARSE_SPARSE:
      return bisparse::Mode::kSparseSparse;
    default:
      Fail(ErrorKind::kConfiguration, function, "mode = {}, allowed are 0 to 3", mode);
  }
}

bisparse_mode ModeOf(bisparse::Mode mode) {
  switch (mode) {
    case bisparse::Mode::kAuto:
      break;
    case bisparse::Mode::kDense:
      return BISPARSE_MODE_DENSE;
    case bisparse::Mode::kSparseDense:
      return BISPARSE_MODE_SPARSE_DENSE;
    case bisparse::Mode::kSparseSparse:
      return BISPARSE_MODE_SPARSE_SPARSE;
  }
  return BISPARSE_MODE_AUTO;
}

bisparse::EngineOptions OptionsOf(const char* function, const bisparse_engine_options* given) {
  bisparse::EngineOptions options;
  if (given == nullptr) return options;
  const bisparse_engine_options from =
      TakeStruct(function, "bisparse_engine_options_init sets it", *given);
  options.threads = from.threads;
  options.mode = ModeOf(function, from.mode);
  options.parallel_us = from.parallel_us;
  options.in_place = from.in_place != 0;
  for (const bisparse_layer_choice& choice :
       SpanOf(function, "options.choices", from.choices, from.choice_count)) {
    options.choices.push_back({.layer = &Needed(function, "options.choices[].layer", choice.layer),
                               .mode = ModeOf(function, choice.mode)});
  }
  return options;
}

template <class Load>
void LoadInto(const char* function, bisparse_engine** engine, const Load& load) {
  Needed(function, "engine", engine) = nullptr;
  auto handle = std::make_unique<bisparse_engine>();
  handle->loaded = std::make_shared<const Loaded>(load());
  *engine = handle.release();
}

bisparse_shape ShapeOf(const bisparse::Shape& shape) {
  return {shape.height, shape.width, shape.channels};
}

std::vector<float> AsFloats(std::span<const int16_t> samples) {
  std::vector<float> floats(samples.size());
  std::transform(samples.begin(), samples.end(), floats.begin(),
                 [](int16_t sample) { return static_cast<float>(sample) / 32768.0f; });
  return floats;
}

bool HasWords(const bisparse::Engine& engine) {
  if (engine.sample_rate_hz() == 0) return false;
  try {  // the detector knows which classes are words
    const bisparse::Detector detector(engine, {}, {});
    return true;
  } catch (const Error&) {
    return false;
  }
}

bisparse_stream_options DefaultOptions(const Loaded& loaded) {
  const bisparse::DetectionOptions& detection = loaded.engine.detection();
  bisparse_stream_options options = {};
  options.size = sizeof options;
  options.hop_frames = bisparse::StreamOptions{}.hop_frames;
  options.detect = HasWords(loaded.engine) ? 1 : 0;
  options.average_ms = detection.average_ms;
  options.threshold = detection.threshold;
  options.least_ms = detection.least_ms;
  options.refractory_ms = detection.refractory_ms;
  options.gate_db = detection.gate_db;
  options.words = loaded.words.data();
  options.word_count = loaded.words.size();
  return options;
}

bisparse::DetectionOptions DetectionOf(const char* function,
                                       const bisparse_stream_options& options) {
  bisparse::DetectionOptions detection = {.average_ms = options.average_ms,
                                          .threshold = options.threshold,
                                          .least_ms = options.least_ms,
                                          .refractory_ms = options.refractory_ms,
                                          .gate_db = options.gate_db};
  for (const bisparse_word_threshold& each :
       SpanOf(function, "options.words", options.words, options.word_count)) {
    detection.words.push_back(
        {&Needed(function, "options.words[].word", each.word), each.threshold});
  }
  return detection;
}

/// Windows go to the caller, events wait for it.
class Deliver {
 public:
  Deliver(const char* function, bisparse_stream& stream) : stream_(stream) {
    if (stream.pushing) {
      Fail(ErrorKind::kConfiguration, function, "on_window must not push into its own stream");
    }
    stream.pushing = true;
  }
  Deliver(const Deliver&) = delete;
  Deliver& operator=(const Deliver&) = delete;
  ~Deliver() { stream_.pushing = false; }

  void operator()(const bisparse::StreamWindow& window) const {
    std::optional<bisparse::Event> event;
    if (stream_.detector) event = stream_.detector->Push(window);
    if (event) Keep(*event);
    if (stream_.on_window == nullptr) return;
    const bisparse_window given = {
        window.begin,         window.end,
        window.logits.data(), window.logits.size(),
        window.rms,           stream_.detector ? stream_.detector->averages().data() : nullptr,
    };
    stream_.on_window(stream_.user, &given);
  }

 private:
  void Keep(const bisparse::Event& event) const {
    if (stream_.next_event == stream_.events.size()) {  // nothing waits: the memory serves again
      stream_.events.clear();
      stream_.next_event = 0;
    }
    stream_.events.push_back({event.begin, event.end, event.score, event.word,
                              stream_.loaded->engine.class_names()[event.word].c_str()});
  }

  bisparse_stream& stream_;
};

#define BISPARSE_STRING_(x) #x
#define BISPARSE_STRING(x) BISPARSE_STRING_(x)

}  // namespace

const char* bisparse_last_error() { return last_error; }

const char* bisparse_version() {
  return BISPARSE_STRING(BISPARSE_VERSION_MAJOR) "." BISPARSE_STRING(
      BISPARSE_VERSION_MINOR) "." BISPARSE_STRING(BISPARSE_VERSION_PATCH);
}

bisparse_status bisparse_engine_options_init(bisparse_engine_options* options, size_t size) {
  return Guarded(__func__, [&, function = __func__] {
    const bisparse::EngineOptions defaults;
    bisparse_engine_options from = {};
    from.size = size;
    from.threads = defaults.threads;
    from.mode = ModeOf(defaults.mode);
    from.parallel_us = defaults.parallel_us;
    GiveStruct(function, "options", from, options, size);
  });
}

bisparse_status bisparse_engine_load(const char* path, const bisparse_engine_options* options,
                                     bisparse_engine** engine) {
  return Guarded(__func__, [&, function = __func__] {
    LoadInto(function, engine, [&] {
      return bisparse::Engine::Load(std::string(&Needed(function, "path", path)),
                                    OptionsOf(function, options));
    });
  });
}

bisparse_status bisparse_engine_load_memory(const void* bytes, size_t byte_count,
                                            const bisparse_engine_options* options,
                                            bisparse_engine** engine) {
  return Guarded(__func__, [&, function = __func__] {
    LoadInto(function, engine, [&] {
      return bisparse::Engine::Load(
          SpanOf(function, "bytes", static_cast<const std::byte*>(bytes), byte_count),
          OptionsOf(function, options));
    });
  });
}

void bisparse_engine_free(bisparse_engine* engine) { delete engine; }

bisparse_status bisparse_engine_input_shape(const bisparse_engine* engine, bisparse_shape* shape) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "shape", shape) = ShapeOf(EngineOf(function, engine).input_shape());
  });
}

bisparse_status bisparse_engine_feature_count(const bisparse_engine* engine, size_t* count) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "count", count) =
        static_cast<size_t>(EngineOf(function, engine).input_shape().elements());
  });
}

bisparse_status bisparse_engine_logit_count(const bisparse_engine* engine, size_t* count) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "count", count) =
        static_cast<size_t>(EngineOf(function, engine).output_count());
  });
}

bisparse_status bisparse_engine_class_count(const bisparse_engine* engine, size_t* count) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "count", count) = EngineOf(function, engine).class_names().size();
  });
}

bisparse_status bisparse_engine_class_name(const bisparse_engine* engine, size_t index,
                                           const char** name) {
  return Guarded(__func__, [&, function = __func__] {
    const std::vector<std::string>& names = EngineOf(function, engine).class_names();
    CheckIndex(function, index, names.size(), "names of classes");
    Needed(function, "name", name) = names[index].c_str();
  });
}

bisparse_status bisparse_engine_sample_rate_hz(const bisparse_engine* engine, int32_t* rate_hz) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "rate_hz", rate_hz) = EngineOf(function, engine).sample_rate_hz();
  });
}

bisparse_status bisparse_engine_threads(const bisparse_engine* engine, int32_t* threads) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "threads", threads) = EngineOf(function, engine).options().threads;
  });
}

bisparse_status bisparse_engine_mode(const bisparse_engine* engine, bisparse_mode* mode) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "mode", mode) = ModeOf(EngineOf(function, engine).options().mode);
  });
}

bisparse_status bisparse_engine_isa(const bisparse_engine* engine, const char** isa) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "isa", isa) = Needed(function, "engine", engine).loaded->isa.c_str();
  });
}

bisparse_status bisparse_engine_workspace_bytes(const bisparse_engine* engine, int64_t* bytes) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "bytes", bytes) = EngineOf(function, engine).workspace_bytes();
  });
}

bisparse_status bisparse_engine_layer_count(const bisparse_engine* engine, size_t* count) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "count", count) = EngineOf(function, engine).layers().size();
  });
}

bisparse_status bisparse_engine_layer(const bisparse_engine* engine, size_t index,
                                      bisparse_layer* layer, size_t size) {
  return Guarded(__func__, [&, function = __func__] {
    const std::vector<bisparse::LayerSummary>& layers = EngineOf(function, engine).layers();
    CheckIndex(function, index, layers.size(), "layers");
    const bisparse::LayerSummary& from = layers[index];
    bisparse_layer to = {};
    to.name = from.name.c_str();
    to.kind = from.kind.c_str();
    to.kernel = from.kernel.c_str();
    to.reason = from.reason.c_str();
    to.input = ShapeOf(from.input);
    to.output = ShapeOf(from.output);
    to.set_size = from.set_size;
    to.lanes = from.lanes;
    to.macs_dense = from.macs_dense;
    to.macs_executed = from.macs_executed;
    to.nonzeros = from.nonzeros;
    to.weights_dense = from.weights_dense;
    to.weight_bytes = from.weight_bytes;
    to.active_inputs = from.active_inputs;
    to.parallel = from.parallel ? 1 : 0;
    to.expected_us = from.expected_us;
    to.dense_us = from.dense_us;
    to.aligned_us = from.aligned_us;
    GiveStruct(function, "layer", to, layer, size);
  });
}

bisparse_status bisparse_engine_run(const bisparse_engine* engine, const float* features,
                                    size_t feature_count, float* logits, size_t logit_count) {
  return Guarded(__func__, [&, function = __func__] {
    EngineOf(function, engine)
        .Run(SpanOf(function, "features", features, feature_count),
             SpanOf(function, "logits", logits, logit_count));
  });
}

bisparse_status bisparse_engine_run_batch(const bisparse_engine* engine, const float* features,
                                          size_t feature_count, size_t batch, float* logits,
                                          size_t logit_count) {
  return Guarded(__func__, [&, function = __func__] {
    const bisparse::Engine& cc_engine = EngineOf(function, engine);
    if (batch > feature_count) {  // also what int64_t cannot hold
      Fail(ErrorKind::kConfiguration, function,
           "batch = {}, allowed are 0 to the number of samples in features ({} floats of {} a "
           "sample)",
           batch, feature_count, cc_engine.input_shape().elements());
    }
    cc_engine.RunBatch(SpanOf(function, "features", features, feature_count),
                       static_cast<int64_t>(batch),
                       SpanOf(function, "logits", logits, logit_count));
  });
}

bisparse_status bisparse_engine_run_profiled(const bisparse_engine* engine, const float* features,
                                             size_t feature_count, float* logits,
                                             size_t logit_count, int64_t* layer_ns,
                                             size_t layer_count) {
  return Guarded(__func__, [&, function = __func__] {
    EngineOf(function, engine)
        .RunProfiled(SpanOf(function, "features", features, feature_count),
                     SpanOf(function, "logits", logits, logit_count),
                     SpanOf(function, "layer_ns", layer_ns, layer_count));
  });
}

bisparse_status bisparse_engine_run_pcm_f32(const bisparse_engine* engine, const float* samples,
                                            size_t sample_count, float* logits,
                                            size_t logit_count) {
  return Guarded(__func__, [&, function = __func__] {
    EngineOf(function, engine)
        .RunPcm(SpanOf(function, "samples", samples, sample_count),
                SpanOf(function, "logits", logits, logit_count));
  });
}

bisparse_status bisparse_engine_run_pcm_i16(const bisparse_engine* engine, const int16_t* samples,
                                            size_t sample_count, float* logits,
                                            size_t logit_count) {
  return Guarded(__func__, [&, function = __func__] {
    const bisparse::Engine& cc_engine = EngineOf(function, engine);
    const std::span<float> to = SpanOf(function, "logits", logits, logit_count);
    cc_engine.RunPcm(AsFloats(SpanOf(function, "samples", samples, sample_count)), to);
  });
}

bisparse_status bisparse_engine_compute_features(const bisparse_engine* engine,
                                                 const float* samples, size_t sample_count,
                                                 float* features, size_t feature_count) {
  return Guarded(__func__, [&, function = __func__] {
    EngineOf(function, engine)
        .ComputeFeatures(SpanOf(function, "samples", samples, sample_count),
                         SpanOf(function, "features", features, feature_count));
  });
}

bisparse_status bisparse_stream_options_init(const bisparse_engine* engine,
                                             bisparse_stream_options* options, size_t size) {
  return Guarded(__func__, [&, function = __func__] {
    bisparse_stream_options from = DefaultOptions(*Needed(function, "engine", engine).loaded);
    from.size = size;
    GiveStruct(function, "options", from, options, size);
  });
}

bisparse_status bisparse_stream_new(const bisparse_engine* engine,
                                    const bisparse_stream_options* options,
                                    bisparse_stream** stream) {
  return Guarded(__func__, [&, function = __func__] {
    Needed(function, "stream", stream) = nullptr;
    const std::shared_ptr<const Loaded>& loaded = Needed(function, "engine", engine).loaded;
    const bisparse_stream_options from =
        options == nullptr ? DefaultOptions(*loaded)
                           : TakeStruct(function, "bisparse_stream_options_init sets it", *options);
    const bisparse::StreamOptions stream_options = {.hop_frames = from.hop_frames};
    auto handle = std::make_unique<bisparse_stream>(bisparse_stream{
        .loaded = loaded,
        .stream = loaded->engine.NewStream(stream_options),
        .detector = std::nullopt,
        .on_window = from.on_window,
        .user = from.user,
        .events = {},
    });
    if (from.detect != 0) {
      handle->detector.emplace(loaded->engine, stream_options, DetectionOf(function, from));
    }
    constexpr size_t kUsual = 64;  // so that who asks after each push makes nothing allocate
    handle->events.reserve(kUsual);
    *stream = handle.release();
  });
}

void bisparse_stream_free(bisparse_stream* stream) { delete stream; }

bisparse_status bisparse_stream_push_f32(bisparse_stream* stream, const float* samples,
                                         size_t sample_count) {
  return Guarded(__func__, [&, function = __func__] {
    const Deliver deliver(function, Needed(function, "stream", stream));
    stream->stream.Push(SpanOf(function, "samples", samples, sample_count), deliver);
  });
}

bisparse_status bisparse_stream_push_i16(bisparse_stream* stream, const int16_t* samples,
                                         size_t sample_count) {
  return Guarded(__func__, [&, function = __func__] {
    const Deliver deliver(function, Needed(function, "stream", stream));
    stream->stream.Push(SpanOf(function, "samples", samples, sample_count), deliver);
  });
}

bisparse_status bisparse_stream_next_event(bisparse_stream* stream, bisparse_event* event,
                                           int* found) {
  return Guarded(__func__, [&, function = __func__] {
    bisparse_stream& from = Needed(function, "stream", stream);
    bisparse_event& to = Needed(function, "event", event);
    Needed(function, "found", found) = from.next_event < from.events.size() ? 1 : 0;
    if (*found != 0) to = from.events[from.next_event++];
  });
}

bisparse_status bisparse_stream_reset(bisparse_stream* stream) {
  return Guarded(__func__, [&, function = __func__] {
    bisparse_stream& each = Needed(function, "stream", stream);
    if (each.pushing) {
      Fail(ErrorKind::kConfiguration, function, "on_window must not reset its own stream");
    }
    each.stream.Reset();
    if (each.detector) each.detector->Reset();
    each.events.clear();
    each.next_event = 0;
  });
}

bisparse_status bisparse_stream_get_stats(const bisparse_stream* stream,
                                          bisparse_stream_stats* stats) {
  return Guarded(__func__, [&, function = __func__] {
    const bisparse::StreamStats from = Needed(function, "stream", stream).stream.stats();
    Needed(function, "stats", stats) = {from.samples, from.windows, from.front_end_ns,
                                        from.network_ns, from.real_time_factor()};
  });
}
