// SPDX-License-Identifier: Apache-2.0
// Read first: packed_layer.h. Tested in: packed_layer_test.cc.
#include "train/nn/packed_layer.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "deploy/base/check.h"

namespace bisparse::train {
namespace {

using kernels::PreparedTraining;

/// Inputs of neighbouring samples, by channel: what one call of the winners' kernels reads.
struct SampleBlock {
  int64_t first = 0, samples = 0;
  std::vector<int32_t> begin_c, sample_e, position_e;
  std::vector<float> value_e;

  kernels::ListedInputs View() const {
    return {begin_c.data(), sample_e.data(), position_e.data(), value_e.data()};
  }
};

using Blocks = std::vector<SampleBlock>;

/// x_bqc is the whole batch; all: zeros too.
void ListBlock(const PreparedTraining& layer, const float* x_bqc, bool all, SampleBlock& block) {
  const auto& plan = layer.winners;
  const int32_t samples = static_cast<int32_t>(block.samples);
  const float* const x = x_bqc + block.first * plan.positions * plan.channels;
  std::vector<int32_t> next_c(static_cast<size_t>(plan.channels), samples * plan.positions);
  if (!all) {
    kernels::CountInputsF32(x, int64_t{samples} * plan.positions, plan.channels, next_c.data());
  }
  block.begin_c.assign(1, 0);
  for (int32_t& count : next_c) {
    const int32_t begin = block.begin_c.back();
    block.begin_c.push_back(begin + count);
    count = begin;
  }
  const auto total = static_cast<size_t>(block.begin_c.back());
  block.sample_e.resize(total);
  block.position_e.resize(total);
  block.value_e.resize(total);
  kernels::ListInputsF32({x, samples, plan.positions, plan.channels, all, plan.order_q,
                          next_c.data(), block.sample_e.data(), block.position_e.data(),
                          block.value_e.data()});
}

/// So many samples that the outputs of a block of maps stay in L1, those of flat values in L2: there a channel's weights are
/// read for the few samples in which it won. At most a thread's part of the batch.
int64_t SamplesOfBlock(const PreparedTraining& layer, int64_t batch) {
  const int64_t bytes = int64_t{layer.winners.outputs} * layer.winners.width * 4;
  const int64_t room = layer.winners.outputs > 1 ? 32 << 10 : 1 << 20;
  const int64_t threads = at::get_num_threads();
  return std::clamp<int64_t>(room / bytes, 1, (batch + threads - 1) / threads);
}

Blocks MakeBlocks(const PreparedTraining& layer, int64_t batch) {
  const int64_t samples = SamplesOfBlock(layer, batch);
  Blocks blocks(static_cast<size_t>((batch + samples - 1) / samples));
  for (size_t i = 0; i < blocks.size(); ++i) {
    blocks[i].first = static_cast<int64_t>(i) * samples;
    blocks[i].samples = std::min(samples, batch - blocks[i].first);
  }
  return blocks;
}

template <class F>
void ForEachBlock(Blocks& blocks, const F& f) {
  at::parallel_for(0, static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(blocks[static_cast<size_t>(i)]);
  });
}

/// A linear layer's grid is its batch: the same entries serve every sample.
bool IsFlat(const PreparedTraining& layer) {
  return layer.padded_h == 1 && layer.padded_w == 1 && layer.winners.taps == 1;
}

/// One sample's map between zeros; x itself where there is nothing to add. `room` is kept from sample to sample.
const float* Padded(const PreparedTraining& layer, const torch::Tensor& x_bhwc, int64_t b,
                    std::vector<float>& room) {
  const int64_t h = x_bhwc.size(1), row = x_bhwc.size(2) * x_bhwc.size(3);
  const float* const x = x_bhwc.data_ptr<float>() + b * h * row;
  const int64_t pad_h = (layer.padded_h - h) / 2;
  const int64_t pad_w = (layer.padded_w - x_bhwc.size(2)) / 2;
  if (pad_h == 0 && pad_w == 0) return x;
  const int64_t padded_row = layer.padded_w * x_bhwc.size(3);
  room.resize(static_cast<size_t>(layer.padded_h * padded_row));
  for (int64_t y = 0; y < h; ++y) {
    std::copy_n(x + y * row, row, room.data() + (y + pad_h) * padded_row + pad_w * x_bhwc.size(3));
  }
  return room.data();
}

void DenseForward(const PreparedTraining& layer, const torch::Tensor& x_bhwc, const float* weight,
                  const float* bias, float* y) {
  const int64_t batch = x_bhwc.size(0), map = int64_t{layer.winners.outputs} * layer.winners.width;
  at::parallel_for(0, batch, 1, [&](int64_t begin, int64_t end) {
    kernels::DenseTrainingF32Args args = layer.dense;
    if (IsFlat(layer)) {
      args.columns = end - begin;
      args.x = x_bhwc.data_ptr<float>() + begin * layer.winners.channels;
      kernels::DenseForwardF32(args, weight, bias, y + begin * map);
      return;
    }
    std::vector<float> room;
    for (int64_t b = begin; b < end; ++b) {
      args.x = Padded(layer, x_bhwc, b, room);
      kernels::DenseForwardF32(args, weight, bias, y + b * map);
    }
  });
}

/// Parts of a batch whose gradients are summed apart and then added in their order. By sizes alone, whatever the threads.
int64_t PartsOf(int64_t batch, int64_t floats) {
  constexpr int64_t kMostParts = 16, kMostFloats = 1 << 21;
  return std::clamp<int64_t>(std::min(kMostParts, kMostFloats / std::max<int64_t>(floats, 1)), 1,
                             batch);
}

/// Σ over the parts, added in their order; parts is [parts][floats].
torch::Tensor AddParts(const torch::Tensor& parts) {
  torch::Tensor sum = parts[0].clone();
  for (int64_t i = 1; i < parts.size(0); ++i) sum += parts[i];
  return sum;
}

/// f(part, first sample, end) for each of them, in parallel.
template <class F>
void ForEachPart(int64_t parts, int64_t batch, const F& f) {
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i, batch * i / parts, batch * (i + 1) / parts);
  });
}

