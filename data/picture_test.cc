// SPDX-License-Identifier: Apache-2.0
// Tests reading pictures: each kind of file that picture.h names, and files that are none.
#include "data/picture.h"

// libjpeg's header needs FILE and size_t before it.
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "bisparse/error.h"
#include "data/write_png.h"
#include "deploy/base/temporary_folder.h"

namespace bisparse::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ReadPictureTest : public testing::Test {
 protected:
  std::string Path(const char* name) const { return folder_ / name; }

  Picture ReadPng(uint32_t height, uint32_t width, const std::vector<uint8_t>& rows,
                  const PngKind& kind) const {
    WritePng(Path("a.png"), height, width, rows, kind);
    return ReadPicture(Path("a.png"));
  }

  std::string FaultOf(const std::string& name, const std::string& bytes) const {
    WriteBytes(Path(name.c_str()), bytes);
    return FaultOfFile(Path(name.c_str()));
  }
  static std::string FaultOfFile(const std::string& path) {
    try {
      ReadPicture(path);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      return error.what();
    }
    return "none";
  }

  TemporaryFolder folder_;
};

/// The smallest EXIF block: one entry, the orientation.
std::string Exif(int orientation, bool little = false) {
  const auto number = [&](uint32_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) {
      text += static_cast<char>(value >> 8 * (little ? i : bytes - 1 - i));
    }
    return text;
  };
  return (little ? "II" : "MM") + number(42, 2) + number(8, 4) + number(1, 2) + number(0x112, 2) +
         number(3, 2) + number(1, 4) + number(static_cast<uint32_t>(orientation), 2) +
         number(0, 2) + number(0, 4);
}

/// A JPEG of best quality without subsampled colours. `space`: what the rows hold.
std::string Jpeg(uint32_t height, uint32_t width, const std::vector<uint8_t>& rows,
                 J_COLOR_SPACE space, bool progressive = false, const std::string& exif = "") {
  const int channels = space == JCS_GRAYSCALE ? 1 : space == JCS_CMYK ? 4 : 3;
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_height = height;
  jpeg.image_width = width;
  jpeg.input_components = channels;
  jpeg.in_color_space = space;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 100, TRUE);
  for (int c = 0; c < channels; ++c) {
    jpeg.comp_info[c].h_samp_factor = jpeg.comp_info[c].v_samp_factor = 1;
  }
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  if (!exif.empty()) {
    const std::string marker = std::string("Exif\0\0", 6) + exif;
    jpeg_write_marker(&jpeg, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(marker.data()),
                      static_cast<unsigned>(marker.size()));
  }
  while (jpeg.next_scanline < height) {
    JSAMPROW row = const_cast<uint8_t*>(rows.data()) +
                   size_t{jpeg.next_scanline} * width * static_cast<size_t>(channels);
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  std::string text(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&jpeg);
  std::free(bytes);
  return text;
}

TEST_F(ReadPictureTest, PngOfEveryKind) {
  const Picture rgb = ReadPng(2, 1, {1, 2, 3, 4, 5, 6}, {});
  EXPECT_EQ(rgb.height, 2);
  EXPECT_EQ(rgb.width, 1);
  EXPECT_EQ(rgb.channels, 3);
  EXPECT_THAT(rgb.bytes_hwc, ElementsAre(1, 2, 3, 4, 5, 6));
  const Picture grey = ReadPng(1, 3, {1, 2, 255}, {.colour = 0});
  EXPECT_EQ(grey.channels, 1);
  EXPECT_THAT(grey.bytes_hwc, ElementsAre(1, 2, 255));
  // One bit a pixel, black and white.
  EXPECT_THAT(ReadPng(1, 4, {0b01010000}, {.bits = 1, .colour = 0}).bytes_hwc,
              ElementsAre(0, 255, 0, 255));
  // 16 bits: v·255 / 65535 to the nearest.
  EXPECT_THAT(
      ReadPng(1, 3, {0x80, 0x00, 0x00, 0xff, 0xff, 0xff}, {.bits = 16, .colour = 0}).bytes_hwc,
      ElementsAre(128, 1, 255));
  const PngKind palette{.colour = 3, .chunks = {{"PLTE", {9, 8, 7, 1, 2, 3}}}};
  const Picture indexed = ReadPng(1, 2, {1, 0}, palette);
  EXPECT_EQ(indexed.channels, 3);
  EXPECT_THAT(indexed.bytes_hwc, ElementsAre(1, 2, 3, 9, 8, 7));
}

