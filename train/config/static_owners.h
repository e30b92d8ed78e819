// SPDX-License-Identifier: Apache-2.0
// Owners drawn once, at random and balanced: who has its weights where, in the paper's form of
// complementary sparsity. Source: Hunter, Spracklen, Ahmad 2022, section 3. Tested in:
// static_owners_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_STATIC_OWNERS_H_
#define BISPARSE_TRAIN_CONFIG_STATIC_OWNERS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "deploy/packed/layout.h"

namespace bisparse::train {

/// owner_nr, layout.owners() entries; empty if set_size is 1. A pure function of its arguments.
///
/// For each set the owners are dealt like cards: the set's blocks are shuffled and given to the next runs in order,
/// then shuffled anew. So any two blocks own equally many runs, ±1. Where S divides R it is exactly R/S, the paper's
/// constant fan-in of 64 of 1600. Each block has its share in every stretch of input channels and in all rows of the
/// kernel. No kernel is blind to a channel by bad luck, which matters where runs are long and few (10 runs for 4
/// blocks). The empty blocks that pad a last set have their share too, so that every kernel keeps 1/S of its positions.
std::vector<uint8_t> DrawStaticOwners(const packed::Layout& layout, uint64_t seed,
                                      std::string_view layer_name);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_STATIC_OWNERS_H_
