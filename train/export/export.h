// SPDX-License-Identifier: Apache-2.0
// Run folder → packed model file: fold batch norm, pack (deploy/packed), verify (deploy/engine
// against LibTorch), write.
//   RunFolder/best.pt → TrainedLayer… → packed::Model → bytes → engine == LibTorch on validation
//   samples → file
// Read first: train/config/assemble.h (folding), near_ties.h. Tested in: export_test.cc.
#ifndef BISPARSE_TRAIN_EXPORT_EXPORT_H_
#define BISPARSE_TRAIN_EXPORT_EXPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/packed/model.h"
#include "train/model/network.h"

namespace bisparse::train {

/// How far an engine is from LibTorch on the same samples.
struct Verification {
  Mode mode = Mode::kAuto;
  int64_t samples = 0;
  int64_t nearly_tied = 0;  ///< left out: a k-WTA layer's choice within the rounding bound
  int64_t top1_differ = 0;  ///< of the samples that are not nearly tied
  double worst_difference =
      0;                 ///< largest |logit − LibTorch's| over the range of LibTorch's logits
  std::string location;  ///< names the model in messages
};

/// Logits may differ by this fraction of their range, and so many samples may be nearly tied.
inline constexpr double kLargestDifference = 1e-3;
inline constexpr double kLargestTiedFraction = 0.01;
inline constexpr int64_t kVerifySamples = 256;  ///< at least, where the split has them

/// The trained network as it is deployed: batch norm folded, weights packed. `network` in
/// evaluation mode.
packed::Model BuildModel(const Config& config, Network& network,
                         const std::vector<std::string>& class_names, double validation_accuracy);

/// Runs the model's bytes in `mode` against LibTorch on x_bhwc ([B][H][W][C] floats).
Verification VerifyModel(const packed::Model& model, Network& network,
                         const std::vector<float>& x_bhwc, Mode mode);

/// Throws Error (kInternal) where a verification shows a model that may not be deployed.
void RequireVerified(const Verification& verification);

struct ExportOptions {
  std::string run, output;
  std::string data;       ///< validation recordings; empty: where the run's configuration says
  int64_t samples = 512;  ///< validation samples to verify on
};

struct ExportResult {
  packed::Model model;
  std::vector<Verification> verifications;  ///< one a mode
  int64_t file_bytes = 0;
};

/// The file appears only when every mode has been verified. Throws Error.
ExportResult ExportRun(const ExportOptions& options);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_EXPORT_EXPORT_H_
