// SPDX-License-Identifier: Apache-2.0
// Microphones through PortAudio. The library is loaded when a microphone is asked for, so that the programs start where it
// is not installed. dlopen with the header's types needs no second file that would have to be installed and found.
// Read first: sound_system.h.
#include <dlfcn.h>
#include <fcntl.h>
#include <portaudio.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "apps/support/sound_system.h"
#include "deploy/base/check.h"
#include "deploy/base/show.h"

namespace bisparse::apps {
namespace {

constexpr const char* kLibrary = "libportaudio.so.2";

template <class Function>
void Find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
  if (function != nullptr) return;
  Fail(ErrorKind::kConfiguration, kLibrary, "has no function {} (hint: PortAudio 19 has it)", name);
}

/// PortAudio's functions by their own names.
struct Library {
  Library() {
    void* const library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);  // stays: drivers have threads
    if (library == nullptr) {
      const char* const reason = ::dlerror();
      Fail(ErrorKind::kConfiguration, "microphone",
           "PortAudio cannot be loaded: {} (hint: apt-get install libportaudio2)",
           reason == nullptr ? kLibrary : reason);
    }
    Find(library, "Pa_Initialize", Initialize);
    Find(library, "Pa_Terminate", Terminate);
    Find(library, "Pa_GetErrorText", GetErrorText);
    Find(library, "Pa_GetDeviceCount", GetDeviceCount);
    Find(library, "Pa_GetDeviceInfo", GetDeviceInfo);
    Find(library, "Pa_GetHostApiInfo", GetHostApiInfo);
    Find(library, "Pa_GetDefaultInputDevice", GetDefaultInputDevice);
    Find(library, "Pa_IsFormatSupported", IsFormatSupported);
    Find(library, "Pa_OpenStream", OpenStream);
    Find(library, "Pa_StartStream", StartStream);
    Find(library, "Pa_IsStreamActive", IsStreamActive);
    Find(library, "Pa_AbortStream", AbortStream);
    Find(library, "Pa_CloseStream", CloseStream);
  }
  decltype(Pa_Initialize)* Initialize;
  decltype(Pa_Terminate)* Terminate;
  decltype(Pa_GetErrorText)* GetErrorText;
  decltype(Pa_GetDeviceCount)* GetDeviceCount;
  decltype(Pa_GetDeviceInfo)* GetDeviceInfo;
  decltype(Pa_GetHostApiInfo)* GetHostApiInfo;
  decltype(Pa_GetDefaultInputDevice)* GetDefaultInputDevice;
  decltype(Pa_IsFormatSupported)* IsFormatSupported;
  decltype(Pa_OpenStream)* OpenStream;
  decltype(Pa_StartStream)* StartStream;
  decltype(Pa_IsStreamActive)* IsStreamActive;
  decltype(Pa_AbortStream)* AbortStream;
  decltype(Pa_CloseStream)* CloseStream;
};

/// While it lives nothing comes on stderr: ALSA and JACK write pages there on machines where all is well.
class Quiet {
 public:
  Quiet() : kept_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
    std::fflush(stderr);
    const int nothing = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept_ >= 0 && nothing >= 0) ::dup2(nothing, STDERR_FILENO);
    if (nothing >= 0) ::close(nothing);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  ~Quiet() {
    if (kept_ < 0) return;
    std::fflush(stderr);
    ::dup2(kept_, STDERR_FILENO);
    ::close(kept_);
  }

 private:
  const int kept_;
};

/// Called by PortAudio's thread.
int TakeSound(const void* input, void*, unsigned long frames, const PaStreamCallbackTimeInfo*,
              PaStreamCallbackFlags flags, void* user) {
  auto& ring = *static_cast<SampleRing*>(user);
  if ((flags & paInputOverflow) != 0) ring.CountOverrun();
  if (input != nullptr) ring.Write({static_cast<const int16_t*>(input), frames});
  return paContinue;
}

class PortAudioInput : public SoundInput {
 public:
  PortAudioInput(const Library& library, PaStream* stream, int32_t rate_hz)
      : library_(library), stream_(stream), rate_hz_(rate_hz) {}
  ~PortAudioInput() override {
    const Quiet quiet;
    library_.AbortStream(stream_);
    library_.CloseStream(stream_);
  }
  int32_t sample_rate_hz() const override { return rate_hz_; }
  bool Active() override { return library_.IsStreamActive(stream_) == 1; }

 private:
  const Library& library_;
  PaStream* const stream_;
  const int32_t rate_hz_;
};

class PortAudio : public SoundSystem {
 public:
  ~PortAudio() override { Terminate(); }

  /// PortAudio looks for devices only where it is initialised.
  std::vector<InputDevice> Devices() override {
    Terminate();
    const PaError error = [&] {
      const Quiet quiet;
      return library_.Initialize();
    }();
    if (error != paNoError) Refuse("microphone", "PortAudio does not start", error);
    initialised_ = true;
    std::vector<InputDevice> devices;
    for (int number = 0; number < library_.GetDeviceCount(); ++number) {
      const PaDeviceInfo* const info = library_.GetDeviceInfo(number);
      if (info == nullptr || info->maxInputChannels < 1) continue;
      const PaHostApiInfo* const driver = library_.GetHostApiInfo(info->hostApi);
      devices.push_back(
          {.number = number,
           .name = info->name,
           .driver = driver == nullptr ? "" : driver->name,
           .default_rate_hz = static_cast<int32_t>(std::lround(info->defaultSampleRate)),
           .is_default = number == library_.GetDefaultInputDevice()});
    }
    return devices;
  }

  std::unique_ptr<SoundInput> Open(const InputDevice& device, int32_t wanted_rate_hz,
                                   SampleRing& ring) override {
    const Quiet quiet;
    const PaDeviceInfo* const info = library_.GetDeviceInfo(device.number);
    if (info == nullptr) Refuse(Shown(device.name), "is no longer there", paInvalidDevice);
    const PaStreamParameters sound = {.device = device.number,
                                      .channelCount = 1,
                                      .sampleFormat = paInt16,
                                      .suggestedLatency = info->defaultHighInputLatency,
                                      .hostApiSpecificStreamInfo = nullptr};
    const bool can = library_.IsFormatSupported(&sound, nullptr, wanted_rate_hz) == paNoError;
    const int32_t rate_hz = can ? wanted_rate_hz : device.default_rate_hz;
    PaStream* stream = nullptr;
    PaError error =
        library_.OpenStream(&stream, &sound, nullptr, rate_hz, paFramesPerBufferUnspecified,
                            paDitherOff, TakeSound, &ring);
    if (error != paNoError) Refuse(Shown(device.name), "cannot be opened", error);
    auto input = std::make_unique<PortAudioInput>(library_, stream, rate_hz);
    error = library_.StartStream(stream);
    if (error != paNoError) Refuse(Shown(device.name), "does not start", error);
    return input;
  }

 private:
  [[noreturn]] void Refuse(const std::string& where, const char* what, PaError error) const {
    Fail(ErrorKind::kData, where, "{}: {} (hint: does another program use it? see --list-devices)",
         what, library_.GetErrorText(error));
  }
  void Terminate() {
    const Quiet quiet;
    if (initialised_) library_.Terminate();
    initialised_ = false;
  }

  const Library library_;
  bool initialised_ = false;
};

}  // namespace

std::unique_ptr<SoundSystem> MakeSoundSystem() { return std::make_unique<PortAudio>(); }

}  // namespace bisparse::apps
