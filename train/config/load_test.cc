// SPDX-License-Identifier: Apache-2.0
#include "train/config/load.h"

#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "bisparse/error.h"
#include "deploy/frontend/log_mel.h"
#include "train/config/print.h"

namespace bisparse::train {
namespace {

using testing::HasSubstr;

// The whole message, or "" if the text is a good configuration.
std::string FaultsOf(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    ParseConfig(text, "c.yaml", overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfiguration);
    return error.what();
  }
  return "";
}

constexpr const char* kSmall = R"(data:
  words: [yes, no, up, down, off]
network:
  - conv2d: {channels: 64, kernel: 5}
  - batch_norm
  - max_pool: {kernel: 2}
  - kwta: {winners: 8, groups: 8}
  - flatten
  - linear: {units: classes}
)";

TEST(Load, FillsDefaultsAndShapes) {
  const Config config = ParseConfig(kSmall, "folder/small.yaml");
  EXPECT_EQ(config.name, "small");
  EXPECT_EQ(config.text, kSmall);
  EXPECT_EQ(config.train.epochs, 30);
  ASSERT_EQ(config.network.layers.size(), 6u);
  EXPECT_EQ(config.network.layers[0].name, "conv1");
  EXPECT_EQ(config.network.layers[0].output, (Shape{28, 28, 64}));
  EXPECT_EQ(config.network.layers[2].output, (Shape{14, 14, 64}));
  EXPECT_EQ(config.network.layers[2].window.stride_h, 2);
  EXPECT_EQ(config.network.layers[3].name, "kwta1");
  EXPECT_EQ(config.network.layers[5].outputs, 7);  // five words, _unknown_, _silence_
  EXPECT_EQ(config.network.class_count, 7);
  EXPECT_EQ(config.data.speech_commands.words[1], "no");  // a word, not a truth value
}

TEST(Load, AllFaultsAtOnceInTheOrderOfTheFile) {
  const std::string text = R"(nam: x
seed: -1
data:
  words: [yes, yes]
  augment: {speed_min: 1.2, speed_max: 1.1}
front_end:
  mels: 32.5
network:
  - conv2d: {channels: 64, kernel: 5, packing: {set_size: 65}}
  - kwtta: {winners: 8}
train:
  epochs: 010
  batch_size: "64"
  epochs: 3
  optimiser: {kind: adam, momentum: 0.9}
  learning_rate: fast
)";
  EXPECT_EQ(
      FaultsOf(text),
      "c.yaml:1:1: nam is no key (hint: did you mean name?)\n"
      "c.yaml:2:7: seed = -1 is no seed: 0 … 18446744073709551615\n"
      "c.yaml:4:16: data.words lists 'yes' twice\n"
      "c.yaml:5:24: data.augment.speed_min = 1.2 exceeds speed_max = 1.1\n"
      "c.yaml:7:9: front_end.mels = 32.5 where a whole number is wanted: 1 … 1024\n"
      "c.yaml:9:59: conv1.packing.set_size = 65 is out of range: 1 … 64\n"
      "c.yaml:10:5: network = kwtta is no kind of layer (hint: did you mean kwta?)\n"
      "c.yaml:12:11: train.epochs = 010 where a whole number is wanted: 1 … 100000 (hint: YAML "
      "reads a leading zero as octal; leave it out)\n"
      "c.yaml:13:15: train.batch_size = \"64\" where a whole number is wanted: 1 … 65536 (hint: "
      "leave the quotes out)\n"
      "c.yaml:14:3: train.epochs is given twice (hint: first at line 12)\n"
      "c.yaml:15:21: train.optimiser.kind = adam is none of: sgd, adamw (hint: did you mean "
      "adamw?)\n"
      "c.yaml:15:27: train.optimiser.momentum is of no use here (hint: only with kind: sgd)\n"
      "c.yaml:16:18: train.learning_rate = fast where a number is wanted: (0, 1e+30]");
}

