// SPDX-License-Identifier: Apache-2.0
// Streams end to end: bisparse-compose writes them from made-up folders, bisparse-evaluate measures on them.
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
  ExpectError("bisparse-compose", kCompose + std::string("a --minutes 1e9"), 2, "--minutes: 1e+09");
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

}  // namespace
}  // namespace bisparse
