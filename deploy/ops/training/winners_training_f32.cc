// SPDX-License-Identifier: Apache-2.0
// Read first: winners_training_f32.h. Tested in: training_f32_test.cc.
#include "deploy/ops/training/winners_training_f32.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "deploy/ops/training/winners_training_f32.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bisparse::kernels {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using Plan = WinnersTrainingPlan;

/// Not zero; NaN is not either, for which Ne would be false.
template <class D>
HWY_INLINE hn::Mask<D> IsListed(D d, const float* x) {
  return hn::Not(hn::Eq(hn::LoadU(d, x), hn::Zero(d)));
}

void CountInputs(const float* x_qc, int64_t positions, int32_t channels, int32_t* count_c) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  int32_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    auto count = hn::Zero(di);
    const float* x = x_qc + c;
    for (int64_t q = 0; q < positions; ++q, x += channels) {
      const auto listed = IsListed(d, x);
      count = hn::Sub(count, hn::VecFromMask(di, hn::RebindMask(di, listed)));
    }
    hn::StoreU(count, di, count_c + c);
  }
  for (; c < channels; ++c) {
    int32_t count = 0;
    for (int64_t q = 0; q < positions; ++q) count += x_qc[q * channels + c] != 0.0f;
    count_c[c] = count;
  }
}

HWY_INLINE void List(const ListInputsF32Args& a, int32_t sample, int32_t q, int32_t c,
                     float value) {
  const int32_t e = a.next_c[c]++;
  a.sample_e[e] = sample;
  a.position_e[e] = q;
  a.value_e[e] = value;
}

void ListInputs(const ListInputsF32Args& a) {
  const hn::ScalableTag<float> d;
  const int32_t lanes = static_cast<int32_t>(hn::Lanes(d));
  for (int32_t sample = 0; sample < a.samples; ++sample) {
    for (int32_t i = 0; i < a.positions; ++i) {
      const int32_t q = a.order_q[i];
      const float* const x = a.x_sqc + (int64_t{sample} * a.positions + q) * a.channels;
      int32_t c = 0;
      for (; !a.all && c + lanes <= a.channels; c += lanes) {
        const auto listed = IsListed(d, x + c);
        uint8_t bytes[8] = {};
        hn::StoreMaskBits(d, listed, bytes);
        uint32_t bits = bytes[0] | (lanes > 8 ? uint32_t{bytes[1]} << 8 : 0u);
        for (; bits != 0; bits &= bits - 1) {
          const int32_t at = c + static_cast<int32_t>(hwy::Num0BitsBelowLS1Bit_Nonzero32(bits));
          List(a, sample, q, at, x[at]);
        }
      }
      for (; c < a.channels; ++c) {
        if (a.all || x[c] != 0.0f) List(a, sample, q, c, x[c]);
      }
    }
  }
}

/// kOne: a row of L weights is one vector; otherwise whole vectors. kOneSet: N = 1.
template <class D, bool kOne, bool kOneSet>
void Forward(const Plan& plan, const ListedInputs& in, const float* weight, float* y_sqo) {
  const D d;
  const int32_t width = static_cast<int32_t>(hn::Lanes(d));
  const int32_t sets = kOneSet ? 1 : plan.sets, lanes = kOne ? width : plan.lanes;
  const int64_t map = int64_t{plan.outputs} * plan.width;
  // Copies: for all the compiler knows, a store to outputs changes the plan.
  const TapReach* const reach_t = plan.reach;
  const int32_t* const block_pn = plan.block_pn;
  for (int32_t c = 0; c < plan.channels; ++c) {
    const int64_t first_row = int64_t{c} * plan.taps * sets;
    for (int32_t e = in.begin_c[c]; e < in.begin_c[c + 1]; ++e) {
      const PositionReach reach = plan.reach_q[in.position_e[e]];
      float* const y_first = y_sqo + in.sample_e[e] * map + reach.output;
      const auto x = hn::Set(d, in.value_e[e]);
      for (int32_t t = reach.begin; t < reach.end; ++t) {
        const int64_t row = first_row + reach_t[t].row;
        const float* w = weight + row * lanes;
        const int32_t* const block_n = block_pn + row;
        float* const y_position = y_first + reach_t[t].output;
        for (int32_t n = 0; n < sets; ++n, w += lanes) {
          float* const y = y_position + block_n[n];
          for (int32_t l = 0; l < lanes; l += width) {
            hn::StoreU(hn::MulAdd(x, hn::LoadU(d, w + l), hn::LoadU(d, y + l)), d, y + l);
          }
        }
      }
    }
  }
}