TEST(Load, MissingKeysAreTold) {
  EXPECT_EQ(FaultsOf("seed: 1\n"), "c.yaml: network is missing");
  EXPECT_EQ(FaultsOf(""), "c.yaml: network is missing");
  EXPECT_EQ(FaultsOf("network:\n  - max_pool\n"), "c.yaml:2:5: max_pool1.kernel is missing");
  EXPECT_EQ(
      FaultsOf("network: []\n"),
      "c.yaml:1:10: network is a list where a list of layers is wanted (hint: - conv2d: {…})");
}

TEST(Load, NamesAreUniqueAndPlain) {
  EXPECT_THAT(FaultsOf("network:\n  - relu: {name: a}\n  - relu: {name: a}\n"),
              HasSubstr("c.yaml:3:5: a.name is taken by the layer at line 2"));
  EXPECT_THAT(FaultsOf("network:\n  - relu: {name: a.b}\n"),
              HasSubstr("c.yaml:2:18: relu1.name = a.b is no name"));
  EXPECT_THAT(FaultsOf("name: ../x\nnetwork:\n  - relu\n"), HasSubstr("cannot name a folder"));
}

TEST(Load, ALayerWhoseKeysAreNoMap) {
  EXPECT_EQ(FaultsOf("network:\n  - conv2d: 5\n  - relu\n"),
            "c.yaml:2:13: conv1 = 5 where a map of keys is wanted (hint: conv2d: {…})");
  EXPECT_THAT(FaultsOf("network:\n  - flatten\n  - linear: {name: 1a}\n"),
              HasSubstr("linear1.units is missing"));
}

TEST(Load, KeysOfAnotherKindAreRefused) {
  EXPECT_THAT(
      FaultsOf("data: {type: npy, path: x}\nnetwork:\n  - relu\n"),
      HasSubstr("data.path is of no use here (hint: only with type: speech_commands or images)"));
  EXPECT_THAT(
      FaultsOf("data: {type: npy}\nfront_end: {mels: 3}\nnetwork:\n  - relu\n"),
      HasSubstr("front_end is of no use here (hint: only with data.type: speech_commands)"));
}

TEST(Load, WhatIsYamlButLacksPunctuationIsSaid) {
  const auto fault = [](const std::string& lines) { return FaultsOf(kSmall + lines); };
  EXPECT_EQ(fault("train:\n  epochs:3\n"),
            "c.yaml:11:3: train = epochs:3 where a map of keys is wanted (hint: a space after the "
            "colon, `epochs: 3`)");
  EXPECT_EQ(fault("train: {epochs:3}\n"),
            "c.yaml:10:9: train.epochs:3 is no key (hint: a space after the colon, `epochs: 3`)");
  EXPECT_EQ(fault("train:\n  epochs 3\n"),
            "c.yaml:11:3: train = epochs 3 where a map of keys is wanted (hint: a colon after "
            "`epochs`)");
  EXPECT_EQ(fault("train: {epochs 3}\n"),
            "c.yaml:10:9: train.epochs 3 is no key (hint: a colon after `epochs`)");
  EXPECT_THAT(FaultsOf("network:\n  - conv2d {channels: 3}\n"),
              HasSubstr("is no kind of layer (hint: a colon after `conv2d`)"));
  EXPECT_THAT(FaultsOf("network:\n  - conv2d:{channels: 3}\n"),
              HasSubstr("(hint: a space after the colon"));
}

