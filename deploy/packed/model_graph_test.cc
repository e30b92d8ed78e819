// SPDX-License-Identifier: Apache-2.0
// Models with branches: what ValidateModel refuses, each with its field; what int8 needs of signs and scales; the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bisparse/error.h"
#include "deploy/packed/fault_of.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/limits.h"
#include "deploy/packed/model.h"
#include "deploy/packed/model_file.h"

namespace bisparse::packed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// 4×4×2 → 0 conv → 1 relu → 2 conv → 3 add (2 and 1) → 4 max_pool to a row → 5 multiply (3 by 4) → 6 concat (5 and 1)
/// → 7 relu → 8 linear. All convolutions are 1×1 from 2 to 2 channels.
struct SmallGraph {
  std::vector<float> weight_pnl = {1, 2, 3, 4}, bias_o = {0, 0};
  std::vector<float> linear_pnl = std::vector<float>(64, 1.0f), linear_bias_o = {0};
  std::vector<int8_t> weight_i8_pnl = {1, 2, -3, 4}, linear_i8_pnl = std::vector<int8_t>(64, 1);
  std::vector<int32_t> bias_i32_o = {0, 0}, linear_bias_i32_o = {0};
  std::vector<uint8_t> shift_o = {1, 2};
  std::vector<float> scale_o = {1};
  Model model;

  explicit SmallGraph(NumberFormat format = NumberFormat::kF32) {
    const Shape map = {4, 4, 2};
    model.name = "small";
    model.format = format;
    model.input = map;
    Add(LayerKind::kConv2d, map, {});
    Add(LayerKind::kRelu, map, {});
    Add(LayerKind::kConv2d, map, {});
    Add(LayerKind::kAdd, map, {2, 1});
    Add(LayerKind::kMaxPool, {1, 4, 2}, {});
    model.layers[4].window = {.kernel_h = 4};
    Add(LayerKind::kMultiply, map, {3, 4});
    Add(LayerKind::kConcat, {4, 4, 4}, {5, 1});
    Add(LayerKind::kRelu, {4, 4, 4}, {});
    Add(LayerKind::kLinear, {1, 1, 1}, {});
    const bool i8 = format == NumberFormat::kI8;
    for (Layer& layer : model.layers) {
      const bool linear = layer.kind == LayerKind::kLinear;
      if (!layer.HasWeights()) continue;
      if (i8) {
        layer.weight_i8_pnl = linear ? linear_i8_pnl : weight_i8_pnl;
        layer.bias_i32_o = linear ? linear_bias_i32_o : bias_i32_o;
        linear ? layer.scale_o = scale_o : layer.scale_o = {};
        if (!linear) layer.shift_o = shift_o;
      } else {
        layer.weight_pnl = linear ? linear_pnl : weight_pnl;
        layer.bias_o = linear ? linear_bias_o : bias_o;
      }
    }
    if (i8) FillSteps();
  }
  SmallGraph(const SmallGraph&) = delete;

  void Add(LayerKind kind, const Shape& output, std::vector<int32_t> inputs) {
    Layer layer{.kind = kind, .name = LayerKindName(kind) + std::to_string(model.layers.size())};
    layer.inputs = std::move(inputs);
    const int32_t first =
        layer.inputs.empty() ? static_cast<int32_t>(model.layers.size()) - 1 : layer.inputs[0];
    layer.input = first < 0 ? model.input : model.layers[static_cast<size_t>(first)].output;
    layer.output = output;
    model.layers.push_back(layer);
  }

