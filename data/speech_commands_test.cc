// SPDX-License-Identifier: Apache-2.0
// Tests Speech Commands on a small archive of tones that the test writes.
// Past 400 lines: all of it uses the same archive.
#include "data/speech_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sndfile.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <numbers>
#include <set>
#include <thread>

#include "bisparse/error.h"
#include "data/audio.h"
#include "data/loader.h"
#include "deploy/frontend/log_mel.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

FrontEnd SmallFrontEnd() {
  FrontEnd f;
  f.sample_rate_hz = 8000;
  f.clip_samples = 1600;
  f.window_samples = f.fft_samples = 256;
  f.hop_samples = 200;
  f.mel_count = 8;
  f.frame_count = 8;
  f.high_hz = 3800.0f;
  return f;
}

void WriteTone(const std::string& path, double hz, int64_t count = 1600) {
  fs::create_directories(fs::path(path).parent_path());
  std::vector<float> samples(count);
  for (int64_t i = 0; i < count; ++i) {
    samples[i] = static_cast<float>(0.3 * std::sin(2 * std::numbers::pi * hz * i / 8000));
  }
  WriteWav(path, samples, 8000);
}

std::string Speaker(int speaker) { return "speaker" + std::to_string(speaker) + "_nohash_0.wav"; }

/// 40 speakers say five words; two background recordings.
std::string MakeArchive(const std::string& name) {
  const std::string root = testing::TempDir() + "bisparse_speech_test_" + name;
  fs::remove_all(root);
  int hz = 200;
  for (const char* word : {"yes", "no", "cat", "dog", "bird"}) {
    for (int s = 0; s < 40; ++s) WriteTone(root + "/" + word + "/" + Speaker(s), hz += 7);
  }
  WriteTone(root + "/_background_noise_/hum.wav", 50, 40000);
  WriteTone(root + "/_background_noise_/whistle.wav", 1500, 40000);
  return root;
}

DatasetConfig Config(const std::string& root) {
  DatasetConfig config;
  config.speech_commands.root = root;
  config.speech_commands.words = {"yes", "no"};
  return config;
}

std::unique_ptr<Dataset> Open(const DatasetConfig& config, const OpenOptions& options = {}) {
  return OpenDataset(config, SmallFrontEnd(), options);
}

std::vector<float> Features(const Dataset& dataset, Split split, int64_t index, uint64_t epoch) {
  std::vector<float> features(dataset.shape().elements());
  dataset.Features(split, index, epoch, features);
  return features;
}

std::map<std::string, int64_t> Counts(const Dataset& dataset, Split split) {
  std::map<std::string, int64_t> counts;
  for (int64_t i = 0; i < dataset.size(split); ++i) {
    ++counts[dataset.class_names()[dataset.Label(split, i)]];
  }
  return counts;
}

constexpr Split kSplits[] = {Split::kTrain, Split::kValidation, Split::kTest};

TEST(SpeechCommands, ClassesAreWordsThenUnknownThenSilence) {
  const auto dataset = Open(Config(MakeArchive("classes")));
  EXPECT_THAT(dataset->class_names(), ElementsAre("yes", "no", "_unknown_", "_silence_"));
  EXPECT_EQ(dataset->shape(), (Shape{8, 8, 1}));
  for (Split split : kSplits) {
    auto counts = Counts(*dataset, split);
    EXPECT_EQ(counts["yes"], counts["no"]);  // the same speakers
    EXPECT_EQ(counts["_unknown_"], counts["yes"]);
    EXPECT_EQ(counts["_silence_"], counts["yes"]);
    EXPECT_GT(counts["yes"], 0);
  }
  EXPECT_THAT(dataset->warnings(), IsEmpty());
  EXPECT_THAT(dataset->skipped(), IsEmpty());
}

TEST(SpeechCommands, FractionsAndAbsentClasses) {
  DatasetConfig config = Config(MakeArchive("fractions"));
  config.speech_commands.unknown = {ExtraAmount::kFraction, 0.25};
  config.speech_commands.silence = {ExtraAmount::kNone};
  auto counts = Counts(*Open(config), Split::kTrain);
  EXPECT_EQ(counts["_unknown_"], std::ceil(0.25 * (counts["yes"] + counts["no"])));
  EXPECT_EQ(counts.count("_silence_"), 0u);

  config.speech_commands.words = {};
  EXPECT_THAT(Open(config)->class_names(), ElementsAre("bird", "cat", "dog", "no", "yes"));
}

