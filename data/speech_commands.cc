// SPDX-License-Identifier: Apache-2.0
// Opening of Speech Commands (which clips, which slots, what is left out) and its samples. Past 400
// lines: these steps fill one object.
// Read first: speech_commands.h. Tested in: speech_commands_test.cc.
#include "data/speech_commands.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "data/audio.h"
#include "data/augment.h"
#include "data/clip_store.h"
#include "data/feature_cache.h"
#include "data/sample_table.h"
#include "data/speakers.h"
#include "data/speech_commands_layout.h"
#include "data/splice.h"
#include "deploy/base/check.h"
#include "deploy/base/random.h"
#include "deploy/frontend/log_mel.h"

namespace bisparse::data {
namespace {

// What random numbers are for; the first part of every stream.
constexpr uint64_t kSampleStream = 0x73616d706c65, kPoolStream = 0x706f6f6c,
                   kNoiseStream = 0x6e6f697365;
// Which clips are validated must not depend on a run's seed.
constexpr uint64_t kFixedSeed = 1;
constexpr int64_t kPoolPerSlot = 8;
constexpr std::array kSplits = {Split::kTrain, Split::kValidation, Split::kTest};
constexpr std::array kRead = {Split::kTrain, Split::kValidation, Split::kTest, Split::kHeldOut};
constexpr double kTrimMsMin = 0, kTrimMsMax = 200;  // left around a word that is trimmed

/// A recording of a word that is no class: the folder that it comes from (0: root, then the others), and its word.
struct OtherWord {
  std::string path;
  size_t folder = 0;
  std::string word;
};

/// The recordings of one split before decoding.
struct SplitPaths {
  std::vector<std::pair<std::string, int32_t>> words;  // path, label
  std::vector<OtherWord> unknown;
  std::vector<std::string> silence;
  int64_t size() const { return std::ssize(words) + std::ssize(unknown) + std::ssize(silence); }
};

struct SplitSamples {
  struct Word {
    int32_t clip, label;
  };
  std::vector<Word> words;
  std::vector<int32_t> unknown_pool, silence_clips;  // clips
  /// With UnknownDraw::kWords, of kTrain: unknown_pool by folder and word.
  std::vector<std::vector<std::vector<int32_t>>> unknown_fwc;
  int64_t unknown_slots = 0, silence_slots = 0;
  NoiseBank noise;
  int64_t size() const { return std::ssize(words) + unknown_slots + silence_slots; }
};

int64_t SlotCount(const ExtraClassConfig& extra, int64_t word_clips, int64_t word_count) {
  switch (extra.amount) {
    case ExtraAmount::kNone:
      return 0;
    case ExtraAmount::kBalanced:
      return word_count == 0 ? 0 : (word_clips + word_count / 2) / word_count;
    case ExtraAmount::kFraction:
      return static_cast<int64_t>(std::ceil(extra.fraction * static_cast<double>(word_clips)));
  }
  return 0;
}

void Shuffle(std::vector<OtherWord>& paths, uint64_t stream) {
  CounterRandom random(kFixedSeed, {kPoolStream, stream});
  for (int64_t i = std::ssize(paths) - 1; i > 0; --i) {
    std::swap(paths[i], paths[IndexBelow(random, i + 1)]);
  }
}

class SpeechCommands : public Dataset {
 public:
  SpeechCommands(const DatasetConfig& config, const FrontEnd& front_end, const OpenOptions& options)
      : config_(config.speech_commands),
        augment_(config.augment),
        perturbed_copies_(options.validation ? config.perturbed_copies : 0),
        seed_(options.seed),
        log_mel_(front_end) {
    std::map<Split, SplitPaths> paths;
    for (Split split : kSplits) paths[split];
    paths[Split::kHeldOut];
    const bool own_test = config_.test_root.empty();
    const bool from_root = options.train || options.validation || (options.test && own_test);
    std::optional<WordFolders> root, test;
    if (from_root) {
      if (config_.root.empty()) {
        Fail(ErrorKind::kConfiguration, "data", "no folder of recordings is given");
      }
      root = ScanWordFolders(config_.root);
    }
    if (options.test && !own_test) test = ScanWordFolders(config_.test_root);
    NameClasses(root ? *root : *test);
    std::vector<WordFolders> others;
    if (options.train) {
      for (const std::string& other : config_.other_roots) others.push_back(ScanWordFolders(other));
    }
    if (root) AddArchive(*root, others, paths);
    if (test) AddTestSet(*test, paths[Split::kTest]);
    if (!options.train) paths[Split::kHeldOut] = {};
    for (Split split : kSplits) {
      if (Wanted(split, options)) continue;
      if (const int64_t count = paths[split].size(); count > 0) {
        counts_.notes.push_back(
            fmt::format("{}: {} recordings, not opened", SplitName(split), count));
      }
      paths[split] = {};
    }
    Decode(paths, config.strict, options);
    for (const auto* folders : {&root, &test}) {
      if (*folders) CountFiles(**folders);
    }
    if (root && config_.silence.amount != ExtraAmount::kNone) {
      LoadBackground(*root, others, config.strict);
      AddSilenceSlots(options, own_test);
    } else if (root && (perturbed_copies_ > 0 || (options.train && augment_.enabled &&
                                                  augment_.background_probability > 0))) {
      LoadBackground(*root, others, config.strict);
    }
    Cache(Split::kHeldOut).Resize(size(Split::kHeldOut), shape().elements());
    for (Split split : kSplits) {
      if (split != Split::kTrain) Cache(split).Resize(size(split), shape().elements());
      if (!Wanted(split, options)) continue;
      auto& counts = counts_.of_split[static_cast<size_t>(split)];
      for (int64_t i = 0; i < size(split); ++i) ++counts[Label(split, i)].used;
      for (std::string& warning : ClassWarnings(*this, split)) {
        warnings_.push_back(std::move(warning));
      }
    }
    WarnOfRecordings();
    Cache(Split::kPerturbed).Resize(size(Split::kPerturbed), shape().elements());
  }

