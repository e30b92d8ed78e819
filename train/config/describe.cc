// SPDX-License-Identifier: Apache-2.0
// Read first: describe.h. Tested in: describe_test.cc.
#include "train/config/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "deploy/packed/pack.h"
#include "train/config/assemble.h"
#include "train/config/graph.h"
#include "train/config/operators.h"
#include "train/config/static_owners.h"

namespace bisparse::train {
namespace {

void SummariseWeights(const Config& config, const LayerConfig& layer, LayerSummary& row) {
  const packed::Layout layout(layer.kernel, layer.packing.layout);
  row.set_size = layer.packing.layout.set_size;
  row.lanes = layer.packing.layout.lanes;
  row.weights = layer.kernel.weights();
  row.nonzeros = row.weights;
  if (layer.HasOwners()) {
    row.nonzeros = packed::CountOwned(layout, DrawStaticOwners(layout, config.seed, layer.name));
    // Learned owners leave nothing to a set's padding.
    if (layer.packing.owners != OwnerRule::kStatic) row.nonzeros = layout.slots();
  }
  row.parameters = row.nonzeros + (layer.bias ? layer.kernel.outputs : 0);
  const int64_t positions = int64_t{layer.output.height} * layer.output.width;
  row.macs_dense = row.weights * positions;
  row.macs_sparse_dense = row.nonzeros * positions;
  row.macs_sparse_sparse =
      std::llround(static_cast<double>(row.macs_sparse_dense) * row.input_density);
}

std::string Percent(double fraction) { return fmt::format("{:.1f} %", 100.0 * fraction); }

// 1234567 → 1,234,567
std::string Grouped(int64_t number) {
  std::string text = fmt::format("{}", number);
  for (ptrdiff_t i = static_cast<ptrdiff_t>(text.size()) - 3; i > 0; i -= 3) {
    text.insert(static_cast<size_t>(i), ",");
  }
  return text;
}

constexpr const char* kRowFormat =
    "{:<14} {:<16} {:>12} {:>4} {:>6} {:>9} {:>11} {:>11} {:>12} {:>12} {:>12} {:>10}\n";

}  // namespace

std::vector<LayerSummary> SummariseNetwork(const Config& config) {
  const NetworkConfig& network = config.network;
  std::vector<LayerSummary> rows;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const LayerConfig& layer = network.layers[i];
    std::vector<Activity> inputs;
    for (const int32_t value : layer.inputs) {
      if (value < 0) {
        inputs.push_back({network.input, 1.0});
      } else {
        const LayerSummary& producer = rows[static_cast<size_t>(value)];
        inputs.push_back({producer.output, producer.output_density});
      }
    }
    LayerSummary row;
    row.name = layer.name;
    row.kind = LayerKindName(layer.kind);
    row.reads = InputNames(network, i);
    row.output = layer.output;
    row.input_density = inputs[0].density;
    row.output_density = OperatorOf(layer.kind).density(layer, inputs);
    if (layer.HasWeights()) SummariseWeights(config, layer, row);
    if ((layer.kind == LayerKind::kBatchNorm && layer.affine) ||
        layer.kind == LayerKind::kLayerNorm) {
      row.parameters = 2 * int64_t{layer.input.channels};
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string DescribeNetwork(const Config& config) {
  const Shape& in = config.network.input;
  std::string text = fmt::format("{}: input {}×{}×{} (height × width × channels){}, {} outputs\n\n",
                                 config.name, in.height, in.width, in.channels,
                                 config.network.normalise_input ? ", normalised by column" : "",
                                 config.network.class_count);
  const auto line = [&text](const auto&... columns) {
    text += fmt::format(fmt::runtime(kRowFormat), columns...);
  };
  line("layer", "kind", "output", "S", "lanes", "density", "non-zeros", "parameters", "MACs dense",
       "sparse-dense", "sparse-sparse", "activity");
  LayerSummary total;
  std::string before = kInputName;
  for (const LayerSummary& row : SummariseNetwork(config)) {
    const std::string output =
        fmt::format("{}×{}×{}", row.output.height, row.output.width, row.output.channels);
    const std::string parameters = row.parameters > 0 ? Grouped(row.parameters) : "";
    if (row.weights > 0) {
      line(row.name, row.kind, output, row.set_size, row.lanes,
           Percent(double(row.nonzeros) / double(row.weights)), Grouped(row.nonzeros), parameters,
           Grouped(row.macs_dense), Grouped(row.macs_sparse_dense), Grouped(row.macs_sparse_sparse),
           Percent(row.output_density));
    } else {
      line(row.name, row.kind, output, "", "", "", "", parameters, "", "", "",
           Percent(row.output_density));
    }
    if (row.reads != before) {
      text.pop_back();
      text += fmt::format("  reads {}\n", row.reads);
    }
    before = row.name;
    total.weights += row.weights;
    total.nonzeros += row.nonzeros;
    total.parameters += row.parameters;
    total.macs_dense += row.macs_dense;
    total.macs_sparse_dense += row.macs_sparse_dense;
    total.macs_sparse_sparse += row.macs_sparse_sparse;
  }
  const double density = total.weights > 0 ? double(total.nonzeros) / double(total.weights) : 0.0;
  line("total", "", "", "", "", Percent(density), Grouped(total.nonzeros),
       Grouped(total.parameters), Grouped(total.macs_dense), Grouped(total.macs_sparse_dense),
       Grouped(total.macs_sparse_sparse), "");
  text +=
      "\nactivity: largest part of the outputs that is not zero. MACs: multiplications of one "
      "sample.\n";
  const std::string int8 = Int8Fault(config);
  text += int8.empty()
              ? "int8: bisparse-export --format int8 can hold it.\n"
              : fmt::format("int8: bisparse-export --format int8 would refuse it: {}\n", int8);
  return text;
}

}  // namespace bisparse::train
