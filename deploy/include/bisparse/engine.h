// SPDX-License-Identifier: Apache-2.0
// Runs a packed network: load once, then classify samples from any number of threads.
//
//   bisparse::Engine engine = bisparse::Engine::Load("model.bisparse");
//   std::vector<float> logits(engine.output_count());
//   engine.Run(features, logits);        // features: engine.input_shape(), channels last
//
// Read first: README.md (the API in one snippet). Tested in: deploy/engine/engine_test.cc.
#ifndef BISPARSE_ENGINE_H_
#define BISPARSE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "bisparse/shape.h"

namespace bisparse {

/// How weights and activations are used. Every mode computes the same network.
enum class Mode {
  kAuto,   ///< for each layer one of the others, such that the network is expected to be fastest
  kDense,  ///< packed weights unpacked to dense ones, every activation multiplied: the baseline
  kSparseDense,   ///< only weights that are not zero, every activation
  kSparseSparse,  ///< only weights that are not zero, only winners
};

/// "auto", "dense", "sparse_dense" or "sparse_sparse"; the inverse throws Error on any other name.
const char* ModeName(Mode mode);
Mode ParseMode(const std::string& name);

/// How one layer is computed, decided beforehand: by measurement (bisparse-inspect --tune), or by hand.
struct LayerChoice {
  std::string layer;  ///< LayerSummary::name
  Mode mode = Mode::kAuto;
  std::string reason;  ///< what LayerSummary::reason then says; empty: what the engine says itself
};

struct EngineOptions {
  int threads =
      1;  ///< over the samples of a batch, and of one sample over its large layers; 0 = all cores
  Mode mode = Mode::kAuto;
  /// With Mode::kAuto, for the layers named; the others are chosen by expected time. Load throws Error
  /// (kConfiguration) for a layer that the model lacks.
  std::vector<LayerChoice> choices;
  /// With threads: a layer of one sample that is expected to take so many µs at 3 GHz is shared by them. Waking threads
  /// costs some 10 µs.
  double parallel_us = 50;
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
      0;  ///< were its owners aligned with the winners in front; 0 if they are, or need not be
};

class Engine {
 public:
  /// Maps, validates and plans. Throws Error (kData) naming the file, layer and field at fault.
  static Engine Load(const std::string& path, const EngineOptions& options = {});

  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  Shape input_shape() const;
  int64_t output_count() const;
  const std::vector<std::string>& class_names() const;
  const EngineOptions& options() const;
  const std::vector<LayerSummary>& layers() const;
  /// Bytes of one thread's workspace, known at load; nothing is allocated in Run.
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
  /// The features that RunPcm computes, input_shape().elements() floats.
  void ComputeFeatures(std::span<const float> samples, std::span<float> features) const;

  /// Runs one sample like Run and adds each layer's time to layer_ns (one entry per layers()
  /// entry).
  void RunProfiled(std::span<const float> features, std::span<float> logits,
                   std::span<int64_t> layer_ns) const;

 private:
  friend class EngineAccess;  // engines of models that exist in memory only (tests, benchmarks)
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bisparse

#endif  // BISPARSE_ENGINE_H_
