// SPDX-License-Identifier: Apache-2.0
// Runs the programs on a small model and on recordings made here, and checks what their users rely
// on: help, output, JSON keys, one-line errors, exit codes. bisparse-inspect: inspect_test.cc.
// Past 400 lines: all of it uses the same model and recordings; other subjects have files of their own beside it.
#include "tests/programs/programs_test.h"

namespace bisparse {
namespace {

TEST_F(Programs, HelpExplainsEveryFlagWithAnExampleAndTheExitCodes) {
  for (const std::string& program : kPrograms) {
    SCOPED_TRACE(program);
    const Result help = Run(program, "--help");
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(help.err, "");
    EXPECT_THAT(help.out,
                AllOf(HasSubstr("Example:\n  " + program + " "),
                      HasSubstr("Exit codes: 0 done, 1 internal error, 2 configuration or flags, "
                                "3 data or file")));
    std::vector<std::string> lines;
    std::istringstream text(help.out);
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    constexpr size_t kColumn =
        30;  // of the meanings, which begin on the next line after long flags
    int flags = 0;
    for (size_t i = 0; i + 1 < lines.size() && lines[i] != "Example:"; ++i) {
      if (!std::regex_search(lines[i], std::regex("^  [-A-Z]"))) continue;
      ++flags;
      const bool beside = lines[i].size() > kColumn && lines[i][kColumn - 1] == ' ';
      const bool below = lines[i + 1].starts_with(std::string(kColumn, ' '));
      EXPECT_TRUE(beside || below) << lines[i];
    }
    EXPECT_GE(flags, 4);
  }
}

TEST_F(Programs, PrintTheirVersion) {
  for (const std::string& program : kPrograms) {
    const Result version = Run(program, "--version");
    EXPECT_EQ(version.code, 0);
    EXPECT_EQ(version.out, "bisparse " BISPARSE_VERSION "\n");
  }
}

TEST_F(Programs, RefuseFlagsThatTheyDoNotHave) {
  for (const std::string& program : kPrograms) {
    ExpectError(program, "--no-such-flag x", 2, "(hint: " + program + " --help)");
    ExpectError(program, "", 2, "flags: ");
  }
}

TEST_F(Programs, RefuseModelsThatAreMissingBrokenOrSomethingElse) {
  const std::string whole = ReadTextFile(model_path_);
  WriteText("cut.bisparse", whole.substr(0, whole.size() / 2));
  std::string altered = whole;
  altered[whole.size() - 9] ^= 4;
  WriteText("altered.bisparse", altered);
  WriteText("text.bisparse", "this is not a model");
  WriteTestSet("test");
  WriteTone("a.wav", 300);
  for (const std::string& program : kPrograms) {
    if (program == "bisparse-compose" || program == "bisparse-synthesise") continue;
    const std::string more = program == "bisparse-classify" || program == "bisparse-listen"
                                 ? " a.wav"
                             : program == "bisparse-evaluate" ? " --data test"
                                                              : "";
    ExpectError(program, "absent.bisparse" + more, 3, "absent.bisparse: cannot be opened: ");
    for (const char* name : {"cut.bisparse", "altered.bisparse", "text.bisparse"}) {
      ExpectError(program, name + more, 3, std::string(": ") + name + ": ");
    }
  }
}

TEST_F(Programs, EndWithOneWhereMemoryIsShort) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs the whole address space";
#endif
  ExpectError("bisparse-bench", "model.bisparse --batch 1048576", 1, "out of memory",
              "ulimit -v 250000 &&");
}

TEST_F(Programs, SayWhereOutputCannotGo) {
  WriteTestSet("test");
  const std::string evaluate = "model.bisparse --data test --json ";
  const Result no_folder = Run("bisparse-evaluate", evaluate + "absent/result.json");
  EXPECT_EQ(no_folder.code, 3);
  EXPECT_THAT(no_folder.err,
              StartsWith("bisparse-evaluate: absent/result.json: cannot be created"));
  // A full disk:
  ExpectError("bisparse-evaluate", evaluate + "- >/dev/full", 3,
              "stdout: cannot be written: No space left on device");
}

TEST_F(Programs, BenchWritesItsJson) {
  const Result result =
      Run("bisparse-bench", "model.bisparse --seconds 0.01 --batch 3 --json bench.json");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("speed-up"), HasSubstr("sparse_sparse"),
                                HasSubstr("executed"), HasSubstr("conv2")));
  const Json json = Json::parse(ReadTextFile(Path("bench.json")));
  EXPECT_THAT(KeysOf(json), ElementsAre("model", "format", "isa", "threads", "batch", "machine",
                                        "inputs", "workspace_bytes", "modes", "layers"));
  EXPECT_EQ(json["model"], "example");
  EXPECT_EQ(json["format"], "f32");
  EXPECT_GT(json["workspace_bytes"], 0);
  EXPECT_EQ(json["isa"], engine().isa());
  EXPECT_EQ(json["threads"], 1);
  EXPECT_EQ(json["batch"], 3);
  EXPECT_THAT(KeysOf(json["modes"]), ElementsAre("dense", "sparse_dense", "sparse_sparse"));
  for (const Json& mode : json["modes"]) {
    EXPECT_THAT(KeysOf(mode), ElementsAre("median_us", "p10_us", "p90_us", "samples_per_second"));
    EXPECT_GT(mode["p10_us"], 0.0);
    EXPECT_LE(mode["p10_us"], mode["median_us"]);
    EXPECT_LE(mode["median_us"], mode["p90_us"]);
    EXPECT_DOUBLE_EQ(mode["samples_per_second"].get<double>() * mode["median_us"].get<double>(),
                     3e6);
  }
  const Engine sparse = Engine::Load(model_path_, {.mode = Mode::kSparseSparse});
  ASSERT_EQ(json["layers"].size(), sparse.layers().size());
  for (size_t i = 0; i < json["layers"].size(); ++i) {
    const Json& layer = json["layers"][i];
    const LayerSummary& expected = sparse.layers()[i];
    EXPECT_THAT(KeysOf(layer), ElementsAre("name", "median_us", "macs_dense", "macs_executed",
                                           "kernel", "active_inputs"));
    EXPECT_EQ(layer["name"], expected.name);
    EXPECT_GE(layer["median_us"], 0.0);
    EXPECT_EQ(layer["macs_dense"], expected.macs_dense);
    EXPECT_EQ(layer["macs_executed"], expected.macs_executed);
  }
}

