// SPDX-License-Identifier: Apache-2.0
// Fuzzes the engine with model files of up to 1e9 multiplications a sample, in one mode that the input chooses: where
// products of sizes are large, an input takes up to some seconds. Commands and seeds: CMakeLists.txt.
#include <cstddef>
#include <cstdint>
#include <optional>

#include "tests/fuzz/model_bytes.h"
#include "tests/fuzz/run_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace bisparse;
  const std::optional<packed::Model> model = fuzz::Parse(fuzz::WithRightHeader({bytes, size}));
  if (!model || fuzz::WorkOf(*model) > 1e9) return 0;
  const Mode mode =
      fuzz::kModes[size > 9 ? bytes[9] % 4 : 3];  // a byte of the header, which is put right
  fuzz::RunModel(*model, {bytes, size}, /*exact=*/false, mode);
  return 0;
}