TEST(Load, NamesThatAreNotUtf8AreFaults) {
  try {
    ParseConfig(kSmall, "b\xFCro.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("name is taken from the file's name, which is not UTF-8"));
  }
  EXPECT_EQ(ParseConfig("name: buero\n" + std::string(kSmall), "b\xFCro.yaml").name, "buero");
  EXPECT_THAT(FaultsOf(kSmall, {"data.path=b\xFCro"}), HasSubstr("the value is not UTF-8"));
}

TEST(Load, OneSourceOfLimits) {
  // The loader refuses what opening the data would.
  EXPECT_EQ(
      FaultsOf(std::string(kSmall) + "train: {epochs: 1}\n", {"data.augment.time_shift_ms=20000"}),
      "--set data.augment.time_shift_ms=20000: data.augment.time_shift_ms = 20000 is out of "
      "range: 0 … 10000");
  EXPECT_THAT(FaultsOf(kSmall, {"data.words=[a/b, c]"}),
              HasSubstr("data.words lists 'a/b', which is not the name of a word's folder"));
  EXPECT_THAT(FaultsOf(kSmall, {"data.validation_percent=60", "data.testing_percent=60"}),
              HasSubstr("data.validation_percent = 60 and testing_percent = 60 exceed 100"));
  // The front end's whole numbers: the largest that the schema takes is the largest that the model
  // file takes.
  struct Key {
    const char *key, *field;
    int32_t FrontEnd::*member;
  };
  for (const Key& key : {Key{"sample_rate_hz", "sample_rate_hz", &FrontEnd::sample_rate_hz},
                         Key{"clip_samples", "clip_samples", &FrontEnd::clip_samples},
                         Key{"window_samples", "window_samples", &FrontEnd::window_samples},
                         Key{"hop_samples", "hop_samples", &FrontEnd::hop_samples},
                         Key{"fft_samples", "fft_samples", &FrontEnd::fft_samples},
                         Key{"mels", "mel_count", &FrontEnd::mel_count},
                         Key{"frames", "frame_count", &FrontEnd::frame_count}}) {
    for (int32_t value : {0, 1, 2, 999, 1000, 1024, 1025, 65536, 65537, 384000, 384001, 1048576,
                          1048577, 16777216, 16777217}) {
      FrontEnd front_end;
      front_end.*key.member = value;
      const std::vector<std::string> faults = FrontEndFaults(front_end);
      const bool refused = std::any_of(faults.begin(), faults.end(), [&](const std::string& f) {
        return f.starts_with(fmt::format("{} = {} is not in", key.field, value));
      });
      const std::string message =
          FaultsOf(kSmall, {fmt::format("front_end.{}={}", key.key, value)});
      EXPECT_EQ(message.find("out of range") != std::string::npos, refused)
          << key.key << " = " << value << ": " << message;
    }
  }
}

TEST(Load, EveryKeyThatAFaultOfTheDataNamesExists) {
  data::DatasetConfig speech, arrays;
  for (const auto& row : data::kAugmentReals) speech.augment.*row.value = -1e9;
  for (const auto& row : data::kAugmentCounts) speech.augment.*row.value = -1;
  speech.speech_commands.validation_percent = speech.speech_commands.testing_percent = -1e9;
  speech.perturbed_copies = -1;
  speech.speech_commands.words = {"a/b"};
  speech.speech_commands.unknown =
      speech.speech_commands.silence = {data::ExtraAmount::kFraction, -1};
  arrays.kind = data::DatasetKind::kNpy;
  arrays.npy = {.train_x = "x",
                .validation_x = "x",
                .test_x = "x",
                .validation_fraction = -1,
                .offset = INFINITY,
                .scale = 0};
  const std::string reference = DocumentSchema();
  size_t count = 0;
  for (const data::DatasetConfig* config : {&speech, &arrays}) {
    for (const std::string& sentence : data::ConfigFaults(*config)) {
      ++count;
      const std::string key = sentence.substr(0, sentence.find(' '));
      EXPECT_THAT(reference, HasSubstr("| `" + key + "` |")) << sentence;
    }
  }
  EXPECT_EQ(count, 28u + 6u);
}

TEST(Load, MessagesCallKeysAsTheYamlDoes) {
  const std::string message = FaultsOf(kSmall, {"front_end.frames=64"});
  EXPECT_THAT(message, HasSubstr("frames"));
  EXPECT_EQ(message.find("frame_count"), std::string::npos) << message;
}

TEST(Load, NumbersBeyondSinglePrecisionAreOutOfRange) {
  for (const char* key : {"train.learning_rate", "train.weight_decay", "train.gradient_clip",
                          "train.teacher_temperature", "train.optimiser.epsilon",
                          "front_end.offset", "network.1.batch_norm.epsilon"}) {
    EXPECT_THAT(FaultsOf(kSmall, {std::string(key) + "=1e38"}), HasSubstr("is out of range"))
        << key;
  }
}

TEST(Load, NpyNeedsItsShape) {
  const std::string text = R"(data: {type: npy, train_x: x.npy, train_y: y.npy, input: [28, 20, 3]}
network:
  - flatten
  - linear: {units: 10}
)";
  const Config config = ParseConfig(text, "");
  EXPECT_EQ(config.network.input, (Shape{28, 20, 3}));
  EXPECT_EQ(config.network.layers[1].kernel.channels, 1680);
  EXPECT_EQ(config.name, "network");
}

