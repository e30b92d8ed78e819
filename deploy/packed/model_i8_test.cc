// SPDX-License-Identifier: Apache-2.0
// int8 models: what ValidateModel refuses, each with its field; the file's version.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/packed/example_model.h"
#include "deploy/packed/fault_of.h"
#include "deploy/packed/model.h"
#include "deploy/packed/model_file.h"
#include "deploy/packed/pack.h"

namespace bisparse::packed {
namespace {

using testing::HasSubstr;

/// 4×4×1 → conv 3×3×3 (S = 2, L = 2: output 3 is padding) → max_pool → relu → flatten 3 → linear 2
/// (L = 4: outputs 2 and 3 are padding).
struct SmallI8 {
  std::vector<uint8_t> owner_nr = {0, 1, 0, 1, 0, 1, 0, 1, 0};
  std::vector<int8_t> conv_pnl = std::vector<int8_t>(18, 7);
  std::vector<int32_t> conv_bias_o = {1, -2, 3, 0};
  std::vector<uint8_t> shift_o = {0, 30, 5, 0};
  std::vector<int8_t> linear_pnl = {1, -127, 0, 0, 127, 2, 0, 0, 3, 4, 0, 0};
  std::vector<int32_t> linear_bias_o = {5, 6, 0, 0};
  std::vector<float> scale_o = {0.5f, 0.25f, 1.0f, 1.0f};
  std::vector<float> floats;
  Model model;

  SmallI8() {
    for (size_t p = 0; p < 9; ++p) {
      if (owner_nr[p] == 1) conv_pnl[2 * p + 1] = 0;
    }
    model.name = "small";
    model.format = NumberFormat::kI8;
    model.input = {4, 4, 1};
    model.input_scale = 0.1f;
    model.input_zero = 128;
    Add(LayerKind::kConv2d, "conv", {2, 2, 3});
    Add(LayerKind::kMaxPool, "pool", {1, 1, 3});
    Add(LayerKind::kRelu, "relu", {1, 1, 3});
    Add(LayerKind::kFlatten, "flatten", {1, 1, 3});
    Add(LayerKind::kLinear, "linear", {1, 1, 2});
    conv().window = {.kernel_h = 3, .kernel_w = 3};
    conv().packing = {2, 2, {1, RunTaps::kOne}};
    conv().output_scale = 0.01f;
    model.layers[1].window = {.kernel_h = 2, .kernel_w = 2};
    linear().packing = {1, 4, {}};
  }
  SmallI8(const SmallI8&) = delete;

  void Add(LayerKind kind, const char* name, const Shape& output) {
    Layer layer;
    layer.kind = kind;
    layer.name = name;
    layer.input = model.layers.empty() ? model.input : model.layers.back().output;
    layer.output = output;
    model.layers.push_back(layer);
  }
  void Erase(int index) { model.layers.erase(model.layers.begin() + index); }
  void Insert(int index, LayerKind kind) {
    Layer layer;
    layer.kind = kind;
    layer.name = "new";
    layer.input = layer.output =
        index == 0 ? model.input : model.layers[static_cast<size_t>(index - 1)].output;
    if (kind == LayerKind::kAffine) {
      floats.assign(static_cast<size_t>(layer.input.channels), 1.0f);
      layer.weight_pnl = layer.bias_o = floats;
    }
    model.layers.insert(model.layers.begin() + index, layer);
  }
  Layer& conv() { return model.layers.front(); }
  Layer& linear() { return model.layers.back(); }
  /// Values below 0 in the convolution's output; 128 << 30 would not fit 32 bits.
  void SetSigned() {
    conv().output_zero = kSignedZero;
    shift_o[1] = 20;
  }

