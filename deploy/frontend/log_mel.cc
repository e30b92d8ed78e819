// SPDX-License-Identifier: Apache-2.0
// The log-mel front end: which samples a frame sees, tables, statistics. Frames are computed in log_mel_frames.cc.
// Compiled with -ffp-contract=off, so that statistics have the same bits on every machine.
// Read first: log_mel.h. Tested in: log_mel_test.cc.
#include "deploy/frontend/log_mel.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/check.h"
#include "deploy/base/cores.h"
#include "deploy/base/finite.h"
#include "deploy/base/loan_pool.h"
#include "deploy/frontend/log_mel_frames.h"

namespace bisparse {
namespace {

double MelOfHz(double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); }
double HzOfMel(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

/// Triangle m rises from corner m to m+1 and falls to m+2; corners are equally spaced in mel.
std::vector<MelBand> MelBands(const FrontEnd& front_end) {
  const double low_mel = MelOfHz(front_end.low_hz), high_mel = MelOfHz(front_end.high_hz);
  const double bin_hz = double(front_end.sample_rate_hz) / front_end.fft_samples;
  const int64_t bin_count = front_end.fft_samples / 2 + 1;
  auto corner_hz = [&](int m) {
    return HzOfMel(low_mel + (high_mel - low_mel) * m / (front_end.mel_count + 1));
  };
  std::vector<MelBand> bands(front_end.mel_count);
  for (int m = 0; m < front_end.mel_count; ++m) {
    const double left = corner_hz(m), peak = corner_hz(m + 1), right = corner_hz(m + 2);
    std::vector<float>& weights = bands[m].weights;
    for (int64_t f = 0; f < bin_count; ++f) {
      const double hz = f * bin_hz;
      const double weight = std::min((hz - left) / (peak - left), (right - hz) / (right - peak));
      if (weight <= 0.0) continue;
      if (weights.empty()) bands[m].begin = f;
      weights.push_back(static_cast<float>(weight));
    }
  }
  return bands;
}

/// Multiplications of a spectrum: of half the samples a butterfly for each prime factor.
int64_t FftWork(int32_t fft_samples) {
  const int32_t half = fft_samples / 2;
  int64_t factors = 0;
  int32_t left = half;
  for (int32_t factor = 2; left > 1; ++factor) {
    for (; left % factor == 0; left /= factor) factors += factor;
  }
  return half * std::max<int64_t>(factors, 1);
}

// A few seconds on one core. The most frames, 2^16, of 1024 samples take 0.3 of it.
constexpr int64_t kMaxFftWork = int64_t{1} << 31;

/// Frames that are prepared at once: as many as the widest vector has lanes.
constexpr int32_t kFramesAtOnce = 16;

}  // namespace

/// What one caller works in.
class LogMel::Workspace {
 public:
  explicit Workspace(const LogMelTables& tables)
      : kernel(static_cast<size_t>(LogMelFramesWork(tables))),
        edge_nw(static_cast<size_t>(kFramesAtOnce * tables.window_samples)) {}
  AlignedBuffer<float> kernel;
  AlignedBuffer<float>
      edge_nw;  ///< [kFramesAtOnce][window_samples]: frames that see zeros outside the clip
};

namespace {

/// Element i goes to sum i % 8, so that the order does not depend on the machine. In double: of a clip of silence the f32
/// mean would differ from every feature by a rounding error, which kClipMeanStd would then blow up.
template <class Term>
float MeanOf(std::span<const float> values, const Term& term) {
  std::array<double, 8> sum{};
  size_t i = 0;
  for (; i + 8 <= values.size(); i += 8) {
    for (size_t part = 0; part < 8; ++part) sum[part] += term(values[i + part]);
  }
  for (size_t part = 0; i < values.size(); ++i, ++part) sum[part] += term(values[i]);
  const double total =
      ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
  return static_cast<float>(total / static_cast<double>(values.size()));
}

void SubtractMean(std::span<float> values) {
  const float mean = MeanOf(values, [](float x) { return static_cast<double>(x); });
  for (float& value : values) value -= mean;
}

void Normalise(FeatureNorm norm, size_t frame_count, std::span<float> features_mt) {
  switch (norm) {
    case FeatureNorm::kNone:
      break;
    case FeatureNorm::kBandMean:
      for (size_t i = 0; i < features_mt.size(); i += frame_count) {
        SubtractMean(features_mt.subspan(i, frame_count));
      }
      break;
    case FeatureNorm::kClipMean:
      SubtractMean(features_mt);
      break;
    case FeatureNorm::kClipMeanStd: {
      SubtractMean(features_mt);
      const float variance =
          MeanOf(features_mt, [](float x) { return static_cast<double>(x * x); });
      // The floor keeps digital silence at zero instead of dividing by zero.
      const float deviation = std::sqrt(std::max(variance, 1e-6f));
      for (float& value : features_mt) value /= deviation;
      break;
    }
  }
}

}  // namespace

std::vector<std::string> FrontEndFaults(const FrontEnd& f) {
  std::vector<std::string> faults;
  auto fault = [&](std::string sentence) { faults.push_back(std::move(sentence)); };
  // Upper limits keep every product of two sizes far from overflow and a wrong file from asking for
  // gigabytes.
  auto in_range = [&](const char* name, int32_t value, int32_t low, int32_t high) {
    if (value < low || value > high)
      fault(fmt::format("{} = {} is not in [{}, {}]", name, value, low, high));
  };
  in_range("sample_rate_hz", f.sample_rate_hz, 1000, 384000);
  in_range("clip_samples", f.clip_samples, 1, 1 << 24);
  in_range("window_samples", f.window_samples, 2, 1 << 16);
  in_range("hop_samples", f.hop_samples, 1, 1 << 20);
  in_range("fft_samples", f.fft_samples, 2, 1 << 16);
  in_range("mel_count", f.mel_count, 1, 1024);
  in_range("frame_count", f.frame_count, 1, 1 << 16);
  if (static_cast<uint8_t>(f.align) > static_cast<uint8_t>(ClipAlign::kEnd)) {
    fault(fmt::format("align = {} is not one of 0 to 2", int{static_cast<uint8_t>(f.align)}));
  }
  if (static_cast<uint8_t>(f.norm) > static_cast<uint8_t>(FeatureNorm::kClipMeanStd)) {
    fault(fmt::format("norm = {} is not one of 0 to 3", int{static_cast<uint8_t>(f.norm)}));
  }
  if (f.fft_samples % 2 != 0) fault(fmt::format("fft_samples = {} is odd", f.fft_samples));
  if (f.window_samples > f.fft_samples) {
    fault(fmt::format("window_samples = {} exceeds fft_samples = {}", f.window_samples,
                      f.fft_samples));
  }
  if (!(f.low_hz >= 0.0f && f.low_hz < f.high_hz)) {
    fault(fmt::format("low_hz = {} is not in [0, high_hz = {})", f.low_hz, f.high_hz));
  }
  if (!(f.high_hz <= f.sample_rate_hz / 2.0f)) {
    fault(fmt::format("high_hz = {} exceeds half of sample_rate_hz = {}", f.high_hz,
                      f.sample_rate_hz));
  }
  if (!(f.log_floor > 0.0f && std::isfinite(f.log_floor))) {
    fault(fmt::format("log_floor = {} is not a positive number", f.log_floor));
  }
  if (!std::isfinite(f.offset)) fault(fmt::format("offset = {} is not finite", f.offset));
  if (!std::isfinite(f.scale) || f.scale == 0.0f)
    fault(fmt::format("scale = {} is not usable", f.scale));
  if (!faults.empty()) return faults;
  const int64_t fft_work = f.frame_count * FftWork(f.fft_samples);
  if (fft_work > kMaxFftWork) {
    fault(fmt::format(
        "frame_count = {} spectra of fft_samples = {} take {} multiplications, at most {} are "
        "allowed (hint: fft_samples of small factors, best a power of two)",
        f.frame_count, f.fft_samples, fft_work, kMaxFftWork));
  }
  if (int64_t{f.frame_count - 1} * f.hop_samples - f.window_samples / 2 >= f.clip_samples) {
    fault(fmt::format(
        "frame {} lies past the clip's {} samples (hint: a smaller hop_samples or frame_count)",
        f.frame_count - 1, f.clip_samples));
  }
  const std::vector<MelBand> bands = MelBands(f);
  for (int m = 0; m < f.mel_count; ++m) {
    if (!bands[m].weights.empty()) continue;
    fault(fmt::format(
        "mel band {} of {} holds no FFT bin (hint: a larger fft_samples or fewer bands)", m,
        f.mel_count));
    break;
  }
  return faults;
}

int64_t ClipStart(ClipAlign align, int64_t sample_count, int64_t clip_samples) {
  const int64_t excess = sample_count - clip_samples;
  switch (align) {
    case ClipAlign::kStart:
      return 0;
    case ClipAlign::kCenter:
      return excess >= 0 ? excess / 2 : -(-excess / 2);
    case ClipAlign::kEnd:
      return excess;
  }
  return 0;
}

struct LogMel::Impl {
  Impl(const FrontEnd& the_front_end, std::span<const float> window, int callers)
      : front_end(the_front_end),
        tables(front_end.fft_samples, window, MelBands(front_end), front_end.log_floor),
        workspaces(static_cast<size_t>(std::max(callers, UsableCores()))) {}

