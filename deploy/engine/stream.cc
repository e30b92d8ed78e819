// SPDX-License-Identifier: Apache-2.0
// Read first: deploy/include/bisparse/stream.h. Tested in: stream_test.cc.
#include "bisparse/stream.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/base/finite.h"
#include "deploy/base/float_mode.h"
#include "deploy/engine/engine_impl.h"
#include "deploy/frontend/log_mel.h"

namespace bisparse {

/// Samples [kept_begin, kept_end) of the stream lie in `kept`. The frames inside of windows lie in a ring, by their place in
/// the stream: frame a is centred at sample a · hop_samples.
struct Stream::Impl {
  Impl(Engine::Impl& the_engine, const StreamOptions& options)
      : engine(the_engine),
        front_end(the_engine.log_mel->front_end()),
        hop_frames(options.hop_frames),
        workspace(the_engine.log_mel->MakeWorkspace()),
        inner(the_engine.log_mel->InnerFrames()),
        kept(static_cast<size_t>(2 * int64_t{front_end.clip_samples})),
        ring_m(static_cast<size_t>(InnerCount() * front_end.mel_count)),
        frame_of_ring(static_cast<size_t>(InnerCount())),
        new_mn(static_cast<size_t>(the_engine.plan.input_elements)),
        features(static_cast<size_t>(the_engine.plan.input_elements)),
        logits(static_cast<size_t>(the_engine.plan.output_elements)) {
    new_t.reserve(static_cast<size_t>(front_end.frame_count));
    Reset();
  }

  void Reset() {
    next_window = samples = kept_begin = kept_end = power_samples = 0;
    power = 0;
    std::fill(frame_of_ring.begin(), frame_of_ring.end(), int64_t{-1});
    stats = {.sample_rate_hz = front_end.sample_rate_hz};
  }

  int64_t InnerCount() const { return int64_t{inner.end} - inner.begin; }
  bool IsInner(int32_t t) const { return inner.begin <= t && t < inner.end; }
  /// The place in the stream of frame t of the next window, and where the ring keeps that frame.
  int64_t FrameOf(int32_t t) const { return next_window * hop_frames + t; }
  size_t SlotOf(int32_t t) const { return static_cast<size_t>(FrameOf(t) % InnerCount()); }
  int64_t WindowBegin() const { return next_window * hop_frames * front_end.hop_samples; }

  /// `convert` makes a float of one sample of the piece.
  template <class T, class Convert>
  void Push(std::span<const T> piece, const Convert& convert, Callback callback, void* deliver) {
    while (!piece.empty()) {
      const int64_t end = WindowBegin() + front_end.clip_samples;
      const auto count = std::min(static_cast<int64_t>(piece.size()), end - samples);
      Keep(piece.first(static_cast<size_t>(count)), convert);
      piece = piece.subspan(static_cast<size_t>(count));
      if (samples < end) return;
      const StreamWindow window{
          .begin = end - front_end.clip_samples,
          .end = end,
          .logits = logits,
          .rms = std::sqrt(power / static_cast<double>(std::max<int64_t>(power_samples, 1)))};
      try {
        ComputeWindow();
      } catch (const Error&) {  // it would be thrown again and again
        GoToNextWindow();
        throw;
      }
      GoToNextWindow();
      callback(deliver, window);
    }
  }

  void GoToNextWindow() {
    ++next_window;
    power = 0;
    power_samples = 0;
  }

  /// Takes the next samples; what lies before the next window is not kept.
  template <class T, class Convert>
  void Keep(std::span<const T> piece, const Convert& convert) {
    const int64_t needed = WindowBegin(), end = samples + static_cast<int64_t>(piece.size());
    const int64_t begin = std::clamp(needed, samples, end);
    piece = piece.subspan(static_cast<size_t>(begin - samples));
    samples = stats.samples = end;
    if (needed >= kept_end) kept_begin = kept_end = begin;
    if (kept_begin < needed && kept_end + std::ssize(piece) - kept_begin > std::ssize(kept)) {
      const int64_t drop = needed - kept_begin;
      std::memmove(kept.data(), kept.data() + drop,
                   static_cast<size_t>(kept_end - kept_begin - drop) * sizeof(float));
      kept_begin += drop;
    }
    const auto to = kept.begin() + (kept_end - kept_begin);
    std::transform(piece.begin(), piece.end(), to, convert);
    for (auto sample = to; sample != to + std::ssize(piece); ++sample) {
      power += static_cast<double>(*sample) * static_cast<double>(*sample);
    }
    power_samples += std::ssize(piece);
    kept_end += std::ssize(piece);
  }

