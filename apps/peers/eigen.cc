// SPDX-License-Identifier: Apache-2.0
// Eigen's SparseMatrix as a peer of the benchmark: the packed weights that are not zero, row by
// row, times dense activations. im2col is counted; it is part of a convolution by matrix product.
//
//   conv2d  y[o][q] = Σp w[o][p] · patch[p][q]     q = output position, one sample at a time
//   linear  y[o][b] = Σi w[o][i] · x[i][b]         all samples of a thread together
//
// A batch is cut among threads; in a batch of one the products themselves are (Eigen's OpenMP).
// Compiled for the machine that it is built on (-march=native): Eigen does not dispatch at run
// time. Read first: serve.h, network.h. Tested in: peers_test.cc.
#include <omp.h>

#include <Eigen/SparseCore>
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "apps/peers/serve.h"
#include "deploy/base/check.h"

namespace bisparse::peers {
namespace {

using packed::LayerKind;
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Sparse = Eigen::SparseMatrix<float, Eigen::RowMajor>;
using MatrixMap = Eigen::Map<Matrix>;
using VectorMap = Eigen::Map<Eigen::VectorXf>;
using RowMap = Eigen::Map<Eigen::ArrayXf>;
using StridedRow = Eigen::Map<const Eigen::ArrayXf, Eigen::Unaligned, Eigen::InnerStride<>>;
using ConstVectorMap = Eigen::Map<const Eigen::VectorXf>;

/// [outputs][input channels · taps]; a depthwise layer's kernels each read one channel.
Sparse ToSparse(const DenseLayer& layer) {
  const auto outputs = static_cast<Eigen::Index>(layer.bias_o.size());
  const Eigen::Map<const Matrix> weight_op(
      layer.weight_op.data(), outputs, static_cast<Eigen::Index>(layer.weight_op.size()) / outputs);
  Sparse sparse = weight_op.sparseView();
  if (layer.groups() > 1) {
    sparse = Sparse(outputs, weight_op.cols() * layer.groups());
    for (Eigen::Index o = 0; o < outputs; ++o) {
      for (Eigen::Index t = 0; t < weight_op.cols(); ++t) {
        sparse.insert(o, o * weight_op.cols() + t) = weight_op(o, t);
      }
    }
  }
  sparse.makeCompressed();
  return sparse;
}

/// Output columns whose input column at tap kx lies in the map, and that column of the first.
struct Columns {
  Columns(const DenseLayer& layer, int32_t kx) {
    const packed::Window& w = layer.window;
    const int32_t tap = kx * w.dilation_w;
    while (first < layer.output.width && first * w.stride_w + tap < w.pad_w) ++first;
    x = first * w.stride_w + tap - w.pad_w;
    const int32_t room = layer.input.width - x;
    count = room <= 0 ? 0 : (room - 1) / w.stride_w + 1;
    count = std::clamp(count, 0, layer.output.width - first);
  }
  int32_t first = 0, count = 0, x = 0;
};

/// Row y of a channel, from the input column of `columns` on.
StridedRow InputRow(const DenseLayer& layer, const float* x_yx, int32_t y, const Columns& columns) {
  return {x_yx + int64_t{y} * layer.input.width + columns.x, columns.count,
          Eigen::InnerStride<>(layer.window.stride_w)};
}

/// patch[p][q], zeros outside of the map.
void Im2Col(const DenseLayer& layer, const float* x_cyx, Matrix& patch_pq) {
  const packed::Window& w = layer.window;
  const Shape &in = layer.input, &out = layer.output;
  if (w.pad_h > 0 || w.pad_w > 0) patch_pq.setZero();
  float* to = patch_pq.data();
  for (int32_t c = 0; c < in.channels; ++c, x_cyx += int64_t{in.height} * in.width) {
    for (int32_t ky = 0; ky < w.kernel_h; ++ky) {
      for (int32_t kx = 0; kx < w.kernel_w; ++kx) {
        const Columns columns(layer, kx);
        for (int32_t yo = 0; yo < out.height; ++yo, to += out.width) {
          const int32_t y = yo * w.stride_h + ky * w.dilation_h - w.pad_h;
          if (y < 0 || y >= in.height) continue;
          RowMap(to + columns.first, columns.count) = InputRow(layer, x_cyx, y, columns);
        }
      }
    }
  }
}

void Pool(const DenseLayer& layer, const float* x_cyx, float* y_cyx) {
  const packed::Window& w = layer.window;
  const Shape &in = layer.input, &out = layer.output;
  const bool max = layer.kind == LayerKind::kMaxPool;
  Eigen::ArrayXf taps_x = Eigen::ArrayXf::Zero(out.width);  // inside of the map, for each column
  for (int32_t kx = 0; kx < w.kernel_w; ++kx) {
    const Columns columns(layer, kx);
    taps_x.segment(columns.first, columns.count) += 1;
  }
  for (int32_t c = 0; c < in.channels; ++c, x_cyx += int64_t{in.height} * in.width) {
    for (int32_t yo = 0; yo < out.height; ++yo, y_cyx += out.width) {
      const int32_t top = yo * w.stride_h - w.pad_h;
      const int32_t y0 = std::max(0, top), y1 = std::min(in.height, top + w.kernel_h);
      RowMap row(y_cyx, out.width);
      row.setConstant(max ? -INFINITY : 0.0f);
      for (int32_t kx = 0; kx < w.kernel_w; ++kx) {
        const Columns columns(layer, kx);
        auto target = row.segment(columns.first, columns.count);
        for (int32_t y = y0; y < y1; ++y) {
          const StridedRow source = InputRow(layer, x_cyx, y, columns);
          if (max) {
            target = target.max(source);
          } else {
            target += source;
          }
        }
      }
      if (!max) row /= taps_x * static_cast<float>(y1 - y0);
    }
  }
}

/// Which of few buffers holds each layer's output: one that no later layer reads any more.
std::vector<size_t> ShareBuffers(const DenseNetwork& network) {
  std::vector<size_t> last_reader(network.layers.size(), network.layers.size());
  for (size_t i = 0; i < network.layers.size(); ++i) {
    for (const int32_t value : network.layers[i].inputs) {
      if (value >= 0) last_reader[static_cast<size_t>(value)] = i;
    }
  }
  std::vector<size_t> buffer_of, read_until;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const auto free = std::find_if(read_until.begin(), read_until.end(),
                                   [i](size_t reader) { return reader < i; });
    buffer_of.push_back(static_cast<size_t>(free - read_until.begin()));
    if (free == read_until.end()) {
      read_until.push_back(last_reader[i]);
    } else {
      *free = last_reader[i];
    }
  }
  return buffer_of;
}

/// One thread's share of a batch through all layers; maps are channels first, sample by sample.
class Worker {
 public:
  Worker(const DenseNetwork& network, const std::vector<Sparse>& weights, int64_t samples)
      : network_(network),
        weights_(weights),
        patches_(network.layers.size()),
        buffer_of_(ShareBuffers(network)),
        maps_(*std::max_element(buffer_of_.begin(), buffer_of_.end()) + 1) {
    int64_t largest = network.input.elements();
    for (size_t i = 0; i < network.layers.size(); ++i) {
      const DenseLayer& layer = network.layers[i];
      largest = std::max(largest, layer.output.elements());
      if (layer.IsConvolution()) {
        patches_[i].resize(weights[i].cols(), int64_t{layer.output.height} * layer.output.width);
      }
    }
    for (auto& map : maps_) map.resize(static_cast<size_t>(samples * largest));
  }

