// SPDX-License-Identifier: Apache-2.0
// What is wrong with detection parameters, wherever they come from. Read first: deploy/include/bisparse/detector.h.
// Tested in: deploy/engine/detector_test.cc, model_test.cc.
#ifndef BISPARSE_DEPLOY_PACKED_DETECTION_H_
#define BISPARSE_DEPLOY_PACKED_DETECTION_H_

#include <span>
#include <string>

#include "bisparse/detection.h"

namespace bisparse::packed {

/// A class that means that no word is there: `_silence_`, `_unknown_`.
bool IsNoWord(const std::string& class_name);

/// "threshold = 2, allowed are 0 to 1"; empty if nothing is wrong. A word must be one of the classes, once.
std::string DetectionFault(const DetectionOptions& options,
                           std::span<const std::string> class_names);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_DETECTION_H_