TEST_F(ReadPictureTest, TransparencyLiesOverWhite) {
  const Picture rgba = ReadPng(1, 3, {10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128}, {.colour = 6});
  EXPECT_EQ(rgba.channels, 3);
  EXPECT_THAT(rgba.bytes_hwc, ElementsAre(10, 20, 30, 255, 255, 255, 127, 127, 127));
  const Picture grey = ReadPng(1, 2, {10, 255, 10, 0}, {.colour = 4});
  EXPECT_EQ(grey.channels, 1);
  EXPECT_THAT(grey.bytes_hwc, ElementsAre(10, 255));
  // A palette with an entry that is transparent.
  const PngKind palette{.colour = 3,
                        .chunks = {{"PLTE", {9, 8, 7, 1, 2, 3}}, {"tRNS", std::string(1, '\0')}}};
  EXPECT_THAT(ReadPng(1, 2, {0, 1}, palette).bytes_hwc, ElementsAre(255, 255, 255, 1, 2, 3));
}

TEST_F(ReadPictureTest, OfAnAnimationTheFirstPicture) {
  // acTL: two frames; the first one is the pixel data, the second would follow in fdAT.
  const PngKind animated{.chunks = {{"acTL", BigEndian(2) + BigEndian(0)}}};
  EXPECT_THAT(ReadPng(1, 1, {1, 2, 3}, animated).bytes_hwc, ElementsAre(1, 2, 3));
}

TEST_F(ReadPictureTest, StandsUpright) {
  // 1 2 3
  // 4 5 6 as it was seen; in each file its pixels lie as the orientation says.
  const std::vector<std::vector<uint8_t>> stored = {
      {1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1}, {4, 5, 6, 1, 2, 3},
      {1, 4, 2, 5, 3, 6}, {3, 6, 2, 5, 1, 4}, {6, 3, 5, 2, 4, 1}, {4, 1, 5, 2, 6, 3}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool little : {false, true}) {
      const uint32_t height = orientation < 5 ? 2 : 3;
      const PngKind kind{.colour = 0, .chunks = {{"eXIf", Exif(orientation, little)}}};
      const Picture picture =
          ReadPng(height, 5 - height, stored[static_cast<size_t>(orientation) - 1], kind);
      EXPECT_EQ(picture.height, 2) << orientation;
      EXPECT_THAT(picture.bytes_hwc, ElementsAre(1, 2, 3, 4, 5, 6)) << orientation;
    }
  }
  // What means nothing changes nothing.
  for (const std::string& exif : {Exif(0), Exif(9), Exif(6).substr(0, 12), std::string("MM")}) {
    const PngKind kind{.colour = 0, .chunks = {{"eXIf", exif}}};
    EXPECT_EQ(ReadPng(1, 2, {1, 2}, kind).width, 2);
  }
}

TEST_F(ReadPictureTest, JpegOfEveryKind) {
  std::vector<uint8_t> rows(16 * 8 * 3);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = i / 3 % 8 < 4 ? 200 : 50;
  for (const bool progressive : {false, true}) {
    WriteBytes(Path("a.jpg"), Jpeg(16, 8, rows, JCS_RGB, progressive));
    const Picture rgb = ReadPicture(Path("a.jpg"));
    EXPECT_EQ(rgb.height, 16);
    EXPECT_EQ(rgb.width, 8);
    EXPECT_EQ(rgb.channels, 3);
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_NEAR(rgb.bytes_hwc[i], rows[i], 4) << i;
  }
  WriteBytes(Path("a.jpg"), Jpeg(1, 2, {10, 250}, JCS_GRAYSCALE));
  const Picture grey = ReadPicture(Path("a.jpg"));
  EXPECT_EQ(grey.channels, 1);
  EXPECT_NEAR(grey.bytes_hwc[0], 10, 3);
  EXPECT_NEAR(grey.bytes_hwc[1], 250, 3);
  // CMYK as Adobe's programs write it, 255 is no ink: 200·128/255 is 100.
  const std::string cmyk = Jpeg(1, 1, {200, 100, 0, 128}, JCS_CMYK);
  WriteBytes(Path("a.jpg"), cmyk);
  const Picture inks = ReadPicture(Path("a.jpg"));
  EXPECT_EQ(inks.channels, 3);
  EXPECT_NEAR(inks.bytes_hwc[0], 100, 3);
  EXPECT_NEAR(inks.bytes_hwc[1], 50, 3);
  EXPECT_NEAR(inks.bytes_hwc[2], 0, 3);
  // 6: turned by 90° to the right when it was taken.
  WriteBytes(Path("a.jpg"), Jpeg(1, 2, {10, 250}, JCS_GRAYSCALE, false, Exif(6, true)));
  const Picture turned = ReadPicture(Path("a.jpg"));
  EXPECT_EQ(turned.height, 2);
  EXPECT_EQ(turned.width, 1);
}

