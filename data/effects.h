// SPDX-License-Identifier: Apache-2.0
// What rooms and devices do to a recording, cheaply. In place; pure in the generator.
// Used by: augment.h. Tested in: effects_test.cc.
#ifndef BISPARSE_DATA_EFFECTS_H_
#define BISPARSE_DATA_EFFECTS_H_

#include <cstdint>
#include <span>

#include "deploy/base/random.h"

namespace bisparse::data {

/// Keeps what lies between the two edges: a Butterworth high-pass at low_hz and low-pass at high_hz,
/// each of second order (12 dB an octave; R. Bristow-Johnson, "Cookbook formulae for audio EQ
/// biquad filter coefficients"). An edge outside of (0, half the rate) does nothing.
void BandLimit(int32_t sample_rate_hz, double low_hz, double high_hz, std::span<float> samples);

/// Adds a room's echo: velvet noise (Karjalainen, Järveläinen 2007: in each 2 ms one pulse of random
/// place and sign) that falls by 60 dB in decay_ms. `direct_db`: energy of the direct sound over
/// that of the echo.
void Reverberate(CounterRandom& random, int32_t sample_rate_hz, double decay_ms, double direct_db,
                 std::span<float> samples);

/// What an 8 kHz telephone line leaves: the band from 300 to 3400 Hz, and at 16 kHz every second sample, held until the
/// next. Samples have 8 bits by the µ-law of ITU-T G.711 (its continuous form, µ = 255).
void Telephone(int32_t sample_rate_hz, std::span<float> samples);

/// An overdriven input: what exceeds `fraction` of the loudest sample is cut off there.
void Clip(double fraction, std::span<float> samples);

/// Adds the mains: its frequency and nine harmonics, the n-th with 1/n of the amplitude and at any
/// phase. `snr_db`: of the samples' root mean square, at least `quietest`, over that of the hum.
void Hum(CounterRandom& random, int32_t sample_rate_hz, double mains_hz, double snr_db,
         double quietest, std::span<float> samples);

/// Silences packets of 20 ms. One is lost with probability `loss` after one that arrived, and with probability 1/2 after
/// one that was lost (Gilbert 1960). So losses last two packets on average.
void LosePackets(CounterRandom& random, int32_t sample_rate_hz, double loss,
                 std::span<float> samples);

}  // namespace bisparse::data

#endif  // BISPARSE_DATA_EFFECTS_H_
