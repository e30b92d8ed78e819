// SPDX-License-Identifier: Apache-2.0
// Microphones that are none: which one is meant, rates, loss, return, too much sound. The function that waits is the script
// of what happens, so nothing depends on time.
#include "apps/support/microphone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <optional>
#include <thread>

#include "bisparse/error.h"
#include "data/audio.h"
#include "tests/programs/programs_test.h"

namespace bisparse::apps {
namespace {

using ::testing::Not;

const std::vector<InputDevice> kDevices = {
    {.number = 0, .name = "HDA Intel: ALC295 (hw:0,0)", .driver = "ALSA", .default_rate_hz = 44100},
    {.number = 3, .name = "USB Microphone (hw:1,0)", .driver = "ALSA", .default_rate_hz = 48000},
    {.number = 4, .name = "USB Camera (hw:2,0)", .driver = "ALSA", .default_rate_hz = 32000},
    {.number = 7, .name = "pulse", .driver = "ALSA", .default_rate_hz = 44100, .is_default = true},
    {.number = 9, .name = "pulse", .driver = "JACK", .default_rate_hz = 48000}};

std::string Refusal(const std::function<void()>& action, ErrorKind kind) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "";
}

TEST(PickDevice, TheWordDefaultIsTheSystemsChoiceWhateverOthersAreCalled) {
  std::vector<InputDevice> devices(std::begin(kDevices), std::end(kDevices));
  devices.insert(devices.begin(),
                 {.number = 11, .name = "default", .driver = "ALSA", .default_rate_hz = 44100});
  EXPECT_EQ(PickDevice(devices, "default").number, 7);
  devices[3].is_default = devices[4].is_default = false;
  EXPECT_EQ(PickDevice(devices, "default").number, 11);
}

TEST(PickDevice, TakesANumberANameOrAPartThatFitsOneAlone) {
  for (const auto& [wanted, number] : {std::pair{"3", 3},
                                       {"USB Microphone (hw:1,0)", 3},
                                       {"usb m", 3},
                                       {"camera", 4},
                                       {"ALC295", 0},
                                       {"hda", 0},
                                       {"default", 7}}) {
    EXPECT_EQ(PickDevice(kDevices, wanted).number, number) << wanted;
  }
  EXPECT_EQ(Refusal([] { PickDevice(kDevices, "usb"); }, ErrorKind::kConfiguration),
            "--device: 'usb' fits 2 devices: 3 'USB Microphone (hw:1,0)' (ALSA), 4 'USB Camera "
            "(hw:2,0)' (ALSA) (hint: give the number)");
  EXPECT_THAT(Refusal([] { PickDevice(kDevices, "pulse"); }, ErrorKind::kConfiguration),
              HasSubstr("7 'pulse' (ALSA), 9 'pulse' (JACK)"));
  EXPECT_EQ(Refusal([] { PickDevice(kDevices, "5"); }, ErrorKind::kData), "");  // in ALC295
  EXPECT_THAT(Refusal([] { PickDevice(kDevices, "banjo"); }, ErrorKind::kData),
              HasSubstr("'banjo' fits none of the 5 devices that record"));
  EXPECT_THAT(Refusal([] { PickDevice({}, "default"); }, ErrorKind::kData),
              HasSubstr("is a microphone plugged in"));
}

TEST(DeviceTable, MarksTheDefault) {
  EXPECT_THAT(DeviceTable(kDevices),
              AllOf(HasSubstr("   3  USB Microphone (hw:1,0) (ALSA), 48000 Hz\n"),
                    HasSubstr("*  7  pulse (ALSA), 44100 Hz\n")));
  EXPECT_THAT(DeviceTable({}), HasSubstr("no device that records"));
}

TEST(SampleRing, CountsWhatFindsNoRoom) {
  SampleRing ring(8);
  std::vector<int16_t> sound(6), heard(8);
  std::iota(sound.begin(), sound.end(), int16_t{1});
  ring.Write(sound);
  EXPECT_EQ(ring.overruns(), 0);
  ring.Write(sound);
  EXPECT_EQ(ring.overruns(), 1);
  EXPECT_EQ(ring.lost_samples(), 4);
  ASSERT_EQ(ring.Read(heard), 8u);
  EXPECT_THAT(heard, ElementsAre(1, 2, 3, 4, 5, 6, 1, 2));
  EXPECT_EQ(ring.Read(heard), 0u);
}

TEST(SampleRing, KeepsTheOrderBetweenThreads) {
  SampleRing ring(100);
  constexpr int kPieces = 20'000;
  std::thread writer([&] {
    std::array<int16_t, 7> piece;
    for (int i = 0; i < kPieces; ++i) {
      std::iota(piece.begin(), piece.end(), static_cast<int16_t>(i % 4000 * 7));
      ring.Write(piece);
    }
  });
  std::array<int16_t, 31> heard;
  int64_t count = 0, descents = 0;
  int16_t last = -1;
  const auto read = [&] {
    const size_t got = ring.Read(heard);
    for (size_t i = 0; i < got; ++i) {
      descents += heard[i] <= last ? 1 : 0;
      last = heard[i];
    }
    count += static_cast<int64_t>(got);
    return got > 0;
  };
  while (count + ring.lost_samples() < 7 * kPieces) read();
  writer.join();
  while (read()) continue;
  EXPECT_EQ(count + ring.lost_samples(), 7 * kPieces);
  EXPECT_LE(descents, kPieces / 4000);
}

/// One device that does what the test says.
class FakeSystem : public SoundSystem {
 public:
  std::vector<InputDevice> Devices() override {
    EXPECT_EQ(ring, nullptr) << "an input is open";
    ++looks;
    return devices;
  }
  std::unique_ptr<SoundInput> Open(const InputDevice& device, int32_t wanted_rate_hz,
                                   SampleRing& its_ring) override {
    if (busy) throw Error(ErrorKind::kData, device.name, "cannot be opened: busy");
    ring = &its_ring;
    active = true;
    const int32_t rate_hz = any_rate ? wanted_rate_hz : device.default_rate_hz;
    opened.push_back(device.number);
    return std::make_unique<Input>(*this, rate_hz);
  }
  void Write(std::span<const int16_t> samples) {
    ASSERT_NE(ring, nullptr);
    ring->Write(samples);
  }

