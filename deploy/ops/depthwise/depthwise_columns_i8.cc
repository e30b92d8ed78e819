// SPDX-License-Identifier: Apache-2.0
// Read first: depthwise_columns_i8.h.
#include "deploy/ops/depthwise/depthwise_columns_i8.h"

#include "deploy/simd/cpu.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/depthwise/depthwise_columns_i8.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

// After highway.h.
#include "deploy/simd/vnni_target.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX3_DL
/// The columns of output row yo, channels [c, c + 64).
void MakeColumns(const DepthwiseColumnsI8Args& a, int64_t yo, int64_t c, __mmask64 exists) {
  const DepthwiseColumnsI8& d = *a.conv;
  const PoolShape& s = d.shape;
  const int64_t y = yo * s.stride_h - s.pad_h, columns = d.columns();
  const int32_t in_h = s.in_h, in_w = s.in_w, channels = s.channels, fours = d.fours;
  const __m512i zero = _mm512_set1_epi8(static_cast<char>(d.zero));
  auto* to = reinterpret_cast<__m512i*>(a.scratch);
  const int64_t down = s.dilation_h;
  for (int64_t column = 0; column < columns; ++column) {
    const int64_t x = column - s.pad_w;
    int64_t row = y;
    for (int32_t four = 0; four < fours; ++four, to += 4) {
      __m512i r[4] = {zero, zero, zero, zero};
      if (x >= 0 && x < in_w) {
        HWY_UNROLL(4) for (int i = 0; i < 4; ++i, row += down) {
          // A row past the kernel's last has weights of 0.
          if (row < 0 || row >= in_h) continue;
          r[i] = _mm512_maskz_loadu_epi8(exists, a.x_yxc + (row * in_w + x) * channels + c);
        }
      }
      const __m512i a0 = _mm512_unpacklo_epi8(r[0], r[1]), a1 = _mm512_unpackhi_epi8(r[0], r[1]);
      const __m512i b0 = _mm512_unpacklo_epi8(r[2], r[3]), b1 = _mm512_unpackhi_epi8(r[2], r[3]);
      _mm512_store_si512(to, _mm512_unpacklo_epi16(a0, b0));
      _mm512_store_si512(to + 1, _mm512_unpackhi_epi16(a0, b0));
      _mm512_store_si512(to + 2, _mm512_unpacklo_epi16(a1, b1));
      _mm512_store_si512(to + 3, _mm512_unpackhi_epi16(a1, b1));
    }
  }
}

/// Output row yo of a chunk from its columns. kSteps: kernel_w of kernels of one four without a dilation in width, whose
/// weights then stay in registers; 0: any kernel.
template <int kSteps>
void Row(const DepthwiseColumnsI8Args& a, int64_t yo, int64_t chunk, __mmask64 exists) {
  const DepthwiseColumnsI8& d = *a.conv;
  const PoolShape& s = d.shape;
  const int64_t steps = int64_t{s.kernel_w} * d.fours, out_w = s.out_w(), channels = s.channels;
  const auto* weight = reinterpret_cast<const __m512i*>(d.weight.data()) + chunk * steps * 4;
  const auto* bias = reinterpret_cast<const __m512i*>(d.bias.data()) + chunk * 4;
  const auto* shift = reinterpret_cast<const __m512i*>(d.shift.data()) + chunk * 4;
  __m512i w[kSteps + 1][4], start[4];
  HWY_UNROLL(4) for (int q = 0; q < 4; ++q) {
    start[q] = bias[q];
    HWY_UNROLL(5) for (int i = 0; i < kSteps; ++i) w[i][q] = weight[4 * i + q];
  }
  const auto* from = reinterpret_cast<const __m512i*>(a.scratch);
  const int64_t step = int64_t{s.stride_w} * d.fours * 4;
  uint8_t* y = a.y_yxc + yo * out_w * channels + chunk * 64;
  for (int64_t xo = 0; xo < out_w; ++xo, from += step, y += channels) {
    __m512i sum[4] = {start[0], start[1], start[2], start[3]};
    if constexpr (kSteps > 0) {
      HWY_UNROLL(5) for (int i = 0; i < kSteps; ++i) {
        HWY_UNROLL(4) for (int q = 0; q < 4; ++q) {
          sum[q] = _mm512_dpbusd_epi32(sum[q], from[4 * i + q], w[i][q]);
        }
      }
    } else {
      const int64_t tap = int64_t{s.dilation_w} * d.fours * 4;  // to the column of the next kx
      const __m512i* w_i = weight;
      for (int64_t kx = 0; kx < s.kernel_w; ++kx) {
        for (int64_t i = 0; i < d.fours; ++i, w_i += 4) {
          HWY_UNROLL(4) for (int q = 0; q < 4; ++q) {
            sum[q] = _mm512_dpbusd_epi32(sum[q], from[kx * tap + 4 * i + q], w_i[q]);
          }
        }
      }
    }
    HWY_UNROLL(4) for (int q = 0; q < 4; ++q) sum[q] = _mm512_srav_epi32(sum[q], shift[q]);
    _mm512_mask_storeu_epi8(y, exists,
                            _mm512_packus_epi16(_mm512_packs_epi32(sum[0], sum[1]),
                                                _mm512_packs_epi32(sum[2], sum[3])));
  }
}

