// SPDX-License-Identifier: Apache-2.0
// LibTorch as a peer of the benchmark: the network as TorchScript, frozen.
//
// In the peer's favour, the faster of two at start-up: optimize_for_inference, or channels last
// without it (max_pool2d is 10 times faster there); in a batch of one, linear is addmv (matrix by
// vector, 6 times faster than linear's matrix product of one row).
// Read first: serve.h, network.h. Tested in: peers_test.cc.
#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/torch.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>

#include "apps/peers/serve.h"
#include "apps/peers/turn.h"
#include "deploy/base/check.h"

namespace bisparse::peers {
namespace {

using packed::LayerKind;

/// A copy; maps and kernels channels last (empty + copy_: contiguous() would leave a single
/// channel's strides, which say channels first).
at::Tensor Tensor(const std::vector<float>& values, at::IntArrayRef sizes) {
  const at::Tensor view = torch::from_blob(const_cast<float*>(values.data()), sizes);
  if (sizes.size() != 4) return view.clone();
  return torch::empty(sizes, at::TensorOptions(), at::MemoryFormat::ChannelsLast).copy_(view);
}

std::string WindowText(const packed::Window& w) {
  return fmt::format("[{}, {}], [{}, {}]", w.stride_h, w.stride_w, w.pad_h, w.pad_w);
}

/// The layer's line of forward(); its tensors become parameters of the module.
std::string LayerLine(const DenseLayer& layer, size_t i, int64_t batch,
                      torch::jit::Module& module) {
  const auto outputs = static_cast<int64_t>(layer.bias_o.size());
  const Shape &in = layer.input, &out = layer.output;
  const packed::Window& w = layer.window;
  const std::string kernel = fmt::format("[{}, {}]", w.kernel_h, w.kernel_w);
  const auto add_parameters = [&](at::IntArrayRef weight_sizes, at::IntArrayRef bias_sizes) {
    module.register_parameter(fmt::format("w{}", i), Tensor(layer.weight_op, weight_sizes), false);
    module.register_parameter(fmt::format("b{}", i), Tensor(layer.bias_o, bias_sizes), false);
  };
  switch (layer.kind) {
    case LayerKind::kConv2d:
    case LayerKind::kDepthwiseConv2d:
      add_parameters({outputs, in.channels / layer.groups(), w.kernel_h, w.kernel_w}, {outputs});
      return fmt::format("torch.conv2d(x, self.w{0}, self.b{0}, {1}, [1, 1], {2})", i,
                         WindowText(w), layer.groups());
    case LayerKind::kLinear:
      add_parameters({outputs, in.elements()}, {outputs});
      if (batch == 1) {
        return fmt::format("torch.addmv(self.b{0}, self.w{0}, x.flatten()).view([1, -1])", i);
      }
      return fmt::format("torch.linear(x.flatten(1), self.w{0}, self.b{0})", i);
    case LayerKind::kAffine: {
      const bool flat = outputs != out.channels;
      const std::vector<int64_t> sizes = {out.channels, flat ? out.height : 1,
                                          flat ? out.width : 1};
      add_parameters(sizes, sizes);
      return fmt::format("x.view([-1, {1}, {2}, {3}]) * self.w{0} + self.b{0}", i, out.channels,
                         out.height, out.width);
    }
    case LayerKind::kMaxPool:
      return fmt::format("torch.max_pool2d(x.view([-1, {}, {}, {}]), {}, {}, [1, 1], False)",
                         in.channels, in.height, in.width, kernel, WindowText(w));
    case LayerKind::kAvgPool:
      return fmt::format("torch.avg_pool2d(x.view([-1, {}, {}, {}]), {}, {}, False, False)",
                         in.channels, in.height, in.width, kernel, WindowText(w));
    case LayerKind::kRelu:
      return "torch.relu(x)";
    case LayerKind::kKwta:
    case LayerKind::kFlatten:
    case LayerKind::kAdd:
    case LayerKind::kMultiply:
    case LayerKind::kConcat:
      break;
  }
  BISPARSE_CHECK(false);
}

torch::jit::Module MakeModule(const DenseNetwork& network, int64_t batch) {
  torch::jit::Module module("network");
  std::string forward = "def forward(self, x):\n";
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const DenseLayer& layer = network.layers[i];
    forward += "    x = " + LayerLine(layer, i, batch, module) + "\n";
    if (layer.relu) forward += "    x = torch.relu(x)\n";
  }
  const Shape& out = network.layers.back().output;
  if (out.height * out.width > 1) forward += "    x = x.permute([0, 2, 3, 1]).contiguous()\n";
  module.define(forward + "    return x\n");
  module.eval();
  return torch::jit::freeze(module);
}

RunBatch Make(const ServeSetup& setup) {
  at::set_num_threads(setup.threads);
  at::set_num_interop_threads(1);
  const Shape& in = setup.network.input;
  const std::vector<int64_t> sizes = {setup.batch, in.channels, in.height, in.width};
  const auto outputs = static_cast<size_t>(setup.batch * setup.network.output_count());
  RunBatch fastest;
  double fastest_us = INFINITY;
  for (const bool optimised : {true, false}) {
    const auto module =
        std::make_shared<torch::jit::Module>(MakeModule(setup.network, setup.batch));
    if (optimised) *module = torch::jit::optimize_for_inference(*module);
    const RunBatch run = [module, sizes, outputs](const float* x_bi, float* y_bo) {
      const torch::InferenceMode no_gradients;
      const at::Tensor x = torch::from_blob(const_cast<float*>(x_bi), sizes);
      const at::Tensor y = module->forward({x}).toTensor();
      std::memcpy(y_bo, y.data_ptr<float>(), outputs * sizeof(float));
    };
    std::vector<float> unused_bo(outputs);
    // The executor profiles its first runs and compiles what it saw.
    for (int i = 0; i < 5; ++i) run(setup.x_bi.data(), unused_bo.data());
    const double us = MedianUs([&] { run(setup.x_bi.data(), unused_bo.data()); });
    if (us >= fastest_us) continue;
    fastest_us = us;
    fastest = run;
  }
  return fastest;
}

}  // namespace
}  // namespace bisparse::peers

int main(int argc, char** argv) {
  return bisparse::peers::ServePeer(argc, argv, bisparse::peers::Make);
}
