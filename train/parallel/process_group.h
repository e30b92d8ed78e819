// SPDX-License-Identifier: Apache-2.0
// The processes that train one network together, each on its share of every batch: LibTorch's c10d,
// Gloo on CPUs, NCCL on CUDA where LibTorch has it. Started as torchrun, srun or mpirun start things.
// Read first: docs/data-parallel.md. Tested in: parallel_test.cc, tests/data_parallel.
#ifndef BISPARSE_TRAIN_PARALLEL_PROCESS_GROUP_H_
#define BISPARSE_TRAIN_PARALLEL_PROCESS_GROUP_H_

#include <torch/torch.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace bisparse::train {

/// Which of how many processes this is, and where they meet.
struct ProcessPlace {
  int rank = 0, size = 1;
  std::string address;
  int port = 0;
};

/// From RANK, WORLD_SIZE (torchrun), SLURM_PROCID, SLURM_NTASKS or OMPI_COMM_WORLD_RANK,
/// OMPI_COMM_WORLD_SIZE with MASTER_ADDR and MASTER_PORT; nothing where neither WORLD_SIZE nor
/// MASTER_ADDR is set, or the size is 1. `get`: like getenv. Throws Error (kConfiguration): a
/// variable is missing or no number, the rank not below the size.
std::optional<ProcessPlace> PlaceFromEnvironment(
    const std::function<const char*(const char*)>& get);

class ProcessGroup {
 public:
  /// Waits for the others. Throws Error: kConfiguration if this build has no Gloo, kData if the
  /// others don't come within `timeout`; so does Sum when one of them is gone.
  ProcessGroup(const ProcessPlace& place, std::chrono::seconds timeout, torch::Device device);
  ~ProcessGroup();

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }
  /// The sum over all processes, in place; the same bits in each of them.
  void Sum(torch::Tensor& tensor) const;
  /// Returns when all are here.
  void Wait() const;

 private:
  struct Impl;
  ProcessPlace place_;
  torch::Device device_;
  std::unique_ptr<Impl> impl_;
};

/// Batch norm in training over the joint batch, as LibTorch does it over one: x is NC or NCHW;
/// weight_c, bias_c may be undefined; updates the running statistics. Two sums over the processes
/// forwards, one backwards. Gradients of weight_c and bias_c are those of this process's share.
torch::Tensor JointBatchNorm(const torch::Tensor& x, const torch::Tensor& weight_c,
                             const torch::Tensor& bias_c, torch::Tensor& running_mean_c,
                             torch::Tensor& running_var_c, double momentum, double epsilon,
                             const ProcessGroup& group);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_PARALLEL_PROCESS_GROUP_H_
