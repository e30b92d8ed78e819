// SPDX-License-Identifier: Apache-2.0
// Every type, byte order and element order, on files that the test writes byte by byte; headers as
// numpy, Python 2 and other writers make them; what is refused, and why.
#include "data/npy_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>

#include "bisparse/error.h"

namespace bisparse::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Folder() {
  const std::string folder = testing::TempDir() + "bisparse_npy_file_test";
  std::filesystem::create_directories(folder);
  return folder;
}

/// `header`: the whole dictionary.
std::string Write(const std::string& header, const std::string& payload, int version = 1) {
  const std::string text = header + "\n";
  const auto length = static_cast<uint32_t>(text.size());
  std::string bytes = std::string("\x93NUMPY") + static_cast<char>(version) + '\0';
  for (int byte = 0; byte < (version == 1 ? 2 : 4); ++byte) {
    bytes += static_cast<char>(length >> (8 * byte));
  }
  const std::string path = Folder() + "/x.npy";
  WriteFileAtomically(path, bytes + text + payload);
  return path;
}

std::string Header(const std::string& type, const std::string& shape, bool fortran = false) {
  return fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}", type,
                     fortran ? "True" : "False", shape);
}

/// In the byte order that the type's first letter names.
template <typename T>
std::string Bytes(std::initializer_list<T> values, bool big_endian = false) {
  std::string bytes;
  for (const T value : values) {
    std::string word(reinterpret_cast<const char*>(&value), sizeof(T));
    if (big_endian != (std::endian::native == std::endian::big)) {
      std::reverse(word.begin(), word.end());
    }
    bytes += word;
  }
  return bytes;
}

template <typename T>
void ExpectValues(const std::string& type, const std::string& name,
                  std::initializer_list<T> values) {
  const std::vector<double> expected(values.begin(), values.end());
  const std::string shape = fmt::format("({},)", values.size());
  for (const char order : {'<', '>'}) {
    const std::string descr = fmt::format("{}{}", order, type);
    SCOPED_TRACE(descr);
    const NpyFile file(Write(Header(descr, shape), Bytes(values, order == '>')));
    EXPECT_EQ(file.TypeName(), name);
    EXPECT_EQ(file.ReadDoubles(), expected);
    EXPECT_EQ(file.ReadFloats(), std::vector<float>(expected.begin(), expected.end()));
  }
}

TEST(NpyFile, ReadsEveryTypeInBothByteOrders) {
  ExpectValues<float>("f4", "float32", {0.5f, -3e38f, 1e-40f});
  ExpectValues<double>("f8", "float64", {0.1, -1.5, 3e37});
  ExpectValues<int8_t>("i1", "int8", {-128, 0, 127});
  ExpectValues<int16_t>("i2", "int16", {-32768, 258, 32767});
  ExpectValues<int32_t>("i4", "int32", {-2147483647 - 1, 66051, 2147483647});
  ExpectValues<int64_t>("i8", "int64", {-(int64_t{1} << 53), 0x0102030405060708 >> 8, 7});
  ExpectValues<uint8_t>("u1", "uint8", {0, 128, 255});
  ExpectValues<uint16_t>("u2", "uint16", {0, 258, 65535});
  ExpectValues<uint32_t>("u4", "uint32", {0, 66051, 4294967295u});
  ExpectValues<uint64_t>("u8", "uint64", {0, uint64_t{1} << 53});
}

TEST(NpyFile, ReadsHalfPrecision) {
  // Values of IEEE 754-2008: one, −2, the largest, the least normal, the least of all, −0.
  const NpyFile file(Write(Header("<f2", "(6,)"),
                           Bytes<uint16_t>({0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x8000})));
  EXPECT_THAT(file.ReadDoubles(),
              ElementsAre(1.0, -2.0, 65504.0, std::ldexp(1, -14), std::ldexp(1, -24), 0.0));
  EXPECT_TRUE(std::signbit(file.ReadDoubles()[5]));
  const NpyFile odd(Write(Header("<f2", "(3,)"), Bytes<uint16_t>({0x7C00, 0xFC00, 0x7E00})));
  const std::vector<float> values = odd.ReadFloats();
  EXPECT_EQ(values[0], std::numeric_limits<float>::infinity());
  EXPECT_EQ(values[1], -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(values[2]));
}

TEST(NpyFile, BytesAndBoolsStayBytes) {
  const NpyFile bytes(Write(Header("|u1", "(2, 2)"), Bytes<uint8_t>({1, 2, 254, 255})));
  EXPECT_TRUE(bytes.IsByte());
  EXPECT_THAT(bytes.ReadBytes(), ElementsAre(1, 2, 254, 255));
  const NpyFile bools(Write(Header("|b1", "(3,)"), Bytes<uint8_t>({1, 0, 1})));
  EXPECT_TRUE(bools.IsByte());
  EXPECT_EQ(bools.TypeName(), "bool");
  EXPECT_THAT(bools.ReadBytes(), ElementsAre(1, 0, 1));
  EXPECT_FALSE(NpyFile(Write(Header("|i1", "(1,)"), "a")).IsByte());
}

