// SPDX-License-Identifier: Apache-2.0
// PNG files for tests, written chunk by chunk (PNG specification, second edition), so that every kind can be made, broken ones
// too. Pixel data are stored, not compressed. Used by: picture_test.cc and tests of what reads folders of pictures.
#ifndef BISPARSE_DATA_WRITE_PNG_H_
#define BISPARSE_DATA_WRITE_PNG_H_

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace bisparse::data {

/// What the rows hold: bits of a sample, and the colour type of the header: 0 grey, 2 RGB, 3 palette, 4 grey and alpha,
/// 6 RGB and alpha.
struct PngKind {
  uint8_t bits = 8, colour = 2;
  /// Chunks between header and pixel data: type and content.
  std::vector<std::pair<std::string, std::string>> chunks = {};
};

inline std::string BigEndian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

inline std::string PngChunk(const std::string& type, const std::string& content) {
  uint32_t crc = 0xffffffff;
  for (const char c : type + content) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return BigEndian(static_cast<uint32_t>(content.size())) + type + content + BigEndian(~crc);
}

/// rows: height rows of equally many bytes, as PNG has them.
inline std::string PngBytes(uint32_t height, uint32_t width, std::span<const uint8_t> rows,
                            const PngKind& kind = {}) {
  std::string scanlines;
  const size_t row_bytes = rows.size() / height;
  for (size_t y = 0; y < height; ++y) {
    scanlines += '\0';  // no filter
    scanlines.append(reinterpret_cast<const char*>(rows.data()) + y * row_bytes, row_bytes);
  }
  uint32_t a = 1, b = 0;  // Adler-32
  for (const char c : scanlines) {
    a = (a + static_cast<uint8_t>(c)) % 65521;
    b = (b + a) % 65521;
  }
  std::string zlib = "\x78\x01";
  constexpr size_t kStored = 65535;  // bytes of a stored block
  for (size_t at = 0; at < scanlines.size(); at += kStored) {
    const size_t count = std::min(kStored, scanlines.size() - at);
    zlib += at + count == scanlines.size() ? '\1' : '\0';
    for (const size_t size : {count, ~count}) {
      zlib += static_cast<char>(size);
      zlib += static_cast<char>(size >> 8);
    }
    zlib += scanlines.substr(at, count);
  }
  zlib += BigEndian(b << 16 | a);
  std::string header = BigEndian(width) + BigEndian(height);
  header += {static_cast<char>(kind.bits), static_cast<char>(kind.colour), 0, 0, 0};
  std::string png = "\x89PNG\r\n\x1a\n" + PngChunk("IHDR", header);
  for (const auto& [type, content] : kind.chunks) png += PngChunk(type, content);
  return png + PngChunk("IDAT", zlib) + PngChunk("IEND", "");
}

/// Not synced to the disk, as WriteFileAtomically would be, since tests write many.
inline void WriteBytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline void WritePng(const std::string& path, uint32_t height, uint32_t width,
                     std::span<const uint8_t> rows, const PngKind& kind = {}) {
  WriteBytes(path, PngBytes(height, width, rows, kind));
}

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_WRITE_PNG_H_
