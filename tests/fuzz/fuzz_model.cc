// SPDX-License-Identifier: Apache-2.0
// Fuzzes the model reader: whatever the bytes are, ParseModel returns a model or throws Error
// (kData). It is tried as it is and with a right header, else no input would get past the checksum.
// A model that parses is written and read again, which must give the same bytes, and is run in
// every mode where that is little work. Commands and seeds: CMakeLists.txt. Read first:
// deploy/packed/model_file.h.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "bisparse/error.h"
#include "deploy/base/checksum.h"
#include "deploy/engine/engine_access.h"
#include "deploy/packed/model_file.h"

namespace {

using namespace bisparse;

constexpr size_t kHeaderBytes = 64;

std::optional<packed::Model> Parse(std::span<const uint8_t> bytes) {
  try {
    return packed::ParseModel(bytes, "fuzz.bisparse");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) {
      std::fprintf(stderr, "%s\n", error.what());
      std::abort();
    }
    return std::nullopt;
  }
}

std::vector<uint8_t> WithRightHeader(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> fixed(bytes.begin(), bytes.end());
  fixed.resize(std::max(fixed.size(), kHeaderBytes));
  const std::span<const uint8_t> payload = std::span(fixed).subspan(kHeaderBytes);
  const uint32_t version = fixed[8] == 2 ? 2 : 1, header_bytes = kHeaderBytes;  // int8 or f32
  const uint64_t payload_bytes = payload.size(), checksum = XxHash64(payload);
  std::fill_n(fixed.begin(), kHeaderBytes, uint8_t{0});
  std::memcpy(fixed.data(), "BISPARSE", 8);
  std::memcpy(fixed.data() + 8, &version, 4);
  std::memcpy(fixed.data() + 12, &header_bytes, 4);
  std::memcpy(fixed.data() + 16, &payload_bytes, 8);
  std::memcpy(fixed.data() + 24, &checksum, 8);
  return fixed;
}

/// Elements and multiplications of one sample, padding included.
double Work(const packed::Model& model) {
  double work = 0;
  for (const packed::Layer& layer : model.layers) {
    const packed::Window& w = layer.window;
    const double height = layer.input.height + 2.0 * w.pad_h;
    const double width = layer.input.width + 2.0 * w.pad_w;
    double window = static_cast<double>(int64_t{w.kernel_h} * w.kernel_w);
    if (layer.HasWeights()) window = static_cast<double>(layer.kernel().positions());
    work += height * width * layer.input.channels +
            static_cast<double>(layer.output.elements()) * window;
  }
  return work;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Parse({bytes, size});
  const std::optional<packed::Model> model = Parse(WithRightHeader({bytes, size}));
  if (!model) return 0;
  // Accepted: nothing below may throw.
  const std::vector<uint8_t> written = packed::SerialiseModel(*model);
  if (packed::SerialiseModel(packed::ParseModel(written, "written.bisparse")) != written) {
    std::fprintf(stderr, "a model changes when it is written and read\n");
    std::abort();
  }
  if (Work(*model) > 1e6) return 0;
  std::vector<float> features(static_cast<size_t>(model->input.elements()));
  for (size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i % 7) - 3.0f;
  std::vector<float> logits(static_cast<size_t>(model->output_count()));
  for (const Mode mode : {Mode::kDense, Mode::kSparseDense, Mode::kSparseSparse, Mode::kAuto}) {
    EngineAccess::FromModel(*model, {.mode = mode}).Run(features, logits);
  }
  return 0;
}
