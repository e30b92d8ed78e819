// SPDX-License-Identifier: Apache-2.0
// Layers with owners; see packed_weight.h. Tested in: sparse_test.cc.
#include "train/nn/packed_weight.h"

#include <cmath>
#include <cstring>
#include <numbers>

#include "deploy/base/check.h"
#include "train/config/static_owners.h"
#include "train/nn/choose_owners.h"
#include "train/nn/shapes.h"

namespace bisparse::train {

namespace {

/// w ⊙ mask whose gradient reaches every weight.
class StraightThrough : public torch::autograd::Function<StraightThrough> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& weight,
                               const torch::Tensor& mask) {
    return weight * mask;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 torch::autograd::variable_list grads) {
    return {grads[0], torch::Tensor()};
  }
};

/// i64 [P]: the run of each position.
torch::Tensor RunOfPosition(const packed::Layout& layout) {
  torch::Tensor run_p = torch::empty({layout.positions}, torch::kInt64);
  for (int64_t p = 0; p < layout.positions; ++p) run_p.data_ptr<int64_t>()[p] = layout.RunOf(p);
  return run_p;
}

/// f32 [N][S][R]: 1 at each run's owner.
torch::Tensor KeptFromOwners(const packed::Layout& layout, const torch::Tensor& owner_nr) {
  const torch::Tensor owner_n1r = owner_nr.to(torch::kInt64).view({layout.sets, 1, layout.runs});
  return torch::zeros({layout.sets, layout.packing.set_size, layout.runs}, owner_nr.device())
      .scatter_(1, owner_n1r, 1.0);
}

}  // namespace

torch::Tensor MaskFromKept(const packed::Layout& layout, const torch::Tensor& kept_nsr) {
  const int64_t lanes = layout.packing.lanes;
  return kept_nsr.index_select(2, RunOfPosition(layout).to(kept_nsr.device()))
      .unsqueeze(2)
      .expand({layout.sets, layout.packing.set_size, lanes, layout.positions})
      .reshape({layout.outputs_padded(), layout.positions})
      .narrow(0, 0, layout.shape.outputs)
      .contiguous();
}

torch::Tensor MaskFromOwners(const packed::Layout& layout, std::span<const uint8_t> owner_nr) {
  if (layout.packing.set_size == 1) return torch::ones({layout.shape.outputs, layout.positions});
  BISPARSE_CHECK(static_cast<int64_t>(owner_nr.size()) == layout.owners());
  const torch::Tensor owners =
      torch::from_blob(const_cast<uint8_t*>(owner_nr.data()), {layout.owners()}, torch::kUInt8);
  return MaskFromKept(layout, KeptFromOwners(layout, owners));
}

PackedWeightImpl::PackedWeightImpl(const LayerConfig& config, uint64_t seed)
    : config_(config),
      convolution_(config.IsConvolution()),
      groups_(config.kind == LayerKind::kDepthwiseConv2d ? config.kernel.outputs : 1),
      window_(config.window),
      layout_(config.kernel, config.packing.layout),
      owners_(config.HasOwners() ? config.packing.owners : OwnerRule::kStatic),
      learning_(config.packing.learning) {
  const packed::KernelShape& kernel = config.kernel;
  const std::vector<int64_t> sizes =
      convolution_
          ? std::vector<int64_t>{kernel.outputs, kernel.channels, kernel.kernel_h, kernel.kernel_w}
          : std::vector<int64_t>{kernel.outputs, kernel.channels};
  const double fan_in =
      static_cast<double>(layout_.positions) / static_cast<double>(layout_.packing.set_size);
  const double bound = std::sqrt(6.0 / std::max(fan_in, 1.0));
  torch::Tensor initial = torch::empty(sizes).uniform_(-bound, bound);
  if (config.HasOwners()) {
    const std::vector<uint8_t> owners = DrawStaticOwners(layout_, seed, config.name);
    owner_nr_ = register_buffer("owner_nr",
                                torch::empty({static_cast<int64_t>(owners.size())}, torch::kUInt8));
    std::memcpy(owner_nr_.data_ptr<uint8_t>(), owners.data(), owners.size());
    mask_ = register_buffer("mask", MaskFromOwners(layout_, owners).view(sizes));
    if (owners_ != OwnerRule::kLearned) initial.mul_(mask_).add_(0.0);
    if (LearnsOwners()) {
      kept_ = register_buffer("kept", mask_.clone());
      epoch_owner_nr_ = register_buffer("epoch_owner_nr", owner_nr_.clone());
    }
  }
  weight = register_parameter("weight", initial);
  bias = register_parameter("bias", config.bias ? torch::zeros({kernel.outputs}) : torch::Tensor(),
                            /*requires_grad=*/config.bias);
}

