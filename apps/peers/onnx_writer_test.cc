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
