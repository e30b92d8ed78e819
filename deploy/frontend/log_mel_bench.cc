// SPDX-License-Identifier: Apache-2.0
// The front end of the speech networks: a clip of 32 frames of 1024 samples, and the three frames of a stream's hop.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "deploy/frontend/log_mel.h"

namespace bisparse {
namespace {

std::vector<float> Clip(const FrontEnd& front_end) {
  std::vector<float> samples(static_cast<size_t>(front_end.clip_samples));
  for (size_t i = 0; i < samples.size(); ++i) {
    samples[i] = std::sin(static_cast<float>(i * i % 9973));
  }
  return samples;
}

void BM_LogMelClip(benchmark::State& state) {
  const LogMel log_mel(FrontEnd{});
  const std::vector<float> samples = Clip(log_mel.front_end());
  std::vector<float> features(static_cast<size_t>(log_mel.shape().elements()));
  for (auto _ : state) {
    log_mel.Compute(samples, features);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_LogMelClip);

void BM_LogMelFrames(benchmark::State& state) {
  const LogMel log_mel(FrontEnd{});
  const std::vector<float> samples = Clip(log_mel.front_end());
  std::vector<float> features(static_cast<size_t>(log_mel.shape().elements()));
  std::vector<int32_t> t_n;
  for (int32_t n = 0; n < state.range(0); ++n) t_n.push_back(n);
  const auto workspace = log_mel.MakeWorkspace();
  for (auto _ : state) {
    log_mel.ComputeFrames(samples, t_n, *workspace, features);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_LogMelFrames)->Arg(1)->Arg(3)->Arg(8)->Arg(16)->Arg(32);

}  // namespace
}  // namespace bisparse
