// SPDX-License-Identifier: Apache-2.0
// A packed convolution or linear layer in training, computed at the inputs that are not zero:
//
//   y[oy, ox, o]  = bias[o] + Σ weight[p]·x[iy, ix, c]           over (c, ky, kx) = p owned by o that meet (oy, ox)
//   dweight[p, l] += x[iy, ix, c]·dy[oy, ox, o(p, l)]            over samples and positions
//   dx[iy, ix, c] = Σ weight[p, l]·dy[oy, ox, o(p, l)]           at the listed inputs, elsewhere untouched
//
// with iy = oy·sh - ph + ky·dh, and ix likewise. A linear layer is a map of one position. Weights are read and gradients
// written in the order of deploy/packed/layout.h, in place. A listed input walks its taps' rows of N·L weights: one row
// costs a load of weights, a load and a store of outputs and a multiply-add for each vector. The lists are by channel, so
// that a channel's weights stay in L1 while its inputs pass by.
//
// An output is summed by channel, position in the lists, tap; a weight's gradient by sample, position, tap. Neither depends on how the
// samples or the channels are split, so any number of threads gives the same bits.
// Read first: deploy/packed/layout.h. Lists and plans: training_prepare.h. Tested in: training_f32_test.cc.
// Reference: training_ref.h.
#ifndef BISPARSE_DEPLOY_OPS_TRAINING_WINNERS_TRAINING_F32_H_
#define BISPARSE_DEPLOY_OPS_TRAINING_WINNERS_TRAINING_F32_H_

#include <cstdint>

namespace bisparse::kernels {

/// A tap of the kernel at an input position: its row of weights and the output position that it gives.
struct TapReach {
  int32_t row;     ///< (ky·kw + kx)·N
  int32_t output;  ///< ((oy - oy of the first tap)·out_w + ox - ox of the first tap)·(N·S·L)
};

/// The taps that meet an input position, reach[begin … end). Positions alike share them: those inside of a map are all alike.
struct PositionReach {
  int32_t begin, end;
  int32_t output;  ///< (oy·out_w + ox)·(N·S·L) of the first tap
};

/// What the kernels take; pointers into PreparedTraining.
struct WinnersTrainingPlan {
  int32_t channels = 0;                    ///< C
  int32_t positions = 1, outputs = 1;      ///< positions of the input's map, of the output's
  int32_t taps = 1;                        ///< kh·kw
  int32_t sets = 1, lanes = 1, width = 0;  ///< N, L, N·S·L
  const int32_t* block_pn = nullptr;       ///< [P][N] the owner's first output, (n·S + s)·L
  const TapReach* reach = nullptr;
  const PositionReach* reach_q = nullptr;  ///< [positions]
  const int32_t* order_q =
      nullptr;  ///< [positions] in the order of lists: by the number of their taps
};

/// Inputs of some samples, by channel; within it by sample, then in the plan's order of positions: the number of taps
/// changes rarely, and the processor foresees where their loop ends.
struct ListedInputs {
  const int32_t* begin_c = nullptr;     ///< [C + 1]
  const int32_t* sample_e = nullptr;    ///< of a listed input: its sample, from 0
  const int32_t* position_e = nullptr;  ///< its place on the map
  const float* value_e = nullptr;
};

/// count_c[c] = the elements of channel c of x_qc [positions][channels] that are not zero (NaN counts).
void CountInputsF32(const float* x_qc, int64_t positions, int32_t channels,
                    int32_t* count_c) noexcept;

struct ListInputsF32Args {
  const float* x_sqc = nullptr;  ///< [samples][positions][channels]
  int32_t samples = 0, positions = 1, channels = 0;
  bool all = false;                  ///< zeros too
  const int32_t* order_q = nullptr;  ///< [positions]
  int32_t* next_c = nullptr;         ///< [C] where each channel's list begins; ends where it ends
  int32_t* sample_e = nullptr;
  int32_t* position_e = nullptr;
  float* value_e = nullptr;
};
void ListInputsF32(const ListInputsF32Args& args) noexcept;

/// y_sqo [samples][outputs][width] = bias + …; bias_o [width].
void WinnersForwardF32(const WinnersTrainingPlan& plan, const ListedInputs& inputs, int32_t samples,
                       const float* weight_pnl, const float* bias_o, float* y_sqo) noexcept;

struct WinnersBackwardF32Args {
  int32_t channel_begin = 0, channel_end = 0;
  const float* weight_pnl = nullptr;
  const float* dy_sqo = nullptr;  ///< [samples][outputs][width]
  float* dweight_pnl = nullptr;   ///< added to; null: not wanted
  float* dx_sqc = nullptr;        ///< [samples][positions][channels]; null: not wanted
};
/// For the channels channel_begin … channel_end, all their gradients.
void WinnersBackwardF32(const WinnersTrainingPlan& plan, const ListedInputs& inputs,
                        const WinnersBackwardF32Args& args) noexcept;

}  // namespace bisparse::kernels

#endif  // BISPARSE_DEPLOY_OPS_TRAINING_WINNERS_TRAINING_F32_H_