TEST_F(Programs, BenchSweepsAndTakesModesRealInputsAndConfigurations) {
  WriteTestSet("test");
  const Result sweep = Run("bisparse-bench",
                           "model.bisparse --seconds 0.01 --mode auto,dense --data test --sweep "
                           "--json -");
  ASSERT_EQ(sweep.code, 0) << sweep.err;
  const Json runs = Json::parse(sweep.out)["runs"];  // nothing but JSON is on stdout
  ASSERT_EQ(runs.size(), 4u);
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(runs[i]["batch"], i % 2 == 0 ? 1 : 64);
    EXPECT_EQ(runs[i]["inputs"], "real");
    EXPECT_THAT(KeysOf(runs[i]["modes"]), ElementsAre("auto", "dense"));
  }

  const std::string config =
      "data: {type: npy, train_x: x.npy, train_y: y.npy, input: [1, 1, 8], class_names: [a, b]}\n"
      "network: [linear: {units: 8}, kwta: {winners: WINNERS}, linear: {units: classes}]\n";
  const auto with_winners = [&](const char* winners) {
    return std::regex_replace(config, std::regex("WINNERS"), winners);
  };
  WriteText("good.yaml", with_winners("2"));
  WriteText("bad.yaml", with_winners("9"));
  const Result random = Run("bisparse-bench", "good.yaml --seconds 0.01 --json -");
  ASSERT_EQ(random.code, 0) << random.err;
  EXPECT_EQ(Json::parse(random.out)["layers"][0]["name"], "linear1");
  const Result other = Run("bisparse-bench",
                           "model.bisparse --seconds 0.01 --peers eigen --peer-model good.yaml "
                           "--json -");
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_EQ(Json::parse(other.out)["model"], "example");
  EXPECT_EQ(Json::parse(other.out)["peer_model"], "good");
  EXPECT_GT(Json::parse(other.out)["peers"]["eigen_sparse"]["ratio"], 0.0);
  ExpectError("bisparse-bench", "model.bisparse --peer-model good.yaml", 2, "--peers");
  ExpectError("bisparse-bench", "bad.yaml", 2, "bad.yaml:2:");
  ExpectError("bisparse-bench", "absent.yaml", 3, "absent.yaml: cannot be opened");
  ExpectError("bisparse-bench", "model.bisparse --mode fast", 2,
              "mode: 'fast' is no mode (allowed: auto, dense, sparse_dense, sparse_sparse)");
  ExpectError("bisparse-bench", "model.bisparse --batch 0", 2, "--batch: ");
}

