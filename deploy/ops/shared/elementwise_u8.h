// SPDX-License-Identifier: Apache-2.0
// Element by element on bytes. Tested in: elementwise_u8_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_U8_H_
#define BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_U8_H_

#include <cstdint>

namespace bisparse::kernels {

/// y[i] = max(x[i], zero) − zero, i < n: the ReLU of a value whose 0 is the step `zero`; y's is the step 0. y may be x.
void ReluU8(const uint8_t* x, int64_t n, uint8_t zero, uint8_t* y) noexcept;

/// y[i] = table[x[i]], i < n; the table has 256 bytes. y may be x. Bound: a load of the table for each byte.
void TableU8(const uint8_t* x, int64_t n, const uint8_t* table, uint8_t* y) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_U8_H_
