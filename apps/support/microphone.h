// SPDX-License-Identifier: Apache-2.0
// Words from a microphone: which device, what to do when it is lost, what when this program is too slow.
// Read first: sound_system.h, hearing.h. Tested in: tests/programs/microphone_test.cc.
#ifndef BISPARSE_APPS_SUPPORT_MICROPHONE_H_
#define BISPARSE_APPS_SUPPORT_MICROPHONE_H_

#include <functional>
#include <span>
#include <string>

#include "apps/support/hearing.h"
#include "apps/support/sound_system.h"

namespace bisparse::apps {

/// A line for each device, the default one marked; or that there is none.
std::string DeviceTable(std::span<const InputDevice> devices);

/// The device that `wanted` names: its number, its name, the beginning of its name, or a part of it; upper and lower case
/// are alike. The first of these that fits any device must fit one alone. "default" is the system's choice. Throws Error:
/// kConfiguration where several fit, kData where none does.
InputDevice PickDevice(std::span<const InputDevice> devices, const std::string& wanted);

struct MicrophoneOptions {
  std::string device;      ///< for PickDevice
  bool reconnect = false;  ///< waits for a device that is not there, or no longer
};

/// Waits so long; false where the work is to end.
using Wait = std::function<bool(int timeout_ms)>;

/// Until `wait` says so. A device that gives nothing for three seconds is lost: silence is sound, too. Without `reconnect`
/// that is an Error (kData).
void HearMicrophone(Hearing& hearing, SoundSystem& system, const MicrophoneOptions& options,
                    const Wait& wait);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_MICROPHONE_H_
