// SPDX-License-Identifier: Apache-2.0
// Spoken commands from processes of espeak-ng and flite; see synthesise.h for what is written.
// Past 400 lines: who speaks, which words, and the running of programs fill one data set.
#include "data/synthesis/synthesise.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <numbers>
#include <set>
#include <sstream>
#include <thread>

#include "data/audio.h"
#include "data/resampler.h"
#include "data/synthesis/phonemes.h"
#include "data/synthesis/process.h"
#include "deploy/base/check.h"
#include "deploy/base/cores.h"
#include "deploy/base/file.h"
#include "deploy/base/random.h"
#include "deploy/base/threads.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;

constexpr int32_t kRateHz = 16000, kEspeakHz = 22050, kFliteHz = 16000;
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

/// Of flite: one voice trains with another, one validates, one tests.
struct FliteVoice {
  const char* name;
  double f0_hz;  ///< as it speaks by itself, about
  Split split;
};
constexpr FliteVoice kFliteVoices[] = {{"awb", 110, Split::kTrain},
                                       {"slt", 170, Split::kTrain},
                                       {"rms", 95, Split::kValidation},
                                       {"kal16", 105, Split::kTest}};
constexpr double kTracts[] = {0.87, 0.93, 1.0, 1.08, 1.16};  ///< shorter ones above 1
constexpr uint32_t kFliteCount = std::size(kFliteVoices) * std::size(kTracts);

enum Stream : uint64_t { kClipStream = 1, kSplitStream = 2, kNoiseStream = 3, kOtherStream = 4 };

struct Clip {
  std::string word, voice, speaker;
  double tract = 0;               ///< 0: spoken by espeak-ng; else by flite
  double stretch = 1, f0_hz = 0;  ///< flite
  int32_t number = 0;             ///< of the speaker's clips of the word
  int32_t speed_wpm = 0, pitch = 0;
  float place = 0, level = 0;  ///< where the word lies in the second (0 … 1), and its peak
  Split split = Split::kTrain;
  std::string Folder() const {
    std::string folder = word;
    std::replace(folder.begin(), folder.end(), ' ', '_');
    return folder;
  }
  std::string File() const { return fmt::format("{}/{}_nohash_{}.wav", Folder(), speaker, number); }
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

Clip EspeakClip(const std::string& word, uint32_t variant, uint32_t accent_turn, int32_t number,
                Split split, CounterRandom& random) {
  const uint32_t accent = (random.Below(kAccentCount) + accent_turn) % kAccentCount;
  return {
      .word = word,
      .voice = fmt::format("{}+{}", kAccents[accent], kVariants[variant]),
      .speaker = fmt::format("{:08x}", static_cast<uint32_t>(MixBits(accent * 1000 + variant + 1))),
      .number = number,
      .speed_wpm = 120 + static_cast<int32_t>(random.Below(71)),
      .pitch = 30 + static_cast<int32_t>(random.Below(41)),
      .place = random.Uniform(),
      .level = 0.2f + 0.6f * random.Uniform(),
      .split = split};
}

Clip FliteClip(const std::string& word, uint32_t speaker, int32_t number, CounterRandom& random) {
  const FliteVoice& voice = kFliteVoices[speaker / std::size(kTracts)];
  const double tract = kTracts[speaker % std::size(kTracts)];
  const double speed = 0.8 + 0.5 * random.Uniform();
  return {.word = word,
          .voice = voice.name,
          .speaker = fmt::format("{:08x}", static_cast<uint32_t>(MixBits(1000000 + speaker))),
          .tract = tract,
          .stretch = tract / speed,
          .f0_hz = voice.f0_hz * (0.85 + 0.35 * random.Uniform()) / std::sqrt(tract),
          .number = number,
          .place = random.Uniform(),
          .level = 0.2f + 0.6f * random.Uniform(),
          .split = voice.split};
}

/// Words in turn; clips of a word visit variants and accents in a fixed order, so that every split
/// has its share. Every second clip is flite's, where both speak.
class Plan {
 public:
  explicit Plan(const SynthesisConfig& config) : config_(config) {
    for (uint32_t v = 0; v < kVariantCount; ++v) {
      const Split split = SplitOfVariant(config.seed, v);
      split_of_variant_.push_back(split);
      if (Speaks(split)) variants_.push_back(v);
    }
    for (uint32_t s = 0; s < kFliteCount; ++s) {
      if (Speaks(kFliteVoices[s / std::size(kTracts)].split)) flite_.push_back(s);
    }
  }

