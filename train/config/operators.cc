// SPDX-License-Identifier: Apache-2.0
// The table of all kinds of layer. Read first: operators.h. Tested in: network_test.cc, describe_test.cc, print_test.cc.
#include "train/config/operators.h"

#include <algorithm>
#include <array>

#include "deploy/packed/limits.h"

namespace bisparse::train {
namespace {

constexpr const char* kTapWords[] = {"one", "row", "all"};
constexpr const char* kOwnerWords[] = {"static", "learned", "rigl"};
constexpr const char* kScopeWords[] = {"local", "global"};
constexpr const char* kClassesWord[] = {"classes"};

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
    int32_t* const dilation[] = {&w.dilation_h, &w.dilation_w};
    v.Ints("dilation", dilation, true, {1, packed::kMaxKernel},
           "From one tap of the window to the next.");
  }
  v.Ints("padding", padding, true, {0, packed::kMaxKernel - 1},
         "Rows and columns added on every side.");
}

void VisitKwtaRule(SchemaVisitor& v, KwtaConfig& k) {
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

void VisitConv(SchemaVisitor& v, LayerConfig& l) {
  v.Int("channels", l.outputs, {1, 65536}, "Output channels.", Need::kRequired);
  VisitWindow(v, l.window, false);
  v.Bool("bias", l.bias, "Whether a bias is added.");
  VisitPacking(v, l);
}

void VisitConv1d(SchemaVisitor& v, LayerConfig& l) {
  packed::Window& w = l.window;
  v.Int("channels", l.outputs, {1, 65536}, "Output channels.", Need::kRequired);
  v.Int("kernel", w.kernel_w, {1, packed::kMaxKernel}, "Columns of the window.", Need::kRequired);
  v.Int("stride", w.stride_w, {1, packed::kMaxKernel}, "From one window to the next.");
  v.Int("dilation", w.dilation_w, {1, packed::kMaxKernel},
        "From one tap of the window to the next.");
  v.Int("padding", w.pad_w, {0, packed::kMaxKernel - 1}, "Columns added on both sides.");
  v.Bool("bias", l.bias, "Whether a bias is added.");
  VisitPacking(v, l);
}

void VisitDepthwise(SchemaVisitor& v, LayerConfig& l) {
  VisitWindow(v, l.window, false);
  v.Bool("bias", l.bias, "Whether a bias is added.");
}

void VisitLinear(SchemaVisitor& v, LayerConfig& l) {
  int index = l.outputs_are_classes ? 0 : 1;
  double units = l.outputs;
  v.WordOrNumber("units", index, kClassesWord, units, true, {1, 1048576},
                 "Outputs; `classes`: as many as the data set has.", Need::kRequired);
  l.outputs_are_classes = index == 0;
  l.outputs = static_cast<int32_t>(units);
  v.Bool("bias", l.bias, "Whether a bias is added.");
  VisitPacking(v, l);
}

void VisitBatchNorm(SchemaVisitor& v, LayerConfig& l) {
  v.Real("momentum", l.momentum, kFraction,
         "Weight of the newest batch in the running statistics.");
  v.Real("epsilon", l.epsilon, kPositive, "Added to the variance.");
  v.Bool("affine", l.affine, "Whether a scale and a shift are learned.");
}

void VisitLayerNorm(SchemaVisitor& v, LayerConfig& l) {
  v.Real("epsilon", l.epsilon, {packed::kLeastEpsilon, packed::kMostEpsilon},
         "Added to the variance.");
}

void VisitPool(SchemaVisitor& v, LayerConfig& l) { VisitWindow(v, l.window, true); }

void VisitDropout(SchemaVisitor& v, LayerConfig& l) {
  v.Real("probability", l.dropout, {0.0, 1.0, false, true}, "Of zeroing an input.");
}

void VisitKwta(SchemaVisitor& v, LayerConfig& l) { VisitKwtaRule(v, l.kwta); }

void VisitNothing(SchemaVisitor&, LayerConfig&) {}

double All(const LayerConfig&, std::span<const Activity>) { return 1.0; }

double AsInput(const LayerConfig&, std::span<const Activity> inputs) { return inputs[0].density; }

/// Each value may be the only one of its window.
double OfWindow(const LayerConfig& layer, std::span<const Activity> inputs) {
  return std::min(1.0, inputs[0].density * layer.window.kernel_h * layer.window.kernel_w);
}

double OfWinners(const LayerConfig& layer, std::span<const Activity> inputs) {
  const packed::Kwta& rule = layer.kwta.rule;
  const int64_t positions =
      rule.scope == packed::KwtaScope::kLocal ? 1 : int64_t{layer.input.height} * layer.input.width;
  const double winners = double(rule.winners) * rule.chunk;
  return std::min(inputs[0].density,
                  winners / static_cast<double>(positions * layer.input.channels));
}

double OfSum(const LayerConfig&, std::span<const Activity> inputs) {
  double sum = 0.0;
  for (const Activity& input : inputs) sum += input.density;
  return std::min(1.0, sum);
}

double OfProduct(const LayerConfig&, std::span<const Activity> inputs) {
  double least = 1.0;
  for (const Activity& input : inputs) least = std::min(least, input.density);
  return least;
}

double OfConcat(const LayerConfig& layer, std::span<const Activity> inputs) {
  double sum = 0.0;
  for (const Activity& input : inputs) sum += input.density * input.shape.channels;
  return sum / layer.output.channels;
}

using Deployed = packed::LayerKind;

constexpr Operator kOperators[] = {
    {LayerKind::kConv2d, "conv2d", "conv", "Convolution; padding is zeros.", Deployed::kConv2d,
     ShapeRule::kWindow, VisitConv, All},
    {LayerKind::kConv1d, "conv1d", "conv1d",
     "Convolution along the width, each row by itself: a conv2d whose kernel has height 1.",
     Deployed::kConv2d, ShapeRule::kWindow, VisitConv1d, All},
    {LayerKind::kDepthwiseConv2d, "depthwise_conv2d", "dw",
     "Convolution of each channel with a kernel of its own; padding is zeros. Always dense.",
     Deployed::kDepthwiseConv2d, ShapeRule::kWindow, VisitDepthwise, All},
    {LayerKind::kLinear, "linear", "linear", "Fully connected layer; its input must be flat.",
     Deployed::kLinear, ShapeRule::kUnits, VisitLinear, All},
    {LayerKind::kBatchNorm, "batch_norm", "batch_norm",
     "Batch normalisation over channels; folded at export into a convolution or linear directly "
     "before it, "
     "where no other layer reads that one.",
     Deployed::kAffine, ShapeRule::kSame, VisitBatchNorm, All},
    {LayerKind::kMaxPool, "max_pool", "max_pool", "Maximum of each window; padding never wins.",
     Deployed::kMaxPool, ShapeRule::kWindow, VisitPool, OfWindow},
    {LayerKind::kAvgPool, "avg_pool", "avg_pool", "Mean of each window; padding is not counted.",
     Deployed::kAvgPool, ShapeRule::kWindow, VisitPool, OfWindow},
    {LayerKind::kRelu, "relu", "relu", "max(x, 0).", Deployed::kRelu, ShapeRule::kSame,
     VisitNothing, AsInput},
    {LayerKind::kDropout, "dropout", "dropout",
     "Zeroes inputs at random in training; vanishes at export.", std::nullopt, ShapeRule::kSame,
     VisitDropout, AsInput},
    {LayerKind::kFlatten, "flatten", "flatten",
     "Height × width × channels to one row, channels last.", Deployed::kFlatten, ShapeRule::kFlat,
     VisitNothing, AsInput},
    {LayerKind::kKwta, "kwta", "kwta",
     "ReLU, then exactly `winners` units survive; ties go to the lowest index.", Deployed::kKwta,
     ShapeRule::kSame, VisitKwta, OfWinners},
    {LayerKind::kAdd, "add", "add",
     "Sum of the value before it and those of `from`: equal channels; a height or width of 1 is "
     "repeated.",
     Deployed::kAdd, ShapeRule::kRepeat, VisitNothing, OfSum},
    {LayerKind::kMultiply, "multiply", "multiply",
     "Product of the value before it and those of `from`: equal channels; a height or width of 1 "
     "is repeated.",
     Deployed::kMultiply, ShapeRule::kRepeat, VisitNothing, OfProduct},
    {LayerKind::kConcat, "concat", "concat",
     "The channels of the value before it, then those of `from`; equal heights and widths.",
     Deployed::kConcat, ShapeRule::kChannels, VisitNothing, OfConcat},
    {LayerKind::kSigmoid, "sigmoid", "sigmoid", "1 / (1 + exp(−x)).", Deployed::kSigmoid,
     ShapeRule::kSame, VisitNothing, All},
    {LayerKind::kHardSwish, "hard_swish", "hard_swish", "x · min(max(x + 3, 0), 6) / 6.",
     Deployed::kHardSwish, ShapeRule::kSame, VisitNothing, AsInput},
    {LayerKind::kGelu, "gelu", "gelu", "x · Φ(x), the exact one: Φ(x) = (1 + erf(x / √2)) / 2.",
     Deployed::kGelu, ShapeRule::kSame, VisitNothing, AsInput},
    {LayerKind::kLayerNorm, "layer_norm", "layer_norm",
     "Layer normalisation: at each position the channels are brought to mean 0 and variance 1, "
     "then each is scaled and shifted as learned; of a flat value all units.",
     Deployed::kLayerNorm, ShapeRule::kSame, VisitLayerNorm, All},
};

constexpr size_t kKinds = std::size(kOperators);
static_assert(kKinds == static_cast<size_t>(kLastLayerKind) + 1);
static_assert([] {
  for (size_t i = 0; i < kKinds; ++i) {
    if (kOperators[i].kind != static_cast<LayerKind>(i)) return false;
  }
  return true;
}());

constexpr auto kWords = [] {
  std::array<const char*, kKinds> words{};
  for (size_t i = 0; i < kKinds; ++i) words[i] = kOperators[i].word;
  return words;
}();

}  // namespace

const Operator& OperatorOf(LayerKind kind) { return kOperators[static_cast<size_t>(kind)]; }

const char* LayerKindName(LayerKind kind) { return OperatorOf(kind).word; }

Words LayerKindWords() { return kWords; }

void VisitLayer(SchemaVisitor& v, LayerConfig& l) {
  const Operator& op = OperatorOf(l.kind);
  v.Text("name", l.name, "Unique; default: kind and number, conv1, linear1, …");
  v.LayerNames("from", l.from, op.ReadsSeveral(),
               op.ReadsSeveral()
                   ? "Layers that are read too; `input`: the network's input."
                   : "Layer that is read in place of the one before; `input`: the network's input.",
               op.ReadsSeveral() ? Need::kRequired : Need::kOptional);
  op.visit(v, l);
}

LayerConfig DefaultLayer(LayerKind kind) {
  LayerConfig layer;
  layer.kind = kind;
  // A pool's stride is its window unless said otherwise.
  if (kind == LayerKind::kMaxPool || kind == LayerKind::kAvgPool) {
    layer.window.stride_h = layer.window.stride_w = 0;
  }
  return layer;
}

}  // namespace bisparse::train
