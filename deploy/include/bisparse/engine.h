// SPDX-License-Identifier: Apache-2.0
// Runs a packed network: load once, then classify samples from any number of threads.
//
//   bisparse::Engine engine = bisparse::Engine::Load("model.bisparse");
//   std::vector<float> logits(engine.output_count());
//   engine.Run(features, logits);        // features: engine.input_shape(), channels last
//
// The contract:
// - Model files. Load copies the model: what becomes of the file afterwards doesn't matter. With EngineOptions::in_place
//   it does: read there before you use it.
// - Threads. Const members may be called from any number of threads at once. Nothing is kept in a thread, so that a
//   call in the destructor of a static or thread_local object is like any other.
// - Errors. Wrong arguments and files throw Error, lack of memory std::bad_alloc; the engine is as before the call, what
//   the output then holds is not said. Only memory for more callers at once than there are threads is allocated in a run.
// - fork(). A child has none of its parent's threads. An engine of one thread goes on working in the child. An engine of
//   several throws Error (kConfiguration) from Run, RunBatch and RunPcm there. Once a process has loaded such an engine,
//   those that its children load have one thread (options().threads says so).
// - dlclose(). The shared library stays in the process, since TBB's threads may still be running. A plug-in that holds the
//   static library has to see to that itself (-Wl,-z,nodelete).
// - Moved from. An engine that was moved from can be destroyed or assigned to; all else throws Error (kConfiguration).
//
// Read first: README.md (the API in one snippet). Tested in: deploy/engine/engine_test.cc,
// deploy/engine/fork_test.cc, deploy/engine/allocation_test.cc.
#ifndef BISPARSE_ENGINE_H_
#define BISPARSE_ENGINE_H_

#include "bisparse/version.h"  // first: says what is needed where the compiler would not

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "bisparse/pixels.h"
#include "bisparse/shape.h"