torch::Tensor PackedWeightImpl::forward(const torch::Tensor& x) {
  if (IsPacked()) {
    if (!prepared_) prepared_ = PrepareLayer(config_, layout_, Owners());
    return ApplyPackedLayer(prepared_, convolution_ ? Map(x) : Flat(x), weight, bias,
                            layout_.shape.outputs, gated_);
  }
  torch::Tensor w = weight;
  if (mask_.defined()) {
    w = is_training() && LearnsOwners() ? StraightThrough::apply(weight, kept_) : weight * mask_;
  }
  if (!convolution_) return torch::nn::functional::linear(Flat(x), w, bias);
  // Weights in channels-last memory make the output and everything after it channels last: on the
  // CPU batch norm and pools are then several times faster, and k-WTA needs no copy.
  return torch::conv2d(Map(x), w.contiguous(torch::MemoryFormat::ChannelsLast), bias,
                       {window_.stride_h, window_.stride_w}, {window_.pad_h, window_.pad_w},
                       {window_.dilation_h, window_.dilation_w}, groups_);
}

/// [N][S][R]: the sum of squares over each kernel block's lanes and each run's positions.
torch::Tensor PackedWeightImpl::Saliency(const torch::Tensor& weight_op) const {
  const int64_t outputs = layout_.shape.outputs;
  torch::Tensor square_op = weight_op.detach().square().view({outputs, layout_.positions});
  square_op = torch::constant_pad_nd(square_op, {0, 0, 0, layout_.outputs_padded() - outputs});
  const torch::Tensor square_nsp =
      square_op
          .view({layout_.sets, layout_.packing.set_size, layout_.packing.lanes, layout_.positions})
          .sum(2);
  return torch::zeros({layout_.sets, layout_.packing.set_size, layout_.runs}, square_nsp.options())
      .index_add_(2, RunOfPosition(layout_).to(square_nsp.device()), square_nsp);
}

void PackedWeightImpl::SetOwners(const torch::Tensor& owner_nr) {
  owner_nr_.copy_(owner_nr.reshape({-1}));
  mask_.copy_(MaskFromKept(layout_, KeptFromOwners(layout_, owner_nr_)).view(mask_.sizes()));
}

void PackedWeightImpl::LearnOwners(int64_t step, double progress, double learning_rate) {
  if (!LearnsOwners() || IsPacked()) return;
  torch::NoGradGuard no_grad;
  const bool frozen = progress >= learning_.freeze_at;
  if (step % learning_.update_steps == 0) {
    if (frozen) {
      kept_.copy_(mask_);
    } else if (owners_ == OwnerRule::kLearned) {
      ChooseByWeight(progress,
                     1.0 - std::pow(std::max(0.0, 1.0 - learning_rate * learning_.loser_decay),
                                    learning_.update_steps));
    } else if (step > 0) {
      HandOver(progress);
    }
  }
  if (frozen || owners_ == OwnerRule::kRigl) weight.mutable_grad().mul_(mask_);
}

/// Learned: the owners are the kernels with the largest weights; the rest of `kept` fades.
void PackedWeightImpl::ChooseByWeight(double progress, double decay) {
  const torch::Tensor saliency_nsr = Saliency(weight);
  const int64_t set_size = layout_.packing.set_size;
  torch::Tensor owner_nr = saliency_nsr.argmax(1);
  if (learning_.balanced) {
    const torch::Tensor on_cpu = saliency_nsr.to(torch::kCPU).contiguous();
    torch::Tensor balanced = torch::empty({layout_.sets, layout_.runs}, torch::kUInt8);
    for (int32_t n = 0; n < layout_.sets; ++n) {
      const int64_t kernels = layout_.BlocksOfSet(n);
      const std::vector<uint8_t> owner_r = BalancedOwners(
          {on_cpu[n].data_ptr<float>(), static_cast<size_t>(kernels * layout_.runs)}, kernels);
      std::memcpy(balanced[n].data_ptr<uint8_t>(), owner_r.data(), owner_r.size());
    }
    owner_nr = balanced;
  }
  SetOwners(owner_nr);
  const int64_t keep = KeptAt(learning_, static_cast<int32_t>(set_size), progress);
  if (keep == 1) {
    kept_.copy_(mask_);
  } else {
    const torch::Tensor best = std::get<1>(saliency_nsr.topk(keep, 1));
    const torch::Tensor kept_nsr = torch::zeros_like(saliency_nsr).scatter_(1, best, 1.0);
    kept_.copy_(MaskFromKept(layout_, kept_nsr).view(kept_.sizes()));
  }
  weight.mul_(kept_ * decay + (1.0 - decay));
}

