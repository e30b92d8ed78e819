// SPDX-License-Identifier: Apache-2.0
// ValidateModel: what every refusal says, one broken field at a time; then the model's own
// functions.
#include "deploy/packed/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <functional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/packed/example_model.h"

namespace bisparse::packed {
namespace {

/// The example model, ready to be broken.
struct Breakable : Model {
  Breakable() : Model(MakeExampleModel(1)) {}

  Layer& At(const std::string& layer_name) {
    for (Layer& layer : layers) {
      if (layer.name == layer_name) return layer;
    }
    throw std::out_of_range(layer_name);
  }
  /// A copy that may be changed, of `size` elements if given.
  std::vector<float>& Own(std::span<const float>& span, size_t size = SIZE_MAX) {
    return Copy(floats_, span, size);
  }
  std::vector<uint8_t>& Own(std::span<const uint8_t>& span, size_t size = SIZE_MAX) {
    return Copy(bytes_, span, size);
  }

 private:
  template <typename T>
  std::vector<T>& Copy(std::deque<std::vector<T>>& copies, std::span<const T>& span, size_t size) {
    std::vector<T>& copy = copies.emplace_back(span.begin(), span.end());
    if (size != SIZE_MAX) copy.resize(size);
    span = copy;
    return copy;
  }

  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<uint8_t>> bytes_;
};

struct Refusal {
  const char* name;
  const char* message;  ///< of the error, after "m.bisparse: "
  std::function<void(Breakable&)> break_field;
};

void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

class ValidateModelRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(ValidateModelRefuses, AndSaysWhereAndWhat) {
  Breakable model;
  ASSERT_NO_THROW(ValidateModel(model, "m.bisparse"));
  GetParam().break_field(model);
  try {
    ValidateModel(model, "m.bisparse");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_EQ(error.what(), std::string("m.bisparse: ") + GetParam().message);
  }
}

using B = Breakable;

const Refusal kModelRefusals[] = {
    {"NoName", "the model's name has 0 bytes, not 1 to 256", [](B& m) { m.name.clear(); }},
    {"LongName", "the model's name has 257 bytes, not 1 to 256",
     [](B& m) { m.name = std::string(257, 'x'); }},
    {"EmptyInput", "input = 0x8x1 is no map of 1 to 67108864 elements",
     [](B& m) { m.input.height = 0; }},
    {"NegativeInput", "input = -8x-8x1 is no map of 1 to 67108864 elements",
     [](B& m) {
       m.input = {-8, -8, 1};
     }},
    {"InputWhoseProductOverflows",
     "input = 67108864x67108864x67108864 is no map of 1 to 67108864 elements",
     [](B& m) {
       m.input = {1 << 26, 1 << 26, 1 << 26};
     }},
    {"LargeInput", "input = 8192x8192x2 is no map of 1 to 67108864 elements",
     [](B& m) {
       m.input = {1 << 13, 1 << 13, 2};
     }},
    {"NoLayers", "0 layers, not 1 to 4096", [](B& m) { m.layers.clear(); }},
    {"ManyLayers", "4097 layers, not 1 to 4096", [](B& m) { m.layers.resize(4097); }},
    {"LayerWithoutName", "the name of layer 4 has 0 bytes, not 1 to 256",
     [](B& m) { m.At("norm2").name.clear(); }},
    {"LayerWithLongName", "the name of layer 4 has 300 bytes, not 1 to 256",
     [](B& m) { m.At("norm2").name = std::string(300, 'x'); }},
    {"TwoLayersOfOneName", "layer 'relu2': another layer has this name too",
     [](B& m) { m.At("norm2").name = "relu2"; }},
    {"InputThatDoesNotFollow", "layer 'conv2': input = 3x4x8, what it reads is 3x3x8",
     [](B& m) { m.At("conv2").input.width = 4; }},
    {"DepthwiseOfSets", "layer 'conv1': set_size = 3, a depthwise convolution has 1",
     [](B& m) {
       m.At("conv1").kind = LayerKind::kDepthwiseConv2d;
       m.At("conv1").output.channels = m.At("conv1").input.channels;
     }},
    {"UnknownKind", "layer 'relu2': kind = 250 is unknown",
     [](B& m) { m.At("relu2").kind = LayerKind{250}; }},
    {"EmptyOutput", "layer 'conv2': output = 4x0x16 is no map of 1 to 67108864 elements",
     [](B& m) { m.At("conv2").output.width = 0; }},
    {"ClassNameCount", "2 class names for 3 outputs", [](B& m) { m.class_names.pop_back(); }},
    {"EmptyClassName", "a class name has 0 bytes, not 1 to 256",
     [](B& m) { m.class_names[1].clear(); }},
    {"TwoClassesOfOneName", "two classes are named 'yes'", [](B& m) { m.class_names[2] = "yes"; }},
    {"FrontEndFaults",
     "front_end: hop_samples = 0 is not in [1, 1048576]; fft_samples = 511 is odd; window_samples "
     "= 512 exceeds fft_samples = 511",
     [](B& m) {
       m.front_end->hop_samples = 0;
       m.front_end->fft_samples = 511;
     }},
    {"FrontEndOfAnotherShape", "front_end: gives 8x7x1 features, the network's input is 8x8x1",
     [](B& m) { m.front_end->frame_count = 7; }},
    {"AccuracyAboveOne", "validation_accuracy = 95 is no fraction (negative = not known)",
     [](B& m) { m.provenance.validation_accuracy = 95; }},
    {"AccuracyNotFinite", "validation_accuracy = nan is no fraction (negative = not known)",
     [](B& m) { m.provenance.validation_accuracy = std::nan(""); }},
};

const Refusal kWeightRefusals[] = {
    {"SetSizeZero", "layer 'conv2': set_size = 0 is not in [1, 64]",
     [](B& m) { m.At("conv2").packing.set_size = 0; }},
    {"SetSizeLarge", "layer 'linear1': set_size = 65 is not in [1, 64]",
     [](B& m) { m.At("linear1").packing.set_size = 65; }},
    {"LanesZero", "layer 'conv2': lanes = 0 is not in [1, 16]",
     [](B& m) { m.At("conv2").packing.lanes = 0; }},
    {"LanesLarge", "layer 'linear1': lanes = 17 is not in [1, 16]",
     [](B& m) { m.At("linear1").packing.lanes = 17; }},
    {"RunChannels", "layer 'conv2': run.channels = 0 is not in [1, 2147483647]",
     [](B& m) { m.At("conv2").packing.run.channels = 0; }},
    {"RunTaps", "layer 'conv2': run.taps = 3 is not in [0, 2]",
     [](B& m) { m.At("conv2").packing.run.taps = RunTaps{3}; }},
    {"MissingWeight", "layer 'conv1': weight_pnl has 26 floats, 27 expected",
     [](B& m) { m.Own(m.At("conv1").weight_pnl, 26); }},
    {"OneWeightMore", "layer 'linear1': weight_pnl has 769 floats, 768 expected",
     [](B& m) { m.Own(m.At("linear1").weight_pnl, 769); }},
    {"WeightNotANumber", "layer 'conv1': weight_pnl[5] is nan, not a finite number",
     [](B& m) { m.Own(m.At("conv1").weight_pnl)[5] = std::nanf(""); }},
    {"WeightInfinite", "layer 'output': weight_pnl[7] is -inf, not a finite number",
     [](B& m) { m.Own(m.At("output").weight_pnl)[7] = -INFINITY; }},
    {"MissingBias", "layer 'conv1': bias_o has 8 floats, 9 expected",
     [](B& m) { m.Own(m.At("conv1").bias_o, 8); }},
    {"BiasNotFinite", "layer 'conv1': bias_o[2] is inf, not a finite number",
     [](B& m) { m.Own(m.At("conv1").bias_o)[2] = INFINITY; }},
    {"BiasPastTheLastOutput",
     "layer 'conv1': bias_o[8] is 0.5, outside of the 8 outputs it must be 0",
     [](B& m) { m.Own(m.At("conv1").bias_o)[8] = 0.5f; }},
    {"WeightPastTheLastOutput",
     "layer 'output': weight_pnl at position 2, set 0, lane 3 is 1, outside of the 3 outputs it "
     "must be 0",
     [](B& m) { m.Own(m.At("output").weight_pnl)[2 * 16 + 3] = 1; }},
    {"MissingOwner", "layer 'linear1': 191 owners, 3 sets of 64 runs want 192",
     [](B& m) { m.Own(m.At("linear1").owner_nr, 191); }},
    {"OwnerThatIsNoBlock", "layer 'conv2': owner of set 0, run 3 is 2, set size is 2",
     [](B& m) { m.Own(m.At("conv2").owner_nr)[3] = 2; }},
    {"OwnersOfADenseLayer", "layer 'output': 1 owners, 1 sets of 20 runs want 0",
     [](B& m) { m.Own(m.At("output").owner_nr, 1); }},
    {"LinearOutputThatIsAMap", "layer 'output': output = 3x1x3, linear of 1x1x20 gives 1x1x3",
     [](B& m) {
       m.At("output").output = {3, 1, 3};
     }},
    {"AffineOutput", "layer 'norm2': output = 4x4x8, affine of 4x4x16 gives 4x4x16",
     [](B& m) { m.At("norm2").output.channels = 8; }},
    {"AffineScaleCount", "layer 'norm2': weight_pnl (scale) has 15 floats, 16 expected",
     [](B& m) { m.Own(m.At("norm2").weight_pnl, 15); }},
    {"AffineScaleNotFinite", "layer 'norm2': weight_pnl (scale)[0] is nan, not a finite number",
     [](B& m) { m.Own(m.At("norm2").weight_pnl)[0] = std::nanf(""); }},
    {"AffineShiftCount", "layer 'norm2': bias_o (shift) has 17 floats, 16 expected",
     [](B& m) { m.Own(m.At("norm2").bias_o, 17); }},
    {"AffineOwners", "layer 'norm2': has 1 owners, 0 expected",
     [](B& m) { m.Own(m.At("norm2").owner_nr, 1); }},
    {"WeightsOfARelu", "layer 'relu2': weight_pnl has 1 floats, 0 expected",
     [](B& m) { m.Own(m.At("relu2").weight_pnl, 1); }},
    {"BiasesOfAPool", "layer 'pool1': bias_o has 8 floats, 0 expected",
     [](B& m) { m.Own(m.At("pool1").bias_o, 8); }},
    {"OwnersOfAKwta", "layer 'kwta1': has 3 owners, 0 expected",
     [](B& m) { m.Own(m.At("kwta1").owner_nr, 3); }},
};

const Refusal kWindowRefusals[] = {
    {"ConvKernelH", "layer 'conv1': kernel_h = 0 is not in [1, 4096]",
     [](B& m) { m.At("conv1").window.kernel_h = 0; }},
    {"ConvKernelW", "layer 'conv1': kernel_w = 4097 is not in [1, 4096]",
     [](B& m) { m.At("conv1").window.kernel_w = 4097; }},
    {"ConvStrideH", "layer 'conv1': stride_h = 0 is not in [1, 4096]",
     [](B& m) { m.At("conv1").window.stride_h = 0; }},
    {"ConvStrideW", "layer 'conv1': stride_w = -1 is not in [1, 4096]",
     [](B& m) { m.At("conv1").window.stride_w = -1; }},
    {"ConvDilationH", "layer 'conv1': dilation_h = 0 is not in [1, 4096]",
     [](B& m) { m.At("conv1").window.dilation_h = 0; }},
    {"ConvDilationW", "layer 'conv1': dilation_w = 4097 is not in [1, 4096]",
     [](B& m) { m.At("conv1").window.dilation_w = 4097; }},
    {"DilationWithoutAWindow", "layer 'relu2': dilation = 1x2, relu has no window",
     [](B& m) { m.At("relu2").window.dilation_w = 2; }},
    {"PoolDilation", "layer 'pool1': dilation_w = 2 is not in [1, 1]",
     [](B& m) { m.At("pool1").window.dilation_w = 2; }},
    {"DilatedConvThatDoesNotFit",
     "layer 'conv1': a kernel of 9x3 does not fit into 8x8x1 padded by 0 and 0",
     [](B& m) { m.At("conv1").window.dilation_h = 4; }},
    {"ConvPadH", "layer 'conv1': pad_h = -1 is not in [0, 4096]",
     [](B& m) { m.At("conv1").window.pad_h = -1; }},
    {"ConvPadW", "layer 'conv1': pad_w = 4097 is not in [0, 4096]",
     [](B& m) { m.At("conv1").window.pad_w = 4097; }},
    {"ConvThatDoesNotFit",
     "layer 'conv1': a kernel of 3x9 does not fit into 8x8x1 padded by 0 and 0",
     [](B& m) { m.At("conv1").window.kernel_w = 9; }},
    {"ConvOutput", "layer 'conv1': output = 6x6x8, conv2d of 8x8x1 gives 6x3x8",
     [](B& m) { m.At("conv1").window.stride_w = 2; }},
    {"PoolKernelH", "layer 'pool1': kernel_h = 4097 is not in [1, 4096]",
     [](B& m) { m.At("pool1").window.kernel_h = 4097; }},
    {"PoolKernelW", "layer 'pool2': kernel_w = 0 is not in [1, 4096]",
     [](B& m) { m.At("pool2").window.kernel_w = 0; }},
    {"PoolStrideH", "layer 'pool2': stride_h = 0 is not in [1, 4096]",
     [](B& m) { m.At("pool2").window.stride_h = 0; }},
    {"PoolStrideW", "layer 'pool1': stride_w = 4097 is not in [1, 4096]",
     [](B& m) { m.At("pool1").window.stride_w = 4097; }},
    {"PoolOfPaddingOnlyH", "layer 'pool1': pad_h = 2 is not in [0, 1]",
     [](B& m) { m.At("pool1").window.pad_h = 2; }},
    {"PoolOfPaddingOnlyW", "layer 'pool2': pad_w = 2 is not in [0, 1]",
     [](B& m) { m.At("pool2").window.pad_w = 2; }},
    {"PoolThatDoesNotFit",
     "layer 'pool1': a kernel of 7x2 does not fit into 6x6x8 padded by 0 and 0",
     [](B& m) { m.At("pool1").window.kernel_h = 7; }},
    {"PoolChannels", "layer 'pool1': output = 3x3x4, max_pool of 6x6x8 gives 3x3x8",
     [](B& m) { m.At("pool1").output.channels = 4; }},
    {"ReluOutput", "layer 'relu2': output = 16x1x16, relu of 4x4x16 gives 4x4x16",
     [](B& m) {
       m.At("relu2").output = {16, 1, 16};
     }},
    {"FlattenOutput", "layer 'flatten': output = 1x64x1, flatten of 2x2x16 gives 1x1x64",
     [](B& m) {
       m.At("flatten").output = {1, 64, 1};
     }},
    {"KwtaOutput", "layer 'kwta1': output = 3x3x2, kwta of 3x3x8 gives 3x3x8",
     [](B& m) { m.At("kwta1").output.channels = 2; }},
    {"KwtaScope", "layer 'kwta2': kwta.scope = 2 is unknown",
     [](B& m) { m.At("kwta2").kwta.scope = KwtaScope{2}; }},
    {"KwtaGroupsZero", "layer 'kwta1': kwta.groups = 0 is not in [1, 8]",
     [](B& m) { m.At("kwta1").kwta.groups = 0; }},
    {"KwtaGroupsMoreThanChannels", "layer 'kwta1': kwta.groups = 9 is not in [1, 8]",
     [](B& m) { m.At("kwta1").kwta.groups = 9; }},
    {"KwtaChunkZero", "layer 'kwta3': kwta.chunk = 0 is not in [1, 20]",
     [](B& m) { m.At("kwta3").kwta.chunk = 0; }},
    {"KwtaChunkMoreThanChannels", "layer 'kwta3': kwta.chunk = 21 is not in [1, 20]",
     [](B& m) { m.At("kwta3").kwta.chunk = 21; }},
    {"KwtaThatDoesNotDivide",
     "layer 'kwta3': 20 channels do not divide into 1 groups of chunks of 3",
     [](B& m) { m.At("kwta3").kwta.chunk = 3; }},
    {"KwtaWithoutWinners", "layer 'kwta1': kwta.winners = 0 is not in [1, 8]",
     [](B& m) { m.At("kwta1").kwta.winners = 0; }},
    {"KwtaWinnersOfAMap", "layer 'kwta2': kwta.winners = 65 is not in [1, 64]",
     [](B& m) { m.At("kwta2").kwta.winners = 65; }},
    {"KwtaWinnersOfChunks", "layer 'kwta3': kwta.winners = 11 is not in [1, 10]",
     [](B& m) { m.At("kwta3").kwta.winners = 11; }},
    {"KwtaWinnersOfGroups", "layer 'kwta1': kwta.winners = 3 do not divide into 2 groups",
     [](B& m) { m.At("kwta1").kwta.winners = 3; }},
};

std::string NameOf(const testing::TestParamInfo<Refusal>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Model, ValidateModelRefuses, testing::ValuesIn(kModelRefusals), NameOf);
INSTANTIATE_TEST_SUITE_P(Weights, ValidateModelRefuses, testing::ValuesIn(kWeightRefusals), NameOf);
INSTANTIATE_TEST_SUITE_P(Window, ValidateModelRefuses, testing::ValuesIn(kWindowRefusals), NameOf);

TEST(ValidateModel, AllowsWhatIsOptional) {
  Breakable model;
  model.class_names.clear();
  model.front_end.reset();
  model.provenance = {};
  EXPECT_NO_THROW(ValidateModel(model, "m.bisparse"));
}

TEST(WindowOutput, RoundsDownAndTellsWhatDoesNotFit) {
  EXPECT_EQ(WindowOutput({8, 7, 3}, {3, 2, 2, 3, 0, 0}, 5), (Shape{3, 2, 5}));
  EXPECT_EQ(WindowOutput({8, 7, 3}, {3, 2, 2, 3, 1, 1}, 5), (Shape{4, 3, 5}));
  EXPECT_EQ(WindowOutput({2, 2, 1}, {3, 2, 1, 1, 0, 0}, 1), (Shape{0, 1, 1}));
  EXPECT_EQ(WindowOutput({2, 2, 1}, {1, 1, 0, 1, 0, 0}, 1), (Shape{0, 2, 1}));
  EXPECT_EQ(WindowOutput({INT32_MAX, 1, 1}, {1, 1, 1, 1, INT32_MAX, 0}, 1),
            (Shape{INT32_MAX, 1, 1}));
}

TEST(Layer, KernelOfALinearLayerSeesTheWholeMap) {
  Layer layer;
  layer.kind = LayerKind::kLinear;
  layer.input = {2, 3, 4};
  layer.output = {1, 1, 10};
  EXPECT_EQ(layer.kernel(), (KernelShape{10, 24, 1, 1}));
  layer.kind = LayerKind::kConv2d;
  layer.output = {1, 1, 10};
  layer.window = {2, 3, 1, 1, 0, 0};
  EXPECT_EQ(layer.kernel(), (KernelShape{10, 4, 2, 3}));
}

TEST(Model, OutputCountIsTheLastLayers) {
  Model model;
  model.input = {2, 3, 4};
  EXPECT_EQ(model.output_count(), 24);
  EXPECT_EQ(MakeExampleModel(1).output_count(), 3);
}

TEST(ExampleModel, DependsOnItsSeedOnly) {
  const Model one = MakeExampleModel(1), again = MakeExampleModel(1), two = MakeExampleModel(2);
  const auto weights = [](const Model& model) {
    std::vector<float> all;
    for (const Layer& layer : model.layers) {
      all.insert(all.end(), layer.weight_pnl.begin(), layer.weight_pnl.end());
    }
    return all;
  };
  EXPECT_EQ(weights(one), weights(again));
  EXPECT_NE(weights(one), weights(two));
}

}  // namespace
}  // namespace bisparse::packed
