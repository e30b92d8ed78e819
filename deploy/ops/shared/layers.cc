// SPDX-License-Identifier: Apache-2.0
// Read first: layers.h.
#include "deploy/ops/shared/layers.h"

#include <algorithm>

#include "deploy/base/size.h"
#include "deploy/ops/shared/rounded_bias.h"

namespace bisparse::ops {

using packed::Layer;
using packed::LayerKind;

bool IsPoolOfTwo(const Layer& layer) {
  return layer.kind == LayerKind::kMaxPool &&
         layer.window == packed::Window{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2};
}

kernels::KwtaF32Args KwtaSizesOf(const Layer& kwta) {
  return {.positions = kwta.input.height * kwta.input.width,
          .channels = kwta.input.channels,
          .winners = kwta.kwta.winners,
          .groups = kwta.kwta.groups,
          .chunk = kwta.kwta.chunk,
          .global = kwta.kwta.scope == packed::KwtaScope::kGlobal};
}

int64_t WinnersOf(const Layer& kwta) { return kernels::KwtaCountF32(KwtaSizesOf(kwta)); }

int32_t WinnersAtPosition(const Layer& kwta) {
  return kwta.kwta.scope == packed::KwtaScope::kGlobal ? 0 : kwta.kwta.winners * kwta.kwta.chunk;
}

int32_t OneWinnerGroup(const Layer& kwta) {
  if (kwta.kind != LayerKind::kKwta || kwta.kwta.scope != packed::KwtaScope::kLocal ||
      kwta.kwta.chunk != 1 || kwta.kwta.winners != kwta.kwta.groups) {
    return 0;
  }
  const int32_t width = kwta.input.channels / kwta.kwta.groups;
  return width == 8 || width == 16 ? width : 0;
}

kernels::PoolShape PoolShapeOf(const Layer& layer) {
  return {.in_h = layer.input.height,
          .in_w = layer.input.width,
          .channels = layer.input.channels,
          .kernel_h = layer.window.kernel_h,
          .kernel_w = layer.window.kernel_w,
          .stride_h = layer.window.stride_h,
          .stride_w = layer.window.stride_w,
          .pad_h = layer.window.pad_h,
          .pad_w = layer.window.pad_w,
          .dilation_h = layer.window.dilation_h,
          .dilation_w = layer.window.dilation_w};
}

const char* ReasonOf(const Node& node, bool reads_winners, bool packed_weights) {
  const bool sparse = node.layer->packing.set_size > 1;
  if (node.mode == Mode::kDense) return "mode dense";
  if (sparse && !packed_weights) return "no sparse kernel for these owners: dense";
  if (reads_winners) return sparse ? "weights and inputs are sparse" : "inputs are sparse";
  if (node.mode == Mode::kSparseDense) return sparse ? "mode sparse_dense" : "weights are dense";
  return sparse ? "input is dense" : "input and weights are dense";
}

void Tell(const Held& held, LayerSummary& summary) {
  summary.macs_executed = held.macs_executed;
  summary.weight_bytes = held.weight_bytes;
  summary.active_inputs = held.active_inputs;
}

void TellChannels(const Layer& layer, LayerSummary& summary) {
  summary.nonzeros = summary.weights_dense = layer.input.channels;
  summary.weight_bytes = int64_t{layer.input.channels} * 8;
  summary.macs_dense = summary.macs_executed = layer.input.elements();
}

DenseRows::DenseRows(const packed::Layout& layout, const Layer& layer) {
  const int64_t pitch = Size(layout.shape.outputs).RoundUp(16).value();
  bytes = (layout.positions + 1) * pitch * 4;
  weight_po = layer.weight_pnl.data();
  if (layout.packing.set_size > 1 || layout.packing.lanes != 16) {
    own_weight_ = AlignedBuffer<float>(static_cast<size_t>(layout.positions * pitch));
    layout.ForEachSlot(layer.owner_nr, [&](int64_t p, int32_t, int32_t, int64_t o, int64_t slot) {
      own_weight_.data()[p * pitch + o] = layer.weight_pnl[static_cast<size_t>(slot)];
    });
    weight_po = own_weight_.data();
  }
  bias_o = layer.bias_o.data();
  if (layout.outputs_padded() < pitch) {
    own_bias_ = AlignedBuffer<float>(static_cast<size_t>(pitch));
    std::copy_n(layer.bias_o.data(), layout.shape.outputs, own_bias_.data());
    bias_o = own_bias_.data();
  }
}

Ends::Ends(const Layer& layer, int64_t outputs)
    : bias_o(static_cast<size_t>(Size(outputs).RoundUp(16).value())), shift_o(bias_o.size()) {
  for (size_t o = 0; o < std::min<size_t>(layer.bias_i32_o.size(), bias_o.size()); ++o) {
    shift_o.data()[o] = layer.shift_o.empty() ? 0 : layer.shift_o[o];
    bias_o.data()[o] = RoundedBias(layer, o);
  }
}

}  // namespace bisparse::ops
