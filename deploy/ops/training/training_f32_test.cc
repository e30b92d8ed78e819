// SPDX-License-Identifier: Apache-2.0
// Packed layers in training against their formulas in double, on every instruction set: random shapes, owners, strides,
// padding, dilation; linear layers; guards; the same bits however channels and samples are split.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "deploy/base/test_seed.h"
#include "deploy/ops/training/training_prepare.h"
#include "deploy/ops/training/training_ref.h"

namespace bisparse::kernels {
namespace {

struct Case {
  Shape input;
  packed::Window window;
  int32_t outputs;
  packed::Packing packing;
  int32_t samples;
  float density;
};

Case RandomCase(Random& random) {
  constexpr int32_t kLanes[] = {1, 2, 3, 4, 8, 16, 16};
  Case c{};
  const bool linear = random.Int(0, 3) == 0;
  c.input = {linear ? 1 : random.Int(1, 7), linear ? 1 : random.Int(1, 9), random.Int(1, 21)};
  if (!linear) {
    packed::Window& w = c.window;
    w.pad_h = random.Int(0, 2);
    w.pad_w = random.Int(0, 2);
    w.kernel_h = random.Int(1, std::min(5, c.input.height + 2 * w.pad_h));
    w.kernel_w = random.Int(1, std::min(5, c.input.width + 2 * w.pad_w));
    w.pad_h = std::min(w.pad_h, w.kernel_h - 1);
    w.pad_w = std::min(w.pad_w, w.kernel_w - 1);
    w.kernel_h = std::min(w.kernel_h, c.input.height + 2 * w.pad_h);
    w.kernel_w = std::min(w.kernel_w, c.input.width + 2 * w.pad_w);
    w.stride_h = random.Int(1, 3);
    w.stride_w = random.Int(1, 2);
    if (w.kernel_h > 1 && 2 * (w.kernel_h - 1) + 1 <= c.input.height + 2 * w.pad_h) {
      w.dilation_h = random.Int(1, 2);
    }
    if (w.kernel_w > 1 && 2 * (w.kernel_w - 1) + 1 <= c.input.width + 2 * w.pad_w) {
      w.dilation_w = random.Int(1, 2);
    }
  }
  c.packing = {random.Int(1, 5),
               kLanes[random.Int(0, 6)],
               {random.Int(1, 4), static_cast<packed::RunTaps>(random.Int(0, 2))}};
  c.outputs = random.Int(1, 90);
  c.samples = random.Int(1, 5);
  c.density = random.Int(0, 3) == 0 ? 0.0f : 0.1f * static_cast<float>(random.Int(1, 10));
  return c;
}

/// The lists of samples first … first + count of x; all: zeros too.
struct Lists {
  Lists(const int32_t* order_q, const float* x, int32_t samples, int32_t positions,
        int32_t channels, bool all) {
    std::vector<int32_t> count(static_cast<size_t>(channels), samples * positions);
    if (!all) CountInputsF32(x, int64_t{samples} * positions, channels, count.data());
    begin_c.assign(1, 0);
    for (const int32_t n : count) begin_c.push_back(begin_c.back() + n);
    const auto total = static_cast<size_t>(begin_c.back());
    sample_e.resize(total);
    position_e.resize(total);
    value_e.resize(total);
    std::vector<int32_t> next = begin_c;
    ListInputsF32({x, samples, positions, channels, all, order_q, next.data(), sample_e.data(),
                   position_e.data(), value_e.data()});
    for (int32_t c = 0; c < channels; ++c) {
      const auto at = static_cast<size_t>(c);
      EXPECT_EQ(next[at], begin_c[at + 1]) << "channel " << c;
    }
  }
  ListedInputs View() const {
    return {begin_c.data(), sample_e.data(), position_e.data(), value_e.data()};
  }
  std::vector<int32_t> begin_c, sample_e, position_e;
  std::vector<float> value_e;
};

template <class Got>
void Compare(const std::vector<RefSum>& want, const Got& got, const char* what) {
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[static_cast<int64_t>(i)], want[i].value, want[i].bound())
        << what << ", element " << i;
  }
}