TEST(SpeechCommands, NoSpeakerIsInTwoSplits) {
  const auto dataset = Open(Config(MakeArchive("speakers")));
  std::map<std::string, std::set<Split>> splits;
  for (Split split : kSplits) {
    for (int64_t i = 0; i < dataset->size(split); ++i) {
      for (uint64_t epoch : {0, 1, 2}) {
        const std::string path = dataset->Describe(split, i, epoch);
        if (path.find("_nohash_") == std::string::npos) continue;
        splits[fs::path(path).filename()].insert(split);
      }
    }
  }
  EXPECT_EQ(splits.size(), 40u);
  for (const auto& [speaker, in] : splits) EXPECT_EQ(in.size(), 1u) << speaker;
}

TEST(SpeechCommands, UnknownClipsChangeWithTheEpochInTrainingOnly) {
  const auto dataset = Open(Config(MakeArchive("unknown")));
  for (Split split : kSplits) {
    std::set<std::string> seen;
    int64_t slots = 0;
    for (int64_t i = 0; i < dataset->size(split); ++i) {
      if (dataset->class_names()[dataset->Label(split, i)] != "_unknown_") continue;
      ++slots;
      for (uint64_t epoch = 0; epoch < 10; ++epoch) {
        seen.insert(dataset->Describe(split, i, epoch));
      }
    }
    // Three words are unknown, so there are three times as many clips as slots.
    EXPECT_EQ(std::ssize(seen), split == Split::kTrain ? 3 * slots : slots);
  }
}

TEST(SpeechCommands, FeaturesDependOnSeedEpochAndClipAlone) {
  const std::string root = MakeArchive("determinism");
  OpenOptions one, four;
  one.workers = 1;
  four.workers = 4;
  const auto a = Open(Config(root), one), b = Open(Config(root), four);
  OpenOptions other;
  other.seed = 2;
  const auto c = Open(Config(root), other);
  int differ_by_epoch = 0, differ_by_seed = 0;
  for (int64_t i = a->size(Split::kTrain); i-- > 0;) {
    const std::vector<float> features = Features(*a, Split::kTrain, i, 3);
    EXPECT_EQ(features, Features(*b, Split::kTrain, i, 3)) << i;
    differ_by_epoch += features != Features(*a, Split::kTrain, i, 4);
    differ_by_seed += features != Features(*c, Split::kTrain, i, 3);
  }
  EXPECT_GT(differ_by_epoch, 0.85 * a->size(Split::kTrain));  // silent clips may be alike
  EXPECT_GT(differ_by_seed, 0.85 * a->size(Split::kTrain));
  for (Split split : {Split::kValidation, Split::kTest}) {
    for (int64_t i = 0; i < a->size(split); ++i) {
      EXPECT_EQ(Features(*a, split, i, 0), Features(*c, split, i, 9)) << SplitName(split) << i;
    }
  }
}

TEST(SpeechCommands, ValidationAndUnaugmentedTrainingAreTheBareFrontEnd) {
  DatasetConfig config = Config(MakeArchive("bare"));
  config.augment.enabled = false;
  const auto dataset = Open(config);
  const LogMel log_mel(SmallFrontEnd());
  for (Split split : kSplits) {
    for (int64_t i = 0; i < dataset->size(split); ++i) {
      if (dataset->class_names()[dataset->Label(split, i)] == "_silence_") continue;
      std::vector<float> expected(log_mel.shape().elements());
      log_mel.Compute(ReadAudio(dataset->Describe(split, i, 1), 8000).samples, expected);
      ASSERT_EQ(Features(*dataset, split, i, 1), expected) << SplitName(split) << i;
    }
  }
}

