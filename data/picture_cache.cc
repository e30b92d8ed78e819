// SPDX-License-Identifier: Apache-2.0
// Read first: picture_cache.h.
#include "data/picture_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>

#include "data/picture.h"
#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "deploy/base/cores.h"
#include "deploy/base/file.h"
#include "deploy/base/threads.h"
#include "deploy/frontend/pixels.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

struct Header {
  std::array<char, 8> magic = {'B', 'S', 'P', 'I', 'X', 'E', 'L', '1'};
  uint64_t key = 0, pictures = 0, picture_bytes = 0, fault_bytes = 0, checksum = 0;
  std::array<uint64_t, 2> zero = {};
};
static_assert(sizeof(Header) == 64);

uint64_t HashText(const std::string& text) {
  return XxHash64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

uint64_t KeyOf(std::span<const PictureFile> files, const DecodedPictures::Options& options) {
  const Shape& shape = options.shape;
  std::string text = fmt::format("{}x{}x{} fit {} triangle\n", shape.height, shape.width,
                                 shape.channels, static_cast<int>(options.fit));
  for (const PictureFile& file : files) {
    std::error_code ignored;
    text += fmt::format("{}\n{} {}\n", fs::absolute(file.path, ignored).lexically_normal().string(),
                        file.size_bytes, file.modified_ns);
  }
  return HashText(text);
}

using Store = std::function<void(int64_t index, std::span<const uint8_t> bytes)>;

/// Decodes all files on several threads. Faults of pictures go into `faults`, all other errors are thrown.
void DecodeAll(std::span<const PictureFile> files, const DecodedPictures::Options& options,
               const Store& store, std::vector<std::string>& faults) {
  const int64_t count = std::ssize(files);
  std::atomic<int64_t> next{0}, done{0};
  std::mutex mutex;
  std::condition_variable finished;
  std::exception_ptr failure;
  int64_t working = 0;
  const auto work = [&] {
    {
      const std::lock_guard lock(mutex);
      ++working;
    }
    try {
      std::vector<uint8_t> bytes(static_cast<size_t>(options.shape.elements()));
      for (int64_t i = next++; i < count; i = next++) {
        try {
          FitPixels(ReadPicture(files[static_cast<size_t>(i)].path).pixels(), options.fit,
                    options.shape, bytes);
          store(i, bytes);
        } catch (const Error& error) {
          if (error.kind() != ErrorKind::kData) throw;
          faults[static_cast<size_t>(i)] = error.what();
        }
        ++done;
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
      next = count;
    }
    {
      const std::lock_guard lock(mutex);
      --working;
    }
    finished.notify_one();
  };
  std::vector<std::jthread> threads;
  const int workers = options.workers > 0 ? options.workers : UsableCores();
  StartThreads(threads, std::clamp<int64_t>(count, 1, workers), work);
  {
    std::unique_lock lock(mutex);
    const auto all_done = [&] { return (next >= count || done >= count) && working == 0; };
    while (!finished.wait_for(lock, std::chrono::milliseconds(100), all_done)) {
      if (options.progress) options.progress(done, count);
    }
  }
  threads.clear();
  if (options.progress && count > 0) options.progress(done, count);
  if (failure) std::rethrow_exception(failure);
}

/// A file that is gone with the object, unless it was renamed.
class NewFile {
 public:
  explicit NewFile(const std::string& path)
      : path_(path), name_(fmt::format("{}.tmp.{}", path, ::getpid())), file_(-1) {
    ::unlink(name_.c_str());  // left by a process of the same number that was killed
    file_.Reset(::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file_.get() < 0) Throw();
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }

  /// Thread-safe.
  void WriteAt(uint64_t at, const void* bytes, size_t size) const {
    for (size_t done = 0; done < size;) {
      const ssize_t wrote = ::pwrite(file_.get(), static_cast<const char*>(bytes) + done,
                                     size - done, static_cast<off_t>(at + done));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) Throw();
      done += static_cast<size_t>(wrote);
    }
  }
  const std::string& name() const { return name_; }
  void Rename() {
    if (::rename(name_.c_str(), path_.c_str()) != 0) Throw();
    name_.clear();
  }

 private:
  /// Of another kind than what is wrong with a picture.
  [[noreturn]] void Throw() const {
    throw std::system_error(errno, std::generic_category(), path_);
  }

  const std::string& path_;
  std::string name_;
  FileDescriptor file_;
};

std::string PackFaults(const std::vector<std::string>& faults) {
  std::string packed;
  const auto add = [&](size_t number) {
    const auto narrow = static_cast<uint32_t>(number);
    packed.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
  };
  for (size_t i = 0; i < faults.size(); ++i) {
    if (faults[i].empty()) continue;
    add(i);
    add(faults[i].size());
    packed += faults[i];
  }
  return packed;
}

/// False where the text is not as PackFaults writes it.
bool UnpackFaults(std::span<const uint8_t> packed, std::vector<std::string>& faults) {
  while (!packed.empty()) {
    uint32_t index, size;
    if (packed.size() < 2 * sizeof index) return false;
    std::memcpy(&index, packed.data(), sizeof index);
    std::memcpy(&size, packed.data() + sizeof index, sizeof size);
    packed = packed.subspan(2 * sizeof index);
    if (index >= faults.size() || size > packed.size()) return false;
    faults[index].assign(reinterpret_cast<const char*>(packed.data()), size);
    packed = packed.subspan(size);
  }
  return true;
}

}  // namespace