class TrainingKernels : public testing::Test {
 protected:
  /// Winners' kernels on the lists of `x` and dense ones on x, of one layer.
  void Check(const Case& c, Random& random) {
    const Shape out = packed::WindowOutput(c.input, c.window, c.outputs);
    const RandomLayer layer({c.outputs, c.input.channels, c.window.kernel_h, c.window.kernel_w},
                            c.packing, random);
    SCOPED_TRACE(
        layer.Text() + ", input, stride, pad, dilation, samples = " +
        testing::PrintToString(std::vector<int>{
            c.input.height, c.input.width, c.window.stride_h, c.window.stride_w, c.window.pad_h,
            c.window.pad_w, c.window.dilation_h, c.window.dilation_w, c.samples}));
    const packed::Layout& layout = layer.layout;
    const int32_t in_positions = c.input.height * c.input.width;
    const int64_t map = int64_t{out.height} * out.width * layout.outputs_padded();
    std::vector<float> x = random.Normals(int64_t{c.samples} * in_positions * c.input.channels);
    for (float& value : x) {
      if (static_cast<float>(random.Int(0, 99)) >= 100.0f * c.density) value = 0.0f;
    }
    const std::vector<float> dy = random.Normals(c.samples * map);
    TrainingRef ref = ComputeTrainingRef(layer, c.window, c.input, out, c.samples, x, dy);
    for (size_t i = 0; i < ref.y_sqo.size(); ++i) {
      ref.y_sqo[i].Add(layer.bias_o[i % static_cast<size_t>(layout.outputs_padded())]);
    }
    const PreparedTraining prepared =
        PrepareTraining(layout, c.window, c.input, out, layer.owner_nr);
    ForEachIsa([&] {
      CheckWinners(c, layer, prepared, x, dy, ref, random);
      CheckDense(c, layer, prepared, x, dy, ref);
    });
  }

  void CheckWinners(const Case& c, const RandomLayer& layer, const PreparedTraining& prepared,
                    const std::vector<float>& x, const std::vector<float>& dy,
                    const TrainingRef& ref, Random& random) {
    const int32_t positions = c.input.height * c.input.width, channels = c.input.channels;
    const int64_t y_size = static_cast<int64_t>(dy.size()), map = y_size / c.samples;
    const int32_t* const order = prepared.winners.order_q;
    const Lists lists(order, x.data(), c.samples, positions, channels, false);
    const Lists all(order, x.data(), c.samples, positions, channels, true);

    Guarded<float> y(y_size), y_all(y_size), y_single(map);
    const auto forward = [&](const Lists& of, int32_t samples, Guarded<float>& to) {
      WinnersForwardF32(prepared.winners, of.View(), samples, layer.weight_pnl.data(),
                        layer.bias_o.data(), to.data());
      ASSERT_TRUE(to.Intact());
    };
    forward(lists, c.samples, y);
    forward(all, c.samples, y_all);
    Compare(ref.y_sqo, y, "y");
    Compare(ref.y_sqo, y_all, "y of all");
    // A sample alone.
    const int32_t sample = random.Int(0, c.samples - 1);
    const Lists one(order, x.data() + int64_t{sample} * positions * channels, 1, positions,
                    channels, false);
    forward(one, 1, y_single);
    for (int64_t i = 0; i < map; ++i)
      ASSERT_EQ(y_single[i], y[sample * map + i]) << "element " << i;

    const int64_t slots = layer.layout.slots(), x_size = static_cast<int64_t>(x.size());
    const auto backward = [&](const Lists& of, int32_t begin, int32_t end, float* dweight,
                              float* dx) {
      WinnersBackwardF32(prepared.winners, of.View(),
                         {begin, end, layer.weight_pnl.data(), dy.data(), dweight, dx});
    };
    Guarded<float> dw(slots), dx(x_size), dw_split(slots), dx_split(x_size), dw_only(slots),
        dx_only(x_size), dx_all(x_size);
    for (Guarded<float>* zero : {&dw, &dx, &dw_split, &dx_split, &dw_only, &dx_only, &dx_all}) {
      std::fill_n(zero->data(),
                  zero == &dw || zero == &dw_split || zero == &dw_only ? slots : x_size, 0.0f);
    }
    backward(lists, 0, channels, dw.data(), dx.data());
    const int32_t split = random.Int(0, channels);
    backward(lists, split, channels, dw_split.data(), dx_split.data());
    backward(lists, 0, split, dw_split.data(), dx_split.data());
    backward(lists, 0, channels, dw_only.data(), nullptr);
    backward(lists, 0, channels, nullptr, dx_only.data());
    backward(all, 0, channels, nullptr, dx_all.data());
    ASSERT_TRUE(dw.Intact() && dx.Intact() && dx_all.Intact());
    Compare(ref.dweight_pnl, dw, "dweight");
    Compare(ref.dx_sqc, dx_all, "dx of all");
    for (int64_t i = 0; i < slots; ++i) {
      ASSERT_EQ(dw[i], dw_split[i]) << "slot " << i;
      ASSERT_EQ(dw[i], dw_only[i]) << "slot " << i;
    }
    for (int64_t i = 0; i < x_size; ++i) {
      ASSERT_EQ(dx[i], x[static_cast<size_t>(i)] != 0.0f ? dx_all[i] : 0.0f) << "input " << i;
      ASSERT_EQ(dx[i], dx_split[i]) << "input " << i;
      ASSERT_EQ(dx[i], dx_only[i]) << "input " << i;
    }
  }