  std::vector<InputDevice> devices = {kDevices[1]};
  bool any_rate = true, busy = false, active = false;
  SampleRing* ring = nullptr;
  int looks = 0;
  std::vector<int> opened;

 private:
  struct Input : SoundInput {
    Input(FakeSystem& the_system, int32_t the_rate_hz) : system(the_system), rate_hz(the_rate_hz) {}
    ~Input() override { system.ring = nullptr; }
    int32_t sample_rate_hz() const override { return rate_hz; }
    bool Active() override { return system.active; }
    FakeSystem& system;
    const int32_t rate_hz;
  };
};

class Microphone : public Programs {
 protected:
  void SetUp() override {
    Programs::SetUp();
    for (int i = 0; i < 16'000; ++i) {  // a tone that rises
      sound_.push_back(static_cast<int16_t>(9000 * std::sin(i * (0.15 + 4e-5 * i))));
    }
  }

  Hearing MakeHearing() const {
    return Hearing(
        engine(),
        {.detection = {.average_ms = 100, .threshold = 0.4, .refractory_ms = 200}, .json = true});
  }
  /// `script` is called with the number of the wait, from 0.
  void Hear(FakeSystem& system, bool reconnect,
            const std::function<bool(int wait, int timeout_ms)>& script) {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    std::optional<Error> thrown;
    try {
      Hearing hearing = MakeHearing();
      HearMicrophone(hearing, system, {.device = "usb mic", .reconnect = reconnect},
                     [&](int timeout_ms) { return script(waits_++, timeout_ms); });
    } catch (const Error& error) {
      thrown = error;
    }
    out_ = testing::internal::GetCapturedStdout();
    err_ = testing::internal::GetCapturedStderr();
    if (thrown) throw Error(*thrown);
  }
  /// What a Hearing says that is told all this, but for times.
  std::string Expected(const std::function<void(Hearing&)>& tell) const {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    {
      Hearing hearing = MakeHearing();
      tell(hearing);
    }
    testing::internal::GetCapturedStderr();
    return Events(testing::internal::GetCapturedStdout());
  }
  std::string ExpectedOfSound(std::span<const int16_t> sound) const {
    return Expected([&](Hearing& hearing) {
      hearing.Begin(kDevices[1].name, 8000);
      hearing.Push(sound);
      hearing.End();
    });
  }
  static std::string Events(const std::string& out) {
    std::string events;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
      if (Json::parse(line).contains("word")) events += line + "\n";
    }
    return events;
  }
  Json Summary() const { return Json::parse(out_.substr(out_.rfind('\n', out_.size() - 2) + 1)); }
  std::span<const int16_t> Piece(int i) const {
    return std::span(sound_).subspan(static_cast<size_t>(i) * 1000, 1000);
  }

