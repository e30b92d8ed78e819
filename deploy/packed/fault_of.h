// SPDX-License-Identifier: Apache-2.0
// For tests: what ValidateModel says of a model.
#ifndef BISPARSE_DEPLOY_PACKED_FAULT_OF_H_
#define BISPARSE_DEPLOY_PACKED_FAULT_OF_H_

#include <gtest/gtest.h>

#include <string>

#include "bisparse/error.h"
#include "deploy/packed/model.h"

namespace bisparse::packed {

/// The message, which begins with "m.bisparse"; empty for a valid model.
inline std::string FaultOf(const Model& model) {
  try {
    ValidateModel(model, "m.bisparse");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
    return error.what();
  }
  return "";
}

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_FAULT_OF_H_
