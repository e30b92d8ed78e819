// SPDX-License-Identifier: Apache-2.0
#include "apps/support/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "apps/support/json.h"
#include "apps/support/model_source.h"
#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "deploy/base/file.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/model_file.h"
#include "deploy/simd/cpu.h"

namespace bisparse::apps {
namespace {

using packed::LayerKind;

bool HasWays(const packed::Layer& layer) {
  return layer.kind == LayerKind::kConv2d || layer.kind == LayerKind::kLinear;
}

/// Steps that a way of layer i may change: [begin, end), and where the layer's own time begins.
struct Neighbours {
  size_t begin, own, end;
};

Neighbours NeighboursOf(const packed::Model& model, size_t i) {
  // In a graph a layer's producers and readers may stand anywhere.
  if (!packed::Graph(model).IsChain()) return {0, 0, model.layers.size()};
  Neighbours n{i, i, i + 1};
  while (n.begin > 0 && !HasWays(model.layers[n.begin - 1])) --n.begin;
  if (n.begin > 0) --n.begin;
  while (n.end < model.layers.size() && !HasWays(model.layers[n.end])) ++n.end;
  return n;
}

/// One way of a layer with its times, µs.
struct Way {
  Mode mode;
  Engine engine;
  std::vector<double> us = {}, own_us = {};
};

double BestTenth(std::vector<double>& us) {
  const auto at = us.begin() + std::ssize(us) / 10;
  std::nth_element(us.begin(), at, us.end());
  return *at;
}

void TimeInTurn(std::vector<Way>& ways, const Neighbours& n, const std::vector<float>& inputs_bi) {
  const auto sample = static_cast<size_t>(ways[0].engine.input_shape().elements());
  const size_t samples = inputs_bi.size() / sample;
  std::vector<float> logits(static_cast<size_t>(ways[0].engine.output_count()));
  std::vector<int64_t> layer_ns(ways[0].engine.layers().size());
  const auto begin = std::chrono::steady_clock::now();
  const auto limit = std::chrono::milliseconds(100);
  for (size_t turn = 0; turn < 12 || std::chrono::steady_clock::now() - begin < limit; ++turn) {
    for (Way& way : ways) {
      for (size_t call = 0; call < 10; ++call) {
        std::fill(layer_ns.begin(), layer_ns.end(), 0);
        way.engine.RunProfiled(
            std::span(inputs_bi).subspan((turn * 10 + call) % samples * sample, sample), logits,
            layer_ns);
        if (call < 2) continue;  // the other way's weights leave the caches
        double us = 0, own_us = 0;
        for (size_t i = n.begin; i < n.end; ++i) {
          us += static_cast<double>(layer_ns[i]) * 1e-3;
          if (i >= n.own) own_us += static_cast<double>(layer_ns[i]) * 1e-3;
        }
        way.us.push_back(us);
        way.own_us.push_back(own_us);
      }
    }
  }
}

/// Of the ways that differ; null where there is only one.
LayerChoice TuneLayer(const packed::Model& model, size_t i, const std::vector<LayerChoice>& before,
                      const std::vector<float>& inputs_bi) {
  const std::string& name = model.layers[i].name;
  std::vector<Way> ways;
  for (const Mode mode : {Mode::kSparseSparse, Mode::kSparseDense, Mode::kDense}) {
    EngineOptions options{.choices = before};
    options.choices.push_back({name, mode, ""});
    Engine engine = EngineAccess::FromModel(model, options);
    const std::string& kernel = engine.layers()[i].kernel;
    const bool known = std::any_of(ways.begin(), ways.end(), [&](const Way& way) {
      const LayerSummary& other = way.engine.layers()[i];
      return other.kernel == kernel && other.macs_executed == engine.layers()[i].macs_executed;
    });
    if (!known) ways.push_back({mode, std::move(engine)});
  }
  if (ways.size() == 1) return {name, ways[0].mode, "the only way for this layer"};
  TimeInTurn(ways, NeighboursOf(model, i), inputs_bi);
  std::vector<double> us, own_us;
  for (Way& way : ways) {
    us.push_back(BestTenth(way.us));
    own_us.push_back(BestTenth(way.own_us));
  }
  const auto best = static_cast<size_t>(std::min_element(us.begin(), us.end()) - us.begin());
  std::string reason = fmt::format("measured: {:.3g} us", own_us[best]);
  for (size_t w = 0; w < ways.size(); ++w) {
    if (w != best)
      reason += fmt::format("{} {:.3g} us {}",
                            reason.find("against") == std::string::npos ? " against" : ",",
                            own_us[w], ModeName(ways[w].mode));
  }
  return {name, ways[best].mode, reason};
}

std::string ModelHash(const packed::Model& model) {
  return fmt::format("{:016x}", XxHash64(packed::SerialiseModel(model)));
}

constexpr int kTuningVersion = 1;

std::string IsaNow() {
  kernels::ApplyIsaFromEnvironment();
  return kernels::IsaName();
}

void WriteTuning(const packed::Model& model, const std::vector<LayerChoice>& choices,
                 const std::string& path) {
  nlohmann::ordered_json json = {
      {"bisparse_tuning", kTuningVersion}, {"model", model.name},
      {"model_xxh64", ModelHash(model)},   {"isa", IsaNow()},
      {"machine", MachineName()},          {"layers", nlohmann::ordered_json::array()}};
  for (const LayerChoice& choice : choices) {
    json["layers"].push_back(
        {{"layer", choice.layer}, {"mode", ModeName(choice.mode)}, {"reason", choice.reason}});
  }
  WriteJson(json, path);
}

std::vector<LayerChoice> ReadTuning(const packed::Model& model, const std::string& path) {
  std::error_code unknown;
  if (!std::filesystem::exists(path, unknown) && !unknown) {
    Fail(ErrorKind::kData, path, "cannot be read (hint: --tune --tune-file {} writes it)",
         ShellQuoted(path));
  }
  const std::string text = ReadTextFile(path);
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("bisparse_tuning") != kTuningVersion) {
      Fail(ErrorKind::kData, path, "bisparse_tuning = {}, this version reads {}",
           json.at("bisparse_tuning").dump(), kTuningVersion);
    }
    const std::pair<const char*, std::string> bound[] = {
        {"model_xxh64", ModelHash(model)}, {"isa", IsaNow()}, {"machine", MachineName()}};
    for (const auto& [key, now] : bound) {
      const auto then = json.at(key).get<std::string>();
      if (then != now) {
        Fail(ErrorKind::kConfiguration, path,
             "was measured for {} = {}, here it is {} (hint: measure anew with --tune)", key, then,
             now);
      }
    }
    std::vector<LayerChoice> choices;
    for (const auto& layer : json.at("layers")) {
      choices.push_back({layer.at("layer").get<std::string>(),
                         ParseMode(layer.at("mode").get<std::string>()),
                         layer.at("reason").get<std::string>()});
    }
    return choices;
  } catch (const nlohmann::json::exception& error) {
    Fail(ErrorKind::kData, path, "is no tuning file: {}", error.what());
  }
}

}  // namespace

std::vector<LayerChoice> Tune(const packed::Model& model) {
  const std::vector<float> inputs_bi = RandomInputs(model.input, 64);
  std::vector<LayerChoice> choices;
  for (size_t i = 0; i < model.layers.size(); ++i) {
    if (HasWays(model.layers[i])) choices.push_back(TuneLayer(model, i, choices, inputs_bi));
  }
  return choices;
}

std::vector<LayerChoice> TunedChoices(const packed::Model& model, const TuningFlags& flags) {
  if (!flags.tune) {
    return flags.file.empty() ? std::vector<LayerChoice>() : ReadTuning(model, flags.file);
  }
  const std::vector<LayerChoice> choices = Tune(model);
  if (!flags.file.empty()) WriteTuning(model, choices, flags.file);
  return choices;
}

}  // namespace bisparse::apps
