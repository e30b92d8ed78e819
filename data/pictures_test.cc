// SPDX-License-Identifier: Apache-2.0
// Tests the data set of pictures on folders that each test makes: layouts, splits, every fault of input, the cache, means.
// Past 400 lines: all of it uses the same made-up pictures.
#include "data/pictures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "bisparse/error.h"
#include "data/picture_folder.h"
#include "data/sample_table.h"
#include "data/write_png.h"
#include "deploy/base/temporary_folder.h"

namespace bisparse::data {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class PicturesTest : public testing::Test {
 protected:
  /// One grey pixel of this value.
  std::string Put(const std::string& below, uint8_t value) const {
    const std::string path = Path(below);
    fs::create_directories(fs::path(path).parent_path());
    WritePng(path, 1, 1, std::vector<uint8_t>{value}, {.colour = 0});
    return path;
  }
  void PutText(const std::string& below, const std::string& text) const {
    fs::create_directories(fs::path(Path(below)).parent_path());
    WriteBytes(Path(below), text);
  }
  std::string Path(const std::string& below) const { return folder_.path() + "/" + below; }

  DatasetConfig Config(const std::string& root = "set") const {
    DatasetConfig config;
    config.kind = DatasetKind::kImages;
    config.images.root = Path(root);
    config.images.shape = {1, 1, 1};
    // Features are bytes: (v / 255 − 0) · 255.
    config.images.input.mean_c = {0.0f};
    config.images.input.deviation_c = {1.0f / 255};
    return config;
  }
  std::unique_ptr<Dataset> Open(const DatasetConfig& config, OpenOptions options = {}) const {
    options.workers = 2;
    return OpenDataset(config, {}, options);
  }
  std::string FaultOf(const DatasetConfig& config, ErrorKind kind = ErrorKind::kData) const {
    try {
      Open(config);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      return error.what();
    }
    return "none";
  }
  static std::vector<int> Values(const Dataset& dataset, Split split) {
    std::vector<int> values;
    std::vector<float> x(static_cast<size_t>(dataset.shape().elements()));
    for (int64_t i = 0; i < dataset.size(split); ++i) {
      dataset.Features(split, i, 0, x);
      values.push_back(static_cast<int>(std::lround(x[0])));
    }
    return values;
  }

  TemporaryFolder folder_;
};

TEST_F(PicturesTest, ThreeFoldersAreThreeSplits) {
  Put("set/train/cat/1.png", 1);
  Put("set/train/cat/deeper/2.png", 2);
  Put("set/train/dog/3.png", 3);
  Put("set/val/cat/4.png", 4);
  Put("set/val/dog/5.PNG", 5);
  Put("set/test/cat/6.png", 6);
  Put("set/test/dog/7.png", 7);
  const auto dataset = Open(Config());
  EXPECT_THAT(dataset->class_names(), ElementsAre("cat", "dog"));
  EXPECT_THAT(Values(*dataset, Split::kTrain), ElementsAre(1, 2, 3));
  EXPECT_THAT(Values(*dataset, Split::kValidation), ElementsAre(4, 5));
  EXPECT_THAT(Values(*dataset, Split::kTest), ElementsAre(6, 7));
  EXPECT_EQ(dataset->Label(Split::kTrain, 1), 0);
  EXPECT_EQ(dataset->Label(Split::kTrain, 2), 1);
  EXPECT_EQ(dataset->Describe(Split::kTest, 1, 0), Path("set/test/dog/7.png"));
  EXPECT_THAT(dataset->warnings(), IsEmpty());
  EXPECT_EQ(SampleTable(*dataset),
            "samples  train  validation   test\n"
            "cat          2           1      1\n"
            "dog          1           1      1\n"
            "all          3           2      2\n");
  EXPECT_EQ(dataset->counts().recordings, 7);
  // `validation` is another name of val; both are in doubt.
  fs::rename(Path("set/val"), Path("set/validation"));
  EXPECT_THAT(Values(*Open(Config()), Split::kValidation), ElementsAre(4, 5));
  fs::create_directories(Path("set/val/cat"));
  EXPECT_THAT(FaultOf(Config()), HasSubstr("holds val and validation"));
}

TEST_F(PicturesTest, AClassMayBeCalledTrain) {
  for (const char* name : {"train", "test", "plane"}) {
    for (int i = 0; i < 4; ++i) {
      Put(std::string("set/") + name + "/" + std::to_string(i) + ".png", 9);
    }
  }
  EXPECT_THAT(Open(Config())->class_names(), ElementsAre("plane", "test", "train"));
}

TEST_F(PicturesTest, APartIsHeldOutOfEachClass) {
  for (int i = 0; i < 50; ++i) Put("set/a/" + std::to_string(i) + ".png", static_cast<uint8_t>(i));
  for (int i = 0; i < 10; ++i) {
    Put("set/b/" + std::to_string(i) + ".png", static_cast<uint8_t>(100 + i));
  }
  DatasetConfig config = Config();
  config.images.validation_fraction = 0.2;
  config.images.test_fraction = 0.1;
  const auto dataset = Open(config);
  EXPECT_EQ(dataset->size(Split::kTrain), 42);
  EXPECT_EQ(dataset->size(Split::kValidation), 12);
  EXPECT_EQ(dataset->size(Split::kTest), 6);
  EXPECT_EQ(dataset->counts().of_split[1][1].used, 2);
  std::set<int> all;
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    for (const int value : Values(*dataset, split)) all.insert(value);
  }
  EXPECT_EQ(all.size(), 60u);  // nothing is in two splits
  // The same for every seed, and where one split alone is opened, and elsewhere.
  const auto held = Values(*dataset, Split::kValidation);
  EXPECT_EQ(Values(*Open(config, {.seed = 7}), Split::kValidation), held);
  config.images.class_names = {"a", "b"};
  const auto test_alone = Open(config, {.train = false, .validation = false});
  EXPECT_EQ(Values(*test_alone, Split::kTest), Values(*dataset, Split::kTest));
  EXPECT_EQ(test_alone->size(Split::kTrain), 0);
  fs::rename(Path("set"), Path("moved"));
  config.images.root = Path("moved");
  EXPECT_EQ(Values(*Open(config), Split::kValidation), held);
  EXPECT_EQ(Open(config)->Fingerprint(Split::kTrain), Open(config)->Fingerprint(Split::kTrain));
}