  void Run(const float* x_bi, int64_t samples, float* y_bo) {
    std::vector<const float*> inputs;
    const float* at = x_bi;
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      const DenseLayer& layer = network_.layers[i];
      float* to = maps_[buffer_of_[i]].data();
      const auto sample = [&](int32_t value, int64_t b) {
        const float* const map =
            value < 0 ? x_bi : maps_[buffer_of_[static_cast<size_t>(value)]].data();
        return map + b * network_.ShapeOf(value).elements();
      };
      if (layer.kind == LayerKind::kLinear) {
        Linear(layer, weights_[i], sample(layer.inputs[0], 0), samples, to);
      } else {
        for (int64_t b = 0; b < samples; ++b) {
          inputs.clear();
          for (const int32_t value : layer.inputs) inputs.push_back(sample(value, b));
          OneSample(i, inputs, to + b * layer.output.elements());
        }
      }
      if (layer.relu) Relu(to, samples * layer.output.elements(), to);
      at = to;
    }
    const Shape& out = network_.layers.back().output;
    const int64_t positions = int64_t{out.height} * out.width;
    for (int64_t b = 0; b < samples; ++b, at += out.elements(), y_bo += out.elements()) {
      MatrixMap(y_bo, positions, out.channels) =
          Eigen::Map<const Matrix>(at, out.channels, positions).transpose();
    }
  }

