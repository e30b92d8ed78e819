// SPDX-License-Identifier: Apache-2.0
// LibTorch as a peer of the benchmark: the network as TorchScript, frozen.
//
// In the peer's favour, the faster of two at start-up: optimize_for_inference, or channels last
// without it (max_pool2d is 10 times faster there); in a batch of one, linear is addmv (matrix by
// vector, 6 times faster than linear's matrix product of one row).
// Read first: serve.h, network.h. Tested in: peers_test.cc.
#include <fmt/format.h>
#include <fmt/ranges.h>
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

/// The network as lines of forward(); tensors become parameters of the module.
class Script {
 public:
  Script(const DenseNetwork& network, int64_t batch, torch::jit::Module& module)
      : network_(network), batch_(batch), module_(module) {}

  std::string Text() {
    std::string text = "def forward(self, x):\n";
    for (i_ = 0; i_ < network_.layers.size(); ++i_) {
      const DenseLayer& layer = network_.layers[i_];
      std::string line = (this->*RowOf(kRows, layer, "LibTorch").line)(layer);
      if (layer.relu) line = fmt::format("torch.relu({})", line);
      text += fmt::format("    v{} = {}\n", i_, line);
    }
    const Shape& out = network_.layers.back().output;
    const bool map = out.height * out.width > 1;
    return text + fmt::format("    return v{}{}\n", network_.layers.size() - 1,
                              map ? ".permute([0, 2, 3, 1]).contiguous()" : "");
  }

 private:
  static std::string Value(int32_t value) { return value < 0 ? "x" : fmt::format("v{}", value); }
  static std::string Input(const DenseLayer& layer) { return Value(layer.inputs[0]); }
  /// A value as a map.
  std::string Map(int32_t value) const {
    if (!IsMatrix(value)) return Value(value);
    return fmt::format("{}.view([-1, {}, 1, 1])", Value(value), network_.ShapeOf(value).channels);
  }
  /// Linear layers give [batch][outputs], and what keeps the shape after them.
  bool IsMatrix(int32_t value) const {
    if (value < 0) return false;
    const DenseLayer& layer = network_.layers[static_cast<size_t>(value)];
    return layer.kind == LayerKind::kLinear ||
           (layer.kind == LayerKind::kRelu && IsMatrix(layer.inputs[0]));
  }
  std::string Map(const DenseLayer& layer) const { return Map(layer.inputs[0]); }

  void AddParameters(const DenseLayer& layer, at::IntArrayRef weight_sizes,
                     at::IntArrayRef bias_sizes) {
    module_.register_parameter(fmt::format("w{}", i_), Tensor(layer.weight_op, weight_sizes),
                               false);
    module_.register_parameter(fmt::format("b{}", i_), Tensor(layer.bias_o, bias_sizes), false);
  }

  std::string Convolution(const DenseLayer& layer) {
    const auto outputs = static_cast<int64_t>(layer.bias_o.size());
    const packed::Window& w = layer.window;
    AddParameters(layer, {outputs, layer.input.channels / layer.groups(), w.kernel_h, w.kernel_w},
                  {outputs});
    return fmt::format("torch.conv2d({1}, self.w{0}, self.b{0}, {2}, [{3}, {4}], {5})", i_,
                       Map(layer), WindowText(w), w.dilation_h, w.dilation_w, layer.groups());
  }

  std::string Linear(const DenseLayer& layer) {
    const auto outputs = static_cast<int64_t>(layer.bias_o.size());
    AddParameters(layer, {outputs, layer.input.elements()}, {outputs});
    if (batch_ == 1) {
      return fmt::format("torch.addmv(self.b{0}, self.w{0}, {1}.flatten()).view([1, -1])", i_,
                         Input(layer));
    }
    return fmt::format("torch.linear({1}.flatten(1), self.w{0}, self.b{0})", i_, Input(layer));
  }

  std::string Affine(const DenseLayer& layer) {
    const Shape& out = layer.output;
    const bool flat = static_cast<int64_t>(layer.bias_o.size()) != out.channels;
    const std::vector<int64_t> sizes = {out.channels, flat ? out.height : 1, flat ? out.width : 1};
    AddParameters(layer, sizes, sizes);
    return fmt::format("{1} * self.w{0} + self.b{0}", i_, Map(layer));
  }

  std::string LayerNorm(const DenseLayer& layer) {
    const Shape& out = layer.output;
    std::vector<int64_t> sizes = {out.channels};
    if (layer.flat) sizes.insert(sizes.end(), {out.height, out.width});
    AddParameters(layer, sizes, sizes);
    const auto call = [&](const std::string& x) {
      return fmt::format("torch.layer_norm({1}, [{2}], self.w{0}, self.b{0}, {3:.9e})", i_, x,
                         fmt::join(sizes, ", "), layer.epsilon);
    };
    if (layer.flat) return call(Map(layer));
    return call(Map(layer) + ".permute([0, 2, 3, 1])") + ".permute([0, 3, 1, 2])";
  }

  std::string MaxPool(const DenseLayer& layer) {
    const packed::Window& w = layer.window;
    return fmt::format("torch.max_pool2d({}, [{}, {}], {}, [1, 1], False)", Map(layer), w.kernel_h,
                       w.kernel_w, WindowText(w));
  }

  std::string AvgPool(const DenseLayer& layer) {
    const packed::Window& w = layer.window;
    return fmt::format("torch.avg_pool2d({}, [{}, {}], {}, False, False)", Map(layer), w.kernel_h,
                       w.kernel_w, WindowText(w));
  }

  std::string Relu(const DenseLayer& layer) { return fmt::format("torch.relu({})", Input(layer)); }

  std::string Joined(const DenseLayer& layer, const char* between) {
    std::string text;
    for (const int32_t value : layer.inputs) text += (text.empty() ? "" : between) + Map(value);
    return text;
  }
  std::string Sum(const DenseLayer& layer) { return Joined(layer, " + "); }
  std::string Product(const DenseLayer& layer) { return Joined(layer, " * "); }
  std::string Concat(const DenseLayer& layer) {
    return fmt::format("torch.cat([{}], 1)", Joined(layer, ", "));
  }

  /// A row a kind: the right side of its line.
  struct Row {
    LayerKind kind;
    std::string (Script::*line)(const DenseLayer&);
  };
  static constexpr Row kRows[] = {
      {LayerKind::kConv2d, &Script::Convolution},
      {LayerKind::kLinear, &Script::Linear},
      {LayerKind::kAffine, &Script::Affine},
      {LayerKind::kMaxPool, &Script::MaxPool},
      {LayerKind::kAvgPool, &Script::AvgPool},
      {LayerKind::kRelu, &Script::Relu},
      {LayerKind::kDepthwiseConv2d, &Script::Convolution},
      {LayerKind::kAdd, &Script::Sum},
      {LayerKind::kMultiply, &Script::Product},
      {LayerKind::kConcat, &Script::Concat},
      {LayerKind::kLayerNorm, &Script::LayerNorm},
  };

  const DenseNetwork& network_;
  const int64_t batch_;
  torch::jit::Module& module_;
  size_t i_ = 0;  ///< the layer whose line is being written
};

torch::jit::Module MakeModule(const DenseNetwork& network, int64_t batch) {
  torch::jit::Module module("network");
  module.define(Script(network, batch, module).Text());
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
