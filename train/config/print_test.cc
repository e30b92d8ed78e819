// SPDX-License-Identifier: Apache-2.0
#include "train/config/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "deploy/base/file.h"
#include "train/config/load.h"

namespace bisparse::train {
namespace {

void ExpectRoundTrip(const Config& config) {
  SCOPED_TRACE(config.path);
  const std::string printed = PrintConfig(config);
  const Config again = ParseConfig(printed, "printed.yaml");
  EXPECT_EQ(PrintConfig(again), printed);
  EXPECT_EQ(again.name, config.name);
  EXPECT_EQ(again.seed, config.seed);
  EXPECT_EQ(again.front_end, config.front_end);
  EXPECT_EQ(again.network, config.network);
  EXPECT_EQ(again.train, config.train);
  EXPECT_EQ(again.data.speech_commands.words, config.data.speech_commands.words);
}

// Every value differs from its default.
TEST(Print, RoundTripOfUncommonValues) {
  ExpectRoundTrip(ParseConfig(R"(name: "odd: \"name\" # 1"
seed: 18446744073709551615
data: {path: "a b", words: ["no", "off", "x y", "1"], unknown: 0.25, silence: none, strict: true,
       augment: {gain_db: 0.1, speed_min: 0.95}}
front_end: {log_floor: 1.0e-9, norm: clip_mean_std, align: end, scale: 0.3}
network:
  - conv2d: {name: first, channels: 33, kernel: [3, 5], stride: [1, 2], padding: 1, bias: false,
             packing: {set_size: 3, lanes: 2, run: {taps: row}}}
  - batch_norm: {momentum: 0.2, epsilon: 1.0e-3, affine: false}
  - max_pool: {kernel: 3, stride: [1, 2], padding: 1}
  - kwta: {winners: 6, groups: 3, winners_start: 12, anneal_until: 0.4,
           boost: {strength: 1.5, period_samples: 500, decay: 0.9, until: 0.8}}
  - dropout: {probability: 0.1}
  - flatten
  - layer_norm: {epsilon: 1.0e-4}
  - linear: {units: 20}
  - kwta: {winners: 2, scope: global, chunk: 4}
  - linear: {units: classes}
train: {optimiser: {kind: sgd, momentum: 0.5, nesterov: true}, schedule: {kind: one_cycle, rise_frac: 0.2},
        learning_rate: 0.1, weight_decay: 1.0e-4, label_smoothing: 0.1, gradient_clip: 5, device: cpu}
)",
                              "odd.yaml"));
}

TEST(Print, RoundTripOfTheFilesInConfigs) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(BISPARSE_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    ++files;
    ExpectRoundTrip(LoadConfig(entry.path().string()));
  }
  EXPECT_GE(files, 5);
}

TEST(Print, QuotedTextsAreThemselvesAsOverrides) {
  for (const std::string text :
       {"plain/path", "a: b",      "x #1", "[a]", "{}",  "~",  "*x",     "&x",
        "!t",         "'q'",       "\"",   "\\",  "- a", "no", "12",     "büro",
        " a ",        "tab\there", "a\nb", "%x",  "@x",  "`x", "data:1", "?"}) {
    const Config config =
        ParseConfig("data: {words: [a, b]}\nnetwork: [flatten, linear: {units: 4}]\n", "c.yaml",
                    {"data.path=" + QuotedYaml(text)});
    EXPECT_EQ(config.data.speech_commands.root, text);
  }
}

TEST(Document, TheCheckedInReferenceIsUpToDate) {
  // To mend: bisparse-train --document-config > docs/configuration.md
  EXPECT_EQ(ReadTextFile(BISPARSE_SOURCE_DIR "/docs/configuration.md"), DocumentSchema());
}

}  // namespace
}  // namespace bisparse::train