  // The first conv is read by a relu alone; 1 and 2 have steps of 1/8 and 1/2, 3 of 1/4, 5 of 1/4 · 1/4 · 4, 6 of 1/2.
  void FillSteps() {
    model.input_scale = 0.1f;
    model.input_zero = 100;
    model.layers[0].output_scale = 0.125f;
    model.layers[2].output_scale = 0.5f;
    model.layers[2].output_zero = 128;
    model.layers[3].output_scale = 0.25f;
    model.layers[3].output_zero = 128;
    model.layers[3].input_shift = {2, 0};
    model.layers[3].output_shift = 1;
    model.layers[5].output_scale = 0.25f;
    model.layers[5].output_shift = 2;
    model.layers[5].output_zero = 128;
    model.layers[6].output_scale = 0.5f;
    model.layers[6].input_shift = {1, 0};
    model.layers[6].output_shift = 2;
  }
  Layer& At(size_t i) { return model.layers[i]; }
};

using Case = std::pair<std::function<void(SmallGraph&)>, const char*>;

void ExpectRefused(NumberFormat format, const std::vector<Case>& cases) {
  for (const auto& [change, fault] : cases) {
    SmallGraph small(format);
    ASSERT_EQ(FaultOf(small.model), "");
    change(small);
    EXPECT_THAT(FaultOf(small.model), HasSubstr(fault));
  }
}

TEST(ModelGraph, FaultsOfBranchesAreRefused) {
  ExpectRefused(
      NumberFormat::kF32,
      {{[](SmallGraph& s) {
          s.At(3).inputs = {2, 3};
        },
        "m.bisparse: layer 'add3': reads layer 3, only those before it are allowed: -1 (the input) "
        "to 2"},
       {[](SmallGraph& s) {
          s.At(3).inputs = {2, 8};
        },
        "'add3': reads layer 8"},
       {[](SmallGraph& s) {
          s.At(3).inputs = {2, -2};
        },
        "'add3': reads layer -2"},
       {[](SmallGraph& s) { s.At(0).inputs = {INT32_MIN}; }, "'conv2d0': reads layer -2147483648"},
       {[](SmallGraph& s) { s.At(0).inputs = {0}; }, "'conv2d0': reads layer 0"},
       {[](SmallGraph& s) { s.At(3).inputs = {2}; }, "'add3': inputs = 1, add has 2 to 64"},
       {[](SmallGraph& s) { s.At(3).inputs = {}; }, "'add3': inputs = 1, add has 2 to 64"},
       {[](SmallGraph& s) { s.At(3).inputs.assign(65, 1); }, "'add3': inputs = 65, add has 2 to"},
       {[](SmallGraph& s) {
          s.At(1).inputs = {0, 0};
        },
        "'relu1': inputs = 2, relu has 1 to 1"},
       {[](SmallGraph& s) {
          s.At(3).inputs = {1, 1};
        },
        "m.bisparse: layer 'conv2d2': no layer reads its output (hint: the last layer gives"},
       {[](SmallGraph& s) { s.At(8).inputs = {6}; }, "'relu7': no layer reads its output"},
       {[](SmallGraph& s) {
          s.At(3).inputs = {2, 1, -1}, s.At(3).input.width = 3;
        },
        "'add3': input = 4x3x2, what it reads is 4x4x2"}});
}

TEST(ModelGraph, ShapesThatDoNotFitAreRefused) {
  ExpectRefused(
      NumberFormat::kF32,
      {{[](SmallGraph& s) {
          s.At(5).inputs = {4, 3}, s.At(5).input = s.At(5).output = {1, 4, 2};
        },
        "'multiply5': input 1 = 4x4x2, 1x4x2 or height or width 1 instead expected (hint: the "
        "first"},
       {[](SmallGraph& s) {
          s.At(4).window.kernel_h = 2, s.At(4).output = {3, 4, 2};
        },
        "'multiply5': input 1 = 3x4x2, 4x4x2 or height or width 1"},
       {[](SmallGraph& s) {
          s.At(3).output = {4, 4, 4};
        },
        "'add3': output = 4x4x4, add of 4x4x2 gives 4x4x2"},
       {[](SmallGraph& s) {
          s.At(6).output = {4, 4, 5};
        },
        "'concat6': output = 4x4x5, concat of 4x4x2 gives 4x4x4"},
       {[](SmallGraph& s) {
          s.At(6).inputs = {5, 1, 4};
        },
        "'concat6': input 2 = 1x4x2, height 4 and width 4 of the first input expected"},
       {[](SmallGraph& s) { s.At(3).bias_o = s.bias_o; }, "'add3': bias_o has 2 floats, 0"},
       {[](SmallGraph& s) {
          s.At(3).input_shift = {1, 1};
        },
        "'add3': input_shift has 2 integers"},
       {[](SmallGraph& s) { s.At(5).output_shift = 1; }, "'multiply5': output_shift = 1 is not in"},
       {[](SmallGraph& s) { s.At(6).output_scale = 1; }, "'concat6': output_scale = 1, 0 expected"},
       {[](SmallGraph& s) { s.At(0).output_zero = 128; },
        "'conv2d0': output_zero = 128 is not in"}});
}

