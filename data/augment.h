// SPDX-License-Identifier: Apache-2.0
// Augmentation of training samples: of the waveform (speed, shift, echo, gain, background and white
// noise, band limits), then of the features (masks over frames and mel bands). All draws come from the generator
// that the caller seeded with (seed, epoch, clip). Read first: config.h (AugmentConfig). Tested in:
// augment_test.cc.
#ifndef BISPARSE_DATA_AUGMENT_H_
#define BISPARSE_DATA_AUGMENT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "bisparse/shape.h"
#include "data/config.h"
#include "deploy/base/random.h"

namespace bisparse::data {

/// Uniform in [low, high].
double UniformIn(CounterRandom& random, double low, double high);

/// Uniform in [0, count), count > 0.
int64_t IndexBelow(CounterRandom& random, int64_t count);

double RootMeanSquare(std::span<const float> samples);

/// Background recordings to cut from; a cut is of `length` samples and starts anywhere, running on
/// at the recording's beginning where it is too short.
class NoiseBank {
 public:
  void Add(std::vector<float> samples);
  bool empty() const { return recordings_.empty(); }
  /// A cut from one recording: samples[i] = gain · noise[start + i], added to what is there.
  struct Cut {
    std::span<const float> recording;
    int64_t start = 0;
    double RootMeanSquare(int64_t length) const;
    void AddTo(std::span<float> samples, float gain) const;

   private:
    /// use(samples done before, piece) for pieces without a wrap inside, so that loops over them
    /// are plain vector operations.
    template <typename Use>
    void ForEachPiece(int64_t length, const Use& use) const;
  };
  /// Requires !empty().
  Cut Draw(CounterRandom& random, int64_t length) const;

 private:
  std::vector<std::vector<float>> recordings_;
};

/// out[i] = source((i − centre)·speed + centre + first − shift), silence outside; `first` is the
/// source's index of out[0] at speed 1 without shift. Between samples by a cubic (Catmull–Rom): a
/// windowed sinc would cost ten times as much, for differences above 6 kHz that a mel band
/// averages.
void Warp(std::span<const float> source, int64_t first, double speed, double shift,
          std::span<float> out);

/// Speed, shift, echo, gain, noise and band limits as `config` says. `first` as in Warp.
void AugmentWaveform(const AugmentConfig& config, int32_t sample_rate_hz, const NoiseBank& noise,
                     std::span<const float> source, int64_t first, CounterRandom& random,
                     std::span<float> out);

/// Sets masked frames (columns) and mel bands (rows) to the map's mean.
void MaskFeatures(const AugmentConfig& config, Shape shape, CounterRandom& random,
                  std::span<float> features_hwc);

/// Kinds of perturbed validation clips. Training's own augmentation knows those of the first two;
/// no setting gives it the other three, so a network can't be trained for them.
enum class Perturbation : uint8_t {
  kBackground,   ///< background at 5 dB
  kRoom,         ///< background at 10 dB, an echo and band limits
  kTelephone,    ///< Telephone (effects.h)
  kOverdriven,   ///< cut off at a quarter of the peak, and mains hum (50 or 60 Hz) at 10 dB
  kPacketsLost,  ///< one packet of 20 ms in ten, losses in bursts
};
inline constexpr int64_t kPerturbations = 5;

/// The kinds take turns.
Perturbation PerturbationOf(int64_t index);

/// A perturbed clip: shift, gain and speed within ± 100 ms, ± 10 dB and ± 10 %, and its kind. The
/// rest as for AugmentWaveform.
void PerturbWaveform(Perturbation kind, int32_t sample_rate_hz, const NoiseBank& noise,
                     std::span<const float> source, int64_t first, CounterRandom& random,
                     std::span<float> out);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_AUGMENT_H_