DecodedPictures::DecodedPictures(std::span<const PictureFile> files, const Options& options,
                                 std::vector<std::string>& warnings)
    : picture_bytes_(options.shape.elements()), faults_(files.size()) {
  if (files.empty()) return;
  if (!options.cache_folder.empty()) {
    const uint64_t key = KeyOf(files, options);
    const std::string path =
        (fs::path(options.cache_folder) / fmt::format("pictures-{:016x}.cache", key)).string();
    if (Find(path, key, warnings)) {
      found_ = true;
      return;
    }
    try {
      Make(path, key, files, options);
      return;
    } catch (const std::system_error& error) {
      warnings.push_back(fmt::format("{}: cannot be written: {}; the pictures are kept in memory",
                                     path, error.code().message()));
    }
  }
  faults_.assign(files.size(), "");
  memory_.resize(files.size() * static_cast<size_t>(picture_bytes_));
  DecodeAll(
      files, options,
      [&](int64_t i, std::span<const uint8_t> bytes) {
        std::copy(bytes.begin(), bytes.end(), memory_.begin() + i * picture_bytes_);
      },
      faults_);
  bytes_ = memory_;
}

bool DecodedPictures::Find(const std::string& path, uint64_t key,
                           std::vector<std::string>& warnings) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return false;
  const auto damaged = [&](const std::string& why) {
    warnings.push_back(fmt::format("{}: {}; it is made anew", path, why));
    faults_.assign(faults_.size(), "");
    file_.reset();
    return false;
  };
  try {
    file_ = std::make_unique<MappedFile>(path);
  } catch (const Error& error) {
    return damaged(error.what());
  }
  const std::span<const uint8_t> bytes = file_->bytes();
  Header header;
  const Header expected;
  if (bytes.size() < sizeof header) return damaged("is cut short");
  std::memcpy(&header, bytes.data(), sizeof header);
  const uint64_t pixels = faults_.size() * static_cast<uint64_t>(picture_bytes_);
  if (header.magic != expected.magic || header.key != key || header.pictures != faults_.size() ||
      header.picture_bytes != static_cast<uint64_t>(picture_bytes_) ||
      header.fault_bytes > bytes.size() ||
      bytes.size() != sizeof header + pixels + header.fault_bytes) {
    return damaged("is cut short or altered");
  }
  if (XxHash64(bytes.subspan(sizeof header)) != header.checksum) return damaged("is altered");
  if (!UnpackFaults(bytes.subspan(sizeof header + pixels), faults_)) return damaged("is altered");
  bytes_ = bytes.subspan(sizeof header, pixels);
  return true;
}

void DecodedPictures::Make(const std::string& path, uint64_t key,
                           std::span<const PictureFile> files, const Options& options) {
  fs::create_directories(options.cache_folder);  // its error is a std::system_error too
  NewFile file(path);
  const uint64_t picture_bytes = static_cast<uint64_t>(picture_bytes_);
  DecodeAll(
      files, options,
      [&](int64_t i, std::span<const uint8_t> bytes) {
        file.WriteAt(sizeof(Header) + static_cast<uint64_t>(i) * picture_bytes, bytes.data(),
                     bytes.size());
      },
      faults_);
  const std::vector<uint8_t> zeros(picture_bytes);
  for (size_t i = 0; i < faults_.size(); ++i) {
    if (faults_[i].empty()) continue;
    file.WriteAt(sizeof(Header) + i * picture_bytes, zeros.data(), zeros.size());
  }
  const std::string packed = PackFaults(faults_);
  const uint64_t pixels = files.size() * picture_bytes;
  file.WriteAt(sizeof(Header) + pixels, packed.data(), packed.size());
  Header header{.key = key,
                .pictures = files.size(),
                .picture_bytes = picture_bytes,
                .fault_bytes = packed.size()};
  file.WriteAt(0, &header, sizeof header);
  file_ = std::make_unique<MappedFile>(file.name());
  header.checksum = XxHash64(file_->bytes().subspan(sizeof header));
  file.WriteAt(0, &header, sizeof header);
  file.Rename();
  bytes_ = file_->bytes().subspan(sizeof header, pixels);
}

}  // namespace bisparse::data
