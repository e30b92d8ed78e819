// SPDX-License-Identifier: Apache-2.0
// Read first: describe.h. Tested in: engine_test.cc.
#include "deploy/engine/describe.h"

#include "deploy/packed/pack.h"

namespace bisparse {

LayerSummary Describe(const packed::Layer& layer) {
  LayerSummary summary{.name = layer.name,
                       .kind = packed::LayerKindName(layer.kind),
                       .kernel = "none",
                       .input = layer.input,
                       .output = layer.output,
                       .active_inputs = layer.input.elements()};
  if (layer.HasWeights()) {
    const packed::Layout layout(layer.kernel(), layer.packing);
    const int64_t positions = int64_t{layer.output.height} * layer.output.width;
    summary.weights_dense = layout.shape.weights();
    summary.macs_dense = summary.macs_executed = positions * summary.weights_dense;
    summary.nonzeros = packed::CountOwned(layout, layer.owner_nr);
    summary.set_size = layer.packing.set_size;
    summary.lanes = layer.packing.lanes;
  }
  return summary;
}

bool IsPoolOfTwo(const packed::Layer& layer) {
  return layer.kind == packed::LayerKind::kMaxPool &&
         layer.window == packed::Window{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2};
}

kernels::KwtaF32Args KwtaSizesOf(const packed::Layer& layer) {
  return {.positions = layer.input.height * layer.input.width,
          .channels = layer.input.channels,
          .winners = layer.kwta.winners,
          .groups = layer.kwta.groups,
          .chunk = layer.kwta.chunk,
          .global = layer.kwta.scope == packed::KwtaScope::kGlobal};
}

int32_t OneWinnerGroup(const packed::Layer& layer) {
  if (layer.kind != packed::LayerKind::kKwta || layer.kwta.scope != packed::KwtaScope::kLocal ||
      layer.kwta.chunk != 1 || layer.kwta.winners != layer.kwta.groups) {
    return 0;
  }
  const int32_t width = layer.input.channels / layer.kwta.groups;
  return width == 8 || width == 16 ? width : 0;
}

kernels::PoolShape PoolShapeOf(const packed::Layer& layer) {
  return {.in_h = layer.input.height,
          .in_w = layer.input.width,
          .channels = layer.input.channels,
          .kernel_h = layer.window.kernel_h,
          .kernel_w = layer.window.kernel_w,
          .stride_h = layer.window.stride_h,
          .stride_w = layer.window.stride_w,
          .pad_h = layer.window.pad_h,
          .pad_w = layer.window.pad_w};
}

}  // namespace bisparse