TEST_F(Programs, EvaluateCountsWhatTheEngineAnswers) {
  WriteTestSet("test");
  const std::vector<std::string> classes = {"yes", "no", "_silence_"};
  std::vector<std::vector<int64_t>> confusion(3, std::vector<int64_t>(3, 0));
  int64_t correct = 0;
  for (size_t label = 0; label < 3; ++label) {
    for (const auto& recording : fs::directory_iterator(Path("test/" + classes[label]))) {
      const size_t answer = Answer(recording.path());
      ++confusion[label][answer];
      correct += answer == label;
    }
  }
  WriteText("test/no/broken.wav", "this is not sound");
  WriteTone("test/maybe/1.wav", 500);
  const Result result = Run("bisparse-evaluate",
                            "model.bisparse --data test --json result.json "
                            "--predictions clips.json");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("skipped test/no/broken.wav: not a readable recording"),
                    HasSubstr("test: left out recordings of what is no class: maybe (1)")));
  const Json json = Json::parse(ReadTextFile(Path("result.json")));
  EXPECT_THAT(KeysOf(json),
              ElementsAre("accuracy", "samples", "samples_per_second", "macro_recall",
                          "words_recall", "classes", "recall", "confusion", "skipped", "part",
                          "recordings", "recordings_in_folder", "silence_made"));
  EXPECT_EQ(json["part"], "whole");
  EXPECT_EQ(json["recordings"], 12);
  EXPECT_EQ(json["recordings_in_folder"], 14);
  EXPECT_EQ(json["silence_made"], 0);
  EXPECT_EQ(json["accuracy"], static_cast<double>(correct) / 12);
  EXPECT_EQ(json["samples"], 12);
  EXPECT_GT(json["samples_per_second"], 0.0);
  EXPECT_EQ(json["classes"], classes);
  EXPECT_EQ(json["confusion"], confusion);
  EXPECT_EQ(json["skipped"], 1);
  const auto recall = [&](size_t c) { return static_cast<double>(confusion[c][c]) / 4; };
  EXPECT_EQ(json["recall"], (std::vector<double>{recall(0), recall(1), recall(2)}));
  EXPECT_DOUBLE_EQ(json["macro_recall"], (recall(0) + recall(1) + recall(2)) / 3);
  EXPECT_DOUBLE_EQ(json["words_recall"], (recall(0) + recall(1)) / 2);
  const Json clips = Json::parse(ReadTextFile(Path("clips.json")));
  EXPECT_THAT(KeysOf(clips), ElementsAre("classes", "clips", "labels", "predictions"));
  ASSERT_EQ(clips["clips"].size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    const std::string clip = clips["clips"][i];
    EXPECT_THAT(clip, StartsWith("test/" + classes[clips["labels"][i].get<size_t>()] + "/"));
    EXPECT_EQ(clips["predictions"][i], Answer(Path(clip))) << clip;
  }

  EXPECT_THAT(result.out,
              HasSubstr(fmt::format("accuracy {:.2f} % ({} of 12)", correct / 0.12, correct)));
  EXPECT_THAT(result.out, HasSubstr("1 broken recordings skipped; 12 of 14 recordings, the whole "
                                    "folder\n"));
  EXPECT_THAT(result.out,
              HasSubstr(fmt::format("\nrecall of all classes {:.1f} %, of words {:.1f} %\n",
                                    100 * json["macro_recall"].get<double>(),
                                    100 * json["words_recall"].get<double>())));
  for (size_t c = 0; c < 3; ++c) {
    int64_t predicted = 0;
    for (const auto& row : confusion) predicted += row[c];
    const auto percent = [&](int64_t whole) {
      return whole == 0 ? std::string("-")
                        : fmt::format("{:.1f} %", 100.0 * static_cast<double>(confusion[c][c]) /
                                                      static_cast<double>(whole));
    };
    EXPECT_THAT(result.out, HasSubstr(fmt::format("{:<16}{:>9}{:>11}{:>9}\n",
                                                  fmt::format("{:>3} {}", c, classes[c]), 4,
                                                  percent(predicted), percent(4))));
    EXPECT_THAT(result.out, HasSubstr(fmt::format(
                                "{:<16}{:>6}{:>6}{:>6}\n", fmt::format("{:>3} {}", c, classes[c]),
                                confusion[c][0], confusion[c][1], confusion[c][2])));
  }
}

