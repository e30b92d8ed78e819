// SPDX-License-Identifier: Apache-2.0
// The public engine: checks arguments, splits a batch over threads, lends workspaces.
// Read first: deploy/include/bisparse/engine.h, plan.h, execute.h. Tested in: engine_test.cc.
#include "bisparse/engine.h"

#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>

#include "deploy/base/check.h"
#include "deploy/base/cores.h"
#include "deploy/base/finite.h"
#include "deploy/base/float_mode.h"
#include "deploy/engine/engine_access.h"
#include "deploy/engine/engine_impl.h"
#include "deploy/engine/execute.h"
#include "deploy/engine/parallel.h"
#include "deploy/engine/plan.h"
#include "deploy/engine/workspace_pool.h"
#include "deploy/frontend/log_mel.h"
#include "deploy/packed/model_file.h"
#include "deploy/simd/cpu.h"

namespace bisparse {
namespace {

// Far above any machine; a request beyond it is a mistake, not a wish.
constexpr int kMaxThreads = 1024;

int ThreadCount(int asked) {
  if (asked < 0 || asked > kMaxThreads) {
    Fail(ErrorKind::kConfiguration, "EngineOptions",
         "threads = {}, allowed are 0 (all cores) to {}", asked, kMaxThreads);
  }
  // TBB can't start threads any more.
  if (ThreadsWereLostToFork()) return 1;
  // More threads than cores only take turns, and TBB would say so on stderr.
  const int cores = tbb::info::default_concurrency();
  if (asked != 0) return std::min(asked, cores);
  const size_t host_allows =
      tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  return std::min(
      {cores, UsableCores(), static_cast<int>(std::min<size_t>(host_allows, kMaxThreads))});
}

EngineOptions WithThreads(EngineOptions options) {
  options.threads = ThreadCount(options.threads);
  return options;
}

void CheckSize(const char* function, const char* argument, size_t size, int64_t expected) {
  if (size != static_cast<size_t>(expected)) {
    Fail(ErrorKind::kConfiguration, function, "{} has {} floats, the model needs {}", argument,
         size, expected);
  }
}

packed::ModelStorage Storage(const EngineOptions& options) {
  return options.in_place ? packed::ModelStorage::kInPlace : packed::ModelStorage::kCopy;
}

/// Of what a caller gave: sums of features up to here leave the range of floats only with weights that no training makes.
constexpr float kLargestFeature = 0x1p60f;

void CheckFeatures(const char* function, std::span<const float> features) {
  const int64_t i = FirstBeyond(features, kLargestFeature);
  if (i < 0) return;
  Fail(ErrorKind::kData, function, "features[{}] is {}, not in [-{}, {}]", i, features[i],
       kLargestFeature, kLargestFeature);
}

void CheckLogits(const char* function, std::span<const float> logits) {
  const int64_t i = FirstBeyond(logits, std::numeric_limits<float>::max());
  if (i < 0) return;
  Fail(ErrorKind::kData, function, "logits[{}] is {}: the features' sums leave the range of floats",
       i, logits[i]);
}

}  // namespace

inline namespace BISPARSE_VERSION_NAMESPACE {

const char* ModeName(Mode mode) {
  switch (mode) {
    case Mode::kAuto:
      return "auto";
    case Mode::kDense:
      return "dense";
    case Mode::kSparseDense:
      return "sparse_dense";
    case Mode::kSparseSparse:
      return "sparse_sparse";
  }
  return "?";
}

Mode ParseMode(const std::string& name) {
  for (Mode mode : {Mode::kAuto, Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse}) {
    if (name == ModeName(mode)) return mode;
  }
  Fail(ErrorKind::kConfiguration, "mode",
       "'{}' is no mode (allowed: auto, dense, sparse_dense, sparse_sparse)", name);
}

}  // namespace BISPARSE_VERSION_NAMESPACE

Engine::Impl::Impl(packed::Model the_model, const EngineOptions& the_options)
    : model(std::move(the_model)),
      detection(model.detection.value_or(DetectionOptions{})),
      options(WithThreads(the_options)),
      threads(options.threads),
      plan(MakePlan(model, options)),
      pool(plan, threads) {
  if (threads > 1) parallel.emplace(threads);
  if (model.front_end) log_mel.emplace(*model.front_end, threads);
  if (model.pictures) pixel_scale.emplace(*model.pictures);
}

void Engine::Impl::Run(const char* function, std::span<const float> features,
                       std::span<float> logits) {
  CheckSize(function, "features", features.size(), plan.input_elements);
  CheckSize(function, "logits", logits.size(), plan.output_elements);
  CheckProcess(function);
  CheckFeatures(function, features);
  const StandardFloatMode standard;
  WorkspacePool::Loan workspace(pool);
  RunOne(features.data(), logits.data(), *workspace);
  CheckLogits(function, logits);
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Engine::Impl& Engine::impl() const {
  if (!impl_) Fail(ErrorKind::kConfiguration, "Engine", "holds no model: it was moved from");
  return *impl_;
}

Engine Engine::Load(const std::string& path, const EngineOptions& options) {
  const StandardFloatMode standard;
  return EngineAccess::FromModel(packed::ReadModel(path, Storage(options)), options, path);
}

Engine Engine::Load(std::span<const std::byte> bytes, const EngineOptions& options) {
  const StandardFloatMode standard;
  const std::string location = "a model in memory";
  const std::span<const uint8_t> read(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return EngineAccess::FromModel(packed::ParseModel(read, location, Storage(options)), options,
                                 location);
}

Engine EngineAccess::FromModel(packed::Model model, const EngineOptions& options,
                               const std::string& location) {
  const StandardFloatMode standard;
  kernels::ApplyIsaFromEnvironment();
  packed::ValidateModel(model, location.empty() ? model.name : location);
  return Engine(std::make_unique<Engine::Impl>(std::move(model), options));
}

const packed::Model& EngineAccess::model(const Engine& engine) { return engine.impl().model; }

void EngineAccess::RunTraced(const Engine& engine, std::span<const float> features,
                             const TraceCallback& callback) {
  Engine::Impl& impl = engine.impl();
  std::call_once(impl.tracing_once, [&] {
    impl.tracing_outline.emplace(impl.model, kernels::IsaName(), /*fuse=*/false);
    impl.tracing_plan.emplace(MakePlan(impl.model, impl.options, /*fuse=*/false));
    impl.tracing_pool.emplace(*impl.tracing_plan, 0);
  });
  const Plan& plan = *impl.tracing_plan;
  CheckSize("EngineAccess::RunTraced", "features", features.size(), plan.input_elements);
  const StandardFloatMode standard;
  std::vector<float> logits(static_cast<size_t>(plan.output_elements));
  WorkspacePool::Loan workspace(*impl.tracing_pool);
  ExecuteTraced(plan, *impl.tracing_outline, features.data(), logits.data(), *workspace, callback);
}

Shape Engine::input_shape() const { return impl().model.input; }
int64_t Engine::output_count() const { return impl().plan.output_elements; }
const std::vector<std::string>& Engine::class_names() const { return impl().model.class_names; }
const EngineOptions& Engine::options() const { return impl().options; }
const std::vector<LayerSummary>& Engine::layers() const { return impl().plan.layers; }
const DetectionOptions& Engine::detection() const { return impl().detection; }
int64_t Engine::workspace_bytes() const { return impl().plan.workspace_bytes(); }
std::string Engine::isa() const { return kernels::IsaName(); }

void Engine::Run(std::span<const float> features, std::span<float> logits) const {
  impl().Run("Engine::Run", features, logits);
}

void Engine::RunBatch(std::span<const float> features, int64_t batch,
                      std::span<float> logits) const {
  Impl& impl = this->impl();
  const Plan& plan = impl.plan;
  // So that batch times elements cannot overflow.
  const auto most = static_cast<int64_t>(features.size());
  if (batch < 0 || batch > most) {
    Fail(
        ErrorKind::kConfiguration, "Engine::RunBatch",
        "batch = {}, allowed are 0 to the number of samples in features ({} floats of {} a sample)",
        batch, features.size(), plan.input_elements);
  }
  CheckSize("Engine::RunBatch", "features", features.size(), batch * plan.input_elements);
  CheckSize("Engine::RunBatch", "logits", logits.size(), batch * plan.output_elements);
  CheckFeatures("Engine::RunBatch", features);
  const StandardFloatMode standard;
  impl.CheckProcess("Engine::RunBatch");
  impl.RunSamples(features.data(), batch, logits.data());
  CheckLogits("Engine::RunBatch", logits);
}

void Engine::Impl::RunSamples(const float* x_bi, int64_t batch, float* y_bo) {
  if (batch == 0) return;
  Impl& impl = *this;
  if (batch == 1) {
    WorkspacePool::Loan workspace(impl.pool);
    return impl.RunOne(x_bi, y_bo, *workspace);
  }
  if (impl.threads == 1) {
    WorkspacePool::Loan workspace(impl.pool);
    return impl.RunBlocks(x_bi, 0, batch, y_bo, *workspace);
  }
  // Whoever is free takes a part of what is left: large blocks first, which share weights, single samples last, which
  // even out what the cores differ in.
  std::atomic<int64_t> next{0};
  const auto take_blocks = [&] {
    if (next >= batch) return;  // came too late
    WorkspacePool::Loan workspace(impl.pool);
    for (int64_t begin = next; begin < batch;) {
      const int64_t share = (batch - begin) / (int64_t{4} * impl.threads);
      const int64_t end = begin + std::clamp<int64_t>(share, 1, ops::kMostSamples);
      if (!next.compare_exchange_weak(begin, end)) continue;
      impl.RunBlocks(x_bi, begin, end, y_bo, *workspace);
      begin = next;
    }
  };
  const auto part = [&](int) {
    ParallelOrder::PartBegins();
    take_blocks();
    ParallelOrder::PartEnds();
  };
  const int parts = static_cast<int>(std::min<int64_t>(impl.threads, batch));
  const ParallelOrder order;  // after what the parts read
  impl.parallel->arena().execute(
      [&] { tbb::parallel_for(0, parts, part, tbb::simple_partitioner()); });
}

int32_t Engine::sample_rate_hz() const {
  return impl().model.front_end ? impl().model.front_end->sample_rate_hz : 0;
}

void Engine::ComputeFeatures(std::span<const float> samples, std::span<float> features) const {
  Impl& impl = this->impl();
  if (!impl.log_mel) {
    Fail(ErrorKind::kConfiguration, "Engine::ComputeFeatures",
         "the model has no front end (hint: give features to Run)");
  }
  CheckSize("Engine::ComputeFeatures", "features", features.size(), impl.plan.input_elements);
  if (samples.empty()) {
    Fail(ErrorKind::kData, "Engine::ComputeFeatures", "samples is empty: no clip");
  }
  const StandardFloatMode standard;
  impl.log_mel->Compute(samples, features);
  CheckFeatures("Engine::ComputeFeatures", features);
}

void Engine::RunPcm(std::span<const float> samples, std::span<float> logits) const {
  Impl& impl = this->impl();
  const Plan& plan = impl.plan;
  CheckSize("Engine::RunPcm", "logits", logits.size(), plan.output_elements);
  impl.CheckProcess("Engine::RunPcm");
  WorkspacePool::Loan workspace(impl.pool);
  ComputeFeatures(samples, workspace->features.span());
  const StandardFloatMode standard;
  impl.RunOne(workspace->features.data(), logits.data(), *workspace);
  CheckLogits("Engine::RunPcm", logits);
}

int32_t Engine::picture_channels() const {
  return impl().pixel_scale ? impl().model.input.channels : 0;
}

void Engine::ComputePixelFeatures(const Pixels& picture, std::span<float> features) const {
  Impl& impl = this->impl();
  if (!impl.pixel_scale) {
    Fail(ErrorKind::kConfiguration, "Engine::ComputePixelFeatures",
         "the model takes no pictures (hint: give features to Run)");
  }
  CheckSize("Engine::ComputePixelFeatures", "features", features.size(), impl.plan.input_elements);
  if (const std::string fault = PixelsFault(picture); !fault.empty()) {
    Fail(ErrorKind::kData, "Engine::ComputePixelFeatures", "{}", fault);
  }
  const StandardFloatMode standard;
  const Shape& shape = impl.model.input;
  if (Shape{picture.height, picture.width, picture.channels} == shape) {
    return impl.pixel_scale->Compute(picture.bytes_hwc, features);
  }
  std::vector<uint8_t> bytes_hwc(static_cast<size_t>(shape.elements()));
  FitPixels(picture, impl.model.pictures->fit, shape, bytes_hwc);
  impl.pixel_scale->Compute(bytes_hwc, features);
}

void Engine::RunPixels(const Pixels& picture, std::span<float> logits) const {
  Impl& impl = this->impl();
  CheckSize("Engine::RunPixels", "logits", logits.size(), impl.plan.output_elements);
  impl.CheckProcess("Engine::RunPixels");
  WorkspacePool::Loan workspace(impl.pool);
  ComputePixelFeatures(picture, workspace->features.span());
  const StandardFloatMode standard;
  impl.RunOne(workspace->features.data(), logits.data(), *workspace);
  CheckLogits("Engine::RunPixels", logits);
}

void Engine::RunProfiled(std::span<const float> features, std::span<float> logits,
                         std::span<int64_t> layer_ns) const {
  Impl& impl = this->impl();
  const Plan& plan = impl.plan;
  CheckSize("Engine::RunProfiled", "features", features.size(), plan.input_elements);
  CheckSize("Engine::RunProfiled", "logits", logits.size(), plan.output_elements);
  if (layer_ns.size() != plan.layers.size()) {
    Fail(ErrorKind::kConfiguration, "Engine::RunProfiled",
         "layer_ns has {} entries, the model has {} layers", layer_ns.size(), plan.layers.size());
  }
  CheckFeatures("Engine::RunProfiled", features);
  const StandardFloatMode standard;
  WorkspacePool::Loan workspace(impl.pool);
  ExecuteProfiled(plan, features.data(), logits.data(), *workspace, layer_ns);
  CheckLogits("Engine::RunProfiled", logits);
}

}  // namespace bisparse
