// SPDX-License-Identifier: Apache-2.0
// Starts the peers' programs and compares their outputs with ours. Read first: peer.h, README.md.
// Tested in: peers_test.cc.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>

#include "apps/peers/network.h"
#include "apps/peers/peer.h"
#include "apps/peers/quantise.h"
#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/temporary_folder.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"
#ifdef BISPARSE_HAVE_ONNX
#include "apps/peers/onnx_writer.h"
#endif

namespace bisparse::peers {
namespace {

namespace fs = std::filesystem;

class Starter {
 public:
  Starter(const packed::Model& model, const std::vector<float>& x_bi, int threads, int64_t batch)
      : model_(WithReluForKwta(Dequantise(model))),
        network_(MakeDenseNetwork(model_)),
        x_bi_(x_bi),
        threads_(threads),
        batch_(batch) {
    packed::WriteModel(model_, folder_ / "model.bisparse");
    WriteFileAtomically(folder_ / "inputs.f32", std::as_bytes(std::span(x_bi_)));
    RunOurs();
  }

  PeerResult Start(const std::string& engine, const std::string& variant) {
    // Eigen and LibTorch have one form each.
    const bool only_form = engine == "eigen" || engine == "libtorch";
    PeerResult result;
    result.name = engine == "eigen" ? "eigen_sparse" : only_form ? engine : engine + "_" + variant;
    try {
      const std::vector<std::string> argv =
          engine == "onnxruntime" ? OnnxRuntime(variant) : Program(engine, variant);
      result.peer = std::make_unique<Peer>(result.name, argv, threads_);
      result.difference = Difference(*result.peer);
      const double allowed = AllowedDifference(result.name);
      if (!(result.difference <= allowed)) {
        Fail(ErrorKind::kData, result.name,
             "outputs differ from ours by {:.2g} of their range, allowed {:.2g}: not the same "
             "network",
             result.difference, allowed);
      }
    } catch (const Error& error) {
      result.peer.reset();
      result.reason = error.what();
      result.missing = error.kind() == ErrorKind::kConfiguration;
    }
    return result;
  }

 private:
  /// Our outputs of some kComparedSamples samples, spread over the inputs.
  void RunOurs() {
    const Engine engine = EngineAccess::FromModel(model_);
    const auto elements = static_cast<size_t>(model_.input.elements());
    const auto outputs = static_cast<size_t>(batch_ * engine.output_count());
    const int64_t starts = static_cast<int64_t>(x_bi_.size() / elements) - batch_;
    const int64_t wanted = std::max<int64_t>(1, kComparedSamples / batch_);
    for (int64_t call = 0; call < starts; call += std::max<int64_t>(1, starts / wanted)) {
      calls_.push_back(call);
      ours_.resize(ours_.size() + outputs);
      engine.RunBatch(std::span(x_bi_).subspan(static_cast<size_t>(call) * elements,
                                               static_cast<size_t>(batch_) * elements),
                      batch_, std::span(ours_).last(outputs));
    }
  }

  double Difference(Peer& peer) const {
    std::vector<double> theirs;
    for (const int64_t call : calls_) {
      const std::vector<double> values = peer.Run(call);
      theirs.insert(theirs.end(), values.begin(), values.end());
    }
    return OutputDifference(ours_, theirs);
  }

  std::vector<std::string> Program(const std::string& engine, const std::string& variant) const {
    std::error_code error;
    const fs::path program =
        fs::read_symlink("/proc/self/exe", error).parent_path() / ("bisparse-peer-" + engine);
    if (!fs::exists(program, error)) {
      const char* needs = engine == "onednn"  ? "Debian's libdnnl-dev"
                          : engine == "eigen" ? "a compiler with OpenMP and -march=native"
                                              : "Debian's libtorch-dev, and no BISPARSE_TRAIN=OFF";
      Fail(ErrorKind::kConfiguration, program, "was not built (hint: it needs {})", needs);
    }
    return {program,
            variant,
            folder_ / "model.bisparse",
            folder_ / "inputs.f32",
            std::to_string(threads_),
            std::to_string(batch_)};
  }

  std::vector<std::string> OnnxRuntime(const std::string& variant) {
#ifdef BISPARSE_HAVE_ONNX
    const std::string script = BISPARSE_PEERS_DIR "/onnxruntime.js";
    std::error_code error;
    if (!fs::exists(script, error)) {
      Fail(ErrorKind::kConfiguration, script,
           "is not there (hint: run the benchmark where it was built)");
    }
    const Ranges ranges = variant == "int8" ? Calibrate(model_, network_, x_bi_) : Ranges{};
    const OnnxOptions options{.batch = batch_, .ranges = variant == "int8" ? &ranges : nullptr};
    const std::string model = folder_ / "model.onnx", inputs = folder_ / "inputs_bcyx.f32";
    WriteFileAtomically(model, OnnxFile(network_, options));
    const std::vector<float> x_bcyx = ChannelsFirst(x_bi_, model_.input);
    WriteFileAtomically(inputs, std::as_bytes(std::span(x_bcyx)));
    return {"node",
            script,
            model,
            inputs,
            std::to_string(threads_),
            std::to_string(batch_),
            std::to_string(model_.input.channels),
            std::to_string(model_.input.height),
            std::to_string(model_.input.width)};
#else
    Fail(ErrorKind::kConfiguration, "onnxruntime_" + variant,
         "this program was built without ONNX (hint: Debian's libonnx-dev)");
#endif
  }

  static constexpr int64_t kComparedSamples = 64;

  const packed::Model model_;
  const DenseNetwork network_;
  const std::vector<float>& x_bi_;
  const int threads_;
  const int64_t batch_;
  const TemporaryFolder folder_;  ///< the peers' files, which they have read once they answer
  std::vector<int64_t> calls_;
  std::vector<float> ours_;  ///< of all calls_
};

}  // namespace

const std::vector<std::string>& PeerEngines() {
  static const std::vector<std::string> engines = {"onednn", "onnxruntime", "eigen", "libtorch"};
  return engines;
}

double OutputDifference(std::span<const float> ours, std::span<const double> theirs) {
  if (ours.size() != theirs.size()) return INFINITY;
  double largest = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double difference = std::abs(theirs[i] - ours[i]);
    if (!std::isfinite(difference)) return INFINITY;
    largest = std::max(largest, difference);
  }
  if (largest == 0) return 0;
  const auto [low, high] = std::minmax_element(ours.begin(), ours.end());
  return largest / (*high > *low ? *high - *low : std::abs(*high));
}

double AllowedDifference(const std::string& name) {
  if (!name.ends_with("_int8")) return 1e-3;
#if defined(__x86_64__)
  // Without VNNI both peers add pairs of products in 16 bits, which saturate; ours are exact.
  if (!__builtin_cpu_supports("avx512vnni")) return 0.15;
#endif
  return 5e-2;
}

std::vector<PeerResult> StartPeers(const std::vector<std::string>& engines,
                                   const packed::Model& model, const std::vector<float>& x_bi,
                                   int threads, int64_t batch) {
  Starter starter(model, x_bi, threads, batch);
  std::vector<PeerResult> results;
  for (const std::string& engine : engines) {
    results.push_back(starter.Start(engine, "f32"));
    if (engine == "eigen" || engine == "libtorch") continue;
    results.push_back(starter.Start(engine, "int8"));
  }
  return results;
}

}  // namespace bisparse::peers