  /// `start`: of the voices, so that words with few clips are not all spoken by the same.
  void AddWord(const std::string& word, int32_t count, uint32_t start) {
    const int engines = (config_.espeak ? 1 : 0) + (config_.flite ? 1 : 0);
    std::map<std::string, int32_t> clips_of;  // so far, by speaker
    for (int32_t i = 0; i < count; ++i) {
      CounterRandom random(config_.seed, {kClipStream, clips.size()});
      const auto turn = static_cast<uint32_t>(i / engines) + start;
      const bool by_flite = config_.flite && (engines == 1 || i % 2 == 1);
      if (by_flite) {
        clips.push_back(FliteClip(word, flite_[turn % flite_.size()], 0, random));
        clips.back().number = clips_of[clips.back().speaker]++;
        continue;
      }
      const uint32_t variant = variants_[turn % variants_.size()];
      const auto round = static_cast<uint32_t>(turn / variants_.size());
      clips.push_back(EspeakClip(word, variant, round, static_cast<int32_t>(round),
                                 split_of_variant_[variant], random));
    }
  }

  std::vector<Clip> clips;

 private:
  bool Speaks(Split split) const {
    switch (config_.voices) {
      case Voices::kAll:
        return true;
      case Voices::kTraining:
        return split == Split::kTrain;
      case Voices::kValidation:
        return split == Split::kValidation;
      case Voices::kTesting:
        return split == Split::kTest;
    }
    return true;
  }

