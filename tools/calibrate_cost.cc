// SPDX-License-Identifier: Apache-2.0
// Fits the cost model's table (deploy/ops/cost_table.inc) to measured layers of random networks on
// this machine: prints each layer's measured and expected time, then the table.
//
//   calibrate_cost [MODEL | CONFIG.yaml …] [--table]
//
// Files are timed and compared with the table as it is; without any a grid of shapes is timed and a new table
// fitted. A row's coefficients minimise Σ (expected / measured − 1)², none below zero.
// Read first: deploy/engine/cost.h, docs/planning.md.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "deploy/base/print.h"
#include "deploy/base/random.h"
#include "deploy/engine/choose.h"
#include "deploy/engine/cost.h"
#include "deploy/engine/engine_access.h"
#include "deploy/ops/lists.h"
#include "deploy/ops/quantise.h"
#include "deploy/ops/shared/matmul_i8.h"
#include "deploy/packed/model_file.h"
#include "deploy/simd/cpu.h"
#include "tools/cost_networks.h"
#include "train/config/assemble.h"
#include "train/config/load.h"
#include "train/export/quantise.h"

namespace {

using namespace bisparse;

std::vector<float> RandomInputs(const Shape& shape, int64_t samples) {
  std::vector<float> x_bi(static_cast<size_t>(samples * shape.elements()));
  CounterRandom random(1, {0x6265'6e63'68});
  for (float& x : x_bi) x = 2.0f * random.Uniform() - 1.0f;
  return x_bi;
}

/// What is shorter cannot be timed well layer by layer: 50 ns at 4 GHz.
constexpr double kLeastCycles = 200;

struct Measured {
  std::string network, mode, layer, kernel, row;
  ops::Work work;
  double lines, cycles;  ///< weighted lines; measured
  double expected;       ///< by the table as it is
  ops::Work quantise;    ///< int8, the first layer: of what is done before it
};

/// Each layer's usual time over many samples: the median, so that whole runs of one layer's luck count little.
std::vector<double> LayerNs(const Engine& engine, const std::vector<float>& inputs_bi) {
  const auto sample = static_cast<size_t>(engine.input_shape().elements());
  const size_t samples = inputs_bi.size() / sample;
  std::vector<float> logits(static_cast<size_t>(engine.output_count()));
  std::vector<int64_t> layer_ns(engine.layers().size());
  std::vector<std::vector<double>> calls(layer_ns.size());
  const auto begin = std::chrono::steady_clock::now();
  for (size_t call = 0; call < 3 || (call < 4000 && std::chrono::steady_clock::now() - begin <
                                                        std::chrono::milliseconds(20));
       ++call) {
    std::fill(layer_ns.begin(), layer_ns.end(), 0);
    engine.RunProfiled(std::span(inputs_bi).subspan(call % samples * sample, sample), logits,
                       layer_ns);
    for (size_t i = 0; i < calls.size(); ++i) calls[i].push_back(static_cast<double>(layer_ns[i]));
  }
  std::vector<double> ns;
  for (std::vector<double>& call : calls) {
    std::nth_element(call.begin(), call.begin() + std::ssize(call) / 3, call.end());
    ns.push_back(call[call.size() / 3]);
  }
  return ns;
}

void Measure(const packed::Model& model, const std::string& network, std::vector<Measured>& rows) {
  const std::vector<float> inputs_bi = RandomInputs(model.input, 64);
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse}) {
    const Engine engine = EngineAccess::FromModel(model, {.mode = mode});
    const auto& layers = engine.layers();
    CostMachine machine{.isa = engine.isa(), .caches = MachineCaches()};
    const int32_t bytes = VectorBytes(machine.isa);
    const Outline outline(model, machine.isa);
    const std::vector<ops::Use> use_i =
        outline.Uses(ChooseWays(outline, {.mode = mode}, machine).mode_i);
    for (size_t i = 0; i < layers.size(); ++i) {
      if (use_i[i].kernel == nullptr) continue;
      machine.touched_bytes +=
          static_cast<int64_t>(64 * use_i[i].kernel->Count(model.layers[i], use_i[i], bytes).lines);
    }
    const std::vector<double> ns = LayerNs(engine, inputs_bi);
    double clock_ns = 1e9;  // what a layer that does nothing takes
    for (size_t i = 0; i < layers.size(); ++i) {
      if (use_i[i].kernel == nullptr) clock_ns = std::min(clock_ns, ns[i]);
    }
    if (clock_ns > 100) clock_ns = 20;
    for (size_t i = 0; i < layers.size(); ++i) {
      const ops::Use& use = use_i[i];
      if (use.kernel == nullptr) continue;
      const ops::Work work = ops::CountWork(model.layers[i], use, model.format, bytes);
      rows.push_back(
          {network, ModeName(mode), layers[i].name, layers[i].kernel,
           use.kernel->CostRow(model.layers[i], use), work,
           WeightedLines(work, machine.touched_bytes, machine.caches),
           (ns[i] - clock_ns) * ClockGhz(),
           EstimateCycles(model.layers[i], use, model.format, machine),
           use.quantises ? ops::CountQuantise(model.input.elements(), bytes) : ops::Work{}});
    }
  }
}

