// SPDX-License-Identifier: Apache-2.0
// Read first: file.h.
#include "deploy/base/file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstdlib>
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
    case EBUSY:
      return " (hint: this may be a mount point of its own, give a file in a folder)";
    case ENAMETOOLONG:
      return " (hint: choose a shorter name)";
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

/// A path goes to the system up to its first NUL: a file that nobody named.
void RequireNoNul(const std::string& path) {
  if (path.find('\0') == std::string::npos) return;
  Fail(ErrorKind::kData, path, "holds a NUL byte, which no path may");
}

FileDescriptor Open(const std::string& path, int flags, const char* what) {
  RequireNoNul(path);
  int descriptor;
  do {
    descriptor = ::open(path.c_str(), flags | O_CLOEXEC);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) FailErrno(path, what, errno);
  return FileDescriptor(descriptor);
}

void WriteAll(const FileDescriptor& file, const std::string& path,
              std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) FailErrno(path, "cannot be written", errno);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

/// Some file systems report a full disk only here.
void Close(FileDescriptor& file, const std::string& path) {
  if (::close(file.Release()) != 0) FailErrno(path, "cannot be written", errno);
}

/// What stands at a path that is to be written.
struct Target {
  enum class Kind { kNew, kReplace, kInto, kDescriptor } kind;
  std::string path;         ///< links followed
  struct stat before = {};  ///< of kReplace
  int descriptor = -1;      ///< of kDescriptor
};

std::string RealPath(const std::string& path) {
  char* const real = ::realpath(path.c_str(), nullptr);
  const std::string text = real == nullptr ? "" : real;
  std::free(real);
  return text;
}

/// A link of procfs does not lead where it says: it stands for an open file, which may have no name.
bool IsInProcfs(const std::string& link) {
  struct statfs file_system;
  return ::statfs(FolderOf(link).c_str(), &file_system) == 0 &&
         file_system.f_type == PROC_SUPER_MAGIC;
}

/// The number of this process's descriptor that a link of procfs stands for, else -1.
int OwnDescriptor(const std::string& link) {
  const std::string folder = RealPath(FolderOf(link)), name = link.substr(link.rfind('/') + 1);
  const bool own =
      folder == RealPath("/proc/self/fd") || folder == RealPath("/proc/thread-self/fd");
  int number = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return own && error == std::errc() && end == name.data() + name.size() ? number : -1;
}

std::string LinkTarget(const std::string& path, const std::string& link) {
  char target[PATH_MAX];
  const ssize_t bytes = ::readlink(link.c_str(), target, sizeof target);
  if (bytes < 0) FailErrno(path, "cannot be followed", errno);
  const std::string text(target, static_cast<size_t>(bytes));
  return text.starts_with('/') ? text : FolderOf(link) + "/" + text;
}

Target FindTarget(const std::string& path) {
  RequireNoNul(path);
  constexpr int kMostLinks = 40;  // as Linux
  Target target{Target::Kind::kNew, path};
  for (int links = 0; links <= kMostLinks; ++links) {
    struct stat status;
    if (::lstat(target.path.c_str(), &status) != 0) {
      if (errno != ENOENT) FailErrno(path, "cannot be created", errno);
      if (target.path.ends_with('/')) FailErrno(path, "cannot be created", EISDIR);
      return target;
    }
    if (S_ISDIR(status.st_mode)) FailErrno(path, "cannot be written", EISDIR);
    if (S_ISREG(status.st_mode)) {
      if (::faccessat(AT_FDCWD, target.path.c_str(), W_OK, AT_EACCESS) != 0) {
        FailErrno(path, "cannot be written", errno);
      }
      target.kind = Target::Kind::kReplace;
      target.before = status;
      return target;
    }
    if (!S_ISLNK(status.st_mode) || IsInProcfs(target.path)) {
      target.descriptor = S_ISLNK(status.st_mode) ? OwnDescriptor(target.path) : -1;
      target.kind = target.descriptor < 0 ? Target::Kind::kInto : Target::Kind::kDescriptor;
      return target;
    }
    target.path = LinkTarget(path, target.path);
  }
  FailErrno(path, "cannot be followed", ELOOP);
}

/// A device or pipe as it is; a descriptor at its own position, after what stdio holds for it.
void WriteInto(const Target& target, const std::string& path, std::span<const std::byte> bytes) {
  if (target.descriptor == STDOUT_FILENO && std::fflush(stdout) != 0) {
    FailErrno(path, "cannot be written", errno);
  }
  FileDescriptor file(-1);
  if (target.kind == Target::Kind::kDescriptor) {
    file.Reset(::fcntl(target.descriptor, F_DUPFD_CLOEXEC, 0));
    if (file.get() < 0) FailErrno(path, "cannot be written", errno);
  } else {
    file.Reset(Open(target.path, O_WRONLY | O_NOCTTY, "cannot be written").Release());
  }
  WriteAll(file, path, bytes);
  Close(file, path);
}

