// SPDX-License-Identifier: Apache-2.0
// Read first: onnx_writer.h. Tested in: onnx_writer_test.cc.
// Past 400 lines: one writer, with one function for each kind of layer.
#include "apps/peers/onnx_writer.h"

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse::peers {
namespace {

using packed::LayerKind;
using Ints = std::vector<int64_t>;

template <typename T>
constexpr int kElementType = 0;
template <>
constexpr int kElementType<float> = onnx::TensorProto::FLOAT;
template <>
constexpr int kElementType<uint8_t> = onnx::TensorProto::UINT8;
template <>
constexpr int kElementType<int8_t> = onnx::TensorProto::INT8;
template <>
constexpr int kElementType<int32_t> = onnx::TensorProto::INT32;
template <>
constexpr int kElementType<int64_t> = onnx::TensorProto::INT64;

/// Appends nodes and tensors; every function returns the name of what it made.
class Graph {
 public:
  explicit Graph(onnx::GraphProto& graph) : graph_(graph) {}

  template <typename T>
  std::string Tensor(const std::string& name, const Ints& dims, const std::vector<T>& values) {
    onnx::TensorProto& tensor = *graph_.add_initializer();
    tensor.set_name(name);
    tensor.set_data_type(kElementType<T>);
    for (const int64_t dim : dims) tensor.add_dims(dim);
    tensor.set_raw_data(values.data(), values.size() * sizeof(T));
    return name;
  }
  std::string IntTensor(const std::string& name, const Ints& values) {
    return Tensor(name, {static_cast<int64_t>(values.size())}, values);
  }

  /// Several inputs, one output.
  std::string Node(const std::string& type, const std::string& name,
                   const std::vector<std::string>& inputs) {
    Node(type, name, 1, {});
    for (const std::string& input : inputs) node_->add_input(input);
    return name;
  }
  /// Its first output is called `name`, further ones `name`.1, …; attributes follow by Set….
  std::string Node(const std::string& type, const std::string& name, size_t outputs,
                   std::initializer_list<std::string> inputs) {
    node_ = graph_.add_node();
    node_->set_op_type(type);
    node_->set_name(name);
    for (const std::string& input : inputs) node_->add_input(input);
    for (size_t i = 0; i < outputs; ++i) {
      node_->add_output(i == 0 ? name : name + "." + std::to_string(i));
    }
    return name;
  }
  std::string Node(const std::string& type, const std::string& name,
                   std::initializer_list<std::string> inputs) {
    return Node(type, name, 1, inputs);
  }

  /// The last node's output gets another name; nothing may read it yet.
  void NameLast(const std::string& name) { node_->set_output(0, name); }

  void SetInts(const char* name, const Ints& values) {
    onnx::AttributeProto& attribute = *node_->add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute.add_ints(value);
  }
  void SetInt(const char* name, int64_t value) {
    onnx::AttributeProto& attribute = *node_->add_attribute();
    attribute.set_name(name);
    attribute.set_type(onnx::AttributeProto::INT);
    attribute.set_i(value);
  }

 private:
  onnx::GraphProto& graph_;
  onnx::NodeProto* node_ = nullptr;
};

void SetWindow(Graph& graph, const packed::Window& w) {
  graph.SetInts("kernel_shape", {w.kernel_h, w.kernel_w});
  graph.SetInts("strides", {w.stride_h, w.stride_w});
  graph.SetInts("pads", {w.pad_h, w.pad_w, w.pad_h, w.pad_w});
  if (w.IsDilated()) graph.SetInts("dilations", {w.dilation_h, w.dilation_w});
}

/// [outputs][positions] → [positions][outputs], the order of Gemm's second matrix.
template <typename T>
std::vector<T> Transposed(const std::vector<T>& weight_op, size_t outputs) {
  const size_t positions = weight_op.size() / outputs;
  std::vector<T> weight_po(weight_op.size());
  for (size_t o = 0; o < outputs; ++o) {
    for (size_t p = 0; p < positions; ++p)
      weight_po[p * outputs + o] = weight_op[o * positions + p];
  }
  return weight_po;
}

class Writer {
 public:
  Writer(const DenseNetwork& network, const OnnxOptions& options, onnx::GraphProto& graph)
      : network_(network), ranges_(options.ranges), graph_(graph) {}

  void Write() {
    at_ = {"input", false, {}};
    if (ranges_ != nullptr) Requantise("input", StepsOf(ranges_->input));
    values_ = {at_};
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      const DenseLayer& layer = network_.layers[i];
      at_ = ValueOf(layer.inputs[0]);
      const Steps steps = at_.steps;
      (this->*RowOf(kRows, layer, "ONNX").add)(layer);
      if (layer.relu) at_.name = graph_.Node("Relu", layer.name + ".relu", {at_.name});
      if (ranges_ != nullptr && i + 1 < network_.layers.size()) {
        // A pool's output in its input's steps: then runtimes pool the integers.
        const bool pool = layer.kind == LayerKind::kMaxPool || layer.kind == LayerKind::kAvgPool;
        Requantise(layer.name, pool ? steps : StepsOf(ranges_->layers[i]));
      }
      values_.push_back(at_);
    }
    if (at_.matrix) {
      graph_.NameLast("logits");
      return;
    }
    const Shape shape = network_.ShapeOf(static_cast<int32_t>(network_.layers.size()) - 1);
    if (shape.channels > 1 && shape.height * shape.width > 1) {
      Transpose("output.channels_last", {0, 2, 3, 1});
    }
    graph_.Node("Flatten", "logits", {at_.name});
  }

 private:
  /// A tensor that nodes read.
  struct Value {
    std::string name;
    bool matrix = false;  ///< it has the dimensions [batch][outputs], after a linear layer
    Steps steps;          ///< int8
  };
  const Value& ValueOf(int32_t value) const { return values_[static_cast<size_t>(value + 1)]; }

  void Requantise(const std::string& name, const Steps& steps) {
    const std::string scale = graph_.Tensor<float>(name + ".scale", {}, {steps.scale});
    const std::string zero = graph_.Tensor<uint8_t>(name + ".zero", {}, {steps.zero});
    const std::string quantised =
        graph_.Node("QuantizeLinear", name + ".u8", {at_.name, scale, zero});
    at_.name = graph_.Node("DequantizeLinear", name + ".real", {quantised, scale, zero});
    at_.steps = steps;
  }

  void AddAffine(const DenseLayer& layer) {
    const std::string& name = layer.name;
    ToMap(name, layer.input);
    const bool flat = static_cast<int64_t>(layer.bias_o.size()) != layer.output.channels;
    const Ints dims = flat ? Ints{layer.output.channels, layer.output.height, layer.output.width}
                           : Ints{layer.output.channels, 1, 1};
    const std::string factor = graph_.Tensor(name + ".factor", dims, layer.weight_op);
    const std::string shift = graph_.Tensor(name + ".shift", dims, layer.bias_o);
    const std::string scaled = graph_.Node("Mul", name + ".scaled", {at_.name, factor});
    at_.name = graph_.Node("Add", name, {scaled, shift});
  }
  /// ONNX has LayerNormalization from version 17 on: d / √(mean(d²) + epsilon), d = x − mean(x), then an affine.
  void AddLayerNorm(const DenseLayer& layer) {
    const std::string& name = layer.name;
    ToMap(name, layer.input);
    const auto mean = [&](const std::string& mean_name, const std::string& of) {
      graph_.Node("ReduceMean", mean_name, {of});
      graph_.SetInts("axes", layer.flat ? Ints{1, 2, 3} : Ints{1});
      graph_.SetInt("keepdims", 1);
      return mean_name;
    };
    const std::string distance =
        graph_.Node("Sub", name + ".distance", {at_.name, mean(name + ".mean", at_.name)});
    const std::string squares = graph_.Node("Mul", name + ".squares", {distance, distance});
    const std::string epsilon = graph_.Tensor<float>(name + ".epsilon", {}, {layer.epsilon});
    const std::string variance = mean(name + ".variance", squares);
    const std::string sum = graph_.Node("Add", name + ".sum", {variance, epsilon});
    const std::string deviation = graph_.Node("Sqrt", name + ".deviation", {sum});
    at_.name = graph_.Node("Div", name + ".normal", {distance, deviation});
    AddAffine(layer);
  }

  void AddPool(const DenseLayer& layer, const char* type) {
    ToMap(layer.name, layer.input);
    at_.name = graph_.Node(type, layer.name, {at_.name});
    SetWindow(graph_, layer.window);
  }
  void AddMaxPool(const DenseLayer& layer) { AddPool(layer, "MaxPool"); }
  void AddAvgPool(const DenseLayer& layer) { AddPool(layer, "AveragePool"); }

  void AddSigmoid(const DenseLayer& layer) {
    at_.name = graph_.Node("Sigmoid", layer.name, {at_.name});
  }
  /// ONNX has HardSwish from version 14 on: x · clip(x + 3, 0, 6) · 1/6.
  void AddHardSwish(const DenseLayer& layer) {
    const std::string& name = layer.name;
    const std::string zero = graph_.Tensor<float>(name + ".zero", {}, {0.0f});
    const std::string six = graph_.Tensor<float>(name + ".six", {}, {6.0f});
    const std::string three = graph_.Tensor<float>(name + ".three", {}, {3.0f});
    const std::string sixth = graph_.Tensor<float>(name + ".sixth", {}, {1.0f / 6});
    const std::string sum = graph_.Node("Add", name + ".sum", {at_.name, three});
    const std::string clipped = graph_.Node("Clip", name + ".clipped", {sum, zero, six});
    const std::string factor = graph_.Node("Mul", name + ".factor", {clipped, sixth});
    at_.name = graph_.Node("Mul", name, {at_.name, factor});
  }
  /// ONNX has Gelu from version 20 on: x · (1 + erf(x · √½)) · ½.
  void AddGelu(const DenseLayer& layer) {
    const std::string& name = layer.name;
    const std::string root = graph_.Tensor<float>(name + ".root", {}, {0.70710678f});
    const std::string one = graph_.Tensor<float>(name + ".one", {}, {1.0f});
    const std::string half = graph_.Tensor<float>(name + ".half", {}, {0.5f});
    const std::string scaled = graph_.Node("Mul", name + ".scaled", {at_.name, root});
    const std::string erf = graph_.Node("Erf", name + ".erf", {scaled});
    const std::string sum = graph_.Node("Add", name + ".sum", {erf, one});
    const std::string factor = graph_.Node("Mul", name + ".factor", {sum, half});
    at_.name = graph_.Node("Mul", name, {at_.name, factor});
  }
  void AddRelu(const DenseLayer& layer) { at_.name = graph_.Node("Relu", layer.name, {at_.name}); }

  /// The names of a layer's inputs, all of them maps.
  std::vector<std::string> Maps(const DenseLayer& layer) {
    std::vector<std::string> names;
    for (size_t k = 0; k < layer.inputs.size(); ++k) {
      at_ = ValueOf(layer.inputs[k]);
      ToMap(layer.name + ".input" + std::to_string(k), network_.ShapeOf(layer.inputs[k]));
      names.push_back(at_.name);
    }
    return names;
  }

  /// Pair by pair: the nodes take two inputs. A dimension of 1 is repeated by ONNX' own rule.
  void AddPairs(const DenseLayer& layer, const char* type) {
    const std::vector<std::string> maps = Maps(layer);
    std::string sum = maps[0];
    for (size_t k = 1; k < maps.size(); ++k) {
      const bool last = k + 1 == maps.size();
      sum = graph_.Node(type, last ? layer.name : layer.name + ".part" + std::to_string(k),
                        {sum, maps[k]});
    }
    at_.name = sum;
  }
  void AddSum(const DenseLayer& layer) { AddPairs(layer, "Add"); }
  void AddProduct(const DenseLayer& layer) { AddPairs(layer, "Mul"); }

  void AddConcat(const DenseLayer& layer) {
    at_.name = graph_.Node("Concat", layer.name, Maps(layer));
    graph_.SetInt("axis", 1);
  }

  /// s8 with a scale for each index of `axis`, back to real numbers.
  std::string Dequantised(const std::string& name, int64_t axis, const std::string& tensor,
                          const std::string& scale, const std::string& zero) {
    graph_.Node("DequantizeLinear", name, {tensor, scale, zero});
    graph_.SetInt("axis", axis);
    return name;
  }

  void AddWeights(const DenseLayer& layer) {
    const std::string& name = layer.name;
    const bool conv = layer.IsConvolution();
    if (conv) ToMap(name, layer.input);
    const auto outputs = static_cast<int64_t>(layer.bias_o.size());
    const Ints dims = conv ? Ints{outputs, layer.input.channels / layer.groups(),
                                  layer.window.kernel_h, layer.window.kernel_w}
                           : Ints{layer.input.elements(), outputs};
    const auto ordered = [&](const auto& weight_op) {
      return conv ? weight_op : Transposed(weight_op, static_cast<size_t>(outputs));
    };
    std::string weight, bias;
    if (ranges_ == nullptr) {
      weight = graph_.Tensor(name + ".weight", dims, ordered(layer.weight_op));
      bias = graph_.Tensor(name + ".bias", {outputs}, layer.bias_o);
    } else {
      QuantisedWeights q = QuantiseWeights(layer);
      // An output without weights may have any scale: one in which its bias has 2^20 steps.
      const auto positions = static_cast<ptrdiff_t>(q.weight_op.size() / q.scale_o.size());
      for (size_t o = 0; o < q.scale_o.size(); ++o) {
        const auto row = q.weight_op.begin() + static_cast<ptrdiff_t>(o) * positions;
        if (layer.bias_o[o] == 0 ||
            std::any_of(row, row + positions, [](int8_t w) { return w != 0; })) {
          continue;
        }
        q.scale_o[o] = std::abs(layer.bias_o[o]) / (1 << 20) / at_.steps.scale;
      }
      const auto zeros = std::vector<int8_t>(static_cast<size_t>(outputs));
      weight = Dequantised(name + ".weight", conv ? 0 : 1,
                           graph_.Tensor(name + ".weight.s8", dims, ordered(q.weight_op)),
                           graph_.Tensor(name + ".weight.scale", {outputs}, q.scale_o),
                           graph_.Tensor(name + ".weight.zero", {outputs}, zeros));
      std::vector<float> scale_o;
      std::vector<int32_t> bias_o;
      for (size_t o = 0; o < q.scale_o.size(); ++o) {
        scale_o.push_back(q.scale_o[o] * at_.steps.scale);
        bias_o.push_back(static_cast<int32_t>(std::lround(layer.bias_o[o] / scale_o.back())));
      }
      bias = Dequantised(
          name + ".bias", 0, graph_.Tensor(name + ".bias.s32", {outputs}, bias_o),
          graph_.Tensor(name + ".bias.scale", {outputs}, scale_o),
          graph_.Tensor(name + ".bias.zero", {outputs}, std::vector<int32_t>(bias_o.size())));
    }
    if (conv) {
      at_.name = graph_.Node("Conv", name, {at_.name, weight, bias});
      SetWindow(graph_, layer.window);
      graph_.SetInt("group", layer.groups());
      return;
    }
    if (!at_.matrix) {
      at_.name = graph_.Node("Flatten", name + ".in", {at_.name});
      // Runtimes fuse what lies directly between a pair of these.
      if (ranges_ != nullptr) Requantise(name + ".in", at_.steps);
    }
    at_.name = graph_.Node("Gemm", name, {at_.name, weight, bias});
    at_.matrix = true;
  }

  void Transpose(const std::string& name, const Ints& order) {
    at_.name = graph_.Node("Transpose", name, {at_.name});
    graph_.SetInts("perm", order);
  }
  void Reshape(const std::string& name, const Ints& dims) {
    at_.name = graph_.Node("Reshape", name, {at_.name, graph_.IntTensor(name + ".dims", dims)});
  }
  void ToMap(const std::string& name, const Shape& shape) {
    if (at_.matrix) Reshape(name + ".map", {-1, shape.channels, shape.height, shape.width});
    at_.matrix = false;
  }

  /// Ranks units in an axis of their own: [batch][positions][groups][units][chunk] for a local
  /// k-WTA; a global one ranks all positions' units of a group, [batch][groups][positions · units].
  void AddKwta(const DenseLayer& layer) {
    const std::string& name = layer.name;
    const packed::Kwta& k = layer.kwta;
    const Shape map = layer.input;
    const Shape logical = layer.flat ? Shape{1, 1, static_cast<int32_t>(map.elements())} : map;
    const int64_t positions = int64_t{logical.height} * logical.width;
    const int64_t units = logical.channels / k.groups / k.chunk;
    const bool global = k.scope == packed::KwtaScope::kGlobal && positions > 1;
    const std::string positive = graph_.Node("Relu", name + ".relu", {at_.name});
    at_.name = positive;
    if (!at_.matrix) Transpose(name + ".channels_last", {0, 2, 3, 1});
    Reshape(name + ".units", {-1, positions, k.groups, units, k.chunk});
    const std::string values = at_.name;
    if (k.chunk > 1) {
      at_.name = graph_.Node("ReduceSum", name + ".rank",
                             {at_.name, graph_.IntTensor(name + ".rank.axes", {4})});
      graph_.SetInt("keepdims", 1);
    }
    if (global) Transpose(name + ".by_group", {0, 2, 1, 3, 4});
    Reshape(name + ".ranks",
            {-1, global ? 1 : positions, k.groups, (global ? positions : 1) * units});
    const std::string ranks = at_.name;
    graph_.Node("TopK", name + ".winner", 2,
                {ranks, graph_.IntTensor(name + ".k", {k.winners / k.groups})});
    graph_.SetInt("axis", 3);
    // 0 · rank = 0 and 0 · rank + 1 = 1 give zeros and ones of the shapes that the batch asks for.
    const std::string zero = graph_.Tensor<float>(name + ".zero", {}, {0});
    const std::string one = graph_.Tensor<float>(name + ".one", {}, {1});
    const std::string zeros = graph_.Node("Mul", name + ".zeros", {ranks, zero});
    const std::string no_value = graph_.Node("Mul", name + ".no_value", {name + ".winner", zero});
    const std::string ones = graph_.Node("Add", name + ".ones", {no_value, one});
    at_.name = graph_.Node("ScatterElements", name + ".mask", {zeros, name + ".winner.1", ones});
    graph_.SetInt("axis", 3);
    if (global) {
      Reshape(name + ".mask_by_group", {-1, k.groups, positions, units, 1});
      Transpose(name + ".mask_by_position", {0, 2, 1, 3, 4});
    } else {
      Reshape(name + ".mask_of_units", {-1, positions, k.groups, units, 1});
    }
    at_.name = graph_.Node("Mul", name + ".winners", {values, at_.name});
    if (at_.matrix) {
      Reshape(name, {-1, map.channels});
    } else {
      Reshape(name + ".map", {-1, map.height, map.width, map.channels});
      Transpose(name, {0, 3, 1, 2});
    }
  }

  /// A row a kind: the nodes of its layers.
  struct Row {
    LayerKind kind;
    void (Writer::*add)(const DenseLayer&);
  };
  static constexpr Row kRows[] = {
      {LayerKind::kConv2d, &Writer::AddWeights},
      {LayerKind::kLinear, &Writer::AddWeights},
      {LayerKind::kAffine, &Writer::AddAffine},
      {LayerKind::kMaxPool, &Writer::AddMaxPool},
      {LayerKind::kAvgPool, &Writer::AddAvgPool},
      {LayerKind::kRelu, &Writer::AddRelu},
      {LayerKind::kKwta, &Writer::AddKwta},
      {LayerKind::kDepthwiseConv2d, &Writer::AddWeights},
      {LayerKind::kAdd, &Writer::AddSum},
      {LayerKind::kMultiply, &Writer::AddProduct},
      {LayerKind::kConcat, &Writer::AddConcat},
      {LayerKind::kSigmoid, &Writer::AddSigmoid},
      {LayerKind::kHardSwish, &Writer::AddHardSwish},
      {LayerKind::kGelu, &Writer::AddGelu},
      {LayerKind::kLayerNorm, &Writer::AddLayerNorm},
  };

  const DenseNetwork& network_;
  const Ranges* ranges_;
  Graph graph_;
  std::vector<Value> values_;  ///< the input, then the outputs of the layers so far
  Value at_;                   ///< what the next node reads
};

void Describe(onnx::ValueInfoProto& value, const char* name, int64_t batch, const Ints& dims) {
  value.set_name(name);
  auto& tensor = *value.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(onnx::TensorProto::FLOAT);
  auto& first = *tensor.mutable_shape()->add_dim();
  if (batch == 0) {
    first.set_dim_param("batch");
  } else {
    first.set_dim_value(batch);
  }
  for (const int64_t dim : dims) tensor.mutable_shape()->add_dim()->set_dim_value(dim);
}

}  // namespace

std::string OnnxFile(const DenseNetwork& network, const OnnxOptions& options) {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.set_producer_name("bisparse");
  auto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(13);
  onnx::GraphProto& graph = *model.mutable_graph();
  graph.set_name(network.name);
  const Shape& in = network.input;
  Describe(*graph.add_input(), "input", options.batch, {in.channels, in.height, in.width});
  Writer(network, options, graph).Write();
  Describe(*graph.add_output(), "logits", options.batch, {network.output_count()});
  std::string bytes;
  if (!model.SerializeToString(&bytes)) {
    Fail(ErrorKind::kData, network.name, "does not fit into an ONNX file of 2 GB");
  }
  return bytes;
}

void WriteOnnx(const packed::Model& model, const std::string& path) {
  WriteFileAtomically(path, OnnxFile(MakeDenseNetwork(Dequantise(model))));
}

}  // namespace bisparse::peers