 private:
  static void Relu(const float* x, int64_t elements, float* y) {
    VectorMap(y, elements) = ConstVectorMap(x, elements).cwiseMax(0.0f);
  }

  using Maps = std::vector<const float*>;

  void OneSample(size_t i, const Maps& x, float* y_cyx) {
    const DenseLayer& layer = network_.layers[i];
    (this->*RowOf(kRows, layer, "Eigen").run)(i, x, y_cyx);
  }

  void Convolution(size_t i, const Maps& x, float* y_cyx) {
    const DenseLayer& layer = network_.layers[i];
    Im2Col(layer, x[0], patches_[i]);
    MatrixMap y_oq(y_cyx, layer.output.channels, int64_t{layer.output.height} * layer.output.width);
    y_oq.colwise() = ConstVectorMap(layer.bias_o.data(), layer.output.channels);
    y_oq.noalias() += weights_[i] * patches_[i];
  }

  void Pools(size_t i, const Maps& x, float* y_cyx) { Pool(network_.layers[i], x[0], y_cyx); }

  void Affine(size_t i, const Maps& x, float* y_cyx) {
    const DenseLayer& layer = network_.layers[i];
    const auto factors = static_cast<int64_t>(layer.bias_o.size());
    const int64_t each = layer.output.elements() / factors;
    for (int64_t c = 0; c < factors; ++c) {
      const auto at = static_cast<size_t>(c);
      VectorMap(y_cyx + c * each, each) =
          (ConstVectorMap(x[0] + c * each, each) * layer.weight_op[at]).array() + layer.bias_o[at];
    }
  }

  /// Each column of [channels][positions]; a flat value is one column.
  void LayerNorm(size_t i, const Maps& x, float* y_cyx) {
    const DenseLayer& layer = network_.layers[i];
    const auto factors = static_cast<int64_t>(layer.bias_o.size());
    const Eigen::Map<const Matrix> x_cq(x[0], factors, layer.output.elements() / factors);
    MatrixMap y_cq(y_cyx, x_cq.rows(), x_cq.cols());
    y_cq = x_cq.rowwise() - x_cq.colwise().mean();
    const Eigen::RowVectorXf factor_q =
        (y_cq.array().square().colwise().mean() + layer.epsilon).rsqrt();
    const ConstVectorMap gain_c(layer.weight_op.data(), factors);
    const ConstVectorMap bias_c(layer.bias_o.data(), factors);
    y_cq = gain_c.asDiagonal() * y_cq * factor_q.asDiagonal();
    y_cq.colwise() += bias_c;
  }

  void Relus(size_t i, const Maps& x, float* y_cyx) {
    Relu(x[0], network_.layers[i].output.elements(), y_cyx);
  }

  /// y = x_0 · x_1 · … or the sum; a height or width of 1 is repeated.
  template <typename Join>
  void JoinMaps(size_t i, const Maps& x, float* y_cyx, const Join& join) {
    const DenseLayer& layer = network_.layers[i];
    const Shape& out = layer.output;
    std::copy_n(x[0], out.elements(), y_cyx);
    for (size_t k = 1; k < x.size(); ++k) {
      const Shape& in = network_.ShapeOf(layer.inputs[k]);
      const float* from = x[k];
      float* to = y_cyx;
      for (int32_t c = 0; c < out.channels; ++c, from += int64_t{in.height} * in.width) {
        for (int32_t y = 0; y < out.height; ++y, to += out.width) {
          const float* const row = from + (in.height == 1 ? 0 : int64_t{y} * in.width);
          RowMap target(to, out.width);
          if (in.width == 1) {
            join(target, Eigen::ArrayXf::Constant(out.width, row[0]));
          } else {
            join(target, Eigen::Map<const Eigen::ArrayXf>(row, out.width));
          }
        }
      }
    }
  }
  void Sum(size_t i, const Maps& x, float* y_cyx) {
    JoinMaps(i, x, y_cyx, [](auto& y, const auto& value) { y += value; });
  }
  void Product(size_t i, const Maps& x, float* y_cyx) {
    JoinMaps(i, x, y_cyx, [](auto& y, const auto& value) { y *= value; });
  }