TEST(SpeechCommands, PerturbedIsValidationSeveralTimesTheSameForEverySeed) {
  DatasetConfig config = Config(MakeArchive("perturbed"));
  config.perturbed_copies = 2;
  const auto a = Open(config, {.seed = 1}), b = Open(config, {.seed = 2, .train = false});
  const int64_t size = a->size(Split::kValidation);
  ASSERT_EQ(a->size(Split::kPerturbed), 2 * size);
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t copy : {i, size + i}) {
      SCOPED_TRACE(a->Describe(Split::kPerturbed, copy, 0));
      EXPECT_EQ(a->Label(Split::kPerturbed, copy), a->Label(Split::kValidation, i));
      const std::vector<float> features = Features(*a, Split::kPerturbed, copy, 0);
      EXPECT_EQ(features, Features(*b, Split::kPerturbed, copy, 3));
      EXPECT_NE(features, Features(*a, Split::kValidation, i, 0));
    }
    EXPECT_NE(Features(*a, Split::kPerturbed, i, 0), Features(*a, Split::kPerturbed, size + i, 0));
  }
  config.perturbed_copies = 0;
  EXPECT_EQ(Open(config)->size(Split::kPerturbed), 0);
  config.perturbed_copies = 1;
  EXPECT_EQ(Open(config, {.validation = false})->size(Split::kPerturbed), 0);
}

TEST(SpeechCommands, NoiseReplacesTheWaveformByAndBy) {
  const std::string root = MakeArchive("noise");
  const auto a = Open(Config(root), {.seed = 1}), b = Open(Config(root), {.seed = 2});
  const auto noisy = [](const Dataset& dataset, int64_t index, double alpha) {
    std::vector<float> features(dataset.shape().elements());
    dataset.NoisyFeatures(Split::kValidation, index, alpha, features);
    return features;
  };
  const auto distance = [](const std::vector<float>& x, const std::vector<float>& y) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
    return std::sqrt(sum);
  };
  for (int64_t i = 0; i < a->size(Split::kValidation); ++i) {
    SCOPED_TRACE(i);
    const std::vector<float> clean = Features(*a, Split::kValidation, i, 0);
    EXPECT_EQ(noisy(*a, i, 0.0), clean);
    EXPECT_EQ(noisy(*a, i, 0.3), noisy(*b, i, 0.3));
    // With the noise alone it no longer matters what was said.
    EXPECT_LT(distance(noisy(*a, i, 0.999), noisy(*a, i, 1.0)),
              0.1 * distance(clean, noisy(*a, i, 1.0)));
    EXPECT_NE(noisy(*a, i, 1.0), noisy(*a, (i + 1) % 3, 1.0));
  }
}

TEST(SpeechCommands, LongClipsAreCutWhereTheFrontEndWould) {
  for (ClipAlign align : {ClipAlign::kStart, ClipAlign::kCenter, ClipAlign::kEnd}) {
    for (int64_t count : {100, 1599, 1601, 3200, 3201, 3202, 9999, 10000}) {
      for (int32_t clip : {1600, 1601}) {
        const std::string root = testing::TempDir() + "bisparse_speech_test_long";
        fs::remove_all(root);
        WriteTone(root + "/yes/a.wav", 431, count);
        FrontEnd front_end = SmallFrontEnd();
        front_end.align = align;
        front_end.clip_samples = clip;
        DatasetConfig config;
        config.speech_commands.root = root;
        config.speech_commands.validation_percent = config.speech_commands.testing_percent = 0;
        config.speech_commands.silence.amount = ExtraAmount::kNone;
        config.augment.enabled = false;
        const auto dataset = OpenDataset(config, front_end, {});
        const LogMel log_mel(front_end);
        std::vector<float> expected(log_mel.shape().elements());
        log_mel.Compute(ReadAudio(root + "/yes/a.wav", 8000).samples, expected);
        ASSERT_EQ(Features(*dataset, Split::kTrain, 0, 0), expected)
            << "align " << int(align) << ", " << count << " samples, clip " << clip;
      }
    }
  }
}

TEST(SpeechCommands, SomeSilenceIsDigital) {
  const auto dataset = Open(Config(MakeArchive("silence")));
  int digital = 0, sounding = 0;
  for (int64_t i = 0; i < dataset->size(Split::kTrain); ++i) {
    if (dataset->class_names()[dataset->Label(Split::kTrain, i)] != "_silence_") continue;
    float most = 0;
    for (float x : Features(*dataset, Split::kTrain, i, 0)) most = std::max(most, std::abs(x));
    ++(most < 1e-4f ? digital : sounding);
  }
  EXPECT_GT(digital, 0);
  EXPECT_GT(sounding, 4 * digital);
}

