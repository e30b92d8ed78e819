// SPDX-License-Identifier: Apache-2.0
// Read first: load.h. Tested in: load_test.cc.
#include "train/config/load.h"

#include <filesystem>
#include <utility>

#include "deploy/base/file.h"
#include "deploy/base/utf8.h"
#include "train/config/faults.h"
#include "train/config/network.h"
#include "train/config/print.h"
#include "train/config/reader.h"
#include "train/config/schema.h"
#include "train/config/yaml_tree.h"

namespace bisparse::train {
namespace {

std::string StemOf(const std::string& path) {
  const std::string stem = std::filesystem::path(path).stem().string();
  return stem.empty() ? "network" : stem;
}

// The name becomes a folder, runs/<name>, and the model's name.
void CheckNames(const Config& config, Faults& faults) {
  if (FirstNotUtf8(config.name) < config.name.size()) {
    faults.Add("name", "is taken from the file's name, which is not UTF-8 (hint: give `name:`)");
  }
  if (config.name.find_first_of("/\\") != std::string::npos || config.name == "." ||
      config.name == ".." || config.name.find('\0') != std::string::npos) {
    faults.Add("name", "cannot name a folder (hint: letters, digits, '_' and '-')");
  }
}

}  // namespace

Config ParseConfig(const std::string& text, const std::string& path,
                   const std::vector<std::string>& overrides) {
  Faults faults(path, overrides);
  YamlNode root = ParseYaml(text, faults);
  faults.ThrowIfAny();  // with broken YAML every key would seem to be missing
  for (size_t i = 0; i < overrides.size(); ++i) {
    ApplyOverride(root, overrides[i], static_cast<int>(i) + 1, faults);
  }
  Config config;
  config.path = path;
  config.name = StemOf(path);
  ReadConfig(root, config, faults);
  CheckNames(config, faults);
  CheckSettings(config, faults);
  InferShapes(config, faults);
  CheckDeployed(config, faults);
  faults.ThrowIfAny();
  config.text = overrides.empty() ? text : PrintConfig(config);
  return config;
}

Config LoadConfig(const std::string& path, const std::vector<std::string>& overrides) {
  return ParseConfig(ReadTextStream(path), path, overrides);
}

}  // namespace bisparse::train
