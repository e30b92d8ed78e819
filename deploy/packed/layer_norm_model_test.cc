// SPDX-License-Identifier: Apache-2.0
// Models with a layer_norm, in f32 and int8: what ValidateModel refuses, what a file keeps, what its steps mean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "deploy/packed/example_model.h"
#include "deploy/packed/fault_of.h"
#include "deploy/packed/limits.h"
#include "deploy/packed/model.h"
#include "deploy/packed/model_file.h"

namespace bisparse::packed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// 2×1×3 → layer_norm → flatten 6 → linear 1.
struct WithNorm {
  std::vector<float> gain = {1, -2, 0.5f}, bias = {0.25f, 0, 3}, weight = std::vector<float>(6, 1),
                     one = {1};
  std::vector<int8_t> weight_i8 = std::vector<int8_t>(6, 1);
  std::vector<int32_t> bias_i32 = {7};
  std::vector<uint8_t> bytes = std::vector<uint8_t>(256);
  Model model;

  explicit WithNorm(NumberFormat format) {
    model.name = "small";
    model.format = format;
    model.input = {2, 1, 3};
    model.layers = {
        {.kind = LayerKind::kLayerNorm, .name = "norm", .input = {2, 1, 3}, .output = {2, 1, 3}},
        {.kind = LayerKind::kFlatten, .name = "flat", .input = {2, 1, 3}, .output = {1, 1, 6}},
        {.kind = LayerKind::kLinear, .name = "linear", .input = {1, 1, 6}, .output = {1, 1, 1}}};
    norm().weight_pnl = gain;
    norm().bias_o = bias;
    norm().epsilon = 1e-3f;
    if (format == NumberFormat::kF32) {
      model.layers[2].weight_pnl = weight;
      model.layers[2].bias_o = one;
      return;
    }
    model.input_scale = 0.1f;
    model.input_zero = 128;
    norm().output_scale = 0.0625f;
    norm().output_zero = 31;
    model.layers[2].weight_i8_pnl = weight_i8;
    model.layers[2].bias_i32_o = bias_i32;
    model.layers[2].scale_o = one;
  }
  WithNorm(const WithNorm&) = delete;
  Layer& norm() { return model.layers[0]; }
};

using Change = std::function<void(WithNorm&)>;

constexpr const char* kEpsilonFault = "is not in [1e-12, 1]";

const std::pair<Change, const char*> kOfBoth[] = {
    {[](WithNorm&) {}, ""},
    {[](WithNorm& w) { w.norm().epsilon = 1e-12f; }, ""},
    {[](WithNorm& w) { w.norm().epsilon = 1; }, ""},
    {[](WithNorm& w) { w.norm().epsilon = 0; }, kEpsilonFault},
    {[](WithNorm& w) { w.norm().epsilon = -1e-5f; }, kEpsilonFault},
    {[](WithNorm& w) { w.norm().epsilon = 9e-13f; }, kEpsilonFault},
    {[](WithNorm& w) { w.norm().epsilon = 1.01f; }, kEpsilonFault},
    {[](WithNorm& w) { w.norm().epsilon = NAN; }, kEpsilonFault},
    {[](WithNorm& w) { w.norm().epsilon = INFINITY; }, "m.bisparse: layer 'norm': epsilon = inf"},
    {[](WithNorm& w) { w.norm().weight_pnl = std::span(w.gain).first(2); },
     "layer 'norm': weight_pnl (gain) has 2 floats, 3 expected"},
    {[](WithNorm& w) { w.norm().weight_pnl = w.weight; }, "weight_pnl (gain) has 6 floats, 3"},
    {[](WithNorm& w) { w.norm().bias_o = {}; }, "bias_o (bias) has 0 floats, 3 expected"},
    {[](WithNorm& w) { w.gain[1] = INFINITY; }, "weight_pnl (gain)[1] is inf, not a finite"},
    {[](WithNorm& w) { w.bias[2] = NAN; }, "bias_o (bias)[2] is nan, not a finite number"},
    {[](WithNorm& w) { w.norm().output.width = 2; }, "output = 2x2x3, layer_norm of 2x1x3 gives"},
    {[](WithNorm& w) { w.norm().owner_nr = w.bytes; }, "has 256 owners, 0 expected"},
    {[](WithNorm& w) { w.norm().weight_i8_pnl = w.weight_i8; }, "weight_i8_pnl has 6 integers, 0"},
    {[](WithNorm& w) { w.norm().shift_o = w.bytes; }, "shift_o has 256 integers, 0 expected"},
    {[](WithNorm& w) { w.norm().output_shift = 1; }, "output_shift = 1 is not in [0, 0]"},
    {[](WithNorm& w) { w.norm().table = w.bytes; }, "table has 256 integers, 0 expected"},
    {[](WithNorm& w) {
       w.model.input = w.norm().input = w.norm().output = {1, 1, kMaxNormChannels + 1};
     },
     "channels = 8388609 is not in [1, 8388608]"},
};

