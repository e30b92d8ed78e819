// SPDX-License-Identifier: Apache-2.0
// bisparse-inspect: layers, pictures and curves, plans, tuning files (which bisparse-bench and -evaluate read too).
#include "deploy/simd/cpu.h"
#include "tests/programs/programs_test.h"

namespace bisparse {
namespace {

TEST_F(Programs, InspectDrawsEachSetsKernelsAndThePackedOne) {
  ASSERT_EQ(Run("bisparse-inspect", "model.bisparse --picture all.svg --layer conv2").code, 0);
  const std::string svg = ReadTextFile(Path("all.svg"));
  const packed::Layer* layer = nullptr;
  const packed::Model model = packed::ReadModel(model_path_);
  for (const packed::Layer& each : model.layers) layer = each.name == "conv2" ? &each : layer;
  ASSERT_NE(layer, nullptr);
  const packed::Layout layout(layer->kernel(), layer->packing);
  ASSERT_EQ(layout.sets, 1);
  std::vector<int64_t> owned(static_cast<size_t>(layer->packing.set_size)), drawn;
  for (int64_t p = 0; p < layout.positions; ++p) {
    ++owned[static_cast<size_t>(layout.Owner(layer->owner_nr, 0, p))];
  }
  // Kernel by kernel, a group each; the last holds them all.
  const std::regex rectangle("<rect x=\"[0-9]+\" y=\"[0-9]+\" width=\"([0-9]+)\" height=\"1\"");
  for (size_t at = svg.find("<g "); at != std::string::npos; at = svg.find("<g ", at + 1)) {
    const std::string group = svg.substr(at, svg.find("</g>", at) - at);
    drawn.push_back(0);
    for (std::sregex_iterator i(group.begin(), group.end(), rectangle), end; i != end; ++i) {
      drawn.back() += std::stoll((*i)[1]);
    }
  }
  owned.push_back(layout.positions);
  EXPECT_EQ(drawn, owned);
  ExpectError("bisparse-inspect", "model.bisparse --picture a.svg --layer relu1", 2,
              "no packed layer is called 'relu1', only: conv1 conv2");
}

TEST_F(Programs, InspectDrawsTrainingCurves) {
  WriteText("runs/a/metrics.csv",
            "epoch,train_loss,validation_accuracy,validation_perturbed\n1,2.5,0.25,\n2,2,0.5,\n");
  WriteText("runs/it's b/metrics.csv",
            "epoch,train_loss,validation_accuracy,validation_perturbed\n1,2,0.5,0.25\n");
  const Result result = Run("bisparse-inspect", "runs/a \"runs/it's b\" --plot curves.svg");
  if (result.err.find("gnuplot-nox") != std::string::npos) GTEST_SKIP() << result.err;
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string svg = ReadTextFile(Path("curves.svg"));
  EXPECT_THAT(svg, AllOf(HasSubstr("<svg"), HasSubstr("Training loss"), HasSubstr("perturbed"),
                         HasSubstr("it's b"), HasSubstr("</svg>")));
  ExpectError("bisparse-inspect", "runs --plot a.svg", 3, "metrics.csv: is not there");
  WriteText("runs/c/metrics.csv", "epoch,train_loss\n1,two\n");
  ExpectError("bisparse-inspect", "runs/c --plot a.svg", 3,
              "metrics.csv:2: train_loss = 'two' is no number");
  ExpectError("bisparse-inspect", "runs/a --plot a.svg", 2, "gnuplot-nox", "env PATH=/nowhere");
}

TEST_F(Programs, InspectDrawsWhoReadsWhom) {
  packed::Model model = packed::MakeExampleModel(1);
  model.layers[0].name = "a \"b\" \\ & <c>";
  packed::WriteModel(model, Path("odd.bisparse"));
  const Result result = Run("bisparse-inspect", "odd.bisparse --graph graph.svg");
  if (result.err.find("package graphviz") != std::string::npos) GTEST_SKIP() << result.err;
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string svg = ReadTextFile(Path("graph.svg"));
  EXPECT_THAT(svg, AllOf(HasSubstr("<svg"), HasSubstr("</svg>"), HasSubstr(">conv2d 3x3<"),
                         HasSubstr(">a &quot;b&quot; \\ &amp; &lt;c&gt;<"),
                         HasSubstr(">S 2, L 8, run 4 ch, row<"),
                         HasSubstr(">2 of 8 a position, 2 groups<"), HasSubstr(">input<")));
  // A node and an edge a layer, and those of the input and the output.
  const auto count = [&](const std::string& what) {
    size_t found = 0;
    for (size_t at = svg.find(what); at != std::string::npos; at = svg.find(what, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("class=\"node\""), model.layers.size() + 2);
  EXPECT_EQ(count("class=\"edge\""), model.layers.size() + 1);
  ExpectError("bisparse-inspect", "odd.bisparse --graph b.svg", 2, "graphviz", "env PATH=/nowhere");
}

TEST_F(Programs, InspectSaysWhatALayerReads) {
  WriteText("graph.yaml",
            "data: {type: npy, train_x: x.npy, train_y: y.npy, input: [6, 6, 2], class_names: "
            "[a, b]}\n"
            "network:\n  - conv2d: {name: trunk, channels: 4, kernel: 3}\n"
            "  - conv2d: {name: side, from: input, channels: 4, kernel: 3}\n"
            "  - add: {name: sum, from: trunk}\n  - flatten\n  - linear: {units: classes}\n");
  const Result result = Run("bisparse-inspect", "graph.yaml");
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* text :
       {"\nside +conv2d +4x4x4 [^\n]* reads input\n", "\nsum +add +4x4x4 +reads side, trunk\n"}) {
    EXPECT_TRUE(std::regex_search(result.out, std::regex(text))) << text << "\n" << result.out;
  }
  EXPECT_EQ(result.out.find("reads"), result.out.find("reads input"));  // the line before: not said
}

TEST_F(Programs, InspectShowsLayersPlanAndConfiguration) {
  const Result result = Run("bisparse-inspect", "model.bisparse --plan");
  ASSERT_EQ(result.code, 0) << result.err;
  for (
      const char* text :
      {"input +8x8x1\n", "classes +3 yes no _silence_\n", "front end +8000 Hz, 2048 samples",
       "made +2026-01-01T00:00:00Z by bisparse example, seed 1, validation 50.00 %\n",
       // name, kind, output, N, S, L, run, weights, non-zero, density, bytes
       "conv2 +conv2d +4x4x16 +1 +2 +8 4 ch, row +512 +256 +50.00% +[0-9]+\n",
       "kwta1 +kwta +3x3x8 +2 of 8 a position, 2 groups\n", "kwta2 +kwta +2x2x16 +8 of 64 a map\n",
       "total +1924 +[0-9]+ +[0-9.]+% +[0-9]+\n",
       // name, kernel, multiplications dense, sparse-dense, sparse-sparse, bytes, cache, us, dense us, gain, reason
       "plan of example \\(f32\\) on [^\n]*; one thread, one sample\n",
       "conv2 +conv_packed_f32[^ ]* +8192 +4096 +1024 +[0-9]+ L1 +[0-9.]+ +[0-9.]+ +[0-9.]+x  "
       "weights and inputs are "
       "sparse\n",
       "total, expected +[0-9 L.]+x\nworkspace [0-9]+ bytes a thread\n"}) {
    EXPECT_TRUE(std::regex_search(result.out, std::regex(text))) << text << "\n" << result.out;
  }
  packed::Model model = packed::MakeExampleModel(1);
  model.provenance.config_text = "name: example\nseed: 7\n";
  packed::WriteModel(model, model_path_);
  EXPECT_EQ(Run("bisparse-inspect", "model.bisparse --config").out, "name: example\nseed: 7\n");
}

TEST_F(Programs, InspectPlansAConfigurationAndWarns) {
  WriteText("odd.yaml",
            "data: {type: npy, train_x: x.npy, train_y: y.npy, input: [14, 14, 64], class_names: "
            "[a, b]}\n"
            "network:\n  - kwta: {winners: 8, groups: 8}\n"
            "  - conv2d: {channels: 64, kernel: 3, packing: {set_size: 4, lanes: 16, run: "
            "{channels: 1}}}\n"
            "  - relu\n  - avg_pool: {kernel: 0}\n  - flatten\n  - linear: {units: classes}\n");
  const std::vector<std::string> isas = kernels::AvailableIsas();
  const std::string isa = *std::find_if_not(isas.begin(), isas.end(), kernels::IsAvx3Dl);
  const Result result =
      Run("bisparse-inspect", "odd.yaml --format int8 --json -", "BISPARSE_ISA=" + isa);
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_THAT(KeysOf(json), ElementsAre("model", "format", "isa", "machine", "clock_ghz",
                                        "l1_bytes", "l2_bytes", "l3_bytes", "workspace_bytes",
                                        "expected_us", "dense_us", "layers", "warnings"));
  EXPECT_EQ(json["format"], "int8");
  const std::string warnings = json["warnings"].dump();
  EXPECT_THAT(warnings, HasSubstr(isa + " has no dot products of bytes"));
  EXPECT_THAT(warnings, HasSubstr("conv1: owners are not aligned with the winners that it reads"));
  double expected_us = 0;
  for (const Json& layer : json["layers"]) expected_us += layer["expected_us"].get<double>();
  EXPECT_NEAR(json["expected_us"], expected_us, 1e-9);
  const Json& conv = json["layers"][1];
  EXPECT_EQ(conv["macs_dense"], 64 * 64 * 9 * 144);
  EXPECT_EQ(conv["macs_sparse_dense"], 64 * 64 * 9 * 144 / 4);
  EXPECT_EQ(conv["macs_sparse_sparse"], 64 * 64 * 9 * 144 / 4 / 8);
  EXPECT_LT(conv["aligned_us"], conv["expected_us"]);
}

TEST_F(Programs, TuningIsKeptForItsModelAndMachine) {
  Result result = Run("bisparse-inspect", "model.bisparse --tune --tune-file tuned.json");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(
      std::regex_search(result.out, std::regex("conv2 [^\n]* measured: [0-9.]+ us against")))
      << result.out;
  const Json tuned = Json::parse(ReadTextFile(Path("tuned.json")));
  EXPECT_THAT(KeysOf(tuned),
              ElementsAre("bisparse_tuning", "model", "model_xxh64", "isa", "machine", "layers"));
  result = Run("bisparse-bench", "model.bisparse --tune-file tuned.json --seconds 0.01 --json -");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(KeysOf(Json::parse(result.out)["modes"]),
              ElementsAre("dense", "sparse_dense", "sparse_sparse", "auto"));
  // The file decides, not what is measured or expected here.
  Json edited = tuned;
  for (Json& layer : edited["layers"]) {
    layer["mode"] = "dense";
    layer["reason"] = "by hand";
  }
  WriteText("tuned.json", edited.dump());
  result = Run("bisparse-inspect", "model.bisparse --tune-file tuned.json");
  EXPECT_TRUE(std::regex_search(result.out, std::regex("conv2 +conv_dense_f32 [^\n]* by hand\n")))
      << result.out;

  packed::WriteModel(packed::MakeExampleModel(2), Path("other.bisparse"));
  ExpectError("bisparse-inspect", "other.bisparse --tune-file tuned.json", 2,
              "tuned.json: was measured for model_xxh64 = ");
  for (const std::string& isa : kernels::AvailableIsas()) {
    if (isa == tuned["isa"]) continue;
    ExpectError("bisparse-bench", "model.bisparse --tune-file tuned.json", 2,
                "tuned.json: was measured for isa = ", "BISPARSE_ISA=" + isa);
  }
  edited["layers"][0]["layer"] = "conv9";
  WriteText("tuned.json", edited.dump());
  ExpectError("bisparse-inspect", "model.bisparse --tune-file tuned.json", 2, "'conv9'");
  WriteText("tuned.json", "{}");
  ExpectError("bisparse-inspect", "model.bisparse --tune-file tuned.json", 3,
              "tuned.json: is no tuning file: ");
  WriteText("tuned.json", "none");
  ExpectError("bisparse-inspect", "model.bisparse --tune-file tuned.json", 3,
              "tuned.json: is no tuning file: ");
  ExpectError("bisparse-inspect", "model.bisparse --tune-file absent.json", 3,
              "absent.json: cannot be read (hint: --tune");
}

}  // namespace
}  // namespace bisparse
