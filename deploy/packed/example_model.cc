// SPDX-License-Identifier: Apache-2.0
// Read first: example_model.h.
#include "deploy/packed/example_model.h"

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/random.h"

namespace bisparse::packed {
namespace {

struct Storage {
  std::deque<AlignedBuffer<float>> floats;
  std::deque<AlignedBuffer<uint8_t>> owners;
};

class Builder {
 public:
  Builder(uint64_t seed, Shape input) : seed_(seed) { model_.input = input; }

  Layer& Add(LayerKind kind, const char* name) {
    Layer layer;
    layer.kind = kind;
    layer.name = name;
    layer.input = model_.layers.empty() ? model_.input : model_.layers.back().output;
    layer.output = layer.input;
    model_.layers.push_back(std::move(layer));
    return model_.layers.back();
  }

  void Conv(const char* name, Window window, int32_t outputs, Packing packing) {
    Layer& layer = Add(LayerKind::kConv2d, name);
    layer.window = window;
    layer.output = WindowOutput(layer.input, window, outputs);
    Fill(layer, packing);
  }

  void Linear(const char* name, int32_t outputs, Packing packing) {
    Layer& layer = Add(LayerKind::kLinear, name);
    layer.output = {1, 1, outputs};
    Fill(layer, packing);
  }

  void Pool(LayerKind kind, const char* name, Window window) {
    Layer& layer = Add(kind, name);
    layer.window = window;
    layer.output = WindowOutput(layer.input, window, layer.input.channels);
  }

  void AddAffine(const char* name) {
    Layer& layer = Add(LayerKind::kAffine, name);
    CounterRandom random(seed_, {model_.layers.size()});
    std::span<float> scale = Floats(layer.input.channels), shift = Floats(layer.input.channels);
    for (float& x : scale) x = 0.5f + random.Uniform();
    for (float& x : shift) x = 0.125f * random.Normal();
    layer.weight_pnl = scale;
    layer.bias_o = shift;
  }

  Model Finish() {
    model_.storage = storage_;
    return std::move(model_);
  }

 private:
  std::span<float> Floats(int64_t count) {
    return storage_->floats.emplace_back(static_cast<size_t>(count)).span();
  }

  void Fill(Layer& layer, Packing packing) {
    layer.packing = packing;
    const Layout layout(layer.kernel(), packing);
    CounterRandom random(seed_, {model_.layers.size()});
    std::span<uint8_t> owner_nr =
        storage_->owners.emplace_back(static_cast<size_t>(layout.owners())).span();
    for (size_t i = 0; i < owner_nr.size(); ++i) {
      owner_nr[i] = uint8_t(random.Below(layout.BlocksOfSet(int32_t(i / layout.runs))));
    }
    std::span<float> weight_pnl = Floats(layout.slots()), bias_o = Floats(layout.outputs_padded());
    layout.ForEachSlot(owner_nr, [&](int64_t, int32_t, int32_t, int64_t, int64_t slot) {
      weight_pnl[slot] = 0.25f * random.Normal();
    });
    for (int32_t o = 0; o < layout.shape.outputs; ++o) bias_o[o] = 0.125f * random.Normal();
    layer.owner_nr = owner_nr;
    layer.weight_pnl = weight_pnl;
    layer.bias_o = bias_o;
  }

  uint64_t seed_;
  Model model_;
  std::shared_ptr<Storage> storage_ = std::make_shared<Storage>();
};

FrontEnd ExampleFrontEnd() {
  FrontEnd front_end;
  front_end.sample_rate_hz = 8000;
  front_end.clip_samples = 2048;
  front_end.window_samples = 512;
  front_end.hop_samples = 256;
  front_end.fft_samples = 512;
  front_end.mel_count = 8;
  front_end.frame_count = 8;
  front_end.high_hz = 3800.0f;
  return front_end;
}

}  // namespace

Model MakeExampleModel(uint64_t seed) {
  Builder b(seed, {8, 8, 1});
  b.Conv("conv1", {3, 3, 1, 1, 0, 0}, 8, {3, 1, {1, RunTaps::kOne}});  // 6×6×8
  b.Pool(LayerKind::kMaxPool, "pool1", {2, 2, 2, 2, 0, 0});            // 3×3×8
  b.Add(LayerKind::kKwta, "kwta1").kwta = {2, KwtaScope::kLocal, 2, 1};
  b.Conv("conv2", {2, 2, 1, 1, 1, 1}, 16, {2, 8, {4, RunTaps::kRow}});  // 4×4×16
  b.AddAffine("norm2");
  b.Add(LayerKind::kRelu, "relu2");
  b.Pool(LayerKind::kAvgPool, "pool2", {2, 2, 2, 2, 0, 0});  // 2×2×16
  b.Add(LayerKind::kKwta, "kwta2").kwta = {8, KwtaScope::kGlobal, 1, 1};
  Layer& flatten = b.Add(LayerKind::kFlatten, "flatten");
  flatten.output = {1, 1, 64};
  b.Linear("linear1", 20, {2, 4, {1, RunTaps::kOne}});
  b.Add(LayerKind::kKwta, "kwta3").kwta = {3, KwtaScope::kLocal, 1, 2};
  b.Linear("output", 3, {1, 16, {}});
  Model model = b.Finish();
  model.name = "example";
  model.class_names = {"yes", "no", "_silence_"};
  model.front_end = ExampleFrontEnd();
  model.provenance = {"name: example\n", "example", "2026-01-01T00:00:00Z", seed, 0.5};
  return model;
}

}  // namespace bisparse::packed
