// SPDX-License-Identifier: Apache-2.0
// Read first: kernel_choice.h. Tested in: loop_test.cc.
#include "train/loop/kernel_choice.h"

#include <nlohmann/json.hpp>

#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "deploy/base/print.h"
#include "train/loop/run_folder.h"

namespace bisparse::train {
namespace {

void Write(const std::string& path, const Config& config, const std::vector<LayerWay>& ways) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const LayerWay& way : ways) {
    nlohmann::ordered_json layer = {{"name", way.name}, {"way", way.packed ? "packed" : "masked"}};
    if (way.packed_ms >= 0.0) layer["packed_ms"] = way.packed_ms;
    if (way.masked_ms >= 0.0) layer["masked_ms"] = way.masked_ms;
    layers.push_back(std::move(layer));
  }
  const nlohmann::ordered_json all = {
      {"batch", config.train.batch_size}, {"threads", at::get_num_threads()}, {"layers", layers}};
  WriteFileAtomically(path,
                      all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::vector<LayerWay> Read(const std::string& path, std::vector<LayerWay> ways) {
  const auto all = nlohmann::json::parse(ReadTextFile(path), nullptr, /*allow_exceptions=*/false);
  const auto layers = all.is_object() ? all.find("layers") : all.end();
  const bool right =
      all.is_object() && layers != all.end() && layers->is_array() && layers->size() == ways.size();
  for (size_t i = 0; right && i < ways.size(); ++i) {
    const nlohmann::json& layer = (*layers)[i];
    const auto text = [&](const char* key) {
      const auto value = layer.is_object() ? layer.find(key) : layer.end();
      return value != layer.end() && value->is_string() ? value->get<std::string>() : "";
    };
    if (text("name") != ways[i].name) break;
    const std::string way = text("way");
    if (way != "packed" && way != "masked") break;
    ways[i].packed = way == "packed";
    if (i + 1 == ways.size()) return ways;
  }
  if (right && ways.empty()) return ways;
  Fail(ErrorKind::kData, path,
       "does not say of each layer with owners and each batch_norm whether it trains packed or "
       "masked (hint: put the run's file back, or begin the run anew, --force)");
}

/// The leader's choice for all processes.
void Share(const ProcessGroup& group, std::vector<LayerWay>& ways) {
  torch::Tensor packed = torch::zeros({static_cast<int64_t>(ways.size()) + 1}, torch::kFloat64);
  for (size_t i = 0; i < ways.size() && group.rank() == 0; ++i) {
    packed[static_cast<int64_t>(i)] = ways[i].packed ? 1.0 : 0.0;
  }
  group.Sum(packed);
  for (size_t i = 0; i < ways.size(); ++i) {
    ways[i].packed = packed[static_cast<int64_t>(i)].item<double>() > 0.5;
  }
}

}  // namespace

std::vector<LayerWay> ChooseKernels(const Config& config, const std::string& path, bool resumes,
                                    const ProcessGroup* group, std::FILE* progress) {
  std::vector<LayerWay> ways = LayersWithWays(config.network);
  if (config.train.kernels != Kernels::kAuto) {
    for (LayerWay& way : ways) way.packed = config.train.kernels == Kernels::kPacked;
    return ways;
  }
  const bool leads = group == nullptr || group->rank() == 0;
  if (leads && resumes && PathExists(path)) {
    ways = Read(path, ways);
  } else if (leads) {
    const int64_t batch = config.train.batch_size / (group == nullptr ? 1 : group->size());
    ways = TimeWays(config.network, config.train.optimiser, std::max<int64_t>(batch, 1),
                    /*with_dense=*/false, [&](const LayerWay& way) {
                      if (progress == nullptr) return;
                      PrintRemark(
                          progress, "  {}: {} (a step takes {:.2f} ms packed, {:.2f} ms masked)\n",
                          way.name, way.packed ? "packed" : "masked", way.packed_ms, way.masked_ms);
                    });
    Write(path, config, ways);
  }
  if (group != nullptr) Share(*group, ways);
  return ways;
}

}  // namespace bisparse::train