using Coefficients = std::array<double, 5>;

double Feature(const Measured& m, size_t j) {
  const double features[] = {1, m.work.units, m.work.starts, m.work.moved, m.lines};
  return features[j];
}

double Expected(const Coefficients& c, const Measured& m) {
  double cycles = 0;
  for (size_t j = 0; j < c.size(); ++j) cycles += c[j] * Feature(m, j);
  return cycles;
}

/// Non-negative least squares of relative errors by coordinate descent.
Coefficients Fit(const std::vector<const Measured*>& rows) {
  Coefficients c{};
  for (int pass = 0; pass < 20000; ++pass) {
    for (size_t j = 0; j < c.size(); ++j) {
      double top = 0, bottom = 0;
      for (const Measured* m : rows) {
        // The clock's own noise: shorter layers count as long as that.
        const double scale = std::max(m->cycles, kLeastCycles);
        const double f = Feature(*m, j) / scale;
        top += f * (m->cycles - Expected(c, *m)) / scale + f * f * c[j];
        bottom += f * f;
      }
      c[j] = bottom > 0 ? std::max(0.0, top / bottom) : 0;
    }
  }
  return c;
}

void MeasureQuantise(std::vector<Measured>& rows) {
  for (const int64_t elements : {256, 1024, 4096, 12544, 65536, 200704}) {
    const std::vector<float> x = RandomInputs({1, 1, static_cast<int32_t>(elements)}, 1);
    std::vector<uint8_t> q(x.size());
    double best_ns = 1e12;
    for (int call = 0; call < 300; ++call) {
      const auto begin = std::chrono::steady_clock::now();
      kernels::QuantiseI8(x.data(), elements, 0.01f, 100, q.data());
      const std::chrono::duration<double, std::nano> ns = std::chrono::steady_clock::now() - begin;
      best_ns = std::min(best_ns, ns.count());
    }
    const ops::Work work = ops::CountQuantise(elements, VectorBytes(kernels::IsaName()));
    rows.push_back({std::to_string(elements),
                    "",
                    "",
                    ops::kQuantiseRow,
                    ops::kQuantiseRow,
                    work,
                    WeightedLines(work, 0, MachineCaches()),
                    (best_ns - 20) * ClockGhz(),
                    0,
                    {}});
  }
}

