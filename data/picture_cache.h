// SPDX-License-Identifier: Apache-2.0
// Pictures decoded and brought to the input's size, as bytes: in memory, or in a file that is mapped, made once and found
// again by whoever asks for the same pictures at the same size.
//
// The file: "BSPIXEL1", then as 64-bit numbers, little-endian: key, pictures, bytes of each, bytes of the faults, checksum of
// all that follows; zeros up to 64 bytes; the pictures back to back; the faults, each as index and length (32 bits) and
// text. Key: a hash of shape, fit, filter, and of each picture path, size and time of change. Whoever replaces a picture by one
// of equal size and time must remove the file. Tested in: pictures_test.cc.
#ifndef BISPARSE_DATA_PICTURE_CACHE_H_
#define BISPARSE_DATA_PICTURE_CACHE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/picture_folder.h"
#include "deploy/base/mapped_file.h"

namespace bisparse::data {

class DecodedPictures {
 public:
  struct Options {
    Shape shape;
    PictureFit fit = PictureFit::kCrop;
    std::string cache_folder;  ///< empty: in memory only
    int workers = 0;           ///< threads that decode; 0 = all cores
    ProgressFunction progress;
  };
  /// Decodes `files`, or finds them decoded. A file that cannot be written costs a warning: the pictures are in memory then.
  DecodedPictures(std::span<const PictureFile> files, const Options& options,
                  std::vector<std::string>& warnings);

  /// shape.elements() bytes; zeros of a picture that is broken.
  std::span<const uint8_t> Bytes(int64_t index) const {
    return bytes_.subspan(static_cast<size_t>(index * picture_bytes_),
                          static_cast<size_t>(picture_bytes_));
  }
  /// What is wrong with a picture, naming its path; empty: nothing.
  const std::string& Fault(int64_t index) const { return faults_[static_cast<size_t>(index)]; }
  /// Whether they were found decoded.
  bool found() const { return found_; }

 private:
  bool Find(const std::string& path, uint64_t key, std::vector<std::string>& warnings);
  void Make(const std::string& path, uint64_t key, std::span<const PictureFile> files,
            const Options& options);

  int64_t picture_bytes_ = 0;
  bool found_ = false;
  std::vector<std::string> faults_;
  std::vector<uint8_t> memory_;
  std::unique_ptr<MappedFile> file_;
  std::span<const uint8_t> bytes_;
};

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_PICTURE_CACHE_H_
