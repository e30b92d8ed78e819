// SPDX-License-Identifier: Apache-2.0
// The checksum of files: xxHash64 with seed 0, the same on every machine.
// Tested in: checksum_test.cc.
#ifndef BISPARSE_DEPLOY_BASE_CHECKSUM_H_
#define BISPARSE_DEPLOY_BASE_CHECKSUM_H_

#include <cstdint>
#include <span>

namespace bisparse {

uint64_t XxHash64(std::span<const uint8_t> bytes);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_BASE_CHECKSUM_H_