TEST(LayerNormModel, NumbersThatNobodyCanNormaliseWithAreRefused) {
  for (const NumberFormat format : {NumberFormat::kF32, NumberFormat::kI8}) {
    for (const auto& [change, fault] : kOfBoth) {
      WithNorm with(format);
      change(with);
      if (*fault == '\0') {
        EXPECT_EQ(FaultOf(with.model), "");
      } else {
        EXPECT_THAT(FaultOf(with.model), HasSubstr(fault));
      }
    }
  }
}

TEST(LayerNormModel, StepsAreOfInt8Alone) {
  WithNorm f32(NumberFormat::kF32);
  f32.norm().output_scale = 1;
  EXPECT_THAT(FaultOf(f32.model), HasSubstr("layer 'norm': output_scale = 1, 0 expected"));
  const std::pair<Change, const char*> cases[] = {
      {[](WithNorm& w) { w.norm().output_scale = 0; }, "output_scale = 0 is not a finite number"},
      {[](WithNorm& w) { w.norm().output_scale = NAN; }, "output_scale = nan is not a finite"},
      {[](WithNorm& w) { w.norm().output_zero = -1; }, "output_zero = -1 is not in [0, 255]"},
      {[](WithNorm& w) { w.norm().output_zero = 256; }, "output_zero = 256 is not in [0, 255]"},
  };
  for (const auto& [change, fault] : cases) {
    WithNorm i8(NumberFormat::kI8);
    change(i8);
    EXPECT_THAT(FaultOf(i8.model), HasSubstr(fault));
  }
  WithNorm after(NumberFormat::kI8);
  Layer last = after.norm();
  last.name = "last";
  last.input = last.output = {1, 1, 1};
  after.model.layers.push_back(last);
  EXPECT_THAT(FaultOf(after.model), HasSubstr("'last': kind = layer_norm, int8 allows only flatten "
                                              "after the logits"));
}

TEST(LayerNormModel, ItTellsValuesBelowZeroApartAndHasStepsOfItsOwn) {
  const WithNorm with(NumberFormat::kI8);
  EXPECT_THAT(NegativesAreRead(with.model), ElementsAre(true, true, true, false));
  const std::vector<Quantisation> steps = Quantisations(with.model);
  EXPECT_EQ(steps[1], (Quantisation{0.0625f, 31}));
  EXPECT_EQ(steps[2], (Quantisation{0.0625f, 31}));
}

TEST(LayerNormModel, AFileHoldsEveryField) {
  for (const NumberFormat format : {NumberFormat::kF32, NumberFormat::kI8}) {
    WithNorm with(format);
    for (const float epsilon : {1e-5f, 1e-3f}) {  // the default, and another
      with.norm().epsilon = epsilon;
      const std::vector<uint8_t> bytes = SerialiseModel(with.model);
      const Model read = ParseModel(bytes, "m.bisparse");
      const Layer& norm = read.layers[0];
      EXPECT_EQ(norm.kind, LayerKind::kLayerNorm);
      EXPECT_EQ(norm.epsilon, epsilon);
      EXPECT_THAT(norm.weight_pnl, ElementsAre(1, -2, 0.5f));
      EXPECT_THAT(norm.bias_o, ElementsAre(0.25f, 0, 3));
      EXPECT_EQ(norm.output_scale, with.norm().output_scale);
      EXPECT_EQ(norm.output_zero, with.norm().output_zero);
      EXPECT_EQ(SerialiseModel(read), bytes);
    }
  }
}

TEST(LayerNormModel, OtherLayersWriteNoEpsilon) {
  Model model = MakeExampleModel(1);
  const std::vector<uint8_t> bytes = SerialiseModel(model);
  for (Layer& layer : model.layers) layer.epsilon = 0.5f;
  EXPECT_EQ(SerialiseModel(model), bytes);
}

}  // namespace
}  // namespace bisparse::packed