TEST_F(Programs, EvaluateTakesTheSplitsOfAnArchive) {
  for (const char* word : {"yes", "no", "other"}) {
    for (int i = 0; i < 5; ++i) WriteTone(fmt::format("archive/{}/{}.wav", word, i), 300 + 100 * i);
  }
  WriteTone("archive/_background_noise_/hum.wav", 50);
  WriteText("archive/testing_list.txt", "yes/0.wav\nno/1.wav\nno/2.wav\nother/3.wav\n");
  WriteText("archive/validation_list.txt", "yes/1.wav\nno/4.wav\n");
  const auto samples = [&](const std::string& split) {
    const Result result =
        Run("bisparse-evaluate", "model.bisparse --data archive --json - --split " + split);
    EXPECT_EQ(result.code, 0) << result.err;
    const Json json = Json::parse(result.out);
    std::vector<int64_t> counts;
    for (const auto& row : json["confusion"]) {
      counts.push_back(row[0].get<int64_t>() + row[1].get<int64_t>() + row[2].get<int64_t>());
    }
    return counts;
  };
  EXPECT_THAT(samples("test"), ElementsAre(1, 2, 2));  // of _silence_ as many as a word has
  EXPECT_THAT(samples("validation"), ElementsAre(1, 1, 1));
  EXPECT_THAT(samples("perturbed"), ElementsAre(5, 5, 5));
}

TEST_F(Programs, EvaluateTakesABareFolderWholeAndInventsNoSilence) {
  for (const char* word : {"yes", "no"}) {
    for (int i = 0; i < 30; ++i) {
      WriteTone(fmt::format("bare/{}/s{}_nohash_0.wav", word, i), 300 + 50 * i);
    }
  }
  const auto evaluate = [&](const std::string& arguments) {
    const Result result = Run("bisparse-evaluate", arguments + " --data bare --json -");
    EXPECT_EQ(result.code, 0) << result.err;
    return Json::parse(result.out);
  };
  Json json = evaluate("model.bisparse");
  EXPECT_EQ(json["part"], "whole");
  EXPECT_EQ(json["samples"], 60);
  EXPECT_EQ(json["recordings_in_folder"], 60);
  for (const char* split : {"test", "validation"}) {
    json = evaluate(fmt::format("model.bisparse --split {}", split));
    EXPECT_EQ(json["part"], split);
    EXPECT_LT(json["samples"], 30);
    EXPECT_EQ(json["samples"], json["recordings"]);  // no silence was made
    EXPECT_EQ(json["recordings_in_folder"], 60);
  }
  EXPECT_THAT(Run("bisparse-evaluate", "model.bisparse --data bare --split test").out,
              ContainsRegex("; [0-9]+ of 60 recordings, the test split\n"));
  // The folder that the model was trained on: what training did not hear.
  packed::Model model = packed::MakeExampleModel(1);
  model.provenance.config_text =
      "data: {path: ./bare, words: [yes, no], unknown: none}\n"
      "network: [flatten, linear: {units: classes}]\n";
  packed::WriteModel(model, Path("trained.bisparse"));
  EXPECT_EQ(evaluate("trained.bisparse")["part"], "test");
  EXPECT_EQ(evaluate("trained.bisparse --split all")["part"], "whole");
  // The folder of the training is not to be found: this one may be a copy of it, and that is said.
  model.provenance.config_text.replace(model.provenance.config_text.find("./bare"), 6, "./gone");
  packed::WriteModel(model, Path("elsewhere.bisparse"));
  const auto told = [&](const std::string& model_file) {
    return Run("bisparse-evaluate", model_file + " --data bare").err;
  };
  EXPECT_THAT(told("elsewhere.bisparse"), HasSubstr("'./gone', is not there"));
  EXPECT_THAT(told("elsewhere.bisparse --split all"), Not(HasSubstr("is not there")));
  EXPECT_THAT(told("trained.bisparse"), Not(HasSubstr("is not there")));
  // Lists and background noise: an archive, whose silence is known.
  WriteTone("bare/_background_noise_/hum.wav", 50);
  json = evaluate("model.bisparse");
  EXPECT_EQ(json["part"], "test");
  EXPECT_GT(json["silence_made"], 0);
}

