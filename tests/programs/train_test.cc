// SPDX-License-Identifier: Apache-2.0
// bisparse-train and -export among other people's terminals, disks, names and shells: as system_test.cc.
#include <sys/stat.h>

#include "deploy/base/random.h"
#include "deploy/base/utf8.h"
#include "tests/programs/json_page.h"
#include "tests/programs/programs_test.h"
#include "tests/resume_kill/write_npy.h"

namespace bisparse {
namespace {

constexpr int kEpochs = 3;

class TrainProgram : public Programs {
 protected:
  void SetUp() override {
    Programs::SetUp();
    CounterRandom random(3, {});
    std::vector<float> x_bi(240 * 16);
    std::vector<int64_t> y_b(240);
    for (size_t b = 0; b < y_b.size(); ++b) {
      y_b[b] = static_cast<int64_t>(b % 3);
      for (size_t i = 0; i < 16; ++i)
        x_bi[b * 16 + i] = random.Normal() + (i / 5 == b % 3 ? 2.0f : 0.0f);
    }
    train::WriteNpy(Path("x.npy"), "<f4", "(240, 1, 16)", x_bi);
    train::WriteNpy(Path("y.npy"), "<i8", "(240,)", y_b);
    WriteConfig("tiny.yaml", "tiny");
  }
  void WriteConfig(const std::string& file, const std::string& name) const {
    WriteText(
        file,
        fmt::format(
            "name: {}\n"
            "data: {{type: npy, train_x: x.npy, train_y: y.npy, input: [1, 16, 1], class_names: "
            "[a, b, c]}}\n"
            "network: [flatten, linear: {{units: classes}}]\n"
            "train: {{epochs: {}, batch_size: 16, threads: 1, workers: 1, device: cpu}}\n",
            name, kEpochs));
  }
  /// Epochs that a run has finished.
  int Epochs(const std::string& run) const {
    const std::string csv = ReadTextFile(Path(run + "/metrics.csv"));
    return static_cast<int>(std::count(csv.begin(), csv.end(), '\n')) - 1;
  }
};

TEST_F(TrainProgram, TrainsOnWhereTheLogCannotBeWritten) {
  ASSERT_EQ(Run("bisparse-train", "tiny.yaml --out plain").code, 0);
  for (const std::string log : {"2>/dev/full", "2>&-", "2>&4", "<&- 2>&-"}) {
    if (log == "2>/dev/full" && !fs::exists("/dev/full")) continue;
    SCOPED_TRACE(log);
    const Result result = Run("bisparse-train", "tiny.yaml --out run --force " + log,
                              "mkfifo dead; exec 3<>dead 4>dead 3<&-; rm dead;");
    EXPECT_EQ(result.code, 0);
    EXPECT_THAT(result.out, HasSubstr("run: validation accuracy"));
    EXPECT_EQ(Epochs("run"), kEpochs);
    for (const char* file : {"/lock", "/config.yaml"}) {  // the first files that are opened
      EXPECT_EQ(ReadTextFile(Path("run") + file).find("epoch "), std::string::npos) << file;
    }
  }
  EXPECT_EQ(Run("bisparse-train", "absent.yaml 2>&-").code, 3);
}

// Trains until there is a checkpoint, then sends a signal.
constexpr const char* kStop =
    "bisparse-train tiny.yaml --epochs 100000 --out run & pid=$!; "
    "while ! [ -e run/last.pt ] && kill -0 $pid; do sleep 0.02; done; kill -{} $pid; wait $pid";

TEST_F(TrainProgram, AClosedTerminalStopsItInOrder) {
  for (const char* signal : {"HUP", "TERM"}) {
    const Result result = Shell(fmt::format(fmt::runtime(kStop), signal));
    EXPECT_EQ(result.code, 130) << result.err;
    EXPECT_THAT(result.out, HasSubstr("--resume goes on from there"));
    fs::remove_all(Path("run"));
  }
}

TEST_F(TrainProgram, NohupKeepsItTraining) {
  const Result result = Shell(
      "trap '' HUP; bisparse-train tiny.yaml --epochs 20 --out run & pid=$!; "
      "while ! [ -e run/last.pt ] && kill -0 $pid; do sleep 0.02; done; kill -HUP $pid; wait $pid");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Epochs("run"), 20);
}

TEST_F(TrainProgram, SaysWhereMemoryIsShort) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs the whole address space";
#endif
  // Too little for LibTorch and OpenBLAS, enough for the loader.
  for (const char* program : {"bisparse-train", "bisparse-export"}) {
    ExpectError(program, "--version", 1, "out of memory", "ulimit -v 700000 &&");
  }
}

