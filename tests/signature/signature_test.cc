// SPDX-License-Identifier: Apache-2.0
// Trains a small network with k-WTA, owners, boosting and dropout for two epochs and hashes its
// weights. The hash is kept in signature.txt; a commit that changes numerics on purpose writes the
// new one there and says so.
//
// Libraries dispatch by CPU, so ctest pins them (CMakeLists.txt); outside of ctest, or on a CPU
// without AVX2, the test is skipped.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <span>

#include "deploy/base/checksum.h"
#include "deploy/base/file.h"
#include "train/config/load.h"
#include "train/loop/memory_dataset.h"
#include "train/loop/trained_run.h"
#include "train/loop/trainer.h"

namespace bisparse::train {
namespace {

constexpr char kConfig[] = R"(
seed: 3
data: {type: npy, train_x: x.npy, train_y: y.npy, input: [6, 6, 1], class_names: [low, middle, high]}
train: {epochs: 2, batch_size: 16, learning_rate: 0.01, gradient_clip: 1.0, label_smoothing: 0.1, threads: 1, workers: 0, device: cpu, kernels: masked}
network:
  - conv2d: {channels: 8, kernel: 3, packing: {set_size: 2, lanes: 1}}
  - batch_norm
  - kwta: {winners: 2, winners_start: 4, groups: 2, boost: {strength: 1.0}}
  - flatten
  - linear: {units: 24, packing: {set_size: 4, lanes: 2}}
  - batch_norm
  - kwta: {winners: 6, scope: global}
  - dropout: {probability: 0.2}
  - linear: {units: classes}
)";

bool DispatchIsPinned() {
  for (const char* name : {"OPENBLAS_CORETYPE", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"}) {
    if (std::getenv(name) == nullptr) return false;
  }
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(Signature, OfAShortTraining) {
  if (!DispatchIsPinned()) GTEST_SKIP() << "needs ctest's environment and a CPU with AVX2";
  const std::string folder = fmt::format("{}signature_{}", testing::TempDir(), ::getpid());
  Train(ParseConfig(kConfig, "signature.yaml"), MemoryDataset(),
        {.run_folder = folder, .open = OpenRun::kForce});
  TrainedRun run = LoadTrainedRun(folder);
  std::string bytes;
  for (const torch::Tensor& parameter : run.network->parameters()) {
    const torch::Tensor p = parameter.detach().contiguous();
    bytes.append(static_cast<const char*>(p.data_ptr()), p.nbytes());
  }
  std::filesystem::remove_all(folder);
  const std::string hash = fmt::format("{:016x}\n", XxHash64(AsBytes(bytes)));
  const std::string path = BISPARSE_SOURCE_DIR "/tests/signature/signature.txt";
  EXPECT_EQ(hash, ReadTextFile(path))
      << "the numerics of training changed; if that is meant, write the new hash to " << path;
}

}  // namespace
}  // namespace bisparse::train
