// SPDX-License-Identifier: Apache-2.0
// The programs among other people's terminals, disks, names and shells: logs that cannot be written, outputs that are no
// files, text that controls terminals, values that are no numbers. bisparse-train: tests/resume_kill.
#include <sys/stat.h>

#include "deploy/base/utf8.h"
#include "tests/programs/programs_test.h"

namespace bisparse {
namespace {

using ::testing::Not;

/// Shell text that makes descriptor 4 a pipe whose reader has gone.
constexpr const char* kDeadPipe = "mkfifo -m 600 dead; exec 3<>dead 4>dead 3<&-; rm dead;";

class System : public Programs {
 protected:
  /// What stays of a program's run besides what was there: temporary files that were forgotten.
  std::vector<std::string> TemporaryFiles() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (name.find(".tmp") != std::string::npos) names.push_back(name);
    }
    return names;
  }
  static bool HasDevFull() { return fs::exists("/dev/full"); }
};

TEST_F(System, RemarksThatCannotBeWrittenEndNothing) {
  WriteTestSet("test");
  WriteText("test/no/broken.wav", "this is not sound");
  const std::string evaluate = "model.bisparse --data test --json -";
  const Result plain = Run("bisparse-evaluate", evaluate);
  ASSERT_EQ(plain.code, 0) << plain.err;
  ASSERT_THAT(plain.err, HasSubstr("broken.wav"));
  const Json expected = Json::parse(plain.out);
  for (const std::string log : {"2>/dev/full", "2>&-", "2>&4"}) {
    if (log == "2>/dev/full" && !HasDevFull()) continue;
    SCOPED_TRACE(log);
    Result result = Run("bisparse-evaluate", evaluate + " " + log, kDeadPipe);
    EXPECT_EQ(result.code, 0);
    EXPECT_EQ(Json::parse(result.out)["confusion"], expected["confusion"]);
    for (const std::string& program : kPrograms) {  // an error that nobody can read keeps its code
      EXPECT_EQ(Run(program, "--no-such-flag " + log, kDeadPipe).code, 2) << program;
    }
    EXPECT_EQ(Run("bisparse-inspect", "absent.bisparse " + log, kDeadPipe).code, 3);
  }
}

TEST_F(System, ResultsThatCannotBeWrittenAreAnError) {
  for (const std::string& program : kPrograms) {
    for (const char* flag : {"--help ", "--version "}) {
      ExpectError(program, std::string(flag) + ">&-", 3,
                  "stdout: cannot be written: Bad file descriptor");
      ExpectError(program, std::string(flag) + ">&4", 3, "stdout: cannot be written: Broken pipe",
                  kDeadPipe);
      if (HasDevFull())
        ExpectError(program, std::string(flag) + ">/dev/full", 3,
                    "stdout: cannot be written: No space");
    }
  }
  ExpectError("bisparse-inspect", "model.bisparse >&-", 3,
              "stdout: cannot be written: Bad file descriptor");
}

// The file that is opened first would become the stream that is missing.
TEST_F(System, NoFileTakesTheNumberOfAClosedStream) {
  WriteTestSet("test");
  WriteText("test/no/broken.wav", "this is not sound");
  const Result result =
      Run("bisparse-evaluate", "model.bisparse --data test --json result.json <&- 2>&-");
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(Json::parse(ReadTextFile(Path("result.json")))["samples"], 12);
  EXPECT_EQ(
      Run("bisparse-evaluate", "model.bisparse --data test --json result.json <&- >&- 2>&-").code,
      3);
  EXPECT_EQ(Json::parse(ReadTextFile(Path("result.json")))["samples"], 12);
}

