// SPDX-License-Identifier: Apache-2.0
// Runs the programs on a model that takes pictures, and on pictures made here.
#include "data/picture.h"
#include "data/write_png.h"
#include "deploy/base/random.h"
#include "tests/programs/programs_test.h"

namespace bisparse {
namespace {

class Pictures : public Programs {
 protected:
  void SetUp() override {
    Programs::SetUp();
    packed::Model model = packed::MakeExampleModel(1);
    model.provenance.config_text = "";
    model.front_end.reset();
    model.pictures = PictureInput{.mean_c = {0.5f}, .deviation_c = {0.25f}};
    packed::WriteModel(model, model_path_);
  }

  /// Grey, of any size; another one for each seed.
  void Put(const std::string& name, uint32_t seed, uint32_t height = 8, uint32_t width = 8) const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::vector<uint8_t> bytes(height * width);
    for (size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<uint8_t>(MixBits(seed * 1000 + i));
    }
    data::WritePng(Path(name), height, width, bytes, {.colour = 0});
  }

  std::string Answer(const std::string& name) const {
    const data::Picture picture = data::ReadPicture(Path(name));
    std::vector<float> logits(3);
    engine().RunPixels(picture.pixels(), logits);
    return engine().class_names()[static_cast<size_t>(
        std::max_element(logits.begin(), logits.end()) - logits.begin())];
  }
};

TEST_F(Pictures, ClassifyTakesFilesAndFolders) {
  Put("a.png", 1);
  Put("more/b.png", 2, 30, 20);
  Put("more/deep/c.png", 3, 5, 9);
  WriteText("more/notes.txt", "x");
  const Result result = Run("bisparse-classify", "model.bisparse a.png more --top 1");
  EXPECT_EQ(result.code, 0) << result.err;
  std::string expected;
  for (const char* name : {"a.png", "more/b.png", "more/deep/c.png"}) {
    expected += fmt::format("{}:  {} [0-9.]+ %  \\(resizing [0-9]+ us, network [0-9.]+ us\\)\n",
                            name, Answer(name));
  }
  EXPECT_THAT(result.out, MatchesRegex(expected));
  WriteText("x.png", "nonsense");
  ExpectError("bisparse-classify", "model.bisparse x.png", 3, "x.png: is neither PNG nor JPEG");
  ExpectError("bisparse-classify", "model.bisparse none.png", 3, "none.png");
  fs::create_directories(Path("empty"));
  ExpectError("bisparse-classify", "model.bisparse empty", 3, "empty: holds no pictures");
}

TEST_F(Pictures, EvaluateTakesFolders) {
  int right = 0, i = 0;
  for (const char* name : {"yes", "no", "_silence_"}) {
    for (int k = 0; k < 4; ++k) {
      const std::string file = fmt::format("set/{}/{}.png", name, k);
      Put(file, static_cast<uint32_t>(++i), 8 + static_cast<uint32_t>(k), 8);
      right += Answer(file) == name;
    }
  }
  WriteText("set/yes/broken.png", "nonsense");
  const Result result =
      Run("bisparse-evaluate", "model.bisparse --data set --json e.json --predictions p.json");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("skipped set/yes/broken.png: is neither PNG nor JPEG"));
  EXPECT_THAT(result.out, HasSubstr(fmt::format("({} of 12)", right)));
  EXPECT_THAT(result.out,
              HasSubstr("1 broken pictures skipped; 12 of 13 pictures, the whole folder"));
  const Json json = Json::parse(ReadTextFile(Path("e.json")));
  EXPECT_EQ(json["part"], "whole");
  EXPECT_EQ(json["recordings"], 12);
  EXPECT_EQ(json["skipped"], 1);
  EXPECT_EQ(Json::parse(ReadTextFile(Path("p.json")))["clips"][0], "set/yes/0.png");
  ExpectError("bisparse-evaluate", "model.bisparse --data set --strict", 3, "broken.png");
  // With a test folder, that one; no cache is left anywhere.
  fs::create_directories(Path("split"));
  fs::rename(Path("set"), Path("split/test"));
  const Result test = Run("bisparse-evaluate", "model.bisparse --data split");
  EXPECT_THAT(test.out, HasSubstr("12 of 13 pictures, the test split"));
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    EXPECT_NE(entry.path().extension(), ".cache") << entry.path();
  }
  ExpectError("bisparse-evaluate", "model.bisparse --data split --split validation", 3,
              "no samples in the validation split");
  ExpectError("bisparse-evaluate", "model.bisparse --data x.npy --labels y.npy", 2,
              "the model takes pictures");
  ExpectError("bisparse-evaluate", "model.bisparse --data none", 3, "none: cannot be read");
  ExpectError("bisparse-evaluate", "model.bisparse --data split --noise", 2,
              "is added to waveforms");
}

TEST_F(Pictures, InspectSaysHowTheyAreRead) {
  EXPECT_THAT(
      Run("bisparse-inspect", "model.bisparse").out,
      HasSubstr("\npictures    grey, cropped to the input's shape, triangle filter, mean 0.5, "
                "deviation 0.25\n"));
}

TEST_F(Pictures, ListenRefusesThem) {
  WriteTone("a.wav", 300);
  ExpectError("bisparse-listen", "model.bisparse a.wav", 2, "front end");
}

}  // namespace
}  // namespace bisparse