TEST_F(PicturesTest, GroupsAreNotTornApart) {
  std::string lines = "path,group\n";
  for (int i = 0; i < 40; ++i) {
    const std::string below = (i % 2 == 0 ? "a/" : "b/") + std::to_string(i) + ".png";
    Put("set/" + below, static_cast<uint8_t>(i));
    lines += below + "," + "camera " + std::to_string(i / 4) + "\n";
  }
  PutText("groups.csv", lines);
  DatasetConfig config = Config();
  config.images.validation_fraction = 0.25;
  config.images.groups = Path("groups.csv");
  const auto dataset = Open(config);
  EXPECT_THAT(dataset->warnings(), IsEmpty());
  EXPECT_EQ(dataset->size(Split::kValidation), 12);  // whole groups of four, 10 reached
  std::set<int> groups;
  for (const int value : Values(*dataset, Split::kValidation)) groups.insert(value / 4);
  EXPECT_EQ(groups.size(), 3u);
  for (const int value : Values(*dataset, Split::kTrain)) EXPECT_FALSE(groups.contains(value / 4));
  // Lines that name nothing and files without a line are told.
  PutText("groups.csv", lines.substr(0, lines.size() - 18) + "a/none.png,camera 1\nnonsense\n");
  EXPECT_THAT(Open(config)->warnings(), ElementsAre(HasSubstr("2 of 42 lines name no picture"),
                                                    HasSubstr("1 of 40 pictures have no group")));
  config.images.groups = Path("none.csv");
  EXPECT_THAT(FaultOf(config), HasSubstr("none.csv"));
}

TEST_F(PicturesTest, ClassesAsListed) {
  for (const char* name : {"a", "b", "c"}) {
    for (int i = 0; i < 5; ++i) {
      Put(std::string("set/") + name + "/" + std::to_string(i) + ".png",
          static_cast<uint8_t>(name[0]));
    }
  }
  DatasetConfig config = Config();
  config.images.class_names = {"c", "a"};
  const auto dataset = Open(config);
  EXPECT_THAT(dataset->class_names(), ElementsAre("c", "a"));
  EXPECT_EQ(Values(*dataset, Split::kTrain)[0], 'c');
  EXPECT_THAT(dataset->counts().notes, ElementsAre(HasSubstr("1 folders that are no class")));
  config.images.class_names = {"a", "d"};
  EXPECT_THAT(FaultOf(config), HasSubstr("has no folder for the class 'd'"));
  // In a split of its own a class may be missing from training, not the other way round.
  config.images.class_names = {"../b"};
  EXPECT_THAT(FaultOf(config, ErrorKind::kConfiguration), HasSubstr("which is not the name of a"));
}

