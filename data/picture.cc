// SPDX-License-Identifier: Apache-2.0
// Read first: picture.h. Both libraries report errors by a jump: what they jump over holds no object with a destructor, so
// each step that calls them is a function of its own, and memory is owned by the objects around it.
#include "data/picture.h"

// libjpeg's header needs FILE and size_t before it.
#include <cstddef>
#include <cstdio>
#include <cstring>

#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csetjmp>
#include <span>

#include "deploy/base/check.h"
#include "deploy/base/regular_file.h"
#include "deploy/frontend/pixels.h"

namespace bisparse::data {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kMaxFileBytes = size_t{1} << 30;
constexpr std::array<uint8_t, 8> kPngSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr std::array<uint8_t, 3> kJpegSignature = {0xff, 0xd8, 0xff};

bool BeginsWith(Bytes file, Bytes signature) {
  return file.size() >= signature.size() &&
         std::equal(signature.begin(), signature.end(), file.begin());
}

/// " (it is a GIF)" of formats that pictures are often in; empty for others.
std::string OtherFormat(Bytes file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()),
                              std::min<size_t>(file.size(), 16));
  const bool riff = text.starts_with("RIFF") && text.size() >= 12;
  const char* format = text.starts_with("GIF8")                            ? "GIF"
                       : text.starts_with("BM")                            ? "BMP"
                       : riff && text.substr(8, 4) == "WEBP"               ? "WebP"
                       : text.starts_with("II*") || text.starts_with("MM") ? "TIFF"
                       : text.size() >= 12 && text.substr(4, 4) == "ftyp"  ? "HEIF or AVIF"
                                                                           : nullptr;
  return format == nullptr ? "" : fmt::format(" (it is {})", format);
}

/// EXIF's tag 0x0112, 1 … 8; 1 where there is none or it means nothing. exif: from "II*\0" or "MM\0*" on.
int Orientation(Bytes exif) {
  if (exif.size() < 8) return 1;
  const bool little = exif[0] == 'I';
  const auto number = [&](size_t at, size_t bytes) -> uint32_t {
    if (at > exif.size() || exif.size() - at < bytes) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      value = value << 8 | exif[at + (little ? bytes - 1 - i : i)];
    }
    return value;
  };
  if (exif[0] != exif[1] || (!little && exif[0] != 'M') || number(2, 2) != 42) return 1;
  const size_t directory = number(4, 4);
  const uint32_t entries = number(directory, 2);
  for (size_t entry = 0; entry < entries; ++entry) {
    const size_t at = directory + 2 + 12 * entry;
    if (at >= exif.size()) return 1;
    constexpr uint32_t kOrientationTag = 0x0112, kShort = 3;
    if (number(at, 2) != kOrientationTag || number(at + 2, 2) != kShort) continue;
    const uint32_t orientation = number(at + 8, 2);
    return orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : 1;
  }
  return 1;
}

/// EXIF 2.3, table "Orientation": 1 upright, 2 mirrored, 3 turned by 180°, 4 mirrored top to bottom; 5 to 8 the same after
/// rows and columns were exchanged (5 exchanged alone, 6 turned right, 7, 8 turned left).
Picture Upright(Picture picture, int orientation) {
  if (orientation == 1) return picture;
  const bool exchange = orientation >= 5;
  const bool right_to_left =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 6;
  const bool bottom_up =
      orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  Picture upright{.height = exchange ? picture.width : picture.height,
                  .width = exchange ? picture.height : picture.width,
                  .channels = picture.channels,
                  .bytes_hwc = std::vector<uint8_t>(picture.bytes_hwc.size())};
  const int64_t channels = picture.channels;
  for (int64_t y = 0; y < upright.height; ++y) {
    for (int64_t x = 0; x < upright.width; ++x) {
      const int64_t v = bottom_up ? upright.height - 1 - y : y;
      const int64_t u = right_to_left ? upright.width - 1 - x : x;
      const int64_t from = exchange ? u * picture.width + v : v * picture.width + u;
      std::copy_n(picture.bytes_hwc.begin() + from * channels, channels,
                  upright.bytes_hwc.begin() + (y * upright.width + x) * channels);
    }
  }
  return upright;
}

void CheckSize(const std::string& path, int64_t height, int64_t width) {
  if (height < 1 || width < 1 || height > kMaxPictureSide || width > kMaxPictureSide ||
      height * width > kMaxPicturePixels) {
    Fail(ErrorKind::kData, path,
         "is {}x{} (height x width); read are up to {} rows and columns and {} pixels", height,
         width, kMaxPictureSide, kMaxPicturePixels);
  }
}

