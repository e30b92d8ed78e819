// SPDX-License-Identifier: Apache-2.0
// Run folders; see run_folder.h. Tested in: loop_test.cc.
#include "train/loop/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>

#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "train/config/load.h"
#include "train/config/print.h"

namespace bisparse::train {
namespace {

namespace fs = std::filesystem;

/// Settings (the last part of their path) that may differ between a run and its resumption.
constexpr std::array<std::string_view, 15> kFreeSettings = {"worker_timeout_s",
                                                            "device",
                                                            "threads",
                                                            "workers",
                                                            "runs",
                                                            "name",
                                                            "path",
                                                            "test_path",
                                                            "train_x",
                                                            "train_y",
                                                            "validation_x",
                                                            "validation_y",
                                                            "test_x",
                                                            "test_y",
                                                            "cache"};

bool IsFree(const std::string& path) {
  const std::string_view last = std::string_view(path).substr(path.rfind('.') + 1);
  for (const std::string_view free : kFreeSettings) {
    if (last == free) return true;
  }
  return false;
}

/// "train.learning_rate" → "0.001"; "network[2].winners" → "8".
void Flatten(const YAML::Node& node, const std::string& path,
             std::map<std::string, std::string>& settings) {
  if (node.IsMap()) {
    for (const auto& entry : node) {
      const std::string key = entry.first.as<std::string>();
      Flatten(entry.second, path.empty() ? key : path + "." + key, settings);
    }
  } else if (node.IsSequence()) {
    for (size_t i = 0; i < node.size(); ++i) {
      Flatten(node[i], fmt::format("{}[{}]", path, i), settings);
    }
  } else {
    settings[path] = node.IsNull() ? "" : node.Scalar();
  }
}

FileDescriptor TakeLock(const std::string& path) {
  FileDescriptor lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (lock.get() < 0) FailErrno(path, "cannot be opened for writing", errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) FailErrno(path, "cannot be locked", errno);
    std::array<char, 32> holder{};
    const ssize_t count = ::pread(lock.get(), holder.data(), holder.size() - 1, 0);
    Fail(ErrorKind::kData, fs::path(path).parent_path().string(),
         "another trainer works on this run (process {}; hint: wait for it, or choose another "
         "folder with --out)",
         count > 0 ? holder.data() : "unknown");
  }
  const std::string self = std::to_string(::getpid());
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), self.data(), self.size(), 0) != static_cast<ssize_t>(self.size())) {
    FailErrno(path, "cannot be written", errno);
  }
  return lock;
}

constexpr std::string_view kMark = "# Written by bisparse-train, checksum ";

/// The first line of a run's config.yaml: whoever edits the file makes it his own.
std::string MarkLine(std::string_view config) {
  return fmt::format("{}{:016x}\n", kMark,
                     XxHash64({reinterpret_cast<const uint8_t*>(config.data()), config.size()}));
}

/// Earlier versions marked nothing. What they printed has every section and no comment, and they
/// had made lock and log before it.
bool IsUnmarkedRun(const RunPaths& paths, const std::string& config) {
  for (const char* line : {"\nseed: ", "\ndata:\n", "\nnetwork:\n", "\ntrain:\n"}) {
    if (config.find(line) == std::string::npos) return false;
  }
  return config.starts_with("name: ") && config.find('#') == std::string::npos &&
         PathExists(paths.lock()) && PathExists(paths.folder + "/log");
}

/// Whether a trainer wrote the config.yaml of this folder, and nobody has changed it.
bool IsRun(const RunPaths& paths) {
  if (!PathExists(paths.config())) return false;
  const std::string text = ReadTextFile(paths.config());
  if (!text.starts_with(kMark)) return IsUnmarkedRun(paths, text);
  const size_t end = text.find('\n');
  const std::string_view rest = std::string_view(text).substr(std::min(end, text.size() - 1) + 1);
  return std::string_view(text).substr(0, text.size() - rest.size()) == MarkLine(rest);
}

/// A run whose config.yaml its user has changed since: to resume it is fine, and the file stays.
bool IsEditedRun(const RunPaths& paths) {
  return PathExists(paths.config()) && PathExists(paths.data()) && !IsRun(paths) &&
         ReadTextFile(paths.config()).starts_with(kMark);
}

