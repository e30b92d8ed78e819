// SPDX-License-Identifier: Apache-2.0
// Read first: norm_pool.h. Tested in: norm_pool_test.cc.
#include "train/nn/norm_pool.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/ops/shared/elementwise_f32.h"
#include "deploy/ops/training/norm_pool_f32.h"

namespace bisparse::train {
namespace {

/// A batch as maps channels last. Flat values are one map, whose positions are the samples.
struct Maps {
  explicit Maps(const torch::Tensor& x) : flat(x.dim() == 2) {
    batch = flat ? 1 : x.size(0);
    channels = x.size(1);
    height = flat ? x.size(0) : x.size(2);
    width = flat ? 1 : x.size(3);
  }
  int64_t positions() const { return height * width; }
  int64_t floats() const { return positions() * channels; }
  bool flat;
  int64_t batch, channels, height, width;
};

torch::Tensor ChannelsLast(const torch::Tensor& x) {
  return x.dim() == 2 ? x.contiguous() : x.permute({0, 2, 3, 1}).contiguous();
}

struct Statistics {
  std::vector<float> mean_c, inverse_c;  ///< 1/σ
  std::vector<double> variance_c;        ///< of the batch, without ε
};

/// Samples' means and squares are joined in their order: Chan, Golub, LeVeque 1979.
Statistics Measure(const float* x, const Maps& m, double epsilon) {
  const auto channels = static_cast<size_t>(m.channels);
  std::vector<float> mean_bc(static_cast<size_t>(m.batch) * channels), square_bc(mean_bc.size());
  at::parallel_for(0, m.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      kernels::NormStatisticsF32(x + b * m.floats(), m.positions(), m.channels,
                                 mean_bc.data() + b * m.channels,
                                 square_bc.data() + b * m.channels);
    }
  });
  Statistics s{std::vector<float>(channels), std::vector<float>(channels),
               std::vector<double>(channels)};
  const double n = static_cast<double>(m.positions());
  for (size_t c = 0; c < channels; ++c) {
    double mean = mean_bc[c], square = square_bc[c];
    for (size_t b = 1; b < static_cast<size_t>(m.batch); ++b) {
      const double distance = mean_bc[b * channels + c] - mean, seen = n * static_cast<double>(b);
      mean += distance * n / (seen + n);
      square += square_bc[b * channels + c] + distance * distance * seen * n / (seen + n);
    }
    const double variance = square / (n * static_cast<double>(m.batch));
    s.mean_c[c] = static_cast<float>(mean);
    s.variance_c[c] = variance;
    s.inverse_c[c] = static_cast<float>(1.0 / std::sqrt(variance + epsilon));
  }
  return s;
}

void UpdateRunning(const Statistics& s, const Maps& m, const NormParameters& norm) {
  float* const mean = norm.running_mean.data_ptr<float>();
  float* const variance = norm.running_var.data_ptr<float>();
  const double n = static_cast<double>(m.positions() * m.batch), momentum = norm.momentum;
  for (size_t c = 0; c < s.mean_c.size(); ++c) {
    const double unbiased = s.variance_c[c] * n / (n - 1.0);
    mean[c] = static_cast<float>(momentum * s.mean_c[c] + (1.0 - momentum) * mean[c]);
    variance[c] = static_cast<float>(momentum * unbiased + (1.0 - momentum) * variance[c]);
  }
}

struct Saved : torch::CustomClassHolder {
  kernels::NormPoolShape pool;  ///< channels 0: none
  Statistics statistics;
  std::vector<float> scale_c;
};

torch::Tensor AsMap(const torch::Tensor& x_bhwc, bool flat) {
  return flat ? x_bhwc : x_bhwc.permute({0, 3, 1, 2});
}

/// What is not differentiated.
struct Settings {
  NormParameters norm;
  const packed::Window* pool;
};

kernels::NormPoolShape PoolShape(const Maps& m, const packed::Window& w) {
  const Shape in{static_cast<int32_t>(m.height), static_cast<int32_t>(m.width),
                 static_cast<int32_t>(m.channels)};
  const Shape out = packed::WindowOutput(in, w, in.channels);
  return {.in_h = in.height,
          .in_w = in.width,
          .out_h = out.height,
          .out_w = out.width,
          .channels = in.channels,
          .kernel_h = w.kernel_h,
          .kernel_w = w.kernel_w,
          .stride_h = w.stride_h,
          .stride_w = w.stride_w,
          .pad_h = w.pad_h,
          .pad_w = w.pad_w};
}

