// SPDX-License-Identifier: Apache-2.0
// k-WTA in training; see kwta.h for the rule. Tested in: sparse_test.cc.
#include "train/nn/kwta.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/ops/kwta/kwta.h"

namespace bisparse::train {
namespace {

/// A sample as [positions][groups][units][chunk] channels-last; local scope ranks `units`
/// candidates at each position and group, global scope positions·units for each group.
struct KwtaSizes {
  int64_t positions, groups, units, chunk, winners;
  bool global;

  int64_t channels() const { return groups * units * chunk; }
  int64_t candidates() const { return global ? positions * units : units; }
};

KwtaSizes SizesOf(const torch::Tensor& x, const packed::Kwta& kwta) {
  BISPARSE_CHECK(x.dim() == 4 || x.dim() == 2);
  BISPARSE_CHECK(kwta.groups > 0 && kwta.chunk > 0);
  const int64_t channels = x.size(1);
  BISPARSE_CHECK(channels % (int64_t{kwta.groups} * kwta.chunk) == 0);
  BISPARSE_CHECK(kwta.winners % kwta.groups == 0);
  KwtaSizes z{.positions = x.dim() == 4 ? x.size(2) * x.size(3) : 1,
              .groups = kwta.groups,
              .units = channels / (int64_t{kwta.groups} * kwta.chunk),
              .chunk = kwta.chunk,
              .winners = kwta.winners / kwta.groups,
              .global = kwta.scope == packed::KwtaScope::kGlobal};
  BISPARSE_CHECK(z.winners >= 1 && z.winners <= z.candidates());
  return z;
}

/// ReLU that keeps NaN (with its sign cleared), so that a broken network shows in its loss.
inline float Relu(float x) { return x > 0.0f ? x : (std::isnan(x) ? std::fabs(x) : 0.0f); }

/// One integer that orders candidates: score first (floats >= 0 order like their bits), then the
/// lower index.
inline uint64_t RankKey(float score, int64_t candidate) {
  return uint64_t{std::bit_cast<uint32_t>(score)} << 32 |
         (std::numeric_limits<uint32_t>::max() - static_cast<uint32_t>(candidate));
}
inline int64_t CandidateOf(uint64_t key) {
  return std::numeric_limits<uint32_t>::max() - static_cast<uint32_t>(key);
}

/// Moves the `winners` largest keys to the beginning, in any order.
void KeepLargest(std::vector<uint64_t>& keys, int64_t winners) {
  if (winners == 1) {
    std::iter_swap(keys.begin(), std::max_element(keys.begin(), keys.end()));
  } else if (winners < static_cast<int64_t>(keys.size())) {
    std::nth_element(keys.begin(), keys.begin() + (winners - 1), keys.end(), std::greater<>());
  }
}

/// One sample: x_pc and y_pc are [positions][channels], y_pc zeroed. boost_u may be null.
void SelectSample(const float* x_pc, float* y_pc, const float* boost_u, const KwtaSizes& z,
                  std::vector<uint64_t>& keys) {
  const int64_t channels = z.channels();
  const int64_t group_channels = z.units * z.chunk;
  keys.resize(z.candidates());
  const int64_t ranked_positions = z.global ? z.positions : 1;
  for (int64_t p0 = 0; p0 < z.positions; p0 += ranked_positions) {
    for (int64_t g = 0; g < z.groups; ++g) {
      int64_t candidate = 0;
      for (int64_t p = p0; p < p0 + ranked_positions; ++p) {
        const float* x = x_pc + p * channels + g * group_channels;
        for (int64_t u = 0; u < z.units; ++u, ++candidate) {
          float score = Relu(x[u * z.chunk]);
          for (int64_t c = 1; c < z.chunk; ++c) score += Relu(x[u * z.chunk + c]);
          if (boost_u != nullptr) score *= boost_u[g * z.units + u];
          keys[candidate] = RankKey(score, candidate);
        }
      }
      KeepLargest(keys, z.winners);
      for (int64_t w = 0; w < z.winners; ++w) {
        const int64_t winner = CandidateOf(keys[w]);
        const int64_t at =
            (p0 + winner / z.units) * channels + g * group_channels + winner % z.units * z.chunk;
        for (int64_t c = 0; c < z.chunk; ++c) y_pc[at + c] = Relu(x_pc[at + c]);
      }
    }
  }
}

/// Whether the engine's kernel is faster: one winner of a few channels, or many candidates. Its units are single channels.
bool TakesEngineKernel(const KwtaSizes& z) {
  const bool one_of_few = !z.global && z.winners == 1 && z.units <= 32 &&
                          std::has_single_bit(static_cast<uint64_t>(z.units));
  return z.chunk == 1 && (one_of_few || z.candidates() >= 64);
}

/// What SelectByEngine needs, kept from sample to sample.
struct EngineRoom {
  explicit EngineRoom(const KwtaSizes& z)
      : args{.positions = static_cast<int32_t>(z.positions),
             .channels = static_cast<int32_t>(z.channels()),
             .winners = static_cast<int32_t>(z.winners * z.groups),
             .groups = static_cast<int32_t>(z.groups),
             .global = z.global},
        count(kernels::KwtaCountF32(args)),
        index_k(static_cast<size_t>(count + kernels::kKwtaSlack)),
        value_k(index_k.size()),
        scratch(static_cast<size_t>(kernels::KwtaScratchFloats(args))),
        score_pc(static_cast<size_t>(z.positions * z.channels())) {
    args.index_k = index_k.data();
    args.value_k = value_k.data();
    args.scratch = scratch.data();
  }
  kernels::KwtaF32Args args;
  int64_t count;
  std::vector<int32_t> index_k;
  std::vector<float> value_k, scratch, score_pc;
};

bool HasNan(const float* x, int64_t n) {
  bool found = false;
  for (int64_t i = 0; i < n; ++i) found |= std::isnan(x[i]);
  return found;
}

/// As SelectSample, for samples without NaN.
void SelectByEngine(const float* x_pc, float* y_pc, const float* boost_u, const KwtaSizes& z,
                    EngineRoom& room) {
  const int64_t channels = z.channels();
  room.args.x = x_pc;
  if (boost_u != nullptr) {
    room.args.x = room.score_pc.data();
    float* score = room.score_pc.data();
    const float* x = x_pc;
    for (int64_t p = 0; p < z.positions; ++p, x += channels, score += channels) {
      for (int64_t c = 0; c < channels; ++c) score[c] = (x[c] > 0.0f ? x[c] : 0.0f) * boost_u[c];
    }
  }
  kernels::KwtaF32(room.args);
  for (int64_t i = 0; i < room.count; ++i) {
    const int32_t at = room.index_k[static_cast<size_t>(i)];
    y_pc[at] = Relu(x_pc[at]);
  }
}

/// Adds the winners above zero of one sample.
void CountWins(const float* y_pc, const KwtaSizes& z, const EngineRoom& room, bool by_engine,
               std::vector<int64_t>& wins_u) {
  const int64_t channels = z.channels();
  if (by_engine) {
    for (int64_t i = 0; i < room.count; ++i) {
      const int32_t at = room.index_k[static_cast<size_t>(i)];
      wins_u[static_cast<size_t>(at % channels)] += y_pc[at] > 0.0f;
    }
    return;
  }
  for (int64_t p = 0; p < z.positions; ++p) {
    for (int64_t c = 0; c < channels; ++c)
      wins_u[static_cast<size_t>(c)] += y_pc[p * channels + c] > 0.0f;
  }
}

torch::Tensor ApplyKwtaOnCpu(const torch::Tensor& x, const packed::Kwta& kwta,
                             const torch::Tensor& boost_bu, torch::Tensor* wins_u) {
  const KwtaSizes z = SizesOf(x, kwta);
  const torch::Tensor x_bpc =
      x.dim() == 4 ? x.contiguous(torch::MemoryFormat::ChannelsLast) : x.contiguous();
  torch::Tensor y_bpc = torch::zeros_like(x_bpc);
  const torch::Tensor boost = boost_bu.defined() ? boost_bu.contiguous() : boost_bu;
  // One row for all samples, or one for each.
  const int64_t boost_step = boost.defined() && boost.dim() == 2 ? boost.size(1) : 0;
  const float* boost_data = boost.defined() ? boost.data_ptr<float>() : nullptr;
  const float* x_data = x_bpc.data_ptr<float>();
  float* y_data = y_bpc.data_ptr<float>();
  const int64_t sample = z.positions * z.channels();
  const bool counts = wins_u != nullptr && z.chunk == 1;
  torch::Tensor wins;
  if (counts) wins = torch::zeros({z.channels()}, torch::kInt64);
  std::mutex mutex;
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    const bool engine = TakesEngineKernel(z);
    std::vector<uint64_t> keys;
    EngineRoom room(z);
    std::vector<int64_t> wins_here(static_cast<size_t>(z.channels()));
    for (int64_t b = begin; b < end; ++b) {
      const float* row = boost_data == nullptr ? nullptr : boost_data + b * boost_step;
      const float* const x_pc = x_data + b * sample;
      float* const y_pc = y_data + b * sample;
      const bool by_engine = engine && !HasNan(x_pc, sample);
      if (by_engine) {
        SelectByEngine(x_pc, y_pc, row, z, room);
      } else {
        SelectSample(x_pc, y_pc, row, z, keys);
      }
      if (counts) CountWins(y_pc, z, room, by_engine, wins_here);
    }
    if (!counts) return;
    const std::lock_guard<std::mutex> lock(mutex);
    for (size_t c = 0; c < wins_here.size(); ++c) wins.data_ptr<int64_t>()[c] += wins_here[c];
  });
  if (counts) *wins_u = wins;
  return y_bpc;
}

