// SPDX-License-Identifier: Apache-2.0
// bisparse-export: a run's best network, packed and verified, as one file.
#include "train/export/export.h"
#include "apps/support/inspection.h"
#include "apps/support/program.h"
#include "deploy/base/print.h"
#include "deploy/base/show.h"
#include "train/loop/run_folder.h"
#ifdef BISPARSE_HAVE_ONNX
#include "apps/peers/onnx_writer.h"
#endif

int main(int argc, char** argv) {
  using namespace bisparse;
  CLI::App app(
      "Folds batch norm, packs the weights, checks the engine against LibTorch on validation "
      "samples, writes the model.",
      "bisparse-export");
  app.footer(apps::Footer("bisparse-export runs/gsc_aligned -o gsc_aligned.bisparse"));
  train::ExportOptions options;
  app.add_option("RUN", options.run, "Folder of a run of bisparse-train")->required();
  app.add_option("-o,--output", options.output, "The .bisparse file to write")->required();
  app.add_option(
      "--data", options.data,
      "Where the run's data are now: the folder of its recordings or pictures, or x.npy (default: "
      "where its configuration says)");
  app.add_option("--labels", options.labels,
                 "y.npy, where --data is x.npy; a part of them is held out as in training");
  app.add_option("--samples", options.samples, "Validation samples to verify on")
      ->check(CLI::Range(train::kVerifySamples, int64_t{1} << 20))
      ->capture_default_str();
  bool last = false;
  app.add_flag("--last", last,
               "The weights' average after the last epoch, whatever the run's train.keep says");
  std::string format = "f32";
  app.add_option("--format", format, "Numbers: f32, or int8 (smaller and faster)")
      ->check(CLI::IsMember({"f32", "int8"}))
      ->capture_default_str();
  app.add_option("--even-classes", options.even_classes,
                 "Takes out how much more often training showed one class than another: 0 nothing, "
                 "1 all of it")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--max-loss", options.max_loss,
                 "int8: percentage points of validation accuracy that it may lose")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
#ifdef BISPARSE_HAVE_ONNX
  std::string onnx;
  app.add_option("--onnx", onnx,
                 "Also write the network as an ONNX file: dense f32 weights, k-WTA as TopK");
#endif
  return apps::RunProgram(app, argc, argv, [&] {
    std::vector<apps::NamedPath> outputs = {{"--output", options.output}};
#ifdef BISPARSE_HAVE_ONNX
    outputs.push_back({"--onnx", onnx});
#endif
    std::vector<apps::NamedPath> inputs = {{"--data", options.data}, {"--labels", options.labels}};
    const train::RunPaths run(options.run);
    for (const std::string& file : {run.config(), run.last(), run.best(), run.metrics()})
      inputs.push_back({"RUN", file});
    apps::RequireOutputs(outputs, inputs);
    if (format == "int8") options.format = packed::NumberFormat::kI8;
    if (last) options.weights = train::Weights::kLast;
    const train::ExportResult result = train::ExportRun(options);
    PrintResult("{}\n", apps::FormatLayers(result.model));
    for (const train::Verification& v : result.verifications) {
      PrintResult(
          "verified {:<14} {} samples, same top class in all, logits within {:.1e} of their range",
          ModeName(v.mode), v.samples - v.swapped, v.worst_difference);
      PrintResult("{}\n", v.nearly_tied == 0
                              ? ""
                              : fmt::format("; {} nearly tied, {} of them swapped and left out",
                                            v.nearly_tied, v.swapped));
    }
    if (result.loss) {
      PrintResult("validation f32 {:.2f} %, int8 {:.2f} % of {} samples\n",
                  100.0 * result.loss->f32_accuracy, 100.0 * result.loss->i8_accuracy,
                  result.loss->samples);
    }
    PrintResult("wrote {}: {} bytes\n", Shown(options.output), result.file_bytes);
#ifdef BISPARSE_HAVE_ONNX
    if (!onnx.empty()) {
      peers::WriteOnnx(result.model, onnx);
      PrintResult("wrote {}\n", Shown(onnx));
    }
#endif
    return 0;
  });
}
