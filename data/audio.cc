// SPDX-License-Identifier: Apache-2.0
// Reading and writing recordings through libsndfile and libsamplerate.
// Read first: audio.h. Tested in: audio_test.cc.
#include "data/audio.h"

#include <fcntl.h>
#include <samplerate.h>
#include <sndfile.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "data/recording_length.h"
#include "deploy/base/check.h"

namespace bisparse::data {
namespace {

struct CloseSound {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using SoundFile = std::unique_ptr<SNDFILE, CloseSound>;

constexpr int64_t kMaxSeconds = 3600;
constexpr int64_t kMaxPipeBytes = int64_t{1} << 30;
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const { return number_; }

 private:
  int number_;
};

[[noreturn]] void FailToRead(const std::string& path, int error) {
  Fail(ErrorKind::kData, path, "not a readable recording: {}", std::strerror(error));
}

/// A copy in memory that can be sought and written, of what is left in `source`.
Descriptor CopyToMemory(const std::string& path, const Descriptor& source) {
  Descriptor copy(::memfd_create("recording", MFD_CLOEXEC));
  if (copy.get() < 0) FailToRead(path, errno);
  std::vector<char> block(1 << 16);
  for (int64_t total = 0;;) {
    const ssize_t count = ::read(source.get(), block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) FailToRead(path, errno);
    if (count == 0) break;
    for (ssize_t done = 0; done < count;) {
      const ssize_t written = ::write(copy.get(), block.data() + done, count - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) FailToRead(path, errno);
      done += written;
    }
    total += count;
    if (total > kMaxPipeBytes) Fail(ErrorKind::kData, path, "a pipe of more than 1 GiB");
  }
  return copy;
}

/// libsndfile seeks, so what is no regular file is copied.
Descriptor OpenSeekable(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) FailToRead(path, errno);
  if (S_ISDIR(status.st_mode)) FailToRead(path, EISDIR);
  return S_ISREG(status.st_mode) ? std::move(file) : CopyToMemory(path, file);
}

/// libsndfile keeps the reason why a file could not be opened in one variable of the process, and closes the descriptor of
/// such a file even where it is told not to: it gets one of its own, so that no other thread's is closed after.
SoundFile Open(const std::string& path, const Descriptor& source, SF_INFO& format) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  ::lseek(source.get(), 0, SEEK_SET);
  format = {};
  const int own = ::fcntl(source.get(), F_DUPFD_CLOEXEC, 0);
  if (own < 0) FailToRead(path, errno);
  SoundFile file(sf_open_fd(own, SFM_READ, &format, /*close_desc=*/1));
  if (file == nullptr) {
    Fail(ErrorKind::kData, path, "not a readable recording: {}", sf_strerror(nullptr));
  }
  return file;
}

struct Mono {
  std::vector<float> samples;
  double peak = 0.0;
  double power = 0.0;          ///< of the mix, summed over samples
  std::vector<double> powers;  ///< of each channel
};

/// The mean of all channels, or channel `only` (from 0). A header's frame count is a claim: reads
/// what is there, block by block.
Mono Decode(const std::string& path, SNDFILE* file, const SF_INFO& format, int32_t only = -1) {
  constexpr sf_count_t kBlockFrames = 16384;
  std::vector<float> block(kBlockFrames * format.channels);
  Mono mono;
  mono.powers.resize(format.channels);
  for (;;) {
    const sf_count_t frames = sf_readf_float(file, block.data(), kBlockFrames);
    if (frames <= 0) break;
    for (sf_count_t frame = 0; frame < frames; ++frame) {
      double sum = 0.0;
      for (int channel = 0; channel < format.channels; ++channel) {
        const double sample = block[frame * format.channels + channel];
        mono.powers[channel] += sample * sample;
        if (only < 0 || only == channel) sum += sample;
      }
      if (!std::isfinite(sum)) {
        Fail(ErrorKind::kData, path, "sample {} is not finite", mono.samples.size());
      }
      const double mix = only < 0 ? sum / format.channels : sum;
      mono.power += mix * mix;
      mono.peak = std::max(mono.peak, std::abs(mix));
      mono.samples.push_back(static_cast<float>(std::clamp(mix, -1.0, 1.0)));
    }
    if (static_cast<int64_t>(mono.samples.size()) > kMaxSeconds * format.samplerate) {
      Fail(ErrorKind::kData, path, "longer than {} seconds", kMaxSeconds);
    }
  }
  if (sf_error(file) != SF_ERR_NO_ERROR) {
    Fail(ErrorKind::kData, path, "broken after sample {}: {}", mono.samples.size(),
         sf_strerror(file));
  }
  return mono;
}

