// SPDX-License-Identifier: Apache-2.0
// How words are told in a stream: what detector.h does with these numbers.
#ifndef BISPARSE_DETECTION_H_
#define BISPARSE_DETECTION_H_

#include "bisparse/version.h"  // first: says what is needed where the compiler would not

#include <string>
#include <vector>

namespace bisparse {
inline namespace BISPARSE_VERSION_NAMESPACE {

struct WordThreshold {
  std::string word;
  double threshold = 0;  ///< 0 … 1
  bool operator==(const WordThreshold&) const = default;
};

/// What a model file keeps, and what a caller may change.
struct DetectionOptions {
  /// 0 … 60,000; less than two hops: each window by itself. Windows times classes are 2^22 at most.
  double average_ms = 300;
  double threshold = 0.8;  ///< 0 … 1, of words that `words` does not name
  std::vector<WordThreshold> words = {};
  double least_ms = 0;         ///< 0 … 60,000
  double refractory_ms = 750;  ///< 0 … 60,000
  double gate_db = -200;       ///< −200 … 0, of full scale; −200: no gate
  bool operator==(const DetectionOptions&) const = default;
};

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse

#endif  // BISPARSE_DETECTION_H_
