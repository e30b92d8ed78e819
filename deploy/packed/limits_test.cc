// SPDX-License-Identifier: Apache-2.0
// Models at the edge of what a machine can be asked for: one step further is refused, whatever product would overflow.
#include "deploy/packed/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/packed/layout.h"

namespace bisparse::packed {
namespace {

/// Layers without weights, or with weights of 0, whose storage all share.
class Builder {
 public:
  explicit Builder(Shape input) {
    model_.name = "model";
    model_.input = input;
  }
  Builder& Add(LayerKind kind, Shape output, Window window = {}, Packing packing = {}) {
    Layer& layer = model_.layers.emplace_back();
    layer.name = "layer" + std::to_string(model_.layers.size());
    layer.kind = kind;
    layer.input =
        model_.layers.size() == 1 ? model_.input : model_.layers[model_.layers.size() - 2].output;
    layer.output = output;
    layer.window = window;
    layer.packing = packing;
    if (layer.HasWeights()) {
      const Layout layout(layer.kernel(), layer.packing);
      layer.weight_pnl = Floats(layout.slots());
      layer.bias_o = Floats(layout.outputs_padded());
      owners_.resize(std::max(owners_.size(), static_cast<size_t>(layout.owners())));
      layer.owner_nr = std::span(owners_).first(static_cast<size_t>(layout.owners()));
    }
    return *this;
  }
  Builder& Window2d(LayerKind kind, int32_t channels, Window window, Packing packing = {}) {
    const Shape in = model_.layers.empty() ? model_.input : model_.layers.back().output;
    return Add(kind, WindowOutput(in, window, channels), window, packing);
  }
  Model& model() { return model_; }

  std::string Fault() const {
    try {
      ValidateModel(model_, "m");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      return error.what();
    }
    return "";
  }

 private:
  std::span<const float> Floats(int64_t count) {
    if (zeros_.empty()) zeros_.resize(1 << 24);
    return std::span(zeros_).first(static_cast<size_t>(count));
  }

  Model model_;
  std::vector<float> zeros_;
  std::vector<uint8_t> owners_;
};

using testing::HasSubstr;
using testing::IsEmpty;

TEST(Limits, OfAPaddedMap) {
  const auto fault = [](Shape in, Window window) {
    return Builder(in).Window2d(LayerKind::kConv2d, 1, window).Fault();
  };
  EXPECT_THAT(fault({1, 1, 1}, {1, 1, 4096, 4096, 4095, 4095}), IsEmpty());
  EXPECT_THAT(fault({1, 1, 1}, {1, 1, 4096, 4096, 4096, 4096}),
              HasSubstr("layer 'layer1': input 1x1x1 padded by pad_h = 4096 and pad_w = 4096 has "
                        "67125249 elements, at most 67108864 are allowed"));
  EXPECT_THAT(fault({1, 1, 1 << 20}, {1, 1, 1, 1, 0, 31}), IsEmpty());
  EXPECT_THAT(fault({1, 1, 1 << 20}, {1, 1, 1, 1, 0, 32}), HasSubstr("padded by"));
  EXPECT_THAT(fault({1 << 26, 1, 1}, {1, 1, 4096, 4096, 4096, 4096}), HasSubstr("padded by"));
}

TEST(Limits, OfAChunk) {
  const auto fault = [](int32_t chunk) {
    Builder builder({1, 1, 1 << 25});
    builder.Add(LayerKind::kKwta, {1, 1, 1 << 25});
    builder.model().layers[0].kwta = {1, KwtaScope::kLocal, 1, chunk};
    return builder.Fault();
  };
  EXPECT_THAT(fault(1 << 16), IsEmpty());
  EXPECT_THAT(fault(1 << 17), HasSubstr("kwta.chunk = 131072 is not in [1, 65536]"));
  EXPECT_THAT(fault(1 << 24), HasSubstr("kwta.chunk = 16777216 is not in [1, 65536]"));
}

TEST(Limits, OfWork) {
  // A pool over all of a large map at every place of it.
  EXPECT_THAT(Builder({4096, 4096, 1})
                  .Window2d(LayerKind::kAvgPool, 1, {4096, 4096, 1, 1, 4095, 4095})
                  .Fault(),
              HasSubstr("layer 'layer1': work = "));
  EXPECT_THAT(Builder({4096, 4096, 1}).Window2d(LayerKind::kAvgPool, 1, {4096, 4096}).Fault(),
              IsEmpty());
  // 2^26 elements passed over as often as layers do it.
  Builder many({1 << 13, 1 << 13, 1});
  for (int i = 0; i < 15; ++i) many.Add(LayerKind::kRelu, {1 << 13, 1 << 13, 1});
  EXPECT_THAT(many.Fault(), IsEmpty());
  for (int i = 0; i < 2; ++i) many.Add(LayerKind::kRelu, {1 << 13, 1 << 13, 1});
  EXPECT_THAT(many.Fault(), HasSubstr("layer 'layer17': work = 1073741824 a sample, with the "
                                      "layers before it 18253611008: at most 17179869184"));
  // A kernel of few weights on a large map.
  EXPECT_THAT(Builder({1 << 11, 1 << 11, 1}).Window2d(LayerKind::kConv2d, 16, {40, 40}).Fault(),
              HasSubstr("work = "));
}

TEST(Limits, OfWeights) {
  // One output takes a whole register: 2^24 inputs are 2^28 weights.
  Builder builder({1, 1, 1 << 24});
  builder.Add(LayerKind::kLinear, {1, 1, 1});
  EXPECT_THAT(builder.Fault(), IsEmpty());
  builder.Add(LayerKind::kLinear, {1, 1, 1});
  EXPECT_THAT(builder.Fault(), HasSubstr("layer 'layer2': weights = 16, were it dense, with the "
                                         "layers before it 268435472: at most 268435456"));
}

TEST(Limits, CountWhatIsMultiplied) {
  Builder builder({10, 20, 3});
  builder.Window2d(LayerKind::kConv2d, 20, {5, 3, 2, 1, 1, 0}).Add(LayerKind::kRelu, {4, 18, 20});
  const Layer &conv = builder.model().layers[0], &relu = builder.model().layers[1];
  EXPECT_EQ(PaddedElements(conv).value(), 12 * 20 * 3);
  EXPECT_EQ(DenseWeights(conv).value(), 3 * 5 * 3 * 32);
  EXPECT_EQ(Work(conv).value(), 4 * 18 * 20 * 45 + 8 * (12 * 20 * 3 + 4 * 18 * 20));
  EXPECT_EQ(Work(relu).value(), 16 * 4 * 18 * 20);
  EXPECT_EQ(DenseWeights(relu).value(), 0);
}

}  // namespace
}  // namespace bisparse::packed
