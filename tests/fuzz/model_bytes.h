// SPDX-License-Identifier: Apache-2.0
// Bytes of a model file for the fuzz targets that read them.
#ifndef BISPARSE_TESTS_FUZZ_MODEL_BYTES_H_
#define BISPARSE_TESTS_FUZZ_MODEL_BYTES_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "deploy/base/checksum.h"
#include "deploy/packed/model_file.h"
#include "tests/fuzz/run_model.h"

namespace bisparse::fuzz {

inline std::optional<packed::Model> Parse(std::span<const uint8_t> bytes) {
  try {
    return packed::ParseModel(bytes, "fuzz.bisparse");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) Give(error.what());
    return std::nullopt;
  }
}

/// Without a right header no input would get past the checksum.
inline std::vector<uint8_t> WithRightHeader(std::span<const uint8_t> bytes) {
  constexpr size_t kHeaderBytes = 64;
  std::vector<uint8_t> fixed(bytes.begin(), bytes.end());
  fixed.resize(std::max(fixed.size(), kHeaderBytes));
  const std::span<const uint8_t> payload = std::span(fixed).subspan(kHeaderBytes);
  const uint32_t version = fixed[8] == 2 || fixed[8] == 3 ? fixed[8] : 1;  // int8, graphs or f32
  const uint32_t header_bytes = kHeaderBytes;
  const uint64_t payload_bytes = payload.size(), checksum = XxHash64(payload);
  std::fill_n(fixed.begin(), kHeaderBytes, uint8_t{0});
  std::memcpy(fixed.data(), "BISPARSE", 8);
  std::memcpy(fixed.data() + 8, &version, 4);
  std::memcpy(fixed.data() + 12, &header_bytes, 4);
  std::memcpy(fixed.data() + 16, &payload_bytes, 8);
  std::memcpy(fixed.data() + 24, &checksum, 8);
  return fixed;
}

}  // namespace bisparse::fuzz

#endif  // BISPARSE_TESTS_FUZZ_MODEL_BYTES_H_
