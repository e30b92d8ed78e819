// SPDX-License-Identifier: Apache-2.0
// The .bisparse file: 64-byte header, then a FlatBuffer (model.fbs). docs/model-format.md says what
// each byte is.
#ifndef BISPARSE_DEPLOY_PACKED_MODEL_FILE_H_
#define BISPARSE_DEPLOY_PACKED_MODEL_FILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "deploy/packed/model.h"

namespace bisparse::packed {

/// The bytes of a model's file. Validates first.
std::vector<uint8_t> SerialiseModel(const Model& model);

/// Writes to a temporary file beside `path`, syncs, renames: the file is whole or absent. Throws
/// Error (kData).
void WriteModel(const Model& model, const std::string& path);

/// Maps the file; the model's spans point into the mapping. Refuses (Error, kData) what is too new,
/// truncated, altered or inconsistent, naming the file, layer and field.
Model ReadModel(const std::string& path);

/// The same from bytes in memory (copied to aligned storage); `location` names them in errors.
Model ParseModel(std::span<const uint8_t> bytes, const std::string& location);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_MODEL_FILE_H_