/// Channels in antiphase: the mean of two microphones with crossed wires is silence. 30 dB less than
/// the loudest channel is more than different voices can lose.
bool Cancels(const Mono& mono, int channels) {
  return channels > 1 &&
         mono.power < 1e-3 * *std::max_element(mono.powers.begin(), mono.powers.end()) / channels;
}

std::vector<float> Resample(const std::string& path, const std::vector<float>& samples,
                            int32_t from_hz, int32_t to_hz) {
  const double ratio = static_cast<double>(to_hz) / from_hz;
  if (src_is_valid_ratio(ratio) == 0) {
    Fail(ErrorKind::kData, path,
         "sample rate {} Hz cannot be resampled to {} Hz (at most 256-fold)", from_hz, to_hz);
  }
  // One more frame than the exact length: the converter rounds up at some ratios.
  std::vector<float> resampled(static_cast<size_t>(std::ceil(samples.size() * ratio)) + 1);
  SRC_DATA conversion = {};
  conversion.data_in = samples.data();
  conversion.data_out = resampled.data();
  conversion.input_frames = static_cast<long>(samples.size());
  conversion.output_frames = static_cast<long>(resampled.size());
  conversion.src_ratio = ratio;
  if (const int error = src_simple(&conversion, SRC_SINC_BEST_QUALITY, 1); error != 0) {
    Fail(ErrorKind::kData, path, "resampling from {} Hz to {} Hz failed: {}", from_hz, to_hz,
         src_strerror(error));
  }
  resampled.resize(conversion.output_frames_gen);
  return resampled;
}

/// Container or codec numbers that libsndfile enumerates.
std::vector<int> Listed(int count_command, int command) {
  int count = 0;
  sf_command(nullptr, count_command, &count, sizeof count);
  std::vector<int> formats;
  for (int i = 0; i < count; ++i) {
    SF_FORMAT_INFO format = {};
    format.format = i;
    if (sf_command(nullptr, command, &format, sizeof format) == 0) formats.push_back(format.format);
  }
  return formats;
}

}  // namespace

Audio ReadAudio(const std::string& path, int32_t target_rate_hz) {
  Descriptor source = OpenSeekable(path);
  SF_INFO format = {};
  SoundFile file = Open(path, source, format);
  if (const int64_t length = UnfinishedWavLength(source.get()); format.frames == 0 && length >= 0) {
    ::lseek(source.get(), 0, SEEK_SET);
    source = CopyToMemory(path, source);
    constexpr unsigned char kToTheEnd[] = {0xff, 0xff, 0xff, 0xff};
    if (::pwrite(source.get(), kToTheEnd, sizeof kToTheEnd, length) != sizeof kToTheEnd) {
      FailToRead(path, errno);
    }
    file = Open(path, source, format);
  }
  if (format.samplerate <= 0 || format.channels <= 0) {
    Fail(ErrorKind::kData, path, "{} channels at {} Hz", format.channels, format.samplerate);
  }
  Audio audio;
  audio.sample_rate_hz = format.samplerate;
  Mono mono = Decode(path, file.get(), format);
  if (const std::string missing =
          MissingSound(file.get(), format, source.get(), std::ssize(mono.samples));
      !missing.empty()) {
    Fail(ErrorKind::kData, path, "is cut short, {}", missing);
  }
  if (mono.samples.empty()) Fail(ErrorKind::kData, path, "holds no samples");
  if (Cancels(mono, format.channels)) {
    const auto loudest = std::max_element(mono.powers.begin(), mono.powers.end());
    audio.only_channel = static_cast<int32_t>(loudest - mono.powers.begin()) + 1;
    file = Open(path, source, format);
    mono = Decode(path, file.get(), format, audio.only_channel - 1);
  }
  audio.peak = mono.peak;
  audio.samples = std::move(mono.samples);
  if (target_rate_hz != 0 && target_rate_hz != audio.sample_rate_hz) {
    audio.samples = Resample(path, audio.samples, audio.sample_rate_hz, target_rate_hz);
    audio.sample_rate_hz = target_rate_hz;
    if (audio.samples.empty()) Fail(ErrorKind::kData, path, "too short to resample");
  }
  return audio;
}