  /// Frames t_of(0), t_of(1) … of a clip whose sample 0 is samples[start]: out[m · count + n] of each band.
  template <class FrameOf>
  void ComputeFrames(std::span<const float> samples, int64_t start, int64_t count,
                     const FrameOf& t_of, Workspace& workspace, float* out) const {
    std::array<const float*, kFramesAtOnce> frame_n;
    for (int64_t n = 0; n < count; n += kFramesAtOnce) {
      const int64_t now = std::min<int64_t>(count - n, kFramesAtOnce);
      for (int64_t i = 0; i < now; ++i) {
        float* edge_w = workspace.edge_nw.data() + i * front_end.window_samples;
        frame_n[static_cast<size_t>(i)] = Frame(samples, start, t_of(n + i), edge_w);
      }
      LogMelFramesF32(tables, frame_n.data(), now, workspace.kernel.data(), out + n, count);
    }
  }

  /// The samples of frame t: where they lie, or in edge_w where some of them are zeros outside the clip.
  const float* Frame(std::span<const float> samples, int64_t start, int64_t t,
                     float* edge_w) const {
    // Window sample j is clip sample `first + j`; only those inside both the clip and the recording
    // are not zero.
    const int64_t window = front_end.window_samples;
    const int64_t first = t * front_end.hop_samples - window / 2;
    const int64_t begin = std::max({int64_t{0}, -first, -first - start});
    const int64_t end = std::min({window, front_end.clip_samples - first,
                                  static_cast<int64_t>(samples.size()) - start - first});
    if (begin == 0 && end == window) return samples.data() + (start + first);
    std::fill_n(edge_w, window, 0.0f);
    if (begin < end) {
      std::copy_n(samples.data() + (start + first + begin), end - begin, edge_w + begin);
    }
    return edge_w;
  }