template <class D, bool kOne, bool kOneSet, bool kWeight, bool kInput>
void Backward(const Plan& plan, const ListedInputs& in, const WinnersBackwardF32Args& a) {
  const D d;
  const int32_t width = static_cast<int32_t>(hn::Lanes(d));
  const int32_t sets = kOneSet ? 1 : plan.sets, lanes = kOne ? width : plan.lanes;
  const int64_t map = int64_t{plan.outputs} * plan.width;
  const TapReach* const reach_t = plan.reach;
  const int32_t* const block_pn = plan.block_pn;
  const float* const weight_pnl = a.weight_pnl;
  float* const dweight_pnl = a.dweight_pnl;
  for (int32_t c = a.channel_begin; c < a.channel_end; ++c) {
    const int64_t first_row = int64_t{c} * plan.taps * sets;
    for (int32_t e = in.begin_c[c]; e < in.begin_c[c + 1]; ++e) {
      const int32_t q = in.position_e[e];
      const PositionReach reach = plan.reach_q[q];
      const float* const dy_first = a.dy_sqo + in.sample_e[e] * map + reach.output;
      const auto x = hn::Set(d, in.value_e[e]);
      auto sum = hn::Zero(d);
      for (int32_t t = reach.begin; t < reach.end; ++t) {
        const int64_t row = first_row + reach_t[t].row;
        const int32_t* const block_n = block_pn + row;
        const float* const dy_position = dy_first + reach_t[t].output;
        int64_t at = row * lanes;
        for (int32_t n = 0; n < sets; ++n, at += lanes) {
          const float* const dy = dy_position + block_n[n];
          for (int32_t l = 0; l < lanes; l += width) {
            const auto gradient = hn::LoadU(d, dy + l);
            if constexpr (kInput) {
              sum = hn::MulAdd(gradient, hn::LoadU(d, weight_pnl + at + l), sum);
            }
            if constexpr (kWeight) {
              float* const dw = dweight_pnl + at + l;
              hn::StoreU(hn::MulAdd(x, gradient, hn::LoadU(d, dw)), d, dw);
            }
          }
        }
      }
      if constexpr (kInput) {
        const int64_t position = int64_t{in.sample_e[e]} * plan.positions + q;
        a.dx_sqc[position * plan.channels + c] = hn::GetLane(hn::SumOfLanes(d, sum));
      }
    }
  }
}

template <class D, bool kOne, bool kOneSet>
void ChooseGradients(const Plan& plan, const ListedInputs& in, const WinnersBackwardF32Args& a) {
  if (a.dweight_pnl != nullptr && a.dx_sqc != nullptr) {
    Backward<D, kOne, kOneSet, true, true>(plan, in, a);
  } else if (a.dweight_pnl != nullptr) {
    Backward<D, kOne, kOneSet, true, false>(plan, in, a);
  } else if (a.dx_sqc != nullptr) {
    Backward<D, kOne, kOneSet, false, true>(plan, in, a);
  }
}

/// Calls f with the widest vector whose lanes divide L; L = 3, 5, … take one lane at a time.
template <class F>
HWY_INLINE void WithVector(int32_t lanes, F&& f) {
  if (lanes % 16 == 0) return f(hn::CappedTag<float, 16>());
  if (lanes % 8 == 0) return f(hn::CappedTag<float, 8>());
  if (lanes % 4 == 0) return f(hn::CappedTag<float, 4>());
  if (lanes % 2 == 0) return f(hn::CappedTag<float, 2>());
  f(hn::CappedTag<float, 1>());
}

void WinnersForward(const Plan& plan, const ListedInputs& inputs, int32_t samples,
                    const float* weight_pnl, const float* bias_o, float* y_sqo) {
  for (int64_t i = 0; i < int64_t{samples} * plan.outputs; ++i) {
    std::copy_n(bias_o, plan.width, y_sqo + i * plan.width);
  }
  WithVector(plan.lanes, [&](auto d) HWY_ATTR {
    using D = decltype(d);
    if (static_cast<int32_t>(hn::Lanes(d)) != plan.lanes) {
      Forward<D, false, false>(plan, inputs, weight_pnl, y_sqo);
    } else if (plan.sets > 1) {
      Forward<D, true, false>(plan, inputs, weight_pnl, y_sqo);
    } else {
      Forward<D, true, true>(plan, inputs, weight_pnl, y_sqo);
    }
  });
}

void WinnersBackward(const Plan& plan, const ListedInputs& inputs,
                     const WinnersBackwardF32Args& args) {
  WithVector(plan.lanes, [&](auto d) HWY_ATTR {
    using D = decltype(d);
    if (static_cast<int32_t>(hn::Lanes(d)) != plan.lanes) {
      ChooseGradients<D, false, false>(plan, inputs, args);
    } else if (plan.sets > 1) {
      ChooseGradients<D, true, false>(plan, inputs, args);
    } else {
      ChooseGradients<D, true, true>(plan, inputs, args);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace bisparse::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bisparse::kernels {

HWY_EXPORT(CountInputs);
HWY_EXPORT(ListInputs);
HWY_EXPORT(WinnersForward);
HWY_EXPORT(WinnersBackward);

void CountInputsF32(const float* x_qc, int64_t positions, int32_t channels,
                    int32_t* count_c) noexcept {
  HWY_DYNAMIC_DISPATCH(CountInputs)(x_qc, positions, channels, count_c);
}

void ListInputsF32(const ListInputsF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(ListInputs)(args);
}

void WinnersForwardF32(const WinnersTrainingPlan& plan, const ListedInputs& inputs, int32_t samples,
                       const float* weight_pnl, const float* bias_o, float* y_sqo) noexcept {
  HWY_DYNAMIC_DISPATCH(WinnersForward)(plan, inputs, samples, weight_pnl, bias_o, y_sqo);
}

void WinnersBackwardF32(const WinnersTrainingPlan& plan, const ListedInputs& inputs,
                        const WinnersBackwardF32Args& args) noexcept {
  HWY_DYNAMIC_DISPATCH(WinnersBackward)(plan, inputs, args);
}

}  // namespace bisparse::kernels
#endif  // HWY_ONCE