TEST(ModelGraph, StepsThatDoNotFollowAreRefused) {
  ExpectRefused(
      NumberFormat::kI8,
      {{[](SmallGraph& s) { s.At(2).output_zero = 0; },
        "'conv2d2': output_zero = 0, 128 expected: its values below 0 are read (hint: only relu"},
       {[](SmallGraph& s) { s.At(3).output_zero = 0; }, "'add3': output_zero = 0, 128 expected"},
       {[](SmallGraph& s) { s.At(2).output_zero = 64; }, "'conv2d2': output_zero = 64, 0 or 128"},
       {[](SmallGraph& s) { s.At(8).output_zero = 128; }, "'linear8': output_zero = 128 is not in"},
       {[](SmallGraph& s) { s.At(7).output_zero = 128; }, "'relu7': output_zero = 128 is not in"},
       {[](SmallGraph& s) { s.At(3).input_shift = {2}; }, "'add3': input_shift has 1 integers, 2"},
       {[](SmallGraph& s) {
          s.At(3).input_shift = {1, 0};
        },
        "'add3': scale of input 1 = 0.125 with input_shift 0, of input 0 0.5 with 1: no common"},
       {[](SmallGraph& s) {
          s.At(3).input_shift = {15, 13};
        },
        "'add3': input_shift = 15 is not in"},
       {[](SmallGraph& s) { s.At(3).output_shift = 2; },
        "'add3': output_scale = 0.25, its inputs and output_shift = 2 give 0.5"},
       {[](SmallGraph& s) { s.At(3).output_shift = 23; }, "'add3': output_shift = 23 is not in"},
       {[](SmallGraph& s) { s.At(3).output_scale = 0; },
        "'add3': output_scale = 0 is not a finite"},
       {[](SmallGraph& s) { s.At(5).output_shift = 3; },
        "'multiply5': output_scale = 0.25, its inputs and output_shift = 3 give 0.5"},
       {[](SmallGraph& s) {
          s.At(5).input_shift = {0, 0};
        },
        "'multiply5': input_shift has 2"},
       {[](SmallGraph& s) {
          s.At(5).inputs = {3, 4, 1};
        },
        "'multiply5': kind = multiply, int8 allows 2 inputs at most"},
       {[](SmallGraph& s) { s.At(6).output_scale = 0.25f; }, "'concat6': output_scale = 0.25, its"},
       {[](SmallGraph& s) {
          s.Add(LayerKind::kAdd, {1, 1, 1}, {8, 8});
        },
        "'add9': kind = add, int8 allows only flatten after the logits of 'linear8'"},
       {[](SmallGraph& s) {
          s.At(2).shift_o = s.At(0).shift_o = s.shift_o = {1, 24};
        },
        "'conv2d2': output 1: 255 x the sum of |weight_i8_pnl| + |bias_i32_o| + rounding + "
        "output_zero x 2^shift = 2155873786 does not fit 32 bits"}});
}