/// RigL: of the runs, those whose owners' weights are smallest go to the kernel of the set with the
/// largest gradient, whose weights there begin at zero.
void PackedWeightImpl::HandOver(double progress) {
  const double fraction = 0.5 * learning_.drop_fraction *
                          (1.0 + std::cos(std::numbers::pi * progress / learning_.freeze_at));
  const int64_t runs = layout_.owners();
  const int64_t drops = std::llround(fraction * static_cast<double>(runs));
  if (drops == 0) return;
  const torch::Tensor owner_n1r = owner_nr_.to(torch::kInt64).view({layout_.sets, 1, layout_.runs});
  const torch::Tensor strength = Saliency(weight).gather(1, owner_n1r).reshape({runs});
  const torch::Tensor dropped = std::get<1>(strength.topk(drops, 0, /*largest=*/false));
  const torch::Tensor candidates = Saliency(weight.grad()).argmax(1).reshape({runs});
  torch::Tensor next = owner_n1r.reshape({runs}).clone();
  next.index_copy_(0, dropped, candidates.index_select(0, dropped));
  const torch::Tensor before = mask_.clone();
  SetOwners(next);
  kept_.copy_(mask_);
  weight.mul_(before * mask_);
}

bool PackedWeightImpl::OwnersAreFixed(double progress) const {
  if (!LearnsOwners()) return true;
  return progress >= learning_.freeze_at && torch::equal(kept_, mask_);
}

PackedWeightImpl::Repack PackedWeightImpl::Pack() {
  BISPARSE_CHECK(CanPack() && !IsPacked());
  const torch::NoGradGuard no_grad;
  Repack repack = [layout = layout_, owner_nr = Owners()](const torch::Tensor& dense) {
    return PackTensor(layout, owner_nr, dense);
  };
  weight.mutable_grad() = torch::Tensor();
  weight.set_data(repack(weight));
  prepared_ = nullptr;
  return repack;
}

void PackedWeightImpl::Unpack() {
  if (!IsPacked()) return;
  const torch::NoGradGuard no_grad;
  weight.mutable_grad() = torch::Tensor();
  weight.set_data(UnpackTensor(layout_, Owners(), weight).view(mask_.sizes()));
  prepared_ = nullptr;
}

double PackedWeightImpl::KeptDensity() const {
  const torch::Tensor& mask = kept_.defined() ? kept_ : mask_;
  return mask.defined() ? mask.mean().item<double>() : 1.0;
}

double PackedWeightImpl::OwnerChanges() const {
  if (!LearnsOwners()) return 0.0;
  return owner_nr_.ne(epoch_owner_nr_).to(torch::kFloat64).mean().item<double>();
}

void PackedWeightImpl::BeginEpoch() {
  if (LearnsOwners()) epoch_owner_nr_.copy_(owner_nr_);
}

torch::Tensor PackedWeightImpl::MaskedWeight() const {
  torch::NoGradGuard no_grad;
  if (IsPacked()) return UnpackTensor(layout_, Owners(), weight.to(torch::kCPU)) + 0.0;
  torch::Tensor w = mask_.defined() ? weight * mask_ + 0.0 : weight.clone();
  return w.to(torch::kCPU, torch::kFloat32)
      .contiguous()
      .view({layout_.shape.outputs, layout_.positions});
}

std::vector<uint8_t> PackedWeightImpl::Owners() const {
  if (!owner_nr_.defined()) return {};
  const torch::Tensor owners = owner_nr_.to(torch::kCPU, torch::kUInt8).contiguous();
  const uint8_t* data = owners.data_ptr<uint8_t>();
  return {data, data + owners.numel()};
}

}  // namespace bisparse::train