TEST_F(System, OutputGoesIntoWhatIsNoFile) {
  WriteTestSet("test");
  const std::string evaluate = "model.bisparse --data test ";
  const auto json = [](const std::string& text) {
    return Json::parse(text.substr(text.find('{')));
  };
  // After what was printed before, whatever stdout is.
  for (const char* stdout_path : {"/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"}) {
    if (!fs::exists(stdout_path)) continue;
    Result result = Run("bisparse-evaluate", evaluate + "--json " + stdout_path);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.out, StartsWith("model.bisparse: accuracy "));
    EXPECT_EQ(json(result.out)["samples"], 12);
    result = Shell("bisparse-evaluate " + evaluate + "--json " + stdout_path + " | cat");
    EXPECT_EQ(json(result.out)["samples"], 12);
  }
  fs::create_symlink("there/result.json", Path("link"));
  fs::create_directories(Path("there"));
  ASSERT_EQ(Run("bisparse-evaluate", evaluate + "--json link").code, 0);
  EXPECT_TRUE(fs::is_symlink(Path("link")));
  EXPECT_EQ(Json::parse(ReadTextFile(Path("there/result.json")))["samples"], 12);
  ASSERT_EQ(::mkfifo(Path("pipe").c_str(), 0600), 0);
  ASSERT_EQ(Shell("cat pipe >drawn & bisparse-inspect model.bisparse --picture pipe && wait").code,
            0);
  EXPECT_THAT(ReadTextFile(Path("drawn")), AllOf(StartsWith("<svg"), HasSubstr("</svg>")));
  EXPECT_TRUE(fs::is_fifo(Path("pipe")));
}

TEST_F(System, LimitsOnFileSizesLeaveWhatWasThere) {
  WriteText("all.svg", "old");
  const Result result =
      Run("bisparse-inspect", "model.bisparse --picture all.svg", "ulimit -f 1 &&");
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("all.svg: cannot be written: File too large (hint: "));
  EXPECT_EQ(ReadTextFile(Path("all.svg")), "old");
  EXPECT_THAT(TemporaryFiles(), ElementsAre());
}

TEST_F(System, OutputsThatCannotBeWrittenAreRefusedBeforeTheWork) {
  WriteTestSet("test");
  // An hour of work, were it begun.
  ExpectError("bisparse-bench", "model.bisparse --seconds 3600 --json absent/a.json", 3,
              "absent/a.json: cannot be created: No such file or directory (hint: ");
  ExpectError("bisparse-bench", "model.bisparse --seconds 3600 --json .", 3,
              ".: cannot be written: Is a directory");
  ExpectError("bisparse-bench", "model.bisparse --seconds 3600 --tune --tune-file absent/a.json", 3,
              "absent/a.json: cannot be created");
  ExpectError("bisparse-inspect", "model.bisparse --picture absent/a.svg", 3,
              "absent/a.svg: cannot be created");
  ExpectError("bisparse-evaluate", "model.bisparse --data test --noise --plot absent/a.svg", 3,
              "absent/a.svg: cannot be created");
}

TEST_F(System, OutputsReplaceNeitherInputsNorOneAnother) {
  WriteTestSet("test");
  const std::string before = ReadTextFile(Path("model.bisparse"));
  fs::create_symlink("model.bisparse", Path("link.bisparse"));
  const std::string would = " would replace what MODEL reads (hint: another name)";
  for (const char* output : {"model.bisparse", "./model.bisparse", "link.bisparse"}) {
    ExpectError("bisparse-evaluate", fmt::format("model.bisparse --data test --json {}", output), 2,
                fmt::format("--json: {}{}", output, would));
    ExpectError("bisparse-bench",
                fmt::format("model.bisparse --seconds 3600 --tune --tune-file {}", output), 2,
                fmt::format("--tune-file: {}{}", output, would));
    for (const char* flag : {"--json", "--picture", "--graph"}) {
      ExpectError("bisparse-inspect", fmt::format("link.bisparse {} {}", flag, output), 2,
                  fmt::format("{}: {}{}", flag, output, would));
    }
  }
  EXPECT_EQ(ReadTextFile(Path("model.bisparse")), before);
  ExpectError("bisparse-evaluate",
              "model.bisparse --data test --json new.json --predictions ./new.json", 2,
              "--predictions: ./new.json is the output of --json too (hint: another name)");
  ExpectError("bisparse-evaluate", "model.bisparse --data test --json - --predictions -", 2,
              "--predictions: stdout is the output of --json too (hint: another name)");
  EXPECT_FALSE(fs::exists(Path("new.json")));
  EXPECT_EQ(Run("bisparse-evaluate",
                "model.bisparse --data test --json /dev/null --predictions /dev/null")
                .code,
            0);
  EXPECT_EQ(Run("bisparse-evaluate", "model.bisparse --data test --json a.json").code, 0);
  EXPECT_EQ(Run("bisparse-evaluate", "model.bisparse --data test --json a.json").code, 0);
}

