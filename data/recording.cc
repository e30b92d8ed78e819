// SPDX-License-Identifier: Apache-2.0
// Recordings through libsndfile. A file is opened once: what its header promises is what libsndfile read there, and is
// compared with what came out of the same descriptor.
// Read first: recording.h.
#include "data/recording.h"

#include <fcntl.h>
#include <sndfile.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "data/recording_length.h"
#include "data/resampler.h"
#include "deploy/base/check.h"
#include "deploy/base/file.h"

namespace bisparse::data {
namespace {

struct CloseSound {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using SoundFile = std::unique_ptr<SNDFILE, CloseSound>;

constexpr int64_t kMaxPipeBytes = int64_t{1} << 30;
/// Of all channels together.
constexpr int64_t kBlockSamples = 16384;

/// libsndfile keeps the reason why a file could not be opened in one variable of the process.
std::mutex open_mutex;

[[noreturn]] void FailToRead(const std::string& path, int error) {
  Fail(ErrorKind::kData, path, "not a readable recording: {}", std::strerror(error));
}

/// A copy in memory that can be sought, of what is left in `source`.
FileDescriptor CopyToMemory(const std::string& path, const FileDescriptor& source) {
  FileDescriptor copy(::memfd_create("recording", MFD_CLOEXEC));
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
FileDescriptor OpenSeekable(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status = {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) FailToRead(path, errno);
  if (S_ISDIR(status.st_mode)) FailToRead(path, EISDIR);
  return S_ISREG(status.st_mode) ? std::move(file) : CopyToMemory(path, file);
}

/// libsndfile closes the descriptor of a file that cannot be opened even where it is told not to: it gets one of its own, so
/// that no other thread's is closed after.
SoundFile Open(const std::string& path, const FileDescriptor& source, SF_INFO& format) {
  const std::lock_guard lock(open_mutex);
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

/// A file as libsndfile sees it where four bytes at `length_at` say that the sound goes on to the file's end.
struct MendedFile {
  int descriptor = -1;
  int64_t length_at = 0, at = 0;

  int64_t Length() const {
    struct stat status = {};
    return ::fstat(descriptor, &status) == 0 ? status.st_size : 0;
  }
  int64_t Seek(int64_t offset, int whence) {
    return at = offset + (whence == SEEK_SET ? 0 : whence == SEEK_CUR ? at : Length());
  }
  int64_t Read(unsigned char* to, int64_t count) {
    const ssize_t got = ::pread(descriptor, to, static_cast<size_t>(count), at);
    if (got <= 0) return 0;
    for (int64_t byte = length_at; byte < length_at + 4; ++byte) {
      if (byte >= at && byte < at + got) to[byte - at] = 0xff;
    }
    at += got;
    return got;
  }
};

SoundFile OpenMended(const std::string& path, MendedFile& mended, SF_INFO& format) {
  SF_VIRTUAL_IO io = {};
  io.get_filelen = [](void* file) { return sf_count_t{static_cast<MendedFile*>(file)->Length()}; };
  io.seek = [](sf_count_t offset, int whence, void* file) {
    return sf_count_t{static_cast<MendedFile*>(file)->Seek(offset, whence)};
  };
  io.read = [](void* to, sf_count_t count, void* file) {
    return sf_count_t{static_cast<MendedFile*>(file)->Read(static_cast<unsigned char*>(to), count)};
  };
  io.write = [](const void*, sf_count_t, void*) { return sf_count_t{0}; };
  io.tell = [](void* file) { return sf_count_t{static_cast<MendedFile*>(file)->at}; };
  const std::lock_guard lock(open_mutex);
  format = {};
  mended.at = 0;
  SoundFile file(sf_open_virtual(&io, SFM_READ, &format, &mended));
  if (file == nullptr) Fail(ErrorKind::kData, path, "not a readable recording: its length is 0");
  return file;
}

}  // namespace

struct Recording::Impl {
  Impl(const std::string& the_path, int32_t target_rate_hz)
      : path(the_path), source(OpenSeekable(path)) {
    OpenFile();
    if (format.samplerate <= 0 || format.channels <= 0) {
      Fail(ErrorKind::kData, path, "{} channels at {} Hz", format.channels, format.samplerate);
    }
    rate_hz = target_rate_hz == 0 ? format.samplerate : target_rate_hz;
    if (rate_hz != format.samplerate) resampler.emplace(path, format.samplerate, rate_hz);
    const auto channels = static_cast<size_t>(format.channels);
    block_frames = std::max<int64_t>(kBlockSamples / format.channels, 1);
    interleaved.resize(static_cast<size_t>(block_frames) * channels);
    power_of_channel.resize(channels);
  }

  void OpenFile() {
    file.reset();
    if (mended.descriptor < 0) {
      file = Open(path, source, format);
      const int64_t length_at = format.frames == 0 ? UnfinishedWavLength(source.get()) : -1;
      if (length_at < 0) return;
      mended = {.descriptor = source.get(), .length_at = length_at};
    }
    file = OpenMended(path, mended, format);
  }

  void Restart(int32_t channel) {
    if (frames > 0 || done) OpenFile();
    if (resampler) resampler->Finish(mono);
    only_channel = channel;
    frames = given = 0;
    done = false;
    fault.reset();
    peak = power = 0;
    std::fill(power_of_channel.begin(), power_of_channel.end(), 0.0);
  }

  std::span<const float> Next() {
    mono.clear();
    resampled.clear();
    while (mono.empty() && resampled.empty() && !done) {
      Decode();
      if (!resampler) continue;
      resampler->Push(mono, resampled);
      mono.clear();
      if (done) resampler->Finish(resampled);
    }
    const std::vector<float>& next = resampler ? resampled : mono;
    if (next.empty() && fault) throw Error(*fault);
    given += std::ssize(next);
    if (next.empty() && given == 0) Fail(ErrorKind::kData, path, "too short to resample");
    return next;
  }

  /// The next block of the file into `mono`. A header's frame count is a claim: reads what is there.
  void Decode() {
    const sf_count_t count = sf_readf_float(file.get(), interleaved.data(), block_frames);
    if (count <= 0) return End();
    for (sf_count_t frame = 0; frame < count; ++frame) {
      double sum = 0.0;
      for (int channel = 0; channel < format.channels; ++channel) {
        const double sample = interleaved[static_cast<size_t>(frame * format.channels + channel)];
        power_of_channel[static_cast<size_t>(channel)] += sample * sample;
        if (only_channel == 0 || only_channel == channel + 1) sum += sample;
      }
      if (!std::isfinite(sum)) return EndWith(fmt::format("sample {} is not finite", frames));
      const double mix = only_channel == 0 ? sum / format.channels : sum;
      power += mix * mix;
      peak = std::max(peak, std::abs(mix));
      mono.push_back(static_cast<float>(std::clamp(mix, -1.0, 1.0)));
      ++frames;
    }
  }

  void End() {
    if (sf_error(file.get()) != SF_ERR_NO_ERROR) {
      return EndWith(fmt::format("broken after sample {}: {}", frames, sf_strerror(file.get())));
    }
    const std::string missing = MissingSound(file.get(), format, source.get(), frames);
    if (!missing.empty()) return EndWith("is cut short, " + missing);
    if (frames == 0) return EndWith("holds no samples");
    done = true;
  }

  void EndWith(const std::string& what) {
    fault.emplace(ErrorKind::kData, NulShown(path), NulShown(what));
    done = true;
  }

  const std::string path;
  FileDescriptor source;
  MendedFile mended;  ///< has a descriptor where the file's header has no length
  SF_INFO format = {};
  SoundFile file;
  int32_t rate_hz = 0, only_channel = 0;
  int64_t block_frames = 0;
  std::optional<Resampler> resampler;
  std::vector<float> interleaved, mono, resampled;
  int64_t frames = 0, given = 0;  ///< read of the file, given by Next
  bool done = false;
  std::optional<Error> fault;  ///< what ended it
  double peak = 0.0;
  double power = 0.0;                    ///< of the mix, summed over samples
  std::vector<double> power_of_channel;  ///< the same of each channel
};

Recording::Recording(const std::string& path, int32_t target_rate_hz)
    : impl_(std::make_unique<Impl>(path, target_rate_hz)) {}
Recording::Recording(Recording&&) noexcept = default;
Recording::~Recording() = default;

std::span<const float> Recording::Next() { return impl_->Next(); }
void Recording::Restart(int32_t only_channel) { impl_->Restart(only_channel); }
int32_t Recording::channels() const { return impl_->format.channels; }
int32_t Recording::sample_rate_hz() const { return impl_->rate_hz; }
double Recording::peak() const { return impl_->peak; }

int32_t Recording::LoudestOfCancelling() const {
  const std::vector<double>& powers = impl_->power_of_channel;
  const auto loudest = std::max_element(powers.begin(), powers.end());
  // The mean of two microphones with crossed wires is silence. 30 dB less than the loudest channel is more than different
  // voices can lose.
  const bool cancel =
      powers.size() > 1 && impl_->power < 1e-3 * *loudest / static_cast<double>(powers.size());
  return cancel ? static_cast<int32_t>(loudest - powers.begin()) + 1 : 0;
}

int32_t Recording::RestartWithoutCancelling() {
  if (channels() == 1) return 0;
  while (!impl_->done) {  // a fault will be found again where it is
    impl_->mono.clear();
    impl_->Decode();
  }
  const int32_t channel = LoudestOfCancelling();
  Restart(channel);
  return channel;
}

}  // namespace bisparse::data
