// SPDX-License-Identifier: Apache-2.0
// The graphs of random_model.h. Read first: random_model.h, deploy/packed/graph.h. Tested in: reference_test.cc.
#ifndef BISPARSE_DEPLOY_REFERENCE_RANDOM_GRAPH_H_
#define BISPARSE_DEPLOY_REFERENCE_RANDOM_GRAPH_H_

#include <cstdint>

#include "deploy/reference/random_model.h"

namespace bisparse {

/// Residual sums with and without a projection, gates, sums over repeated maps, concatenations, a value with three readers.
packed::Model MakeRandomGraph(uint64_t seed, const RandomModelOptions& options);

/// The same kinds of blocks in int8. Shifts follow from what some random samples make of the network, so that most maps use
/// the range of u8; all scales are powers of two apart.
packed::Model MakeRandomI8Graph(uint64_t seed, const RandomModelOptions& options);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_REFERENCE_RANDOM_GRAPH_H_
