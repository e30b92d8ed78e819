// SPDX-License-Identifier: Apache-2.0
// FirstBeyond: where the first number stands that is not in [-limit, limit]. Tested in: finite_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_FINITE_H_
#define BISPARSE_DEPLOY_BASE_FINITE_H_

#include <cstdint>
#include <span>

namespace bisparse {

/// Index of the first number of `x` that is larger than `limit` in size, infinite or NaN; -1 if there is none.
/// limit: finite, not negative. Whatever the mode of the floats: their bits are compared as integers, which order alike.
int64_t FirstBeyond(std::span<const float> x, float limit) noexcept;

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_FINITE_H_
