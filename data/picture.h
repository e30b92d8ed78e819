// SPDX-License-Identifier: Apache-2.0
// One picture from a PNG or JPEG file, as bytes: red, green, blue, or grey. What becomes of every kind of file:
//   16 bits a channel        rounded to 8 (v·255 / 65535)
//   palette, 1 to 4 bits     expanded
//   grey                     one channel
//   transparency             laid over white
//   CMYK                     c·k / 255 of each colour, without its colour profile
//   colour profiles, gamma   not applied
//   EXIF orientation         applied: the picture stands upright
//   several pictures, APNG   the first one
// Everything else, files that are cut short or damaged, and those above the limits of deploy/frontend/pixels.h are refused.
// Which of the two formats a file is, its first bytes say. Tested in: picture_test.cc.
#ifndef BISPARSE_DATA_PICTURE_H_
#define BISPARSE_DATA_PICTURE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bisparse/pixels.h"

namespace bisparse::data {

struct Picture {
  int32_t height = 0, width = 0, channels = 3;
  std::vector<uint8_t> bytes_hwc;

  Pixels pixels() const { return {bytes_hwc, height, width, channels}; }
};

/// Throws Error (kData) naming the file and what is wrong with it. Never waits for a pipe or device: those are refused.
Picture ReadPicture(const std::string& path);

/// Whether a name ends in .png, .jpg or .jpeg, in small or capital letters.
bool HasPictureName(std::string_view name);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_PICTURE_H_
