// SPDX-License-Identifier: Apache-2.0
// Linear layers that read winners against plain loops, on every instruction set.
#include "deploy/ops/linear/linear_winners_i8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "deploy/ops/shared/packed_ref.h"

namespace bisparse::kernels {
namespace {

TEST(LinearWinnersI8, LinearAddsEachWinnersRowToItsOwners) {
  ForEachIsa([] {
    Random random(4);
    for (int trial = 0; trial < 200; ++trial) {
      constexpr int32_t kLanes[] = {1, 2, 3, 4, 8, 12, 16};
      const RandomLayer made(
          {.outputs = random.Int(1, trial % 4 == 0 ? 700 : 70), .channels = random.Int(1, 40)},
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
      std::vector<uint16_t> owner_pn;
      for (int64_t p = 0; p < layout.positions && layout.packing.set_size > 1; ++p) {
        for (int32_t n = 0; n < layout.sets; ++n) {
          owner_pn.push_back(static_cast<uint16_t>(n * layout.packing.set_size + made.Owner(n, p)));
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
                       .owner_pn = owner_pn.empty() ? nullptr : owner_pn.data(),
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

}  // namespace
}  // namespace bisparse::kernels
