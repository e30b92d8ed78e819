// SPDX-License-Identifier: Apache-2.0
// Classifies one sample of zeros with the installed library: consumer MODEL prints a line for each
// output; without the model it says what the library said.
#include <bisparse/engine.h>

// What the library's dependencies define for themselves is not for consumers.
#if defined(FMT_SHARED) || defined(HWY_SHARED_DEFINE)
#error "a definition of a dependency reached a consumer"
#endif

#include <cmath>
#include <cstdio>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const bisparse::Engine engine = bisparse::Engine::Load(argv[1], {.threads = 2});
  const std::vector<float> features(static_cast<size_t>(engine.input_shape().elements()));
  std::vector<float> logits(static_cast<size_t>(engine.output_count()), NAN);
  engine.Run(features, logits);
  for (const float logit : logits) {
    if (!std::isfinite(logit)) return 1;
    std::printf("%g\n", static_cast<double>(logit));
  }
  return 0;
} catch (const bisparse::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 3;
}