TEST(SpeechCommands, BrokenRecordingsAreSkippedAndNamed) {
  const std::string root = MakeArchive("broken");
  std::ofstream(root + "/yes/" + Speaker(0)) << "not sound";
  std::ofstream(root + "/no/" + Speaker(1)) << "";
  const auto dataset = Open(Config(root));
  ASSERT_EQ(dataset->skipped().size(), 2u);
  std::set<std::string> paths;
  for (const SkippedFile& file : dataset->skipped()) {
    paths.insert(file.path);
    EXPECT_THAT(file.reason, HasSubstr(file.path));
  }
  EXPECT_THAT(paths, ElementsAre(root + "/no/" + Speaker(1), root + "/yes/" + Speaker(0)));
  int64_t words = 0;
  for (Split split : kSplits) {
    auto counts = Counts(*dataset, split);
    words += counts["yes"] + counts["no"];
  }
  EXPECT_EQ(words, 78);

  DatasetConfig strict = Config(root);
  strict.strict = true;
  try {
    Open(strict);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    EXPECT_THAT(error.what(), HasSubstr("not a readable recording"));
  }
}

TEST(SpeechCommands, OwnTestSetIsReadWholeAndAlone) {
  const std::string root = MakeArchive("own_test");
  const std::string test = testing::TempDir() + "bisparse_speech_test_own_test_set";
  fs::remove_all(test);
  for (int i = 0; i < 3; ++i) WriteTone(test + "/yes/y" + std::to_string(i) + ".wav", 300 + i);
  WriteTone(test + "/no/n.wav", 400);
  WriteTone(test + "/_unknown_/u.wav", 500);
  WriteTone(test + "/_silence_/s.wav", 600);
  WriteTone(test + "/cat/c.wav", 700);
  DatasetConfig config = Config(root);
  config.speech_commands.test_root = test;
  const auto dataset = Open(config);
  EXPECT_THAT(Counts(*dataset, Split::kTest),
              ElementsAre(testing::Pair("_silence_", 1), testing::Pair("_unknown_", 2),
                          testing::Pair("no", 1), testing::Pair("yes", 3)));
  config.speech_commands.root = "";
  OpenOptions options;
  options.train = options.validation = false;
  EXPECT_EQ(Open(config, options)->size(Split::kTest), 7);

  config.speech_commands.unknown.amount = ExtraAmount::kNone;
  const auto without = Open(config, options);
  EXPECT_EQ(without->size(Split::kTest), 5);
  EXPECT_THAT(without->warnings(), ElementsAre(HasSubstr("no class: cat (1), _unknown_ (1)")));
}

TEST(SpeechCommands, NamesAWordThatIsMissing) {
  DatasetConfig config = Config(MakeArchive("missing"));
  config.speech_commands.words.push_back("maybe");
  try {
    Open(config);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no recordings of the word 'maybe', only of: bird cat"));
  }
}

TEST(SpeechCommands, WarnsOfEmptySplitsAndOfSilenceWithoutNoise) {
  const std::string root = MakeArchive("warnings");
  fs::remove_all(root + "/_background_noise_");
  std::ofstream(root + "/testing_list.txt") << "";
  const auto dataset = Open(Config(root));
  EXPECT_THAT(dataset->warnings(),
              testing::UnorderedElementsAre(HasSubstr("every clip of _silence_ is digital silence"),
                                            "the test split is empty"));
  // An evaluation makes up no silence.
  const auto evaluated = Open(Config(root), {.train = false, .digital_silence = false});
  EXPECT_EQ(Counts(*evaluated, Split::kValidation)["_silence_"], 0);
  EXPECT_EQ(evaluated->counts().silence_made, 0);
  EXPECT_GT(dataset->counts().silence_made, 0);
}

