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

/// Where the weights of a model that is read lie.
enum class ModelStorage : uint8_t {
  kCopy,  ///< in memory of the model's own: what becomes of the file or the bytes afterwards doesn't matter
  kInPlace,  ///< the file is mapped, the bytes are used where they are: they must not change while the model lives
};

/// Refuses (Error, kData) what is too new, truncated, altered or inconsistent, naming the file, layer and field.
Model ReadModel(const std::string& path, ModelStorage storage = ModelStorage::kCopy);

/// The same from bytes in memory; `location` names them in errors. kInPlace: they begin at a multiple of 64 bytes and
/// outlive the model.
Model ParseModel(std::span<const uint8_t> bytes, const std::string& location,
                 ModelStorage storage = ModelStorage::kCopy);

}  // namespace bisparse::packed

#endif  // BISPARSE_DEPLOY_PACKED_MODEL_FILE_H_