  void Concat(size_t i, const Maps& x, float* y_cyx) {
    for (size_t k = 0; k < x.size(); ++k) {
      y_cyx = std::copy_n(x[k], network_.ShapeOf(network_.layers[i].inputs[k]).elements(), y_cyx);
    }
  }

  void Linear(const DenseLayer& layer, const Sparse& weight, const float* x_bi, int64_t samples,
              float* y_bo) {
    const ConstVectorMap bias_o(layer.bias_o.data(), weight.rows());
    if (samples == 1) {
      VectorMap y_o(y_bo, weight.rows());
      y_o = bias_o;
      y_o.noalias() += weight * ConstVectorMap(x_bi, weight.cols());
      return;
    }
    linear_x_ib_ = Eigen::Map<const Matrix>(x_bi, samples, weight.cols()).transpose();
    linear_y_ob_.resize(weight.rows(), samples);
    linear_y_ob_.colwise() = bias_o;
    linear_y_ob_.noalias() += weight * linear_x_ib_;
    MatrixMap(y_bo, samples, weight.rows()) = linear_y_ob_.transpose();
  }

  /// A row a kind: one sample of a layer.
  struct Row {
    LayerKind kind;
    void (Worker::*run)(size_t i, const Maps& x, float* y_cyx);
  };
  static constexpr Row kRows[] = {
      {LayerKind::kConv2d, &Worker::Convolution},
      {LayerKind::kAffine, &Worker::Affine},
      {LayerKind::kMaxPool, &Worker::Pools},
      {LayerKind::kAvgPool, &Worker::Pools},
      {LayerKind::kRelu, &Worker::Relus},
      {LayerKind::kDepthwiseConv2d, &Worker::Convolution},
      {LayerKind::kAdd, &Worker::Sum},
      {LayerKind::kMultiply, &Worker::Product},
      {LayerKind::kConcat, &Worker::Concat},
      {LayerKind::kLayerNorm, &Worker::LayerNorm},
  };

  const DenseNetwork& network_;
  const std::vector<Sparse>& weights_;
  std::vector<Matrix> patches_;    ///< of each convolution
  std::vector<size_t> buffer_of_;  ///< of each layer, in maps_
  std::vector<std::vector<float>> maps_;
  Matrix linear_x_ib_, linear_y_ob_;
};

class Network {
 public:
  explicit Network(const ServeSetup& setup)
      : network_(setup.network),
        batch_(setup.batch),
        share_((setup.batch + setup.threads - 1) / setup.threads) {
    omp_set_num_threads(setup.threads);
    for (const DenseLayer& layer : network_.layers) {
      weights_.push_back(layer.HasWeights() ? ToSparse(layer) : Sparse());
    }
    for (int64_t b = 0; b < batch_; b += share_) workers_.emplace_back(network_, weights_, share_);
  }
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  void Run(const float* x_bi, float* y_bo) {
    const auto run = [&](size_t i) {
      const int64_t b = static_cast<int64_t>(i) * share_;
      workers_[i].Run(x_bi + b * network_.input.elements(), std::min(share_, batch_ - b),
                      y_bo + b * network_.output_count());
    };
    if (workers_.size() == 1) return run(0);  // no parallel region around Eigen's own
#pragma omp parallel for schedule(static, 1)
    for (size_t i = 0; i < workers_.size(); ++i) run(i);
  }

 private:
  const DenseNetwork network_;
  const int64_t batch_, share_;
  std::vector<Sparse> weights_;
  std::vector<Worker> workers_;
};

RunBatch Make(const ServeSetup& setup) {
  const auto network = std::make_shared<Network>(setup);
  return [network](const float* x_bi, float* y_bo) { network->Run(x_bi, y_bo); };
}

}  // namespace
}  // namespace bisparse::peers

int main(int argc, char** argv) {
  return bisparse::peers::ServePeer(argc, argv, bisparse::peers::Make);
}