/// A new file beside `target`, removed on destruction unless it was renamed to it.
class TemporaryFile {
 public:
  TemporaryFile(const Target& target, const std::string& path) : path_(path), file_(-1) {
    static std::atomic<uint64_t> counter{0};
    // A name of its own length fits where the file's own does. What a mode keeps secret is secret from the start.
    const std::string folder = FolderOf(target.path),
                      name = target.path.substr(target.path.rfind('/') + 1).substr(0, 200);
    const mode_t mode = target.kind == Target::Kind::kReplace ? 0600 : 0666;
    do {  // EEXIST: left behind by a process of the same number that was killed
      name_ = fmt::format("{}/{}.tmp.{}.{}", folder, name, ::getpid(), counter++);
      const int descriptor = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
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

  /// After the last write, which takes set-user-ID away. Only root may give a file away.
  void KeepOwnerAndMode(const struct stat& before) {
    mode_t mode = before.st_mode & 07777;
    struct stat now;
    if (::fstat(file_.get(), &now) != 0) FailErrno(path_, "cannot be examined", errno);
    const bool same = now.st_uid == before.st_uid && now.st_gid == before.st_gid;
    if (!same && ::fchown(file_.get(), before.st_uid, before.st_gid) != 0) {
      mode &= 0777;
      const bool same_group =
          now.st_gid == before.st_gid || ::fchown(file_.get(), now.st_uid, before.st_gid) == 0;
      // What the old group might do is nobody's right to pass on to another group.
      if (!same_group) mode = (mode & ~mode_t{070}) | (mode & 07) << 3;
    }
    if (::fchmod(file_.get(), mode) != 0 && errno != EPERM)
      FailErrno(path_, "its mode cannot be kept", errno);
  }

  void Write(std::span<const std::byte> bytes) { WriteAll(file_, path_, bytes); }

  void SyncAndRenameTo(const std::string& target) {
    if (::fsync(file_.get()) != 0 && errno != EINVAL) FailErrno(path_, "cannot be written", errno);
    Close(file_, path_);
    if (::rename(name_.c_str(), target.c_str()) != 0) FailErrno(path_, "cannot be replaced", errno);
    name_.clear();
  }

 private:
  const std::string& path_;
  std::string name_;
  FileDescriptor file_;
};

/// The new name itself reaches the disk with the folder. EINVAL: this file system syncs no folders. A folder may be
/// written that may not be read.
void SyncFolder(const std::string& folder) {
  const FileDescriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0) return;
  if (::fsync(opened.get()) != 0 && errno != EINVAL) FailErrno(folder, "cannot be synced", errno);
}

std::string ReadAll(const FileDescriptor& file, const std::string& path) {
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

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "folder";
  if (S_ISFIFO(mode)) return "pipe";
  return S_ISSOCK(mode) ? "socket" : "device";
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Error ErrnoError(const std::string& path, std::string_view what, int error_number) {
  return Error(ErrorKind::kData, NulShown(path),
               fmt::format("{}: {}{}", what, std::generic_category().message(error_number),
                           Hint(error_number)));
}

void FailErrno(const std::string& path, std::string_view what, int error_number) {
  throw ErrnoError(path, what, error_number);
}

FileDescriptor OpenRegularFile(const std::string& path) {
  FileDescriptor file = Open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, "cannot be opened");
  struct stat status;
  if (::fstat(file.get(), &status) != 0) FailErrno(path, "cannot be examined", errno);
  if (!S_ISREG(status.st_mode)) {
    Fail(ErrorKind::kData, path,
         "is not a regular file but a {} (hint: give the file itself, no folder, pipe or device)",
         KindOf(status.st_mode));
  }
  return file;
}

void WriteFileAtomically(const std::string& path, std::span<const std::byte> bytes) {
  const Target target = FindTarget(path);
  if (target.kind == Target::Kind::kInto || target.kind == Target::Kind::kDescriptor) {
    return WriteInto(target, path, bytes);
  }
  TemporaryFile temporary(target, path);
  temporary.Write(bytes);
  if (target.kind == Target::Kind::kReplace) temporary.KeepOwnerAndMode(target.before);
  temporary.SyncAndRenameTo(target.path);
  SyncFolder(FolderOf(target.path));
}

void WriteFileAtomically(const std::string& path, std::string_view text) {
  WriteFileAtomically(path, std::as_bytes(std::span(text)));
}

void RequireWritable(const std::string& path) {
  const Target target = FindTarget(path);
  const bool into = target.kind == Target::Kind::kInto,
             beside = !into && target.kind != Target::Kind::kDescriptor;
  const std::string folder = FolderOf(target.path);
  if ((into && ::faccessat(AT_FDCWD, target.path.c_str(), W_OK, AT_EACCESS) != 0) ||
      (beside && ::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0)) {
    FailErrno(path, into ? "cannot be written" : "cannot be created", errno);
  }
}

std::string ReadTextFile(const std::string& path) { return ReadAll(OpenRegularFile(path), path); }

std::string ReadTextStream(const std::string& path) {
  return ReadAll(Open(path, O_RDONLY | O_NOCTTY, "cannot be opened"), path);
}

}  // namespace bisparse
