// SPDX-License-Identifier: Apache-2.0
// The log-mel front end on KissFFT (spectra) and Eigen (filter bank and statistics).
// Read first: log_mel.h. Tested in: log_mel_test.cc.
#include "deploy/frontend/log_mel.h"

#include <kissfft/kiss_fftr.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>
#include <numbers>

#include "deploy/base/check.h"
#include "deploy/base/cores.h"
#include "deploy/base/finite.h"
#include "deploy/base/loan_pool.h"

namespace bisparse {
namespace {

double MelOfHz(double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); }
double HzOfMel(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

/// One row of the filter bank: weights of the bins [begin, begin + weights.size()).
struct MelBand {
  int64_t begin = 0;
  Eigen::VectorXf weights;
};

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
    std::vector<float> weights;
    for (int64_t f = 0; f < bin_count; ++f) {
      const double hz = f * bin_hz;
      const double weight = std::min((hz - left) / (peak - left), (right - hz) / (right - peak));
      if (weight <= 0.0) continue;
      if (weights.empty()) bands[m].begin = f;
      weights.push_back(static_cast<float>(weight));
    }
    bands[m].weights = Eigen::Map<Eigen::VectorXf>(weights.data(), weights.size());
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

}  // namespace

/// What one caller needs to compute frames. A kiss_fftr plan holds a work buffer, so two callers can't share it.
class LogMel::Workspace {
 public:
  explicit Workspace(int32_t fft_samples)
      : plan(kiss_fftr_alloc(fft_samples, /*inverse_fft=*/0, nullptr, nullptr), std::free),
        frame(fft_samples),
        spectrum(fft_samples / 2 + 1),
        power(fft_samples / 2 + 1) {
    if (plan == nullptr) throw std::bad_alloc();
  }
  std::unique_ptr<std::remove_pointer_t<kiss_fftr_cfg>, void (*)(void*)> plan;
  std::vector<float> frame;            // [fft_samples]
  std::vector<kiss_fft_cpx> spectrum;  // [fft_samples/2 + 1]
  Eigen::VectorXf power;               // [fft_samples/2 + 1]
};

namespace {

using MapRows = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

/// In double: of a clip of silence the f32 mean would differ from every feature by a rounding
/// error, which kClipMeanStd would then blow up.
template <typename Features>
float MeanOf(const Features& features) {
  return static_cast<float>(features.template cast<double>().mean());
}

void Normalise(FeatureNorm norm, MapRows& features_mt) {
  switch (norm) {
    case FeatureNorm::kNone:
      break;
    case FeatureNorm::kBandMean:
      for (Eigen::Index m = 0; m < features_mt.rows(); ++m) {
        features_mt.row(m).array() -= MeanOf(features_mt.row(m));
      }
      break;
    case FeatureNorm::kClipMean:
      features_mt.array() -= MeanOf(features_mt);
      break;
    case FeatureNorm::kClipMeanStd: {
      features_mt.array() -= MeanOf(features_mt);
      const float variance = MeanOf(features_mt.array().square());
      // The floor keeps digital silence at zero instead of dividing by zero.
      features_mt /= std::sqrt(std::max(variance, 1e-6f));
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
    if (bands[m].weights.size() > 0) continue;
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
  explicit Impl(int callers) : workspaces(static_cast<size_t>(std::max(callers, UsableCores()))) {}

  /// Frame t of a clip whose sample 0 is samples[start]: give(m, log(power + log_floor)) for each band.
  template <class Give>
  void ComputeFrame(std::span<const float> samples, int64_t start, int64_t t, Workspace& workspace,
                    const Give& give) const {
    const FrontEnd& f = front_end;
    const int64_t left = (f.fft_samples - f.window_samples) / 2;
    // Window sample j is clip sample `first + j`; only those inside both the clip and the recording
    // are not zero.
    const int64_t first = t * f.hop_samples - f.window_samples / 2;
    const int64_t begin = std::max({int64_t{0}, -first, -first - start});
    const int64_t end = std::min({int64_t{f.window_samples}, f.clip_samples - first,
                                  static_cast<int64_t>(samples.size()) - start - first});
    std::fill(workspace.frame.begin(), workspace.frame.end(), 0.0f);
    for (int64_t j = begin; j < end; ++j) {
      workspace.frame[left + j] = window[j] * samples[start + first + j];
    }
    kiss_fftr(workspace.plan.get(), workspace.frame.data(), workspace.spectrum.data());
    for (Eigen::Index bin = 0; bin < workspace.power.size(); ++bin) {
      const kiss_fft_cpx z = workspace.spectrum[bin];
      workspace.power[bin] = z.r * z.r + z.i * z.i;
    }
    for (int m = 0; m < f.mel_count; ++m) {
      const MelBand& band = bands[m];
      const float power =
          band.weights.dot(workspace.power.segment(band.begin, band.weights.size()));
      give(m, std::log(power + f.log_floor));
    }
  }

  FrontEnd front_end;
  std::vector<float> window;  // [window_samples]
  std::vector<MelBand> bands;
  LoanPool<Workspace> workspaces;
};

LogMel::LogMel(const FrontEnd& front_end, int callers) {
  const std::vector<std::string> faults = FrontEndFaults(front_end);
  if (!faults.empty()) {
    std::string all = faults[0];
    for (size_t i = 1; i < faults.size(); ++i) all.append("; ").append(faults[i]);
    Fail(ErrorKind::kConfiguration, "front_end", "{}", all);
  }
  auto impl = std::make_unique<Impl>(callers);
  impl->front_end = front_end;
  impl->window.resize(front_end.window_samples);
  for (int j = 0; j < front_end.window_samples; ++j) {
    const double phase = 2.0 * std::numbers::pi * j / front_end.window_samples;
    impl->window[j] = static_cast<float>(0.5 - 0.5 * std::cos(phase));
  }
  impl->bands = MelBands(front_end);
  for (int caller = 0; caller < callers; ++caller) {
    impl->workspaces.Keep(std::make_unique<Workspace>(front_end.fft_samples));
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
  LoanPool<Workspace>::Loan workspace(impl_->workspaces,
                                      [&f] { return std::make_unique<Workspace>(f.fft_samples); });
  const int64_t start = ClipStart(f.align, static_cast<int64_t>(samples.size()), f.clip_samples);
  MapRows features(features_mt.data(), f.mel_count, f.frame_count);
  for (int32_t t = 0; t < f.frame_count; ++t) {
    impl_->ComputeFrame(samples, start, t, *workspace,
                        [&](int m, float value) { features(m, t) = value; });
  }
  Finish(features_mt);
}

std::unique_ptr<LogMel::Workspace, LogMel::DeleteWorkspace> LogMel::MakeWorkspace() const {
  return std::unique_ptr<Workspace, DeleteWorkspace>(new Workspace(impl_->front_end.fft_samples));
}

void LogMel::DeleteWorkspace::operator()(Workspace* workspace) const noexcept { delete workspace; }

void LogMel::ComputeFrame(std::span<const float> samples, int32_t t, Workspace& workspace,
                          std::span<float> frame_m) const noexcept {
  impl_->ComputeFrame(samples, 0, t, workspace,
                      [&](int m, float value) { frame_m[static_cast<size_t>(m)] = value; });
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
  MapRows features(features_mt.data(), f.mel_count, f.frame_count);
  Normalise(f.norm, features);
  features.array() = (features.array() - f.offset) * f.scale;
}

}  // namespace bisparse
