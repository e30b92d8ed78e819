// SPDX-License-Identifier: Apache-2.0
// A program's stream and detector: events on stdout as they come; on stderr a line of what is heard now, and how long it took.
// Its memory does not grow. What ends early by a stop (stop.h) ends in order.
// Tested in: tests/programs/listen_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_HEARING_H_
#define BISPARSE_APPS_SUPPORT_HEARING_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/support/live_line.h"
#include "bisparse/detector.h"
#include "bisparse/engine.h"
#include "bisparse/stream.h"
#include "data/resampler.h"

namespace bisparse::apps {

struct HearingOptions {
  StreamOptions stream;
  DetectionOptions detection;
  bool json = false;  ///< a line of JSON for each event and one at the end (docs/json.md)
  bool live = true;   ///< a line of what is heard now, where stderr is a terminal
};

/// What a device recorded and this program did not get.
struct SoundLoss {
  int64_t overruns = 0;
  double seconds = 0;  ///< as far as it is known
};

class Hearing {
 public:
  /// `engine` must outlive it. Throws Error (kConfiguration) for a model without a front end or words.
  Hearing(const Engine& engine, const HearingOptions& options);

  int32_t sample_rate_hz() const { return engine_.sample_rate_hz(); }

  /// What is pushed from here on is `name`'s, at `rate_hz`. Throws Error (kData) where that cannot be resampled.
  void Begin(const std::string& name, int32_t rate_hz);
  void Push(std::span<const int16_t> samples);
  /// Samples above full scale are clipped. Throws Error (kData) at one that is not finite, after those before it.
  void Push(std::span<const float> samples);
  /// A window of silence: what comes next, at `rate_hz`, is not in one window with what came before.
  void Gap(int32_t rate_hz);
  /// A window of silence, so that a word at the very end is heard whole; then how long it took.
  void End(const SoundLoss& loss = {});

  void Heading(const std::string& text);  ///< to stdout, where that is for people
  void Remark(const std::string& text);   ///< to stderr

 private:
  std::string Label() const;  ///< name_ for people
  void SetRate(int32_t rate_hz);
  void PushFloats(std::span<const float> samples);
  void PushToStream(std::span<const int16_t> samples);
  void PushRest();
  void ShowLive();
  void Tell(const Event& event);
  void TellTime(const StreamStats& stats, double cpu_s, const SoundLoss& loss);

  const Engine& engine_;
  HearingOptions options_;
  Stream stream_;
  Detector detector_;
  LiveLine live_;
  std::optional<data::Resampler> resampler_;
  std::vector<float> floats_, resampled_;
  std::vector<int16_t> ints_;
  const std::vector<int16_t> silence_;  ///< a window
  std::string name_;                    ///< of what is heard
  double peak_ = 0;
  double cpu_begin_s_ = 0;
  int64_t taken_ = 0;  ///< samples that were pushed, at their own rate
};

/// A recording of any length. What is readable of a broken one is heard before the Error (kData).
void HearRecording(Hearing& hearing, const std::string& path);

struct PipeFormat {
  bool floats = false;  ///< 32-bit floats; else 16-bit integers. Both little-endian, one channel
  int32_t rate_hz = 0;
};
/// Raw samples until the writer closes the pipe. Throws Error (kData) where reading fails, and where the first bytes are
/// those of a file format.
void HearPipe(Hearing& hearing, int file, const PipeFormat& format);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_HEARING_H_
