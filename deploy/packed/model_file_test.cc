// SPDX-License-Identifier: Apache-2.0
// Writing and reading gives the same model in place; what is refused and how; disks that fail.
// Every truncation and every altered bit: tests/golden. Whatever else the bytes may be: tests/fuzz.
#include "deploy/packed/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/base/checksum.h"
#include "deploy/base/file.h"
#include "deploy/base/mapped_file.h"
#include "deploy/packed/example_model.h"

namespace bisparse::packed {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string NewFolder(const std::string& name) {
  const std::string folder = testing::TempDir() + "model_file_test_" + name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

int FilesIn(const std::string& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

std::vector<uint8_t> ExampleBytes() { return SerialiseModel(MakeExampleModel(1)); }

template <typename Action>
std::string ErrorOf(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

std::string RefusalOf(const std::vector<uint8_t>& bytes) {
  return ErrorOf([&] { ParseModel(bytes, "m.bisparse"); });
}

void ExpectSame(const Layer& a, const Layer& b) {
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.input, b.input);
  EXPECT_EQ(a.output, b.output);
  EXPECT_EQ(a.window, b.window);
  EXPECT_EQ(a.packing, b.packing);
  EXPECT_EQ(a.kwta, b.kwta);
  EXPECT_THAT(a.owner_nr, ElementsAreArray(b.owner_nr));
  EXPECT_THAT(a.weight_pnl, ElementsAreArray(b.weight_pnl));
  EXPECT_THAT(a.bias_o, ElementsAreArray(b.bias_o));
}

void ExpectSame(const Model& a, const Model& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.format, b.format);
  EXPECT_EQ(a.input, b.input);
  EXPECT_EQ(a.class_names, b.class_names);
  EXPECT_EQ(a.front_end, b.front_end);
  EXPECT_EQ(a.provenance.config_text, b.provenance.config_text);
  EXPECT_EQ(a.provenance.version, b.provenance.version);
  EXPECT_EQ(a.provenance.created_utc, b.provenance.created_utc);
  EXPECT_EQ(a.provenance.seed, b.provenance.seed);
  EXPECT_EQ(a.provenance.validation_accuracy, b.provenance.validation_accuracy);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i) {
    SCOPED_TRACE(b.layers[i].name);
    ExpectSame(a.layers[i], b.layers[i]);
  }
}

/// Every field that a file can hold differs from its default.
Model FullModel() {
  Model model = MakeExampleModel(7);
  model.front_end = {.sample_rate_hz = 8000,
                     .clip_samples = 2000,
                     .align = ClipAlign::kEnd,
                     .window_samples = 500,
                     .hop_samples = 250,
                     .fft_samples = 510,
                     .mel_count = 8,
                     .frame_count = 8,
                     .low_hz = 30.5f,
                     .high_hz = 3900.5f,
                     .log_floor = 1e-5f,
                     .norm = FeatureNorm::kClipMeanStd,
                     .offset = -0.25f,
                     .scale = 1.5f};
  model.provenance = {"name: \"a\"\n# µ\n", "1.2.3", "2026-07-08T09:10:11Z", ~uint64_t{0}, 0.875};
  return model;
}

TEST(ModelFile, ReadsWhatWasWritten) {
  const std::string path = NewFolder("reads") + "/a.bisparse";
  const Model model = FullModel();
  WriteModel(model, path);
  ExpectSame(ReadModel(path), model);
  ExpectSame(ParseModel(SerialiseModel(model), "memory"), model);
}

TEST(ModelFile, ReadsWhatIsLeftOut) {
  Model model = FullModel();
  model.class_names.clear();
  model.front_end.reset();
  model.provenance = {};
  const Model read = ParseModel(SerialiseModel(model), "memory");
  ExpectSame(read, model);
  EXPECT_LT(read.provenance.validation_accuracy, 0) << "not known";
}

// The example's maps and windows are square.
TEST(ModelFile, KeepsHeightApartFromWidth) {
  Model model;
  model.name = "pool";
  model.input = {6, 9, 2};
  model.layers.resize(2);
  Layer &pool = model.layers[0], &rows = model.layers[1];
  pool.kind = LayerKind::kAvgPool;
  pool.name = "pool";
  pool.input = model.input;
  pool.window = {5, 7, 3, 4, 2, 1};
  pool.output = {2, 2, 2};
  rows = pool;
  rows.name = "rows";
  rows.input = pool.output;
  rows.window = {1, 2, 1, 1, 0, 0};
  rows.output = {2, 1, 2};
  ExpectSame(ParseModel(SerialiseModel(model), "memory"), model);
}

TEST(ModelFile, SameModelSameBytes) {
  EXPECT_EQ(ExampleBytes(), ExampleBytes());
  const std::string path = NewFolder("bytes") + "/a.bisparse";
  WriteModel(MakeExampleModel(1), path);
  const std::string text = ReadTextFile(path);
  EXPECT_EQ(std::vector<uint8_t>(text.begin(), text.end()), ExampleBytes());
}

TEST(ModelFile, WeightsStayInPlaceAndAligned) {
  const std::string path = NewFolder("place") + "/a.bisparse";
  WriteModel(MakeExampleModel(1), path);
  const Model model = ReadModel(path);
  const auto& file = *static_cast<const MappedFile*>(model.storage.get());
  ASSERT_EQ(file.bytes().size(), fs::file_size(path));
  int spans = 0;
  for (const Layer& layer : model.layers) {
    for (const std::span<const float> floats : {layer.weight_pnl, layer.bias_o}) {
      if (floats.empty()) continue;
      ++spans;
      const auto* first = reinterpret_cast<const uint8_t*>(floats.data());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u) << layer.name;
      EXPECT_GE(first, file.bytes().data()) << layer.name;
      EXPECT_LE(first + floats.size_bytes(), file.bytes().data() + file.bytes().size());
    }
    if (layer.owner_nr.empty()) continue;
    EXPECT_GE(layer.owner_nr.data(), file.bytes().data()) << layer.name;
    EXPECT_LE(layer.owner_nr.data() + layer.owner_nr.size(),
              file.bytes().data() + file.bytes().size());
  }
  EXPECT_EQ(spans, 10) << "weights and biases of 2 convolutions, 1 affine, 2 linear layers";
}