constexpr size_t kMaxMessage = 256;

class PngReader {
 public:
  PngReader(const std::string& path, Bytes file) : path_(path), left_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) throw std::bad_alloc();
  }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  Picture Read() {
    Require(ReadHeader());
    CheckSize(path_, png_get_image_height(png_, info_), png_get_image_width(png_, info_));
    Require(SetTransforms());
    const auto height = static_cast<size_t>(png_get_image_height(png_, info_));
    const auto width = static_cast<size_t>(png_get_image_width(png_, info_));
    const auto channels = static_cast<size_t>(png_get_channels(png_, info_));  // 1 to 4
    const size_t row_bytes = width * channels;
    BISPARSE_CHECK(png_get_rowbytes(png_, info_) == row_bytes);
    std::vector<uint8_t> bytes(height * row_bytes);
    std::vector<png_bytep> rows(height);
    for (size_t y = 0; y < height; ++y) rows[y] = bytes.data() + y * row_bytes;
    Require(ReadRows(rows.data()));
    Picture picture{.height = static_cast<int32_t>(height),
                    .width = static_cast<int32_t>(width),
                    .channels = channels >= 3 ? 3 : 1,
                    .bytes_hwc = {}};
    picture.bytes_hwc =
        channels == 2 || channels == 4 ? OverWhite(bytes, channels) : std::move(bytes);
    return Upright(std::move(picture), ExifOrientation());
  }

 private:
  static std::vector<uint8_t> OverWhite(const std::vector<uint8_t>& bytes, size_t channels) {
    std::vector<uint8_t> opaque;
    opaque.reserve(bytes.size() / channels * (channels - 1));
    for (size_t i = 0; i < bytes.size(); i += channels) {
      const uint32_t alpha = bytes[i + channels - 1];
      for (size_t c = 0; c + 1 < channels; ++c) {
        opaque.push_back(
            static_cast<uint8_t>((bytes[i + c] * alpha + 255u * (255u - alpha) + 127u) / 255u));
      }
    }
    return opaque;
  }

  [[noreturn]] static void OnError(png_structp png, png_const_charp message) {
    auto* const reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message_, kMaxMessage, "%s", message);
    png_longjmp(png, 1);
  }
  static void OnWarning(png_structp, png_const_charp) {}  // of what doesn't matter to pixels
  static void OnRead(png_structp png, png_bytep to, size_t count) {
    auto* const reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (reader->left_.size() < count) png_error(png, "the file is cut short");
    std::memcpy(to, reader->left_.data(), count);
    reader->left_ = reader->left_.subspan(count);
  }

  void Require(bool done) const {
    if (!done) Fail(ErrorKind::kData, path_, "is no readable PNG: {}", message_);
  }

  bool ReadHeader() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_user_limits(png_, kMaxPictureSide, kMaxPictureSide);
    png_set_read_fn(png_, this, OnRead);
    png_read_info(png_, info_);
    return true;
  }

  bool SetTransforms() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    const int colour = png_get_color_type(png_, info_);
    png_set_scale_16(png_);
    if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
    if (colour == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
    if (png_get_valid(png_, info_, PNG_INFO_tRNS) != 0) png_set_tRNS_to_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool ReadRows(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, info_);
    return true;
  }

  int ExifOrientation() {
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png_, info_, &size, &exif) == 0) return 1;
    return Orientation({exif, size});
  }

  const std::string& path_;
  Bytes left_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[kMaxMessage] = "";
};

