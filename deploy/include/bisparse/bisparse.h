// SPDX-License-Identifier: Apache-2.0
// bisparse from C99, and from every language that calls C. C++ has the same in engine.h, stream.h and detector.h.
//
//   bisparse_engine* engine = NULL;
//   if (bisparse_engine_load("model.bisparse", NULL, &engine) != BISPARSE_OK) puts(bisparse_last_error());
//   bisparse_engine_run(engine, features, feature_count, logits, logit_count);
//   bisparse_engine_free(engine);
//
// The contract:
// - Status. Each call says BISPARSE_OK or what went wrong; bisparse_last_error() then says it in words. A call that fails
//   changes nothing, but for what the logits hold and where a comment says so. NULL where something is needed, and a wrong
//   count, are errors. No exception leaves the library, and it never prints or ends the process.
// - Counts are elements, not bytes. Maps are channels last: element (y, x, c) is at (y·width + x)·channels + c.
// - Threads. An engine may be used by any number of threads at once. A stream is for one thread at a time.
// - Lifetime. What a call gives belongs to the handle and lives as long as it does; strings are UTF-8. Engines may be freed
//   before their streams, which hold on to what they need. A handle must not be used once it was freed.
// - ABI. Within a major version structs only grow, at their end: `size` tells the library which one the caller knows.
//   Functions, enumerators and the structs without `size` stay as they are.
// - The rest (model files, memory, fork, dlclose) is as engine.h and stream.h say.
//
// Read first: docs/c-api.md. Tested in: deploy/c/c_api_test.cc, tests/install_consumer.
#ifndef BISPARSE_BISPARSE_H_
#define BISPARSE_BISPARSE_H_

#include <stddef.h>
#include <stdint.h>

#define BISPARSE_PLAIN_C_
#include "bisparse/version.h"
#undef BISPARSE_PLAIN_C_

