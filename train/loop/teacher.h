// SPDX-License-Identifier: Apache-2.0
// What a run takes over from trained runs: a teacher's logits, first weights. Tested in:
// loop_test.cc.
#ifndef BISPARSE_TRAIN_LOOP_TEACHER_H_
#define BISPARSE_TRAIN_LOOP_TEACHER_H_

#include <torch/torch.h>

#include <string>
#include <vector>

#include "train/config/config.h"
#include "train/nn/network.h"

namespace bisparse::train {

/// train.teacher: trained runs of any topology with the same input and classes.
class Teacher {
 public:
  /// `class_names`: of the data set. Throws Error: kData if one of them is no run, kConfiguration
  /// if its input or front end is not that of `config`, or its classes are others.
  /// pictures: how this network's pictures become features; null: its samples are none.
  Teacher(const Config& config, const std::vector<std::string>& class_names, torch::Device device,
          const PictureInput* pictures = nullptr);

  /// (1 − weight)·loss + weight·T²·KL(p ‖ softmax(logits/T)), mean over the batch, where p is the
  /// mean over teachers of softmax(teacher/T). Source: Hinton, Vinyals, Dean 2015, sections 2, 3.
  torch::Tensor Mix(const torch::Tensor& loss, const torch::Tensor& logits_bo,
                    const torch::Tensor& x_bhwc);

  /// Of each run in config order: a digest of the file with its network.
  const std::vector<std::string>& digests() const { return digests_; }

 private:
  TeacherConfig config_;
  std::vector<std::string> digests_;
  std::vector<Network> networks_;
};

/// train.from: copies weights and batch norm of the run's layers to those of the same name; k-WTA,
/// owners and packing stay the network's own. Throws Error: kData if there is no such run,
/// kConfiguration if no layer or one of another shape has the name.
void BeginWith(const std::string& run_folder, Network& network);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_LOOP_TEACHER_H_