TEST_F(Programs, EvaluateSweepsNoiseWithTheSameNoiseForEveryModel) {
  WriteTestSet("test");
  packed::Model other = packed::MakeExampleModel(2);
  other.provenance.config_text = "";
  other.name = "other";
  packed::WriteModel(other, Path("other.bisparse"));
  const Result clean = Run("bisparse-evaluate", "model.bisparse --data test --json -");
  const Result result =
      Run("bisparse-evaluate",
          "model.bisparse other.bisparse model.bisparse --data test --noise --json noise.json");
  ASSERT_EQ(result.code, 0) << result.err;
  const Json models = Json::parse(ReadTextFile(Path("noise.json")))["models"];
  ASSERT_EQ(models.size(), 3u);
  EXPECT_THAT(KeysOf(models[0]), ElementsAre("model", "alphas", "accuracies", "samples", "score"));
  EXPECT_EQ(models[0], models[2]);
  EXPECT_EQ(models[1]["model"], "other.bisparse");
  ASSERT_EQ(models[0]["alphas"].size(), 11u);
  EXPECT_EQ(models[0]["alphas"][10], 0.5);
  EXPECT_EQ(models[0]["accuracies"][0], Json::parse(clean.out)["accuracy"]);
  for (const Json& model : models) {
    double right = 0;
    for (const Json& accuracy : model["accuracies"]) right += accuracy.get<double>() * 12;
    EXPECT_NEAR(model["score"].get<double>(), right, 1e-9);
  }
  EXPECT_THAT(result.out, AllOf(HasSubstr("other"), HasSubstr("\n0.50 "), HasSubstr("\nscore ")));
  ExpectError("bisparse-evaluate", "model.bisparse other.bisparse --data test", 2,
              "MODEL: 2 files, 1 allowed without --noise");
  ExpectError("bisparse-evaluate", "model.bisparse --data test --plot a.svg", 2, "--noise");
}

TEST_F(Programs, EvaluateReadsArraysAsTheModelsConfigurationSays) {
  packed::Model model = packed::MakeExampleModel(1);
  model.provenance.config_text =
      "data: {type: npy, train_x: x.npy, train_y: y.npy, input: [8, 8, 1], offset: 100, "
      "scale: 0.05, class_names: [yes, no, _silence_]}\n"
      "network: [flatten, linear: {units: classes}]\n";
  packed::WriteModel(model, Path("npy.bisparse"));
  const auto npy = [](const std::string& dictionary, const std::string& payload) {
    const std::string header = dictionary + std::string(117 - dictionary.size(), ' ') + "\n";
    return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + payload;
  };
  std::string x, y;
  std::vector<std::vector<int64_t>> confusion(3, std::vector<int64_t>(3, 0));
  for (int sample = 0; sample < 6; ++sample) {
    std::vector<float> features, logits(3);
    for (int i = 0; i < 64; ++i) {
      const auto byte = static_cast<uint8_t>((sample + 3) * (i + 7) * 37);
      x += static_cast<char>(byte);
      features.push_back((byte - 100.0f) * 0.05f);
    }
    engine().Run(features, logits);
    y += static_cast<char>(sample % 3);
    ++confusion[static_cast<size_t>(sample % 3)][static_cast<size_t>(
        std::max_element(logits.begin(), logits.end()) - logits.begin())];
  }
  WriteText("x.npy", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 8, 8), }", x));
  WriteText("y.npy", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (6,), }", y));
  const Result result =
      Run("bisparse-evaluate", "npy.bisparse --data x.npy --labels y.npy --json -");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out)["confusion"], confusion);
  ExpectError("bisparse-evaluate", "npy.bisparse --data x.npy", 2,
              "--labels: missing (hint: y.npy");
}

