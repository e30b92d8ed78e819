// SPDX-License-Identifier: Apache-2.0
// Who owns a run, given how much each kernel of the set wants it (its saliency). Without LibTorch.
// Tested in: choose_owners_test.cc.
#ifndef BISPARSE_TRAIN_NN_CHOOSE_OWNERS_H_
#define BISPARSE_TRAIN_NN_CHOOSE_OWNERS_H_

#include <cstdint>
#include <span>
#include <vector>

namespace bisparse::train {

/// saliency_sr: [kernels][runs] of one set, finite. Returns the owner of each run: the kernel with
/// the largest saliency, the lowest of them in a tie.
std::vector<uint8_t> LargestOwners(std::span<const float> saliency_sr, int64_t kernels);

/// The same, but each kernel owns floor(runs/kernels) or one more, and the saliencies' sum is the
/// largest possible: a transport problem, solved exactly by successive shortest paths (Ahuja,
/// Magnanti, Orlin 1993, section 9.7) from LargestOwners on.
std::vector<uint8_t> BalancedOwners(std::span<const float> saliency_sr, int64_t kernels);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_NN_CHOOSE_OWNERS_H_