  void ComputeWindow() {
    using Clock = std::chrono::steady_clock;
    const auto ns = [](Clock::duration time) {
      return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    };
    const Clock::time_point begin = Clock::now();
    ComputeFeatures();
    const Clock::time_point middle = Clock::now();
    engine.Run("Stream::Push", features, logits);
    stats.front_end_ns += ns(middle - begin);
    stats.network_ns += ns(Clock::now() - middle);
    ++stats.windows;
  }

  void ComputeFeatures() {
    const StandardFloatMode standard;
    const LogMel& log_mel = *engine.log_mel;
    const std::span<const float> window =
        std::span(kept).subspan(static_cast<size_t>(WindowBegin() - kept_begin),
                                static_cast<size_t>(front_end.clip_samples));
    new_t.clear();
    for (int32_t t = 0; t < front_end.frame_count; ++t) {
      if (!IsInner(t) || frame_of_ring[SlotOf(t)] != FrameOf(t)) new_t.push_back(t);
    }
    log_mel.ComputeFrames(window, new_t, *workspace, new_mn);
    const auto mels = static_cast<size_t>(front_end.mel_count);
    const auto frames = static_cast<size_t>(front_end.frame_count);
    for (size_t n = 0; n < new_t.size(); ++n) {
      const int32_t t = new_t[n];
      const bool keep = IsInner(t);
      float* to = keep ? ring_m.data() + SlotOf(t) * mels : features.data() + t;
      for (size_t m = 0; m < mels; ++m) to[keep ? m : m * frames] = new_mn[m * new_t.size() + n];
      if (keep) frame_of_ring[SlotOf(t)] = FrameOf(t);
    }
    for (int32_t t = inner.begin; t < inner.end; ++t) {
      const float* frame_m = ring_m.data() + SlotOf(t) * mels;
      for (size_t m = 0; m < mels; ++m) features[m * frames + static_cast<size_t>(t)] = frame_m[m];
    }
    log_mel.Finish(features);
  }

  Engine::Impl& engine;
  const FrontEnd& front_end;
  const int64_t hop_frames;
  std::unique_ptr<LogMel::Workspace, LogMel::DeleteWorkspace> workspace;
  const LogMel::Frames inner;
  int64_t next_window = 0, samples = 0;
  std::vector<float> kept;
  int64_t kept_begin = 0, kept_end = 0;
  double power = 0;  ///< sum of squares of the power_samples that were kept since the window before
  int64_t power_samples = 0;
  std::vector<float> ring_m;  ///< [inner frames][mels]
  std::vector<int64_t> frame_of_ring;
  std::vector<int32_t> new_t;  ///< frames that the next window computes: all others are in the ring
  std::vector<float> new_mn;   ///< [mels][new_t.size()]
  std::vector<float> features, logits;
  StreamStats stats;
};

void CheckStreamOptions(const StreamOptions& options) {
  constexpr int32_t kMostHopFrames = 1 << 20;
  if (options.hop_frames >= 1 && options.hop_frames <= kMostHopFrames) return;
  Fail(ErrorKind::kConfiguration, "StreamOptions", "hop_frames = {}, allowed are 1 to {}",
       options.hop_frames, kMostHopFrames);
}

inline namespace BISPARSE_VERSION_NAMESPACE {

Stream Engine::NewStream(const StreamOptions& options) const {
  Impl& engine = impl();
  if (!engine.log_mel) {
    Fail(ErrorKind::kConfiguration, "Engine::NewStream",
         "the model has no front end (hint: give features to Run)");
  }
  CheckStreamOptions(options);
  engine.CheckProcess("Engine::NewStream");
  return Stream(std::make_unique<Stream::Impl>(engine, options));
}

Stream::Stream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;
Stream::~Stream() = default;

Stream::Impl& Stream::impl() const {
  if (!impl_) Fail(ErrorKind::kConfiguration, "Stream", "is none: it was moved from");
  return *impl_;
}

void Stream::PushFloats(std::span<const float> samples, Callback callback, const void* deliver) {
  Impl& impl = this->impl();
  if (const int64_t i = FirstBeyond(samples, kLargestSample); i >= 0) {
    Fail(ErrorKind::kData, "Stream::Push",
         "samples[{}] is {}, not in [-{}, {}]: nothing of the piece was taken", i, samples[i],
         kLargestSample, kLargestSample);
  }
  impl.Push(
      samples, [](float sample) { return sample; }, callback, const_cast<void*>(deliver));
}

void Stream::PushInts(std::span<const int16_t> samples, Callback callback, const void* deliver) {
  impl().Push(
      samples, [](int16_t sample) { return static_cast<float>(sample) / 32768.0f; }, callback,
      const_cast<void*>(deliver));
}

void Stream::Reset() { impl().Reset(); }
StreamStats Stream::stats() const { return impl().stats; }

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse
