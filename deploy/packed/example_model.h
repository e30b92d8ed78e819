// SPDX-License-Identifier: Apache-2.0
// A small network for tests: every kind of layer, set sizes and lanes that do not divide, random
// weights and owners.
//
//   8×8×1 mel → conv 3×3×8 (S = 3, L = 1) → max_pool 2 → kwta → conv 2×2×16 (S = 2, L = 8, runs of
//   4) → affine → relu → avg_pool 2 → kwta (global) → flatten 64 → linear 20 (S = 2, L = 4) → kwta
//   (chunks) → linear 3 (dense, L = 16)
//
// tests/golden/small.bisparse is MakeExampleModel(1). Used by: tests of packed, engine, golden,
// fuzz.
#ifndef BISPARSE_DEPLOY_PACKED_EXAMPLE_MODEL_H_
#define BISPARSE_DEPLOY_PACKED_EXAMPLE_MODEL_H_

#include <cstdint>

#include "deploy/packed/model.h"

namespace bisparse::packed {

/// The same model for the same seed, on every machine.
Model MakeExampleModel(uint64_t seed);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_EXAMPLE_MODEL_H_
