// SPDX-License-Identifier: Apache-2.0
// Read first: join_maps.h.
#include "deploy/ops/shared/join_maps.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/shared/join_maps.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "deploy/simd/dot4-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T>
HWY_INLINE const T* RowOf(const JoinShape& shape, const void* const* x_j, int32_t j, int64_t y,
                          int64_t x) {
  return static_cast<const T*>(x_j[j]) + y * shape.stride_j[j].y + x * shape.stride_j[j].x;
}

template <bool kMultiply>
void JoinF32(const JoinShape& shape, const void* const* x_j, bool relu, float* y) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = 0; row < shape.height; ++row) {
    for (int64_t column = 0; column < shape.width; ++column, y += shape.channels) {
      const auto join = [&](auto tag, int64_t c) HWY_ATTR {
        auto value = hn::LoadU(tag, RowOf<float>(shape, x_j, 0, row, column) + c);
        for (int32_t j = 1; j < shape.inputs; ++j) {
          const auto next = hn::LoadU(tag, RowOf<float>(shape, x_j, j, row, column) + c);
          value = kMultiply ? hn::Mul(value, next) : hn::Add(value, next);
        }
        if (relu) value = hn::Max(value, hn::Zero(tag));
        hn::StoreU(value, tag, y + c);
      };
      int64_t c = 0;
      for (; c + lanes <= shape.channels; c += lanes) join(d, c);
      for (; c < shape.channels; ++c) join(d1, c);
    }
  }
}

void AddFloats(const JoinShape& shape, const void* const* x_j, bool relu, float* y) {
  JoinF32<false>(shape, x_j, relu, y);
}
void MultiplyFloats(const JoinShape& shape, const void* const* x_j, bool relu, float* y) {
  JoinF32<true>(shape, x_j, relu, y);
}

HWY_INLINE uint8_t Clamped(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum, int32_t{0}, int32_t{255}));
}

#if HWY_TARGET != HWY_SCALAR
HWY_INLINE VI32 LoadBytes(const uint8_t* x) {
  return hn::PromoteTo(DI32(), hn::LoadU(hn::Rebind<uint8_t, DI32>(), x));
}
#endif

void AddBytes(const AddU8Args& args, const void* const* x_j, uint8_t* y) {
  const JoinShape shape = args.shape;  // stores of bytes may alias any field
  const int32_t* const shift_j = args.shift_j;
  const int32_t constant = args.constant, shift = args.shift;
  for (int64_t row = 0; row < shape.height; ++row) {
    for (int64_t column = 0; column < shape.width; ++column, y += shape.channels) {
      int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
      const DI32 d;
      const auto lanes = static_cast<int64_t>(hn::Lanes(d));
      for (; c + lanes <= shape.channels; c += lanes) {
        VI32 sum = hn::Set(d, constant);
        for (int32_t j = 0; j < shape.inputs; ++j) {
          const VI32 x = LoadBytes(RowOf<uint8_t>(shape, x_j, j, row, column) + c);
          sum = hn::Add(sum, hn::ShiftLeftSame(x, shift_j[j]));
        }
        StoreClamped(hn::ShiftRightSame(sum, shift), y + c);
      }
#endif
      for (; c < shape.channels; ++c) {
        int32_t sum = constant;
        for (int32_t j = 0; j < shape.inputs; ++j) {
          sum += RowOf<uint8_t>(shape, x_j, j, row, column)[c] << shift_j[j];
        }
        y[c] = Clamped(sum >> shift);
      }
    }
  }
}

void MultiplyBytes(const MultiplyU8Args& args, const void* const* x_j, uint8_t* y) {
  const MultiplyU8Args a = args;
  const JoinShape& shape = a.shape;
  for (int64_t row = 0; row < shape.height; ++row) {
    for (int64_t column = 0; column < shape.width; ++column, y += shape.channels) {
      const uint8_t* const x0 = RowOf<uint8_t>(shape, x_j, 0, row, column);
      const uint8_t* const x1 = RowOf<uint8_t>(shape, x_j, 1, row, column);
      int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
      const DI32 d;
      const auto lanes = static_cast<int64_t>(hn::Lanes(d));
      const VI32 zero_0 = hn::Set(d, a.zero_0), zero_1 = hn::Set(d, a.zero_1);
      for (; c + lanes <= shape.channels; c += lanes) {
        const VI32 product =
            hn::Mul(hn::Sub(LoadBytes(x0 + c), zero_0), hn::Sub(LoadBytes(x1 + c), zero_1));
        StoreClamped(hn::ShiftRightSame(hn::Add(product, hn::Set(d, a.constant)), a.shift), y + c);
      }
#endif
      for (; c < shape.channels; ++c) {
        y[c] = Clamped(((x0[c] - a.zero_0) * (x1[c] - a.zero_1) + a.constant) >> a.shift);
      }
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(AddFloats);
HWY_EXPORT(MultiplyFloats);
HWY_EXPORT(AddBytes);
HWY_EXPORT(MultiplyBytes);

void AddF32(const JoinShape& shape, const void* const* x_j, bool relu, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(AddFloats)(shape, x_j, relu, y);
}
void MultiplyF32(const JoinShape& shape, const void* const* x_j, bool relu, float* y) noexcept {
  HWY_DYNAMIC_DISPATCH(MultiplyFloats)(shape, x_j, relu, y);
}
void AddU8(const AddU8Args& args, const void* const* x_j, uint8_t* y) noexcept {
  HWY_DYNAMIC_DISPATCH(AddBytes)(args, x_j, y);
}
void MultiplyU8(const MultiplyU8Args& args, const void* const* x_j, uint8_t* y) noexcept {
  HWY_DYNAMIC_DISPATCH(MultiplyBytes)(args, x_j, y);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