  std::vector<int16_t> sound_;
  int waits_ = 0;
  std::string out_, err_;
};

TEST_F(Microphone, HearsWhatItsDeviceRecordsUntilTheUserEndsIt) {
  FakeSystem system;
  Hear(system, false, [&](int wait, int) {
    if (wait < 16) system.Write(Piece(wait));
    return wait < 30;
  });
  EXPECT_GE(std::count(out_.begin(), out_.end(), '\n'), 4);
  EXPECT_EQ(Events(out_), ExpectedOfSound(sound_));
  EXPECT_EQ(Summary()["file"], "USB Microphone (hw:1,0)");
  EXPECT_EQ(Summary()["sound_s"], 2);
  EXPECT_THAT(err_, HasSubstr("USB Microphone (hw:1,0): listening at 8000 Hz\n"));
}

TEST_F(Microphone, ResamplesWhatItsDeviceCannotRecordAtTheModelsRate) {
  FakeSystem system;
  system.any_rate = false;
  Hear(system, false, [&](int wait, int) {
    if (wait < 16) system.Write(Piece(wait));
    return wait < 30;
  });
  std::vector<float> floats;
  data::ToFloats(sound_, floats);
  const std::string expected =
      ExpectedOfSound(data::ToPcm16(data::Resampled("fake", floats, 48000, 8000)));
  EXPECT_EQ(Events(out_), expected);
  EXPECT_THAT(err_, HasSubstr("listening at 48000 Hz, resampled\n"));
}

TEST_F(Microphone, SaysThatItsDeviceIsLost) {
  FakeSystem system;
  const auto script = [&](int wait, int) {
    if (wait < 8) system.Write(Piece(wait));
    if (wait == 7) system.active = false;
    return true;
  };
  EXPECT_EQ(Refusal([&] { Hear(system, false, script); }, ErrorKind::kData),
            "USB Microphone (hw:1,0): was lost: it gives no more sound (hint: is it plugged in? "
            "--reconnect waits for it to come back)");
  // What came before is heard.
  EXPECT_EQ(Events(out_), ExpectedOfSound(std::span(sound_).first(8000)));
  EXPECT_EQ(Summary()["sound_s"], 1);
}

TEST_F(Microphone, TakesADeviceThatGivesNothingForLost) {
  FakeSystem system;
  int waited_ms = 0;
  const auto script = [&](int wait, int timeout_ms) {
    waited_ms = wait == 0 || wait == 100 ? 0 : waited_ms + timeout_ms;
    if (wait == 0 || wait == 100) system.Write(Piece(0));
    return true;
  };
  EXPECT_THAT(Refusal([&] { Hear(system, false, script); }, ErrorKind::kData),
              HasSubstr("was lost"));
  EXPECT_GT(waits_, 100);  // two seconds are a pause
  EXPECT_EQ(waited_ms, 3000);
  EXPECT_EQ(Summary()["sound_s"], 0.25);
}

