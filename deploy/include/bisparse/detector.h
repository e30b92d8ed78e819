// SPDX-License-Identifier: Apache-2.0
// Words in a stream: from the logits of overlapping windows to one event for each word that was said.
//
//   const bisparse::StreamOptions options{.hop_frames = 2};
//   bisparse::Stream stream = engine.NewStream(options);
//   bisparse::Detector detector(engine, options, engine.detection());
//   stream.Push(samples, [&](const bisparse::StreamWindow& window) {
//     if (const std::optional<bisparse::Event> event = detector.Push(window)) use(*event);
//   });
//
// Each window's softmax probabilities are averaged over the windows of the last average_ms; those before the stream count as 0.
// A word is heard where its average has been at its threshold for least_ms, no event was less than refractory_ms ago, and
// some hop of the last window was as loud as gate_db. Of several words the one with the largest average is the event's.
// `_silence_` and `_unknown_` are no words. Nothing is allocated after the start. One detector is for one stream and one
// thread at a time.
// Read first: stream.h. Tested in: deploy/engine/detector_test.cc.
#ifndef BISPARSE_DETECTOR_H_
#define BISPARSE_DETECTOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "bisparse/detection.h"
#include "bisparse/engine.h"
#include "bisparse/stream.h"

namespace bisparse {
inline namespace BISPARSE_VERSION_NAMESPACE {

/// A word was heard.
struct Event {
  size_t word = 0;             ///< index of its class
  int64_t begin = 0, end = 0;  ///< samples of the windows in which its average was at the threshold
  double score = 0;            ///< its average then, 0 … 1
};

class BISPARSE_API Detector {
 public:
  /// Throws Error (kConfiguration) where the model has no class names or none is a word, where `options` name a word
  /// that it lacks, and for numbers out of range.
  Detector(const Engine& engine, const StreamOptions& stream, const DetectionOptions& options);
  Detector(Detector&&) noexcept;
  Detector& operator=(Detector&&) noexcept;
  ~Detector();

  /// The stream's next window.
  std::optional<Event> Push(const StreamWindow& window);
  /// As it was made.
  void Reset();

  /// Of each class, 0 … 1: what the last window brought the averages to.
  std::span<const double> averages() const;

 private:
  struct BISPARSE_HIDDEN Impl;
  BISPARSE_HIDDEN Impl& impl() const;  // throws Error where this was moved from
  std::unique_ptr<Impl> impl_;
};

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse

#endif  // BISPARSE_DETECTOR_H_