/// A folder that is no run holds nothing that a run would replace.
void RequireFree(const RunPaths& paths) {
  for (const std::string& file : {paths.config(), paths.last(), paths.best(), paths.metrics(),
                                  paths.summary(), paths.data(), paths.lock()}) {
    if (!PathExists(file)) continue;
    if (file == paths.lock()) {  // left by a trainer that came no further
      const std::string holder = ReadTextFile(file);
      if (holder.size() <= 20 && holder.find_first_not_of("0123456789") == std::string::npos) {
        continue;
      }
    }
    Fail(ErrorKind::kConfiguration, file,
         "would be replaced, and is not as bisparse-train wrote it (hint: --out another folder)");
  }
}

void MakeFolder(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder + "/log", error);
  if (error) FailErrno(folder, "cannot be made", error.value());
  if (::access(folder.c_str(), W_OK) != 0) FailErrno(folder, "cannot be written to", errno);
}

}  // namespace

std::vector<std::string> DifferingSettings(const std::string& run_yaml,
                                           const std::string& now_yaml) {
  std::map<std::string, std::string> run, now;
  Flatten(YAML::Load(run_yaml), "", run);
  Flatten(YAML::Load(now_yaml), "", now);
  std::vector<std::string> differing;
  for (const auto& [path, value] : run) {
    if (IsFree(path)) continue;
    const auto it = now.find(path);
    if (it == now.end()) {
      differing.push_back(fmt::format("{}: {} in the run, absent now", path, value));
    } else if (it->second != value) {
      differing.push_back(fmt::format("{}: {} in the run, {} now", path, value, it->second));
    }
  }
  for (const auto& [path, value] : now) {
    if (!IsFree(path) && !run.contains(path)) {
      differing.push_back(fmt::format("{}: absent in the run, {} now", path, value));
    }
  }
  return differing;
}

std::string FolderOfRun(const std::string& run) {
  return (fs::path(run) / "..").lexically_normal().string();
}

bool PathExists(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  FailErrno(path, "cannot be looked at", errno);
}

RunFolder::RunFolder(const std::string& folder, const Config& config, OpenRun open)
    : paths_(folder), printed_config_(PrintConfig(config)), open_(open) {
  if (open == OpenRun::kFollow) return;
  keep_config_ = open == OpenRun::kResume && IsEditedRun(paths_);
  const bool exists = keep_config_ || IsRun(paths_);
  if (!exists) RequireFree(paths_);
  if (exists && open == OpenRun::kNew) {
    Fail(ErrorKind::kConfiguration, folder,
         "the run exists (hint: --resume continues it, --force begins it anew, --out chooses "
         "another folder)");
  }
  MakeFolder(folder);
  lock_.Reset(TakeLock(paths_.lock()).Release());
  if (open == OpenRun::kResume && exists) {
    // Read and printed anew: a setting that an older version did not know has its default.
    const std::string begun = PrintConfig(LoadConfig(paths_.config()));
    const auto differing = DifferingSettings(begun, printed_config_);
    if (!differing.empty()) {
      Fail(ErrorKind::kConfiguration, folder,
           "the run was begun with other settings and can't be resumed with these:\n  {}\n"
           "(hint: resume with the run's own config.yaml)",
           fmt::join(differing, "\n  "));
    }
  }
}

void RunFolder::Begin(const RunData& data) const {
  if (open_ == OpenRun::kFollow) return;
  if (open_ == OpenRun::kForce) {
    // config.yaml last: until it is gone, the others are seen to be a run's.
    for (const std::string& file :
         {paths_.last(), paths_.best(), paths_.metrics(), paths_.summary(), paths_.kernels(),
          paths_.data(), paths_.config()}) {
      std::error_code error;
      fs::remove(file, error);
      if (error) FailErrno(file, "cannot be removed", error.value());
    }
  }
  if (const std::optional<RunData> begun = ReadRunData(paths_.data())) {
    const std::vector<std::string> differing = DifferingData(*begun, data);
    if (!differing.empty()) {
      Fail(ErrorKind::kConfiguration, paths_.folder,
           "the run was begun with other data and can't be resumed with these:\n  {}\n"
           "(hint: give the data it was begun with, or --out another folder)",
           fmt::join(differing, "\n  "));
    }
  }
  if (!keep_config_) {
    WriteFileAtomically(paths_.config(), MarkLine(printed_config_) + printed_config_);
  }
  WriteFileAtomically(paths_.data(), PrintRunData(data));
}

}  // namespace bisparse::train