  FrontEnd front_end;
  LogMelTables tables;
  LoanPool<Workspace> workspaces;
};

LogMel::LogMel(const FrontEnd& front_end, int callers) {
  const std::vector<std::string> faults = FrontEndFaults(front_end);
  if (!faults.empty()) {
    std::string all = faults[0];
    for (size_t i = 1; i < faults.size(); ++i) all.append("; ").append(faults[i]);
    Fail(ErrorKind::kConfiguration, "front_end", "{}", all);
  }
  std::vector<float> window(static_cast<size_t>(front_end.window_samples));
  for (int j = 0; j < front_end.window_samples; ++j) {
    const double phase = 2.0 * std::numbers::pi * j / front_end.window_samples;
    window[static_cast<size_t>(j)] = static_cast<float>(0.5 - 0.5 * std::cos(phase));
  }
  auto impl = std::make_unique<Impl>(front_end, window, callers);
  for (int caller = 0; caller < callers; ++caller) {
    impl->workspaces.Keep(std::make_unique<Workspace>(impl->tables));
  }
  impl_ = std::move(impl);
}

LogMel::LogMel(LogMel&&) noexcept = default;
LogMel& LogMel::operator=(LogMel&&) noexcept = default;
LogMel::~LogMel() = default;

const FrontEnd& LogMel::front_end() const { return impl_->front_end; }
Shape LogMel::shape() const {
  return {impl_->front_end.mel_count, impl_->front_end.frame_count, 1};
}

void LogMel::Compute(std::span<const float> samples, std::span<float> features_mt) const {
  const FrontEnd& f = impl_->front_end;
  BISPARSE_CHECK(static_cast<int64_t>(features_mt.size()) == shape().elements());
  if (const int64_t i = FirstBeyond(samples, kLargestSample); i >= 0) {
    Fail(ErrorKind::kData, "LogMel", "samples[{}] is {}, not in [-{}, {}]", i, samples[i],
         kLargestSample, kLargestSample);
  }
  LoanPool<Workspace>::Loan workspace(
      impl_->workspaces, [this] { return std::make_unique<Workspace>(impl_->tables); });
  const int64_t start = ClipStart(f.align, static_cast<int64_t>(samples.size()), f.clip_samples);
  impl_->ComputeFrames(
      samples, start, f.frame_count, [](int64_t n) { return n; }, *workspace, features_mt.data());
  Finish(features_mt);
}

std::unique_ptr<LogMel::Workspace, LogMel::DeleteWorkspace> LogMel::MakeWorkspace() const {
  return std::unique_ptr<Workspace, DeleteWorkspace>(new Workspace(impl_->tables));
}

void LogMel::DeleteWorkspace::operator()(Workspace* workspace) const noexcept { delete workspace; }

void LogMel::ComputeFrames(std::span<const float> samples, std::span<const int32_t> t_n,
                           Workspace& workspace, std::span<float> features_mn) const noexcept {
  impl_->ComputeFrames(
      samples, 0, std::ssize(t_n), [t_n](int64_t n) { return t_n[static_cast<size_t>(n)]; },
      workspace, features_mn.data());
}

LogMel::Frames LogMel::InnerFrames() const {
  const FrontEnd& f = impl_->front_end;
  const auto is_inner = [&f](int64_t t) {
    const int64_t first = t * f.hop_samples - f.window_samples / 2;
    return first >= 0 && first + f.window_samples <= f.clip_samples;
  };
  Frames inner;
  while (inner.begin < f.frame_count && !is_inner(inner.begin)) ++inner.begin;
  inner.end = inner.begin;
  while (inner.end < f.frame_count && is_inner(inner.end)) ++inner.end;
  return inner;
}

void LogMel::Finish(std::span<float> features_mt) const noexcept {
  const FrontEnd& f = impl_->front_end;
  Normalise(f.norm, static_cast<size_t>(f.frame_count), features_mt);
  for (float& feature : features_mt) feature = (feature - f.offset) * f.scale;
}

}  // namespace bisparse
