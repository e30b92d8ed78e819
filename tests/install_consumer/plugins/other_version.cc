// SPDX-License-Identifier: Apache-2.0
// Stands for another version of the library: compiled with the installed headers, whose version number was changed. Its
// engine has one output, 42.
#include <bisparse/engine.h>

namespace bisparse {
inline namespace BISPARSE_VERSION_NAMESPACE {
struct Engine::Impl {
  EngineOptions options;
};
Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;
Engine Engine::Load(const std::string&, const EngineOptions& options) {
  return Engine(std::make_unique<Impl>(Impl{options}));
}
Shape Engine::input_shape() const { return {1, 1, 1}; }
int64_t Engine::output_count() const { return 1; }
void Engine::Run(std::span<const float>, std::span<float> logits) const { logits[0] = 42; }
}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse
