// SPDX-License-Identifier: Apache-2.0
// Read first: picture_folder.h.
#include "data/picture_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>

#include "data/picture.h"
#include "data/recording_lists.h"
#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "deploy/base/random.h"
#include "deploy/base/utf8.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

std::string LastPart(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// What lies in a folder, sorted by bytes, without names that begin with a dot.
std::vector<std::string> Entries(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::string path = it->path().string();
    if (!LastPart(path).starts_with('.')) paths.push_back(std::move(path));
  }
  if (error) Fail(ErrorKind::kData, folder, "cannot be read: {}", error.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool IsLink(const std::string& path) {
  std::error_code ignored;
  return fs::is_symlink(path, ignored);
}

/// Pictures below a folder, and how many files are none.
void AddPictures(const std::string& folder, std::vector<std::string>& pictures,
                 int64_t& passed_over) {
  for (std::string& path : Entries(folder)) {
    if (IsFolder(path)) {
      if (IsLink(path)) {
        ++passed_over;
      } else {
        AddPictures(path, pictures, passed_over);
      }
    } else if (HasPictureName(LastPart(path))) {
      pictures.push_back(std::move(path));
    } else {
      ++passed_over;
    }
  }
}

PictureFile Look(std::string path, size_t root_bytes, int32_t label) {
  PictureFile file{.path = std::move(path), .label = label};
  file.below = file.path.substr(root_bytes);
  struct stat status;
  if (::stat(file.path.c_str(), &status) == 0) {  // else reading it tells why not
    file.size_bytes = status.st_size;
    file.modified_ns = int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  }
  return file;
}

void RequireUtf8(const std::string& folder) {
  const std::string name = LastPart(folder);
  const size_t at = FirstNotUtf8(name);
  if (at == name.size()) return;
  Fail(ErrorKind::kData, folder,
       "byte {} of the class's name, 0x{:02x}, is not UTF-8 (hint: rename the folder)", at + 1,
       static_cast<uint8_t>(name[at]));
}

uint64_t HashOf(const std::string& name) {
  return MixBits(XxHash64({reinterpret_cast<const uint8_t*>(name.data()), name.size()}));
}

/// Files that are held out together.
struct Unit {
  uint64_t hash;
  std::string name;
  std::vector<size_t> files;
};

void SortByHash(std::vector<Unit>& units) {
  std::sort(units.begin(), units.end(), [](const Unit& a, const Unit& b) {
    return std::tie(a.hash, a.name) < std::tie(b.hash, b.name);
  });
}

/// Units in their order to validation, then to test, until each has its part of the files; one unit is left.
void Assign(const std::vector<Unit>& units, double validation, double test,
            std::vector<Split>& split_of_file) {
  double files = 0;
  for (const Unit& unit : units) files += static_cast<double>(unit.files.size());
  size_t next = 0;
  for (const auto& [split, part] :
       {std::pair{Split::kValidation, validation}, std::pair{Split::kTest, test}}) {
    const auto wanted = std::llround(part * files);
    for (int64_t count = 0; count < wanted && next + 1 < units.size(); ++next) {
      for (const size_t file : units[next].files) split_of_file[file] = split;
      count += std::ssize(units[next].files);
    }
  }
}

/// The group of each file, by its place in `files`; empty: none.
std::vector<std::string> ReadGroups(const PictureFolder& folder, const std::string& path,
                                    std::vector<std::string>& warnings) {
  std::map<std::string, size_t> file_of;
  for (size_t i = 0; i < folder.files.size(); ++i) file_of[folder.files[i].below] = i;
  std::vector<std::string> groups(folder.files.size());
  int64_t unmatched = 0, lines = 0;
  std::string first_unmatched;
  for (std::string line : ReadListLines(path)) {
    const size_t comma = line.find_last_of(",\t");
    std::string name = comma == std::string::npos ? line : line.substr(0, comma);
    std::replace(name.begin(), name.end(), '\\', '/');
    const auto file = file_of.find(name);
    const bool heading = lines++ == 0 && file == file_of.end();
    if (file == file_of.end() || comma == std::string::npos || comma + 1 == line.size()) {
      if (!heading && unmatched++ == 0) first_unmatched = line;
      continue;
    }
    groups[file->second] = line.substr(comma + 1);
  }
  if (unmatched > 0) {
    warnings.push_back(fmt::format(
        "{}: {} of {} lines name no picture of {} and its group, the first is '{}' (hint: "
        "CLASS/FILE,GROUP)",
        path, unmatched, lines, folder.root, first_unmatched));
  }
  const auto without = std::count(groups.begin(), groups.end(), "");
  if (without > 0) {
    warnings.push_back(fmt::format("{}: {} of {} pictures have no group and are split one by one",
                                   path, without, groups.size()));
  }
  return groups;
}

/// Whether a folder named as a split is one: it holds folders, as a class has pictures.
bool IsSplitFolder(const std::string& path) {
  if (!IsFolder(path)) return false;
  const std::vector<std::string> entries = Entries(path);
  return std::any_of(entries.begin(), entries.end(), IsFolder);
}

}  // namespace

PictureFolder ScanPictures(const std::string& root, const std::vector<std::string>& class_names) {
  PictureFolder folder{.root = root, .class_names = class_names};
  int64_t files_beside = 0, other_folders = 0;
  std::map<std::string, std::string> folder_of_class;
  for (const std::string& path : Entries(root)) {
    const std::string name = LastPart(path);
    if (!IsFolder(path)) {
      ++files_beside;
    } else if (class_names.empty() ||
               std::find(class_names.begin(), class_names.end(), name) != class_names.end()) {
      RequireUtf8(path);
      folder_of_class[name] = path;
      if (class_names.empty()) folder.class_names.push_back(name);
    } else {
      ++other_folders;
    }
  }
  if (folder.class_names.empty()) {
    Fail(ErrorKind::kData, root,
         "holds no folders, one is needed for each class (hint: {}/CLASS/PICTURE.png)", root);
  }
  const size_t root_bytes = root.ends_with('/') ? root.size() : root.size() + 1;
  for (size_t c = 0; c < folder.class_names.size(); ++c) {
    const auto found = folder_of_class.find(folder.class_names[c]);
    if (found == folder_of_class.end()) {
      Fail(ErrorKind::kData, root, "has no folder for the class '{}'", folder.class_names[c]);
    }
    std::vector<std::string> pictures;
    folder.passed_over.push_back(0);
    AddPictures(found->second, pictures, folder.passed_over.back());
    for (std::string& path : pictures) {
      folder.files.push_back(Look(std::move(path), root_bytes, static_cast<int32_t>(c)));
    }
  }
  if (files_beside > 0) {
    folder.notes.push_back(
        fmt::format("passed over in {}: {} files beside the class folders", root, files_beside));
  }
  if (other_folders > 0) {
    folder.notes.push_back(
        fmt::format("passed over in {}: {} folders that are no class", root, other_folders));
  }
  return folder;
}

std::vector<std::string> PicturesBelow(const std::string& path) {
  if (!IsFolder(path)) return {path};
  std::vector<std::string> pictures;
  int64_t passed_over = 0;
  AddPictures(path, pictures, passed_over);
  if (pictures.empty()) {
    Fail(ErrorKind::kData, path, "holds no pictures (hint: their names end in .png, .jpg, .jpeg)");
  }
  return pictures;
}

SplitFolders FindSplitFolders(const std::string& root) {
  const auto find = [&](const char* name) {
    std::string path = (fs::path(root) / name).string();
    return IsSplitFolder(path) ? path : std::string();
  };
  SplitFolders folders{.train = find("train"), .validation = find("val"), .test = find("test")};
  if (const std::string other = find("validation"); !other.empty()) {
    if (!folders.validation.empty()) {
      Fail(ErrorKind::kData, root, "holds val and validation (hint: keep one)");
    }
    folders.validation = other;
  }
  if (folders.train.empty() && folders.validation.empty() && folders.test.empty()) {
    folders.train = root;
  }
  return folders;
}

bool HasSplitFolders(const std::string& root) { return FindSplitFolders(root).train != root; }

std::vector<Split> HoldOut(const PictureFolder& folder, double validation, double test,
                           const std::string& groups, std::vector<std::string>& warnings) {
  std::vector<Split> split_of_file(folder.files.size(), Split::kTrain);
  if (groups.empty()) {
    std::vector<std::vector<Unit>> units_of_class(folder.class_names.size());
    for (size_t i = 0; i < folder.files.size(); ++i) {
      const PictureFile& file = folder.files[i];
      units_of_class[static_cast<size_t>(file.label)].push_back(
          {HashOf(file.below), file.below, {i}});
    }
    for (std::vector<Unit>& units : units_of_class) {
      SortByHash(units);
      Assign(units, validation, test, split_of_file);
    }
    return split_of_file;
  }
  const std::vector<std::string> group_of_file = ReadGroups(folder, groups, warnings);
  std::map<std::string, Unit> unit_of_name;
  for (size_t i = 0; i < group_of_file.size(); ++i) {
    // A file's own path begins with its class and a slash; a group's name is kept apart from it.
    const std::string name =
        group_of_file[i].empty() ? folder.files[i].below : "group " + group_of_file[i];
    Unit& unit = unit_of_name[name];
    unit.hash = HashOf(name);
    unit.name = name;
    unit.files.push_back(i);
  }
  std::vector<Unit> units;
  for (auto& [name, unit] : unit_of_name) units.push_back(std::move(unit));
  SortByHash(units);
  Assign(units, validation, test, split_of_file);
  return split_of_file;
}

}  // namespace bisparse::data