TEST_F(Microphone, WaitsForALostDeviceWithReconnect) {
  FakeSystem system;
  Hear(system, true, [&](int wait, int) {
    if (wait < 8) system.Write(Piece(wait));
    if (wait == 7) {
      system.active = false;
      system.devices = {kDevices[0]};
    }
    if (wait == 12) {  // back with another number, and slower
      system.devices = {kDevices[0], kDevices[1]};
      system.devices[1].number = 1;
      system.devices[1].default_rate_hz = 16000;
      system.any_rate = false;
    }
    if (wait >= 13 && wait < 21) system.Write(Piece(wait - 5));
    return wait < 40;
  });
  EXPECT_THAT(system.opened, ElementsAre(3, 1));
  EXPECT_GT(system.looks, 4);
  EXPECT_EQ(Events(out_), Expected([&](Hearing& hearing) {
              hearing.Begin(kDevices[1].name, 8000);
              hearing.Push(std::span<const int16_t>(sound_).first(8000));
              hearing.Gap(16000);
              hearing.Push(std::span<const int16_t>(sound_).last(8000));
              hearing.End();
            }));
  EXPECT_EQ(err_.substr(0, err_.rfind(": 1.")),
            "USB Microphone (hw:1,0): listening at 8000 Hz\n"
            "USB Microphone (hw:1,0): was lost: it gives no more sound; waiting for it\n"
            "USB Microphone (hw:1,0): listening at 16000 Hz, resampled\n"
            "USB Microphone (hw:1,0)");
}

TEST_F(Microphone, WaitsForADeviceThatIsNotYetThereOrBusy) {
  FakeSystem system;
  system.devices.clear();
  EXPECT_THAT(
      Refusal([&] { Hear(system, false, [](int, int) { return true; }); }, ErrorKind::kData),
      HasSubstr("'usb mic' is not there"));
  EXPECT_EQ(waits_, 0);
  Hear(system, true, [](int wait, int) { return wait < 5; });  // the user has enough
  EXPECT_EQ(out_, "");
  waits_ = 0;
  Hear(system, true, [&](int wait, int timeout_ms) {
    if (wait == 2) system.devices = {kDevices[1]};
    if (wait == 2) system.busy = true;
    if (wait == 5) system.busy = false;
    EXPECT_EQ(timeout_ms == 1000, wait <= 5);
    return wait < 8;
  });
  EXPECT_THAT(err_, AllOf(HasSubstr("; waiting for it\n"), HasSubstr("listening at 8000 Hz")));
  EXPECT_EQ(err_.find("waiting"), err_.rfind("waiting"));
  system.devices = kDevices;
  system.devices[2].name = "USB Microscope";
  EXPECT_THAT(Refusal([&] { Hear(system, true, [](int, int) { return true; }); },
                      ErrorKind::kConfiguration),
              HasSubstr("fits 2 devices"));
}

TEST_F(Microphone, CountsWhatItCouldNotTake) {
  FakeSystem system;
  const std::vector<int16_t> flood((1 << 16) + 4000);
  Hear(system, false, [&](int wait, int) {
    if (wait == 0) system.Write(flood);
    if (wait == 1) system.ring->CountOverrun();  // the driver's own
    return wait < 40;
  });
  EXPECT_EQ(Summary()["overruns"], 2);
  EXPECT_EQ(Summary()["lost_s"], 0.5);
  EXPECT_EQ(Summary()["sound_s"], 8.192);
  EXPECT_THAT(err_, AllOf(HasSubstr("sound is lost: this program did not get to it in time"),
                          HasSubstr("sound was lost 2 times, 0.50 s in all\n")));
}

}  // namespace
}  // namespace bisparse::apps
