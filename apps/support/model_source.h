// SPDX-License-Identifier: Apache-2.0
// The model that a program's argument names: a packed file, or a configuration whose weights and owners are then random.
#ifndef BISPARSE_APPS_SUPPORT_MODEL_SOURCE_H_
#define BISPARSE_APPS_SUPPORT_MODEL_SOURCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "bisparse/shape.h"
#include "deploy/packed/model.h"

namespace bisparse::apps {

/// `format`: "f32", "int8" or empty (a file's own, f32 of a configuration). Throws Error (kConfiguration) where a file
/// holds another one.
packed::Model OpenModel(const std::string& path, const std::string& format);

/// Uniform random inputs in [-1, 1] from a fixed seed.
std::vector<float> RandomInputs(const Shape& shape, int64_t samples);

/// "AMD EPYC 9B45, 2 cores": what /proc/cpuinfo and the operating system say.
std::string MachineName();

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_MODEL_SOURCE_H_
