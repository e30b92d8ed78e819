// SPDX-License-Identifier: Apache-2.0
// Fuzzes the model reader: whatever the bytes are, ParseModel returns a model or throws Error
// (kData). It is tried as it is and with a right header. A model that parses is written and read
// again, which must give the same bytes, and is run in every mode where that is little work
// (fuzz_run runs the others). Commands and seeds: CMakeLists.txt. Read first:
// deploy/packed/model_file.h.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tests/fuzz/model_bytes.h"
#include "tests/fuzz/run_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace bisparse;
  fuzz::Parse({bytes, size});
  const std::optional<packed::Model> model = fuzz::Parse(fuzz::WithRightHeader({bytes, size}));
  if (!model) return 0;
  // Accepted: nothing below may throw.
  const std::vector<uint8_t> written = packed::SerialiseModel(*model);
  if (packed::SerialiseModel(packed::ParseModel(written, "written.bisparse")) != written) {
    fuzz::Give("a model changes when it is written and read");
  }
  if (fuzz::WorkOf(*model) <= 1e6) fuzz::RunModel(*model, {bytes, size}, /*exact=*/false);
  return 0;
}