  Shape shape() const override { return log_mel_.shape(); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int64_t size(Split split) const override {
    return Samples(split).size() * (split == Split::kPerturbed ? perturbed_copies_ : 1);
  }

  int32_t Label(Split split, int64_t index) const override {
    const SplitSamples& samples = Samples(split);
    BISPARSE_CHECK(index >= 0 && index < size(split));
    index %= samples.size();
    if (index < std::ssize(samples.words)) return samples.words[index].label;
    index -= std::ssize(samples.words);
    return index < samples.unknown_slots ? unknown_label_ : silence_label_;
  }

  void Features(Split split, int64_t index, uint64_t epoch,
                std::span<float> features_hwc) const override {
    BISPARSE_CHECK(index >= 0 && index < size(split));
    BISPARSE_CHECK(std::ssize(features_hwc) == shape().elements());
    if (split != Split::kTrain) {
      Cache(split).Get(index, features_hwc,
                       [&](std::span<float> features) { Compute(split, index, 0, features); });
      return;
    }
    Compute(split, index, epoch, features_hwc);
  }

  void NoisyFeatures(Split split, int64_t index, double alpha,
                     std::span<float> features_hwc) const override {
    BISPARSE_CHECK(split != Split::kTrain && index >= 0 && index < size(split));
    const FrontEnd& front_end = log_mel_.front_end();
    const auto stream = static_cast<uint64_t>(split), at = static_cast<uint64_t>(index);
    CounterRandom silence(kFixedSeed, {kSampleStream, stream, 0, at});
    CounterRandom noise(kFixedSeed, {kNoiseStream, stream, at});
    static thread_local std::vector<float> cut, waveform;
    const int32_t clip = ClipOf(split, index, 0);
    if (clip < 0) CutSilence(split, index, silence, cut);
    const std::span<const float> source = clip < 0 ? cut : FloatsOf(store_.clips[clip].pcm);
    waveform.resize(front_end.clip_samples);
    const int64_t first = ClipStart(front_end.align, std::ssize(source), front_end.clip_samples);
    for (int64_t i = 0; i < front_end.clip_samples; ++i) {
      const int64_t from = first + i;
      const float sample = from >= 0 && from < std::ssize(source) ? source[from] : 0.0f;
      const double uniform = UniformIn(noise, -1.0, 1.0);
      waveform[i] = static_cast<float>((1.0 - alpha) * sample + alpha * uniform);
    }
    log_mel_.Compute(waveform, features_hwc);
  }

  std::string Describe(Split split, int64_t index, uint64_t epoch) const override {
    const int32_t clip = ClipOf(split, index, epoch);
    if (clip >= 0) return store_.clips[clip].path;
    return std::string(kBackgroundFolder) + " (a random cut)";
  }

 private:
  /// Perturbed samples are the validation samples, copy after copy.
  const SplitSamples& Samples(Split split) const {
    return samples_[split == Split::kPerturbed ? static_cast<size_t>(Split::kValidation)
                    : split == Split::kHeldOut ? kSplits.size()
                                               : static_cast<size_t>(split)];
  }
  SplitSamples& Samples(Split split) {
    return const_cast<SplitSamples&>(std::as_const(*this).Samples(split));
  }
  static bool Wanted(Split split, const OpenOptions& options) {
    return split == Split::kTrain || split == Split::kHeldOut ? options.train
           : split == Split::kValidation                      ? options.validation
                                                              : options.test;
  }
  FeatureCache& Cache(Split split) const { return caches_[static_cast<size_t>(split)]; }

  void NameClasses(const WordFolders& folders) {
    if (config_.words.empty()) {
      for (const auto& [word, paths] : folders.words) class_names_.push_back(word);
    } else {
      class_names_ = config_.words;
    }
    word_count_ = std::ssize(class_names_);
    for (int32_t label = 0; label < word_count_; ++label) labels_[class_names_[label]] = label;
    const auto add_class = [&](const ExtraClassConfig& extra, const char* name) {
      if (extra.amount == ExtraAmount::kNone) return int32_t{-1};
      class_names_.push_back(name);
      return static_cast<int32_t>(class_names_.size()) - 1;
    };
    // With every word listed there is nothing left to be unknown.
    if (!config_.words.empty()) unknown_label_ = add_class(config_.unknown, kUnknownClass);
    silence_label_ = add_class(config_.silence, kSilenceClass);
  }

  void AddArchive(const WordFolders& root, const std::vector<WordFolders>& others,
                  std::map<Split, SplitPaths>& paths) {
    for (const std::string& word : config_.words) {
      if (root.words.count(word) != 0) continue;
      std::string known;
      for (const auto& [name, clips] : root.words)
        known.append(known.empty() ? "" : " ").append(name);
      Fail(ErrorKind::kData, config_.root, "has no recordings of the word '{}', only of: {}", word,
           known);
    }
    const SplitRule rule(config_, root);
    warnings_.insert(warnings_.end(), rule.warnings().begin(), rule.warnings().end());
    int64_t other_words = 0;
    for (const auto& [word, clips] : root.words) {
      const auto label = labels_.find(word);
      if (label == labels_.end()) {
        other_words += std::ssize(clips);
        if (unknown_label_ < 0) continue;
      }
      const bool held_out = HeldOut(word);
      for (const std::string& path : clips) {
        const Split of = rule.Of(path);
        if (held_out) {
          AddHeldOut(root, {path, 0, word}, of, paths);
        } else if (label != labels_.end()) {
          paths[of].words.emplace_back(path, label->second);
        } else {
          paths[of].unknown.push_back({path, 0, word});
        }
      }
    }
    other_words -= paths[Split::kHeldOut].size();
    for (size_t i = 0; i < others.size(); ++i) AddOthers(others[i], i + 1, paths);
    RequireHeldOut(paths[Split::kHeldOut], others);
    if (unknown_label_ >= 0) {
      for (const std::string& path : root.unknown) {
        paths[rule.Of(path)].unknown.push_back({path, 0, kUnknownClass});
      }
      other_words += std::ssize(root.unknown);
    } else {
      LeftOut(root.root, kUnknownClass, std::ssize(root.unknown), "no such class");
    }
    LeftOut(root.root, kSilenceClass, std::ssize(root.silence),
            silence_label_ < 0 ? "no such class" : "silence is cut from _background_noise_");
    int64_t taken = 0;
    for (Split split : kSplits) {
      SplitPaths& of_split = paths[split];
      Shuffle(of_split.unknown, static_cast<uint64_t>(split));
      const int64_t slots = SlotCount(config_.unknown, std::ssize(of_split.words), word_count_);
      const int64_t pool = split == Split::kTrain ? slots * kPoolPerSlot : slots;
      const bool all = split == Split::kTrain && config_.unknown_draw == UnknownDraw::kWords;
      if (!all && std::ssize(of_split.unknown) > pool) of_split.unknown.resize(pool);
      taken += std::count_if(of_split.unknown.begin(), of_split.unknown.end(),
                             [](const OtherWord& clip) { return clip.folder == 0; });
    }
    if (other_words > taken) {
      counts_.notes.push_back(
          fmt::format("{} of {} recordings of words that are no class are left out{}",
                      other_words - taken, other_words,
                      unknown_label_ < 0 ? "" : fmt::format(" ({} has its share)", kUnknownClass)));
    }
  }

  bool HeldOut(const std::string& word) const {
    const std::vector<std::string>& words = config_.held_out_words;
    return std::find(words.begin(), words.end(), word) != words.end();
  }

  void AddHeldOut(const WordFolders& folders, OtherWord clip, Split split,
                  std::map<Split, SplitPaths>& paths) const {
    if (split == Split::kValidation || (split == Split::kTrain && !folders.has_validation_list)) {
      paths[Split::kHeldOut].unknown.push_back(std::move(clip));
    }
  }

  /// One of config_.other_roots: what it has for training, and the words held out.
  void AddOthers(const WordFolders& folders, size_t folder, std::map<Split, SplitPaths>& paths) {
    SpeechCommandsConfig config = config_;
    config.root = folders.root;
    config.validation_percent = config.testing_percent = 0;
    const SplitRule rule(config, folders);
    warnings_.insert(warnings_.end(), rule.warnings().begin(), rule.warnings().end());
    int64_t words = 0, unknown = 0, left_out = 0;
    const auto add = [&](const std::string& word, const std::string& path) {
      Split split = rule.Of(path);
      if (!folders.has_validation_list && split == Split::kTrain &&
          path.find("_nohash_") != std::string::npos) {
        split = SplitOfSpeaker(path, config_.validation_percent, config_.testing_percent);
      }
      const auto label = labels_.find(word);
      if (HeldOut(word)) {
        AddHeldOut(folders, {path, folder, word}, split, paths);
      } else if (split != Split::kTrain) {
        ++left_out;
      } else if (label != labels_.end()) {
        paths[split].words.emplace_back(path, label->second);
        ++words;
      } else {
        paths[split].unknown.push_back({path, folder, word});
        ++unknown;
      }
    };
    for (const auto& [word, clips] : folders.words) {
      for (const std::string& path : clips) add(word, path);
    }
    for (const std::string& path : folders.unknown) add(kUnknownClass, path);
    counts_.notes.push_back(fmt::format(
        "{}: {} recordings of words and {} of other words for training{}", folders.root, words,
        unknown,
        left_out == 0 ? ""
                      : fmt::format(", {} by speakers who are held out are left out", left_out)));
  }

  /// Throws Error (kData) for a word without a recording, which is misspelt.
  void RequireHeldOut(const SplitPaths& held_out, const std::vector<WordFolders>& others) {
    if (config_.held_out_words.empty() || (others.empty() && !config_.other_roots.empty())) return;
    for (const std::string& word : config_.held_out_words) {
      const auto is_word = [&](const OtherWord& clip) { return clip.word == word; };
      if (std::any_of(held_out.unknown.begin(), held_out.unknown.end(), is_word)) continue;
      Fail(ErrorKind::kData, "data.held_out_words",
           "no recording of '{}' is left for validation in {}{}{}", word, config_.root,
           config_.other_roots.empty() ? "" : ", ", fmt::join(config_.other_roots, ", "));
    }
    counts_.notes.push_back(fmt::format("held out: {} recordings of {} words", held_out.size(),
                                        config_.held_out_words.size()));
  }

  /// Recordings of one of the special folders that have no use.
  void LeftOut(const std::string& root, const char* folder, int64_t count, const char* reason) {
    if (count == 0) return;
    warnings_.push_back(
        fmt::format("{}: left out {} recordings of {}: {}", root, count, folder, reason));
  }

  void AddTestSet(const WordFolders& test, SplitPaths& paths) {
    paths = {};
    std::string left_out;
    const auto leave_out = [&](const std::string& folder, size_t count) {
      if (count > 0)
        left_out += fmt::format("{}{} ({})", left_out.empty() ? "" : ", ", folder, count);
    };
    for (const auto& [word, clips] : test.words) {
      if (const auto label = labels_.find(word); label != labels_.end()) {
        for (const std::string& path : clips) paths.words.emplace_back(path, label->second);
      } else if (unknown_label_ >= 0) {
        for (const std::string& path : clips) paths.unknown.push_back({path, 0, word});
      } else {
        leave_out(word, clips.size());
      }
    }
    if (unknown_label_ >= 0) {
      for (const std::string& path : test.unknown)
        paths.unknown.push_back({path, 0, kUnknownClass});
    } else {
      leave_out(kUnknownClass, test.unknown.size());
    }
    if (silence_label_ >= 0) {
      paths.silence = test.silence;
    } else {
      leave_out(kSilenceClass, test.silence.size());
    }
    if (paths.size() == 0) {
      std::string classes;
      for (const std::string& name : class_names_) classes += " " + name;
      Fail(ErrorKind::kData, config_.test_root,
           "has no recordings of the classes{}, only of what is no class: {}", classes, left_out);
    }
    if (!left_out.empty()) {
      warnings_.push_back(config_.test_root +
                          ": left out recordings of what is no class: " + left_out);
    }
  }

  void Decode(const std::map<Split, SplitPaths>& paths, bool strict, const OpenOptions& options) {
    std::vector<std::string> all;
    std::vector<bool> whole;
    for (Split split : kRead) {
      const SplitPaths& of_split = paths.at(split);
      for (const auto& [path, label] : of_split.words) all.push_back(path);
      for (const OtherWord& clip : of_split.unknown) {
        // Of talk, any window is another clip.
        whole.resize(all.size());
        whole.push_back(split == Split::kTrain && clip.folder > 0 && augment_.enabled);
        all.push_back(clip.path);
      }
      all.insert(all.end(), of_split.silence.begin(), of_split.silence.end());
    }
    whole.resize(all.size());
    store_ = DecodeClips(all, whole, log_mel_.front_end(), strict, options);
    skipped_ = store_.skipped;
    counts_.opened = std::ssize(all);
    int32_t clip = 0;
    const auto take = [&](ClassCount& count, const auto& add) {
      if (!store_.clips[clip].pcm.empty()) add(clip);
      Count(store_.clips[clip], count);
      ++clip;
    };
    std::vector<ClassCount> of_held_out;  // a note tells how many there are
    for (Split split : kRead) {
      if (!Wanted(split, options)) continue;
      const SplitPaths& from = paths.at(split);
      SplitSamples& to = Samples(split);
      auto& counts =
          split == Split::kHeldOut ? of_held_out : counts_.of_split[static_cast<size_t>(split)];
      counts.resize(class_names_.size());
      for (const auto& [path, label] : from.words) {
        take(counts[label], [&, l = label](int32_t c) { to.words.push_back({c, l}); });
      }
      std::map<std::pair<size_t, std::string>, std::vector<int32_t>> by_word;
      for (const OtherWord& other : from.unknown) {
        take(counts[unknown_label_], [&](int32_t c) {
          to.unknown_pool.push_back(c);
          by_word[{other.folder, other.word}].push_back(c);
        });
      }
      if (split == Split::kTrain && config_.unknown_draw == UnknownDraw::kWords) {
        size_t last = SIZE_MAX;
        for (auto& [place, clips] : by_word) {
          if (place.first != std::exchange(last, place.first)) to.unknown_fwc.emplace_back();
          to.unknown_fwc.back().push_back(std::move(clips));
        }
      }
      for (size_t i = 0; i < from.silence.size(); ++i) {
        take(counts[silence_label_], [&](int32_t c) { to.silence_clips.push_back(c); });
      }
      to.unknown_slots = std::ssize(to.unknown_pool);
      if (split == Split::kTrain) {
        to.unknown_slots = std::min(to.unknown_slots,
                                    SlotCount(config_.unknown, std::ssize(to.words), word_count_));
      }
      to.silence_slots = std::ssize(to.silence_clips);
    }
  }

  /// Each split's own part of every background recording, so that no cut is in two splits.
  void LoadBackground(const WordFolders& root, const std::vector<WordFolders>& others,
                      bool strict) {
    std::vector<std::string> paths = root.background;
    for (const WordFolders& other : others) {
      paths.insert(paths.end(), other.background.begin(), other.background.end());
    }
    for (const std::string& path : paths) {
      Audio audio;
      try {
        audio = ReadAudio(path, log_mel_.front_end().sample_rate_hz);
      } catch (const Error& error) {
        if (strict) throw;
        skipped_.push_back({path, error.what()});
        continue;
      }
      constexpr double kFrom[] = {0.0, 0.8, 0.9}, kTo[] = {0.8, 0.9, 1.0};
      const auto count = static_cast<double>(audio.samples.size());
      for (size_t split = 0; split < kSplits.size(); ++split) {
        const auto begin = audio.samples.begin();
        samples_[split].noise.Add({begin + static_cast<int64_t>(kFrom[split] * count),
                                   begin + static_cast<int64_t>(kTo[split] * count)});
      }
    }
  }

  void AddSilenceSlots(const OpenOptions& options, bool own_test) {
    if (Samples(Split::kTrain).noise.empty() && !options.digital_silence) return;
    if (Samples(Split::kTrain).noise.empty()) {
      warnings_.push_back(config_.root + ": " + kBackgroundFolder +
                          " holds no recordings, so every clip of _silence_ is digital silence");
    }
    for (Split split : kSplits) {
      if (!Wanted(split, options) || (split == Split::kTest && !own_test)) continue;
      const int64_t slots =
          SlotCount(config_.silence, std::ssize(Samples(split).words), word_count_);
      Samples(split).silence_slots = slots;
      counts_.silence_made += slots;
      counts_.notes.push_back(fmt::format(
          "{}: {} clips of {} are {}", SplitName(split), slots, kSilenceClass,
          Samples(split).noise.empty() ? "digital silence" : "cut from _background_noise_"));
    }
  }

  void Count(const Clip& clip, ClassCount& count) const {
    const FrontEnd& front_end = log_mel_.front_end();
    if (clip.pcm.empty()) {
      ++count.broken;
      return;
    }
    const int64_t excess = clip.length - front_end.clip_samples;
    count.longer += excess > front_end.hop_samples ? 1 : 0;
    count.shorter += excess < -front_end.hop_samples ? 1 : 0;
    count.silent += clip.silent ? 1 : 0;
  }

  /// What the scan passed over.
  void CountFiles(const WordFolders& folders) {
    counts_.recordings += folders.recordings();
    warnings_.insert(warnings_.end(), folders.warnings.begin(), folders.warnings.end());
    counts_.passed_over.resize(class_names_.size());
    PassedOver all;
    for (const auto& [folder, files] : folders.passed_over) {
      const auto name = std::find(class_names_.begin(), class_names_.end(), folder);
      for (const auto& [kind, count] : files) {
        all[kind] += count;
        if (name != class_names_.end()) counts_.passed_over[name - class_names_.begin()] += count;
      }
    }
    if (!all.empty()) {
      counts_.notes.push_back(
          fmt::format("passed over in {}: {}", folders.root, PassedOverText(all)));
    }
  }

  /// Recordings of which a part is not heard, or not as it is.
  void WarnOfRecordings() {
    const FrontEnd& front_end = log_mel_.front_end();
    int64_t longer = 0, loud = 0, cancelled = 0;
    const Clip *loudest = nullptr, *first = nullptr;
    for (const Clip& clip : store_.clips) {
      if (clip.pcm.empty()) continue;
      if (!clip.whole)
        longer += clip.length - front_end.clip_samples > front_end.hop_samples ? 1 : 0;
      loud += clip.peak > 1 ? 1 : 0;
      if (clip.peak > (loudest == nullptr ? 1 : loudest->peak)) loudest = &clip;
      cancelled += clip.only_channel > 0 ? 1 : 0;
      if (clip.only_channel > 0 && first == nullptr) first = &clip;
    }
    if (longer > 0) {
      constexpr const char* kPart[] = {"beginning", "middle", "end"};
      warnings_.push_back(
          fmt::format("{} of {} recordings are longer than a clip of {:.4g} s: the {} of each is "
                      "heard, the rest "
                      "is not (hint: front_end.align, front_end.clip_samples, or cut them)",
                      longer, store_.clips.size(),
                      static_cast<double>(front_end.clip_samples) / front_end.sample_rate_hz,
                      kPart[static_cast<size_t>(front_end.align)]));
    }
    if (loud > 0) {
      warnings_.push_back(fmt::format(
          "{} recordings exceed full scale and are clipped, most of all {}, {:.4g} times (hint: "
          "floats belong into [-1, 1])",
          loud, loudest->path, loudest->peak));
    }
    if (cancelled > 0) {
      warnings_.push_back(fmt::format(
          "{} recordings have channels that cancel each other out, one of them is heard; the first "
          "is {}",
          cancelled, first->path));
    }
  }

  /// The recording that a sample comes from, or −1 for a cut from the background.
  int32_t ClipOf(Split split, int64_t index, uint64_t epoch) const {
    const SplitSamples& samples = Samples(split);
    index %= samples.size();
    if (index < std::ssize(samples.words)) return samples.words[index].clip;
    index -= std::ssize(samples.words);
    if (index < samples.unknown_slots) {
      const uint64_t pool = samples.unknown_pool.size();
      const uint64_t turn = split == Split::kTrain ? epoch : 0;
      if (!samples.unknown_fwc.empty()) {
        uint64_t place =
            turn * static_cast<uint64_t>(samples.unknown_slots) + static_cast<uint64_t>(index);
        const auto next = [&](const auto& list) -> decltype(auto) {
          const uint64_t at = place % list.size();
          place /= list.size();
          return list[at];
        };
        return next(next(next(samples.unknown_fwc)));
      }
      return samples.unknown_pool[(turn % pool * samples.unknown_slots + index) % pool];
    }
    index -= samples.unknown_slots;
    return samples.silence_clips.empty() ? -1 : samples.silence_clips[index];
  }

  void Compute(Split split, int64_t index, uint64_t epoch, std::span<float> features_hwc) const {
    const FrontEnd& front_end = log_mel_.front_end();
    const bool augmented = split == Split::kTrain && augment_.enabled;
    const uint64_t turn = augmented ? epoch : 0;
    CounterRandom random(
        split == Split::kTrain ? seed_ : kFixedSeed,
        {kSampleStream, static_cast<uint64_t>(split), turn, static_cast<uint64_t>(index)});
    static thread_local std::vector<float> cut, waveform;
    const int32_t clip = ClipOf(split, index, epoch);
    if (clip < 0) CutSilence(split, index, random, cut);
    std::span<const float> source = clip < 0 ? cut : FloatsOf(store_.clips[clip].pcm);
    if (augmented && clip >= 0) source = AnotherSource(Label(split, index), source, random);
    const auto change = [&](const auto& how) {
      waveform.resize(front_end.clip_samples);
      how(front_end.sample_rate_hz, Samples(split).noise, source,
          ClipStart(front_end.align, std::ssize(source), front_end.clip_samples), random, waveform);
      log_mel_.Compute(waveform, features_hwc);
    };
    if (split == Split::kPerturbed) {
      // Each copy of a clip goes through another perturbation.
      const int64_t size = Samples(split).size();
      const Perturbation kind = PerturbationOf(index % size + index / size);
      change([&](auto&&... rest) { PerturbWaveform(kind, rest...); });
    } else if (augmented && clip >= 0) {
      change([&](auto&&... rest) { AugmentWaveform(augment_, rest...); });
    } else {
      log_mel_.Compute(source, features_hwc);
    }
    if (augmented) MaskFeatures(augment_, shape(), random, features_hwc);
  }

  /// What a training sample is made of: its recording (of a long one any part), trimmed, or in its place a listed word that is reversed or
  /// spliced. Valid until the thread's next call.
  std::span<const float> AnotherSource(int32_t label, std::span<const float> recording,
                                       CounterRandom& random) const {
    // Nothing is drawn for what is switched off: samples stay what they were.
    const SplitSamples& samples = Samples(Split::kTrain);
    const double reversed = augment_.reversed_probability, spliced = augment_.spliced_probability;
    const int32_t rate = log_mel_.front_end().sample_rate_hz;
    static thread_local std::vector<float> first, source;
    const int64_t clip = log_mel_.front_end().clip_samples;
    if (std::ssize(recording) > 2 * clip + 1) {
      recording = recording.subspan(
          static_cast<size_t>(IndexBelow(random, std::ssize(recording) - 2 * clip + 1)),
          static_cast<size_t>(2 * clip));
    }
    source.assign(recording.begin(), recording.end());
    if (label == unknown_label_ && reversed + spliced > 0 && !samples.words.empty()) {
      const double chance = random.Uniform();
      const auto& word = samples.words[IndexBelow(random, std::ssize(samples.words))];
      const std::vector<int16_t>& pcm = store_.clips[word.clip].pcm;
      if (chance < reversed) {
        const std::span<const float> forwards = FloatsOf(pcm);
        source.assign(forwards.rbegin(), forwards.rend());
      } else if (chance < reversed + spliced) {
        const std::span<const float> of_word = FloatsOf(pcm);
        const bool word_first = random.Uniform() < 0.5;
        if (word_first) {
          first.assign(of_word.begin(), of_word.end());
        } else {
          first = source;
          source.assign(of_word.begin(), of_word.end());
        }
        static thread_local std::vector<float> both;
        Splice(random, rate, first, source, both);
        std::swap(source, both);
      }
    }
    if (augment_.trim_probability > 0 && random.Uniform() < augment_.trim_probability) {
      Trim(rate, UniformIn(random, kTrimMsMin, kTrimMsMax), source);
    }
    return source;
  }

  /// A piece of the background at a random gain; every tenth is digital silence.
  void CutSilence(Split split, int64_t index, CounterRandom& random,
                  std::vector<float>& waveform) const {
    waveform.assign(log_mel_.front_end().clip_samples, 0.0f);
    const NoiseBank& noise = Samples(split).noise;
    if (index % 10 == 0 || noise.empty()) return;
    const NoiseBank::Cut cut = noise.Draw(random, std::ssize(waveform));
    cut.AddTo(waveform, random.Uniform());
  }

  const SpeechCommandsConfig config_;
  const AugmentConfig augment_;
  const int32_t perturbed_copies_;
  const uint64_t seed_;
  const LogMel log_mel_;
  std::vector<std::string> class_names_;
  int64_t word_count_ = 0;
  std::map<std::string, int32_t> labels_;
  int32_t unknown_label_ = -1, silence_label_ = -1;
  ClipStore store_;
  std::array<SplitSamples, 4> samples_;  // of kSplits, then held out
  mutable std::array<FeatureCache, 5> caches_;
};

}  // namespace

std::unique_ptr<Dataset> OpenSpeechCommands(const DatasetConfig& config, const FrontEnd& front_end,
                                            const OpenOptions& options) {
  return std::make_unique<SpeechCommands>(config, front_end, options);
}

}  // namespace bisparse::data