TEST(Load, PicturesAreBroughtToTheInput) {
  const auto text = [](const std::string& data) {
    return "data: {type: images, path: set, input: [32, 24, 3], class_names: [a, b]" + data +
           "}\nnetwork: [flatten, {linear: {units: classes}}]\n";
  };
  const Config config = ParseConfig(
      text(
          ", fit: stretch, channel_order: bgr, mean: [0.5, 0.4, 0.3], deviation: [0.25, 0.25, 0.2],"
          " test_fraction: 0.2, groups: g.csv, augment: {flip_probability: 0.5, crop_padding: 4}"),
      "");
  EXPECT_EQ(config.network.input, (Shape{32, 24, 3}));
  const data::ImagesConfig& images = config.data.images;
  EXPECT_EQ(images.shape, config.network.input);
  EXPECT_EQ(images.root, "set");
  EXPECT_EQ(images.input.fit, PictureFit::kStretch);
  EXPECT_EQ(images.input.order, ChannelOrder::kBgr);
  EXPECT_EQ(images.input.mean_c, (std::vector<float>{0.5f, 0.4f, 0.3f}));
  EXPECT_EQ(images.test_fraction, 0.2);
  EXPECT_EQ(config.data.pixel_augment.crop_padding, 4);
  EXPECT_EQ(config.network.class_count, 2);
  // Printed and read again it is the same, numbers of single precision too.
  const std::string printed = PrintConfig(config);
  EXPECT_EQ(PrintConfig(ParseConfig(printed, "")), printed);
  EXPECT_EQ(ParseConfig(printed, "").data.images.input, images.input);
  const auto fault = [&](const std::string& data) { return FaultsOf(text(data)); };
  EXPECT_THAT(fault(", mean: [0.5]"), HasSubstr("data.mean has 1 value, the input has 3 channels"));
  EXPECT_THAT(fault(", mean: 0.5"), HasSubstr("data.mean = 0.5 where a list of numbers is wanted"));
  EXPECT_THAT(fault(", mean: [0.5, 2, 0.5]"), HasSubstr("data.mean = 2 is out of range: 0 … 1"));
  EXPECT_THAT(fault(", mean: [0.5, 0.5, 0.5], deviation: [1, 0, 1]"),
              HasSubstr("data.deviation = 0 is out of range"));
  EXPECT_THAT(fault(", mean: [0.5, 0.5, 0.5]"), HasSubstr("data.deviation has 0 values"));
  EXPECT_THAT(fault(", augment: {gain_db: 3}"),
              HasSubstr("data.augment.gain_db is of no use here"));
  EXPECT_THAT(fault(", validation_fraction: 0.5, test_fraction: 0.5"),
              HasSubstr("exceed 0.9 together"));
  EXPECT_THAT(FaultsOf("data: {type: images, path: set, input: [8, 8, 2]}\nnetwork: [flatten]\n"),
              HasSubstr("data.input = 8x8x2: pictures have 1 or 3 channels"));
  EXPECT_THAT(FaultsOf("data: {type: images, path: set}\nnetwork: [flatten]\n"),
              HasSubstr("data.input is missing"));
  EXPECT_THAT(FaultsOf(kSmall, {"data.augment.flip_probability=0.5"}),
              HasSubstr("data.augment.flip_probability"));
}

TEST(Load, FrontEndRulesKeepTheirPlace) {
  EXPECT_THAT(
      FaultsOf(std::string(kSmall) + "front_end: {window_samples: 2048}\n"),
      HasSubstr("c.yaml:10:29: front_end.window_samples = 2048 exceeds fft_samples = 1024"));
}