  const SynthesisConfig& config_;
  std::vector<Split> split_of_variant_;
  std::vector<uint32_t> variants_, flite_;  // that speak
};

/// The near misses of config.words and the other words, each once.
std::vector<std::string> ListedWords(const SynthesisConfig& config, const std::string& scratch) {
  std::vector<std::string> words;
  if (config.near_misses + config.other_words == 0) return words;
  const Lexicon lexicon = ReadLexicon(config.word_list, scratch);
  std::vector<Phonemes> taken = PhonemesOf(config.words, scratch);
  std::set<std::string> seen(config.words.begin(), config.words.end());
  seen.insert(config.unknown_words.begin(), config.unknown_words.end());
  const auto add = [&](const std::vector<std::string>& more) {
    for (const std::string& word : more) {
      if (seen.insert(word).second) words.push_back(word);
    }
  };
  int64_t longest = 1;
  for (size_t i = 0; i < config.words.size(); ++i) {
    std::istringstream text(config.words[i]);
    std::vector<std::string> parts;
    for (std::string part; text >> part;) parts.push_back(part);
    longest = std::max(longest, std::ssize(parts));
    add(parts.size() == 1 ? NearestWords(lexicon, taken[i], taken, config.near_misses, config.seed)
                          : NearestPhrases(lexicon, config.words[i], PhonemesOf(parts, scratch),
                                           config.near_misses, config.seed));
  }
  add(longest == 1 ? RandomWords(lexicon, taken, config.other_words, config.seed)
                   : RandomPhrases(lexicon, taken, longest, config.other_words, config.seed));
  return words;
}

std::vector<Clip> PlanClips(const SynthesisConfig& config,
                            const std::vector<std::string>& listed_words) {
  Plan plan(config);
  for (const std::string& word : config.words) plan.AddWord(word, config.clips_per_word, 0);
  for (const std::string& word : config.unknown_words) {
    plan.AddWord(word, std::max(1, config.clips_per_word / 5), 0);
  }
  for (size_t i = 0; i < listed_words.size(); ++i) {
    CounterRandom random(config.seed, {kOtherStream, i});
    plan.AddWord(listed_words[i], config.clips_per_other_word, random.Below(1000));
  }
  return std::move(plan.clips);
}

/// Exit status of the synthesiser.
int Speak(const Clip& clip, const std::string& wav) {
  if (clip.tract > 0) {
    return RunProcess({"flite", "-voice", clip.voice, "--setf",
                       fmt::format("duration_stretch={:.3f}", clip.stretch), "--setf",
                       fmt::format("int_f0_target_mean={:.1f}", clip.f0_hz), "-t", clip.word, "-o",
                       wav});
  }
  return RunProcess({"espeak-ng", "-v", clip.voice, "-s", fmt::format("{}", clip.speed_wpm), "-p",
                     fmt::format("{}", clip.pitch), "-w", wav, "--", clip.word});
}

/// ReadAudio's converter would take as long as espeak-ng takes to speak; this one takes a third of that, and what it leaves
/// out lies 120 dB below or above 7.2 kHz.
std::vector<float> ToClipRate(const std::vector<float>& samples, int32_t rate_hz) {
  return data::Resampled("synthesis", samples, rate_hz, kRateHz, data::ResamplingQuality::kMedium);
}

/// The word without the silence around it, somewhere in a clip of near-silence.
std::vector<float> PlaceInClip(const std::vector<float>& samples, const Clip& clip,
                               int64_t clip_samples) {
  float peak = 0;
  for (const float x : samples) peak = std::max(peak, std::abs(x));
  const auto loud = [&](float x) { return std::abs(x) > 0.02f * peak; };
  const auto first = std::find_if(samples.begin(), samples.end(), loud);
  const auto last = std::find_if(samples.rbegin(), samples.rend(), loud).base();
  const int64_t length = std::min<int64_t>(clip_samples, std::max<int64_t>(0, last - first));
  std::vector<float> placed(static_cast<size_t>(clip_samples), 0.0f);
  const auto begin = static_cast<int64_t>(clip.place * static_cast<float>(clip_samples - length));
  for (int64_t i = 0; i < length; ++i)
    placed[static_cast<size_t>(begin + i)] = first[i] * (clip.level / peak);
  return placed;
}

/// False where the synthesiser has no such voice or says nothing.
bool MakeClip(const Clip& clip, const fs::path& root, int64_t clip_samples) {
  const std::string raw = (root / (clip.File() + ".raw.wav")).string();
  const int status = Speak(clip, raw);
  bool good = false;
  if (status == 0 && fs::exists(raw) && fs::file_size(raw) > 1000) {
    const bool by_flite = clip.tract > 0;
    const std::vector<float> spoken = ReadAudio(raw, by_flite ? kFliteHz : kEspeakHz).samples;
    const std::vector<float> samples = ToClipRate(
        spoken, by_flite ? static_cast<int32_t>(std::lround(kFliteHz * clip.tract)) : kEspeakHz);
    good = std::any_of(samples.begin(), samples.end(), [](float x) { return std::abs(x) > 1e-3f; });
    if (good)
      WriteWav((root / clip.File()).string(), PlaceInClip(samples, clip, clip_samples), kRateHz);
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
  std::string recipe = fmt::format(
      "bisparse-synthesise, layout 1\nwords {}\nunknown {}\nclips_per_word {}\nseed {}\n",
      fmt::join(config.words, " "), fmt::join(config.unknown_words, " "), config.clips_per_word,
      config.seed);
  const SynthesisConfig plain;
  if (config.near_misses + config.other_words > 0) {
    recipe += fmt::format("word_list {}\nnear_misses {}\nother_words {}\nclips_per_other_word {}\n",
                          config.word_list, config.near_misses, config.other_words,
                          config.clips_per_other_word);
  }
  if (config.espeak != plain.espeak || config.flite != plain.flite ||
      config.voices != plain.voices || config.seconds != plain.seconds) {
    recipe += fmt::format("espeak {}\nflite {}\nvoices {}\nseconds {}\n", config.espeak,
                          config.flite, static_cast<int>(config.voices), config.seconds);
  }
  return recipe;
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
      const bool plain = !word.empty() && word.front() != ' ' && word.back() != ' ' &&
                         std::all_of(word.begin(), word.end(), [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ' ';
                         });
      if (!plain)
        Fail(ErrorKind::kConfiguration, "words", "'{}' is not a word or phrase of letters a-z",
             word);
    }
  }
  const auto range = [](const char* what, double value, double min, double max) {
    if (value >= min && value <= max) return;
    Fail(ErrorKind::kConfiguration, what, "{} (allowed: {} … {})", value, min, max);
  };
  range("near misses", config.near_misses, 0, 10000);
  range("other words", config.other_words, 0, 100000);
  range("clips per other word", config.clips_per_other_word, 1, 1000);
  range("seconds", config.seconds, 0.25, 10);
  if (!config.espeak && !config.flite) {
    Fail(ErrorKind::kConfiguration, "engines", "none speaks (allowed: espeak-ng, flite)");
  }
  if (config.near_misses + config.other_words > 0 && config.word_list.empty()) {
    Fail(ErrorKind::kConfiguration, "word list",
         "none to take other words from (hint: /usr/share/dict/words, of the package "
         "wamerican-small)");
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
  SynthesisResult result;
  if (fs::exists(out)) {
    if (!fs::exists(recipe) || ReadTextFile(recipe.string()) != Recipe(config)) {
      Fail(ErrorKind::kData, config.out,
           "exists, but was not made with these settings (hint: choose another --out, or remove "
           "it)");
    }
    result.reused = true;
    for (const auto& entry : fs::recursive_directory_iterator(out)) {
      result.clips += entry.path().filename().string().find("_nohash_") != std::string::npos;
    }
    return result;
  }
  const fs::path partial = out.string() + ".partial";
  MakePartial(partial);
  const std::vector<Clip> clips = PlanClips(config, ListedWords(config, partial.string()));
  for (const Clip& clip : clips) fs::create_directories(partial / clip.Folder());
  WriteNoises(partial / "_background_noise_", config.seed);

  const int cores = UsableCores();
  const auto clip_samples = static_cast<int64_t>(std::lround(config.seconds * kRateHz));
  std::vector<char> made(clips.size(), 0);
  InParallel(static_cast<int64_t>(clips.size()), config.jobs > 0 ? config.jobs : cores,
             config.progress,
             [&](int64_t i) { made[i] = MakeClip(clips[i], partial, clip_samples) ? 1 : 0; });
  result.clips = std::count(made.begin(), made.end(), 1);
  result.skipped = static_cast<int64_t>(clips.size()) - result.clips;
  if (result.skipped * 10 > static_cast<int64_t>(clips.size())) {
    Fail(ErrorKind::kData, "synthesis",
         "failed on {} of {} clips (hint: try espeak-ng -v en-us+m3 yes, flite -voice slt -t yes)",
         result.skipped, clips.size());
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
