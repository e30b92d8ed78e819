// SPDX-License-Identifier: Apache-2.0
// Read first: layout.h.
#include "deploy/packed/layout.h"

#include <algorithm>

#include "deploy/base/check.h"

namespace bisparse::packed {
namespace {

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::string LayoutFault(const KernelShape& shape, const Packing& packing) {
  const auto fault = [](const char* what, int64_t value, int64_t low, int64_t high) {
    return fmt::format("{} = {} is not in [{}, {}]", what, value, low, high);
  };
  const auto in = [](int64_t value, int64_t low, int64_t high) {
    return low <= value && value <= high;
  };
  if (!in(shape.outputs, 1, kMaxOutputs)) return fault("outputs", shape.outputs, 1, kMaxOutputs);
  if (!in(shape.channels, 1, INT32_MAX)) return fault("channels", shape.channels, 1, INT32_MAX);
  if (!in(shape.kernel_h, 1, kMaxKernel)) return fault("kernel_h", shape.kernel_h, 1, kMaxKernel);
  if (!in(shape.kernel_w, 1, kMaxKernel)) return fault("kernel_w", shape.kernel_w, 1, kMaxKernel);
  if (!in(shape.positions(), 1, INT32_MAX)) {
    return fault("channels x kernel_h x kernel_w", shape.positions(), 1, INT32_MAX);
  }
  if (!in(packing.set_size, 1, kMaxSetSize)) {
    return fault("set_size", packing.set_size, 1, kMaxSetSize);
  }
  if (!in(packing.lanes, 1, kMaxLanes)) return fault("lanes", packing.lanes, 1, kMaxLanes);
  if (!in(packing.run.channels, 1, INT32_MAX)) {
    return fault("run.channels", packing.run.channels, 1, INT32_MAX);
  }
  if (packing.run.taps > RunTaps::kAll) {
    return fault("run.taps", static_cast<int>(packing.run.taps), 0,
                 static_cast<int>(RunTaps::kAll));
  }
  return {};
}

Layout::Layout(const KernelShape& shape_in, const Packing& packing_in)
    : shape(shape_in), packing(packing_in) {
  const std::string fault = LayoutFault(shape, packing);
  if (!fault.empty()) Fail(ErrorKind::kInternal, "packed layout", "{}", fault);
  positions = shape.positions();
  blocks = static_cast<int32_t>(CeilDivide(shape.outputs, packing.lanes));
  sets = static_cast<int32_t>(CeilDivide(blocks, packing.set_size));
  switch (packing.run.taps) {
    case RunTaps::kOne:
      tap_groups = shape.kernel_h * shape.kernel_w;
      break;
    case RunTaps::kRow:
      tap_groups = shape.kernel_h;
      break;
    case RunTaps::kAll:
      tap_groups = 1;
      break;
  }
  runs = CeilDivide(shape.channels, packing.run.channels) * tap_groups;
}

int32_t Layout::BlocksOfSet(int32_t n) const {
  const int64_t before = int64_t{n} * packing.set_size;
  return static_cast<int32_t>(std::clamp<int64_t>(blocks - before, 0, packing.set_size));
}

}  // namespace bisparse::packed