TEST_F(Programs, EvaluateNamesWhatIsWrongWithTheRecordings) {
  const std::string model = "model.bisparse --data ";
  ExpectError("bisparse-evaluate", model + "absent", 3, "absent: not a folder (hint: ");
  fs::create_directories(Path("empty"));
  ExpectError("bisparse-evaluate", model + "empty", 3, "empty: holds no folder with recordings");
  WriteTone("words/maybe/2.wav", 300);
  ExpectError("bisparse-evaluate", model + "words", 3,
              "words: has no recordings of the classes yes no _silence_, only of what is no class: "
              "maybe (1)");
  ExpectError("bisparse-evaluate", model + "words --split test", 3,
              "words: has no recordings of the word 'yes', only of: maybe");
  WriteTestSet("test");
  ExpectError("bisparse-evaluate", model + "test --split validation", 2,
              "test: is a test set without a validation split (hint: --split test)");
  ExpectError("bisparse-evaluate", model + "test --split training", 2, "--split: ");
  WriteText("test/no/broken.wav", "this is not sound");
  ExpectError("bisparse-evaluate", model + "test --strict", 3,
              "test/no/broken.wav: not a readable recording: ");
}

TEST_F(Programs, ClassifyPrintsTheTopClassesAndBothTimes) {
  WriteTone("a.wav", 300);
  WriteTone("b.wav", 1700, 44100);
  const Result result = Run("bisparse-classify", "model.bisparse a.wav b.wav --top 2");
  ASSERT_EQ(result.code, 0) << result.err;
  std::istringstream lines(result.out);
  for (const char* name : {"a.wav", "b.wav"}) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    const std::vector<double> scores = Scores(Path(name));
    std::vector<size_t> order = {0, 1, 2};
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    const auto& classes = engine().class_names();
    EXPECT_THAT(line, StartsWith(fmt::format("{}:  {} {:.1f} %  {} {:.1f} %  (", name,
                                             classes[order[0]], 100 * scores[order[0]],
                                             classes[order[1]], 100 * scores[order[1]])));
    EXPECT_THAT(line, MatchesRegex(".*\\(front end [0-9]+ us, network [0-9]+\\.[0-9] us\\)"));
  }
}

TEST_F(Programs, ClassifyHearsALongRecordingInWindows) {
  constexpr int64_t kClip = 2048, kHop = 256, kStep = 256;  // of the example model
  std::vector<float> samples(8000);
  for (size_t i = 0; i < samples.size(); ++i) {
    const double hz = 200.0 + 0.2 * static_cast<double>(i);
    samples[i] = static_cast<float>(0.3 * std::sin(2 * std::numbers::pi * hz * i / 8000.0));
  }
  data::WriteWav(Path("long.wav"), samples, 8000);
  samples = Samples(Path("long.wav"));
  std::set<int64_t> starts = {0, 8000 - kClip};
  for (int64_t at = (8000 - kClip) / 2 % kStep; at <= 8000 - kClip; at += kStep) starts.insert(at);
  double yes = 0, no = 0, word = 0, silence = 0;
  int64_t yes_at = 0, no_at = 0, word_at = 0;
  for (const int64_t at : starts) {
    const std::vector<double> scores = Scores(std::span(samples).subspan(at, kClip));
    if (scores[0] > yes) yes = scores[0], yes_at = at;
    if (scores[1] > no) no = scores[1], no_at = at;
    if (std::max(scores[0], scores[1]) > word) {
      word = std::max(scores[0], scores[1]), word_at = at, silence = scores[2];
    }
  }
  EXPECT_NE(yes_at, no_at);  // otherwise the test would see little
  const Result result = Run("bisparse-classify", "model.bisparse long.wav");
  ASSERT_EQ(result.code, 0) << result.err;
  const auto heard = [](const char* name, double score, int64_t at) {
    return fmt::format("  {} {:.1f} % at {:.2f} s", name, 100 * score, at / 8000.0);
  };
  EXPECT_THAT(
      result.out,
      AllOf(HasSubstr(heard("yes", yes, yes_at)), HasSubstr(heard("no", no, no_at)),
            HasSubstr(heard("_silence_", silence, word_at)),
            HasSubstr(fmt::format("({} windows in 1.00 s; each: front end ", starts.size()))));
  // Up to a hop more than a clip is a clip.
  data::WriteWav(Path("clip.wav"), std::span(samples).first(kClip + kHop), 8000);
  EXPECT_THAT(Run("bisparse-classify", "model.bisparse clip.wav").out,
              testing::Not(HasSubstr("windows")));
}

