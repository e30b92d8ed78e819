// SPDX-License-Identifier: Apache-2.0
// A program that does nothing but run a model: prints the ms from before Load to after the first Run, and the most
// memory that it ever held (VmHWM) in KB.
#include <bisparse/engine.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const auto begin = std::chrono::steady_clock::now();
  const bisparse::Engine engine = bisparse::Engine::Load(argv[1]);
  const std::vector<float> features(static_cast<size_t>(engine.input_shape().elements()));
  std::vector<float> logits(static_cast<size_t>(engine.output_count()));
  engine.Run(features, logits);
  const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - begin;
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmHWM:") {
  }
  long kilobytes = -1;
  status >> kilobytes;
  std::printf("%.3f %ld\n", ms.count(), kilobytes);
  return 0;
} catch (const bisparse::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 3;
}
