// SPDX-License-Identifier: Apache-2.0
// A plug-in of somebody else's: built once with the installed library, once with another version of it (other_version.cc).
#include <bisparse/engine.h>

#include <cstdio>
#include <vector>

/// The first logit of a sample of zeros; throws Error where `path` is no model.
extern "C" __attribute__((visibility("default"))) float PluginLogit(const char* path) {
  const bisparse::Engine engine = bisparse::Engine::Load(std::string(path));
  std::vector<float> features(static_cast<size_t>(engine.input_shape().elements()));
  std::vector<float> logits(static_cast<size_t>(engine.output_count()));
  engine.Run(features, logits);
  return logits[0];
}