TEST_F(TrainProgram, TheNextCommandIsOneForAShell) {
  const std::string name = "it's $HOME; a \x1b name";
  WriteConfig("odd.yaml", "\"it's $HOME; a \\e name\"");
  const Result trained = Run("bisparse-train", "odd.yaml");
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(trained.out.find('\x1b'), std::string::npos);
  const size_t at = trained.out.find("next: ");
  ASSERT_NE(at, std::string::npos);
  WriteText("next.sh", trained.out.substr(at + 6));
  const Result next = Shell("bash next.sh");
  ASSERT_EQ(next.code, 0) << next.err;
  EXPECT_TRUE(fs::exists(Path(name + ".bisparse")));
  EXPECT_EQ(next.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(FirstNotUtf8(ReadTextFile(Path("runs/" + name + "/log/summary.json"))),
            ReadTextFile(Path("runs/" + name + "/log/summary.json")).size());
}

TEST_F(TrainProgram, ExportWritesIntoWhatIsNoFile) {
  ASSERT_EQ(Run("bisparse-train", "tiny.yaml --out run").code, 0);
  ASSERT_EQ(Run("bisparse-export", "run -o model").code, 0);
  fs::create_symlink("there", Path("link"));
  ASSERT_EQ(::mkfifo(Path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(Run("bisparse-export", "run -o link").code, 0);
  EXPECT_EQ(Shell("cat pipe >piped & bisparse-export run -o pipe && wait").code, 0);
  EXPECT_TRUE(fs::is_symlink(Path("link")));
  EXPECT_TRUE(fs::is_fifo(Path("pipe")));
  for (const char* copy : {"there", "piped"}) {  // but for the time of their making
    EXPECT_EQ(packed::ReadModel(Path(copy)).name, "tiny");
    EXPECT_EQ(fs::file_size(Path(copy)), fs::file_size(Path("model")));
  }
  ExpectError("bisparse-export", "run -o absent/a", 3,
              "absent/a: cannot be created: No such file or directory (hint: ");
  ExpectError("bisparse-export", "run -o a", 3, "a: cannot be written: File too large",
              "ulimit -f 1 &&");
  EXPECT_FALSE(fs::exists(Path("a")));
}

TEST_F(TrainProgram, ConfigurationsComeFromPipesButNothingElseDoes) {
  EXPECT_EQ(Shell("cat tiny.yaml | bisparse-train /dev/stdin --dry-run").code, 0);
  EXPECT_EQ(Run("bisparse-train", "/dev/stdin --dry-run <tiny.yaml").code, 0);
  ASSERT_EQ(::mkfifo(Path("pipe").c_str(), 0600), 0);
  fs::create_directories(Path("run"));
  fs::copy_file(Path("tiny.yaml"), Path("run/config.yaml"));
  fs::create_symlink("../pipe", Path("run/best.pt"));
  ExpectError("bisparse-export", "run -o a", 3, "best.pt: is not a regular file but a pipe");
}

// Clips alone have perturbed copies and other words: train/loop/loop_test.cc tests them.
TEST_F(TrainProgram, WritesTheColumnsAndKeysOfThePage) {
  WriteText(
      "sparse.yaml",
      "data: {type: npy, train_x: x.npy, train_y: y.npy, input: [1, 16, 1], class_names: [a, b, "
      "c]}\n"
      "network: [flatten, linear: {units: 16, packing: {set_size: 2, lanes: 4, owners: learned}}, "
      "kwta: {winners: 4}, linear: {units: classes}]\n"
      "train: {epochs: 1, batch_size: 16, threads: 1, workers: 1, device: cpu}\n");
  ASSERT_EQ(Run("bisparse-train", "sparse.yaml --out teacher").code, 0);
  const Result result =
      Run("bisparse-train", "sparse.yaml --out run --set train.teacher=[teacher]");
  ASSERT_EQ(result.code, 0) << result.err;
  std::set<std::string> columns, keys;
  std::istringstream csv(ReadTextFile(Path("run/metrics.csv")));
  std::string header;
  std::getline(csv, header);
  header = std::regex_replace(header, std::regex("_(linear|kwta)1"), "_<layer>");
  std::istringstream names(header);
  for (std::string name; std::getline(names, name, ',');) columns.insert(name);
  EXPECT_EQ(columns, KeysOnPage("metrics.csv"));
  AddKeys(Json::parse(ReadTextFile(Path("run/log/summary.json"))), "", keys);
  keys.insert(
      {"validation_perturbed", "unknown_accepted", "held_out_accepted", "held_out_samples"});
  EXPECT_EQ(keys, KeysOnPage("log/summary.json"));
  std::set<std::string> choice;
  AddKeys(Json::parse(ReadTextFile(Path("run/log/kernels.json"))), "", choice);
  EXPECT_EQ(choice, KeysOnPage("log/kernels.json"));

  const Result timed =
      Run("bisparse-bench", "sparse.yaml --training --seconds 0.01 --batch 8 --json a.json");
  ASSERT_EQ(timed.code, 0) << timed.err;
  EXPECT_THAT(timed.out, AllOf(HasSubstr("masked / packed"), HasSubstr("linear1")));
  const Json training = Json::parse(ReadTextFile(Path("a.json")));
  std::set<std::string> times;
  AddKeys(training, "", times);
  EXPECT_EQ(times, KeysOnPage("bisparse-bench --training --json"));
  EXPECT_EQ(training["batch"], 8);
  EXPECT_GT(training["training"]["dense"]["step_ms"], 0.0);
}

// A start takes a second: one of each kind; system_test.cc has the rest.
TEST_F(TrainProgram, FlagsAreCheckedAndAnsweredAsEverywhere) {
  ExpectError("bisparse-train", "--help >&-", 3, "stdout: cannot be written: Bad file descriptor");
  ExpectError("bisparse-train", "--document-config >&-", 3,
              "stdout: cannot be written: Bad file descriptor");
  ExpectError("bisparse-export", "--version >&-", 3,
              "stdout: cannot be written: Bad file descriptor");
  ExpectError("bisparse-train", "''", 2, "CONFIG: '' is not a value (hint: ");
  ExpectError("bisparse-train", "tiny.yaml --out ''", 2, "--out: '' is not a value");
  ExpectError("bisparse-export", "run -o ''", 2, "--output: '' is not a value");
  ExpectError("bisparse-export", "run -o a --max-loss=nan", 2,
              "--max-loss: 'nan' is not a finite number");
  ExpectError("bisparse-export", "run -o a --samples=99999999999999999999999", 2, "--samples");
  for (const char* flag :
       {"--epochs=nan", "--seed=-1", "--threads=1.5", "--set train.learning_rate=.inf"}) {
    EXPECT_EQ(Run("bisparse-train", fmt::format("tiny.yaml --dry-run {}", flag)).code, 2) << flag;
  }
}

}  // namespace
}  // namespace bisparse