TEST(NpyFile, FortranOrderIsTurned) {
  // x[i][j][k] = 100 i + 10 j + k of 2×3×2, the first index running fastest.
  std::string payload;
  for (float k = 0; k < 2; ++k) {
    for (float j = 0; j < 3; ++j) {
      for (float i = 0; i < 2; ++i) payload += Bytes<float>({100 * i + 10 * j + k});
    }
  }
  const NpyFile file(Write(Header("<f4", "(2, 3, 2)", /*fortran=*/true), payload));
  EXPECT_THAT(file.ReadFloats(), ElementsAre(0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121));
  EXPECT_EQ(file.ShapeText(), "2×3×2");
}

TEST(NpyFile, ReadsMoreThanOneBlock) {
  constexpr int64_t kCount = (1 << 19) + 3;
  std::string payload;
  for (int64_t i = 0; i < kCount; ++i) payload += Bytes<uint16_t>({static_cast<uint16_t>(i)});
  const NpyFile file(Write(Header("<u2", "(524291,)"), payload));
  const std::vector<float> values = file.ReadFloats();
  ASSERT_EQ(std::ssize(values), kCount);
  for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(values[i], static_cast<uint16_t>(i)) << i;
}

TEST(NpyFile, ReadsHeadersOfAllWriters) {
  const std::string payload = Bytes<float>({1, 2});
  for (const std::string& header :
       {Header("<f4", "(2,)"),
        std::string("{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}"),
        std::string("{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2L,)}"),
        Header("<f4", "(2,)") + std::string(900, ' '), Header("=f4", "(1, 2)")}) {
    for (int version = 1; version <= 3; ++version) {
      EXPECT_THAT(NpyFile(Write(header, payload, version)).ReadFloats(), ElementsAre(1, 2))
          << header;
    }
  }
  EXPECT_EQ(NpyFile(Write(Header("<f4", "()"), Bytes<float>({1}))).ShapeText(), "a single number");
}

std::string Refusal(const std::string& path) {
  try {
    NpyFile file(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "accepted";
}

TEST(NpyFile, SaysWhatItCannotRead) {
  EXPECT_THAT(Refusal(Folder() + "/absent.npy"), HasSubstr("absent.npy: cannot be opened"));
  EXPECT_NE(Refusal(Folder()), "accepted");
  const auto of_bytes = [](const std::string& bytes) {
    WriteFileAtomically(Folder() + "/x.npy", bytes);
    return Refusal(Folder() + "/x.npy");
  };
  EXPECT_THAT(of_bytes(""), HasSubstr("not a .npy file (hint: written by numpy.save)"));
  EXPECT_THAT(of_bytes("PK\3\4 and more than that"), HasSubstr("as .npz and .pt"));
  EXPECT_THAT(of_bytes("\x1f\x8b\x08 and more than that"), HasSubstr("gunzip"));
  EXPECT_THAT(Refusal(Write(Header("<f4", "(1,)"), "1234", 4)), HasSubstr("version 4"));
  EXPECT_THAT(Refusal(Write(Header("<c8", "(1,)"), "12345678")),
              HasSubstr("elements of type <c8, allowed are bool, integers and float16 to float64 "
                        "(hint: x.astype('float32'))"));
  EXPECT_THAT(Refusal(Write(Header("<U5", "(1,)"), std::string(20, ' '))),
              HasSubstr("numpy.unique(y, return_inverse=True)"));
  EXPECT_THAT(Refusal(Write(Header("|O", "(1,)"), "12345678")), HasSubstr("of type |O"));
  EXPECT_THAT(Refusal(Write(Header("<f16", "(1,)"), std::string(16, ' '))), HasSubstr("<f16"));
  EXPECT_THAT(Refusal(Write("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
                            "12345678")),
              HasSubstr("not of a plain array of numbers"));
  EXPECT_THAT(Refusal(Write(Header("<f4", "(2, 4)"), std::string(28, ' '))),
              HasSubstr("2×4 of type float32 takes 32 bytes, but 28 follow the header"));
  EXPECT_THAT(Refusal(Write(Header("<f4", "(2, 4)"), std::string(36, ' '))),
              HasSubstr("but 36 follow"));
  EXPECT_THAT(Refusal(Write(Header("<f4", "(99999999999, 99999999999)"), "1234")),
              HasSubstr("claims to be of size"));
}

TEST(NpyFile, AFileCutAnywhereIsRefused) {
  const std::string path = Write(Header("<f4", "(2, 1)"), Bytes<float>({1, 2}));
  for (auto bytes = std::filesystem::file_size(path); bytes-- > 0;) {
    std::filesystem::resize_file(path, bytes);
    ASSERT_NE(Refusal(path), "accepted") << bytes << " bytes";
  }
}

}  // namespace
}  // namespace bisparse::data
