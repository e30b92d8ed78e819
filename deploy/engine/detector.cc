// SPDX-License-Identifier: Apache-2.0
// Read first: deploy/include/bisparse/detector.h. Tested in: detector_test.cc.
#include "bisparse/detector.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/engine/engine_impl.h"
#include "deploy/packed/detection.h"

namespace bisparse {
namespace {

/// Kept and summed for each window: 32 MiB.
constexpr int64_t kMostProbabilities = 1 << 22;

/// Of full scale; digital silence is as quiet as no gate asks for.
double Db(double rms) { return std::max(-200.0, rms > 0 ? 20 * std::log10(rms) : -200.0); }

}  // namespace

struct Detector::Impl {
  Impl(const Engine::Impl& engine, const StreamOptions& stream, const DetectionOptions& options)
      : gate_db(options.gate_db),
        threshold_c(engine.model.class_names.size()),
        probability_c(threshold_c.size()),
        average_c(threshold_c.size()),
        run_c(threshold_c.size()) {
    const FrontEnd& f = *engine.model.front_end;
    hop = int64_t{stream.hop_frames} * f.hop_samples;
    const auto windows_of = [&](double ms) { return ms * 1e-3 * f.sample_rate_hz / double(hop); };
    const double averaged = std::max(1.0, std::round(windows_of(options.average_ms)));
    if (averaged * static_cast<double>(threshold_c.size()) > kMostProbabilities) {
      Fail(
          ErrorKind::kConfiguration, "DetectionOptions",
          "average_ms = {} are {:.0f} windows of {} classes, at most {} probabilities are averaged "
          "(hint: more frames in a hop)",
          options.average_ms, averaged, threshold_c.size(), kMostProbabilities);
    }
    ring_wc.resize(static_cast<size_t>(averaged) * threshold_c.size());
    // Hops of a window: the first ones of a stream are the window's whole sound.
    rms_h.resize(static_cast<size_t>((f.clip_samples + hop - 1) / hop));
    least_windows = static_cast<int64_t>(std::ceil(windows_of(options.least_ms)));
    refractory = std::llround(options.refractory_ms * 1e-3 * f.sample_rate_hz);
  }

  void Reset() {
    for (std::vector<double>* each : {&ring_wc, &average_c, &rms_h}) {
      std::fill(each->begin(), each->end(), 0.0);
    }
    std::fill(run_c.begin(), run_c.end(), int64_t{0});
    windows = refractory_end = 0;
  }

  void Softmax(std::span<const float> logits) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (size_t c = 0; c < probability_c.size(); ++c) {
      sum += probability_c[c] = std::exp(static_cast<double>(logits[c]) - largest);
    }
    for (double& probability : probability_c) probability /= sum;
  }

  /// Summed anew for each window: no error grows.
  void Average() {
    const size_t classes = average_c.size(), averaged = ring_wc.size() / classes;
    const size_t slot = static_cast<size_t>(windows) % averaged;
    std::copy(probability_c.begin(), probability_c.end(),
              ring_wc.begin() + static_cast<std::ptrdiff_t>(slot * classes));
    std::fill(average_c.begin(), average_c.end(), 0.0);
    for (size_t i = 0; i < ring_wc.size(); ++i) average_c[i % classes] += ring_wc[i];
    for (double& average : average_c) average /= static_cast<double>(averaged);
  }

  std::optional<Event> Push(const StreamWindow& window) {
    Softmax(window.logits);
    Average();
    rms_h[static_cast<size_t>(windows) % rms_h.size()] = window.rms;
    ++windows;
    const bool loud = Db(*std::max_element(rms_h.begin(), rms_h.end())) >= gate_db;
    std::optional<Event> event;
    for (size_t c = 0; c < average_c.size(); ++c) {
      run_c[c] = loud && average_c[c] >= threshold_c[c] ? run_c[c] + 1 : 0;
      if (run_c[c] == 0 || run_c[c] <= least_windows || window.end < refractory_end) continue;
      if (event && event->score >= average_c[c]) continue;
      event = Event{.word = c,
                    .begin = window.begin - (run_c[c] - 1) * hop,
                    .end = window.end,
                    .score = average_c[c]};
    }
    if (event) refractory_end = window.end + refractory;
    return event;
  }

  const double gate_db;
  int64_t hop = 0, least_windows = 0, refractory = 0;  ///< samples, windows, samples
  std::vector<double> threshold_c;                     ///< above 1: no word
  std::vector<double> probability_c, average_c;
  std::vector<double> ring_wc, rms_h;  ///< of the last windows
  std::vector<int64_t> run_c;          ///< windows in a row with the average at the threshold
  int64_t windows = 0, refractory_end = 0;
};

inline namespace BISPARSE_VERSION_NAMESPACE {

Detector::Detector(const Engine& engine, const StreamOptions& stream,
                   const DetectionOptions& options) {
  const std::vector<std::string>& names = engine.class_names();
  if (engine.sample_rate_hz() == 0 || std::all_of(names.begin(), names.end(), packed::IsNoWord)) {
    Fail(ErrorKind::kConfiguration, "Detector",
         "the model has {} (hint: it takes a network that was trained on words)",
         engine.sample_rate_hz() == 0 ? "no front end" : "no class that is a word");
  }
  CheckStreamOptions(stream);
  const std::string fault = packed::DetectionFault(options, names);
  if (!fault.empty()) Fail(ErrorKind::kConfiguration, "DetectionOptions", "{}", fault);
  auto impl = std::make_unique<Impl>(engine.impl(), stream, options);
  for (size_t c = 0; c < names.size(); ++c) {
    impl->threshold_c[c] = packed::IsNoWord(names[c]) ? 2 : options.threshold;
    for (const WordThreshold& word : options.words) {
      if (word.word == names[c]) impl->threshold_c[c] = word.threshold;
    }
  }
  impl->Reset();
  impl_ = std::move(impl);
}

Detector::Detector(Detector&&) noexcept = default;
Detector& Detector::operator=(Detector&&) noexcept = default;
Detector::~Detector() = default;

Detector::Impl& Detector::impl() const {
  if (!impl_) Fail(ErrorKind::kConfiguration, "Detector", "is none: it was moved from");
  return *impl_;
}

std::optional<Event> Detector::Push(const StreamWindow& window) {
  Impl& impl = this->impl();
  if (window.logits.size() != impl.average_c.size()) {
    Fail(ErrorKind::kConfiguration, "Detector::Push",
         "window has {} logits, the detector's model {} (hint: a stream of another engine)",
         window.logits.size(), impl.average_c.size());
  }
  return impl.Push(window);
}

void Detector::Reset() { impl().Reset(); }
std::span<const double> Detector::averages() const { return impl().average_c; }

}  // namespace BISPARSE_VERSION_NAMESPACE
}  // namespace bisparse
