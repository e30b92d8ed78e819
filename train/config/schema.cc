// SPDX-License-Identifier: Apache-2.0
// Read first: schema.h. A new key is one row here and one member in config.h. VisitTrain and
// VisitData pass 60 lines because they are tables. The keys of layers: operators.cc.
#include "train/config/schema.h"

#include <fmt/format.h>

#include <cmath>

namespace bisparse::train {
namespace {

using namespace data::limits;
constexpr Range Of(data::Limits limits) { return {limits.min, limits.max}; }

constexpr const char* kDatasetWords[] = {"speech_commands", "npy", "images"};
constexpr const char* kAlignWords[] = {"start", "center", "end"};
constexpr const char* kNormWords[] = {"none", "band_mean", "clip_mean", "clip_mean_std"};
constexpr const char* kSpeakerWords[] = {"auto", "name", "folder", "file"};
constexpr const char* kNormaliseWords[] = {"none", "column"};
constexpr const char* kUnknownDrawWords[] = {"clips", "words"};
constexpr const char* kFitWords[] = {"crop", "stretch"};
constexpr const char* kOrderWords[] = {"rgb", "bgr"};
constexpr const char* kExtraWords[] = {"none", "balanced"};
constexpr const char* kOptimiserWords[] = {"sgd", "adamw"};
constexpr const char* kScheduleWords[] = {"constant", "cosine", "one_cycle", "step"};
constexpr const char* kLossWords[] = {"cross_entropy", "one_vs_all"};
constexpr const char* kDeviceWords[] = {"auto", "cpu", "cuda"};
constexpr const char* kKernelsWords[] = {"auto", "packed", "masked"};
constexpr const char* kKeepWords[] = {"auto", "last", "best"};

void VisitExtra(SchemaVisitor& v, const char* key, data::ExtraClassConfig& extra,
                const char* meaning) {
  int index = static_cast<int>(extra.amount);
  v.WordOrNumber(key, index, kExtraWords, extra.fraction, false,
                 {0.0, data::limits::kLargestExtra, true, false}, meaning);
  extra.amount = static_cast<data::ExtraAmount>(index);
}

void VisitAugment(SchemaVisitor& v, data::AugmentConfig& a) {
  v.Bool("enabled", a.enabled, "Whether training clips are changed at all.");
  for (const auto& row : data::kAugmentReals) {
    v.Real(row.key, a.*row.value, Of(row.limits), row.meaning);
  }
  for (const auto& row : data::kAugmentCounts) {
    v.Int(row.key, a.*row.value, Of(row.limits), row.meaning);
  }
}

void VisitPixelAugment(SchemaVisitor& v, data::PixelAugmentConfig& a) {
  v.Bool("enabled", a.enabled, "Whether training pictures are changed at all.");
  for (const auto& row : data::kPixelReals) {
    v.Real(row.key, a.*row.value, Of(row.limits), row.meaning);
  }
  for (const auto& row : data::kPixelCounts) {
    v.Int(row.key, a.*row.value, Of(row.limits), row.meaning);
  }
}

void VisitImages(SchemaVisitor& v, data::ImagesConfig& i) {
  v.Choice("fit", i.input.fit, kFitWords,
           "Pictures of another shape: the largest part of the input's shape is taken from the "
           "middle, or all of it, "
           "distorted.");
  v.Choice("channel_order", i.input.order, kOrderWords,
           "Of the input's three channels; kept in the model file.");
  v.Reals("mean", i.input.mean_c, {0.0, 1.0},
          "Of each channel, full scale is 1: the input is (x / 255 − mean) / deviation. Empty: of "
          "the training "
          "samples. Kept in the model file.");
  v.Reals("deviation", i.input.deviation_c, {1e-3, 1e3},
          "Of each channel; given with `mean` or not at all.");
  v.Real("validation_fraction", i.validation_fraction, {0.0, 0.9},
         "Part of each class that is held out where there is no folder `val` or `validation`.");
  v.Real("test_fraction", i.test_fraction, {0.0, 0.9},
         "The same for testing, where there is no folder `test`.");
  v.Text("groups", i.groups,
         "File of lines PATH,GROUP (PATH below the folder of the classes): pictures of one group "
         "are held out together. "
         "Empty: each by itself.");
  v.Text("cache", i.cache,
         "Folder in which decoded pictures are kept for the next time; empty: the one that the run "
         "folder lies in.");
}

void VisitData(SchemaVisitor& v, data::DatasetConfig& d, Shape& input) {
  v.Choice("type", d.kind, kDatasetWords,
           "speech_commands: folders of recordings, one per word; npy: arrays of samples and "
           "labels; images: folders of "
           "pictures, one per class.");
  const bool speech = d.kind == data::DatasetKind::kSpeechCommands;
  const bool npy = d.kind == data::DatasetKind::kNpy;
  const bool images = d.kind == data::DatasetKind::kImages;
  v.Only(speech || images, "type: speech_commands or images", [&] {
    v.Text("path", images ? d.images.root : d.speech_commands.root,
           "Folder of the data set, relative to where the program runs; `--data` replaces it.");
  });
  v.Only(speech, "type: speech_commands", [&] {
    data::SpeechCommandsConfig& s = d.speech_commands;
    v.Text("test_path", s.test_root,
           "Test set in the official layout of its own (one folder per class); empty: the testing "
           "split of `path`.");
    v.TextList(
        "other_paths", s.other_roots, /*or_one=*/true,
        "Further folders for training, one folder a word: clips of `words` and of any other "
        "words. Of recordings longer than two clips, any part is a clip. Speakers held out by "
        "their list files, or by names with `_nohash_`, stay out.");
    v.TextList("held_out_words", s.held_out_words, /*or_one=*/true,
               "Other words that training never hears; how many of their clips are taken for one "
               "of `words` is a score of its own, held_out_accepted.");
    v.TextList("words", s.words, /*or_one=*/false,
               "Classes, in the order of the outputs; empty: every word folder, sorted.");
    VisitExtra(
        v, "unknown", s.unknown,
        "Clips of the class `_unknown_` (words that are not listed): as many as a word has on "
        "average, or this fraction of all words' clips.");
    v.Choice("unknown_draw", s.unknown_draw, kUnknownDrawWords,
             "Of which clips training takes those of `_unknown_`. clips: of each as often; words: "
             "`path` and `other_paths` take turns, in each folder its words, of each word its "
             "clips.");
    VisitExtra(v, "silence", s.silence,
               "Clips of the class `_silence_`, cut from `_background_noise_`; as `unknown`.");
    v.Choice("speakers", s.speakers, kSpeakerWords,
             "Who speaks, so that no voice is in two splits. name: the file name up to `_nohash_`; "
             "folder: WORD/SPEAKER/FILE; file: speakers.csv or speakers.txt in `path`; auto: the "
             "file, else the folder, else the name.");
    v.Real("validation_percent", s.validation_percent, Of(kPercent),
           "Speakers held out for validation where there is no validation_list.txt.");
    v.Real("testing_percent", s.testing_percent, Of(kPercent),
           "Speakers held out for testing where there is no testing_list.txt.");
  });
  v.Only(npy || images, "type: npy or images", [&] {
    int32_t* const sizes[] = {&input.height, &input.width, &input.channels};
    v.Ints("input", sizes, false, {1, 65536},
           "A sample's shape [height, width, channels]; N×D is [1, 1, D]; pictures are brought to "
           "it and have 1 or 3 "
           "channels.",
           Need::kRequired);
    v.TextList(
        "class_names", images ? d.images.class_names : d.npy.class_names, /*or_one=*/false,
        "Empty: 0, 1, … up to the largest training label; of pictures every folder, sorted.");
  });
  if (images) d.images.shape = input;
  v.Only(npy, "type: npy", [&] {
    data::NpyConfig& n = d.npy;
    v.Text(
        "train_x", n.train_x,
        "Samples: N×D, N×H×W (maps of one channel) or N×C×H×W, any type of numbers; a series of C "
        "channels is N×C×1×L.",
        Need::kRequired);
    v.Text("train_y", n.train_y, "Labels: N whole numbers from 0.", Need::kRequired);
    v.Text("validation_x", n.validation_x, "Empty: `validation_fraction` of the training samples.");
    v.Text("validation_y", n.validation_y, "Labels of validation_x.");
    v.Text("test_x", n.test_x, "Empty: there is no test split.");
    v.Text("test_y", n.test_y, "Labels of test_x.");
    v.Real("validation_fraction", n.validation_fraction, {0.0, 1.0, true, true},
           "Part of the training samples held out where validation_x is empty.");
    v.Bool("channels_last", n.channels_last, "Four dimensions are N×H×W×C instead of N×C×H×W.");
    v.Real("offset", n.offset, kAny, "The network's input is (x − offset) · scale.");
    v.Real("scale", n.scale, kAny, "The network's input is (x − offset) · scale.");
    v.Choice("normalise", n.normalise_columns, kNormaliseWords,
             "column: (x − mean) / deviation of the training samples, for each column of N×D, each "
             "channel of maps; the network's first layer, kept in the model file.");
  });
  v.Only(images, "type: images", [&] { VisitImages(v, d.images); });
  v.Bool("strict", d.strict,
         "A broken recording or picture is an error instead of being left out and counted.");
  v.Only(speech, "type: speech_commands", [&] {
    v.Int("perturbed_copies", d.perturbed_copies, Of(kPerturbedCopies),
          "Perturbed copies of each validation clip, the same in every run: a second score. Five "
          "copies "
          "are one of each kind (`PerturbationOf` in data/augment.h).");
    v.Section("augment", "Changes to training clips, drawn anew in each epoch.",
              [&] { VisitAugment(v, d.augment); });
  });
  v.Only(npy || images, "type: npy or images", [&] {
    v.Section("augment",
              "Changes to training pictures and to arrays of bytes, drawn anew in each epoch; none "
              "unless asked for.",
              [&] { VisitPixelAugment(v, d.pixel_augment); });
  });
}

void VisitFrontEnd(SchemaVisitor& v, FrontEnd& f) {
  v.Int("sample_rate_hz", f.sample_rate_hz, {1000, 384000}, "Recordings are resampled to it.");
  v.Int("clip_samples", f.clip_samples, {1, 16777216},
        "Length of a clip after padding or cutting.");
  v.Choice("align", f.align, kAlignWords,
           "Where the recording lies in a longer clip, and which part of it in a shorter one.");
  v.Int("window_samples", f.window_samples, {2, 65536}, "Hann window; at most fft_samples.");
  v.Int("hop_samples", f.hop_samples, {1, 1048576}, "From one frame to the next.");
  v.Int("fft_samples", f.fft_samples, {2, 65536}, "Length of the transform; even.");
  v.Int("mels", f.mel_count, {1, 1024}, "Mel bands: the height of the feature map.");
  v.Int("frames", f.frame_count, {1, 65536}, "Frames: the width of the feature map.");
  v.Real("low_hz", f.low_hz, kNotNegative, "Lower edge of the first band.");
  v.Real("high_hz", f.high_hz, kPositive, "Upper edge of the last band.");
  v.Real("log_floor", f.log_floor, kPositive, "feature = log(power + log_floor).");
  v.Choice("norm", f.norm, kNormWords,
           "What is taken from each clip: each band's mean, one mean, or mean and deviation.");
  v.Real("offset", f.offset, kAny, "Last of all: (feature − offset) · scale.");
  v.Real("scale", f.scale, kAny, "Last of all: (feature − offset) · scale.");
}

void VisitTrain(SchemaVisitor& v, TrainConfig& t) {
  v.Text("from", t.from,
         "Run folder whose weights training begins with (layers of the same name); empty: random.");
  v.TextList("teacher", t.teacher.runs, /*or_one=*/true,
             "Run folders whose classes are learned beside the labels, of several their mean; same "
             "input and classes; empty: none.");
  v.Real("teacher_weight", t.teacher.weight, kFraction, "Of the teacher's part of the loss.");
  v.Real("teacher_temperature", t.teacher.temperature, kPositive, "Softens both sides' classes.");
  v.Int("epochs", t.epochs, {1, 100000}, "Passes over the training samples.");
  v.Int("batch_size", t.batch_size, {1, 65536}, "Samples of one step.");
  v.Section("optimiser", "How weights follow their gradients.", [&] {
    OptimiserConfig& o = t.optimiser;
    v.Choice("kind", o.kind, kOptimiserWords, "sgd or adamw.");
    v.Only(o.kind == OptimiserKind::kSgd, "kind: sgd", [&] {
      v.Real("momentum", o.momentum, {0.0, 1.0, false, true}, "Momentum.");
      v.Bool("nesterov", o.nesterov, "Nesterov's form of momentum; needs momentum > 0.");
    });
    v.Only(o.kind == OptimiserKind::kAdamw, "kind: adamw", [&] {
      v.Real("beta1", o.beta1, {0.0, 1.0, false, true}, "Memory of the gradients' mean.");
      v.Real("beta2", o.beta2, {0.0, 1.0, false, true}, "Memory of the gradients' squares.");
      v.Real("epsilon", o.epsilon, kPositive, "Added to the denominator.");
    });
  });
  v.Real("learning_rate", t.learning_rate, kPositive, "Largest learning rate.");
  v.Section("schedule", "The learning rate over the training, changed at each step.", [&] {
    ScheduleConfig& s = t.schedule;
    v.Choice("kind", s.kind, kScheduleWords, "constant, cosine, one_cycle or step.");
    v.Only(s.kind != ScheduleKind::kOneCycle, "kind: constant, cosine or step",
           [&] { v.Real("warmup_epochs", s.warmup_epochs, kNotNegative, "Linear rise from 0."); });
    v.Only(s.kind == ScheduleKind::kCosine, "kind: cosine", [&] {
      v.Real("final_factor", s.final_factor, kFraction, "Last rate = learning_rate · this.");
    });
    v.Only(s.kind == ScheduleKind::kOneCycle, "kind: one_cycle", [&] {
      v.Real("rise_frac", s.rise_frac, {0.0, 1.0, true, true},
             "Part of the training over which the rate rises to learning_rate.");
      v.Real("start_divisor", s.start_divisor, {1.0, 1e9}, "First rate = learning_rate / this.");
      v.Real("final_divisor", s.final_divisor, {1.0, 1e9}, "Last rate = first rate / this.");
    });
    v.Only(s.kind == ScheduleKind::kStep, "kind: step", [&] {
      v.Real("step_factor", s.step_factor, kPositiveFraction, "Factor on the rate …");
      v.Int("step_epochs", s.step_epochs, {1, 100000}, "… after each so many epochs.");
    });
  });
  v.Real("weight_decay", t.weight_decay, kNotNegative,
         "On the weights of convolutions and linear; biases, batch_norm and layer_norm are left "
         "alone.");
  v.Choice(
      "loss", t.loss, kLossWords,
      "cross_entropy: one class or another; one_vs_all: each class against all others, the sum "
      "of binary cross entropies.");
  v.Real("label_smoothing", t.label_smoothing, {0.0, 1.0, false, true},
         "Part of the target spread over all classes.");
  v.Real("mixup", t.mixup, kFraction,
         "α: pairs of samples are mixed, λ drawn from Beta(α, α); 0: none.");
  v.Real("ema_decay", t.ema_decay, {0.0, 1.0, false, true},
         "The weights' moving average over the steps is what is evaluated and exported; 0: none.");
  v.Real("gradient_clip", t.gradient_clip, kNotNegative,
         "Largest norm of all gradients together; 0: no clipping.");
  v.Choice("kernels", t.kernels, kKernelsWords,
           "How layers with owners and batch norms train. masked: dense weights times a mask, as "
           "LibTorch "
           "computes them; packed: only what is owned and not zero; auto: both are timed at the "
           "start, the "
           "faster one trains, and the run keeps the choice.");
  v.Choice("device", t.device, kDeviceWords, "auto: CUDA where there is one.");
  v.Int("threads", t.threads, {0, 1024}, "LibTorch's threads; 0: one per core.");
  v.Int("workers", t.workers, {0, 1024}, "Threads that load and augment; 0: the trainer's own.");
  v.Int("worker_timeout_s", t.worker_timeout_s, {1, 86400},
        "How long the processes of data-parallel training wait for one another.");
  v.Choice(
      "keep", t.keep, kKeepWords,
      "The epoch whose network is exported: the last one, or the one with the best mean of clean "
      "and perturbed validation. auto: last, with early_stop_epochs best.");
  v.Int("early_stop_epochs", t.early_stop_epochs, {0, 100000},
        "Stop after so many epochs without a better validation; 0: never.");
  v.Text("runs", t.runs, "Folder of the run folders; a run lives in runs/name.", Need::kOptional);
}

void VisitDetection(SchemaVisitor& v, DetectionOptions& d) {
  constexpr Range kMs{0.0, 60e3};
  v.Real("average_ms", d.average_ms, kMs, "Each word's probability is averaged over so much time.");
  v.Real("threshold", d.threshold, kFraction, "A word is heard where its average reaches this.");
  v.Real("least_ms", d.least_ms, kMs, "… and stays there so long.");
  v.Real("refractory_ms", d.refractory_ms, kMs, "After a word none is heard for so long.");
  v.Real("gate_db", d.gate_db, {-200.0, 0.0},
         "Windows that are quieter than this, of full scale, hold no word; -200: no gate.");
}

}  // namespace

std::string Range::Text() const {
  if (std::isinf(min) && std::isinf(max)) return "any";
  if (std::isinf(max)) return fmt::format("{} {}", min_open ? ">" : "≥", min);
  if (min_open || max_open) {
    return fmt::format("{}{}, {}{}", min_open ? '(' : '[', min, max, max_open ? ')' : ']');
  }
  return fmt::format("{} … {}", min, max);
}

void VisitConfig(SchemaVisitor& v, Config& config) {
  v.Text("name", config.name,
         "Of the network and its run; default: the file's name without `.yaml`.");
  v.Seed("seed", config.seed, "Of owners, first weights, the order of samples and augmentation.");
  v.Section("data", "Which samples are learned.",
            [&] { VisitData(v, config.data, config.network.input); });
  const bool speech = config.data.kind == data::DatasetKind::kSpeechCommands;
  v.Only(speech, "data.type: speech_commands", [&] {
    v.Section("front_end", "Recording to log-mel features; kept in the model file.",
              [&] { VisitFrontEnd(v, config.front_end); });
    v.Section("detection",
              "How words are told in a stream (bisparse-listen); kept in the model file.",
              [&] { VisitDetection(v, config.detection); });
  });
  v.Layers("network", config.network.layers, "The layers, first to last.");
  v.Section("train", "How it is learned.", [&] { VisitTrain(v, config.train); });
}

}  // namespace bisparse::train