TEST_F(PicturesTest, BrokenPicturesAreLeftOutAndCounted) {
  for (int i = 0; i < 8; ++i) Put("set/a/" + std::to_string(i) + ".png", 1);
  for (int i = 0; i < 8; ++i) Put("set/b/" + std::to_string(i) + ".png", 2);
  PutText("set/b/broken.png", "nonsense");
  fs::create_symlink(Path("nowhere.png"), Path("set/b/link.jpg"));
  ASSERT_EQ(::mkfifo(Path("set/b/pipe.png").c_str(), 0600), 0);
  DatasetConfig config = Config();
  config.images.validation_fraction = 0;
  const auto dataset = Open(config);
  EXPECT_EQ(dataset->size(Split::kTrain), 16);
  ASSERT_EQ(dataset->skipped().size(), 3u);
  EXPECT_THAT(dataset->skipped()[0].reason, HasSubstr("broken.png: is neither PNG nor JPEG"));
  EXPECT_THAT(dataset->skipped()[1].reason, HasSubstr("link.jpg"));
  EXPECT_THAT(DatasetReport(*dataset), HasSubstr("skipped: " + Path("set/b/pipe.png")));
  EXPECT_THAT(SampleTable(*dataset), HasSubstr("b            8       3"));
  config.strict = true;
  EXPECT_THAT(FaultOf(config), HasSubstr("broken.png: is neither PNG nor JPEG"));
}

