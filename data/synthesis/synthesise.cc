// SPDX-License-Identifier: Apache-2.0
// Spoken commands from espeak-ng processes; see synthesise.h for what is written.
#include "data/synthesis/synthesise.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <thread>

#include "data/audio.h"
#include "data/resampler.h"
#include "deploy/base/check.h"
#include "deploy/base/cores.h"
#include "deploy/base/file.h"
#include "deploy/base/random.h"
#include "deploy/base/threads.h"

extern char** environ;

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

constexpr int32_t kRateHz = 16000, kEspeakHz = 22050;
constexpr const char* kAccents[] = {"en-us",      "en-gb",          "en-gb-scotland",
                                    "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029"};
/// Variants that speak like people; robots and sound effects are left out.
constexpr const char* kVariants[] = {
    "m1",     "m2",      "m3",     "m4",      "m5",       "m6",      "m7",       "m8",     "f1",
    "f2",     "f3",      "f4",     "f5",      "adam",     "Alex",    "Alicia",   "Andrea", "Andy",
    "Annie",  "antonio", "aunty",  "belinda", "benjamin", "boris",   "caleb",    "david",  "Denis",
    "Diogo",  "ed",      "edward", "Gene",    "grandma",  "grandpa", "Henrique", "Hugo",   "iven",
    "john",   "Lee",     "linda",  "marcelo", "Marco",    "Mario",   "max",      "michel", "miguel",
    "mike",   "Nguyen",  "pablo",  "paul",    "pedro",    "quincy",  "rob",      "robert", "sandro",
    "shelby", "steph",   "travis", "victor",  "zac",      "norbert"};
constexpr uint32_t kAccentCount = std::size(kAccents), kVariantCount = std::size(kVariants);

enum Stream : uint64_t { kClipStream = 1, kSplitStream = 2, kNoiseStream = 3 };

struct Clip {
  std::string word, voice, speaker;
  int32_t number = 0;  ///< of the speaker's clips of the word
  int32_t speed_wpm = 0, pitch = 0;
  float place = 0, level = 0;  ///< where the word lies in the second (0 … 1), and its peak
  Split split = Split::kTrain;
  std::string File() const { return fmt::format("{}/{}_nohash_{}.wav", word, speaker, number); }
};

/// One variant in ten is for validation, one in ten for testing.
Split SplitOfVariant(uint64_t seed, uint32_t variant) {
  std::vector<uint32_t> order(kVariantCount);
  for (uint32_t i = 0; i < kVariantCount; ++i) order[i] = i;
  CounterRandom random(seed, {kSplitStream});
  for (uint32_t i = kVariantCount - 1; i > 0; --i) std::swap(order[i], order[random.Below(i + 1)]);
  const auto rank =
      static_cast<uint32_t>(std::find(order.begin(), order.end(), variant) - order.begin());
  if (rank < kVariantCount / 10) return Split::kValidation;
  return rank < kVariantCount / 5 ? Split::kTest : Split::kTrain;
}

/// Words in turn; clips of a word visit variants and accents in a fixed order, so that every split
/// has its share.
std::vector<Clip> PlanClips(const SynthesisConfig& config) {
  std::vector<Split> split_of_variant;
  for (uint32_t v = 0; v < kVariantCount; ++v)
    split_of_variant.push_back(SplitOfVariant(config.seed, v));
  std::vector<Clip> clips;
  const auto add_word = [&](const std::string& word, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
      CounterRandom random(config.seed, {kClipStream, clips.size()});
      const uint32_t variant = static_cast<uint32_t>(i) % kVariantCount;
      const uint32_t accent =
          (random.Below(kAccentCount) + static_cast<uint32_t>(i) / kVariantCount) % kAccentCount;
      Clip clip{.word = word,
                .voice = fmt::format("{}+{}", kAccents[accent], kVariants[variant]),
                .speaker = fmt::format("{:08x}",
                                       static_cast<uint32_t>(MixBits(accent * 1000 + variant + 1))),
                .number = i / static_cast<int32_t>(kVariantCount),
                .speed_wpm = 120 + static_cast<int32_t>(random.Below(71)),
                .pitch = 30 + static_cast<int32_t>(random.Below(41)),
                .place = random.Uniform(),
                .level = 0.2f + 0.6f * random.Uniform(),
                .split = split_of_variant[variant]};
      clips.push_back(std::move(clip));
    }
  };
  for (const std::string& word : config.words) add_word(word, config.clips_per_word);
  for (const std::string& word : config.unknown_words)
    add_word(word, std::max(1, config.clips_per_word / 5));
  return clips;
}

