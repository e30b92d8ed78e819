// SPDX-License-Identifier: Apache-2.0
// Read first: run_data.h. Tested in: loop_test.cc.
#include "train/loop/run_data.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/utf8.h"
#include "train/loop/run_folder.h"

namespace bisparse::train {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const RunData::Samples& samples) {
  // As text: JSON's numbers are doubles to most readers.
  return {{"samples", samples.count}, {"fingerprint", fmt::format("{:016x}", samples.fingerprint)}};
}

RunData::Samples FromJson(const Json& json) {
  return {.count = json.at("samples").get<int64_t>(),
          .fingerprint = std::stoull(json.at("fingerprint").get<std::string>(), nullptr, 16)};
}

}  // namespace

RunData DescribeData(const data::Dataset& dataset) {
  const auto samples = [&](data::Split split) {
    return RunData::Samples{.count = dataset.size(split),
                            .fingerprint = dataset.Fingerprint(split)};
  };
  RunData data{.class_names = dataset.class_names(),
               .train = samples(data::Split::kTrain),
               .validation = samples(data::Split::kValidation)};
  if (const PictureInput* pictures = dataset.picture_input()) {
    data.mean_c = pictures->mean_c;
    data.deviation_c = pictures->deviation_c;
  }
  for (size_t c = 0; c < data.class_names.size(); ++c) {
    const std::string& name = data.class_names[c];
    const size_t at = FirstNotUtf8(name);
    if (at == name.size()) continue;
    Fail(ErrorKind::kData, fmt::format("class {}", c),
         "byte {} of its name, 0x{:02x}, is not UTF-8 (hint: rename the folder)", at + 1,
         static_cast<uint8_t>(name[at]));
  }
  return data;
}

std::string PrintRunData(const RunData& data) {
  Json json = {{"class_names", data.class_names},
               {"train", ToJson(data.train)},
               {"validation", ToJson(data.validation)}};
  if (!data.mean_c.empty()) {
    json["mean"] = data.mean_c;
    json["deviation"] = data.deviation_c;
  }
  return json.dump(2) + "\n";
}

std::optional<RunData> ReadRunData(const std::string& path) {
  if (!PathExists(path)) return std::nullopt;
  try {
    const Json json = Json::parse(ReadTextFile(path));
    RunData data{.class_names = json.at("class_names").get<std::vector<std::string>>(),
                 .train = FromJson(json.at("train")),
                 .validation = FromJson(json.at("validation"))};
    if (json.contains("mean")) {
      data.mean_c = json.at("mean").get<std::vector<float>>();
      data.deviation_c = json.at("deviation").get<std::vector<float>>();
    }
    return data;
  } catch (const std::logic_error& error) {  // of std::stoull
    Fail(ErrorKind::kData, path, "is damaged: {}", error.what());
  } catch (const nlohmann::json::exception& error) {
    Fail(ErrorKind::kData, path, "is damaged: {}", error.what());
  }
}

std::vector<std::string> DifferingData(const RunData& run, const RunData& now) {
  std::vector<std::string> differing;
  if (run.class_names != now.class_names) {
    differing.push_back(fmt::format("classes: [{}] in the run, [{}] now",
                                    fmt::join(run.class_names, ", "),
                                    fmt::join(now.class_names, ", ")));
  }
  const auto compare = [&](const char* split, const RunData::Samples& theirs,
                           const RunData::Samples& ours) {
    if (theirs.count != ours.count) {
      differing.push_back(
          fmt::format("{} samples: {} in the run, {} now", split, theirs.count, ours.count));
    } else if (theirs.fingerprint != ours.fingerprint) {
      differing.push_back(fmt::format("{} samples: as many, but others", split));
    }
  };
  compare("training", run.train, now.train);
  compare("validation", run.validation, now.validation);
  return differing;
}

}  // namespace bisparse::train
