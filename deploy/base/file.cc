// SPDX-License-Identifier: Apache-2.0
// Read first: file.h.
#include "deploy/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "deploy/base/check.h"

namespace bisparse {
namespace {

const char* Hint(int error_number) {
  switch (error_number) {
    case ENOENT:
      return " (hint: check the path, relative ones start at the working directory)";
    case ENOTDIR:
      return " (hint: a part of the path is a file, not a folder)";
    case EISDIR:
      return " (hint: this is a folder, give a file)";
    case EACCES:
    case EPERM:
    case EROFS:
      return " (hint: check the permissions, or choose another folder)";
    case ENOSPC:
    case EDQUOT:
      return " (hint: free space on this disk, or choose another folder)";
    case EFBIG:
      return " (hint: raise the limit on file sizes, see `ulimit -f`)";
    default:
      return "";
  }
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// A new file beside `path`, removed on destruction unless it was renamed to it.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& path) : file_(-1) {
    static std::atomic<uint64_t> counter{0};
    do {  // EEXIST: left behind by a process of the same number that was killed
      name_ = fmt::format("{}.tmp.{}.{}", path, ::getpid(), counter++);
      const int descriptor = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor >= 0) {
        file_.Reset(descriptor);
        return;
      }
    } while (errno == EEXIST);
    const int error_number = errno;
    name_.clear();
    FailErrno(path, "cannot be created", error_number);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }

  void Write(const std::string& path, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) FailErrno(path, "cannot be written", errno);
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
    if (::fsync(file_.get()) != 0) FailErrno(path, "cannot be written", errno);
    // Some file systems report a full disk only here.
    if (::close(file_.Release()) != 0) FailErrno(path, "cannot be written", errno);
  }

  void RenameTo(const std::string& path) {
    if (::rename(name_.c_str(), path.c_str()) != 0) FailErrno(path, "cannot be replaced", errno);
    name_.clear();
  }

 private:
  std::string name_;
  FileDescriptor file_;
};

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FailErrno(const std::string& path, std::string_view what, int error_number) {
  Fail(ErrorKind::kData, path, "{}: {}{}", what, std::generic_category().message(error_number),
       Hint(error_number));
}

FileDescriptor OpenForReading(const std::string& path) {
  int descriptor;
  do {
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) FailErrno(path, "cannot be opened", errno);
  return FileDescriptor(descriptor);
}

void WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes) {
  TemporaryFile temporary(path);
  temporary.Write(path, bytes);
  temporary.RenameTo(path);
  // The new name itself reaches the disk with the folder. EINVAL: this file system syncs no
  // folders.
  const std::string folder = FolderOf(path);
  const FileDescriptor opened = OpenForReading(folder);
  if (::fsync(opened.get()) != 0 && errno != EINVAL) FailErrno(folder, "cannot be synced", errno);
}

void WriteFileAtomically(const std::string& path, std::string_view text) {
  WriteFileAtomically(path, std::as_bytes(std::span(text)));
}

std::string ReadTextFile(const std::string& path) {
  const FileDescriptor file = OpenForReading(path);
  std::string text;
  char block[1 << 16];
  for (;;) {
    const ssize_t read = ::read(file.get(), block, sizeof block);
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) FailErrno(path, "cannot be read", errno);
    if (read == 0) return text;
    text.append(block, static_cast<size_t>(read));
    if (static_cast<int64_t>(text.size()) > kMaxTextFileBytes) {
      Fail(ErrorKind::kData, path,
           "has more than the {} bytes allowed for a text file (hint: is this the right file?)",
           kMaxTextFileBytes);
    }
  }
}

}  // namespace bisparse