void Run(const DepthwiseColumnsI8Args& a) {
  const DepthwiseColumnsI8& d = *a.conv;
  const int64_t out_h = d.shape.out_h(), chunks = d.chunks;
  const bool three = d.shape.kernel_w == 3 && d.shape.dilation_w == 1 && d.fours == 1;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t left = d.shape.channels - chunk * 64;
    const __mmask64 exists = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    for (int64_t yo = 0; yo < out_h; ++yo) {
      MakeColumns(a, yo, chunk * 64, exists);
      three ? Row<3>(a, yo, chunk, exists) : Row<0>(a, yo, chunk, exists);
    }
  }
}
#else
void Run(const DepthwiseColumnsI8Args&) {}  // never called: nothing is prepared here
#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Run);

void DepthwiseColumnsI8Run(const DepthwiseColumnsI8Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(Run)(args);
}

bool FitsDepthwiseColumnsI8(const PoolShape& shape) noexcept {
  constexpr int64_t kMostScratchBytes = 1 << 24;
  DepthwiseColumnsI8 conv;
  conv.shape = shape;
  conv.fours = (shape.kernel_h + 3) / 4;
  return conv.scratch_bytes() <= kMostScratchBytes;
}

std::optional<DepthwiseColumnsI8> PrepareDepthwiseColumnsI8(const PoolShape& shape, uint8_t zero,
                                                            const int8_t* weight_pc,
                                                            int64_t weight_stride,
                                                            const int32_t* bias_c,
                                                            const int32_t* shift_c) {
  if (!IsAvx3Dl(IsaName()) || !FitsDepthwiseColumnsI8(shape)) return std::nullopt;
  DepthwiseColumnsI8 conv;
  conv.shape = shape;
  conv.zero = zero;
  conv.chunks = (shape.channels + 63) / 64;
  conv.fours = (shape.kernel_h + 3) / 4;
  const int64_t steps = int64_t{shape.kernel_w} * conv.fours;
  conv.weight = AlignedBuffer<int8_t>(static_cast<size_t>(conv.chunks * steps * 256));
  conv.bias = AlignedBuffer<int32_t>(static_cast<size_t>(conv.chunks) * 64);
  conv.shift = AlignedBuffer<int32_t>(static_cast<size_t>(conv.chunks) * 64);
  for (int64_t c = 0; c < shape.channels; ++c) {
    const int64_t chunk = c / 64, quarter = c % 16 / 4, lane = c % 64 / 16 * 4 + c % 4;
    const int64_t slot = (chunk * 4 + quarter) * 16 + lane;
    conv.bias.data()[slot] = bias_c[c];
    conv.shift.data()[slot] = shift_c[c];
    for (int64_t ky = 0; ky < shape.kernel_h; ++ky) {
      for (int64_t kx = 0; kx < shape.kernel_w; ++kx) {
        const int64_t step = kx * conv.fours + ky / 4;
        conv.weight.data()[((chunk * steps + step) * 4 + quarter) * 64 + lane * 4 + ky % 4] =
            weight_pc[(ky * shape.kernel_w + kx) * weight_stride + c];
      }
    }
  }
  return conv;
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
