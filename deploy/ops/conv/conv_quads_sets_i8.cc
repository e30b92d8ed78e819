// SPDX-License-Identifier: Apache-2.0
// conv_quads_i8 for kernel rows of one tap: a line holds four sets where it holds four taps otherwise. The four winners of
// a quad have another owner in each set, so sums are in memory (L1), a position and four sets at a time.
// Read first: conv_quads_i8.h.
#include <algorithm>
#include <cstring>

#include "deploy/ops/conv/conv_quads_i8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/conv/conv_quads_sets_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/ops/conv/conv_quads_lines-inl.h"
#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR
void ConvQuadsSets(const ConvQuadsI8Args&) {}  // ConvQuadsI8Run asks for the definition instead
#else
/// Adds a quad's products to its owners: lanes l … of four sets.
template <bool kNarrow>
HWY_INLINE void AddSets(const int8_t* lines, const uint16_t* line_j, VU8 value,
                        const ConvQuadsI8::Sums* sums, int32_t* acc) {
  const DI8 d8;
  const DU16 d16;
  const DI32 d;
  const auto line = [&](int j) HWY_ATTR { return hn::LoadU(d8, lines + line_j[j] * int64_t{8}); };
  const VI8 x0 = line(0), x1 = line(1), x2 = line(2), x3 = line(3);
  const auto a = hn::BitCast(d16, hn::InterleaveLower(d8, x0, x1));
  const auto b = hn::BitCast(d16, hn::InterleaveLower(d8, x2, x3));
  const auto c = hn::BitCast(d16, hn::InterleaveUpper(d8, x0, x1));
  const auto e = hn::BitCast(d16, hn::InterleaveUpper(d8, x2, x3));
  const auto add = [&](int set, auto words) HWY_ATTR {
    const auto at = [&](int32_t bytes) HWY_ATTR {  // an address without arithmetic of its own
      return reinterpret_cast<int32_t*>(reinterpret_cast<uint8_t*>(acc) + bytes);
    };
    const VI32 sum = hn::LoadU(d, at(sums[set].from));
    hn::StoreU(Dot4<kNarrow>(sum, value, hn::BitCast(d8, words)), d, at(sums[set].to));
  };
  add(0, hn::InterleaveLower(d16, a, b));
  add(1, hn::InterleaveUpper(d16, a, b));
  add(2, hn::InterleaveLower(d16, c, e));
  add(3, hn::InterleaveUpper(d16, c, e));
}

template <bool kNarrow>
void Sets(const ConvQuadsI8Args& a) {
  const ConvQuadsI8& s = *a.conv;
  const DI32 d;
  const QuadMap map = MapOf(a);
  constexpr int32_t kLanes = hn::MaxLanes(DI32());
  const int32_t out_c = s.output.channels;
  const int32_t outputs = s.sets_outputs(), end = std::min(out_c, a.output_end);
  auto* const acc = reinterpret_cast<int32_t*>(a.rows);
  for (int32_t g = a.output_begin / outputs; g * outputs < end; ++g) {
    const int32_t first = g * outputs;
    const size_t biases = std::min<size_t>(static_cast<size_t>(outputs), s.bias_o.size() - first);
    const int8_t* weight = s.weight.data() + g * s.line_bytes;
    const ConvQuadsI8::Sums* first_sums = s.sums_eg.data() + int64_t{g} * s.rows * s.quads * 4;
    // Blocks that own nothing have their biases for ever.
    for (int32_t* to : {acc, acc + s.sums_stride()}) {
      std::memcpy(to, s.bias_o.data() + first, biases * sizeof(int32_t));
    }
    for (int32_t oy = 0; oy < s.output.height; ++oy) {
      for (int32_t ox = 0; ox < s.output.width; ++ox) {
        const ConvQuadsI8::Sums* sums = first_sums;
        for (int32_t row = 0; row < s.rows; ++row) {
          int64_t at = (int64_t{oy} * s.padded_w() + ox + s.RowAt(row, s.padded_w())) * s.quads * 4;
          const int8_t* lines = weight + row * 64;
          for (int32_t q = 0; q < s.quads; ++q, at += 4, sums += 4) {
            int32_t four_values;
            std::memcpy(&four_values, map.value + at, 4);
            const VU8 x = hn::BitCast(DU8(), hn::Set(d, four_values));
            HWY_UNROLL(4) for (int32_t l = 0; l < 16; l += kLanes) {
              AddSets<kNarrow>(lines + l * 4, map.line + at, x, sums, acc + l);
            }
          }
        }
        RequantiseRow(acc, std::min(outputs, out_c - first), s.shift_o.data() + first,
                      a.output + (int64_t{oy} * s.output.width + ox) * out_c + first);
      }
    }
  }
}

void ConvQuadsSets(const ConvQuadsI8Args& a) {
  if (kHasNarrow && a.conv->narrow) return Sets<kHasNarrow>(a);
  Sets<false>(a);
}
#endif  // HWY_SCALAR

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(ConvQuadsSets);

void ConvQuadsSetsI8Run(const ConvQuadsI8Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(ConvQuadsSets)(args);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