TEST_F(ReadPictureTest, ContentDecidesNotTheName) {
  WriteBytes(Path("a.png"), Jpeg(1, 2, {10, 250}, JCS_GRAYSCALE));
  EXPECT_EQ(ReadPicture(Path("a.png")).width, 2);
}

TEST_F(ReadPictureTest, EveryCutIsFound) {
  const std::vector<uint8_t> rows(16 * 16 * 3, 77);
  const std::string png = PngBytes(16, 16, rows), jpeg = Jpeg(16, 16, rows, JCS_RGB);
  for (size_t size = 1; size < png.size(); size += 7) {
    EXPECT_THAT(FaultOf("a.png", png.substr(0, size)), HasSubstr("a.png: is n")) << size;
  }
  for (size_t size = 1; size + 2 < jpeg.size(); size += 7) {
    EXPECT_THAT(FaultOf("a.jpg", jpeg.substr(0, size)), HasSubstr("a.jpg: is n")) << size;
  }
}

TEST_F(ReadPictureTest, FilesThatAreNone) {
  EXPECT_THAT(FaultOf("a.png", ""), HasSubstr("is empty"));
  EXPECT_THAT(FaultOf("a.png", "hello"), HasSubstr("is neither PNG nor JPEG"));
  EXPECT_THAT(FaultOf("a.png", "GIF89a......."), HasSubstr("(it is GIF)"));
  EXPECT_THAT(FaultOf("a.jpg", "RIFF....WEBPVP8 "), HasSubstr("(it is WebP)"));
  EXPECT_THAT(FaultOf("a.jpg", "....ftypheic...."), HasSubstr("(it is HEIF or AVIF)"));
  EXPECT_THAT(FaultOfFile(Path("none.png")), HasSubstr("none.png"));
  EXPECT_THAT(FaultOfFile(folder_.path()), HasSubstr(folder_.path()));
  ASSERT_EQ(::mkfifo(Path("pipe.png").c_str(), 0600), 0);
  EXPECT_THAT(FaultOfFile(Path("pipe.png")), HasSubstr("pipe.png"));
  std::string damaged = PngBytes(1, 1, std::vector<uint8_t>{1, 2, 3});
  damaged[damaged.size() - 24] ^= 1;  // in the pixel data
  EXPECT_THAT(FaultOf("a.png", damaged), HasSubstr("is no readable PNG: "));
}

TEST_F(ReadPictureTest, HugeSizesAreRefusedBeforeMemoryIsAsked) {
  // A header that promises more than the file has.
  const std::vector<uint8_t> row(3);
  EXPECT_THAT(FaultOf("a.png", PngBytes(1, 100000, row)), HasSubstr("is no readable PNG"));
  std::string png = PngBytes(1, 1, row);
  const std::string header = BigEndian(60000) + BigEndian(60000) + std::string("\x08\x02\0\0\0", 5);
  png.replace(8, 25, PngChunk("IHDR", header));
  EXPECT_THAT(FaultOf("a.png", png), HasSubstr("is 60000x60000 (height x width); read are up to"));
}

TEST(HasPictureName, EndingsInAnyCase) {
  for (const char* name : {"a.png", "a.PNG", "b.Jpg", "c.jpeg", "x.y.png"}) {
    EXPECT_TRUE(HasPictureName(name)) << name;
  }
  for (const char* name : {"png", ".png", "a.gif", "a.png.txt", "ajpg", ""}) {
    EXPECT_FALSE(HasPictureName(name)) << name;
  }
}

}  // namespace
}  // namespace bisparse::data
