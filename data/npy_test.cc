// SPDX-License-Identifier: Apache-2.0
// Tests the .npy reader on files that the test writes byte by byte (format: NumPy Enhancement
// Proposal 1).
#include "data/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <set>

#include "bisparse/error.h"
#include "data/loader.h"

namespace bisparse::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string TempFile(const std::string& name) {
  const std::string folder = testing::TempDir() + "bisparse_npy_test";
  std::filesystem::create_directories(folder);
  return folder + "/" + name;
}

std::string Dictionary(const std::string& type, const std::string& shape,
                       const std::string& order = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

std::string WriteRaw(const std::string& name, std::string dictionary, const std::string& payload,
                     char version = 1) {
  dictionary.resize(117, ' ');
  dictionary += '\n';
  std::ofstream file(TempFile(name), std::ios::binary);
  file << "\x93NUMPY" << version << '\0' << static_cast<char>(dictionary.size()) << '\0';
  if (version == 2) file << '\0' << '\0';
  file << dictionary << payload;
  return TempFile(name);
}

template <typename T>
std::string Write(const std::string& name, const std::string& type, const std::string& shape,
                  const std::vector<T>& values) {
  return WriteRaw(
      name, Dictionary(type, shape),
      std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
}

std::vector<float> Ramp(int64_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

DatasetConfig Config(const std::string& x, const std::string& y) {
  DatasetConfig config;
  config.kind = DatasetKind::kNpy;
  config.npy.train_x = x;
  config.npy.train_y = y;
  config.npy.validation_fraction = 0.0;
  return config;
}

std::unique_ptr<Dataset> Open(const DatasetConfig& config) {
  return OpenDataset(config, FrontEnd{}, {});
}

std::vector<float> Sample(const Dataset& dataset, Split split, int64_t index) {
  std::vector<float> features(dataset.shape().elements());
  dataset.Features(split, index, 0, features);
  return features;
}

std::string Refusal(const DatasetConfig& config) {
  try {
    Open(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "accepted";
}

TEST(Npy, HandsOnChannelsLast) {
  const std::string y = Write<int64_t>("y2.npy", "<i8", "(2,)", {1, 0});
  const auto four = Open(Config(Write("nchw.npy", "<f4", "(2, 3, 1, 2)", Ramp(12)), y));
  EXPECT_EQ(four->shape(), (Shape{1, 2, 3}));
  EXPECT_THAT(Sample(*four, Split::kTrain, 0), ElementsAre(0, 2, 4, 1, 3, 5));
  EXPECT_THAT(Sample(*four, Split::kTrain, 1), ElementsAre(6, 8, 10, 7, 9, 11));
  EXPECT_EQ(four->Label(Split::kTrain, 0), 1);
  EXPECT_THAT(four->class_names(), ElementsAre("0", "1"));

  DatasetConfig last = Config(Write("nhwc.npy", "<f4", "(2, 1, 2, 3)", Ramp(12)), y);
  last.npy.channels_last = true;
  EXPECT_EQ(Open(last)->shape(), (Shape{1, 2, 3}));
  EXPECT_THAT(Sample(*Open(last), Split::kTrain, 0), ElementsAre(0, 1, 2, 3, 4, 5));

  const auto three = Open(Config(Write("nhw.npy", "<f4", "(2, 2, 3)", Ramp(12)), y));
  EXPECT_EQ(three->shape(), (Shape{2, 3, 1}));
  const auto two = Open(Config(Write("nd.npy", "<f4", "(2, 6)", Ramp(12)), y));
  EXPECT_EQ(two->shape(), (Shape{1, 1, 6}));
  EXPECT_THAT(Sample(*two, Split::kTrain, 1), ElementsAre(6, 7, 8, 9, 10, 11));
}

TEST(Npy, ReadsEveryTypeAndVersionTwoAndScales) {
  const std::string x = Write<uint8_t>("u1.npy", "|u1", "(3, 2)", {0, 255, 10, 20, 30, 40});
  for (const std::string& y : {Write<int32_t>("i4.npy", "<i4", "(3,)", {0, 2, 1}),
                               Write<uint8_t>("l1.npy", "|u1", "(3, 1)", {0, 2, 1}),
                               Write<int64_t>("i8.npy", "<i8", "(3,)", {0, 2, 1})}) {
    DatasetConfig config = Config(x, y);
    config.npy.offset = 5.0;
    config.npy.scale = 0.1;
    const auto dataset = Open(config);
    EXPECT_THAT(Sample(*dataset, Split::kTrain, 1),
                ElementsAre(testing::FloatEq(0.5f), testing::FloatEq(1.5f)));
    EXPECT_EQ(dataset->Label(Split::kTrain, 1), 2);
  }
  const std::vector<float> values = Ramp(2);
  const std::string two = WriteRaw("v2.npy", Dictionary("<f4", "(2, 1)"),
                                   std::string(reinterpret_cast<const char*>(values.data()), 8), 2);
  EXPECT_EQ(Open(Config(two, Write<int32_t>("yy.npy", "<i4", "(2,)", {0, 1})))->size(Split::kTrain),
            2);
}

TEST(Npy, HoldsOutAPartForValidationWhateverTheSeed) {
  std::vector<int64_t> labels(100, 0);
  labels[3] = 1;
  DatasetConfig config = Config(Write("x100.npy", "<f4", "(100, 1)", Ramp(100)),
                                Write("y100.npy", "<i8", "(100,)", labels));
  config.npy.validation_fraction = 0.2;
  const auto dataset = Open(config);
  EXPECT_EQ(dataset->size(Split::kTrain), 80);
  EXPECT_EQ(dataset->size(Split::kValidation), 20);
  EXPECT_EQ(dataset->size(Split::kTest), 0);
  std::set<float> seen;
  for (Split split : {Split::kTrain, Split::kValidation}) {
    for (int64_t i = 0; i < dataset->size(split); ++i) seen.insert(Sample(*dataset, split, i)[0]);
  }
  EXPECT_EQ(seen.size(), 100u);
  OpenOptions other;
  other.seed = 77;
  other.train = false;
  const auto again = OpenDataset(config, FrontEnd{}, other);
  EXPECT_EQ(again->size(Split::kTrain), 0);
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(Sample(*again, Split::kValidation, i), Sample(*dataset, Split::kValidation, i));
    EXPECT_EQ(again->Describe(Split::kValidation, i, 0),
              config.npy.train_x + "[" +
                  std::to_string(int(Sample(*again, Split::kValidation, i)[0])) + "]");
  }
}

TEST(Npy, ReadsFilesForEachSplitAndTestAlone) {
  DatasetConfig config = Config(Write("a.npy", "<f4", "(2, 1)", std::vector<float>{1, 2}),
                                Write<int32_t>("ay.npy", "<i4", "(2,)", {0, 1}));
  config.npy.validation_x = Write("b.npy", "<f4", "(1, 1)", std::vector<float>{3});
  config.npy.validation_y = Write<int32_t>("by.npy", "<i4", "(1,)", {1});
  config.npy.test_x = Write("c.npy", "<f4", "(3, 1)", std::vector<float>{4, 5, 6});
  config.npy.test_y = Write<int32_t>("cy.npy", "<i4", "(3,)", {1, 1, 0});
  const auto dataset = Open(config);
  EXPECT_EQ(dataset->size(Split::kTrain), 2);
  EXPECT_THAT(Sample(*dataset, Split::kValidation, 0), ElementsAre(3));
  EXPECT_THAT(Sample(*dataset, Split::kTest, 2), ElementsAre(6));
  EXPECT_EQ(dataset->Label(Split::kTest, 2), 0);
  EXPECT_EQ(dataset->Describe(Split::kTest, 1, 0), config.npy.test_x + "[1]");

  config.npy.test_y = Write<int32_t>("cy.npy", "<i4", "(3,)", {1, 2, 0});
  EXPECT_THAT(Refusal(config), HasSubstr("cy.npy: label 2 of sample 1 exceeds the 2 classes"));

  DatasetConfig test_only;
  test_only.kind = DatasetKind::kNpy;
  test_only.npy.test_x = config.npy.test_x;
  test_only.npy.test_y = config.npy.test_y;
  test_only.npy.class_names = {"x", "y", "z"};
  OpenOptions options;
  options.train = options.validation = false;
  EXPECT_EQ(OpenDataset(test_only, FrontEnd{}, options)->size(Split::kTest), 3);
}

TEST(Npy, RefusesWhatItCannotRead) {
  const std::string y = Write<int32_t>("ok_y.npy", "<i4", "(2,)", {0, 1});
  const std::string x = Write("ok_x.npy", "<f4", "(2, 1)", Ramp(2));
  const auto refusal_x = [&](const std::string& path) { return Refusal(Config(path, y)); };
  EXPECT_THAT(refusal_x(Write("1d.npy", "<f4", "(2,)", Ramp(2))), HasSubstr("is 2, allowed are"));
  EXPECT_THAT(refusal_x(Write("0.npy", "<f4", "(2, 0)", Ramp(0))), HasSubstr("no size may be 0"));
  EXPECT_THAT(refusal_x(Write("nan.npy", "<f4", "(2, 1)",
                              std::vector<float>{0, std::numeric_limits<float>::quiet_NaN()})),
              HasSubstr("element 0 of sample 1 is nan, not a finite number"));
  EXPECT_THAT(
      refusal_x(Write("wide.npy", "<f8", "(2, 1)", std::vector<double>{1, -1e300})),
      HasSubstr(
          "element 0 of sample 1 is -inf, not a finite number of float32 (hint: data.scale)"));
  const auto refusal_y = [&](const std::string& path) { return Refusal(Config(x, path)); };
  EXPECT_THAT(refusal_y(Write<int32_t>("y3.npy", "<i4", "(3,)", {0, 1, 2})),
              HasSubstr("has 3 labels for the 2 samples of"));
  EXPECT_THAT(refusal_y(Write<int32_t>("neg.npy", "<i4", "(2,)", {0, -1})),
              HasSubstr("label -1 of sample 1 is not in"));
  EXPECT_THAT(refusal_y(Write("fy.npy", "<f4", "(2,)", std::vector<float>{0.0f, 0.5f})),
              HasSubstr("label 0.5 of sample 1 is no whole number"));
  EXPECT_THAT(refusal_y(Write("ids.npy", "<i8", "(2,)", std::vector<int64_t>{0, 5000000})),
              HasSubstr("numpy.unique(y, return_inverse=True)[1]"));
  EXPECT_THAT(refusal_y(Write("hot.npy", "<f4", "(2, 2)", std::vector<float>{0, 1, 1, 0})),
              HasSubstr("y.argmax(axis=1)"));
  DatasetConfig from_one = Config(x, Write<int32_t>("one.npy", "<i4", "(2,)", {1, 2}));
  from_one.npy.class_names = {"a", "b"};
  EXPECT_THAT(Refusal(from_one),
              HasSubstr("label 2 of sample 1 exceeds the 2 classes (hint: labels "
                        "begin at 0: y - 1)"));
  EXPECT_THAT(refusal_y(Write<int32_t>("y22.npy", "<i4", "(1, 2)", {0, 1})),
              HasSubstr("allowed is one label a sample (hint: y.ravel())"));
}

TEST(Npy, TakesEveryTypeAndSaysOnceWhatBecomesFloat32) {
  const std::string y = Write<float>("fy.npy", "<f4", "(2,)", {1.0f, 0.0f});  // whole numbers
  DatasetConfig config = Config(
      Write("wide_x.npy", "<f8", "(2, 2)", std::vector<double>{16777217.5, 3, 16777219.5, 4}), y);
  config.npy.offset = 16777216;  // 2^24: a float32 would have lost the .5
  const auto dataset = Open(config);
  EXPECT_THAT(Sample(*dataset, Split::kTrain, 0), ElementsAre(1.5f, 3.0f - 16777216.0f));
  EXPECT_EQ(dataset->Label(Split::kTrain, 0), 1);
  EXPECT_THAT(dataset->warnings(),
              ElementsAre(config.npy.train_x + ": float64 is taken as float32"));
  const auto small =
      Open(Config(Write("i1.npy", "|i1", "(2, 2)", std::vector<int8_t>{-128, 1, 127, 0}), y));
  EXPECT_THAT(Sample(*small, Split::kTrain, 0), ElementsAre(-128, 1));
  EXPECT_THAT(Open(Config(Write("u1.npy", "|u1", "(2, 2)", std::vector<uint8_t>{0, 1, 255, 0}), y))
                  ->warnings(),
              ElementsAre());
}

TEST(Npy, BytesChannelsFirstAreTurnedAsFloatsAre) {
  const std::string y = Write<int64_t>("y2.npy", "<i8", "(2,)", {1, 0});
  std::vector<uint8_t> bytes(12);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  DatasetConfig config = Config(Write("nchw_u1.npy", "|u1", "(2, 3, 1, 2)", bytes), y);
  config.npy.offset = 1;
  config.npy.scale = 0.5;
  EXPECT_THAT(Sample(*Open(config), Split::kTrain, 1), ElementsAre(2.5, 3.5, 4.5, 3, 4, 5));
}

TEST(Npy, WarnsOfClassesWithoutSamplesAndOfConstants) {
  const auto warnings = [](const std::vector<float>& x, const std::vector<int32_t>& labels,
                           const std::vector<std::string>& names) {
    const std::string count = std::to_string(labels.size());
    DatasetConfig config =
        Config(Write("wx.npy", "<f4",
                     "(" + count + ", " + std::to_string(x.size() / labels.size()) + ")", x),
               Write("wy.npy", "<i4", "(" + count + ",)", labels));
    config.npy.class_names = names;
    return Open(config)->warnings();
  };
  EXPECT_THAT(warnings({1, 2, 3}, {0, 1, 2}, {}), ElementsAre());
  EXPECT_THAT(warnings({1, 2, 3}, {0, 1, 1}, {"a", "b", "c", "d"}),
              ElementsAre("the train split has no sample of 2 of 4 classes, the first is 'c'"));
  EXPECT_THAT(warnings({1, 2, 3}, {0, 7, 7}, {}),
              ElementsAre("the train split has no sample of 6 of 8 classes, the first is '1'"));
  EXPECT_THAT(warnings({1, 2, 3}, {1, 1, 1}, {"a", "b", "c"}),
              ElementsAre("the train split has samples of one class only: 'b'"));
  EXPECT_THAT(warnings({1, 2, 3}, {0, 0, 0}, {}),
              ElementsAre("the train split has samples of one class only: '0'"));
  EXPECT_THAT(warnings({1, 5, 2, 5, 3, 5}, {0, 1, 2}, {}),
              ElementsAre("1 of 2 columns hold one value in all training samples, the first is "
                          "column 1"));
  EXPECT_THAT(warnings({5, 5, 5}, {0, 1, 2}, {}),
              ElementsAre("all training samples are the same: there is nothing to learn from"));
}

TEST(Npy, WarnsOfExtentsThatAreLikelyMeantOtherwise) {
  const std::string y = Write<int64_t>("y2.npy", "<i8", "(2,)", {1, 0});
  const auto series = Open(Config(Write("ncl.npy", "<f4", "(2, 3, 100)", Ramp(600)), y));
  EXPECT_THAT(series->warnings(), ElementsAre(HasSubstr("x[:, :, None, :]")));
  const auto images = Open(Config(Write("nhwc.npy", "<f4", "(2, 12, 12, 3)", Ramp(864)), y));
  EXPECT_THAT(images->warnings(),
              ElementsAre(HasSubstr("is read as maps of 12×3 with 12 channels (hint: "
                                    "data.channels_last: true")));
  EXPECT_THAT(Open(Config(Write("nchw.npy", "<f4", "(2, 3, 12, 12)", Ramp(864)), y))->warnings(),
              ElementsAre());
}

TEST(Npy, FingerprintsTellSamplesFromOthers) {
  const auto fingerprint = [](const std::vector<float>& x, const std::vector<int32_t>& y,
                              const std::string& name) {
    const std::string count = std::to_string(y.size());
    return Open(Config(Write(name, "<f4", "(" + count + ", 1)", x),
                       Write(name + "y", "<i4", "(" + count + ",)", y)))
        ->Fingerprint(Split::kTrain);
  };
  const uint64_t one = fingerprint({1, 2, 3}, {0, 1, 0}, "one.npy");
  EXPECT_EQ(fingerprint({1, 2, 3}, {0, 1, 0}, "elsewhere.npy"), one);
  EXPECT_NE(fingerprint({1, 2, 4}, {0, 1, 0}, "one.npy"), one);
  EXPECT_NE(fingerprint({1, 2, 3}, {0, 1, 1}, "one.npy"), one);
  EXPECT_NE(fingerprint({2, 1, 3}, {1, 0, 0}, "one.npy"), one);
  EXPECT_NE(fingerprint({1, 2}, {0, 1}, "one.npy"), one);
}

TEST(Npy, GoesThroughTheLoader) {
  const auto dataset = Open(Config(Write("lx.npy", "<f4", "(5, 2)", Ramp(10)),
                                   Write<int32_t>("ly.npy", "<i4", "(5,)", {0, 1, 2, 3, 4})));
  Loader loader(*dataset, Split::kTrain, {.batch = 5}, 0);
  Batch batch;
  ASSERT_TRUE(loader.Next(batch));
  EXPECT_EQ(batch.x_bhwc, Ramp(10));
  EXPECT_THAT(batch.y_b, ElementsAre(0, 1, 2, 3, 4));
}

TEST(Npy, BytesAreAugmentedAsPicturesAre) {
  std::vector<uint8_t> bytes(4 * 2 * 3 * 3);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  const std::string x = Write("aug_x.npy", "|u1", "(4, 2, 3, 3)", bytes);
  const std::string y = Write<int32_t>("aug_y.npy", "<i4", "(4,)", {0, 1, 0, 1});
  DatasetConfig config = Config(x, y);
  config.npy.channels_last = true;
  config.npy.validation_x = x;
  config.npy.validation_y = y;
  config.pixel_augment.flip_probability = 1;
  const auto dataset = OpenDataset(config, {}, {});
  std::vector<float> sample(18), plain(18);
  dataset->Features(Split::kTrain, 0, 0, sample);
  dataset->PlainFeatures(Split::kTrain, 0, plain);
  EXPECT_THAT(std::vector<float>(sample.begin(), sample.begin() + 9),
              ElementsAre(6, 7, 8, 3, 4, 5, 0, 1, 2));
  EXPECT_EQ(plain[0], 0);
  dataset->Features(Split::kValidation, 0, 0, sample);
  EXPECT_EQ(sample, plain);
  // Other numbers than bytes, and tables, have nothing to flip.
  const auto fault_of = [&](const std::string& path) {
    config.npy.train_x = config.npy.validation_x = path;
    try {
      OpenDataset(config, {}, {});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  EXPECT_THAT(fault_of(Write("aug_f.npy", "<f4", "(4, 2, 3)", Ramp(24))),
              HasSubstr("data.augment changes bytes"));
  EXPECT_THAT(fault_of(Write("aug_t.npy", "|u1", "(4, 18)", bytes)),
              HasSubstr("samples of 1×1×18 are none"));
}

}  // namespace
}  // namespace bisparse::data