// The affine layer makes the bytes: nobody else can read what it reads.
TEST(ModelGraph, AnAffineOfTheInputIsItsOnlyReaderInInt8) {
  SmallGraph small(NumberFormat::kI8);
  Model& model = small.model;
  Layer affine{.kind = LayerKind::kAffine, .name = "affine"};
  affine.input = affine.output = model.input;
  affine.weight_pnl = affine.bias_o = small.bias_o;
  for (Layer& layer : model.layers) {
    for (int32_t& value : layer.inputs) ++value;
  }
  model.layers.insert(model.layers.begin(), affine);
  EXPECT_EQ(FaultOf(model), "");
  model.layers[3].inputs = {-1};
  EXPECT_THAT(FaultOf(model),
              HasSubstr("'affine': kind = affine, int8 allows no other reader of the input"));
}

TEST(ModelGraph, WhatReadsValuesBelowZero) {
  const SmallGraph small(NumberFormat::kI8);
  // The input; conv (relu reads it); relu (conv, add, concat read it); conv; add; pool; multiply; concat (relu); relu;
  // linear, whose output nobody reads.
  EXPECT_THAT(NegativesAreRead(small.model),
              ElementsAre(true, false, true, true, true, true, true, false, true, false));
  const std::vector<Quantisation> steps = Quantisations(small.model);
  EXPECT_EQ(steps[0], (Quantisation{0.1f, 100}));
  EXPECT_EQ(steps[2], (Quantisation{0.125f, 0}));   // relu: the convolution's scale
  EXPECT_EQ(steps[5], (Quantisation{0.25f, 128}));  // pool: the sum's
  EXPECT_EQ(steps[9], (Quantisation{0, 0}));
}

TEST(ModelGraph, WorkOfJoinsCountsEveryInput) {
  SmallGraph small;
  const int64_t three = Work(small.At(5)).value();
  small.At(5).inputs = {3, 4, 4};
  EXPECT_EQ(Work(small.At(5)).value() - three, 32 * kWorkOfPassing);
}

TEST(ModelGraph, AFileHoldsBranchesAsVersion3) {
  for (const NumberFormat format : {NumberFormat::kF32, NumberFormat::kI8}) {
    const SmallGraph small(format);
    const std::vector<uint8_t> bytes = SerialiseModel(small.model);
    EXPECT_EQ(bytes[8], 3);
    const Model read = ParseModel(bytes, "m.bisparse");
    for (size_t i = 0; i < read.layers.size(); ++i) {
      const Layer &layer = read.layers[i], &original = small.model.layers[i];
      EXPECT_EQ(layer.kind, original.kind);
      EXPECT_EQ(layer.inputs, original.inputs);
      EXPECT_EQ(layer.input_shift, original.input_shift);
      EXPECT_EQ(layer.output_shift, original.output_shift);
      EXPECT_EQ(layer.output_zero, original.output_zero);
      EXPECT_EQ(layer.output_scale, original.output_scale);
    }
    EXPECT_EQ(SerialiseModel(read), bytes);
  }
}

// Naming the layer before is what naming none means.
TEST(ModelGraph, AChainWithNamedInputsHasTheBytesOfOneWithout) {
  SmallGraph small;
  small.model.layers = {small.At(0), small.At(1), small.At(7), small.At(8)};
  small.model.layers[2].input = small.model.layers[2].output = small.model.input;
  small.model.layers[3].input = small.model.input;
  small.model.layers[3].weight_pnl = small.model.layers[3].weight_pnl.first(32);
  const std::vector<uint8_t> bytes = SerialiseModel(small.model);
  EXPECT_EQ(bytes[8], 1);
  for (int32_t i = 0; i < 4; ++i) small.model.layers[static_cast<size_t>(i)].inputs = {i - 1};
  EXPECT_EQ(SerialiseModel(small.model), bytes);
}

TEST(ModelGraph, AFileOfBranchesUnderAnotherVersionIsRefused) {
  std::vector<uint8_t> bytes = SerialiseModel(SmallGraph().model);
  bytes[8] = 1;
  try {
    ParseModel(bytes, "m.bisparse");
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "m.bisparse: format version = 1, f32 with branches, signed maps or tables is "
                 "version 3: altered");
  }
}

}  // namespace
}  // namespace bisparse::packed
