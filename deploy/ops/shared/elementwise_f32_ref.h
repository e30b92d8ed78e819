// SPDX-License-Identifier: Apache-2.0
// The element-wise kernels from their definitions, in double. Affine in float is off by at most two
// roundings: 2·ε·(|scale·x| + |shift|), ε = 2^-24. Tested in: elementwise_f32_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_F32_REF_H_
#define BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_F32_REF_H_

#include <cmath>

namespace bisparse::kernels {

inline float ReluRef(float x) { return x > 0 ? x : 0; }

inline double AffineRef(float x, float scale, float shift) {
  return double{scale} * double{x} + double{shift};
}
inline double AffineBound(float x, float scale, float shift) {
  return 0x1p-23 * (std::abs(double{scale} * double{x}) + std::abs(double{shift}));
}

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_SHARED_ELEMENTWISE_F32_REF_H_
