// SPDX-License-Identifier: Apache-2.0
// A program's stream and detector: events on stdout as they come, how long it took on stderr. Tested in:
// tests/programs/listen_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_HEARING_H_
#define BISPARSE_APPS_SUPPORT_HEARING_H_

#include <cstdint>
#include <span>
#include <string>

#include "bisparse/detector.h"
#include "bisparse/engine.h"
#include "bisparse/stream.h"

namespace bisparse::apps {

struct HearingOptions {
  StreamOptions stream;
  DetectionOptions detection;
  bool json = false;  ///< a line of JSON for each event (docs/json.md)
};

/// "0.7" for all words, "up=0.7" for one. Throws Error (kConfiguration).
void SetThreshold(const std::string& text, DetectionOptions& options);

class Hearing {
 public:
  /// `engine` must outlive it. Throws Error (kConfiguration) for a model without a front end or words.
  Hearing(const Engine& engine, const HearingOptions& options);

  /// Whatever is heard is followed by a window of silence, so that a word at its very end is heard whole.
  void HearRecording(const std::string& name, std::span<const int16_t> samples);
  /// Raw 16-bit little-endian samples until the writer closes the pipe; events are written as they come. Its memory does not
  /// grow. Throws Error (kData) where reading fails.
  void HearPipe(int file);

 private:
  void Push(std::span<const int16_t> samples);
  void End();
  void Tell(const Event& event);
  void TellTime();

  const Engine& engine_;
  HearingOptions options_;
  Stream stream_;
  Detector detector_;
  std::string name_;  ///< of what is heard
};

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_HEARING_H_