#ifdef __cplusplus
extern "C" {
#endif

/// The programs' exit codes have the same numbers.
typedef enum bisparse_status {
  BISPARSE_OK = 0,
  BISPARSE_INTERNAL = 1,  ///< a defect of bisparse, or what a callback threw
  BISPARSE_ARGUMENT =
      2,  ///< NULL, a wrong count or index, an option out of range, a model that cannot do it
  BISPARSE_DATA =
      3,  ///< a file that cannot be read or is no model, numbers that are NaN or infinite
  BISPARSE_OUT_OF_MEMORY = 4,  ///< memory or threads
} bisparse_status;

/// How weights and activations are used. Every mode computes the same network.
typedef enum bisparse_mode {
  BISPARSE_MODE_AUTO = 0,   ///< for each layer the one that is expected to be fastest
  BISPARSE_MODE_DENSE = 1,  ///< packed weights unpacked, every activation multiplied: the baseline
  BISPARSE_MODE_SPARSE_DENSE = 2,   ///< only weights that are not zero, every activation
  BISPARSE_MODE_SPARSE_SPARSE = 3,  ///< only weights that are not zero, only winners
} bisparse_mode;

typedef struct bisparse_engine bisparse_engine;
typedef struct bisparse_stream bisparse_stream;

/// What went wrong in this thread's last call that failed; "" before the first. Valid until the next one fails. Longer
/// messages are cut at 2,047 bytes.
BISPARSE_API const char* bisparse_last_error(void);
/// Of the library: "0.1.0".
BISPARSE_API const char* bisparse_version(void);

/// --- Engines -----------------------------------------------------------------------------------------------------------

/// How one layer is to be computed.
typedef struct bisparse_layer_choice {
  const char* layer;  ///< bisparse_layer::name
  int32_t mode;       ///< bisparse_mode
} bisparse_layer_choice;

typedef struct bisparse_engine_options {
  size_t size;         ///< set by bisparse_engine_options_init
  int32_t threads;     ///< 1; 0: as many as can run at once
  int32_t mode;        ///< BISPARSE_MODE_AUTO
  double parallel_us;  ///< 50: with threads, layers of one sample that take so many µs are shared
  int32_t
      in_place;  ///< 0; 1: the file is mapped, the bytes are not copied: EngineOptions::in_place in engine.h
  int32_t reserved;  ///< 0
  const bisparse_layer_choice*
      choices;  ///< with BISPARSE_MODE_AUTO, of the layers named; read during load only
  size_t choice_count;
} bisparse_engine_options;

/// Fills in the defaults. size: sizeof(bisparse_engine_options).
BISPARSE_API bisparse_status bisparse_engine_options_init(bisparse_engine_options* options,
                                                          size_t size);

/// Reads, validates and plans. `options` may be NULL: the defaults. *engine is NULL where it fails.
BISPARSE_API bisparse_status bisparse_engine_load(const char* path,
                                                  const bisparse_engine_options* options,
                                                  bisparse_engine** engine);
/// The same from the bytes of a model file. They are copied, unless in_place is set.
BISPARSE_API bisparse_status bisparse_engine_load_memory(const void* bytes, size_t byte_count,
                                                         const bisparse_engine_options* options,
                                                         bisparse_engine** engine);
/// NULL is allowed.
BISPARSE_API void bisparse_engine_free(bisparse_engine* engine);

typedef struct bisparse_shape {
  int32_t height, width, channels;
} bisparse_shape;

/// One layer of the plan; times and counts are of one sample.
typedef struct bisparse_layer {
  const char* name;
  const char* kind;    ///< "conv2d", "linear", "kwta", …
  const char* kernel;  ///< chosen at load
  const char* reason;  ///< why
  bisparse_shape input, output;
  int32_t set_size, lanes;
  int64_t macs_dense;     ///< multiplications of the dense layer
  int64_t macs_executed;  ///< multiplications that this plan executes
  int64_t nonzeros;       ///< weights that are not structurally zero (biases not counted)
  int64_t weights_dense;  ///< weights of the dense layer
  int64_t weight_bytes;   ///< bytes read or held for the weights in this plan
  int64_t active_inputs;  ///< inputs that are multiplied with (winners, or all of them)
  int32_t parallel;       ///< 1: large enough that threads share it where there is one sample
  int32_t reserved;       ///< 0
  double expected_us;     ///< on this machine, by the cost model; 0 where nothing is done
  double dense_us;        ///< of the same layer in BISPARSE_MODE_DENSE
  double
      aligned_us;  ///< were its owners aligned with the winners that it reads; 0 if they are, or need not be
} bisparse_layer;

/// Of one sample's features.
BISPARSE_API bisparse_status bisparse_engine_input_shape(const bisparse_engine* engine,
                                                         bisparse_shape* shape);
/// height · width · channels: features of one sample.
BISPARSE_API bisparse_status bisparse_engine_feature_count(const bisparse_engine* engine,
                                                           size_t* count);
/// Logits of one sample.
BISPARSE_API bisparse_status bisparse_engine_logit_count(const bisparse_engine* engine,
                                                         size_t* count);
/// As many as logits, or 0 for a model without names.
BISPARSE_API bisparse_status bisparse_engine_class_count(const bisparse_engine* engine,
                                                         size_t* count);
BISPARSE_API bisparse_status bisparse_engine_class_name(const bisparse_engine* engine, size_t index,
                                                        const char** name);
/// Of the model's front end; 0 for a model without one.
BISPARSE_API bisparse_status bisparse_engine_sample_rate_hz(const bisparse_engine* engine,
                                                            int32_t* rate_hz);
/// How many there are.
BISPARSE_API bisparse_status bisparse_engine_threads(const bisparse_engine* engine,
                                                     int32_t* threads);
/// As it was loaded.
BISPARSE_API bisparse_status bisparse_engine_mode(const bisparse_engine* engine,
                                                  bisparse_mode* mode);
/// The instruction set that the kernels run on, e.g. "AVX3_DL".
BISPARSE_API bisparse_status bisparse_engine_isa(const bisparse_engine* engine, const char** isa);
/// Bytes of one thread's workspace.
BISPARSE_API bisparse_status bisparse_engine_workspace_bytes(const bisparse_engine* engine,
                                                             int64_t* bytes);
BISPARSE_API bisparse_status bisparse_engine_layer_count(const bisparse_engine* engine,
                                                         size_t* count);
/// In the order of the network. size: sizeof(bisparse_layer); what this library does not know is set to 0.
BISPARSE_API bisparse_status bisparse_engine_layer(const bisparse_engine* engine, size_t index,
                                                   bisparse_layer* layer, size_t size);

/// One sample.
BISPARSE_API bisparse_status bisparse_engine_run(const bisparse_engine* engine,
                                                 const float* features, size_t feature_count,
                                                 float* logits, size_t logit_count);
/// `batch` samples back to back, shared by the engine's threads; the counts are of all of them. The same bits as `batch`
/// calls of bisparse_engine_run.
BISPARSE_API bisparse_status bisparse_engine_run_batch(const bisparse_engine* engine,
                                                       const float* features, size_t feature_count,
                                                       size_t batch, float* logits,
                                                       size_t logit_count);
/// Like bisparse_engine_run, and adds each layer's time to layer_ns: one entry for each layer.
BISPARSE_API bisparse_status bisparse_engine_run_profiled(const bisparse_engine* engine,
                                                          const float* features,
                                                          size_t feature_count, float* logits,
                                                          size_t logit_count, int64_t* layer_ns,
                                                          size_t layer_count);
/// A clip: mono samples in [-1, 1] at the model's sample rate, padded with silence or cut as the front end says.
BISPARSE_API bisparse_status bisparse_engine_run_pcm_f32(const bisparse_engine* engine,
                                                         const float* samples, size_t sample_count,
                                                         float* logits, size_t logit_count);
/// The same of 16-bit numbers: sample / 32768. Takes memory for the samples as floats.
BISPARSE_API bisparse_status bisparse_engine_run_pcm_i16(const bisparse_engine* engine,
                                                         const int16_t* samples,
                                                         size_t sample_count, float* logits,
                                                         size_t logit_count);
/// The features that bisparse_engine_run_pcm_f32 computes.
BISPARSE_API bisparse_status bisparse_engine_compute_features(const bisparse_engine* engine,
                                                              const float* samples,
                                                              size_t sample_count, float* features,
                                                              size_t feature_count);

/// --- Streams: sound without end, in pieces of any length ----------------------------------------------------------------

typedef struct bisparse_window {
  int64_t begin, end;   ///< samples of the stream, counted from 0
  const float* logits;  ///< until the callback returns
  size_t logit_count;
  double rms;  ///< root mean square of those samples that the window before lacked
  const double*
      averages;  ///< of each class, 0 … 1, what the detector compares; NULL without a detector
} bisparse_window;

/// Must not push into, reset or free the stream that calls it.
typedef void (*bisparse_on_window)(void* user, const bisparse_window* window);

/// A word was heard.
typedef struct bisparse_event {
  int64_t begin, end;  ///< samples of the windows in which its average was at the threshold
  double score;        ///< its average then, 0 … 1
  size_t class_index;
  const char* word;  ///< its class's name: belongs to the stream
} bisparse_event;

typedef struct bisparse_word_threshold {
  const char* word;
  double threshold;  ///< 0 … 1
} bisparse_word_threshold;

typedef struct bisparse_stream_options {
  size_t size;         ///< set by bisparse_stream_options_init
  int32_t hop_frames;  ///< 1: frames of the front end from one window to the next, 1 … 2^20
  int32_t detect;  ///< 1: words are told; 0: windows alone. 0 by default where no class is a word
  double average_ms;     ///< these six: what the model file says, else the defaults of detection.h
  double threshold;      ///< 0 … 1, of words that `words` does not name
  double least_ms;       ///< how long the average has to stay at the threshold
  double refractory_ms;  ///< no event for so long after one
  double gate_db;        ///< −200 … 0, of full scale: no event in windows that are quieter
  const bisparse_word_threshold* words;  ///< read during bisparse_stream_new only
  size_t word_count;
  bisparse_on_window
      on_window;  ///< NULL; else called in each push with the windows that it completes
  void* user;     ///< what on_window is given
} bisparse_stream_options;

typedef struct bisparse_stream_stats {
  int64_t samples, windows;
  int64_t front_end_ns, network_ns;  ///< spent on the windows so far
  double real_time_factor;  ///< time spent for a second of sound: below 1 is faster than real time
} bisparse_stream_stats;

/// Fills in the defaults, those of detection as the engine's model has them. size: sizeof(bisparse_stream_options).
/// `words` then points into the engine.
BISPARSE_API bisparse_status bisparse_stream_options_init(const bisparse_engine* engine,
                                                          bisparse_stream_options* options,
                                                          size_t size);
/// `options` may be NULL: the defaults. *stream is NULL where it fails.
BISPARSE_API bisparse_status bisparse_stream_new(const bisparse_engine* engine,
                                                 const bisparse_stream_options* options,
                                                 bisparse_stream** stream);
/// NULL is allowed.
BISPARSE_API void bisparse_stream_free(bisparse_stream* stream);

/// Mono samples in [-1, 1] at the model's sample rate, as many as there are. A sample that is NaN, infinite or beyond 2^40
/// is BISPARSE_DATA, and nothing of the piece is taken.
BISPARSE_API bisparse_status bisparse_stream_push_f32(bisparse_stream* stream, const float* samples,
                                                      size_t sample_count);
/// The same of 16-bit numbers: sample / 32768.
BISPARSE_API bisparse_status bisparse_stream_push_i16(bisparse_stream* stream,
                                                      const int16_t* samples, size_t sample_count);
/// The oldest event that waits: *found is 1 and *event is set, or *found is 0. Events wait until they are asked for.
BISPARSE_API bisparse_status bisparse_stream_next_event(bisparse_stream* stream,
                                                        bisparse_event* event, int* found);
/// As it was made: the next sample is sample 0, and no event waits.
BISPARSE_API bisparse_status bisparse_stream_reset(bisparse_stream* stream);
BISPARSE_API bisparse_status bisparse_stream_get_stats(const bisparse_stream* stream,
                                                       bisparse_stream_stats* stats);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // BISPARSE_BISPARSE_H_
