// SPDX-License-Identifier: Apache-2.0
#include "apps/support/model_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "deploy/base/check.h"
#include "deploy/base/random.h"
#include "deploy/packed/model_file.h"
#include "train/config/assemble.h"
#include "train/config/load.h"
#include "train/export/quantise.h"

namespace bisparse::apps {

packed::Model OpenModel(const std::string& path, const std::string& format) {
  if (!path.ends_with(".yaml") && !path.ends_with(".yml")) {
    packed::Model model = packed::ReadModel(path);
    if (format.empty() || format == packed::NumberFormatName(model.format)) return model;
    Fail(ErrorKind::kConfiguration, path, "holds {} numbers (hint: bisparse-export --format {})",
         packed::NumberFormatName(model.format), format);
  }
  const train::Config config = train::LoadConfig(path);
  packed::Model model = train::MakeRandomModel(config, config.seed);
  if (format != "int8") return model;
  return train::QuantiseModel(model, RandomInputs(model.input, 16));
}

std::vector<float> RandomInputs(const Shape& shape, int64_t samples) {
  std::vector<float> x_bi(static_cast<size_t>(samples * shape.elements()));
  CounterRandom random(1, {0x6265'6e63'68});
  for (float& x : x_bi) x = 2.0f * random.Uniform() - 1.0f;
  return x_bi;
}

std::string MachineName() {
  std::string name = "unknown CPU";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name") || line.starts_with("Model")) {
      name = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  }
  return fmt::format("{}, {} cores", name, std::thread::hardware_concurrency());
}

}  // namespace bisparse::apps