TEST(SpeechCommands, CountsEverySampleAndWhatIsLeftOut) {
  const std::string root = MakeArchive("counts");
  std::ofstream(root + "/yes/" + Speaker(0)) << "not sound";
  std::ofstream(root + "/yes/a.m4a") << "other sound";
  std::ofstream(root + "/no/._a.wav") << "hidden";
  WriteTone(root + "/no/" + Speaker(1), 300, 4000);
  WriteTone(root + "/no/" + Speaker(2), 300, 1300);
  WriteTone(root + "/no/" + Speaker(3), 300, 1790);  // less than a hop too long
  WriteTone(root + "/no/" + Speaker(4), 0);
  const auto dataset = Open(Config(root));
  ClassCount sums[4];
  for (Split split : kSplits) {
    auto counts = Counts(*dataset, split);
    const auto& of_split = dataset->counts().of_split[static_cast<size_t>(split)];
    ASSERT_EQ(of_split.size(), 4u);
    for (size_t label = 0; label < 4; ++label) {
      EXPECT_EQ(of_split[label].used, counts[dataset->class_names()[label]]);
      sums[label].used += of_split[label].used;
      sums[label].broken += of_split[label].broken;
      sums[label].longer += of_split[label].longer;
      sums[label].shorter += of_split[label].shorter;
      sums[label].silent += of_split[label].silent;
    }
  }
  EXPECT_EQ(sums[0].used, 39);
  EXPECT_EQ(sums[0].broken, 1);
  EXPECT_EQ(sums[1].used, 40);
  EXPECT_EQ(sums[1].longer, 1);
  EXPECT_EQ(sums[1].shorter, 1);
  EXPECT_EQ(sums[1].silent, 1);
  EXPECT_EQ(dataset->counts().recordings, 200);
  EXPECT_THAT(dataset->counts().passed_over, ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(dataset->counts().notes,
              testing::Contains("passed over in " + root + ": 1 .m4a, 1 hidden"));
  EXPECT_THAT(
      dataset->warnings(),
      ElementsAre(HasSubstr("recordings are longer than a clip of 0.2 s: the middle of each "
                            "is heard, the rest is not")));

  // What is not opened is said, what is no class too.
  DatasetConfig config = Config(root);
  config.speech_commands.unknown = {ExtraAmount::kNone};
  const auto training = Open(config, {.test = false});
  EXPECT_THAT(training->counts().of_split[2], IsEmpty());
  EXPECT_THAT(
      training->counts().notes,
      testing::IsSupersetOf({"120 of 120 recordings of words that are no class are left out",
                             "test: 6 recordings, not opened"}));
}

TEST(SpeechCommands, SaysWhatIsClippedOrCancelled) {
  const std::string root = MakeArchive("remarks");
  const auto write = [&](const std::string& path, const std::vector<float>& samples, int channels) {
    SF_INFO info = {};
    info.samplerate = 8000;
    info.channels = channels;
    info.format = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
    SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
    ASSERT_NE(file, nullptr);
    sf_write_float(file, samples.data(), std::ssize(samples));
    sf_close(file);
  };
  write(root + "/yes/" + Speaker(0), std::vector<float>(1600, 2.5f), 1);
  std::vector<float> antiphase(3200);
  for (int i = 0; i < 3200; ++i) antiphase[i] = i % 2 == 0 ? 0.5f : -0.5f;
  write(root + "/yes/" + Speaker(1), antiphase, 2);
  const auto dataset = Open(Config(root));
  EXPECT_THAT(dataset->warnings(),
              ElementsAre(AllOf(HasSubstr("1 recordings exceed full scale"),
                                HasSubstr("/yes/speaker0_nohash_0.wav, 2.5 times")),
                          HasSubstr("1 recordings have channels that cancel each other out")));
}

TEST(SpeechCommands, OtherWordsMayLieInAFolderOfTheirOwn) {
  const std::string root = MakeArchive("unknown_folder");
  for (const char* word : {"cat", "dog", "bird"}) fs::remove_all(root + "/" + word);
  for (int s = 0; s < 40; ++s) WriteTone(root + "/_unknown_/" + Speaker(s), 500 + s);
  auto counts = Counts(*Open(Config(root)), Split::kTrain);
  EXPECT_EQ(counts["_unknown_"], counts["yes"]);
  WriteTone(root + "/_silence_/s.wav", 0);
  DatasetConfig config = Config(root);
  config.speech_commands.words = {};  // then nothing is unknown
  EXPECT_THAT(Open(config)->warnings(),
              ElementsAre(HasSubstr("left out 40 recordings of _unknown_: no such class"),
                          HasSubstr("left out 1 recordings of _silence_: silence is cut from")));
}

TEST(SpeechCommands, ReportsProgress) {
  OpenOptions options;
  int64_t last = -1, total = 0;
  options.progress = [&](int64_t done, int64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
  };
  Open(Config(MakeArchive("progress")), options);
  EXPECT_EQ(last, total);
  EXPECT_GT(total, 80);
}

TEST(SpeechCommands, LoaderGivesTheSameBytesForAnyNumberOfWorkers) {
  const auto dataset = Open(Config(MakeArchive("loader")));
  for (Split split : {Split::kTrain, Split::kValidation}) {
    std::vector<std::vector<float>> passes;
    for (int workers : {0, 1, 4}) {
      std::vector<float> pass;
      Loader loader(*dataset, split, {.batch = 8, .workers = workers, .shuffle = true}, 2);
      for (Batch batch; loader.Next(batch);) {
        pass.insert(pass.end(), batch.x_bhwc.begin(), batch.x_bhwc.end());
      }
      passes.push_back(pass);
    }
    EXPECT_EQ(std::ssize(passes[0]), dataset->size(split) * dataset->shape().elements());
    EXPECT_EQ(passes[0], passes[1]);
    EXPECT_EQ(passes[0], passes[2]);
  }
}

/// Folders of other words beside the archive: `more` has "yes" and three other words, `listed` a validation list.
DatasetConfig WithOthers(const std::string& name) {
  const std::string root = MakeArchive(name), more = root + "_more", listed = root + "_listed";
  fs::remove_all(more);
  fs::remove_all(listed);
  int hz = 210;
  for (int i = 0; i < 6; ++i) {
    const std::string file = "/" + std::to_string(i) + ".wav";
    WriteTone(more + "/yes" + file, hz += 9);
    WriteTone(more + "/tree" + file, hz += 9);
    WriteTone(more + "/near" + file, hz += 9);
  }
  WriteTone(more + "/house/only.wav", 333);
  for (int i = 0; i < 4; ++i) {
    WriteTone(listed + "/far/" + std::to_string(i) + ".wav", hz += 9);
    WriteTone(listed + "/tree/" + std::to_string(i) + ".wav", hz += 9);
  }
  std::ofstream(listed + "/validation_list.txt") << "far/0.wav\ntree/0.wav\n";
  DatasetConfig config = Config(root);
  config.speech_commands.other_roots = {more, listed};
  config.speech_commands.held_out_words = {"near", "far"};
  config.speech_commands.unknown_draw = UnknownDraw::kWords;
  return config;
}

/// "more/tree" for each place that training's slots of _unknown_ come from.
std::map<std::string, int64_t> PlacesOfUnknown(const Dataset& dataset, int64_t epochs) {
  std::map<std::string, int64_t> places;
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    for (int64_t i = 0; i < dataset.size(Split::kTrain); ++i) {
      if (dataset.class_names()[dataset.Label(Split::kTrain, i)] != "_unknown_") continue;
      const fs::path path = dataset.Describe(Split::kTrain, i, epoch);
      const std::string folder = path.parent_path().parent_path().filename();
      ++places[folder.substr(folder.rfind('_') + 1) + "/" + path.parent_path().filename().string()];
    }
  }
  return places;
}

