// SPDX-License-Identifier: Apache-2.0
// The machine's microphones, as an interface: tests have one of their own.
// Implemented by: sound_system_portaudio.cc, or sound_system_none.cc where CMake found no PortAudio.
// Tested in: tests/programs/microphone_test.cc, by a system that is none.
#ifndef BISPARSE_APPS_SUPPORT_SOUND_SYSTEM_H_
#define BISPARSE_APPS_SUPPORT_SOUND_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/support/sample_ring.h"

namespace bisparse::apps {

/// A device that records.
struct InputDevice {
  int number = 0;
  std::string name, driver;  ///< "USB Microphone: Audio (hw:1,0)", "ALSA"
  int32_t default_rate_hz = 0;
  bool is_default = false;
};

/// A device that is open: another thread writes its sound to the ring that it was opened with, until this is destroyed.
class SoundInput {
 public:
  virtual ~SoundInput() = default;
  virtual int32_t sample_rate_hz() const = 0;
  /// False: no more sound will come. A device that is pulled out may also stay active and give nothing.
  virtual bool Active() = 0;
};

class SoundSystem {
 public:
  virtual ~SoundSystem() = default;
  /// Those that are there now. No input may be open.
  virtual std::vector<InputDevice> Devices() = 0;
  /// A device of the last answer: one channel, at `wanted_rate_hz` where the device can, else at its own rate. Throws Error
  /// (kData) where it cannot be opened.
  virtual std::unique_ptr<SoundInput> Open(const InputDevice& device, int32_t wanted_rate_hz,
                                           SampleRing& ring) = 0;
};

/// Throws Error (kConfiguration) where this build or this machine has no PortAudio.
std::unique_ptr<SoundSystem> MakeSoundSystem();

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_SOUND_SYSTEM_H_
