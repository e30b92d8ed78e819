// SPDX-License-Identifier: Apache-2.0
// What the ONNX writer wrote, read back by ONNX's own classes: it passes ONNX's checker and shape
// inference, and the weights are those of the network. That it computes the same: peers_test.cc.
#include "apps/peers/onnx_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include <cstring>
#include <fstream>
#include <map>

#include "deploy/ops/activation/op.h"
#include "deploy/packed/example_model.h"

namespace bisparse::peers {
namespace {

onnx::ModelProto Parse(const std::string& bytes) {
  onnx::ModelProto model;
  EXPECT_TRUE(model.ParseFromString(bytes));
  return model;
}

/// Checks types and shapes of every node; throws on a fault, and where an inferred shape is not the
/// one that the file states.
void Check(const onnx::ModelProto& model) {
  onnx::checker::check_model(model);
  onnx::ModelProto inferred = model;
  const onnx::ShapeInferenceOptions strict(/*check_type=*/true, /*strict_mode=*/1);
  onnx::shape_inference::InferShapes(inferred, onnx::OpSchemaRegistry::Instance(), strict);
}

std::vector<float> Floats(const onnx::ModelProto& model, const std::string& name) {
  std::vector<float> values;
  for (const auto& tensor : model.graph().initializer()) {
    if (tensor.name() != name) continue;
    values.resize(tensor.raw_data().size() / sizeof(float));
    std::memcpy(values.data(), tensor.raw_data().data(), tensor.raw_data().size());
  }
  return values;
}

std::map<std::string, int> CountOps(const onnx::ModelProto& model) {
  std::map<std::string, int> count;
  for (const auto& node : model.graph().node()) ++count[node.op_type()];
  return count;
}

TEST(OnnxFile, HoldsTheDenseNetwork) {
  const DenseNetwork network = MakeDenseNetwork(WithReluForKwta(packed::MakeExampleModel(1)));
  const onnx::ModelProto model = Parse(OnnxFile(network));
  Check(model);
  const auto count = CountOps(model);
  const std::map<std::string, int> expected = {{"Conv", 2},    {"MaxPool", 1}, {"AveragePool", 1},
                                               {"Flatten", 1}, {"Gemm", 2},    {"Relu", 3}};
  EXPECT_EQ(count, expected);
  EXPECT_EQ(Floats(model, "conv2.weight"), network.layers[2].weight_op);
  EXPECT_EQ(Floats(model, "conv2.bias"), network.layers[2].bias_o);
  const std::vector<float> weight_io = Floats(model, "output.weight");  // 20 inputs, 3 outputs
  ASSERT_EQ(weight_io.size(), 60u);
  EXPECT_EQ(weight_io[7 * 3 + 2], network.layers[5].weight_op[2 * 20 + 7]);
}

/// A convolution whose value three layers read: a gate of one position, a product with it, a concatenation.
packed::Model GraphModel() {
  static const std::vector<float> weight_pnl(6, 0.5f), bias_o(2, 1.0f);
  packed::Model model;
  model.name = "graph";
  model.input = {4, 4, 3};
  packed::Layer conv, pool, gate, product, sum, concat;
  conv.kind = packed::LayerKind::kConv2d;
  conv.packing = gate.packing = {1, 2, {}};
  conv.weight_pnl = weight_pnl;
  conv.bias_o = bias_o;
  conv.input = model.input;
  conv.output = product.input = product.output = sum.input = sum.output = {4, 4, 2};
  pool.kind = packed::LayerKind::kAvgPool;
  pool.inputs = {0};
  pool.window = {4, 4, 4, 4, 0, 0};
  pool.input = conv.output;
  pool.output = gate.input = gate.output = {1, 1, 2};
  gate.kind = packed::LayerKind::kLinear;
  gate.weight_pnl = std::span(weight_pnl).first(4);
  gate.bias_o = bias_o;
  product.kind = packed::LayerKind::kMultiply;
  product.inputs = {0, 2};
  sum.kind = packed::LayerKind::kAdd;
  sum.inputs = {3, 0, 2};
  concat.kind = packed::LayerKind::kConcat;
  concat.inputs = {4, 0};
  concat.input = sum.output;
  concat.output = {4, 4, 4};
  model.layers = {conv, pool, gate, product, sum, concat};
  const char* const names[] = {"conv", "pool", "gate", "product", "sum", "concat"};
  for (size_t i = 0; i < model.layers.size(); ++i) model.layers[i].name = names[i];
  return model;
}

TEST(OnnxFile, HoldsEveryActivation) {
  for (const packed::Activation& activation : packed::Activations()) {
    SCOPED_TRACE(activation.name);
    packed::Model chain;
    chain.name = "smooth";
    chain.input = {3, 2, 4};
    packed::Layer layer;
    layer.kind = activation.kind;
    layer.name = activation.name;
    layer.input = layer.output = chain.input;
    chain.layers = {layer};
    packed::ValidateModel(chain, "chain");
    Check(Parse(OnnxFile(MakeDenseNetwork(chain))));
  }
}

TEST(OnnxFile, HoldsLayerNormsOfMapsAndOfWhatIsFlat) {
  const std::vector<float> numbers(24, 0.5f);
  packed::Model chain;
  chain.name = "norms";
  chain.input = {3, 2, 4};
  packed::Layer map, flatten, flat;
  map.kind = flat.kind = packed::LayerKind::kLayerNorm;
  map.name = "map";
  map.input = map.output = flatten.input = chain.input;
  map.weight_pnl = map.bias_o = std::span(numbers).first(4);
  flatten.kind = packed::LayerKind::kFlatten;
  flatten.name = "flatten";
  flatten.output = flat.input = flat.output = {1, 1, 24};
  flat.name = "flat";
  flat.weight_pnl = flat.bias_o = numbers;
  chain.layers = {map, flatten, flat};
  packed::ValidateModel(chain, "chain");
  const onnx::ModelProto model = Parse(OnnxFile(MakeDenseNetwork(chain)));
  Check(model);
  EXPECT_EQ(CountOps(model).at("ReduceMean"), 4);
  std::map<std::string, int> axes;
  for (const auto& node : model.graph().node()) {
    if (node.op_type() == "ReduceMean") axes[node.name()] = node.attribute(0).ints_size();
  }
  EXPECT_EQ(axes["map.mean"], 1);
  EXPECT_EQ(axes["flat.variance"], 3);
}

TEST(OnnxFile, HoldsAGraph) {
  const packed::Model graph = GraphModel();
  packed::ValidateModel(graph, "graph");
  const DenseNetwork network = MakeDenseNetwork(graph);
  const onnx::ModelProto model = Parse(OnnxFile(network));
  Check(model);
  std::map<std::string, std::vector<std::string>> inputs;
  for (const auto& node : model.graph().node()) {
    inputs[node.output(0)] = {node.input().begin(), node.input().end()};
  }
  using testing::ElementsAre;
  // The linear layer's matrix is a map of one position to the joins.
  EXPECT_THAT(inputs["product"], ElementsAre("conv", "product.input1.map"));
  EXPECT_THAT(inputs["product.input1.map"], ElementsAre("gate", "product.input1.map.dims"));
  EXPECT_THAT(inputs["sum.part1"], ElementsAre("product", "conv"));
  EXPECT_THAT(inputs["sum"], ElementsAre("sum.part1", "sum.input2.map"));
  EXPECT_THAT(inputs["concat"], ElementsAre("sum", "conv"));
}

TEST(OnnxFile, StatesTheBatchThatWasAskedFor) {
  const DenseNetwork network = MakeDenseNetwork(packed::MakeExampleModel(1));
  const auto first_dim = [](const onnx::ModelProto& model) {
    return model.graph().input(0).type().tensor_type().shape().dim(0);
  };
  EXPECT_EQ(first_dim(Parse(OnnxFile(network))).dim_param(), "batch");
  EXPECT_EQ(first_dim(Parse(OnnxFile(network, {.batch = 5}))).dim_value(), 5);
}

TEST(OnnxFile, ChoosesWinnersByTopK) {
  const onnx::ModelProto model = Parse(OnnxFile(MakeDenseNetwork(packed::MakeExampleModel(1))));
  Check(model);
  EXPECT_EQ(CountOps(model).at("TopK"), 3);
  EXPECT_EQ(CountOps(model).at("ScatterElements"), 3);
}

TEST(WriteOnnx, WritesWhatOnnxReads) {
  const std::string path = testing::TempDir() + "/example.onnx";
  WriteOnnx(packed::MakeExampleModel(1), path);
  std::ifstream file(path, std::ios::binary);
  onnx::ModelProto model;
  ASSERT_TRUE(model.ParseFromIstream(&file));
  Check(model);
  EXPECT_EQ(model.graph().name(), "example");
}

TEST(OnnxFile, QuantisesEveryMapButTheLast) {
  const packed::Model relu_model = WithReluForKwta(packed::MakeExampleModel(1));
  const DenseNetwork network = MakeDenseNetwork(relu_model);
  std::vector<float> x(static_cast<size_t>(network.input.elements()), 1.0f);
  const Ranges ranges = Calibrate(relu_model, network, x);
  const onnx::ModelProto model = Parse(OnnxFile(network, {.ranges = &ranges}));
  Check(model);
  // The input, 5 of 6 layers, and the flattened map; each layer with weights dequantises two
  // tensors.
  EXPECT_EQ(CountOps(model).at("QuantizeLinear"), 7);
  EXPECT_EQ(CountOps(model).at("DequantizeLinear"), 7 + 2 * 4);
}

}  // namespace
}  // namespace bisparse::peers