torch::Tensor BiasGradient(const PreparedTraining& layer, const torch::Tensor& dy, int64_t batch) {
  const int64_t width = layer.winners.width;
  torch::Tensor parts = torch::zeros({PartsOf(batch, width), width}, dy.options());
  ForEachPart(parts.size(0), batch, [&](int64_t part, int64_t begin, int64_t end) {
    kernels::AddRowsF32(dy.data_ptr<float>() + begin * layer.winners.outputs * width,
                        (end - begin) * layer.winners.outputs, width,
                        parts.data_ptr<float>() + part * width);
  });
  return AddParts(parts);
}

torch::Tensor DenseWeightGradient(const PreparedTraining& layer, const torch::Tensor& x_bhwc,
                                  const torch::Tensor& dy, at::IntArrayRef sizes) {
  const int64_t batch = x_bhwc.size(0), map = int64_t{layer.winners.outputs} * layer.winners.width;
  int64_t slots = 1;
  for (const int64_t size : sizes) slots *= size;
  const float* const dy_data = dy.data_ptr<float>();
  if (IsFlat(layer)) {
    torch::Tensor dweight = torch::zeros(sizes, dy.options());
    at::parallel_for(0, layer.dense.block_end, 1, [&](int64_t begin, int64_t end) {
      kernels::DenseTrainingF32Args args = layer.dense;
      args.columns = batch;
      args.x = x_bhwc.data_ptr<float>();
      args.block_begin = static_cast<int32_t>(begin);
      args.block_end = static_cast<int32_t>(end);
      kernels::DenseWeightGradientF32(args, dy_data, dweight.data_ptr<float>(), nullptr);
    });
    return dweight;
  }
  torch::Tensor parts = torch::zeros({PartsOf(batch, slots), slots}, dy.options());
  ForEachPart(parts.size(0), batch, [&](int64_t part, int64_t begin, int64_t end) {
    kernels::DenseTrainingF32Args args = layer.dense;
    std::vector<float> room;
    for (int64_t b = begin; b < end; ++b) {
      args.x = Padded(layer, x_bhwc, b, room);
      kernels::DenseWeightGradientF32(args, dy_data + b * map,
                                      parts.data_ptr<float>() + part * slots, nullptr);
    }
  });
  return AddParts(parts).view(sizes);
}

