// SPDX-License-Identifier: Apache-2.0
// Which pictures there are in ROOT/CLASS/…, and which of them are held out.
//   names that begin with a dot       passed over in silence, folders too
//   a class folder, or a link to one  a class; its own folders are looked into, links to folders there are not
//   a name of HasPictureName          a picture, links to files too; whether it is one, reading tells
//   another file                      passed over and counted, also where it lies beside the class folders
// Tested in: pictures_test.cc.
#ifndef BISPARSE_DATA_PICTURE_FOLDER_H_
#define BISPARSE_DATA_PICTURE_FOLDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace bisparse::data {

struct PictureFile {
  std::string path;
  std::string below;  ///< CLASS/… , the path below the root
  int32_t label = 0;
  // What changes where the file does.
  int64_t size_bytes = 0, modified_ns = 0;
};

struct PictureFolder {
  std::string root;
  std::vector<std::string> class_names;
  std::vector<PictureFile> files;    ///< by class, then by `below`, in the order of bytes
  std::vector<int64_t> passed_over;  ///< [class]
  std::vector<std::string> notes;    ///< what else was passed over
};

/// `class_names`: the classes in this order, other folders are passed over; empty: every folder, sorted. Throws Error (kData)
/// for a folder that cannot be read, has no class folders or lacks one that is listed, and for a class whose name is no UTF-8.
PictureFolder ScanPictures(const std::string& root, const std::vector<std::string>& class_names);

/// The pictures below one path, for programs; a file is itself, whatever its name.
std::vector<std::string> PicturesBelow(const std::string& path);

/// The folder of each split, empty where it has none of its own.
struct SplitFolders {
  std::string train, validation, test;
};

/// ROOT/train, ROOT/val or ROOT/validation, ROOT/test, those that hold folders; where there is none of them, ROOT is `train`.
/// Throws Error (kData) where val and validation are both there.
SplitFolders FindSplitFolders(const std::string& root);

/// Whether one of them is there.
bool HasSplitFolders(const std::string& root);

/// The split of each file: parts of `validation` and `test` are held out, the same for every seed and wherever the folder lies.
/// Without groups of every class equally many, rounded, those with the smallest hash of CLASS/FILE. With groups (a file of
/// lines PATH,GROUP, PATH as in `below`) whole groups of the smallest hash of their names, until the part is reached; a file
/// without a line is a group of its own. One file of each class, or one group, is left to training. Warns of lines that name
/// no file and of files without one.
std::vector<Split> HoldOut(const PictureFolder& folder, double validation, double test,
                           const std::string& groups, std::vector<std::string>& warnings);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_PICTURE_FOLDER_H_
