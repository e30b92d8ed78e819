// SPDX-License-Identifier: Apache-2.0
// How far logits computed in float, in any order, may lie from RunReference's (sums in double, each
// layer rounded to float). An error e of every activation x is carried from layer to layer:
//
//   K products and a bias   e_o = Σ|w·e| + (K + 2)·ε·(|b| + Σ|w|·(|x| + e)),   ε = 2^-23
//
// Every term of a float sum passes at most K + 1 roundings of 2^-24, the reference's result one;
// ε is twice as much and pays for products of errors. k-WTA: the winners are the same if the
// margin between the last winner and the first loser exceeds both errors; where it does not, a
// unit may win or lose, and its error is its whole value. Source: Higham 2002, section 3.1.
#ifndef BISPARSE_TESTS_GOLDEN_FLOAT_BOUND_H_
#define BISPARSE_TESTS_GOLDEN_FLOAT_BOUND_H_

#include <span>
#include <vector>

#include "deploy/packed/model.h"

namespace bisparse {

/// One bound for each logit. The model must be valid and f32.
std::vector<double> LogitBound(const packed::Model& model, std::span<const float> features);

}  // namespace bisparse

#endif  // BISPARSE_TESTS_GOLDEN_FLOAT_BOUND_H_