/// What backward needs; LibTorch keeps it with the graph.
struct Saved : torch::CustomClassHolder {
  PreparedLayer layer;
  Blocks blocks;  ///< of a gated input
  bool gated = false, flat = false;
};

/// Channels last, whatever the form of x.
torch::Tensor ChannelsLast(const torch::Tensor& x) {
  if (x.dim() == 2) return x.contiguous().view({x.size(0), 1, 1, x.size(1)});
  return x.permute({0, 2, 3, 1}).contiguous();
}

class PackedLayerFunction : public torch::autograd::Function<PackedLayerFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight_pnl, const torch::Tensor& bias_o,
                               const PreparedLayer& layer, bool gated) {
    const auto& plan = layer->winners;
    auto saved = c10::make_intrusive<Saved>();
    saved->layer = layer;
    saved->gated = gated;
    saved->flat = x.dim() == 2;
    const torch::Tensor x_bhwc = ChannelsLast(x), weight = weight_pnl.contiguous();
    const int64_t batch = x.size(0), outputs = bias_o.size(0);
    BISPARSE_CHECK(x_bhwc.numel() == batch * plan.positions * plan.channels);
    const torch::Tensor bias = torch::constant_pad_nd(bias_o, {0, plan.width - outputs});
    torch::Tensor y = torch::empty({batch, plan.outputs, plan.width}, x.options());
    const float* const x_data = x_bhwc.data_ptr<float>();
    if (gated) {
      saved->blocks = MakeBlocks(*layer, batch);
      ForEachBlock(saved->blocks, [&](SampleBlock& block) {
        ListBlock(*layer, x_data, /*all=*/false, block);
        kernels::WinnersForwardF32(plan, block.View(), static_cast<int32_t>(block.samples),
                                   weight.data_ptr<float>(), bias.data_ptr<float>(),
                                   y.data_ptr<float>() + block.first * plan.outputs * plan.width);
      });
      context->save_for_backward({weight_pnl});
    } else {
      DenseForward(*layer, x_bhwc, weight.data_ptr<float>(), bias.data_ptr<float>(),
                   y.data_ptr<float>());
      context->save_for_backward({weight_pnl, x_bhwc});
    }
    context->saved_data["saved"] = c10::IValue::make_capsule(saved);
    context->saved_data["sizes"] = x.sizes();
    context->saved_data["outputs"] = outputs;
    if (plan.width != outputs) y = y.narrow(2, 0, outputs).contiguous();
    if (saved->flat) return y.view({batch, outputs});
    const int64_t out_w = layer->dense.columns;
    return y.view({batch, plan.outputs / out_w, out_w, outputs}).permute({0, 3, 1, 2});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto capsule = context->saved_data["saved"].toCapsule();
    Saved& saved = *static_cast<Saved*>(capsule.get());
    const PreparedTraining& layer = *saved.layer;
    const auto& plan = layer.winners;
    const auto variables = context->get_saved_variables();
    const torch::Tensor weight = variables[0].contiguous();
    const std::vector<int64_t> sizes = context->saved_data["sizes"].toIntVector();
    const int64_t batch = sizes[0], outputs = context->saved_data["outputs"].toInt();
    torch::Tensor dy = ChannelsLast(grads[0]).view({batch, plan.outputs, outputs});
    if (plan.width != outputs) dy = torch::constant_pad_nd(dy, {0, plan.width - outputs});

    const bool wants_x = context->needs_input_grad(0), wants_weight = context->needs_input_grad(1),
               wants_bias = context->needs_input_grad(2);
    torch::Tensor dx, dweight, dbias;
    if (wants_bias) dbias = BiasGradient(layer, dy, batch).narrow(0, 0, outputs);
    if (wants_x) dx = torch::zeros({batch, plan.positions, plan.channels}, dy.options());
    const bool sparse_weight = wants_weight && saved.gated;
    if (sparse_weight) dweight = torch::zeros(weight.sizes(), dy.options());
    if (wants_weight && !saved.gated) {
      dweight = DenseWeightGradient(layer, variables[1], dy, weight.sizes());
    }
    if (sparse_weight || wants_x) {
      if (!saved.gated) {
        saved.blocks = MakeBlocks(layer, batch);
        ForEachBlock(saved.blocks, [&](SampleBlock& block) {
          ListBlock(layer, variables[1].data_ptr<float>(), /*all=*/true, block);
        });
      }
      // A thread has all gradients of its channels, so none is added up from parts.
      at::parallel_for(0, plan.channels, 1, [&](int64_t begin, int64_t end) {
        for (const SampleBlock& block : saved.blocks) {
          const int64_t first_y = block.first * plan.outputs * plan.width;
          const int64_t first_x = block.first * plan.positions * plan.channels;
          kernels::WinnersBackwardF32(
              plan, block.View(),
              {.channel_begin = static_cast<int32_t>(begin),
               .channel_end = static_cast<int32_t>(end),
               .weight_pnl = weight.data_ptr<float>(),
               .dy_sqo = dy.data_ptr<float>() + first_y,
               .dweight_pnl = sparse_weight ? dweight.data_ptr<float>() : nullptr,
               .dx_sqc = wants_x ? dx.data_ptr<float>() + first_x : nullptr});
        }
      });
    }
    if (wants_x) {
      dx = saved.flat ? dx.view(sizes)
                      : dx.view({batch, sizes[2], sizes[3], sizes[1]}).permute({0, 3, 1, 2});
    }
    return {dx, dweight, dbias, torch::Tensor(), torch::Tensor()};
  }
};

