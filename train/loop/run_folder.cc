// SPDX-License-Identifier: Apache-2.0
// Run folders; see run_folder.h. Tested in: loop_test.cc.
#include "train/loop/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <map>
#include <string_view>

#include "deploy/base/check.h"
#include "train/config/print.h"

namespace bisparse::train {
namespace {

namespace fs = std::filesystem;

/// Settings (the last part of their path) that may differ between a run and its resumption.
constexpr std::array<std::string_view, 14> kFreeSettings = {
    "worker_timeout_s", "device",  "threads", "workers",      "runs",         "name",   "path",
    "test_path",        "train_x", "train_y", "validation_x", "validation_y", "test_x", "test_y"};

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

RunFolder::RunFolder(const std::string& folder, const Config& config, OpenRun open)
    : paths_(folder), printed_config_(PrintConfig(config)), open_(open) {
  if (open == OpenRun::kFollow) return;
  const bool exists = fs::exists(paths_.config()) || fs::exists(paths_.last());
  if (exists && open == OpenRun::kNew) {
    Fail(ErrorKind::kConfiguration, folder,
         "the run exists (hint: --resume continues it, --force begins it anew, --out chooses "
         "another folder)");
  }
  MakeFolder(folder);
  lock_.Reset(TakeLock(paths_.lock()).Release());
  if (open == OpenRun::kResume && fs::exists(paths_.config())) {
    const auto differing = DifferingSettings(ReadTextFile(paths_.config()), printed_config_);
    if (!differing.empty()) {
      Fail(ErrorKind::kConfiguration, folder,
           "the run was begun with other settings and can't be resumed with these:\n  {}\n"
           "(hint: resume with the run's own config.yaml)",
           fmt::join(differing, "\n  "));
    }
  }
}

void RunFolder::Begin() const {
  if (open_ == OpenRun::kFollow) return;
  if (open_ == OpenRun::kForce) {
    for (const std::string& file :
         {paths_.last(), paths_.best(), paths_.metrics(), paths_.summary(), paths_.config()}) {
      std::error_code error;
      fs::remove(file, error);
      if (error) FailErrno(file, "cannot be removed", error.value());
    }
  }
  WriteFileAtomically(paths_.config(), printed_config_);
}

}  // namespace bisparse::train