  void CheckDense(const Case& c, const RandomLayer& layer, const PreparedTraining& prepared,
                  const std::vector<float>& x, const std::vector<float>& dy,
                  const TrainingRef& ref) {
    const packed::Window& w = c.window;
    const bool linear = c.input.height * c.input.width == 1 && w == packed::Window{};
    const int64_t y_size = static_cast<int64_t>(dy.size());
    const int64_t slots = layer.layout.slots(), width = layer.layout.outputs_padded();
    Guarded<float> y(y_size), dw(slots), db(width), dw_split(slots);
    std::fill_n(dw.data(), slots, 0.0f);
    std::fill_n(dw_split.data(), slots, 0.0f);
    std::fill_n(db.data(), width, 0.0f);
    DenseTrainingF32Args args = prepared.dense;
    if (linear) args.columns = c.samples;
    std::vector<float> padded(
        static_cast<size_t>(int64_t{prepared.padded_h} * prepared.padded_w * c.input.channels));
    for (int32_t sample = 0; sample < (linear ? 1 : c.samples); ++sample) {
      const int64_t map = y_size / (linear ? 1 : c.samples);
      const float* const maps = x.data() + int64_t{sample} * c.input.elements();
      for (int32_t row = 0; row < c.input.height && !linear; ++row) {
        const int64_t floats = int64_t{c.input.width} * c.input.channels;
        std::copy_n(maps + row * floats, floats,
                    padded.data() +
                        (int64_t{row + w.pad_h} * prepared.padded_w + w.pad_w) * c.input.channels);
      }
      args.x = linear ? x.data() : padded.data();
      const int32_t blocks = prepared.dense.block_end;
      args.block_begin = 0;
      args.block_end = blocks;
      DenseForwardF32(args, layer.weight_pnl.data(), layer.bias_o.data(), y.data() + sample * map);
      DenseWeightGradientF32(args, dy.data() + sample * map, dw.data(), db.data());
      for (int32_t b = 0; b < blocks; ++b) {
        args.block_begin = b;
        args.block_end = b + 1;
        DenseWeightGradientF32(args, dy.data() + sample * map, dw_split.data(), nullptr);
      }
    }
    ASSERT_TRUE(y.Intact() && dw.Intact() && db.Intact());
    Compare(ref.y_sqo, y, "y, dense");
    Compare(ref.dweight_pnl, dw, "dweight, dense");
    Compare(ref.dbias_o, db, "dbias");
    Guarded<float> rows(width);
    std::fill_n(rows.data(), width, 0.0f);
    AddRowsF32(dy.data(), y_size / width, width, rows.data());
    ASSERT_TRUE(rows.Intact());
    Compare(ref.dbias_o, rows, "sum of rows");
    for (int64_t i = 0; i < slots; ++i) ASSERT_EQ(dw[i], dw_split[i]) << "slot " << i;
  }
};

TEST_F(TrainingKernels, RandomLayers) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  for (int i = 0; i < 60 && !HasFailure(); ++i) Check(RandomCase(random), random);
}

/// Of every width that a list's vectors may leave over, zeros of either sign and NaN.
TEST_F(TrainingKernels, ListsHoldWhatIsNotZero) {
  for (int32_t channels = 1; channels <= 35; ++channels) {
    std::vector<float> x(static_cast<size_t>(3 * channels));
    for (size_t i = 0; i < x.size(); ++i) {
      constexpr float kValues[] = {0.0f, 1.0f, -0.0f, -2.0f, 0.0f};
      x[i] = kValues[i % 5];
    }
    x.back() = std::numeric_limits<float>::quiet_NaN();
    ForEachIsa([&] {
      const int32_t order[] = {0, 1, 2};
      const Lists lists(order, x.data(), 1, 3, channels, false);
      size_t e = 0;
      for (int32_t c = 0; c < channels; ++c) {
        for (int32_t q = 0; q < 3; ++q) {
          const float value = x[static_cast<size_t>(q * channels + c)];
          if (value == 0.0f) continue;
          ASSERT_LT(e, lists.value_e.size());
          EXPECT_EQ(lists.position_e[e], q) << "channels " << channels << " c " << c;
          EXPECT_TRUE(lists.value_e[e] == value || std::isnan(value));
          ++e;
        }
        ASSERT_EQ(lists.begin_c[static_cast<size_t>(c + 1)], static_cast<int32_t>(e));
      }
    });
  }
}

}  // namespace
}  // namespace bisparse::kernels
