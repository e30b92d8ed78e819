// SPDX-License-Identifier: Apache-2.0
// Collects every fault of a configuration, so that a user mends them all at once. A line of the
// message is
//   configs/gsc.yaml:12:9: kwta1.winners = 300 exceeds the 64 channels of conv1 (hint: …)
// Read first: yaml_tree.h (marks). Tested in: load_test.cc.
#ifndef BISPARSE_TRAIN_CONFIG_FAULTS_H_
#define BISPARSE_TRAIN_CONFIG_FAULTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace bisparse::train {

/// Where something was written: line and column from 1; line 0 is the `column`-th override (from
/// 1), 0:0 the whole file.
struct Mark {
  int32_t line = 0, column = 0;
  bool operator==(const Mark&) const = default;
};

class Faults {
 public:
  /// `path` names the file (may be empty), `overrides` what Mark{0, i} points to.
  Faults(std::string path, std::vector<std::string> overrides);

  /// Remembers where the value of `key` ("conv2.packing.set_size") was written.
  void SetMark(const std::string& key, Mark mark) { marks_[key] = mark; }
  /// The mark of the key, else of the nearest section around it.
  Mark MarkOf(std::string_view key) const;

  /// `message` begins after the key: Add("train.epochs", "= 0 is out of range …").
  void Add(const std::string& key, const std::string& message) { AddAt(MarkOf(key), key, message); }
  void AddAt(Mark mark, const std::string& key, const std::string& message);

  bool empty() const { return faults_.empty(); }
  /// Whether any fault's key is `key` or lies within the section `key`.
  bool Concerns(std::string_view key) const;
  /// Throws one Error (kConfiguration) with all faults, a line each, in the order of the file;
  /// returns if there is none.
  void ThrowIfAny() const;

 private:
  struct Fault {
    Mark mark;
    std::string key, message;
  };
  std::string Location(Mark mark) const;

  std::string path_;
  std::vector<std::string> overrides_;
  std::map<std::string, Mark, std::less<>> marks_;
  std::vector<Fault> faults_;
};

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_CONFIG_FAULTS_H_
