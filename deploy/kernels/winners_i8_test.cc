// SPDX-License-Identifier: Apache-2.0
// k-WTA on bytes against sorting, pools and linear layers against plain loops, on every instruction set.
#include "deploy/kernels/winners_i8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "deploy/kernels/packed_ref.h"

namespace bisparse::kernels {
namespace {

/// The definition of kwta.h: units sorted by rank, ties by index.
std::vector<int32_t> Winners(const KwtaU8Args& a) {
  const int32_t width = a.channels / a.groups, units = width / a.chunk;
  const int32_t spans = a.global ? 1 : a.positions, span = a.global ? a.positions : 1;
  std::vector<int32_t> winners;
  for (int32_t s = 0; s < spans; ++s) {
    for (int32_t g = 0; g < a.groups; ++g) {
      std::vector<int32_t> first;  // element of each unit
      for (int32_t p = 0; p < span; ++p) {
        for (int32_t u = 0; u < units; ++u) {
          first.push_back((s + p) * a.channels + g * width + u * a.chunk);
        }
      }
      const auto rank = [&](int32_t at) {
        return std::accumulate(a.x + at, a.x + at + a.chunk, 0);
      };
      std::stable_sort(first.begin(), first.end(),
                       [&](int32_t i, int32_t j) { return rank(i) > rank(j); });
      for (int32_t k = 0; k < a.winners / a.groups; ++k) {
        for (int32_t c = 0; c < a.chunk; ++c) winners.push_back(first[static_cast<size_t>(k)] + c);
      }
    }
  }
  std::sort(winners.begin(), winners.end());
  return winners;
}

TEST(WinnersI8, KwtaIsSortingWithTiesToTheLowestIndex) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  ForEachIsa([&] {
    Random random(seed);
    for (int trial = 0; trial < 600; ++trial) {
      KwtaU8Args a;
      a.groups = random.Int(0, 2) ? random.Int(1, 9) : 8;
      a.chunk = random.Int(0, 3) ? 1 : random.Int(2, 4);
      const int32_t units = random.Int(0, 2) ? random.Int(1, 40) : 8;
      a.channels = a.groups * units * a.chunk;
      a.positions = random.Int(1, 20);
      a.global = random.Int(0, 1);
      a.winners = a.groups * (random.Int(0, 1) ? 1 : random.Int(1, units));
      const int32_t most = random.Int(0, 2) ? 255 : random.Int(0, 3);  // few values: many ties
      std::vector<uint8_t> x(static_cast<size_t>(a.positions * a.channels));
      for (uint8_t& v : x) v = static_cast<uint8_t>(random.Int(0, most));
      a.x = x.data();
      const std::vector<int32_t> expected = Winners(a);
      const auto count = static_cast<int64_t>(expected.size());
      Guarded<int32_t> index(count + kKwtaSlack);
      Guarded<uint8_t> value(count + kKwtaSlack);
      a.index_k = index.data();
      a.value_k = value.data();
      KwtaU8(a);
      ASSERT_TRUE(index.Intact() && value.Intact());
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(index[i], expected[static_cast<size_t>(i)])
            << "winner " << i << ", trial " << trial
            << ": positions, channels, winners, groups, chunk, global = "
            << testing::PrintToString(std::vector<int>{a.positions, a.channels, a.winners, a.groups,
                                                       a.chunk, a.global});
        ASSERT_EQ(value[i], x[static_cast<size_t>(index[i])]);
      }
    }
  });
}