/// i64 [slots]: where each slot's weight lies in weight_op; -1 for the slots of empty kernels.
torch::Tensor IndexOfSlots(const packed::Layout& layout, std::span<const uint8_t> owner_nr) {
  torch::Tensor index = torch::full({layout.slots()}, -1, torch::kInt64);
  int64_t* const to = index.data_ptr<int64_t>();
  layout.ForEachSlot(owner_nr, [&](int64_t p, int32_t, int32_t, int64_t o, int64_t slot) {
    to[slot] = o * layout.positions + p;
  });
  return index;
}

}  // namespace

PreparedLayer PrepareLayer(const LayerConfig& config, const packed::Layout& layout,
                           std::span<const uint8_t> owner_nr) {
  Shape input = config.input, output = config.output;
  packed::Window window = config.window;
  if (!config.IsConvolution()) {
    input = {1, 1, config.kernel.channels};
    output = {1, 1, config.kernel.outputs};
    window = {};
  }
  return std::make_shared<const PreparedTraining>(
      kernels::PrepareTraining(layout, window, input, output, owner_nr));
}

torch::Tensor ApplyPackedLayer(const PreparedLayer& layer, const torch::Tensor& x,
                               const torch::Tensor& weight_pnl, const torch::Tensor& bias,
                               int64_t outputs, bool gated) {
  const torch::Tensor bias_o = bias.defined() ? bias : torch::zeros({outputs}, x.options());
  return PackedLayerFunction::apply(x, weight_pnl, bias_o, layer, gated);
}

torch::Tensor PackTensor(const packed::Layout& layout, std::span<const uint8_t> owner_nr,
                         const torch::Tensor& weight_op) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor index = IndexOfSlots(layout, owner_nr);
  torch::Tensor packed = weight_op.detach().reshape({-1}).index_select(0, index.clamp_min(0));
  packed.masked_fill_(index.lt(0), 0.0);
  return packed.view({layout.positions, layout.sets, layout.packing.lanes});
}

torch::Tensor UnpackTensor(const packed::Layout& layout, std::span<const uint8_t> owner_nr,
                           const torch::Tensor& weight_pnl) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor index = IndexOfSlots(layout, owner_nr), real = index.ge(0);
  torch::Tensor weight_op = torch::zeros({layout.shape.weights()}, weight_pnl.options());
  weight_op.index_copy_(0, index.masked_select(real),
                        weight_pnl.detach().reshape({-1}).masked_select(real));
  return weight_op.view({layout.shape.outputs, layout.positions});
}

}  // namespace bisparse::train