TEST(Load, RefusesWhatLeavesNothingOfTheInput) {
  const auto faults = [](const std::string& front_end) {
    return FaultsOf(std::string(kSmall) + "front_end: {" + front_end + "}\n");
  };
  for (const char* scale : {"0", "-0", "1.0e-60"}) {
    EXPECT_THAT(faults(std::string("scale: ") + scale),
                HasSubstr("c.yaml:10:20: front_end.scale = "))
        << scale;
    EXPECT_THAT(FaultsOf(std::string("data: {type: npy, train_x: x, train_y: y, input: [1, 1, 4], "
                                     "class_names: [a, b], scale: ") +
                         scale + "}\nnetwork:\n  - linear: {units: classes}\n"),
                HasSubstr("data.scale = "))
        << scale;
  }
  EXPECT_EQ(faults("scale: -1.0e-30"), "");
  const std::string one_frame = "clip_samples: 512, frames: 1, mels: 20, ";
  EXPECT_THAT(
      faults(one_frame + "norm: band_mean"),
      HasSubstr("front_end.norm takes the mean over the one frame: every feature would be 0"));
  EXPECT_THAT(faults(one_frame + "norm: clip_mean"), Not(HasSubstr("front_end.norm")));
  EXPECT_THAT(faults("clip_samples: 512, frames: 1, mels: 1, norm: clip_mean_std"),
              HasSubstr("front_end.norm takes the mean over the one feature"));
}

TEST(Load, RefusesFramesThatDoNotCoverTheClip) {
  const auto faults = [](const std::string& front_end) {
    return FaultsOf(std::string(kSmall) + "front_end: {" + front_end + "}\n");
  };
  EXPECT_THAT(faults("clip_samples: 32000, frames: 32"),
              HasSubstr("c.yaml:10:42: front_end.frames = 32 hears 16384 of the 32000 samples of a "
                        "clip (hint: frames: 63, or clip_samples: 16384)"));
  EXPECT_THAT(faults("clip_samples: 32000"), HasSubstr("front_end.frames = 32 hears 16384"));
  EXPECT_EQ(faults("clip_samples: 32000, frames: 63"), "");
  EXPECT_THAT(faults("clip_samples: 32000, frames: 61"), HasSubstr("frames = 61 hears 31232"));
  EXPECT_EQ(faults("clip_samples: 32000, frames: 62"),
            "");  // 256 samples, half a hop, are not heard
  EXPECT_THAT(faults("hop_samples: 2000, frames: 8"),
              HasSubstr("front_end.hop_samples = 2000 exceeds window_samples = 1024: what lies "
                        "between two windows is never heard (hint: hop_samples: 512)"));
}

TEST(Load, Overrides) {
  const Config config = ParseConfig(kSmall, "c.yaml", {"train.epochs=3", "data.path=/speech"});
  EXPECT_EQ(config.train.epochs, 3);
  EXPECT_EQ(config.data.speech_commands.root, "/speech");
  EXPECT_THAT(config.text, HasSubstr("epochs: 3"));
  EXPECT_EQ(FaultsOf(kSmall, {"train.epoch=3"}),
            "--set train.epoch=3: train.epoch is no key (hint: did you mean epochs?)");
  EXPECT_EQ(FaultsOf(kSmall, {"seed=1", "train.epochs=no"}),
            "--set train.epochs=no: train.epochs = no where a whole number is wanted: 1 … 100000");
}

TEST(Load, AFileThatIsNotThere) {
  try {
    LoadConfig("/nowhere/c.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kData);
  }
}

TEST(LoadConfig, AnEpochIsKeptThatEarlyStoppingDoesNotSpoil) {
  const std::string text =
      "data: {type: npy, train_x: x, train_y: y, input: [1, 1, 4], class_names: [a, b]}\n"
      "network: [flatten, {linear: {units: classes}}]\n";
  const auto keeps_best = [&](const std::string& train) {
    return ParseConfig(text + "train: {" + train + "}\n", "c.yaml").train.KeepsBest();
  };
  EXPECT_FALSE(keeps_best(""));
  EXPECT_TRUE(keeps_best("early_stop_epochs: 3"));
  EXPECT_TRUE(keeps_best("keep: best"));
  EXPECT_FALSE(keeps_best("keep: last"));
  try {
    keeps_best("keep: last, early_stop_epochs: 3");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                testing::HasSubstr("c.yaml:3:15: train.keep = last keeps an epoch "
                                   "without a gain where train.early_stop_epochs = 3"));
  }
}

}  // namespace
}  // namespace bisparse::train