TEST(SpeechCommands, OtherFoldersGiveTrainingWordsAndOtherWords) {
  const DatasetConfig config = WithOthers("others");
  const auto dataset = Open(config), alone = Open(Config(config.speech_commands.root));
  EXPECT_EQ(Counts(*dataset, Split::kTrain)["yes"], Counts(*alone, Split::kTrain)["yes"] + 6);
  EXPECT_EQ(Counts(*dataset, Split::kTrain)["no"], Counts(*alone, Split::kTrain)["no"]);
  for (Split split : {Split::kValidation, Split::kTest}) {
    EXPECT_EQ(dataset->Fingerprint(split), alone->Fingerprint(split));
  }
  // Folders take turns, in them words.
  const auto places = PlacesOfUnknown(*dataset, 60);
  const int64_t all = 60 * Counts(*dataset, Split::kTrain)["_unknown_"];
  ASSERT_EQ(places.size(), 3u + 2u + 1u);
  EXPECT_NEAR(places.at("more/tree"), all / 6, 1);
  EXPECT_NEAR(places.at("more/house"), all / 6, 1);
  EXPECT_NEAR(places.at("listed/tree"), all / 3, 1);
  for (const char* word : {"cat", "dog", "bird"}) {
    EXPECT_NEAR(places.at(std::string("others/") + word), all / 9, 1) << word;
  }
}

