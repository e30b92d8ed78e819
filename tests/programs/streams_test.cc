// SPDX-License-Identifier: Apache-2.0
// Streams end to end: bisparse-compose writes them from made-up folders, bisparse-evaluate measures on them.
#include <cmath>

#include "apps/support/stream_evaluation.h"
#include "data/compose/labels.h"
#include "tests/programs/programs_test.h"

namespace bisparse {
namespace {

class Streams : public Programs {
 protected:
  /// Test-set layout, other words, noise and talk; tones of a quarter second.
  void WriteFolders() const {
    for (int i = 0; i < 3; ++i) {
      WriteTone(fmt::format("clips/yes/{}.wav", i), 300 + 20 * i);
      WriteTone(fmt::format("clips/no/{}.wav", i), 900 + 20 * i);
      WriteTone(fmt::format("clips/_unknown_/{}.wav", i), 1700 + 20 * i);
      WriteTone(fmt::format("others/cup/{}.wav", i), 2500 + 20 * i);
      WriteTone(fmt::format("noise/hum/{}.wav", i), 100 + 10 * i);
      WriteTone(fmt::format("talk/{}/{}-0.wav", i, i), 600 + 10 * i);
    }
  }
  static constexpr const char* kCompose =
      "--clips clips --others others --whole others --noise noise --talk talk --minutes 0.5 "
      "--talk-frac 0.1 --words-per-minute 20 --out ";
};

TEST_F(Streams, ComposeWritesRecordingsWithLabels) {
  WriteFolders();
  const Result result = Run("bisparse-compose", kCompose + std::string("a --streams 2"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, StartsWith("a: 2 streams, 0.02 hours, 20 words, 6 other words, "));
  EXPECT_THAT(result.err, HasSubstr(" of talk have no transcript"));
  int64_t words = 0;
  for (const char* name : {"a/stream_001", "a/stream_002"}) {
    EXPECT_EQ(data::ReadAudio(Path(name) + ".wav", 0).samples.size(), 30u * 16000);
    for (const data::Label& label : data::ReadLabels(Path(name) + ".txt")) {
      words += label.text[0] != '_' ? 1 : 0;
      if (label.text.starts_with("_noise_ ")) continue;
      EXPECT_NEAR(label.end_s - label.begin_s, 0.25, 0.02);
    }
  }
  EXPECT_EQ(words, 20);
  EXPECT_EQ(Run("bisparse-compose", kCompose + std::string("b --streams 2")).out.substr(1),
            result.out.substr(1));
  for (const char* name : {"/stream_001.wav", "/stream_002.wav", "/stream_001.txt"})
    EXPECT_EQ(ReadTextFile(Path("a") + name), ReadTextFile(Path("b") + name));
}

TEST_F(Streams, ComposeRefusesWhatItCannotDo) {
  WriteFolders();
  ExpectError("bisparse-compose", kCompose + std::string("clips"), 3, "clips: exists and is not");
  ExpectError("bisparse-compose", kCompose + std::string("a --split validation"), 2,
              "clips: is a test set, but the validation split is asked for");
  ExpectError("bisparse-compose", kCompose + std::string("a --split dev"), 2, "--split");
  ExpectError("bisparse-compose", kCompose + std::string("a --streams 0"), 2,
              "--streams: 0, allowed are 1 to 999");
  ExpectError("bisparse-compose", kCompose + std::string("a --snr-db 20 5"), 2, "--snr-db");
  ExpectError("bisparse-compose", "--clips absent --out a", 3, "absent: not a folder");
  fs::create_directories(Path("empty"));
  ExpectError("bisparse-compose", "--clips empty --out a", 3, "empty: holds no folder");
  ExpectError("bisparse-compose", "--clips clips --noise empty --out a", 3,
              "empty: holds no recordings");
  fs::create_directories(Path("locked"));
  fs::permissions(Path("locked"), fs::perms::owner_read | fs::perms::owner_exec);
  if (::geteuid() != 0) {
    ExpectError("bisparse-compose", "--clips clips --out locked/in/a", 3,
                "locked/in/a: cannot be made: Permission denied");
  }
}

using apps::HeardStream;
using apps::StreamScore;

const std::vector<std::string> kNames = {"go", "up", "_unknown_"};

/// At 1000 samples a second, windows of a second.
StreamScore Score(const std::vector<data::Label>& labels, const std::vector<Event>& events,
                  double tolerance_ms = 1000) {
  HeardStream stream{.path = "a.wav", .labels = labels};
  stream.samples = 3'600'000;
  return apps::ScoreOf(kNames, 1000, 1000, tolerance_ms, std::span(&stream, 1), {events});
}

TEST(StreamScore, IsWorkedByHand) {
  const StreamScore score = Score({{1, 1.5, "go"},
                                   {4, 8, "_talk_ 1/a"},
                                   {10, 10.4, "up"},
                                   {20, 20.5, "_other_ cup"},
                                   {30, 30.5, "stop"}},
                                  {{.word = 0, .end = 1600},      // finds: latency 100 ms
                                   {.word = 0, .end = 1900},      // again
                                   {.word = 1, .end = 5000},      // in talk
                                   {.word = 1, .end = 10'200},    // finds before the word is over
                                   {.word = 1, .end = 20'900},    // in cup
                                   {.word = 1, .end = 30'900},    // in a word that the model lacks
                                   {.word = 0, .end = 50'000}});  // in nothing
  EXPECT_EQ(score.hours, 1);
  EXPECT_EQ(score.labels, 2);
  EXPECT_EQ(score.found, 2);
  EXPECT_EQ(score.misses(), 0);
  EXPECT_EQ(score.false_alarms, 5);
  EXPECT_EQ(score.fa_per_hour(), 5);
  ASSERT_EQ(score.words.size(), 2u);
  EXPECT_EQ(score.words[0].name, "go");
  EXPECT_EQ(score.words[0].false_alarms, 2);
  EXPECT_EQ(score.words[1].false_alarms, 3);
  ASSERT_EQ(score.latency_ms.size(), 2u);
  EXPECT_NEAR(score.latency_ms[0], -200, 1e-6);
  EXPECT_NEAR(score.latency_ms[1], 100, 1e-6);
  std::set<std::string> confusions;
  for (const auto& [word, heard_in, count] : score.confusions) {
    confusions.insert(fmt::format("{} in {}", word, heard_in));
    EXPECT_EQ(count, 1);
  }
  EXPECT_EQ(confusions, (std::set<std::string>{"go in go again", "go in silence", "up in cup",
                                               "up in stop", "up in talk"}));
}

TEST(StreamScore, AnEventFindsWithinTheToleranceAndOnce) {
  const std::vector<data::Label> labels = {{1, 1.5, "go"}, {2, 2.5, "go"}};
  const auto found = [&](std::vector<int64_t> ends, double tolerance_ms = 1000) {
    std::vector<Event> events;
    for (const int64_t end : ends) events.push_back({.word = 0, .end = end});
    const StreamScore score = Score(labels, events, tolerance_ms);
    EXPECT_EQ(score.found + score.false_alarms, std::ssize(ends));
    return score.found;
  };
  EXPECT_EQ(found({999}), 0);
  EXPECT_EQ(found({1000}), 1);
  EXPECT_EQ(found({3500}), 1);
  EXPECT_EQ(found({3501}), 0);
  EXPECT_EQ(found({1501}, 0), 0);
  EXPECT_EQ(found({2100, 2200}), 2);        // the first label, a bit late, and the second
  EXPECT_EQ(found({2100, 2200, 2300}), 2);  // no third
  EXPECT_EQ(Score({}, {}).misses(), std::nullopt);
  EXPECT_EQ(Score(labels, {}).misses(), 1);
  EXPECT_EQ(Score(labels, {{.word = 1, .end = 1200}}).found, 0);  // of another word
}

TEST(StreamScore, NoiseIsNamedWhereNothingElseSounds) {
  const StreamScore score =
      Score({{0, 30, "_noise_ rain"}, {2, 3, "_other_ cup"}, {30, 60, "_noise_ dog"}},
            {{.word = 0, .end = 2500}, {.word = 0, .end = 9000}, {.word = 0, .end = 40'000}});
  ASSERT_EQ(score.confusions.size(), 3u);
  EXPECT_EQ(score.confusions[0].heard_in, "cup");
  EXPECT_EQ(score.confusions[1].heard_in, "noise dog");
  EXPECT_EQ(score.confusions[2].heard_in, "noise rain");
}

/// The example's classes are yes, no, _silence_. A stream of made-up probabilities: a word in one window, which its label fits.
class Choice : public Programs {
 protected:
  void SetUp() override {
    Programs::SetUp();
    const FrontEnd front_end = *packed::MakeExampleModel(1).front_end;
    hop_ = front_end.hop_samples;
    clip_ = front_end.clip_samples;
    stream_.path = "a.wav";
    for (int64_t w = 0; w < 2000; ++w) Set(w, 2, 0.98);
    stream_.rms_w.assign(2000, 0.1);
    stream_.samples = 2000 * hop_;
    options_.detection = {.average_ms = 0, .refractory_ms = 100};
    for (const auto& [w, p] : {std::pair{100, 0.95}, {300, 0.9}, {500, 0.85}, {700, 0.6}})
      Say(w, 0, p);
    for (const auto& [w, p] : {std::pair{900, 0.65}, {1000, 0.6}}) Say(w, 1, p);
    for (const auto& [w, p] : {std::pair{1200, 0.8}, {1400, 0.7}}) Set(w, 0, p);  // nobody said so
  }
  void Set(int64_t w, size_t word, double p) {
    stream_.logits_wc.resize(2000 * 3);
    for (size_t c = 0; c < 3; ++c)
      stream_.logits_wc[static_cast<size_t>(w) * 3 + c] =
          static_cast<float>(std::log(c == word ? p : (1 - p) / 2));
  }
  void Say(int64_t w, size_t word, double p) {
    Set(w, word, p);
    const double told = static_cast<double>(w * hop_ + clip_) / 8000;
    stream_.labels.push_back({told - 0.2, told - 0.05, word == 0 ? "yes" : "no"});
  }
  int64_t hop_ = 0, clip_ = 0;
  HeardStream stream_;
  apps::StreamEvaluationOptions options_;
};

TEST_F(Choice, TakesTheHighestThresholdsThatFindMostWithinTheLimit) {
  const std::span streams(&stream_, 1);
  options_.fa_per_hour = 0;
  DetectionOptions chosen = apps::ChooseDetection(engine(), options_, {}, streams);
  EXPECT_EQ(chosen.words, (std::vector<WordThreshold>{{"yes", 0.8176}, {"no", 0.5622}}));
  EXPECT_EQ(chosen.average_ms, 0);
  EXPECT_EQ(chosen.refractory_ms, 100);
  options_.detection = chosen;
  apps::StreamEvaluation evaluation = apps::EvaluateStreams(engine(), options_, streams);
  EXPECT_EQ(evaluation.score.found, 5);
  EXPECT_EQ(evaluation.score.false_alarms, 0);
  // Both false alarms are allowed: all words are found.
  options_.fa_per_hour = 2.5 / (2000.0 * static_cast<double>(hop_) / 8000 / 3600);
  chosen = apps::ChooseDetection(engine(), options_, {}, streams);
  EXPECT_EQ(chosen.words, (std::vector<WordThreshold>{{"yes", 0.5622}, {"no", 0.5622}}));
  options_.detection = chosen;
  evaluation = apps::EvaluateStreams(engine(), options_, streams);
  EXPECT_EQ(evaluation.score.found, 6);
  EXPECT_EQ(evaluation.score.false_alarms, 2);
  // The curve's points are what the detector does with one threshold.
  for (const apps::StreamPoint& point : evaluation.curve) {
    DetectionOptions one = chosen;
    one.words.clear();
    one.threshold = point.threshold;
    int64_t found = 0;
    for (const Event& event : apps::EventsIn(engine(), {}, one, stream_)) {
      for (const data::Label& label : stream_.labels)
        found +=
            std::abs(static_cast<double>(event.end) / 8000 - label.end_s - 0.05) < 1e-9 ? 1 : 0;
    }
    EXPECT_NEAR(point.misses, 1 - static_cast<double>(found) / 6, 1e-9) << point.threshold;
  }
  // An average over many windows would find nothing.
  const double averages[] = {500, 0};
  EXPECT_EQ(apps::ChooseDetection(engine(), options_, averages, streams).average_ms, 0);
}

TEST_F(Streams, EvaluateHearsWhatListenHears) {
  WriteFolders();
  const Result composed = Run("bisparse-compose", kCompose + std::string("s --level-db -12 -10"));
  ASSERT_EQ(composed.code, 0) << composed.err;
  const std::string flags = " --threshold 0.4 --average-ms 100 --refractory-ms 200 --json ";
  const Result heard = Run("bisparse-listen", "model.bisparse s/stream_001.wav" + flags);
  const Result result = Run("bisparse-evaluate",
                            "model.bisparse --stream s/stream_001.wav" + flags + "- --plot a.svg");
  ASSERT_EQ(result.code, 0) << result.err;
  const Json model = Json::parse(result.out)["models"][0];
  const int64_t events = std::count(heard.out.begin(), heard.out.end(), '\n') - 1;
  EXPECT_GT(events, 3);
  EXPECT_EQ(model["words_found"].get<int64_t>() + model["false_alarms"].get<int64_t>(), events);
  EXPECT_EQ(model["words_said"], 10);
  EXPECT_NEAR(model["hours"].get<double>(), 0.5 / 60, 1e-9);
  EXPECT_THAT(ReadTextFile(Path("a.svg")), HasSubstr("<svg"));
  int64_t confused = 0;
  for (const Json& confusion : model["confusions"]) confused += confusion["count"].get<int64_t>();
  EXPECT_EQ(confused, model["false_alarms"]);
  const Result two =
      Run("bisparse-evaluate",
          "model.bisparse model.bisparse --stream s/stream_001.wav s/stream_001.wav");
  EXPECT_EQ(two.code, 0) << two.err;
  EXPECT_THAT(two.out, HasSubstr("model.bisparse: 0.02 hours, 20 words: "));
}

TEST_F(Streams, ChosenThresholdsAreInTheModel) {
  WriteFolders();
  ASSERT_EQ(Run("bisparse-compose", kCompose + std::string("s --level-db -12 -10")).code, 0);
  const std::string stream = " --stream s/stream_001.wav --json - ";
  const Result chosen = Run("bisparse-evaluate", "model.bisparse" + stream +
                                                     "--choose-thresholds --fa-per-hour 1000000 "
                                                     "--gate-db -90 -o tuned.bisparse");
  ASSERT_EQ(chosen.code, 0) << chosen.err;
  const Engine tuned = Engine::Load(Path("tuned.bisparse"));
  EXPECT_EQ(tuned.detection().words.size(), 2u);
  EXPECT_EQ(tuned.detection().gate_db, -90);
  const std::vector<float> samples = Samples(Path("clips/yes/0.wav"));
  std::vector<float> ours(3), theirs(3);
  engine().RunPcm(samples, ours);
  tuned.RunPcm(samples, theirs);
  EXPECT_EQ(ours, theirs);
  Json before = Json::parse(chosen.out)["models"][0],
       after = Json::parse(Run("bisparse-evaluate", "tuned.bisparse --fa-per-hour 1000000" + stream)
                               .out)["models"][0];
  before.erase("model");
  after.erase("model");
  EXPECT_EQ(before, after);
  // The file may be the model itself.
  EXPECT_EQ(Run("bisparse-evaluate", "tuned.bisparse --fa-per-hour 1000000" + stream +
                                         "--choose-thresholds -o tuned.bisparse")
                .code,
            0);
}

TEST_F(Streams, EvaluateSaysWhatIsWrong) {
  WriteTone("a.wav", 300);  // a quarter of a second: less than a window
  const std::string evaluate = "model.bisparse --stream ";
  const std::string choose = evaluate + "a.wav --choose-thresholds ";
  ExpectError("bisparse-evaluate", evaluate + "a.wav", 3, "a.txt: cannot be opened");
  WriteText("a.txt", "0.3\tx\tyes\n");
  ExpectError("bisparse-evaluate", evaluate + "a.wav", 3, "a.txt:1: 'x' is no time");
  WriteText("a.txt", "3\t3.5\tyes\n");
  ExpectError("bisparse-evaluate", evaluate + "a.wav", 3,
              "a.txt: 'yes' lies at 3.00 to 3.50 s, but a.wav ends at 0.25 s (hint: ");
  ExpectError("bisparse-evaluate", evaluate + "a.txt", 3, "a.txt: is a file of labels");
  WriteText("a.txt", "0.1\t0.2\tstop\n");
  ExpectError("bisparse-evaluate", choose + "-o b.bisparse", 3,
              "no label of the streams is a word of the model");
  EXPECT_FALSE(fs::exists(Path("b.bisparse")));
  const Result other = Run("bisparse-evaluate", evaluate + "a.wav");
  EXPECT_EQ(other.code, 0);
  EXPECT_THAT(other.err, HasSubstr("labels that are no words of the model: stop"));
  WriteText("a.txt", "");  // nobody said anything
  ExpectError("bisparse-evaluate", evaluate + "a.wav --json /dev/null --plot a.svg >/dev/null", 3,
              "a.svg: is not drawn");
  EXPECT_EQ(Run("bisparse-evaluate", evaluate + "a.wav").code, 0);
  ExpectError("bisparse-evaluate", choose, 2, "--output");
  ExpectError("bisparse-evaluate", choose + "-o absent/b.bisparse", 3,
              "absent/b.bisparse: cannot be created");
  ExpectError("bisparse-evaluate", choose + "-o b.bisparse model.bisparse", 2, "");
  ExpectError("bisparse-evaluate", "model.bisparse " + choose + "-o b.bisparse", 2,
              "MODEL: 2 files, 1 allowed with --choose-thresholds");
  ExpectError("bisparse-evaluate", evaluate + "a.wav -o b.bisparse", 2, "--choose-thresholds");
  ExpectError("bisparse-evaluate", evaluate + "a.wav --data a", 2, "exclude each other");
  ExpectError("bisparse-evaluate", "model.bisparse", 2, "--data is required");
  ExpectError("bisparse-evaluate", evaluate + "a.wav --unknown a", 2, "is not for --stream");
  ExpectError("bisparse-evaluate", "model.bisparse --data a --threshold 0.5", 2, "needs --stream");
  ExpectError("bisparse-evaluate", evaluate + "a.wav --threshold nan", 2, "--threshold: 'nan'");
  ExpectError("bisparse-evaluate", evaluate + "a.wav --tolerance-ms nan", 2, "--tolerance-ms");
  ExpectError("bisparse-evaluate", evaluate + "absent.wav", 3, "absent.txt: cannot be opened");
  WriteText("b.txt", "");
  WriteText("b.wav", "no sound");
  ExpectError("bisparse-evaluate", evaluate + "b.wav", 3, "b.wav: not a readable recording");
  packed::Model model = packed::MakeExampleModel(1);
  model.class_names = {"_unknown_", "_silence_", "_silence_"};
  model.class_names.clear();
  model.provenance.config_text = "";
  packed::WriteModel(model, Path("wordless.bisparse"));
  ExpectError("bisparse-evaluate", "wordless.bisparse --stream a.wav", 2,
              "the model has no class that is a word");
}

}  // namespace
}  // namespace bisparse
