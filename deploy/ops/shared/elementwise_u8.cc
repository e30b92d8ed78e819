// SPDX-License-Identifier: Apache-2.0
// Read first: elementwise_u8.h.
#include "deploy/ops/shared/elementwise_u8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/shared/elementwise_u8.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void Relu(const uint8_t* x, int64_t n, uint8_t zero, uint8_t* y) {
  const hn::ScalableTag<uint8_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto zeros = hn::Set(d, zero);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::SaturatedSub(hn::LoadU(d, x + i), zeros), d, y + i);
  }
  for (; i < n; ++i) y[i] = static_cast<uint8_t>(x[i] > zero ? x[i] - zero : 0);
}

}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(Relu);

void ReluU8(const uint8_t* x, int64_t n, uint8_t zero, uint8_t* y) noexcept {
  HWY_DYNAMIC_DISPATCH(Relu)(x, n, zero, y);
}

void TableU8(const uint8_t* x, int64_t n, const uint8_t* table, uint8_t* y) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = table[x[i]];
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
