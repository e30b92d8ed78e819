// SPDX-License-Identifier: Apache-2.0
// Read first: microphone.h.
#include "apps/support/microphone.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

#include "deploy/base/check.h"
#include "deploy/base/show.h"

namespace bisparse::apps {
namespace {

/// A second and more of every usual rate: so long this program may be held up.
constexpr size_t kRingSamples = 1 << 16;
constexpr int kPollMs = 20, kLostMs = 3000, kRetryMs = 1000;

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string Label(const InputDevice& device) {
  return fmt::format("{} '{}' ({})", device.number, Shown(device.name), Shown(device.driver));
}

/// Ring and device go together: a device writes until it is closed.
struct OpenDevice {
  InputDevice device;
  std::unique_ptr<SampleRing> ring;
  std::unique_ptr<SoundInput> input;
};

/// A device that was open before is looked for by its name: numbers change when something is plugged in.
InputDevice PickAgain(std::span<const InputDevice> devices, const std::string& wanted,
                      const InputDevice& before) {
  for (const InputDevice& device : devices) {
    if (device.name == before.name && device.driver == before.driver) return device;
  }
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  if (!std::all_of(wanted.begin(), wanted.end(), is_digit)) return PickDevice(devices, wanted);
  Fail(ErrorKind::kData, "--device", "'{}' is not there", Shown(before.name));
}

/// Nothing where the work is to end.
std::optional<OpenDevice> Open(Hearing& hearing, SoundSystem& system,
                               const MicrophoneOptions& options,
                               const std::optional<InputDevice>& before, const Wait& wait) {
  for (bool told = before.has_value();;) {
    try {
      const std::vector<InputDevice> devices = system.Devices();
      OpenDevice open{.device = before ? PickAgain(devices, options.device, *before)
                                       : PickDevice(devices, options.device),
                      .ring = std::make_unique<SampleRing>(kRingSamples),
                      .input = nullptr};
      open.input = system.Open(open.device, hearing.sample_rate_hz(), *open.ring);
      return open;
    } catch (const Error& error) {
      if (!options.reconnect || error.kind() != ErrorKind::kData) throw;
      if (!told) hearing.Remark(fmt::format("{}; waiting for it\n", error.what()));
      told = true;
    }
    if (!wait(kRetryMs)) return std::nullopt;
  }
}

/// True where the work is to end, false where the device is lost.
bool HearUntilLost(Hearing& hearing, const OpenDevice& open, const Wait& wait) {
  std::array<int16_t, 4096> block;
  bool told = false;
  for (int nothing_ms = 0;;) {
    const bool active = open.input->Active();  // asked first: what came before it ended is heard
    const size_t count = open.ring->Read(block);
    hearing.Push(std::span<const int16_t>(block).first(count));
    if (count == 0 && (!active || nothing_ms >= kLostMs)) return false;
    if (!told && open.ring->overruns() > 0) {
      hearing.Remark(fmt::format(
          "{}: sound is lost: this program did not get to it in time (hint: a larger --hop-frames "
          "takes less time)\n",
          Shown(open.device.name)));
      told = true;
    }
    const int timeout_ms = count > 0 ? 0 : kPollMs;
    if (!wait(timeout_ms)) {
      for (size_t rest = open.ring->Read(block); rest > 0; rest = open.ring->Read(block)) {
        hearing.Push(std::span<const int16_t>(block).first(rest));
      }
      return true;
    }
    nothing_ms = count > 0 ? 0 : nothing_ms + timeout_ms;
  }
}

}  // namespace

std::string DeviceTable(std::span<const InputDevice> devices) {
  if (devices.empty()) return "no device that records was found\n";
  std::string table;
  for (const InputDevice& device : devices) {
    table += fmt::format("{}{:3}  {} ({}), {} Hz\n", device.is_default ? '*' : ' ', device.number,
                         Shown(device.name), Shown(device.driver), device.default_rate_hz);
  }
  return table + "* is the default\n";
}

InputDevice PickDevice(std::span<const InputDevice> devices, const std::string& wanted) {
  int number = -1;
  const char* const end = wanted.data() + wanted.size();
  if (std::from_chars(wanted.data(), end, number).ptr != end) number = -1;
  const std::string part = Lower(wanted);
  const auto name = [](const InputDevice& device) { return Lower(device.name); };
  const std::function<bool(const InputDevice&)> fits[] = {
      [&](const InputDevice& device) { return device.number == number; },
      [&](const InputDevice& device) { return part == "default" && device.is_default; },
      [&](const InputDevice& device) { return name(device) == part; },
      [&](const InputDevice& device) { return name(device).starts_with(part); },
      [&](const InputDevice& device) { return name(device).find(part) != std::string::npos; }};
  for (const auto& fit : fits) {
    std::vector<InputDevice> found;
    std::copy_if(devices.begin(), devices.end(), std::back_inserter(found), fit);
    if (found.size() == 1) return found[0];
    if (found.empty()) continue;
    std::string labels;
    for (const InputDevice& device : found) labels += (labels.empty() ? "" : ", ") + Label(device);
    Fail(ErrorKind::kConfiguration, "--device", "'{}' fits {} devices: {} (hint: give the number)",
         Shown(wanted), found.size(), labels);
  }
  if (devices.empty()) {
    Fail(ErrorKind::kData, "--device",
         "'{}' is not there, no device that records is (hint: is a microphone plugged in, and may "
         "this user use it: groups | grep audio?)",
         Shown(wanted));
  }
  Fail(ErrorKind::kData, "--device",
       "'{}' fits none of the {} devices that record (hint: --list-devices)", Shown(wanted),
       devices.size());
}

void HearMicrophone(Hearing& hearing, SoundSystem& system, const MicrophoneOptions& options,
                    const Wait& wait) {
  std::optional<InputDevice> before;
  SoundLoss loss;
  const auto open_again = [&] {
    try {
      return Open(hearing, system, options, before, wait);
    } catch (const Error&) {
      if (before) hearing.End(loss);
      throw;
    }
  };
  while (std::optional<OpenDevice> open = open_again()) {
    const int32_t rate_hz = open->input->sample_rate_hz();
    const std::string name = Shown(open->device.name);
    before ? hearing.Gap(rate_hz) : hearing.Begin(open->device.name, rate_hz);
    before = open->device;
    hearing.Remark(fmt::format("{}: listening at {} Hz{}\n", name, rate_hz,
                               rate_hz == hearing.sample_rate_hz() ? "" : ", resampled"));
    const bool stopped = HearUntilLost(hearing, *open, wait);
    loss.overruns += open->ring->overruns();
    loss.seconds += static_cast<double>(open->ring->lost_samples()) / rate_hz;
    if (stopped) break;
    const std::string fault = "was lost: it gives no more sound";
    if (!options.reconnect) {
      hearing.End(loss);
      Fail(ErrorKind::kData, name,
           "{} (hint: is it plugged in? --reconnect waits for it to come back)", fault);
    }
    hearing.Remark(fmt::format("{}: {}; waiting for it\n", name, fault));
  }
  if (before) hearing.End(loss);
}

}  // namespace bisparse::apps