namespace bisparse {

class EngineAccess;  // of the library's own

inline namespace BISPARSE_VERSION_NAMESPACE {

class Detector;           // detector.h
struct DetectionOptions;  // detection.h
class Stream;             // stream.h
struct StreamOptions;

/// How weights and activations are used. Every mode computes the same network.
enum class Mode {
  kAuto,   ///< for each layer one of the others, such that the network is expected to be fastest
  kDense,  ///< packed weights unpacked to dense ones, every activation multiplied: the baseline
  kSparseDense,   ///< only weights that are not zero, every activation
  kSparseSparse,  ///< only weights that are not zero, only winners
};

/// "auto", "dense", "sparse_dense" or "sparse_sparse"; the inverse throws Error on any other name.
BISPARSE_API const char* ModeName(Mode mode);
BISPARSE_API Mode ParseMode(const std::string& name);

/// How one layer is computed, decided beforehand: by measurement (bisparse-inspect --tune), or by hand.
struct LayerChoice {
  std::string layer = {};  ///< LayerSummary::name
  Mode mode = Mode::kAuto;
  std::string reason =
      {};  ///< what LayerSummary::reason then says; empty: what the engine says itself
};

struct EngineOptions {
  /// Over the samples of a batch, and of one sample over its large layers. 0: as many as can run at once, by the CPUs
  /// that the process may run on, its control group's quota of CPU time and tbb::global_control. More than those CPUs
  /// are not made.
  int threads = 1;
  Mode mode = Mode::kAuto;
  /// With Mode::kAuto, for the layers named; the others are chosen by expected time. Load throws Error
  /// (kConfiguration) for a layer that the model lacks.
  std::vector<LayerChoice> choices = {};
  /// With threads: a layer of one sample that is expected to take so many µs at 3 GHz is shared by them. Waking threads
  /// costs some 10 µs.
  double parallel_us = 50;
  /// For large models and for memory that processes share: the file is mapped, or the bytes are used where they lie,
  /// instead of being copied. Neither may change while the engine exists. A mapped file that is written in place (`cp`
  /// over it, a download) gives wrong logits without a word; one that is cut short ends the process (SIGBUS). Replace
  /// it by renaming a new file over it, or remove it first. Bytes begin at a multiple of 64 and outlive the engine.
  bool in_place = false;
};

/// One layer of the plan with what it does for one sample.
struct LayerSummary {
  std::string name, kind, kernel, reason;  ///< kernel chosen at load and why
  Shape input, output;
  int64_t macs_dense = 0;     ///< multiplications of the dense layer
  int64_t macs_executed = 0;  ///< multiplications that this plan executes
  int64_t nonzeros = 0;       ///< weights that are not structurally zero (biases not counted)
  int64_t weights_dense = 0;  ///< weights of the dense layer
  int64_t weight_bytes = 0;   ///< bytes read or held for the weights in this plan
  int32_t set_size = 1, lanes = 1;
  int64_t active_inputs = 0;  ///< inputs that are multiplied with (winners, or all of them)
  bool parallel = false;      ///< large enough that threads share it where there is one sample
  // Expected µs for one sample on this machine, by the cost model; 0 where nothing is done.
  double expected_us = 0;
  double dense_us = 0;  ///< of the same layer in mode dense
  double aligned_us =
      0;  ///< were its owners aligned with the winners that it reads; 0 if they are, or need not be
};

/// Numbers that are none: Run, RunBatch, RunProfiled, RunPcm and ComputeFeatures throw Error (kData) with the index of the
/// first feature that is NaN, infinite or beyond 2^60, or of the first sample beyond 2^40, and for a clip without samples.
/// So they do where the sums of finite features leave the range of floats and a logit is not finite. What was written to
/// the logits then means nothing.
/// The host's rounding mode, flushing of subnormal numbers and traps change no result: each call computes in the standard
/// mode and gives the host's back. int8 networks give the same bits on every CPU.
class BISPARSE_API Engine {
 public:
  /// Reads, validates and plans. Throws Error (kData) naming the file, layer and field at fault, or (kConfiguration)
  /// the option. `path` is a regular file; a pipe or device is refused.
  static Engine Load(const std::string& path, const EngineOptions& options = {});
  /// The same from the bytes of a model file: embedded in the program, decrypted, received. Copies them, unless
  /// EngineOptions::in_place. Other containers' bytes: std::as_bytes(std::span(container)).
  static Engine Load(std::span<const std::byte> bytes, const EngineOptions& options = {});

  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  /// Of one sample's features, channels last.
  Shape input_shape() const;
  /// Logits of one sample.
  int64_t output_count() const;
  /// One for each logit, or empty.
  const std::vector<std::string>& class_names() const;
  /// As given to Load, but `threads` as many as there are.
  const EngineOptions& options() const;
  /// In the order of the network.
  const std::vector<LayerSummary>& layers() const;
  /// Bytes of one thread's workspace. Those of the engine's threads are allocated at load, one more for each further
  /// caller at once; no more than the machine's cores are kept.
  int64_t workspace_bytes() const;
  /// The instruction set that the kernels run on, e.g. "AVX3_DL".
  std::string isa() const;

  /// features: input_shape().elements() floats; logits: output_count() floats. Thread-safe.
  void Run(std::span<const float> features, std::span<float> logits) const;
  /// `batch` samples back to back; same bits as `batch` calls of Run, for any number of threads.
  /// Thread-safe.
  void RunBatch(std::span<const float> features, int64_t batch, std::span<float> logits) const;

  /// Sample rate of the model's front end in Hz, 0 for a model without one.
  int32_t sample_rate_hz() const;
  /// Raw mono samples in [-1, 1] at sample_rate_hz(): the model's own front end, then Run. Short
  /// clips are padded with silence, long ones cut as the model's front end says. Throws Error for a
  /// model without a front end.
  void RunPcm(std::span<const float> samples, std::span<float> logits) const;
  /// Sound without end, piece by piece (stream.h). Throws Error (kConfiguration) for a model without a front end and for
  /// options out of range.
  Stream NewStream(const StreamOptions& options) const;
  /// How words are told in a stream (detector.h): what the model file says, else the defaults.
  const DetectionOptions& detection() const;
  /// The features that RunPcm computes, input_shape().elements() floats.
  void ComputeFeatures(std::span<const float> samples, std::span<float> features) const;

  /// Channels of the pictures that the model was trained on, 1 or 3; 0 for a model that takes none.
  int32_t picture_channels() const;
  /// A picture of any size, grey or colour, decoded: what the model file says of pictures, then Run. It is cut to the
  /// input's shape or stretched, brought to its size with an antialiasing filter, and becomes grey or colour as the input
  /// is, in whole numbers: the same features on every CPU. A picture of another shape than the input's takes memory for
  /// the call. Throws Error: kConfiguration for a model without pictures, kData for sizes out of range or another number
  /// of bytes. Thread-safe.
  void RunPixels(const Pixels& picture, std::span<float> logits) const;
  /// The features that RunPixels computes, input_shape().elements() floats.
  void ComputePixelFeatures(const Pixels& picture, std::span<float> features) const;

  /// Runs one sample like Run and adds each layer's time to layer_ns (one entry per layers()
  /// entry).
  void RunProfiled(std::span<const float> features, std::span<float> logits,
                   std::span<int64_t> layer_ns) const;

 private:
  friend class ::bisparse::EngineAccess;  // engines of models without a file (tests, benchmarks)
  friend class Detector;
  friend class Stream;
  struct BISPARSE_HIDDEN Impl;
  BISPARSE_HIDDEN explicit Engine(std::unique_ptr<Impl> impl);
  BISPARSE_HIDDEN Impl& impl() const;  // throws Error where this was moved from
  std::unique_ptr<Impl> impl_;
};

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse

#endif  // BISPARSE_ENGINE_H_