  /// The spans of the first and last layer, where these have weights.
  void Point() {
    if (conv().kind == LayerKind::kConv2d) {
      conv().owner_nr = owner_nr;
      conv().weight_i8_pnl = conv_pnl;
      conv().bias_i32_o = conv_bias_o;
      conv().shift_o = shift_o;
    }
    if (linear().kind == LayerKind::kLinear) {
      linear().weight_i8_pnl = linear_pnl;
      linear().bias_i32_o = linear_bias_o;
      linear().scale_o = scale_o;
    }
  }
};

TEST(ModelI8, TheSmallOneIsValid) {
  SmallI8 small;
  small.Point();
  EXPECT_EQ(FaultOf(small.model), "");
}

TEST(ModelI8, NumbersThatKernelsCannotHoldAreRefused) {
  const std::pair<std::function<void(SmallI8&)>, const char*> cases[] = {
      {[](SmallI8& s) { s.conv_pnl.pop_back(); },
       "m.bisparse: layer 'conv': weight_i8_pnl has 17 integers, 18 expected"},
      {[](SmallI8& s) { s.conv_bias_o.pop_back(); }, "'conv': bias_i32_o has 3 integers, 4"},
      {[](SmallI8& s) { s.shift_o.pop_back(); }, "'conv': shift_o has 3 integers, 4 expected"},
      {[](SmallI8& s) { s.shift_o.clear(); }, "'conv': shift_o has 0 integers, 4 expected"},
      {[](SmallI8& s) { s.scale_o.clear(); }, "'linear': scale_o has 0 floats, 4 expected"},
      {[](SmallI8& s) { s.owner_nr.pop_back(); }, "'conv': 8 owners"},
      {[](SmallI8& s) { s.conv_pnl[4] = -128; },
       "'conv': weight_i8_pnl[4] is -128, not in [-127, 127]"},
      {[](SmallI8& s) { s.conv_pnl[3] = 1; },
       "'conv': weight_i8_pnl at position 1, set 0, lane 1 is 1, outside of the 3 outputs"},
      {[](SmallI8& s) { s.linear_pnl[6] = -1; },
       "'linear': weight_i8_pnl at position 1, set 0, lane 2 is -1, outside of the 2 outputs"},
      {[](SmallI8& s) { s.conv_bias_o[3] = 1; },
       "'conv': bias_i32_o[3] is 1, outside of the 3 outputs"},
      {[](SmallI8& s) { s.shift_o[2] = 31; }, "'conv': shift_o[2] is 31, not in [0, 30]"},
      {[](SmallI8& s) { s.scale_o[1] = 0; }, "'linear': scale_o[1] is 0, not a finite"},
      {[](SmallI8& s) { s.scale_o[1] = INFINITY; }, "'linear': scale_o[1] is inf, not a finite"},
      {[](SmallI8& s) { s.conv().output_scale = 0; }, "'conv': output_scale = 0 is not a finite"},
      {[](SmallI8& s) { s.conv().output_scale = NAN; }, "'conv': output_scale = nan is not"},
      {[](SmallI8& s) { s.linear().output_scale = 1; }, "'linear': output_scale = 1, 0 expected"},
      {[](SmallI8& s) { s.model.layers[1].output_scale = 1; }, "'pool': output_scale = 1, 0"},
      {[](SmallI8& s) { s.model.layers[1].shift_o = s.shift_o; }, "'pool': shift_o has 4"},
      {[](SmallI8& s) { s.conv().weight_pnl = s.scale_o; }, "'conv': weight_pnl has 4 floats, 0"},
      {[](SmallI8& s) { s.linear().bias_o = s.scale_o; }, "'linear': bias_o has 4 floats, 0"},
      {[](SmallI8& s) { s.model.input_scale = 0; }, "m.bisparse: input_scale = 0 is not a finite"},
      {[](SmallI8& s) { s.model.input_scale = 1e-40f; },
       "is not a finite number above 0 with a finite inverse"},
      {[](SmallI8& s) { s.model.input_scale = NAN; }, "m.bisparse: input_scale = nan is not"},
      {[](SmallI8& s) { s.model.input_zero = -1; }, "m.bisparse: input_zero = -1 is not in [0, 2"},
      {[](SmallI8& s) { s.model.input_zero = 256; }, "m.bisparse: input_zero = 256 is not in"},
      {[](SmallI8& s) { s.model.format = NumberFormat{2}; }, "number format = 2 is unknown"},
  };
  for (const auto& [change, fault] : cases) {
    SmallI8 small;
    change(small);
    small.Point();
    EXPECT_THAT(FaultOf(small.model), HasSubstr(fault));
  }
}

// Output 1 of the conv has 5 weights of 7: 5·7·255 = 8925; its rounding is 2^29.
TEST(ModelI8, ASumThatLeaves32BitsIsRefused) {
  SmallI8 small;
  small.conv_bias_o[1] = INT32_MAX - 8925 - (1 << 29);
  small.Point();
  EXPECT_EQ(FaultOf(small.model), "");
  ++small.conv_bias_o[1];
  EXPECT_THAT(FaultOf(small.model), HasSubstr("'conv': output 1: 255 x the sum of |weight_i8_pnl| "
                                              "+ |bias_i32_o| + rounding = 2147483648"));
  small.conv_bias_o[1] = INT32_MIN;
  EXPECT_THAT(FaultOf(small.model), HasSubstr("'conv': output 1"));
  // Output 1 of the linear layer: 133·255 = 33915, no rounding.
  small.conv_bias_o[1] = 0;
  small.linear_bias_o[1] = -(INT32_MAX - 33915);
  EXPECT_EQ(FaultOf(small.model), "");
  --small.linear_bias_o[1];
  EXPECT_THAT(FaultOf(small.model), HasSubstr("'linear': output 1"));
}

TEST(ModelI8, LayersInAnOrderThatU8CannotHoldAreRefused) {
  const std::pair<std::function<void(SmallI8&)>, const char*> cases[] = {
      {[](SmallI8& s) { s.Erase(2); },
       "'conv': output_zero = 0, 128 expected: its values below 0 are read"},
      {[](SmallI8& s) { s.model.layers[1].kind = LayerKind::kAvgPool; },
       "'conv': output_zero = 0, 128 expected"},
      {[](SmallI8& s) { s.Insert(1, LayerKind::kAffine); },
       "'new': kind = affine, int8 allows no affine but as the first layer (hint: "},
      {[](SmallI8& s) {
         s.Insert(0, LayerKind::kAffine);
         s.model.layers[0].name = "second";
         s.Insert(0, LayerKind::kAffine);
       },
       "'second': kind = affine"},
      {[](SmallI8& s) { s.Insert(0, LayerKind::kRelu); },
       "input_zero = 128, 0 expected where only relus and kwtas read the input"},
      {[](SmallI8& s) { s.Insert(5, LayerKind::kRelu); },
       "'new': kind = relu, int8 allows only flatten after the logits of 'linear'"},
      {[](SmallI8& s) {
         s.Erase(4);
         s.Erase(0);
         s.model.layers = {s.model.layers[1]};
         s.model.input = s.model.layers[0].input;
       },
       "m.bisparse: int8 needs a conv2d or linear"},
  };
  for (const auto& [change, fault] : cases) {
    SmallI8 small;
    small.Point();
    change(small);
    EXPECT_THAT(FaultOf(small.model), HasSubstr(fault));
  }
}

TEST(ModelI8, ATableIsWholeAndStandsWhereItIsRead) {
  static const std::vector<uint8_t> table(256, 7);
  const auto smooth = [](SmallI8& s) -> Layer& {
    s.Insert(3, LayerKind::kSigmoid);
    Layer& layer = s.model.layers[3];
    layer.table = table;
    layer.output_scale = 0.5f;
    layer.output_zero = 17;
    return layer;
  };
  const std::pair<std::function<void(Layer&)>, const char*> cases[] = {
      {[](Layer&) {}, ""},
      {[](Layer& l) { l.table = std::span(table).first(255); },
       "'new': table has 255 integers, 256 expected"},
      {[](Layer& l) { l.table = {}; }, "'new': table has 0 integers, 256 expected"},
      {[](Layer& l) { l.kind = LayerKind::kRelu; }, "'new': table has 256 integers, 0 expected"},
      {[](Layer& l) { l.output_scale = 0; }, "'new': output_scale = 0 is not a finite number"},
      {[](Layer& l) { l.output_zero = 256; }, "'new': output_zero = 256"},
      {[](Layer& l) { l.output_shift = 1; }, "'new': output_shift = 1"},
      {[](Layer& l) { l.output.width = 2; }, "'new': output = 1x2x3"},
  };
  for (const auto& [change, fault] : cases) {
    SmallI8 small;
    small.Point();
    change(smooth(small));
    EXPECT_THAT(FaultOf(small.model), HasSubstr(fault));
    if (*fault == '\0') {
      EXPECT_EQ(FaultOf(small.model), "");
    }
  }
  SmallI8 after_logits;
  after_logits.Point();
  after_logits.Insert(5, LayerKind::kSigmoid);
  EXPECT_THAT(FaultOf(after_logits.model), HasSubstr("int8 allows only flatten after the logits"));
}

TEST(ModelI8, LayersInAnOrderThatU8CanHoldAreValid) {
  const std::function<void(SmallI8&)> cases[] = {
      [](SmallI8& s) { s.Erase(3); },
      [](SmallI8& s) { s.model.layers[2].kind = LayerKind::kKwta; },
      [](SmallI8& s) { std::swap(s.model.layers[2].kind, s.model.layers[3].kind); },
      [](SmallI8& s) { s.Insert(3, LayerKind::kAvgPool); },
      [](SmallI8& s) { s.Insert(3, LayerKind::kKwta); },
      [](SmallI8& s) { s.Insert(0, LayerKind::kAvgPool); },
      [](SmallI8& s) { s.Insert(0, LayerKind::kAffine); },
      [](SmallI8& s) { s.Insert(5, LayerKind::kFlatten); },
      [](SmallI8& s) {
        s.Insert(0, LayerKind::kRelu);
        s.Insert(0, LayerKind::kAvgPool);
        s.model.layers[0].name = "mean";
      },
      [](SmallI8& s) {
        s.Erase(2);
        s.SetSigned();
      },
      [](SmallI8& s) {
        s.model.layers[1].kind = LayerKind::kAvgPool;
        s.SetSigned();
      },
      [](SmallI8& s) { s.SetSigned(); },
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    SmallI8 small;
    small.Point();
    cases[i](small);
    EXPECT_EQ(FaultOf(small.model), "") << "case " << i;
  }
}

TEST(ModelI8, AnF32ModelHoldsNothingOfInt8) {
  const std::pair<std::function<void(Model&, const SmallI8&)>, const char*> cases[] = {
      {[](Model& m, const SmallI8& s) { m.layers[0].weight_i8_pnl = s.conv_pnl; },
       "'conv1': weight_i8_pnl has 18 integers, 0 expected"},
      {[](Model& m, const SmallI8& s) { m.layers[0].bias_i32_o = s.conv_bias_o; }, "bias_i32_o"},
      {[](Model& m, const SmallI8& s) { m.layers[0].shift_o = s.shift_o; }, "shift_o has 4"},
      {[](Model& m, const SmallI8& s) { m.layers[4].scale_o = s.scale_o; },
       "'norm2': scale_o has 4 floats, 0 expected"},
      {[](Model& m, const SmallI8& s) { m.layers[1].table = s.shift_o; }, "table has 4 integers"},
      {[](Model& m, const SmallI8&) { m.layers[1].output_scale = 1; }, "output_scale = 1"},
      {[](Model& m, const SmallI8&) { m.input_scale = 1; }, "input_scale = 1, input_zero = 0, 0"},
      {[](Model& m, const SmallI8&) { m.input_zero = 1; }, "input_zero = 1"},
  };
  const SmallI8 small;
  for (const auto& [change, fault] : cases) {
    Model model = MakeExampleModel(1);
    ASSERT_EQ(FaultOf(model), "");
    change(model, small);
    EXPECT_THAT(FaultOf(model), HasSubstr(fault));
  }
}

std::string ParseFault(const std::vector<uint8_t>& bytes) {
  try {
    ParseModel(bytes, "m.bisparse");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "";
}

template <typename T>
std::vector<T> Copy(std::span<const T> values) {
  return {values.begin(), values.end()};
}

TEST(ModelI8, AFileHoldsEveryField) {
  SmallI8 small;
  small.Point();
  const Model read = ParseModel(SerialiseModel(small.model), "m.bisparse");
  EXPECT_EQ(read.format, NumberFormat::kI8);
  EXPECT_EQ(read.input_scale, 0.1f);
  EXPECT_EQ(read.input_zero, 128);
  const Layer &conv = read.layers.front(), &linear = read.layers.back();
  EXPECT_EQ(Copy(conv.owner_nr), small.owner_nr);
  EXPECT_EQ(Copy(conv.weight_i8_pnl), small.conv_pnl);
  EXPECT_EQ(Copy(conv.bias_i32_o), small.conv_bias_o);
  EXPECT_EQ(Copy(conv.shift_o), small.shift_o);
  EXPECT_EQ(conv.output_scale, 0.01f);
  EXPECT_EQ(Copy(linear.weight_i8_pnl), small.linear_pnl);
  EXPECT_EQ(Copy(linear.bias_i32_o), small.linear_bias_o);
  EXPECT_EQ(Copy(linear.scale_o), small.scale_o);
  for (const Layer* layer : {&conv, &linear}) {  // used in place by vector loads
    EXPECT_EQ(reinterpret_cast<uintptr_t>(layer->weight_i8_pnl.data()) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(layer->bias_i32_o.data()) % 64, 0u);
  }
}

// An older program reads version 1 alone: it must refuse an int8 file and go on reading f32 ones.
TEST(ModelI8, AFilesVersionIsThatOfItsNumberFormat) {
  SmallI8 small;
  small.Point();
  std::vector<uint8_t> i8 = SerialiseModel(small.model), f32 = SerialiseModel(MakeExampleModel(1));
  ASSERT_EQ(i8[8], 2);
  ASSERT_EQ(f32[8], 1);
  i8[8] = 1;
  EXPECT_THAT(ParseFault(i8), HasSubstr("m.bisparse: format version = 1, int8 is version 2"));
  f32[8] = 2;
  EXPECT_THAT(ParseFault(f32), HasSubstr("m.bisparse: format version = 2, f32 is version 1"));
  f32[8] = 3;
  EXPECT_THAT(ParseFault(f32), HasSubstr("format version = 3, f32 is version 1"));
}

}  // namespace
}  // namespace bisparse::packed
