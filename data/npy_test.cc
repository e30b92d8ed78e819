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
  EXPECT_THAT(refusal_x(TempFile("absent.npy")), HasSubstr("absent.npy: cannot be opened"));
  std::ofstream(TempFile("text.npy")) << "1,2,3,4,5,6,7,8,9,10";
  EXPECT_THAT(refusal_x(TempFile("text.npy")), HasSubstr("not a .npy file"));
  std::ofstream(TempFile("empty.npy"));
  EXPECT_THAT(refusal_x(TempFile("empty.npy")), HasSubstr("not a .npy file"));
  EXPECT_THAT(refusal_x(Write("f8.npy", "<f8", "(2, 1)", std::vector<double>{1, 2})),
              HasSubstr("is of type <f8, allowed are <f4"));
  EXPECT_THAT(refusal_x(Write(">f4.npy", ">f4", "(2, 1)", Ramp(2))), HasSubstr("is of type >f4"));
  EXPECT_THAT(refusal_x(Write("1d.npy", "<f4", "(2,)", Ramp(2))), HasSubstr("is 2, allowed are"));
  EXPECT_THAT(refusal_x(Write("0.npy", "<f4", "(2, 0)", Ramp(0))), HasSubstr("no size may be 0"));
  EXPECT_THAT(refusal_x(Write("short.npy", "<f4", "(2, 4)", Ramp(7))),
              HasSubstr("2×4 of type <f4 takes 32 bytes, but 28 follow the header"));
  EXPECT_THAT(refusal_x(Write("long.npy", "<f4", "(2, 4)", Ramp(9))), HasSubstr("but 36 follow"));
  EXPECT_THAT(refusal_x(Write("huge.npy", "<f4", "(99999999999, 99999999999)", Ramp(2))),
              HasSubstr("claims to be of size"));
  EXPECT_THAT(refusal_x(WriteRaw("f.npy", Dictionary("<f4", "(2, 1)", "True"), "12345678")),
              HasSubstr("Fortran order (hint: numpy.save(path, numpy.ascontiguousarray(x)))"));
  EXPECT_THAT(refusal_x(WriteRaw("struct.npy",
                                 "{'descr': [('a', '<f4')], 'fortran_order': False, "
                                 "'shape': (2,), }",
                                 "12345678")),
              HasSubstr("not of a plain array"));
  EXPECT_THAT(refusal_x(Write("nan.npy", "<f4", "(2, 1)",
                              std::vector<float>{0, std::numeric_limits<float>::quiet_NaN()})),
              HasSubstr("element 0 of sample 1 is not finite"));
  const auto refusal_y = [&](const std::string& path) { return Refusal(Config(x, path)); };
  EXPECT_THAT(refusal_y(Write<int32_t>("y3.npy", "<i4", "(3,)", {0, 1, 2})),
              HasSubstr("has 3 labels for the 2 samples of"));
  EXPECT_THAT(refusal_y(Write<int32_t>("neg.npy", "<i4", "(2,)", {0, -1})),
              HasSubstr("label -1 of sample 1 is not in"));
  EXPECT_THAT(refusal_y(Write("fy.npy", "<f4", "(2,)", Ramp(2))), HasSubstr("is of type <f4"));
  EXPECT_THAT(refusal_y(Write<int32_t>("y22.npy", "<i4", "(1, 2)", {0, 1})),
              HasSubstr("allowed is one label a sample"));
}

TEST(Npy, AHeaderCutAnywhereIsRefused) {
  const std::string y = Write<int32_t>("cut_y.npy", "<i4", "(2,)", {0, 1});
  const std::string whole = Write("cut.npy", "<f4", "(2, 1)", Ramp(2));
  const auto size = static_cast<int64_t>(std::filesystem::file_size(whole));
  for (int64_t bytes = size - 1; bytes >= 0; --bytes) {
    std::filesystem::resize_file(whole, bytes);
    ASSERT_NE(Refusal(Config(whole, y)), "accepted") << bytes << " bytes";
  }
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

}  // namespace
}  // namespace bisparse::data