TEST(WinnersI8, LinearAddsEachWinnersRowToItsOwners) {
  ForEachIsa([] {
    Random random(4);
    for (int trial = 0; trial < 200; ++trial) {
      constexpr int32_t kLanes[] = {1, 2, 3, 4, 8, 12, 16};
      const RandomLayer made({.outputs = random.Int(1, 70), .channels = random.Int(1, 40)},
                             {.set_size = random.Int(1, 5),
                              .lanes = kLanes[random.Int(0, 6)],
                              .run = {.channels = random.Int(1, 3)}},
                             random);
      SCOPED_TRACE(made.Text());
      const packed::Layout& layout = made.layout;
      std::vector<int8_t> weight(made.weight_pnl.size());
      for (size_t i = 0; i < weight.size(); ++i) {
        weight[i] = static_cast<int8_t>(std::clamp(made.weight_pnl[i] * 60, -127.0f, 127.0f));
      }
      const int64_t outputs = layout.outputs_padded();
      std::vector<int32_t> bias(static_cast<size_t>(outputs));
      for (int32_t& v : bias) v = random.Int(-1000, 1000);
      std::vector<int32_t> row_pn;
      for (int64_t p = 0; p < layout.positions && layout.packing.set_size > 1; ++p) {
        for (int32_t n = 0; n < layout.sets; ++n) {
          row_pn.push_back(static_cast<int32_t>(layout.Output(n, made.Owner(n, p), 0)));
        }
      }
      std::vector<int32_t> index;
      for (int32_t p = 0; p < layout.positions; ++p) {
        if (random.Int(0, 1)) index.push_back(p);
      }
      const bool all = random.Int(0, 2) == 0;
      if (all) {
        index.resize(static_cast<size_t>(layout.positions));
        std::iota(index.begin(), index.end(), 0);
      }
      std::vector<uint8_t> value(index.size());
      for (uint8_t& v : value) v = static_cast<uint8_t>(random.Int(0, 255));
      Guarded<int32_t> acc(outputs);
      LinearWinnersI8({.set_size = layout.packing.set_size,
                       .lanes = layout.packing.lanes,
                       .sets = layout.sets,
                       .weight_pnl = weight.data(),
                       .bias_o = bias.data(),
                       .row_pn = row_pn.empty() ? nullptr : row_pn.data(),
                       .index_k = all ? nullptr : index.data(),
                       .value_k = value.data(),
                       .count = static_cast<int64_t>(index.size()),
                       .acc = acc.data()});
      ASSERT_TRUE(acc.Intact());
      std::vector<int64_t> expected(bias.begin(), bias.end());
      for (size_t i = 0; i < index.size(); ++i) {
        for (int32_t n = 0; n < layout.sets; ++n) {
          for (int32_t l = 0; l < layout.packing.lanes; ++l) {
            expected[static_cast<size_t>(layout.Output(n, made.Owner(n, index[i]), l))] +=
                int64_t{value[i]} * weight[static_cast<size_t>(layout.Slot(index[i], n, l))];
          }
        }
      }
      for (int64_t o = 0; o < outputs; ++o)
        ASSERT_EQ(acc[o], expected[static_cast<size_t>(o)]) << o;
    }
  });
}

TEST(WinnersI8, PoolsTakeTheLargestAndTheAverageRoundedHalfUp) {
  ForEachIsa([] {
    Random random(5);
    for (int trial = 0; trial < 200; ++trial) {
      PoolShape s{.in_h = random.Int(3, 8),
                  .in_w = random.Int(3, 8),
                  .channels = random.Int(1, 140),
                  .kernel_h = random.Int(1, 3),
                  .kernel_w = random.Int(1, 3),
                  .stride_h = random.Int(1, 3),
                  .stride_w = random.Int(1, 3)};
      s.pad_h = random.Int(0, static_cast<int32_t>(s.kernel_h) - 1);
      s.pad_w = random.Int(0, static_cast<int32_t>(s.kernel_w) - 1);
      std::vector<uint8_t> x(static_cast<size_t>(s.in_h * s.in_w * s.channels));
      for (uint8_t& v : x) v = static_cast<uint8_t>(random.Int(0, 255));
      const int64_t elements = s.out_h() * s.out_w() * s.channels;
      Guarded<uint8_t> largest(elements), average(elements);
      MaxPoolU8(s, x.data(), largest.data());
      AvgPoolU8(s, x.data(), average.data());
      ASSERT_TRUE(largest.Intact() && average.Intact());
      for (int64_t e = 0; e < elements; ++e) {
        const int64_t c = e % s.channels, oy = e / s.channels / s.out_w(),
                      ox = e / s.channels % s.out_w();
        int most = 0, sum = 0, count = 0;
        for (int64_t y = oy * s.stride_h - s.pad_h; y < oy * s.stride_h - s.pad_h + s.kernel_h;
             ++y) {
          for (int64_t i = ox * s.stride_w - s.pad_w; i < ox * s.stride_w - s.pad_w + s.kernel_w;
               ++i) {
            if (y < 0 || y >= s.in_h || i < 0 || i >= s.in_w) continue;
            const int v = x[static_cast<size_t>((y * s.in_w + i) * s.channels + c)];
            most = std::max(most, v);
            sum += v;
            ++count;
          }
        }
        ASSERT_EQ(largest[e], most) << "element " << e;
        ASSERT_EQ(average[e], static_cast<int>(static_cast<double>(sum) / count + 0.5))
            << "element " << e;
      }
    }
  });
}

}  // namespace
}  // namespace bisparse::kernels
