// SPDX-License-Identifier: Apache-2.0
// bisparse-inspect: what is in a packed model, and what the engine would do with it.
#include <fmt/format.h>

#include "apps/support/inspection.h"
#include "apps/support/program.h"
#include "deploy/packed/model_file.h"

int main(int argc, char** argv) {
  CLI::App app("Shows a packed model: layers, sets, densities, winners, bytes, provenance.",
               "bisparse-inspect");
  app.footer(bisparse::apps::Footer("bisparse-inspect models/gsc_aligned.bisparse"));
  std::string path;
  bool plan = false, config = false;
  app.add_option("MODEL", path, "A .bisparse file")->required();
  app.add_flag("--plan", plan, "Also the kernel that each layer gets on this machine, and why");
  app.add_flag("--config", config, "Only the configuration that the model was trained with");
  return bisparse::apps::RunProgram(app, argc, argv, [&] {
    const bisparse::packed::Model model = bisparse::packed::ReadModel(path);
    if (config) {
      fmt::print("{}", model.provenance.config_text);
      return 0;
    }
    fmt::print("{}\n{}", bisparse::apps::FormatSummary(model), bisparse::apps::FormatLayers(model));
    if (plan) fmt::print("\n{}", bisparse::apps::FormatPlan(model));
    return 0;
  });
}
