// SPDX-License-Identifier: Apache-2.0
// Read first: schema.h. A new key is one row here and one member in config.h. VisitTrain and
// VisitData pass 60 lines because they are tables.
// Past 400 lines: it is the one table of all keys.
#include "train/config/schema.h"

#include <fmt/format.h>

#include <cmath>

namespace bisparse::train {
namespace {

using namespace data::limits;
constexpr Range Of(data::Limits limits) { return {limits.min, limits.max}; }

// No honest value is larger, and single precision holds it, and its product with another small one.
constexpr double kLargest = 1e30;
constexpr Range kAny{-kLargest, kLargest};
constexpr Range kPositive{0.0, kLargest, true, false};
constexpr Range kNotNegative{0.0, kLargest};
constexpr Range kFraction{0.0, 1.0};
constexpr Range kPositiveFraction{0.0, 1.0, true, false};

constexpr const char* kDatasetWords[] = {"speech_commands", "npy"};
constexpr const char* kAlignWords[] = {"start", "center", "end"};
constexpr const char* kNormWords[] = {"none", "band_mean", "clip_mean", "clip_mean_std"};
constexpr const char* kSpeakerWords[] = {"auto", "name", "folder", "file"};
constexpr const char* kNormaliseWords[] = {"none", "column"};
constexpr const char* kExtraWords[] = {"none", "balanced"};
constexpr const char* kLayerWords[] = {
    "conv2d", "depthwise_conv2d", "linear",  "batch_norm", "max_pool", "avg_pool",
    "relu",   "dropout",          "flatten", "kwta"};
constexpr const char* kLayerPrefixes[] = {"conv",     "dw",   "linear",  "batch_norm", "max_pool",
                                          "avg_pool", "relu", "dropout", "flatten",    "kwta"};
constexpr const char* kLayerMeanings[] = {
    "Convolution; padding is zeros.",
    "Convolution of each channel with a kernel of its own; padding is zeros. Always dense.",
    "Fully connected layer; its input must be flat.",
    "Batch normalisation over channels; folded into a convolution or linear directly before it at "
    "export.",
    "Maximum of each window; padding never wins.",
    "Mean of each window; padding is not counted.",
    "max(x, 0).",
    "Zeroes inputs at random in training; vanishes at export.",
    "Height × width × channels to one row, channels last.",
    "ReLU, then exactly `winners` units survive; ties go to the lowest index.",
};
constexpr const char* kTapWords[] = {"one", "row", "all"};
constexpr const char* kOwnerWords[] = {"static", "learned", "rigl"};
constexpr const char* kScopeWords[] = {"local", "global"};
constexpr const char* kOptimiserWords[] = {"sgd", "adamw"};
constexpr const char* kScheduleWords[] = {"constant", "cosine", "one_cycle", "step"};
constexpr const char* kDeviceWords[] = {"auto", "cpu", "cuda"};
constexpr const char* kKeepWords[] = {"auto", "last", "best"};
constexpr const char* kClassesWord[] = {"classes"};

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

void VisitData(SchemaVisitor& v, data::DatasetConfig& d, Shape& input) {
  v.Choice(
      "type", d.kind, kDatasetWords,
      "speech_commands: folders of recordings, one per word; npy: arrays of samples and labels.");
  const bool speech = d.kind == data::DatasetKind::kSpeechCommands;
  v.Only(speech, "type: speech_commands", [&] {
    data::SpeechCommandsConfig& s = d.speech_commands;
    v.Text("path", s.root,
           "Folder of the data set, relative to where the program runs; `--data` replaces it.");
    v.Text("test_path", s.test_root,
           "Test set in the official layout of its own (one folder per class); empty: the testing "
           "split of `path`.");
    v.TextList("words", s.words, /*or_one=*/false,
               "Classes, in the order of the outputs; empty: every word folder, sorted.");
    VisitExtra(
        v, "unknown", s.unknown,
        "Clips of the class `_unknown_` (words that are not listed): as many as a word has on "
        "average, or this fraction of all words' clips.");
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
  v.Only(!speech, "type: npy", [&] {
    data::NpyConfig& n = d.npy;
    v.Text(
        "train_x", n.train_x,
        "Samples: N×D, N×H×W (maps of one channel) or N×C×H×W, any type of numbers; a series of C "
        "channels is N×C×1×L.",
        Need::kRequired);
    v.Text("train_y", n.train_y, "Labels: N whole numbers from 0.", Need::kRequired);
    int32_t* const sizes[] = {&input.height, &input.width, &input.channels};
    v.Ints("input", sizes, false, {1, 65536},
           "A sample's shape [height, width, channels]; N×D is [1, 1, D].", Need::kRequired);
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
    v.TextList("class_names", n.class_names, /*or_one=*/false,
               "Empty: 0, 1, … up to the largest training label.");
  });
  v.Bool("strict", d.strict,
         "A broken recording is an error instead of being left out and counted.");
  v.Only(speech, "type: speech_commands", [&] {
    v.Int("perturbed_copies", d.perturbed_copies, Of(kPerturbedCopies),
          "Perturbed copies of each validation clip, the same in every run: a second score. Five "
          "copies "
          "are one of each kind (`PerturbationOf` in data/augment.h).");
    v.Section("augment", "Changes to training clips, drawn anew in each epoch.",
              [&] { VisitAugment(v, d.augment); });
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

void VisitOwnerLearning(SchemaVisitor& v, OwnerLearning& o) {
  v.Int("update_steps", o.update_steps, {1, 1000000},
        "Steps from one choice of owners to the next.");
  v.Real("freeze_at", o.freeze_at, kPositiveFraction,
         "Part of the training after which owners stay.");
  v.Real("anneal_until", o.anneal_until, kFraction,
         "learned: part of the training in which the kernels kept in each run fall from S to 1.");
  v.Real("loser_decay", o.loser_decay, kNotNegative,
         "learned: decay of the weights that are not kept, times the learning rate.");
  v.Bool("balanced", o.balanced, "learned: whether every kernel of a set owns equally many runs.");
  v.Real("drop_fraction", o.drop_fraction, kFraction,
         "rigl: part of the runs that change hands at first; falls to 0 along a cosine.");
}

void VisitPacking(SchemaVisitor& v, LayerConfig& l) {
  v.Section("packing", "Complementary sparsity; left out, the layer is dense.", [&] {
    PackingConfig& p = l.packing;
    v.Int("set_size", p.layout.set_size, {1, packed::kMaxSetSize},
          "S: kernels that share the positions of one set; the weights' density is 1/S.");
    v.Int("lanes", p.layout.lanes, {1, packed::kMaxLanes},
          "L: neighbouring kernels that share their non-zero positions.");
    v.Section("run", "Positions that share one owner.", [&] {
      v.Int("channels", p.layout.run.channels, {1, 1048576}, "Neighbouring input channels.");
      v.Choice("taps", p.layout.run.taps, kTapWords, "Taps of the kernel window: one, a row, all.");
    });
    v.Choice("owners", p.owners, kOwnerWords,
             "static: drawn once from the seed, balanced; learned: the kernel with the largest "
             "weights in the run; rigl: weak owners hand over to the largest gradient.");
    v.Section("learning",
              "How owners are learned; static ones are not. Fractions are of the training.",
              [&] { VisitOwnerLearning(v, p.learning); });
  });
}

void VisitWindow(SchemaVisitor& v, packed::Window& w, bool pool) {
  int32_t* const kernel[] = {&w.kernel_h, &w.kernel_w};
  int32_t* const stride[] = {&w.stride_h, &w.stride_w};
  int32_t* const padding[] = {&w.pad_h, &w.pad_w};
  if (pool) {
    v.Ints("kernel", kernel, true, {0, packed::kMaxKernel},
           "Window: one number, or [height, width]; 0: the whole map (global pooling).",
           Need::kRequired);
    // A pool's stride is its window unless said otherwise; 0 stands for that until it is resolved.
    v.Ints("stride", stride, true, {0, packed::kMaxKernel},
           "From one window to the next; 0: the window's size.");
  } else {
    v.Ints("kernel", kernel, true, {1, packed::kMaxKernel},
           "Window: one number, or [height, width].", Need::kRequired);
    v.Ints("stride", stride, true, {1, packed::kMaxKernel}, "From one window to the next.");
  }
  v.Ints("padding", padding, true, {0, packed::kMaxKernel - 1},
         "Rows and columns added on every side.");
}

void VisitKwta(SchemaVisitor& v, KwtaConfig& k) {
  v.Int("winners", k.rule.winners, {1, 67108864},
        "Units that survive, a count: per position (local) or of the whole map (global).",
        Need::kRequired);
  v.Choice("scope", k.rule.scope, kScopeWords, "local: per position; global: over the whole map.");
  v.Int("groups", k.rule.groups, {1, 65536},
        "Channels are cut into so many groups, each with winners/groups.");
  v.Int("chunk", k.rule.chunk, {1, 65536},
        "Neighbouring channels that win or lose together, ranked by their sum.");
  v.Int("winners_start", k.winners_start, {0, 67108864},
        "Winners when training begins; 0: as `winners`.");
  v.Real("anneal_until", k.anneal_until, kPositiveFraction,
         "Part of the training after which winners_start has come down to winners.");
  v.Real("jitter", k.jitter, {0.0, 10.0},
         "Each step of training has up to this part more winners, drawn anew.");
  v.Real("leak", k.leak, kFraction,
         "Losers pass with this factor when training begins; falls linearly to 0 at anneal_until.");
  v.Section("boost", "Lifts units that seldom win, in training and for ranking only.", [&] {
    BoostConfig& b = k.boost;
    v.Real("strength", b.strength, {0.0, 100.0}, "β when training begins; 0: no boosting.");
    v.Int("period_samples", b.period_samples, {1, 100000000},
          "Samples that the running mean of the duty cycles covers.");
    v.Real("decay", b.decay, kPositiveFraction, "Factor on β after each epoch.");
    v.Real("until", b.until, kPositiveFraction,
           "Part of the training over which β also falls linearly to 0.");
  });
  v.Section("noise", "Makes the ranking random, in training only.", [&] {
    v.Real("strength", k.noise.strength, {0.0, 10.0},
           "σ when training begins: scores are multiplied by exp(σ · normal); 0: no noise.");
    v.Real("until", k.noise.until, kPositiveFraction,
           "Part of the training over which σ falls linearly to 0.");
  });
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
         "On the weights of convolutions and linear; biases and batch_norm are left alone.");
  v.Real("label_smoothing", t.label_smoothing, {0.0, 1.0, false, true},
         "Part of the target spread over all classes.");
  v.Real("mixup", t.mixup, kFraction,
         "α: pairs of samples are mixed, λ drawn from Beta(α, α); 0: none.");
  v.Real("ema_decay", t.ema_decay, {0.0, 1.0, false, true},
         "The weights' moving average over the steps is what is evaluated and exported; 0: none.");
  v.Real("gradient_clip", t.gradient_clip, kNotNegative,
         "Largest norm of all gradients together; 0: no clipping.");
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
  });
  v.Layers("network", config.network.layers, "The layers, first to last.");
  v.Section("train", "How it is learned.", [&] { VisitTrain(v, config.train); });
}

void VisitLayer(SchemaVisitor& v, LayerConfig& l) {
  v.Text("name", l.name, "Unique; default: kind and number, conv1, linear1, …");
  switch (l.kind) {
    case LayerKind::kConv2d:
      v.Int("channels", l.outputs, {1, 65536}, "Output channels.", Need::kRequired);
      VisitWindow(v, l.window, false);
      v.Bool("bias", l.bias, "Whether a bias is added.");
      VisitPacking(v, l);
      break;
    case LayerKind::kDepthwiseConv2d:
      VisitWindow(v, l.window, false);
      v.Bool("bias", l.bias, "Whether a bias is added.");
      break;
    case LayerKind::kLinear: {
      int index = l.outputs_are_classes ? 0 : 1;
      double units = l.outputs;
      v.WordOrNumber("units", index, kClassesWord, units, true, {1, 1048576},
                     "Outputs; `classes`: as many as the data set has.", Need::kRequired);
      l.outputs_are_classes = index == 0;
      l.outputs = static_cast<int32_t>(units);
      v.Bool("bias", l.bias, "Whether a bias is added.");
      VisitPacking(v, l);
      break;
    }
    case LayerKind::kBatchNorm:
      v.Real("momentum", l.momentum, kFraction,
             "Weight of the newest batch in the running statistics.");
      v.Real("epsilon", l.epsilon, kPositive, "Added to the variance.");
      v.Bool("affine", l.affine, "Whether a scale and a shift are learned.");
      break;
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
      VisitWindow(v, l.window, true);
      break;
    case LayerKind::kDropout:
      v.Real("probability", l.dropout, {0.0, 1.0, false, true}, "Of zeroing an input.");
      break;
    case LayerKind::kKwta:
      VisitKwta(v, l.kwta);
      break;
    case LayerKind::kRelu:
    case LayerKind::kFlatten:
      break;
  }
}

LayerConfig DefaultLayer(LayerKind kind) {
  LayerConfig layer;
  layer.kind = kind;
  if (kind == LayerKind::kMaxPool || kind == LayerKind::kAvgPool) {
    layer.window.stride_h = layer.window.stride_w = 0;
  }
  return layer;
}

Words LayerKindWords() { return kLayerWords; }
const char* LayerKindName(LayerKind kind) { return kLayerWords[static_cast<size_t>(kind)]; }
const char* LayerKindMeaning(LayerKind kind) { return kLayerMeanings[static_cast<size_t>(kind)]; }
const char* LayerNamePrefix(LayerKind kind) { return kLayerPrefixes[static_cast<size_t>(kind)]; }

}  // namespace bisparse::train
