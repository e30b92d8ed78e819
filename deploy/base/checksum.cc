// SPDX-License-Identifier: Apache-2.0
// Read first: checksum.h.
#include "deploy/base/checksum.h"

#define XXH_INLINE_ALL  // no symbols that a program's own xxHash could replace
#include <xxhash.h>

namespace bisparse {

uint64_t XxHash64(std::span<const uint8_t> bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

}  // namespace bisparse