/// Exit status of espeak-ng, or an errno as a negative number.
int RunEspeak(const Clip& clip, const std::string& wav) {
  const std::string speed = fmt::format("{}", clip.speed_wpm),
                    pitch = fmt::format("{}", clip.pitch);
  const char* arguments[] = {"espeak-ng",   "-v", clip.voice.c_str(), "-s",
                             speed.c_str(), "-p", pitch.c_str(),      "-w",
                             wav.c_str(),   "--", clip.word.c_str(),  nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error =
      posix_spawnp(&child, "espeak-ng", &actions, nullptr, const_cast<char**>(arguments), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return -error;
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -errno;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/// ReadAudio's converter would take as long as espeak-ng takes to speak; this one takes a third of that, and what it leaves
/// out lies 120 dB below or above 7.2 kHz.
std::vector<float> ToClipRate(const std::vector<float>& samples) {
  return data::Resampled("synthesis", samples, kEspeakHz, kRateHz,
                         data::ResamplingQuality::kMedium);
}

/// The word without the silence around it, somewhere in a second of near-silence.
std::vector<float> PlaceInSecond(const std::vector<float>& samples, const Clip& clip) {
  float peak = 0;
  for (const float x : samples) peak = std::max(peak, std::abs(x));
  const auto loud = [&](float x) { return std::abs(x) > 0.02f * peak; };
  const auto first = std::find_if(samples.begin(), samples.end(), loud);
  const auto last = std::find_if(samples.rbegin(), samples.rend(), loud).base();
  const int64_t length = std::min<int64_t>(kRateHz, std::max<int64_t>(0, last - first));
  std::vector<float> second(kRateHz, 0.0f);
  const auto begin = static_cast<int64_t>(clip.place * static_cast<float>(kRateHz - length));
  for (int64_t i = 0; i < length; ++i)
    second[static_cast<size_t>(begin + i)] = first[i] * (clip.level / peak);
  return second;
}

/// False where espeak-ng has no such voice or says nothing.
bool MakeClip(const Clip& clip, const fs::path& root) {
  const std::string raw = (root / (clip.File() + ".raw.wav")).string();
  const int status = RunEspeak(clip, raw);
  if (status == -ENOENT || status == 127) {
    Fail(ErrorKind::kData, "espeak-ng",
         "the program is not on the PATH (hint: apt-get install espeak-ng)");
  }
  if (status < 0) FailErrno("espeak-ng", "can't run", -status);
  bool good = false;
  if (status == 0 && fs::exists(raw) && fs::file_size(raw) > 1000) {
    const std::vector<float> samples = ToClipRate(ReadAudio(raw, kEspeakHz).samples);
    good = std::any_of(samples.begin(), samples.end(), [](float x) { return std::abs(x) > 1e-3f; });
    if (good) WriteWav((root / clip.File()).string(), PlaceInSecond(samples, clip), kRateHz);
  }
  fs::remove(raw);
  return good;
}

/// Runs `work(i)` for i in [0, count) on `jobs` threads; the first exception stops all and is
/// rethrown.
template <typename Work>
void InParallel(int64_t count, int jobs, const ProgressFunction& progress, const Work& work) {
  std::atomic<int64_t> next{0}, done{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  std::vector<std::jthread> threads;
  StartThreads(threads, jobs, [&] {
    for (int64_t i = next++; i < count && !failed; i = next++) {
      try {
        work(i);
        ++done;
      } catch (...) {
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  });
  while (done < count && !failed) {
    if (progress) progress(done, count);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  threads.clear();
  if (failure) std::rethrow_exception(failure);
  if (progress) progress(count, count);
}

/// Pink noise is white noise through the leaky sums of six decades (Voss); hum is 50 Hz with odd
/// harmonics.
void WriteNoises(const fs::path& folder, uint64_t seed) {
  constexpr int64_t kSamples = 10 * kRateHz;
  fs::create_directories(folder);
  std::vector<float> white(kSamples), pink(kSamples), hum(kSamples);
  CounterRandom random(seed, {kNoiseStream});
  float rows[12] = {};
  for (int64_t i = 0; i < kSamples; ++i) {
    white[i] = 0.1f * random.Normal();
    for (int row = 0; row < 12; ++row) {
      if (i % (int64_t{1} << row) == 0) rows[row] = random.Normal();
      pink[i] += 0.03f * rows[row];
    }
    for (int harmonic = 1; harmonic <= 9; harmonic += 2) {
      const double angle =
          2.0 * std::numbers::pi * 50.0 * harmonic * static_cast<double>(i) / kRateHz;
      hum[i] += static_cast<float>(0.1 * std::sin(angle) / harmonic);
    }
    hum[i] += 0.005f * random.Normal();
  }
  WriteWav((folder / "white_noise.wav").string(), white, kRateHz);
  WriteWav((folder / "pink_noise.wav").string(), pink, kRateHz);
  WriteWav((folder / "mains_hum.wav").string(), hum, kRateHz);
}

/// What the folder was made with; written last, compared by a later call.
std::string Recipe(const SynthesisConfig& config) {
  return fmt::format(
      "bisparse-synthesise, layout 1\nwords {}\nunknown {}\nclips_per_word {}\nseed {}\n",
      fmt::join(config.words, " "), fmt::join(config.unknown_words, " "), config.clips_per_word,
      config.seed);
}

void CheckConfig(const SynthesisConfig& config) {
  if (config.words.empty() || config.clips_per_word < 1 || config.clips_per_word > 100000 ||
      config.out.empty()) {
    Fail(ErrorKind::kConfiguration, config.out,
         "{} words with {} clips each (allowed: at least one word, 1 … 100000 clips)",
         config.words.size(), config.clips_per_word);
  }
  for (const auto* list : {&config.words, &config.unknown_words}) {
    for (const std::string& word : *list) {
      const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      });
      if (!plain)
        Fail(ErrorKind::kConfiguration, "words", "'{}' is not a word of letters a-z", word);
    }
  }
}

/// Stands in the folder until it is whole: a folder without it is somebody else's.
constexpr const char* kMarker = "unfinished";

/// An empty folder to work in; what a run that was ended left there goes.
void MakePartial(const fs::path& partial) {
  const bool there = fs::exists(fs::symlink_status(partial));
  if (there && !fs::exists(partial / kMarker) &&
      !(fs::is_directory(partial) && fs::is_empty(partial))) {
    Fail(ErrorKind::kData, partial.string(),
         "is in the way, and not from a run that was ended (hint: choose another --out, or remove "
         "it)");
  }
  fs::remove_all(partial);
  fs::create_directories(partial);
  WriteFileAtomically((partial / kMarker).string(), std::string_view());
}

}  // namespace

SynthesisResult Synthesise(const SynthesisConfig& config) {
  CheckConfig(config);
  fs::path out = config.out;
  if (!out.has_filename()) out = out.parent_path();  // "speech/"
  const fs::path recipe = out / "recipe.txt";
  const std::vector<Clip> clips = PlanClips(config);
  SynthesisResult result;
  if (fs::exists(out)) {
    if (!fs::exists(recipe) || ReadTextFile(recipe.string()) != Recipe(config)) {
      Fail(ErrorKind::kData, config.out,
           "exists, but was not made with these settings (hint: choose another --out, or remove "
           "it)");
    }
    result.reused = true;
    result.clips = static_cast<int64_t>(clips.size());
    return result;
  }
  const fs::path partial = out.string() + ".partial";
  MakePartial(partial);
  for (const Clip& clip : clips) fs::create_directories(partial / clip.word);
  WriteNoises(partial / "_background_noise_", config.seed);

  const int cores = UsableCores();
  std::vector<char> made(clips.size(), 0);
  InParallel(static_cast<int64_t>(clips.size()), config.jobs > 0 ? config.jobs : cores,
             config.progress, [&](int64_t i) { made[i] = MakeClip(clips[i], partial) ? 1 : 0; });
  result.clips = std::count(made.begin(), made.end(), 1);
  result.skipped = static_cast<int64_t>(clips.size()) - result.clips;
  if (result.skipped * 10 > static_cast<int64_t>(clips.size())) {
    Fail(ErrorKind::kData, "espeak-ng",
         "failed on {} of {} clips (hint: try espeak-ng -v en-us+m3 yes)", result.skipped,
         clips.size());
  }
  std::string validation, testing;
  std::vector<std::string> speakers;
  for (size_t i = 0; i < clips.size(); ++i) {
    if (!made[i]) continue;
    speakers.push_back(clips[i].speaker);
    if (clips[i].split == Split::kValidation) validation += clips[i].File() + "\n";
    if (clips[i].split == Split::kTest) testing += clips[i].File() + "\n";
  }
  std::sort(speakers.begin(), speakers.end());
  result.speakers = std::unique(speakers.begin(), speakers.end()) - speakers.begin();
  WriteFileAtomically((partial / "validation_list.txt").string(), validation);
  WriteFileAtomically((partial / "testing_list.txt").string(), testing);
  WriteFileAtomically((partial / "recipe.txt").string(), Recipe(config));
  fs::remove(partial / kMarker);
  fs::rename(partial, out);
  return result;
}

}  // namespace bisparse::data
