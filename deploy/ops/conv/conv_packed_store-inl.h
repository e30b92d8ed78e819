// SPDX-License-Identifier: Apache-2.0
// How the packed f32 convolutions write outputs that are no whole vectors: the tail of a position's
// outputs, and four kernels' columns transposed to channels last. Tested in:
// conv_packed_f32_test.cc.
#if defined(BISPARSE_CONV_PACKED_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BISPARSE_CONV_PACKED_STORE_INL_H_
#undef BISPARSE_CONV_PACKED_STORE_INL_H_
#else
#define BISPARSE_CONV_PACKED_STORE_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Stores acc to the outputs from o on that exist.
template <class D>
HWY_INLINE void StoreOutputs(D d, hn::Vec<D> acc, int32_t o, int32_t out_c, float* position) {
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  if (HWY_LIKELY(o + lanes <= out_c)) {
    hn::StoreU(acc, d, position + o);
    return;
  }
  HWY_ALIGN float lane[16];
  hn::Store(acc, d, lane);
  for (int32_t l = 0; o + l < out_c; ++l) position[o + l] = lane[l];
}

#if HWY_MAX_BYTES >= 64
/// Row k of a matrix of 16×16 is load(k); store(i, column i) for each column:
/// 4×4 transpositions inside blocks of 128 bits, then of the blocks.
template <class Load, class Store>
HWY_INLINE void TransposeSixteen(const Load& load, const Store& store) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<hn::CappedTag<double, 8>> d64;
  using V = hn::Vec<decltype(d)>;
  V v[4][4];  // [i][g]: block j holds rows 4g … 4g + 3 of column 4j + i
  HWY_UNROLL(4) for (int g = 0; g < 4; ++g) {
    const V k0 = load(4 * g), k1 = load(4 * g + 1), k2 = load(4 * g + 2), k3 = load(4 * g + 3);
    const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, k0, k1));
    const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, k2, k3));
    const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, k0, k1));
    const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, k2, k3));
    v[0][g] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
    v[1][g] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
    v[2][g] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
    v[3][g] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
  }
  HWY_UNROLL(4) for (int i = 0; i < 4; ++i) {
    const V a = hn::ConcatLowerLower(d, v[i][2], v[i][0]);
    const V b = hn::ConcatLowerLower(d, v[i][3], v[i][1]);
    const V c = hn::ConcatUpperUpper(d, v[i][2], v[i][0]);
    const V e = hn::ConcatUpperUpper(d, v[i][3], v[i][1]);
    const V row[4] = {hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a),
                      hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a)),
                      hn::OddEvenBlocks(hn::SwapAdjacentBlocks(e), c),
                      hn::OddEvenBlocks(e, hn::SwapAdjacentBlocks(c))};
    HWY_UNROLL(4) for (int j = 0; j < 4; ++j) { store(4 * j + i, row[j]); }
  }
}
#endif

/// tile[4][size] to outputs o … o + 3 of the positions that exist.
HWY_INLINE void StoreTransposed(const float* tile, int32_t size, float* const* position, int32_t o,
                                int32_t out_c) {
#if HWY_TARGET != HWY_SCALAR
  if (o + 4 <= out_c && size % 4 == 0) {
    const hn::FixedTag<float, 4> d;
    const hn::FixedTag<double, 2> dd;
    for (int32_t i = 0; i < size; i += 4) {
      const auto k0 = hn::LoadU(d, tile + i), k1 = hn::LoadU(d, tile + size + i);
      const auto k2 = hn::LoadU(d, tile + 2 * size + i), k3 = hn::LoadU(d, tile + 3 * size + i);
      const auto low01 = hn::BitCast(dd, hn::InterleaveLower(d, k0, k1));
      const auto low23 = hn::BitCast(dd, hn::InterleaveLower(d, k2, k3));
      const auto high01 = hn::BitCast(dd, hn::InterleaveUpper(d, k0, k1));
      const auto high23 = hn::BitCast(dd, hn::InterleaveUpper(d, k2, k3));
      if (position[i])
        hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, low01, low23)), d, position[i] + o);
      if (position[i + 1])
        hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, low01, low23)), d, position[i + 1] + o);
      if (position[i + 2])
        hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, high01, high23)), d, position[i + 2] + o);
      if (position[i + 3])
        hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, high01, high23)), d, position[i + 3] + o);
    }
    return;
  }
#endif
  for (int32_t k = 0; k < 4 && o + k < out_c; ++k) {
    for (int32_t i = 0; i < size; ++i) {
      if (position[i]) position[i][o + k] = tile[k * size + i];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#endif  // BISPARSE_CONV_PACKED_STORE_INL_H_