TEST_F(System, FlagsThatWouldBeIgnoredAreRefused) {
  ExpectError("bisparse-bench", "model.bisparse --labels y.npy", 2, "--labels requires --data");
  for (const char* flag : {"--threads 2", "--batch 4"}) {
    ExpectError("bisparse-bench", fmt::format("model.bisparse --sweep {}", flag), 2,
                "excludes --sweep");
  }
  ExpectError("bisparse-evaluate", "model.bisparse --data test --noise --tune-file a", 2,
              "excludes --");
  for (const char* only : {"--picture a.svg", "--plot a.svg", "--graph a.svg", "--config"}) {
    for (const char* other : {"--json -", "--plan", "--tune"}) {
      ExpectError("bisparse-inspect", fmt::format("model.bisparse {} {}", only, other), 2,
                  "excludes --");
    }
  }
  for (const char* flag : {"--pipe-rate 8000", "--pipe-format f32"}) {
    ExpectError("bisparse-listen", fmt::format("model.bisparse a.wav {}", flag), 2,
                "is of no use here");
  }
  ExpectError("bisparse-listen", "model.bisparse - -", 2, "FILE: - is given 2 times, 1 allowed");
}

// Nobody writes to the pipes: a program that waits fails by the test's time limit.
TEST_F(System, PipesAreNotWaitedFor) {
  ASSERT_EQ(::mkfifo(Path("pipe").c_str(), 0600), 0);
  for (const std::string& program : kPrograms) {
    if (program == "bisparse-compose" || program == "bisparse-synthesise") continue;
    const std::string more = program == "bisparse-classify" || program == "bisparse-listen"
                                 ? " a.wav"
                             : program == "bisparse-evaluate" ? " --data test"
                                                              : "";
    ExpectError(program, "pipe" + more, 3, "pipe: is not a regular file but a pipe");
    ExpectError(program, "/dev/zero" + more, 3, "/dev/zero: is not a regular file but a device");
  }
  ExpectError("bisparse-inspect", "model.bisparse --tune-file pipe", 3,
              "pipe: is not a regular file but a pipe");
  fs::create_directories(Path("run"));
  ASSERT_EQ(::mkfifo(Path("run/metrics.csv").c_str(), 0600), 0);
  ExpectError("bisparse-inspect", "run --plot a.svg", 3,
              "metrics.csv: is not a regular file but a pipe");
}

TEST_F(System, ConfigurationsComeFromPipesToo) {
  WriteText(
      "config",
      "data: {type: npy, train_x: x.npy, train_y: y.npy, input: [8, 8, 1], class_names: [a, b]}\n"
      "network:\n  - flatten\n  - linear: {units: classes}\n");
  ASSERT_EQ(::mkfifo(Path("pipe.yaml").c_str(), 0600), 0);
  const Result result = Shell("cat config >pipe.yaml & bisparse-inspect pipe.yaml");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("linear1"));
}

/// A model whose names are as bad as a file's can be.
packed::Model BadlyNamed() {
  packed::Model model = packed::MakeExampleModel(1);
  model.name = "a<b>&\"c\" b\xfcro \x1b]0;title\x07";
  model.class_names = {"\x1b[2Jyes", "n\xf6\nno", "<&\"'\xc2\x9b"};
  for (packed::Layer& layer : model.layers) layer.name = "\x1b[31m<" + layer.name + "&\xff>\n";
  model.provenance.config_text = "";
  return model;
}

