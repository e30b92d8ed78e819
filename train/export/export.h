// SPDX-License-Identifier: Apache-2.0
// Run folder → packed model file: fold batch norm, pack (deploy/packed), verify (deploy/engine
// against LibTorch), quantise if asked to, write.
//
//   RunFolder/best.pt → TrainedLayer… → packed::Model → bytes → engine == LibTorch on validation samples → file
//   int8: … → QuantiseModel on training samples → accuracy against f32 on all of validation
//           → engine == definition bit for bit → file
//
// Read first: train/config/assemble.h (folding), near_ties.h, quantise.h. Tested in: export_test.cc.
#ifndef BISPARSE_TRAIN_EXPORT_EXPORT_H_
#define BISPARSE_TRAIN_EXPORT_EXPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/packed/model.h"
#include "train/loop/trained_run.h"
#include "train/nn/network.h"

namespace bisparse::train {

/// How far an engine is from LibTorch on the same samples.
struct Verification {
  Mode mode = Mode::kAuto;
  int64_t samples = 0;
  int64_t nearly_tied = 0;  ///< a k-WTA layer's choice is within the rounding bound
  int64_t swapped = 0;  ///< of those: another top class, or logits further apart; left out below
  int64_t top1_differ = 0;  ///< of the samples that are not nearly tied
  double worst_difference =
      0;                 ///< largest |logit − LibTorch's| over the range of LibTorch's logits
  std::string location;  ///< names the model in messages
};

/// Logits may differ by this fraction of their range, and in so many samples rounding may have swapped a winner.
inline constexpr double kLargestDifference = 1e-3;
inline constexpr double kLargestSwappedFraction = 0.01;
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

/// Samples of a split with their classes.
struct LabelledSamples {
  std::vector<float> x_bhwc;
  std::vector<int32_t> class_b;
};

/// What int8 costs on the same samples, both through the engine. Fractions.
struct FormatLoss {
  int64_t samples = 0;
  double f32_accuracy = 0, i8_accuracy = 0;
};
FormatLoss MeasureLoss(const packed::Model& f32, const packed::Model& i8,
                       const LabelledSamples& samples);

/// Throws Error (kData) where int8 loses more than `max_loss` percentage points.
void RequireSmallLoss(const FormatLoss& loss, double max_loss, const std::string& location);

/// Throws Error (kInternal) where the engine, in any mode, gives other bits than the int8 format's
/// definition (deploy/reference/reference.h) on x_bhwc.
void RequireDefinition(const packed::Model& i8, const std::vector<float>& x_bhwc);

struct ExportOptions {
  std::string run, output;
  Weights weights = Weights::kKept;
  /// Where the run's data are now: the folder of recordings, or x.npy with `labels` = y.npy in place
  /// of the run's training and validation arrays. Empty: where the run's configuration says.
  std::string data, labels;
  int64_t samples = 512;  ///< validation samples to verify on
  packed::NumberFormat format = packed::NumberFormat::kF32;
  int64_t calibration_samples = 512;  ///< int8: training samples, not augmented
  /// τ: each output's bias loses τ·log(training samples of its class ÷ mean of the classes). A network expects classes as
  /// often as training showed them; at 1 it expects all alike. Source: Menon et al. 2020, "Long-tail learning via logit
  /// adjustment", section 4.1.
  double even_classes = 0.0;
  double max_loss = 0.2;  ///< int8: of validation accuracy, percentage points
};

struct ExportResult {
  packed::Model model;
  std::vector<Verification> verifications;  ///< of the f32 model, one a mode
  std::optional<FormatLoss> loss;           ///< int8
  int64_t file_bytes = 0;
};

/// What the options say about where the data are, put into a run's configuration. Throws Error:
/// kConfiguration for flags that do not fit the run's kind of data, kData where there is nothing at
/// a path that the run was trained with, with the flags that help.
void RedirectData(const ExportOptions& options, data::DatasetConfig& config);

/// The file appears only when every mode has been verified, and int8 loses little. Throws Error.
ExportResult ExportRun(const ExportOptions& options);

}  // namespace bisparse::train

#endif  // BISPARSE_TRAIN_EXPORT_EXPORT_H_