class JpegReader {
 public:
  JpegReader(const std::string& path, Bytes file) : path_(path), file_(file) {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = OnError;
    errors_.emit_message = OnMessage;
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;
  ~JpegReader() {
    if (made_) jpeg_destroy_decompress(&jpeg_);
  }

  Picture Read() {
    Require(ReadHeader());
    CheckSize(path_, jpeg_.image_height, jpeg_.image_width);
    const int orientation = ExifOrientation();  // what was read is gone after the pixels
    const bool cmyk = jpeg_.jpeg_color_space == JCS_CMYK || jpeg_.jpeg_color_space == JCS_YCCK;
    const bool grey = jpeg_.jpeg_color_space == JCS_GRAYSCALE;
    const size_t channels = cmyk ? 4 : grey ? 1 : 3;
    jpeg_.out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    const auto height = static_cast<size_t>(jpeg_.image_height);
    const auto width = static_cast<size_t>(jpeg_.image_width);
    std::vector<uint8_t> bytes(height * width * channels);
    Require(ReadRows(bytes.data(), width * channels));
    Picture picture{.height = static_cast<int32_t>(height),
                    .width = static_cast<int32_t>(width),
                    .channels = grey ? 1 : 3,
                    .bytes_hwc = {}};
    picture.bytes_hwc = cmyk ? FromCmyk(bytes, jpeg_.saw_Adobe_marker != 0) : std::move(bytes);
    return Upright(std::move(picture), orientation);
  }

 private:
  /// Adobe's programs write the inks inverted: 255 is none.
  static std::vector<uint8_t> FromCmyk(const std::vector<uint8_t>& cmyk, bool inverted) {
    std::vector<uint8_t> rgb;
    rgb.reserve(cmyk.size() / 4 * 3);
    const auto light = [&](size_t i) -> uint32_t { return inverted ? cmyk[i] : 255u - cmyk[i]; };
    for (size_t i = 0; i < cmyk.size(); i += 4) {
      for (size_t c = 0; c < 3; ++c) {
        rgb.push_back(static_cast<uint8_t>((light(i + c) * light(i + 3) + 127u) / 255u));
      }
    }
    return rgb;
  }

  static JpegReader& Of(j_common_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }

  [[noreturn]] static void OnError(j_common_ptr jpeg) {
    char message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    std::snprintf(Of(jpeg).message_, kMaxMessage, "%s", message);
    std::longjmp(Of(jpeg).jump_, 1);
  }

  /// The library goes on with grey where data are missing or damaged. Remarks about what doesn't matter to pixels, such as
  /// bytes between two parts, are passed over.
  static void OnMessage(j_common_ptr jpeg, int level) {
    if (level != -1) return;
    for (const int code : {JWRN_JPEG_EOF, JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_MUST_RESYNC}) {
      if (jpeg->err->msg_code == code) OnError(jpeg);
    }
  }

  void Require(bool done) const {
    if (!done) Fail(ErrorKind::kData, path_, "is no readable JPEG: {}", message_);
  }

  bool ReadHeader() {
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    made_ = true;
    jpeg_mem_src(&jpeg_, file_.data(), file_.size());
    jpeg_save_markers(&jpeg_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&jpeg_, TRUE);
    return true;
  }

  bool ReadRows(uint8_t* bytes, size_t row_bytes) {
    if (setjmp(jump_) != 0) return false;
    jpeg_.dct_method = JDCT_ISLOW;  // the one whose results don't depend on the CPU
    jpeg_start_decompress(&jpeg_);
    while (jpeg_.output_scanline < jpeg_.output_height) {
      JSAMPROW row = bytes + jpeg_.output_scanline * row_bytes;
      jpeg_read_scanlines(&jpeg_, &row, 1);
    }
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

  int ExifOrientation() const {
    constexpr std::array<uint8_t, 6> kExif = {'E', 'x', 'i', 'f', 0, 0};
    for (jpeg_saved_marker_ptr marker = jpeg_.marker_list; marker != nullptr;
         marker = marker->next) {
      const Bytes data(marker->data, marker->data_length);
      if (marker->marker != JPEG_APP0 + 1 || !BeginsWith(data, kExif)) continue;
      return Orientation(data.subspan(kExif.size()));
    }
    return 1;
  }

  const std::string& path_;
  Bytes file_;
  jpeg_decompress_struct jpeg_ = {};
  jpeg_error_mgr errors_ = {};
  std::jmp_buf jump_;
  bool made_ = false;
  char message_[kMaxMessage] = "";
};

}  // namespace

Picture ReadPicture(const std::string& path) {
  const RegularFile file(path);
  if (file.size() > kMaxFileBytes) {
    Fail(ErrorKind::kData, path, "has {} bytes, a picture has at most {}", file.size(),
         kMaxFileBytes);
  }
  std::vector<uint8_t> head(std::min<size_t>(file.size(), 16));
  file.Read(head);
  const bool png = BeginsWith(head, kPngSignature), jpeg = BeginsWith(head, kJpegSignature);
  if (!png && !jpeg) {
    Fail(ErrorKind::kData, path, "is neither PNG nor JPEG{}", OtherFormat(head));
  }
  std::vector<uint8_t> bytes(file.size());
  file.Read(bytes);
  return png ? PngReader(path, bytes).Read() : JpegReader(path, bytes).Read();
}

bool HasPictureName(std::string_view name) {
  for (const std::string_view ending : {".png", ".jpg", ".jpeg"}) {
    if (name.size() <= ending.size()) continue;
    const std::string_view end = name.substr(name.size() - ending.size());
    if (std::equal(end.begin(), end.end(), ending.begin(), [](char a, char b) {
          return std::tolower(static_cast<unsigned char>(a)) == b;
        })) {
      return true;
    }
  }
  return false;
}

}  // namespace bisparse::data