bool IsShowable(const std::string& text) {
  return FirstNotUtf8(text) == text.size() && text.find("\xc2\x9b") == std::string::npos &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return c == '\n' || (c >= 0x20 && c != 0x7F); });
}

TEST_F(System, ForeignNamesNeitherStopNorStartAnything) {
  packed::WriteModel(BadlyNamed(), Path("bad.bisparse"));
  WriteTone("a\x1b[2J\xff.wav", 300);
  struct Case {
    std::string program, arguments;
    bool json;
  };
  for (const Case& c :
       {Case{"bisparse-inspect", "bad.bisparse --plan", false},
        {"bisparse-inspect", "bad.bisparse --json -", true},
        {"bisparse-bench", "bad.bisparse --seconds 0.01 --mode dense", false},
        {"bisparse-bench", "bad.bisparse --seconds 0.01 --mode dense --json -", true},
        {"bisparse-classify", "bad.bisparse a*.wav", false}}) {
    SCOPED_TRACE(c.program + " " + c.arguments);
    const Result result = Run(c.program, c.arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_TRUE(IsShowable(result.out)) << result.out;
    EXPECT_TRUE(!c.json || Json::accept(result.out));
  }
  // Names break no lines: summary, blank, heading, layers, total.
  const Result result = Run("bisparse-inspect", "bad.bisparse");
  const auto layers = static_cast<int64_t>(BadlyNamed().layers.size());
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 6 + 1 + 1 + layers + 1)
      << result.out;
  EXPECT_THAT(result.out, HasSubstr("\\x1b[2Jyes n\\xf6\\x0ano <&\"'\\u009b"));
  for (const std::string& program : kPrograms) {
    for (const char* bad : {"'--\x1b[2J'", "'a\x1b[2J\xff' b c d"}) {
      const Result refused = Run(program, bad);
      EXPECT_NE(refused.code, 0);
      EXPECT_TRUE(IsShowable(refused.err)) << refused.err;
    }
  }
}

TEST_F(System, PicturesAreXmlWhateverTheNames) {
  packed::WriteModel(BadlyNamed(), Path("bad.bisparse"));
  ASSERT_EQ(Run("bisparse-inspect", "bad.bisparse --picture a.svg").code, 0);
  const std::string svg = ReadTextFile(Path("a.svg"));
  EXPECT_TRUE(IsShowable(svg));
  EXPECT_THAT(svg, HasSubstr(">\\x1b[31m&lt;conv1&amp;\\xff&gt;\\x0a: "));
  const std::string name = "runs/<&\"it's\"\x1b\xff";
  WriteText(name + "/metrics.csv",
            "epoch,train_loss,validation_accuracy,validation_perturbed\n1,2.5,0.25,\n2,2,0.5,\n");
  const Result result = Run("bisparse-inspect", "runs/* --plot b.svg", "LC_ALL=C");
  if (result.err.find("gnuplot-nox") != std::string::npos) GTEST_SKIP() << result.err;
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string plot = ReadTextFile(Path("b.svg"));
  EXPECT_EQ(FirstNotUtf8(plot), plot.size());
  EXPECT_EQ(plot.find('\x1b'), std::string::npos);
  EXPECT_THAT(plot, HasSubstr("&lt;&amp;"));
  EXPECT_THAT(plot, HasSubstr("</svg>"));
}

