// SPDX-License-Identifier: Apache-2.0
// Every key that a program writes has a row in docs/json.md, and every row there is a key that a program writes.
#include "tests/programs/json_page.h"

namespace bisparse {
namespace {

class JsonPage : public Programs {
 protected:
  /// What the programs wrote, one after the other.
  Json Read(const std::string& program, const std::string& arguments, const std::string& file,
            const std::string& before = "") const {
    const Result result = Run(program, arguments, before);
    EXPECT_EQ(result.code, 0) << program << " " << arguments << ": " << result.err;
    return result.code == 0 ? Json::parse(ReadTextFile(Path(file))) : Json();
  }
  static std::set<std::string> KeysIn(const std::vector<Json>& files) {
    std::set<std::string> keys;
    for (const Json& json : files) AddKeys(json, "", keys);
    return keys;
  }
};

TEST_F(JsonPage, HasWhatBenchWrites) {
  const std::string run = "model.bisparse --seconds 0.01 --json a.json";
  std::vector<Json> files = {
      Read("bisparse-bench", run, "a.json"), Read("bisparse-bench", run + " --pcm", "a.json"),
      Read("bisparse-bench", run + " --peers eigen --peer-model model.bisparse", "a.json"),
      // A program that finds no programs has no such peer.
      Read("bisparse-bench", run + " --peers onnxruntime", "a.json", "PATH=/absent")};
  EXPECT_EQ(KeysIn(files), KeysOnPage("bisparse-bench --json"));
  const Json sweep = Read("bisparse-bench", run + " --sweep", "a.json");
  ASSERT_THAT(KeysOf(sweep), ElementsAre("runs"));
  EXPECT_EQ(KeysOf(sweep["runs"][0]), KeysOf(files[0]));
}

TEST_F(JsonPage, HasWhatInspectWrites) {
  EXPECT_EQ(KeysIn({Read("bisparse-inspect", "model.bisparse --json a.json", "a.json")}),
            KeysOnPage("bisparse-inspect --json"));
  EXPECT_EQ(
      KeysIn({Read("bisparse-inspect", "model.bisparse --tune --tune-file a.json", "a.json")}),
      KeysOnPage("bisparse-inspect --tune-file"));
}

TEST_F(JsonPage, HasWhatEvaluateWrites) {
  WriteTestSet("test");
  packed::Model unknown = packed::MakeExampleModel(1);
  unknown.provenance.config_text = "";
  unknown.class_names = {"yes", "_unknown_", "_silence_"};
  packed::WriteModel(unknown, Path("unknown.bisparse"));
  WriteTestSet("open");
  fs::rename(Path("open/no"), Path("open/_unknown_"));
  WriteTone("others/cup/1.wav", 350);
  const Json closed_set =
      Read("bisparse-evaluate", "model.bisparse --data test --json a.json --predictions b.json",
           "a.json");
  const Json predictions = Json::parse(ReadTextFile(Path("b.json")));
  const Json open_set = Read(
      "bisparse-evaluate", "unknown.bisparse --data open --unknown others --json a.json", "a.json");
  EXPECT_EQ(KeysIn({closed_set, open_set}), KeysOnPage("bisparse-evaluate --json"));
  EXPECT_EQ(KeysIn({predictions}), KeysOnPage("bisparse-evaluate --predictions"));
  WriteTone("stream.wav", 300);
  WriteText("stream.txt", "0.05\t0.2\tyes\n");
  EXPECT_EQ(KeysIn({Read("bisparse-evaluate",
                         "model.bisparse --stream stream.wav --threshold 0 --threshold no=0 "
                         "--refractory-ms 0 --json "
                         "a.json",
                         "a.json")}),
            KeysOnPage("bisparse-evaluate --stream --json"));
  EXPECT_EQ(KeysIn({Read("bisparse-evaluate", "model.bisparse --data test --noise --json a.json",
                         "a.json")}),
            KeysOnPage("bisparse-evaluate --noise --json"));
}

}  // namespace
}  // namespace bisparse