TEST(ModelFile, OutlivesWhatItWasReadFrom) {
  const std::string path = NewFolder("outlives") + "/a.bisparse";
  const Model expected = MakeExampleModel(1);
  WriteModel(expected, path);
  const Model read = ReadModel(path), mapped = ReadModel(path, ModelStorage::kInPlace);
  fs::remove(path);
  ExpectSame(read, expected);
  ExpectSame(mapped, expected);
  std::vector<uint8_t> bytes = ExampleBytes();
  // Not at a 64-byte boundary, and overwritten once read.
  std::vector<uint8_t> shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  const Model parsed = ParseModel(std::span(shifted).subspan(1), "memory");
  std::fill(shifted.begin(), shifted.end(), uint8_t{0xFF});
  ExpectSame(parsed, expected);
}

// Offsets in the header; docs/model-format.md.
constexpr size_t kVersionAt = 8, kHeaderBytesAt = 12, kPayloadBytesAt = 16, kChecksumAt = 24,
                 kZeroAt = 32, kPayloadAt = 64;

template <typename T>
void Put(std::vector<uint8_t>& bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

/// Makes payload size and checksum right again.
void Seal(std::vector<uint8_t>& bytes) {
  const std::span<const uint8_t> payload = std::span(bytes).subspan(kPayloadAt);
  Put<uint64_t>(bytes, kPayloadBytesAt, payload.size());
  Put<uint64_t>(bytes, kChecksumAt, XxHash64(payload));
}

TEST(ModelFile, HeaderIsAsDocumented) {
  const std::vector<uint8_t> bytes = ExampleBytes();
  std::vector<uint8_t> header(bytes.begin(), bytes.begin() + 8);
  EXPECT_EQ(std::string(header.begin(), header.end()), "BISPARSE");
  header.resize(64);
  Put<uint32_t>(header, 8, 1);
  Put<uint32_t>(header, 12, 64);
  Put<uint64_t>(header, 16, bytes.size() - 64);
  Put<uint64_t>(header, 24, XxHash64(std::span(bytes).subspan(64)));
  EXPECT_THAT(std::span(bytes).first(64), ElementsAreArray(header));
}

TEST(ModelFile, RefusesOtherVersions) {
  using testing::AllOf, testing::EndsWith, testing::StartsWith;
  std::vector<uint8_t> bytes = ExampleBytes();
  Put<uint32_t>(bytes, kVersionAt, 5);
  EXPECT_EQ(RefusalOf(bytes),
            "m.bisparse: format version = 5, this program reads 1 to 4 (hint: too new, update "
            "bisparse)");
  Put<uint32_t>(bytes, kVersionAt, 2);
  EXPECT_EQ(RefusalOf(bytes), "m.bisparse: format version = 2, f32 is version 1: altered");
  Put<uint32_t>(bytes, kVersionAt, 0);
  EXPECT_EQ(RefusalOf(bytes),
            "m.bisparse: format version = 0, this program reads 1 to 4 (hint: export the model "
            "again)");
}

TEST(ModelFile, KeepsADilationInAVersionOfItsOwn) {
  Model model = MakeExampleModel(1);
  model.layers[0].window.pad_h = 2;
  model.layers[0].window.dilation_h = 3;
  model.layers[0].window.pad_w = 1;
  model.layers[0].window.dilation_w = 2;
  std::vector<uint8_t> bytes = SerialiseModel(model);
  EXPECT_EQ(bytes[kVersionAt], 4);
  ExpectSame(ParseModel(bytes, "memory"), model);
  Put<uint32_t>(bytes, kVersionAt, 3);
  EXPECT_THAT(RefusalOf(bytes), HasSubstr("f32 with a dilation is version 4: altered"));
}

TEST(ModelFile, RefusesWhatIsNoModelFile) {
  std::vector<uint8_t> bytes = ExampleBytes();
  bytes[0] = 'b';
  EXPECT_THAT(RefusalOf(bytes), HasSubstr("does not begin with \"BISPARSE\""));
  bytes.assign(100, 0);
  EXPECT_THAT(RefusalOf(bytes), HasSubstr("does not begin with \"BISPARSE\""));
  EXPECT_THAT(RefusalOf({}), HasSubstr("has 0 bytes, a header alone has 64: truncated"));
}

TEST(ModelFile, RefusesTruncatedAndPaddedFiles) {
  const std::vector<uint8_t> whole = ExampleBytes();
  std::vector<uint8_t> bytes(whole.begin(), whole.begin() + 63);
  EXPECT_EQ(RefusalOf(bytes), "m.bisparse: has 63 bytes, a header alone has 64: truncated");
  bytes.assign(whole.begin(), whole.begin() + 64);
  EXPECT_THAT(RefusalOf(bytes), HasSubstr(", 0 in the file: truncated"));
  bytes.assign(whole.begin(), whole.end() - 1);
  EXPECT_THAT(RefusalOf(bytes), testing::EndsWith("in the file: truncated"));
  bytes = whole;
  bytes.push_back(0);
  EXPECT_THAT(RefusalOf(bytes), HasSubstr("bytes were added, or the header altered"));
}

TEST(ModelFile, RefusesAnAlteredHeader) {
  const std::vector<uint8_t> whole = ExampleBytes();
  std::vector<uint8_t> bytes = whole;
  Put<uint32_t>(bytes, kHeaderBytesAt, 128);
  EXPECT_EQ(RefusalOf(bytes), "m.bisparse: header bytes = 128, 64 expected: altered");
  bytes = whole;
  Put<uint64_t>(bytes, kPayloadBytesAt, UINT64_MAX);
  EXPECT_THAT(RefusalOf(bytes), HasSubstr("payload bytes = 18446744073709551615 in the header"));
  for (size_t at = kZeroAt; at < kPayloadAt; ++at) {
    bytes = whole;
    bytes[at] = 1;
    EXPECT_THAT(RefusalOf(bytes), HasSubstr("bytes 32 to 63 of the header are not zero")) << at;
  }
}

TEST(ModelFile, RefusesAnAlteredPayload) {
  std::vector<uint8_t> bytes = ExampleBytes();
  bytes[bytes.size() / 2] ^= 1;
  EXPECT_THAT(RefusalOf(bytes), testing::AllOf(HasSubstr("checksum = "),
                                               HasSubstr(": altered (hint: copy or export")));
}

TEST(ModelFile, RefusesAPayloadThatIsNoModelThoughItsChecksumIsRight) {
  std::vector<uint8_t> bytes = ExampleBytes();
  std::fill(bytes.begin() + kPayloadAt, bytes.end(), uint8_t{0xA5});
  Seal(bytes);
  EXPECT_EQ(RefusalOf(bytes), "m.bisparse: the payload is not laid out as a model (model.fbs)");
  bytes.resize(kPayloadAt);
  Seal(bytes);
  EXPECT_EQ(RefusalOf(bytes), "m.bisparse: the payload is not laid out as a model (model.fbs)");
}

// Everything but the offset to the root moved by 8 bytes: right offsets, wrong alignment.
TEST(ModelFile, RefusesWeightsThatAreNotAligned) {
  std::vector<uint8_t> bytes = ExampleBytes();
  uint32_t root;
  std::memcpy(&root, bytes.data() + kPayloadAt, sizeof root);
  bytes.insert(bytes.begin() + kPayloadAt + sizeof root, 8, uint8_t{0});
  Put<uint32_t>(bytes, kPayloadAt, root + 8);
  Seal(bytes);
  EXPECT_EQ(RefusalOf(bytes),
            "m.bisparse: layer 'conv1': weight_pnl does not lie at a multiple of 64 bytes");
}

TEST(ModelFile, RefusesAnInconsistentModelAndNamesLayerAndField) {
  // A bias that the file holds once: MakeExampleModel's first of layer 'output'.
  const Model model = MakeExampleModel(1);
  std::vector<uint8_t> bytes = SerialiseModel(model);
  const float bias = model.layers.back().bias_o[0];
  const auto* pattern = reinterpret_cast<const uint8_t*>(&bias);
  const auto at = std::search(bytes.begin(), bytes.end(), pattern, pattern + sizeof bias);
  ASSERT_NE(at, bytes.end());
  Put(bytes, static_cast<size_t>(at - bytes.begin()), INFINITY);
  Seal(bytes);
  EXPECT_EQ(RefusalOf(bytes), "m.bisparse: layer 'output': bias_o[0] is inf, not a finite number");
}

TEST(ReadModel, NamesTheFile) {
  const std::string folder = NewFolder("names"), path = folder + "/a.bisparse";
  EXPECT_THAT(ErrorOf([&] { ReadModel(path); }), HasSubstr(path + ": "));
  WriteFileAtomically(path, std::string_view("name: example\n"));
  EXPECT_THAT(ErrorOf([&] { ReadModel(path); }), HasSubstr(path + ": does not begin with"));
}

TEST(ReadModel, AsksForNoMemoryBeforeItKnowsTheHeader) {
  const std::string folder = NewFolder("large"), path = folder + "/a.bisparse";
  const std::vector<uint8_t> bytes = ExampleBytes();
  WriteFileAtomically(path, std::as_bytes(std::span(bytes)));
  fs::resize_file(path, uint64_t{1} << 38);  // takes no space on the disk
  EXPECT_THAT(ErrorOf([&] { ReadModel(path); }),
              HasSubstr("bytes were added, or the header altered"));
  fs::resize_file(path, 63);
  EXPECT_THAT(ErrorOf([&] { ReadModel(path); }), HasSubstr("has 63 bytes, a header alone has 64"));
  fs::remove_all(folder);
}

TEST(WriteModel, WritesNothingThatWouldNotBeRead) {
  const std::string folder = NewFolder("invalid"), path = folder + "/a.bisparse";
  Model model = MakeExampleModel(1);
  model.layers[1].window.stride_h = 0;
  EXPECT_THAT(ErrorOf([&] { WriteModel(model, path); }),
              HasSubstr("model 'example': layer 'pool1': stride_h = 0"));
  EXPECT_EQ(FilesIn(folder), 0);
}

// A limit on file sizes stands in for a full disk: both make write() stop half way.
TEST(WriteModel, LeavesTheOldFileWholeWhenTheDiskIsFull) {
  const std::string folder = NewFolder("full"), path = folder + "/a.bisparse";
  WriteModel(MakeExampleModel(1), path);
  const std::string before = ReadTextFile(path);
  struct rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {1000, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string replaced = ErrorOf([&] { WriteModel(MakeExampleModel(2), path); });
  const std::string created = ErrorOf([&] { WriteModel(MakeExampleModel(2), folder + "/b"); });
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(replaced, HasSubstr(path + ": cannot be written: File too large"));
  EXPECT_THAT(created, HasSubstr(folder + "/b: cannot be written: File too large"));
  EXPECT_EQ(ReadTextFile(path), before);
  EXPECT_EQ(FilesIn(folder), 1);
  ExpectSame(ReadModel(path), MakeExampleModel(1));
}

TEST(WriteModel, NamesAFolderThatCannotBeWrittenTo) {
  const Model model = MakeExampleModel(1);
  const std::string folder = NewFolder("folder");
  EXPECT_THAT(ErrorOf([&] { WriteModel(model, folder + "/none/a.bisparse"); }),
              HasSubstr(folder + "/none/a.bisparse: cannot be created: No such file"));
  EXPECT_EQ(FilesIn(folder), 0);
  // Not even root may create a file there.
  EXPECT_THAT(ErrorOf([&] { WriteModel(model, "/proc/self/a.bisparse"); }),
              HasSubstr("/proc/self/a.bisparse: cannot be created: "));
}

}  // namespace
}  // namespace bisparse::packed