/// Of each row the layers timed, the median of the errors' sizes, the largest one.
void PrintErrors(const std::vector<Measured>& rows) {
  std::map<std::string, std::vector<double>> errors;
  for (const Measured& m : rows) {
    errors[m.row].push_back(std::abs(m.expected - m.cycles) / std::max(m.cycles, kLeastCycles));
  }
  fmt::print("\n{:<32}{:>8}{:>10}{:>10}{:>10}\n", "row", "layers", "median", "90 %", "largest");
  size_t layers = 0, third = 0, half = 0;
  for (auto& [row, e] : errors) {
    for (const double error : e) {
      ++layers;
      third += error <= 0.3;
      half += error <= 0.5;
    }
    std::sort(e.begin(), e.end());
    fmt::print("{:<32}{:>8}{:>9.0f}%{:>9.0f}%{:>9.0f}%\n", row, e.size(), 100 * e[e.size() / 2],
               100 * e[e.size() * 9 / 10], 100 * e.back());
  }
  fmt::print("{} layers, {:.0f} % of them within 30 %, {:.0f} % within 50 %\n", layers,
             100.0 * static_cast<double>(third) / static_cast<double>(layers),
             100.0 * static_cast<double>(half) / static_cast<double>(layers));
}

void PrintRows(std::vector<Measured>& rows) {
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Measured& a, const Measured& b) { return a.row < b.row; });
  fmt::print("{:<31}{:<28}{:<14}{:>12}{:>10}{:>10}{:>9}{:>10}{:>10}{:>7}\n", "row", "network",
             "layer", "units", "starts", "moved", "far", "us", "expected", "error");
  for (const Measured& m : rows) {
    fmt::print("{:<31}{:<28}{:<14}{:>12.0f}{:>10.0f}{:>10.0f}{:>9.0f}{:>10.2f}{:>10.2f}{:>6.0f}%\n",
               m.row, m.network, m.layer, m.work.units, m.work.starts, m.work.moved, m.lines,
               m.cycles / ClockGhz() * 1e-3, m.expected / ClockGhz() * 1e-3,
               100 * (m.expected / m.cycles - 1));
  }
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<Measured> rows;
  std::vector<std::pair<std::string, packed::Model>> models;
  const auto add = [&](const std::string& name, const train::Config& config) {
    packed::Model f32 = train::MakeRandomModel(config, 1);
    if (packed::I8Fault(f32).empty()) {
      models.emplace_back(name + " int8", train::QuantiseModel(f32, RandomInputs(f32.input, 2)));
    }
    models.emplace_back(name + " f32", std::move(f32));
  };
  for (int i = 1; i < argc; ++i) {
    const std::string path = argv[i];
    if (path.ends_with(".yaml")) {
      add(path.substr(path.find_last_of('/') + 1), train::LoadConfig(path));
    } else {
      models.emplace_back(path.substr(path.find_last_of('/') + 1), packed::ReadModel(path));
    }
  }
  if (argc == 1) {
    for (const auto& [name, text] : CostNetworks()) add(name, train::ParseConfig(text, name));
  }
  for (const auto& [name, model] : models) Measure(model, name, rows);
  if (argc == 1) MeasureQuantise(rows);
  if (argc == 1) {
    std::map<std::string, std::vector<const Measured*>> by_row;
    for (const Measured& m : rows) by_row[m.row].push_back(&m);
    std::map<std::string, Coefficients> fitted;
    const Coefficients quantise = fitted[ops::kQuantiseRow] = Fit(by_row[ops::kQuantiseRow]);
    for (Measured& m : rows) {
      Measured before = m;
      before.work = m.quantise;
      before.lines = WeightedLines(m.quantise, 0, MachineCaches());
      if (m.quantise.units > 0) m.cycles -= Expected(quantise, before);
    }
    for (const auto& [row, measured] : by_row) fitted[row] = Fit(measured);
    for (Measured& m : rows) m.expected = Expected(fitted[m.row], m);
    PrintRows(rows);
    PrintErrors(rows);
    fmt::print("\n// Fitted at {:.2f} GHz.\nconstexpr KernelCost kKernelCosts[] = {{\n",
               ClockGhz());
    for (const auto& [row, c] : fitted) {
      fmt::print("    {{\"{}\", {:.0f}, {:.3g}, {:.3g}, {:.3g}, {:.3g}}},\n", row, c[0], c[1], c[2],
                 c[3], c[4]);
    }
    fmt::print("}};\n");
  } else {
    PrintRows(rows);
    PrintErrors(rows);
  }
  return 0;
} catch (const std::exception& error) {
  PrintRemark(stderr, "calibrate_cost: {}\n", error.what());
  return 1;
}