/// What is not differentiated. A struct, as LibTorch refuses undefined tensors as arguments of a
/// function.
struct Ranking {
  packed::Kwta kwta;
  torch::Tensor boost;
  torch::Tensor* wins_u;
};

class KwtaFunction : public torch::autograd::Function<KwtaFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const Ranking& ranking) {
    const auto& [kwta, boost, wins_u] = ranking;
    const bool on_cpu = x.is_cpu() && x.scalar_type() == torch::kFloat32;
    torch::Tensor y =
        on_cpu ? ApplyKwtaOnCpu(x, kwta, boost, wins_u) : ApplyKwtaBySort(x, kwta, boost);
    context->save_for_backward({y});
    return y;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const torch::Tensor y = context->get_saved_variables()[0];
    return {torch::threshold_backward(grads[0], y, 0), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor ApplyKwtaBySort(const torch::Tensor& x, const packed::Kwta& kwta,
                              const torch::Tensor& boost) {
  const KwtaSizes z = SizesOf(x, kwta);
  const torch::Tensor x_last = x.dim() == 4 ? x.permute({0, 2, 3, 1}) : x;
  const torch::Tensor r_bpguc =
      torch::relu(x_last).reshape({x.size(0), z.positions, z.groups, z.units, z.chunk});
  // Summed channel by channel, so that the order of the additions is that of the loop.
  torch::Tensor score_bpgu = r_bpguc.select(4, 0).clone();
  for (int64_t c = 1; c < z.chunk; ++c) score_bpgu += r_bpguc.select(4, c);
  if (boost.defined()) score_bpgu *= boost.to(x.scalar_type()).view({-1, 1, z.groups, z.units});

  // Candidates last: local [B][P][G][U], global [B][1][G][P·U]. A stable sort leaves ties in index
  // order.
  const int64_t ranked = z.global ? 1 : z.positions;
  const torch::Tensor score_brgk =
      z.global ? score_bpgu.transpose(1, 2).reshape({x.size(0), 1, z.groups, z.candidates()})
               : score_bpgu;
  const torch::Tensor order =
      std::get<1>(torch::sort(score_brgk, /*stable=*/true, /*dim=*/-1, /*descending=*/true));
  const torch::Tensor wins_brgk =
      torch::zeros_like(score_brgk).scatter_(-1, order.narrow(-1, 0, z.winners), 1.0);
  torch::Tensor wins_bpgu =
      z.global ? wins_brgk.view({x.size(0), z.groups, z.positions, z.units}).transpose(1, 2)
               : wins_brgk.view({x.size(0), ranked, z.groups, z.units});
  // where, not a product: a losing infinity must not become NaN.
  const torch::Tensor y_last =
      torch::where(wins_bpgu.unsqueeze(-1) > 0, r_bpguc, torch::zeros({}, r_bpguc.options()))
          .reshape(x_last.sizes());
  return x.dim() == 4 ? y_last.permute({0, 3, 1, 2}) : y_last;
}

torch::Tensor ApplyKwta(const torch::Tensor& x, const packed::Kwta& kwta,
                        const torch::Tensor& boost, torch::Tensor* wins_u) {
  return KwtaFunction::apply(x, Ranking{kwta, boost, wins_u});
}

KwtaImpl::KwtaImpl(const KwtaConfig& config, int64_t channels, int64_t positions)
    : config_(config), kwta_(config.rule), positions_(positions) {
  duty_u_ = register_buffer("duty_u", torch::zeros({channels / config.rule.chunk}));
  SetEpoch(0, 1);
  // Every unit starts at the target of the first epoch: none is boosted before it has been seen to
  // lose.
  duty_u_.fill_(TargetDuty());
}

void KwtaImpl::SetEpoch(int32_t epoch, int32_t epochs) {
  kwta_.winners = WinnersAt(config_, static_cast<double>(epoch) / epochs);
  boost_ = BoostAt(config_.boost, epoch, epochs);
  noise_ = NoiseAt(config_.noise, epoch, epochs);
  leak_ = LeakAt(config_, static_cast<double>(epoch) / epochs);
}

double KwtaImpl::TargetDuty() const {
  const int64_t positions = kwta_.scope == packed::KwtaScope::kGlobal ? positions_ : 1;
  return kwta_.winners / static_cast<double>(duty_u_.numel() * positions);
}

torch::Tensor KwtaImpl::forward(const torch::Tensor& x) {
  if (!is_training()) return ApplyKwta(x, config_.rule);
  torch::Tensor boost;
  if (boost_ > 0.0) boost = boost_ * (TargetDuty() - duty_u_);
  if (noise_ > 0.0) {
    const torch::Tensor noise_bu =
        noise_ * torch::randn({x.size(0), duty_u_.numel()}, duty_u_.options());
    boost = boost.defined() ? noise_bu + boost : noise_bu;
  }
  if (boost.defined()) boost = torch::exp(boost);
  torch::Tensor wins_u;
  torch::Tensor y = ApplyKwta(x, Jittered(), boost, &wins_u);
  UpdateDuty(y.detach(), wins_u);
  if (leak_ > 0.0) y = torch::lerp(y, torch::relu(x), leak_);
  return y;
}

/// The rule of one step of training: up to `jitter` more winners.
packed::Kwta KwtaImpl::Jittered() const {
  packed::Kwta kwta = kwta_;
  if (config_.jitter == 0.0) return kwta;
  const int64_t positions = kwta.scope == packed::KwtaScope::kGlobal ? positions_ : 1;
  const int64_t units = duty_u_.numel() * positions / kwta.groups;
  const int64_t least = kwta.winners / kwta.groups;
  const int64_t most =
      std::min<int64_t>(units, std::llround(static_cast<double>(least) * (1.0 + config_.jitter)));
  kwta.winners = static_cast<int32_t>(
      kwta.groups * torch::randint(least, most + 1, {1}, torch::kInt64).item<int64_t>());
  return kwta;
}

void KwtaImpl::UpdateDuty(const torch::Tensor& y, const torch::Tensor& wins_u) {
  torch::NoGradGuard no_grad;
  torch::Tensor wins_c = wins_u;
  if (!wins_c.defined()) {
    // A unit of several channels won where any of them is above zero.
    torch::Tensor won = y > 0;
    if (won.dim() == 4) won = won.permute({0, 2, 3, 1});
    wins_c = won.reshape({-1, duty_u_.numel(), kwta_.chunk}).any(2).sum(0);
  }
  wins_c = wins_c.to(duty_u_.scalar_type());
  double samples = static_cast<double>(y.size(0));
  if (group_ != nullptr) {
    torch::Tensor joint = torch::cat({wins_c, torch::full({1}, samples, wins_c.options())});
    group_->Sum(joint);
    wins_c = joint.narrow(0, 0, duty_u_.numel());
    samples = joint[duty_u_.numel()].item<double>();
  }
  const double period = static_cast<double>(config_.boost.period_samples);
  const double batch = std::min(samples, period);
  const double share = batch / (samples * static_cast<double>(positions_) * period);
  duty_u_.mul_((period - batch) / period).add_(wins_c, share);
}

double KwtaImpl::DeadUnits() const {
  return duty_u_.lt(0.01 * TargetDuty()).to(torch::kFloat64).mean().item<double>();
}

double KwtaImpl::NormalisedEntropy() const {
  const torch::Tensor duty = duty_u_.detach().to(torch::kCPU, torch::kFloat64);
  const double total = duty.sum().item<double>();
  if (total <= 0.0 || duty.numel() < 2) return 0.0;
  const torch::Tensor share = duty / total;
  const double entropy = -torch::xlogy(share, share).sum().item<double>();
  return entropy / std::log(static_cast<double>(duty.numel()));
}

}  // namespace bisparse::train
