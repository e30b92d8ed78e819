// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets do with a model that was accepted: load it in every mode, run it, compare. Whatever fails aborts.
#ifndef BISPARSE_TESTS_FUZZ_RUN_MODEL_H_
#define BISPARSE_TESTS_FUZZ_RUN_MODEL_H_

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/limits.h"
#include "deploy/packed/model.h"

namespace bisparse::fuzz {

inline constexpr Mode kModes[] = {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse,
                                  Mode::kAuto};

[[noreturn]] inline void Give(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

/// Multiplications of one sample.
inline double WorkOf(const packed::Model& model) {
  double work = 0;
  for (const packed::Layer& layer : model.layers)
    work += static_cast<double>(packed::Work(layer).value());
  return work;
}

/// Weights as dense rows: what a plan has to write.
inline double WeightsOf(const packed::Model& model) {
  double weights = 0;
  for (const packed::Layer& layer : model.layers) {
    weights += static_cast<double>(packed::DenseWeights(layer).value());
  }
  return weights;
}

/// An engine, or nothing where its workspace would be too large; no other refusal is allowed.
inline std::optional<Engine> Load(const packed::Model& model, Mode mode) {
  try {
    return EngineAccess::FromModel(model, {.mode = mode});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData ||
        std::string(error.what()).find("needs a workspace of") == std::string::npos) {
      Give(error.what());
    }
    return std::nullopt;
  }
}

/// Logits, or nothing where the features were refused, which has to be in order.
inline std::vector<float> Run(const Engine& engine, std::span<const float> features) {
  std::vector<float> logits(static_cast<size_t>(engine.output_count()));
  try {
    engine.Run(features, logits);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) Give(error.what());
    return {};
  }
  for (const float logit : logits) {
    if (!std::isfinite(logit)) Give("a logit is not finite");
  }
  return logits;
}

/// Features of small whole numbers, then of any bits.
inline std::vector<std::vector<float>> SomeFeatures(const packed::Model& model,
                                                    std::span<const uint8_t> bytes) {
  const auto elements = static_cast<size_t>(model.input.elements());
  std::vector<float> whole(elements), any(elements);
  for (size_t i = 0; i < elements; ++i) whole[i] = static_cast<float>(i % 7) - 3.0f;
  for (size_t i = 0; i < elements * sizeof(float) && !bytes.empty(); ++i) {
    reinterpret_cast<uint8_t*>(any.data())[i] = bytes[i % bytes.size()];
  }
  return {whole, any};
}

/// In every mode, or in that one alone. int8 modes give the same bits; `exact` says that f32 ones do for whole features.
inline void RunModel(const packed::Model& model, std::span<const uint8_t> bytes, bool exact,
                     std::optional<Mode> alone = std::nullopt) {
  const bool int8 = model.format == packed::NumberFormat::kI8;
  const std::vector<std::vector<float>> features = SomeFeatures(model, bytes);
  std::vector<std::optional<std::vector<float>>> first(features.size());
  for (const Mode mode : kModes) {
    if (alone && mode != *alone) continue;
    const std::optional<Engine> engine = Load(model, mode);
    if (!engine) continue;
    for (size_t i = 0; i < features.size(); ++i) {
      const std::vector<float> logits = Run(*engine, features[i]);
      if (!first[i]) first[i] = logits;
      if ((int8 || (exact && i == 0)) && logits != *first[i]) {
        Give(std::string("other logits in mode ") + ModeName(mode));
      }
    }
  }
}

}  // namespace bisparse::fuzz

#endif  // BISPARSE_TESTS_FUZZ_RUN_MODEL_H_