TEST_F(PicturesTest, WhatIsPassedOver) {
  for (const char* name : {"a", "b"}) {
    for (int i = 0; i < 3; ++i)
      Put(std::string("set/") + name + "/" + std::to_string(i) + ".png", 1);
  }
  PutText("set/a/notes.txt", "x");
  PutText("set/a/picture.gif", "GIF89a");
  PutText("set/a/.DS_Store", "x");
  PutText("set/a/._0.png", "x");
  PutText("set/.thumbnails/x.png", "x");
  PutText("set/README", "x");
  // A link to a class folder is one, a link to a folder inside a class is not followed, and so cannot run in circles.
  Put("elsewhere/0.png", 3);
  fs::create_directory_symlink(Path("elsewhere"), Path("set/c"));
  fs::create_directory_symlink(Path("set"), Path("set/a/round"));
  fs::create_symlink(Path("elsewhere/0.png"), Path("set/b/linked.png"));
  DatasetConfig config = Config();
  config.images.validation_fraction = 0;
  const auto dataset = Open(config);
  EXPECT_THAT(dataset->class_names(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(dataset->counts().passed_over, ElementsAre(3, 0, 0));
  EXPECT_THAT(Values(*dataset, Split::kTrain), ElementsAre(1, 1, 1, 1, 1, 1, 3, 3));
  EXPECT_THAT(dataset->counts().notes, ElementsAre(HasSubstr("1 files beside the class folders")));
  EXPECT_THAT(dataset->skipped(), IsEmpty());
}

TEST_F(PicturesTest, FoldersThatAreNoDataSet) {
  EXPECT_THAT(FaultOf(Config("none")), HasSubstr("none: cannot be read: No such file"));
  Put("flat/1.png", 1);
  EXPECT_THAT(FaultOf(Config("flat")), HasSubstr("flat: holds no folders"));
  Put("half/val/a/1.png", 1);
  EXPECT_THAT(FaultOf(Config("half")), HasSubstr("holds folders of other splits and no train"));
  Put("empty/a/1.png", 1);
  fs::create_directories(Path("empty/b"));
  EXPECT_THAT(FaultOf(Config("empty")),
              HasSubstr("the class 'b' has no picture to train with (hint"));
  PutText("empty/b/1.png", "x");
  EXPECT_THAT(FaultOf(Config("empty")), HasSubstr("has no picture to train with, 1 are broken"));
  Put("latin/caf\xe9/1.png", 1);
  EXPECT_THAT(FaultOf(Config("latin")), HasSubstr("0xe9, is not UTF-8"));
  Put("one/a/1.png", 1);
  EXPECT_THAT(Open(Config("one"))->warnings(),
              ElementsAre("all samples of the train split are of one class, 'a'"));
  Put("more/train/a/1.png", 1);
  Put("more/train/b/1.png", 1);
  Put("more/val/a/1.png", 1);
  EXPECT_THAT(FaultOf(Config("more")), HasSubstr("val: has no folder for the class 'b'"));
  fs::create_directories(Path("more/val/b"));
  EXPECT_THAT(Open(Config("more"))->warnings(),
              ElementsAre("the validation split has no picture of the class 'b'",
                          "all samples of the validation split are of one class, 'a'"));
}

TEST_F(PicturesTest, NamesOfFilesMayBeAnything) {
  for (const char* name : {"a/\xff\xfe.png", "a/a\nb.png", "b/'\".png", "b/\xe2\x82\xac.png"}) {
    Put(std::string("set/") + name, 1);
  }
  DatasetConfig config = Config();
  config.images.validation_fraction = 0;
  EXPECT_EQ(Open(config)->size(Split::kTrain), 4);
}

TEST_F(PicturesTest, MeansAreThoseOfTheTrainingSamples) {
  const auto put = [&](const std::string& below, std::vector<uint8_t> rgb) {
    fs::create_directories(fs::path(Path(below)).parent_path());
    WritePng(Path(below), 1, 1, rgb);
  };
  put("set/train/a/1.png", {0, 51, 7});
  put("set/train/b/1.png", {102, 153, 7});
  put("set/val/a/1.png", {255, 255, 255});
  put("set/val/b/1.png", {255, 255, 255});
  DatasetConfig config = Config();
  config.images.shape = {1, 1, 3};
  config.images.input = {};
  config.pixel_augment.brightness = 1.0;
  const auto dataset = Open(config);
  const PictureInput& input = *dataset->picture_input();
  EXPECT_THAT(input.mean_c, ElementsAre(0.2f, 0.4f, 7 / 255.0f));
  EXPECT_THAT(input.deviation_c,
              ElementsAre(0.2f, 0.2f, 1.0f));  // a constant channel is left as it is
  std::vector<float> x(3);
  dataset->PlainFeatures(Split::kTrain, 0, x);
  EXPECT_NEAR(x[0], -1, 1e-6);
  EXPECT_NEAR(x[1], -1, 1e-6);
  EXPECT_NEAR(x[2], 0, 1e-6);
  config.images.input.order = ChannelOrder::kBgr;
  EXPECT_THAT(Open(config)->picture_input()->mean_c, ElementsAre(7 / 255.0f, 0.4f, 0.2f));
  // Without the training samples they cannot be computed.
  try {
    Open(config, {.train = false});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("mean and deviation are not known"));
  }
}

TEST_F(PicturesTest, TrainingSamplesAreChangedTheOthersNot) {
  for (int i = 0; i < 20; ++i) {
    Put("set/train/a/" + std::to_string(i) + ".png", 100);
    Put("set/val/a/" + std::to_string(i) + ".png", 100);
  }
  DatasetConfig config = Config();
  config.pixel_augment.brightness = 0.5;
  const auto dataset = Open(config);
  EXPECT_THAT(Values(*dataset, Split::kValidation), testing::Each(100));
  const auto changed = Values(*dataset, Split::kTrain);
  EXPECT_GT(std::set<int>(changed.begin(), changed.end()).size(), 10u);
  EXPECT_EQ(Values(*Open(config), Split::kTrain), changed);
  EXPECT_NE(Values(*Open(config, {.seed = 2}), Split::kTrain), changed);
}

TEST_F(PicturesTest, DecodedOnceIntoACache) {
  for (int i = 0; i < 6; ++i) {
    Put("set/a/" + std::to_string(i) + ".png", static_cast<uint8_t>(i));
    Put("set/b/" + std::to_string(i) + ".png", static_cast<uint8_t>(10 + i));
  }
  PutText("set/b/broken.png", "nonsense");
  const auto caches = [&] {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(Path("caches"))) {
      names.push_back(entry.path().string());
    }
    return names;
  };
  DatasetConfig config = Config();
  config.images.validation_fraction = 0.4;
  const OpenOptions options{.cache_folder = Path("caches")};
  int64_t decoded = 0;
  OpenOptions counting = options;
  counting.progress = [&](int64_t, int64_t total) { decoded = total; };
  const auto plain = Open(config);
  const auto first = Open(config, counting);
  EXPECT_EQ(decoded, 13);
  ASSERT_EQ(caches().size(), 1u);
  decoded = 0;
  const auto second = Open(config, counting);
  EXPECT_EQ(decoded, 0);  // found
  for (const Dataset* dataset : {first.get(), second.get()}) {
    for (const Split split : {Split::kTrain, Split::kValidation}) {
      EXPECT_EQ(Values(*dataset, split), Values(*plain, split));
      EXPECT_EQ(dataset->Fingerprint(split), plain->Fingerprint(split));
    }
    EXPECT_EQ(dataset->skipped().size(), 1u);
    EXPECT_THAT(dataset->warnings(), IsEmpty());
  }
  // Other sizes, other files, changed ones: another file.
  DatasetConfig other = config;
  other.images.shape = {2, 2, 1};
  Open(other, options);
  EXPECT_EQ(caches().size(), 2u);
  Put("set/a/more.png", 77);
  Open(config, options);
  EXPECT_EQ(caches().size(), 3u);
  // Every byte of it counts.
  for (const std::string& cache : caches()) fs::remove(cache);
  Open(config, options);
  const std::string cache = caches()[0];
  std::ifstream in(cache, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (size_t at = 0; at < bytes.size(); at += 3) {
    std::string altered = bytes;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    if (at >= 48 && at < 64) continue;  // zeros that nobody reads
    WriteBytes(cache, altered);
    const auto again = Open(config, options);
    EXPECT_THAT(again->warnings(), ElementsAre(HasSubstr("it is made anew"))) << at;
    EXPECT_EQ(Values(*again, Split::kTrain), Values(*Open(config), Split::kTrain)) << at;
  }
  WriteBytes(cache, bytes.substr(0, 40));
  EXPECT_THAT(Open(config, options)->warnings(), ElementsAre(HasSubstr("is cut short")));
  EXPECT_THAT(Open(config, options)->warnings(), IsEmpty());
  // Where it cannot be written, the pictures are in memory.
  WriteBytes(Path("file"), "x");
  const auto kept = Open(config, {.cache_folder = Path("file/below")});
  EXPECT_THAT(kept->warnings(), ElementsAre(HasSubstr("the pictures are kept in memory")));
  EXPECT_EQ(Values(*kept, Split::kTrain), Values(*Open(config), Split::kTrain));
}

TEST_F(PicturesTest, ConfigurationsAreChecked) {
  DatasetConfig config = Config();
  EXPECT_THAT(ConfigFaults(config), IsEmpty());
  config.images.shape = {8, 8, 2};
  config.images.validation_fraction = 0.6;
  config.images.test_fraction = 0.6;
  config.pixel_augment.flip_probability = 2;
  config.pixel_augment.crop_padding = -1;
  EXPECT_THAT(
      ConfigFaults(config),
      ElementsAre("data.input = 8x8x2: pictures have 1 or 3 channels",
                  "data.validation_fraction = 0.6 and test_fraction = 0.6 exceed 0.9 together",
                  "data.augment.flip_probability = 2 is not in [0, 1]",
                  "data.augment.crop_padding = -1 is not in [0, 256]"));
  config = Config();
  config.images.shape = {8, 8, 3};
  EXPECT_THAT(ConfigFaults(config), ElementsAre("data.mean has 1 value, the input has 3 channels"));
  config = Config();
  config.images.root.clear();
  EXPECT_THAT(PathFaults(config), ElementsAre(HasSubstr("data.path is empty")));
}

TEST(PicturesBelow, AFileIsItselfAndAFolderWhatItHolds) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "a/b");
  for (const char* name : {"z.png", "a/y.jpg", "a/b/x.jpeg", "a/notes.txt", "a/.hidden.png"}) {
    WriteBytes(folder / name, "x");
  }
  EXPECT_THAT(PicturesBelow(folder.path()),
              ElementsAre(folder / "a/b/x.jpeg", folder / "a/y.jpg", folder / "z.png"));
  EXPECT_THAT(PicturesBelow(folder / "a/notes.txt"), ElementsAre(folder / "a/notes.txt"));
  fs::create_directories(folder / "c");
  EXPECT_THROW(PicturesBelow(folder / "c"), Error);
}

}  // namespace
}  // namespace bisparse::data
