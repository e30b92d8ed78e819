// SPDX-License-Identifier: Apache-2.0
// Fuzzes the YAML reader: whatever the bytes are, ParseConfig returns a configuration or throws
// Error (kConfiguration), and what it accepted prints to text that reads back the same. Commands
// and seeds: CMakeLists.txt. Read first: train/config/load.h.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "bisparse/error.h"
#include "train/config/load.h"
#include "train/config/print.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace bisparse;
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  train::Config config;
  try {
    config = train::ParseConfig(text, "fuzz.yaml");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kConfiguration) std::abort();
    return 0;
  }
  // Accepted: nothing below may throw.
  const std::string printed = train::PrintConfig(config);
  const train::Config again = train::ParseConfig(printed, "printed.yaml");
  if (train::PrintConfig(again) != printed || !(again.network == config.network)) {
    std::fprintf(stderr, "%s", printed.c_str());
    std::abort();
  }
  return 0;
}
