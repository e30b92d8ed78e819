// SPDX-License-Identifier: Apache-2.0
// Read first: teacher.h. Tested in: loop_test.cc.
#include "train/loop/teacher.h"

#include <fmt/ranges.h>
#include <nettle/sha2.h>

#include <limits>

#include "deploy/base/check.h"
#include "deploy/base/file.h"
#include "train/loop/run_folder.h"
#include "train/loop/trained_run.h"

namespace bisparse::train {
namespace {

std::string Text(const Shape& shape) {
  return fmt::format("{}x{}x{}", shape.height, shape.width, shape.channels);
}

/// The first 16 hexadecimal digits of the file's SHA-256.
std::string DigestOf(const std::string& path) {
  const std::string bytes = ReadTextFile(path);
  sha256_ctx context;
  sha256_init(&context);
  sha256_update(&context, bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
  uint8_t digest[8];
  sha256_digest(&context, sizeof digest, digest);
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

}  // namespace

Teacher::Teacher(const Config& config, const std::vector<std::string>& class_names,
                 torch::Device device, const PictureInput* pictures)
    : config_(config.train.teacher) {
  for (const std::string& folder : config_.runs) {
    TrainedRun run = LoadTrainedRun(folder);
    const NetworkConfig &theirs = run.config.network, &ours = config.network;
    const std::string where = config.path + ": train.teacher = " + folder;
    if (theirs.input != ours.input) {
      Fail(ErrorKind::kConfiguration, where, "takes samples of {}, this network takes {}",
           Text(theirs.input), Text(ours.input));
    }
    const bool speech = config.data.kind == data::DatasetKind::kSpeechCommands;
    if (speech && !(run.config.front_end == config.front_end)) {
      Fail(ErrorKind::kConfiguration, where,
           "was trained with another front_end, and would hear other features than it knows (hint: "
           "compare {}/config.yaml)",
           folder);
    }
    const data::DatasetConfig& their_data = run.config.data;
    if (pictures != nullptr &&
        (their_data.kind != data::DatasetKind::kImages || their_data.images.input != *pictures)) {
      Fail(ErrorKind::kConfiguration, where,
           "was trained with other means, deviations, fit or order of channels of its pictures, "
           "and would see other "
           "features than it knows (hint: give those of {}/data.json as data.mean and "
           "data.deviation)",
           folder);
    }
    const std::vector<std::string>& their_names = run.class_names;
    // A run of an older version may not know its names.
    if (theirs.class_count != ours.class_count ||
        (!their_names.empty() && their_names != class_names)) {
      Fail(ErrorKind::kConfiguration, where, "has the classes [{}], this network has [{}]",
           fmt::join(their_names, ", "), fmt::join(class_names, ", "));
    }
    run.network->eval();
    run.network->to(device);
    networks_.push_back(run.network);
    digests_.push_back(DigestOf(RunPaths(folder).best()));
  }
}

torch::Tensor Teacher::Mix(const torch::Tensor& loss, const torch::Tensor& logits_bo,
                           const torch::Tensor& x_bhwc) {
  const double t = config_.temperature;
  torch::Tensor taught_bo;
  {
    torch::NoGradGuard no_grad;
    torch::Tensor sum_bo = torch::zeros_like(logits_bo);
    for (Network& network : networks_) sum_bo += torch::softmax(network->forward(x_bhwc) / t, 1);
    taught_bo = torch::log((sum_bo / static_cast<double>(networks_.size()))
                               .clamp_min(std::numeric_limits<float>::min()));
  }
  const torch::Tensor divergence =
      torch::kl_div(torch::log_softmax(logits_bo / t, 1), taught_bo, at::Reduction::Sum,
                    /*log_target=*/true) /
      static_cast<double>(logits_bo.size(0));
  return (1.0 - config_.weight) * loss + config_.weight * t * t * divergence;
}

void BeginWith(const std::string& run_folder, Network& network) {
  torch::NoGradGuard no_grad;
  const TrainedRun run = LoadTrainedRun(run_folder);
  auto tensors = run.network->named_parameters();
  tensors.update(run.network->named_buffers());
  int copied = 0;
  const auto take = [&](const std::string& key, torch::Tensor ours) {
    const torch::Tensor* const found = tensors.find(key);
    if (found == nullptr) return;
    const torch::Tensor& theirs = *found;
    if (theirs.sizes() != ours.sizes()) {
      Fail(ErrorKind::kConfiguration, "train.from = " + run_folder,
           "'{}' has the shape {} there, {} here (hint: rename the layer, and it begins at random)",
           key, fmt::format("{}", fmt::join(theirs.sizes(), "x")),
           fmt::format("{}", fmt::join(ours.sizes(), "x")));
    }
    ours.copy_(theirs);
    ++copied;
  };
  for (const auto& entry : network->named_parameters()) take(entry.key(), entry.value());
  for (const auto& entry : network->named_buffers()) {
    if (entry.key().find("running_") != std::string::npos) take(entry.key(), entry.value());
  }
  if (copied == 0) {
    Fail(ErrorKind::kConfiguration, "train.from = " + run_folder,
         "no layer of that run has the name of one of this network");
  }
}

}  // namespace bisparse::train
