// SPDX-License-Identifier: Apache-2.0
// Sound without end: samples go in as they come, logits come out at every hop.
//
//   bisparse::Engine engine = bisparse::Engine::Load("kws.bisparse");
//   bisparse::Stream stream = engine.NewStream({.hop_frames = 2});
//   stream.Push(samples, [](const bisparse::StreamWindow& window) { use(window.logits); });
//
// The contract:
// - Same bits. Window w covers the samples [begin, begin + clip_samples) with begin = w · hop_frames · hop_samples. Its
//   logits are those of Engine::RunPcm of these samples, however the pieces were cut. A clip's first and last
//   frames see zeros where the clip ends; so do those of each window. The frames between are computed once.
// - Pieces may have any length, from no sample to hours. A window is delivered in the call that brings its last sample.
// - Memory. Nothing is allocated after NewStream.
// - Threads. One stream is for one thread at a time. Any number of streams share an engine. The engine must live as long
//   as its streams; it may be moved.
// - Errors. A sample that is NaN, infinite or beyond 2^40 throws Error (kData) before anything of its piece is taken. What the
//   callback throws leaves Push; its window counts as delivered, and what of the piece came after it is not taken. The same
//   holds of a window whose logits leave the range of floats: Error (kData).
//
// Read first: engine.h. Tested in: deploy/engine/stream_test.cc, deploy/engine/allocation_test.cc.
#ifndef BISPARSE_STREAM_H_
#define BISPARSE_STREAM_H_

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "bisparse/engine.h"

namespace bisparse {
inline namespace BISPARSE_VERSION_NAMESPACE {

struct StreamOptions {
  /// Frames of the front end from one window to the next, 1 … 2^20.
  int32_t hop_frames = 1;
};

/// One result.
struct StreamWindow {
  int64_t begin = 0, end = 0;     ///< samples of the stream, counted from 0
  std::span<const float> logits;  ///< until the callback returns
  /// Root mean square of those samples of this window that the window before lacked.
  double rms = 0;
};

struct StreamStats {
  int64_t samples = 0, windows = 0;
  int64_t front_end_ns = 0, network_ns = 0;  ///< spent on the windows so far
  int32_t sample_rate_hz = 0;
  /// Time spent for a second of sound; below 1 is faster than real time. 0 before the first sample.
  double real_time_factor() const {
    const double sound_ns = 1e9 * static_cast<double>(samples) / sample_rate_hz;
    return samples == 0 ? 0 : static_cast<double>(front_end_ns + network_ns) / sound_ns;
  }
};

class BISPARSE_API Stream {
 public:
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  /// Mono samples at the engine's sample rate, in [-1, 1]; `deliver` is called with each StreamWindow that they complete.
  template <class Deliver>
  void Push(std::span<const float> samples, Deliver&& deliver) {
    PushFloats(samples, CallbackOf<Deliver>(), &deliver);
  }
  /// The same as 16-bit numbers: sample / 32768.
  template <class Deliver>
  void Push(std::span<const int16_t> samples, Deliver&& deliver) {
    PushInts(samples, CallbackOf<Deliver>(), &deliver);
  }

  /// As it was made: the next sample is sample 0.
  void Reset();
  StreamStats stats() const;

 private:
  friend class Engine;
  using Callback = void (*)(void* deliver, const StreamWindow& window);
  template <class Deliver>
  static Callback CallbackOf() {
    return [](void* deliver, const StreamWindow& window) {
      (*static_cast<std::remove_reference_t<Deliver>*>(deliver))(window);
    };
  }
  struct BISPARSE_HIDDEN Impl;
  BISPARSE_HIDDEN explicit Stream(std::unique_ptr<Impl> impl);
  BISPARSE_HIDDEN Impl& impl() const;  // throws Error where this was moved from
  void PushFloats(std::span<const float> samples, Callback callback, const void* deliver);
  void PushInts(std::span<const int16_t> samples, Callback callback, const void* deliver);
  std::unique_ptr<Impl> impl_;
};

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse

#endif  // BISPARSE_STREAM_H_
