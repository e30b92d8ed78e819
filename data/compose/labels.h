// SPDX-License-Identifier: Apache-2.0
// What sounds when in a recording: a text file beside it, as Audacity writes its label tracks.
//
//   12.345000 <tab> 12.912000 <tab> go          begin and end in seconds, then the text
//
// A text that begins with '_' is no word: `_talk_ 19/19-198-0001`, `_other_ computer`.
// Tested in: labels_test.cc.
#ifndef BISPARSE_DATA_COMPOSE_LABELS_H_
#define BISPARSE_DATA_COMPOSE_LABELS_H_

#include <string>
#include <vector>

namespace bisparse::data {

struct Label {
  double begin_s = 0, end_s = 0;
  std::string text;
  bool operator==(const Label&) const = default;
};

/// "talk.txt" of "talk.wav".
std::string LabelsPathOf(const std::string& recording);

/// Sorted by begin, then end; lines may stand in any order, with LF or CRLF. Empty lines and Audacity's lines of
/// frequencies (they begin with a backslash) are passed over; decimal commas are read. Throws Error (kData) naming the
/// line where a number is none, is negative or above 10^7, where the end is before the begin, or where a text is
/// missing.
std::vector<Label> ReadLabels(const std::string& path);

/// A line for each label; times in microseconds' precision.
std::string LabelsText(const std::vector<Label>& labels);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_COMPOSE_LABELS_H_
