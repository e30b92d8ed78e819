// SPDX-License-Identifier: Apache-2.0
// Joins several maps into one, channels last; an input of height 1 or width 1 is repeated over the output.
//
//   AddF32       y = Σ_j x_j, summed in the order of the inputs; relu: max(y, 0)
//   MultiplyF32  y = Π_j x_j, likewise
//   AddU8        y = clamp((Σ_j x_j · 2^shift_j + constant) >> shift, 0, 255)
//   MultiplyU8   y = clamp(((x_0 − zero_0) · (x_1 − zero_1) + constant) >> shift, 0, 255)
//
// Exact in i32 for bytes: ValidateModel bounds the shifts. Bound: a load of each input and a store for a vector.
// Tested in: join_maps_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_JOIN_MAPS_H_
#define BISPARSE_DEPLOY_OPS_SHARED_JOIN_MAPS_H_

#include <cstdint>

namespace bisparse::kernels {

/// Elements from one row, and from one column, of an input to the next; 0 where it is repeated.
struct JoinStride {
  int64_t y = 0, x = 0;
};

struct JoinShape {
  int64_t height = 1, width = 1, channels = 0;  ///< of the output
  int32_t inputs = 0;
  const JoinStride* stride_j = nullptr;
};

void AddF32(const JoinShape& shape, const void* const* x_j, bool relu, float* y) noexcept;
void MultiplyF32(const JoinShape& shape, const void* const* x_j, bool relu, float* y) noexcept;

struct AddU8Args {
  JoinShape shape;
  const int32_t* shift_j = nullptr;
  int32_t constant = 0;  ///< −Σ zero_j · 2^shift_j, the rounding term, zero · 2^shift
  int32_t shift = 0;
};
void AddU8(const AddU8Args& args, const void* const* x_j, uint8_t* y) noexcept;

struct MultiplyU8Args {
  JoinShape shape;  ///< two inputs
  int32_t zero_0 = 0, zero_1 = 0;
  int32_t constant = 0;  ///< the rounding term, zero · 2^shift
  int32_t shift = 0;
};
void MultiplyU8(const MultiplyU8Args& args, const void* const* x_j, uint8_t* y) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_JOIN_MAPS_H_