std::vector<std::string> Remarks(const Audio& audio) {
  std::vector<std::string> remarks;
  if (audio.peak > 1.0) {
    remarks.push_back(
        fmt::format("peaks at {:.4g} times full scale and is clipped (hint: floats belong into "
                    "[-1, 1])",
                    audio.peak));
  }
  if (audio.only_channel > 0) {
    remarks.push_back(
        fmt::format("has channels that cancel each other out, channel {} alone is "
                    "heard",
                    audio.only_channel));
  }
  return remarks;
}

std::vector<int16_t> ToPcm16(std::span<const float> samples) {
  std::vector<int16_t> pcm(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    const float scaled = std::nearbyint(samples[i] * 32768.0f);
    pcm[i] = static_cast<int16_t>(std::clamp(scaled, -32768.0f, 32767.0f));
  }
  return pcm;
}

void ToFloats(std::span<const int16_t> pcm, std::vector<float>& samples) {
  samples.resize(pcm.size());
  for (size_t i = 0; i < pcm.size(); ++i) samples[i] = pcm[i] * (1.0f / 32768.0f);
}

const std::vector<std::string>& RecordingExtensions() {
  static const std::vector<std::string> known = [] {
    constexpr std::pair<const char*, int> kFormats[] = {
        {".wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
        {".wave", SF_FORMAT_WAV | SF_FORMAT_PCM_16},
        {".flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16},
        {".mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III},
        {".ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
        {".oga", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
        {".opus", SF_FORMAT_OGG | SF_FORMAT_OPUS},
        {".aif", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
        {".aiff", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
        {".aifc", SF_FORMAT_AIFF | SF_FORMAT_PCM_16},
        {".au", SF_FORMAT_AU | SF_FORMAT_PCM_16},
        {".snd", SF_FORMAT_AU | SF_FORMAT_PCM_16},
        {".caf", SF_FORMAT_CAF | SF_FORMAT_PCM_16},
        {".w64", SF_FORMAT_W64 | SF_FORMAT_PCM_16},
        {".rf64", SF_FORMAT_RF64 | SF_FORMAT_PCM_16},
        {".sph", SF_FORMAT_NIST | SF_FORMAT_PCM_16},
        {".nist", SF_FORMAT_NIST | SF_FORMAT_PCM_16},
        {".voc", SF_FORMAT_VOC | SF_FORMAT_PCM_16},
    };
    // A libsndfile that was built without a codec does not list it.
    const std::vector<int> majors = Listed(SFC_GET_FORMAT_MAJOR_COUNT, SFC_GET_FORMAT_MAJOR);
    const std::vector<int> codecs = Listed(SFC_GET_FORMAT_SUBTYPE_COUNT, SFC_GET_FORMAT_SUBTYPE);
    const auto has = [](const std::vector<int>& list, int format) {
      return std::find(list.begin(), list.end(), format) != list.end();
    };
    std::vector<std::string> extensions;
    for (const auto& [extension, format] : kFormats) {
      if (has(majors, format & SF_FORMAT_TYPEMASK) && has(codecs, format & SF_FORMAT_SUBMASK)) {
        extensions.emplace_back(extension);
      }
    }
    return extensions;
  }();
  return known;
}

void WriteWav(const std::string& path, std::span<const float> samples, int32_t sample_rate_hz) {
  SF_INFO format = {};
  format.samplerate = sample_rate_hz;
  format.channels = 1;
  format.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
  SNDFILE* const file = sf_open(path.c_str(), SFM_WRITE, &format);
  if (file == nullptr) Fail(ErrorKind::kData, path, "cannot be written: {}", sf_strerror(nullptr));
  const std::vector<int16_t> pcm = ToPcm16(samples);
  const auto count = static_cast<sf_count_t>(pcm.size());
  const sf_count_t written = sf_write_short(file, pcm.data(), count);
  const std::string reason = sf_strerror(file);
  if (sf_close(file) != 0 || written != count) {
    Fail(ErrorKind::kData, path, "{} of {} samples written: {}", written, count, reason);
  }
}

}  // namespace bisparse::data
