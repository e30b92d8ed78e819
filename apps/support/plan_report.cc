// SPDX-License-Identifier: Apache-2.0
#include "apps/support/plan_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/support/model_source.h"
#include "deploy/base/show.h"
#include "deploy/engine/engine_access.h"
#include "deploy/engine/outline.h"
#include "deploy/ops/shared/layers.h"
#include "deploy/simd/cpu.h"

namespace bisparse::apps {
namespace {

std::vector<std::string> Warnings(const packed::Model& model, const PlanReport& report) {
  std::vector<std::string> warnings;
  if (model.format == packed::NumberFormat::kI8 && !kernels::IsAvx3Dl(report.isa)) {
    const bool narrow = std::all_of(
        model.layers.begin(), model.layers.end(),
        [](const packed::Layer& layer) { return packed::AreNarrow(layer.weight_i8_pnl); });
    warnings.push_back(fmt::format(
        "{} has no dot products of bytes (AVX-512 VNNI): int8 convolutions make each of {}",
        report.isa,
        narrow ? "three instructions"
               : fmt::format("nine instructions, of three where no weight is beyond ±{} (hint: "
                             "bisparse-export the run again)",
                             packed::kNarrowWeight)));
  }
  for (const PlannedLayer& layer : report.layers) {
    const LayerSummary& s = layer.summary;
    if (s.aligned_us <= 0 || s.expected_us <= s.aligned_us) continue;
    warnings.push_back(fmt::format(
        "{}: owners are not aligned with the winners that it reads: {:.3g} us instead of {:.3g}, "
        "{:.1f} "
        "times as long "
        "(hint: run.channels a multiple of the channels of a k-WTA group{}, run.taps row or all{})",
        s.name, s.expected_us, s.aligned_us, s.expected_us / s.aligned_us,
        model.format == packed::NumberFormat::kI8 ? ", of four groups for the fastest kernel" : "",
        s.lanes % 4 == 0 && (s.lanes >= 8 || model.format == packed::NumberFormat::kF32)
            ? ""
            : ", lanes 16"));
  }
  if (!report.caches.stated) {
    warnings.push_back(
        "the operating system does not say how large the caches are: 32 KB, 512 KB, 8 MB assumed");
  }
  return warnings;
}

}  // namespace

PlanReport ReportPlan(const packed::Model& model, const EngineOptions& options) {
  const Engine engine = EngineAccess::FromModel(model, options);
  PlanReport report{.model = model.name,
                    .format = packed::NumberFormatName(model.format),
                    .isa = engine.isa(),
                    .machine = MachineName(),
                    .caches = MachineCaches(),
                    .clock_ghz = ClockGhz(),
                    .workspace_bytes = engine.workspace_bytes()};
  const Outline outline(model, report.isa);
  for (size_t i = 0; i < engine.layers().size(); ++i) {
    PlannedLayer layer{.summary = engine.layers()[i]};
    const LayerSummary& s = layer.summary;
    if (model.layers[i].HasWeights()) {
      layer.macs_sparse_dense = s.nonzeros * s.output.height * s.output.width;
      const packed::Layer* kwta = outline.NodeAt(i, Mode::kSparseSparse).winners;
      const auto winners =
          static_cast<double>(kwta != nullptr ? ops::WinnersOf(*kwta) : s.input.elements());
      layer.macs_sparse_sparse =
          static_cast<int64_t>(static_cast<double>(layer.macs_sparse_dense) * winners /
                               static_cast<double>(s.input.elements()));
    }
    layer.cache = s.weight_bytes > 0 ? CacheLevelName(s.weight_bytes, report.caches) : "";
    report.expected_us += s.expected_us;
    report.dense_us += s.dense_us;
    report.layers.push_back(std::move(layer));
  }
  report.warnings = Warnings(model, report);
  return report;
}

std::string FormatPlan(const PlanReport& report) {
  std::string text = fmt::format(
      "plan of {} ({}) on {}, {} at {:.1f} GHz, caches {} KB, {} KB, {} KB; one thread, one "
      "sample\n",
      Shown(report.model), report.format, report.machine, report.isa, report.clock_ghz,
      report.caches.l1_bytes >> 10, report.caches.l2_bytes >> 10, report.caches.l3_bytes >> 10);
  text += fmt::format("{:<11}{:<31}{:>12}{:>12}{:>12}{:>10} {:<7}{:>9}{:>9}{:>8}  {}\n", "layer",
                      "kernel", "MACs dense", "sparse-d.", "sparse-sp.", "bytes", "in", "us",
                      "dense", "gain", "reason");
  int64_t macs[3] = {}, bytes = 0;
  for (const PlannedLayer& layer : report.layers) {
    const LayerSummary& s = layer.summary;
    text += fmt::format(
        "{:<10} {:<30} {:>12}{:>12}{:>12}{:>10} {:<7}{:>9.2f}{:>9.2f}{:>8}  {}\n", Shown(s.name),
        s.kernel, s.macs_dense, layer.macs_sparse_dense, layer.macs_sparse_sparse, s.weight_bytes,
        layer.cache, s.expected_us, s.dense_us,
        s.expected_us > 0 ? fmt::format("{:.1f}x", s.dense_us / s.expected_us) : "", s.reason);
    macs[0] += s.macs_dense;
    macs[1] += layer.macs_sparse_dense;
    macs[2] += layer.macs_sparse_sparse;
    bytes += s.weight_bytes;
  }
  text += fmt::format("{:<42}{:>12}{:>12}{:>12}{:>10} {:<7}{:>9.2f}{:>9.2f}{:>7.1f}x\n",
                      "total, expected", macs[0], macs[1], macs[2], bytes,
                      CacheLevelName(bytes, report.caches), report.expected_us, report.dense_us,
                      report.expected_us > 0 ? report.dense_us / report.expected_us : 1.0);
  text += fmt::format("workspace {} bytes a thread\n", report.workspace_bytes);
  for (const std::string& warning : report.warnings)
    text += fmt::format("warning: {}\n", Shown(warning));
  return text;
}

nlohmann::ordered_json PlanJson(const PlanReport& report) {
  nlohmann::ordered_json json = {{"model", report.model},
                                 {"format", report.format},
                                 {"isa", report.isa},
                                 {"machine", report.machine},
                                 {"clock_ghz", report.clock_ghz},
                                 {"l1_bytes", report.caches.l1_bytes},
                                 {"l2_bytes", report.caches.l2_bytes},
                                 {"l3_bytes", report.caches.l3_bytes},
                                 {"workspace_bytes", report.workspace_bytes},
                                 {"expected_us", report.expected_us},
                                 {"dense_us", report.dense_us},
                                 {"layers", nlohmann::ordered_json::array()},
                                 {"warnings", report.warnings}};
  for (const PlannedLayer& layer : report.layers) {
    const LayerSummary& s = layer.summary;
    json["layers"].push_back({{"name", s.name},
                              {"kind", s.kind},
                              {"kernel", s.kernel},
                              {"reason", s.reason},
                              {"macs_dense", s.macs_dense},
                              {"macs_sparse_dense", layer.macs_sparse_dense},
                              {"macs_sparse_sparse", layer.macs_sparse_sparse},
                              {"macs_executed", s.macs_executed},
                              {"weight_bytes", s.weight_bytes},
                              {"cache", layer.cache},
                              {"expected_us", s.expected_us},
                              {"dense_us", s.dense_us},
                              {"aligned_us", s.aligned_us}});
  }
  return json;
}

}  // namespace bisparse::apps