TEST_F(Programs, ClassifyHearsPipesAndWhatEvaluateHears) {
  WriteTone("a.wav", 700);
  const std::string plain = "model.bisparse a.wav", piped = "model.bisparse /dev/stdin";
  const auto answer = [](const std::string& line) {
    const size_t begin = line.find(":  ");
    return line.substr(begin, line.find("(front") - begin);
  };
  const std::string expected = answer(Run("bisparse-classify", plain).out);
  EXPECT_THAT(expected, HasSubstr("yes"));
  EXPECT_EQ(answer(Run("bisparse-classify", piped + " <a.wav").out), expected);
  WriteText("pipe.sh",
            fmt::format("cat a.wav | '{}/bisparse-classify' {}", BISPARSE_BIN_DIR, piped));
  EXPECT_EQ(std::system(fmt::format("cd '{}' && sh pipe.sh >piped", folder_).c_str()), 0);
  EXPECT_EQ(answer(ReadTextFile(Path("piped"))), expected);

  // Floats above full scale: the same clipping in both programs, and a word about it.
  WriteTestSet("test");
  int64_t correct = 0;
  for (const char* name : {"yes", "no", "_silence_"}) {
    for (const auto& file : fs::directory_iterator(Path(std::string("test/") + name))) {
      std::vector<float> samples = Samples(file.path());
      for (float& x : samples) x *= 12;
      WriteFloatWav(fs::relative(file.path(), folder_), samples, 8000);
      const Result result = Run("bisparse-classify",
                                "model.bisparse --top 1 " + fs::relative(file, folder_).string());
      EXPECT_THAT(result.err, HasSubstr("peaks at 3.6 times full scale and is clipped"));
      correct += result.out.find(fmt::format(":  {} ", name)) != std::string::npos;
    }
  }
  const Result evaluated = Run("bisparse-evaluate", "model.bisparse --data test");
  EXPECT_THAT(evaluated.out, HasSubstr(fmt::format("({} of 12)", correct)));
  EXPECT_THAT(evaluated.err, HasSubstr("12 recordings"));
}

TEST_F(Programs, ClassifyRefusesWhatItCannotHear) {
  WriteText("broken.wav", "this is not sound");
  ExpectError("bisparse-classify", "model.bisparse broken.wav", 3,
              "broken.wav: not a readable recording: ");
  ExpectError("bisparse-classify", "model.bisparse absent.wav", 3, "absent.wav: ");
  WriteTone("a.wav", 300);
  packed::Model deaf = packed::MakeExampleModel(1);
  deaf.front_end.reset();
  packed::WriteModel(deaf, Path("deaf.bisparse"));
  ExpectError("bisparse-classify", "deaf.bisparse a.wav", 2, "the model has no front end");
}

TEST_F(Programs, SynthesiseSpeaksOnceAndOnlyWithEspeak) {
  const std::string arguments = "--out speech --words yes --clips-per-word 4";
  ExpectError("bisparse-synthesise", arguments, 3,
              "espeak-ng: the program is not on the PATH (hint: apt-get install espeak-ng)",
              "PATH=");
  ExpectError("bisparse-synthesise", "--out speech --words yes,n0", 2, "'n0' is not a word");
  WriteText("mine/notes.txt", "keep");
  ExpectError("bisparse-synthesise", "--out mine", 3, "mine: exists, but was not made with these");
  if (std::system("espeak-ng --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no espeak-ng";
  const Result made = Run("bisparse-synthesise", arguments);
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(made.out, "speech: 4 recordings by 4 voices, 0 skipped\n");
  EXPECT_TRUE(fs::exists(Path("speech/_background_noise_/pink_noise.wav")));
  EXPECT_EQ(Run("bisparse-synthesise", arguments).out, "speech: complete already, 4 recordings\n");
}

}  // namespace
}  // namespace bisparse