class NormPoolFunction : public torch::autograd::Function<NormPoolFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const Settings& settings) {
    const Maps m(x);
    const torch::Tensor x_bhwc = ChannelsLast(x);
    const float* const x_data = x_bhwc.data_ptr<float>();
    auto saved = c10::make_intrusive<Saved>();
    saved->statistics = Measure(x_data, m, settings.norm.epsilon);
    const Statistics& s = saved->statistics;
    UpdateRunning(s, m, settings.norm);
    const torch::Tensor gamma = weight.contiguous(), beta = bias.contiguous();
    std::vector<float> shift_c(s.mean_c.size());
    saved->scale_c.resize(s.mean_c.size());
    for (size_t c = 0; c < s.mean_c.size(); ++c) {
      saved->scale_c[c] = gamma.data_ptr<float>()[c] * s.inverse_c[c];
      shift_c[c] = beta.data_ptr<float>()[c] - saved->scale_c[c] * s.mean_c[c];
    }
    torch::Tensor y_bhwc, best, tap;
    if (settings.pool != nullptr) {
      saved->pool = PoolShape(m, *settings.pool);
      const auto& pool = saved->pool;
      y_bhwc = torch::empty({m.batch, pool.out_h, pool.out_w, m.channels}, x.options());
      best = torch::empty_like(y_bhwc);
      tap = torch::empty(y_bhwc.sizes(), torch::kUInt8);
      const int64_t floats = y_bhwc.numel() / m.batch;
      at::parallel_for(0, m.batch, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          kernels::NormPoolForwardF32(pool, x_data + b * m.floats(), saved->scale_c.data(),
                                      shift_c.data(), y_bhwc.data_ptr<float>() + b * floats,
                                      best.data_ptr<float>() + b * floats,
                                      tap.data_ptr<uint8_t>() + b * floats);
        }
      });
      context->save_for_backward({x_bhwc, best, tap});
    } else {
      y_bhwc = torch::empty_like(x_bhwc);
      at::parallel_for(0, m.batch * m.positions(), 64, [&](int64_t begin, int64_t end) {
        kernels::AffineF32(x_data + begin * m.channels, end - begin, m.channels,
                           saved->scale_c.data(), shift_c.data(),
                           y_bhwc.data_ptr<float>() + begin * m.channels);
      });
      context->save_for_backward({x_bhwc});
    }
    context->saved_data["saved"] = c10::IValue::make_capsule(saved);
    return AsMap(y_bhwc, m.flat);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto capsule = context->saved_data["saved"].toCapsule();
    const Saved& saved = *static_cast<const Saved*>(capsule.get());
    const auto variables = context->get_saved_variables();
    const bool pooled = variables.size() > 1;
    const torch::Tensor x_bhwc = variables[0], best = variables[pooled ? 1 : 0],
                        dy_bhwc = ChannelsLast(grads[0]);
    const Maps m(AsMap(x_bhwc, grads[0].dim() == 2)), small(grads[0]);
    const auto channels = static_cast<size_t>(m.channels);
    const Statistics& s = saved.statistics;

    std::vector<float> sum_bc(static_cast<size_t>(m.batch) * channels), product_bc(sum_bc.size());
    at::parallel_for(0, m.batch, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        kernels::NormSumsF32(dy_bhwc.data_ptr<float>() + b * small.floats(),
                             best.data_ptr<float>() + b * small.floats(), small.positions(),
                             m.channels, s.mean_c.data(), sum_bc.data() + b * m.channels,
                             product_bc.data() + b * m.channels);
      }
    });
    torch::Tensor dweight = torch::empty({m.channels}, x_bhwc.options());
    torch::Tensor dbias = torch::empty_like(dweight);
    std::vector<float> slope_c(channels), offset_c(channels);
    const double n = static_cast<double>(m.batch * m.positions());
    for (size_t c = 0; c < channels; ++c) {
      double sum = 0, product = 0;
      for (size_t b = 0; b < static_cast<size_t>(m.batch); ++b) {
        sum += sum_bc[b * channels + c];
        product += product_bc[b * channels + c];
      }
      const double inverse = s.inverse_c[c], scale = saved.scale_c[c];
      dweight.data_ptr<float>()[c] = static_cast<float>(product * inverse);
      dbias.data_ptr<float>()[c] = static_cast<float>(sum);
      const double slope = scale * product * inverse * inverse / n;
      slope_c[c] = static_cast<float>(slope);
      offset_c[c] = static_cast<float>(scale * sum / n - slope * s.mean_c[c]);
    }
    torch::Tensor dx;
    if (context->needs_input_grad(0)) {
      dx = torch::empty_like(x_bhwc);
      at::parallel_for(0, m.batch, 1, [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          const float* const x = x_bhwc.data_ptr<float>() + b * m.floats();
          const float* const dy = dy_bhwc.data_ptr<float>() + b * small.floats();
          float* const to = dx.data_ptr<float>() + b * m.floats();
          if (pooled) {
            kernels::NormPoolBackwardF32(saved.pool, x, dy,
                                         variables[2].data_ptr<uint8_t>() + b * small.floats(),
                                         saved.scale_c.data(), slope_c.data(), offset_c.data(), to);
          } else {
            kernels::NormBackwardF32(x, dy, m.positions(), m.channels, saved.scale_c.data(),
                                     slope_c.data(), offset_c.data(), to);
          }
        }
      });
      dx = AsMap(dx, m.flat);
    }
    return {dx, dweight, dbias, torch::Tensor()};
  }
};

}  // namespace

bool CanNormPool(const packed::Window& window) {
  return window.kernel_h * window.kernel_w <= 256 && !window.IsDilated();
}

torch::Tensor NormPool(const torch::Tensor& x, const NormParameters& norm,
                       const packed::Window* pool) {
  BISPARSE_CHECK(pool == nullptr || x.dim() == 4);
  const int64_t values = x.numel() / x.size(1);
  BISPARSE_CHECK(values > 1);
  const torch::Tensor weight =
      norm.weight.defined() ? norm.weight : torch::ones({x.size(1)}, x.options());
  const torch::Tensor bias =
      norm.bias.defined() ? norm.bias : torch::zeros({x.size(1)}, x.options());
  return NormPoolFunction::apply(x, weight, bias, Settings{norm, pool});
}

}  // namespace bisparse::train