TEST(SpeechCommands, WordsHeldOutAreHeardNowhereElse) {
  DatasetConfig config = WithOthers("held_out");
  config.speech_commands.held_out_words = {"near", "far", "dog"};
  const auto dataset = Open(config);
  std::map<std::string, int64_t> held_out;
  for (int64_t i = 0; i < dataset->size(Split::kHeldOut); ++i) {
    EXPECT_EQ(dataset->class_names()[dataset->Label(Split::kHeldOut, i)], "_unknown_");
    ++held_out[fs::path(dataset->Describe(Split::kHeldOut, i, 0)).parent_path().filename()];
  }
  EXPECT_EQ(held_out["near"], 6);  // no list: all
  EXPECT_EQ(held_out["far"], 1);   // that of the list
  EXPECT_GT(held_out["dog"], 25);  // all but the test's
  EXPECT_LT(held_out["dog"], 40);
  EXPECT_EQ(held_out.size(), 3u);
  for (const auto& [place, count] : PlacesOfUnknown(*dataset, 60)) {
    EXPECT_THAT(place, AllOf(Not(HasSubstr("near")), Not(HasSubstr("far")), Not(HasSubstr("dog"))));
  }
  EXPECT_EQ(Features(*dataset, Split::kHeldOut, 0, 1), Features(*dataset, Split::kHeldOut, 0, 2));

  config.speech_commands.held_out_words = {"nowhere"};
  EXPECT_THROW(Open(config), Error);
  config.speech_commands.held_out_words = {"yes"};
  EXPECT_THROW(Open(config), Error);
  // An evaluation needs none of these folders.
  config.speech_commands.held_out_words = {"near"};
  config.speech_commands.other_roots = {"/nowhere"};
  EXPECT_GT(Open(config, {.train = false})->size(Split::kValidation), 0);
}

TEST(SpeechCommands, ReversedWordsAreUnknown) {
  DatasetConfig config = Config(MakeArchive("reversed"));
  config.augment = {.time_shift_ms = 0,
                    .gain_db = 0,
                    .speed_min = 1,
                    .speed_max = 1,
                    .background_probability = 0,
                    .time_masks = 0,
                    .frequency_masks = 0};
  const auto plain = Open(config);
  config.augment.reversed_probability = 1;
  const auto reversed = Open(config);
  // A tone is what it was, backwards too: of a listed word now, no longer of the slot's own.
  const auto is = [&](int64_t i, const char* name) {
    return plain->class_names()[plain->Label(Split::kTrain, i)] == name;
  };
  int64_t changed = 0;
  for (int64_t i = 0; i < plain->size(Split::kTrain); ++i) {
    const bool same =
        Features(*plain, Split::kTrain, i, 3) == Features(*reversed, Split::kTrain, i, 3);
    EXPECT_TRUE(same || is(i, "_unknown_")) << i;
    changed += !same;
  }
  EXPECT_EQ(changed, Counts(*plain, Split::kTrain)["_unknown_"]);
}

TEST(SpeechCommands, AnyPartOfALongRecordingIsAClip) {
  DatasetConfig config = WithOthers("long");
  config.augment = {.time_shift_ms = 0,
                    .gain_db = 0,
                    .speed_min = 1,
                    .speed_max = 1,
                    .background_probability = 0,
                    .time_masks = 0,
                    .frequency_masks = 0};
  const std::string talk = config.speech_commands.root + "_talk";
  fs::remove_all(talk);
  fs::create_directories(talk + "/talk");
  std::vector<float> rising(8 * 1600);  // a tone that rises: each part sounds otherwise
  for (size_t i = 0; i < rising.size(); ++i) {
    const double t = static_cast<double>(i) / 8000;
    rising[i] = static_cast<float>(0.3 * std::sin(2 * std::numbers::pi * (200 + 700 * t) * t));
  }
  WriteWav(talk + "/talk/long.wav", rising, 8000);
  config.speech_commands.other_roots = {talk};
  config.speech_commands.held_out_words = {};
  const auto dataset = Open(config);
  std::set<std::vector<float>> parts;
  for (int64_t i = 0; i < dataset->size(Split::kTrain); ++i) {
    if (dataset->Describe(Split::kTrain, i, 0).ends_with("long.wav")) {
      parts.insert(Features(*dataset, Split::kTrain, i, 0));
    }
  }
  EXPECT_GT(parts.size(), 10u);
}

}  // namespace
}  // namespace bisparse::data