TEST_F(System, NumbersThatAreNoneAreRefused) {
  const std::string bench = "model.bisparse ";
  for (const char* value : {"nan", "-nan", "inf", "1e999", "-1", "0", "1e-400", "0x1p-3", "1,5",
                            "one", "\"\"", "' '"}) {
    ExpectError("bisparse-bench", fmt::format("{} --seconds={}", bench, value), 2, "--seconds");
  }
  for (const char* flag : {"--threads", "--batch"}) {
    for (const char* value :
         {"nan", "-1", "1.5", "010", "0x10", "4294967297", "9223372036854775808",
          "99999999999999999999999", "1e3", "\"\"", "2x"}) {
      ExpectError("bisparse-bench", fmt::format("{} {}={}", bench, flag, value), 2, flag);
    }
  }
  for (const char* value :
       {"nan", "-1", "1.5", "010", "18446744073709551616", "99999999999999999999999", "\"\""}) {
    ExpectError("bisparse-synthesise", fmt::format("--out speech --seed={}", value), 2, "--seed");
  }
  for (const char* value : {"nan", "-1", "0", "1.5", "4294967297", "100001"}) {
    ExpectError("bisparse-synthesise",
                fmt::format("--out speech --words a --clips-per-word={}", value), 2, "clips");
  }
  for (const char* value : {"nan", "-1", "0", "1.5", "4294967297"}) {
    ExpectError("bisparse-classify", fmt::format("model.bisparse a.wav --top={}", value), 2,
                "--top");
  }
  EXPECT_FALSE(fs::exists(Path("speech")));
}

TEST_F(System, EmptyNamesAreRefused) {
  const char* const is_empty = ": '' is not a value (hint: ";
  for (const char* flag : {"--json", "--tune-file", "--data", "--labels", "--format", "--mode"}) {
    ExpectError("bisparse-bench", fmt::format("model.bisparse {} ''", flag), 2, flag);
  }
  for (const char* flag : {"--json", "--picture", "--plot", "--tune-file"}) {
    ExpectError("bisparse-inspect", fmt::format("model.bisparse {} ''", flag), 2,
                flag + std::string(is_empty));
  }
  ExpectError("bisparse-inspect", "''", 2, std::string("MODEL") + is_empty);
  ExpectError("bisparse-classify", "model.bisparse ''", 2, std::string("FILE") + is_empty);
  ExpectError("bisparse-evaluate", "model.bisparse --data ''", 2, std::string("--data") + is_empty);
  ExpectError("bisparse-evaluate", "model.bisparse --data test --json=", 2, "--json");
  ExpectError("bisparse-synthesise", "--out ''", 2, std::string("--out") + is_empty);
}

TEST_F(System, FaultsOfTheSystemAreNoInternalErrors) {
  const std::string name(300, 'x');
  for (const std::string& program : kPrograms) {
    if (program == "bisparse-compose" || program == "bisparse-synthesise") continue;
    const std::string more = program == "bisparse-classify" || program == "bisparse-listen"
                                 ? " a.wav"
                             : program == "bisparse-evaluate" ? " --data test"
                                                              : "";
    ExpectError(program, name + more, 3, "File name too long");
  }
  ExpectError("bisparse-evaluate", "model.bisparse --data " + name, 3, "File name too long");
  ExpectError("bisparse-synthesise", "--words yes --out " + name, 3, "File name too long");
  ExpectError("bisparse-inspect", name + " --plot a.svg", 3, "File name too long");
  ExpectError("bisparse-inspect", "model.bisparse --tune-file " + name, 3, "File name too long");
  WriteText("runs/a/metrics.csv", "epoch,train_loss,validation_accuracy\n1,2.5,0.25\n");
  ExpectError("bisparse-bench", "model.bisparse --seconds 0.01 --peers eigen", 3,
              "absent: a temporary folder cannot be made there", "TMPDIR=absent");
  if (::geteuid() == 0) GTEST_SKIP() << "root may enter every folder";
  fs::create_directories(Path("locked/in"));
  ASSERT_EQ(::chmod(Path("locked").c_str(), 0), 0);
  ExpectError("bisparse-evaluate", "model.bisparse --data locked/in", 3, "Permission denied");
  ExpectError("bisparse-synthesise", "--words yes --out locked/in/speech", 3, "Permission denied");
  ExpectError("bisparse-inspect", "locked/in --plot a.svg", 3, "Permission denied");
  ASSERT_EQ(::chmod(Path("locked").c_str(), 0700), 0);
}

}  // namespace
}  // namespace bisparse
