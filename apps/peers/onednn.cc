// SPDX-License-Identifier: Apache-2.0
// oneDNN as a peer of the benchmark, f32 and int8 (its own static quantisation, post-training).
//
// In the peer's favour: `any` as the layout of every source, weight and destination; weights
// reordered once; ReLU as a post-op (f32) or as the saturation of a u8 destination (int8); scales
// as attributes; primitives made once. What is timed besides them: the input's own reorder, if its
// layer wants one. In int8 the first layer runs in whichever of f32, s8 and u8 with a zero point is
// fastest at start-up, the last gives f32.
// Read first: serve.h, network.h. Tested in: peers_test.cc.
#include <algorithm>
#include <cmath>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>

#include "apps/peers/quantise.h"
#include "apps/peers/serve.h"
#include "apps/peers/turn.h"
#include "deploy/base/check.h"

namespace bisparse::peers {
namespace {

using dnnl::memory;
using packed::LayerKind;
using DataType = memory::data_type;
using Tag = memory::format_tag;

/// A map that primitives write: real = scale · (value − zero).
struct Map {
  memory memory_bcyx;
  float scale = 1;
  int32_t zero = 0;
  DataType type() const { return memory_bcyx.get_desc().data_type(); }
};

/// Number formats, scales and weights of a convolution or inner product.
struct Arithmetic {
  Map source;  ///< its scale and zero once converted
  DataType source_type = DataType::f32, weight_type = DataType::f32, target_type = DataType::f32;
  float target_scale = 1;
  std::vector<int8_t> weight_i8_op;
  const void* weight = nullptr;  ///< the layer's floats or weight_i8_op
  std::vector<float> bias_o;
  dnnl::primitive_attr attributes;
};

memory::dims Pad(const packed::Window& w) { return {w.pad_h, w.pad_w}; }
memory::dims Stride(const packed::Window& w) { return {w.stride_h, w.stride_w}; }
memory::dims Kernel(const packed::Window& w) { return {w.kernel_h, w.kernel_w}; }

class Network {
 public:
  /// `first`: number format of the first layer with weights (f32 = not an int8 network's choice).
  Network(const ServeSetup& setup, const Ranges* ranges, DataType first)
      : batch_(setup.batch), ranges_(ranges), first_(first) {
    const DenseNetwork& network = setup.network;
    for (size_t i = 0; i < network.layers.size(); ++i) {
      if (!network.layers[i].HasWeights()) continue;
      if (first_weights_ == kNone) first_weights_ = i;
      last_weights_ = i;
    }
    input_ = memory(Desc(network.input, DataType::f32, Tag::nchw), engine_, nullptr);
    at_ = {input_};
    for (size_t i = 0; i < network.layers.size(); ++i) Add(network.layers[i], i);
    if (last_weights_ + 1 == network.layers.size() &&
        network.layers.back().kind == LayerKind::kLinear) {
      output_ = steps_.back().second.at(DNNL_ARG_DST);
      return;
    }
    output_ = memory(Desc(network.layers.back().output, DataType::f32, Tag::nhwc), engine_);
    ConvertTo(output_, 1, 0);
  }

  void Run(const float* x_bi, float* y_bo) {
    input_.set_data_handle(const_cast<float*>(x_bi));
    output_.set_data_handle(y_bo);
    for (const auto& [primitive, arguments] : steps_) primitive.execute(stream_, arguments);
    stream_.wait();
  }

 private:
  memory::desc Desc(const Shape& s, DataType type, Tag tag) const {
    return {{batch_, s.channels, s.height, s.width}, type, tag};
  }

  void Step(const dnnl::primitive& primitive, std::unordered_map<int, memory> arguments) {
    steps_.emplace_back(primitive, std::move(arguments));
  }

  /// A memory with its own bytes; a reorder fills it now, not in a run.
  memory Constant(const memory::desc& from, const void* values, const memory::desc& to) {
    memory source(from, engine_, const_cast<void*>(values));
    memory target(to, engine_);
    dnnl::reorder(source, target).execute(stream_, source, target);
    stream_.wait();
    return target;
  }
  memory Vector(const std::vector<float>& values) {
    const memory::desc desc({static_cast<int64_t>(values.size())}, DataType::f32, Tag::a);
    return Constant(desc, values.data(), desc);
  }

  /// The map so far in this layout and number format: a step of its own where it differs.
  void Convert(const memory::desc& wanted, float scale, int32_t zero) {
    const bool same =
        at_.memory_bcyx.get_desc() == wanted && at_.scale == scale && at_.zero == zero;
    if (!same) ConvertTo(memory(wanted, engine_), scale, zero);
  }
  void ConvertTo(const memory& target, float scale, int32_t zero) {
    dnnl::primitive_attr attributes;
    if (at_.scale != scale) attributes.set_output_scales(0, {at_.scale / scale});
    if (at_.zero != 0) attributes.set_zero_points(DNNL_ARG_SRC, 0, {at_.zero});
    if (zero != 0) attributes.set_zero_points(DNNL_ARG_DST, 0, {zero});
    const dnnl::reorder::primitive_desc desc(at_.memory_bcyx, target, attributes);
    Step(dnnl::reorder(desc), {{DNNL_ARG_SRC, at_.memory_bcyx}, {DNNL_ARG_DST, target}});
    at_ = {target, scale, zero};
  }
  void ConvertToReal() {
    if (at_.type() == DataType::f32) return;
    const auto dims = at_.memory_bcyx.get_desc().dims();
    Convert(memory::desc(dims, DataType::f32, Tag::nhwc), 1, 0);
  }

  void Add(const DenseLayer& layer, size_t index) {
    switch (layer.kind) {
      case LayerKind::kConv2d:
      case LayerKind::kDepthwiseConv2d:
      case LayerKind::kLinear:
        return AddWeights(layer, index);
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool:
        return AddPool(layer);
      case LayerKind::kAffine:
        AddAffine(layer);
        if (layer.relu) AddRelu();
        return;
      case LayerKind::kRelu:
        return AddRelu();
      case LayerKind::kKwta:
      case LayerKind::kFlatten:
      case LayerKind::kAdd:
      case LayerKind::kMultiply:
      case LayerKind::kConcat:
        BISPARSE_CHECK(false);
    }
  }

  /// A layer's numbers: f32 as they are, or int8 with
  /// real = source.scale · scale_o · (sum + bias_o), of which the destination holds real /
  /// target_scale.
  Arithmetic ArithmeticOf(const DenseLayer& layer, size_t index) const {
    Arithmetic a;
    a.bias_o = layer.bias_o;
    a.weight = layer.weight_op.data();
    a.source = at_;
    if (ranges_ != nullptr && (index != first_weights_ || first_ != DataType::f32)) {
      QuantisedWeights q = QuantiseWeights(layer);
      a.weight_i8_op = std::move(q.weight_op);
      a.weight = a.weight_i8_op.data();
      a.weight_type = DataType::s8;
      a.source_type = SourceSteps(index, a.source);
      if (index != last_weights_) {
        const Range range = ranges_->layers[index];
        a.target_type = layer.nonnegative ? DataType::u8 : DataType::s8;
        a.target_scale =
            layer.nonnegative ? range.high / 255 : std::max(range.high, -range.low) / 127;
        if (a.target_scale == 0) a.target_scale = 1;
      }
      std::vector<float> factor_o;
      for (size_t o = 0; o < q.scale_o.size(); ++o) {
        const float sum_scale = a.source.scale * q.scale_o[o];
        a.bias_o[o] /= sum_scale;
        factor_o.push_back(sum_scale / a.target_scale);
      }
      a.attributes.set_output_scales(/*mask: dimension 1, the channels*/ 2, factor_o);
      if (a.source.zero != 0) a.attributes.set_zero_points(DNNL_ARG_SRC, 0, {a.source.zero});
    }
    if (layer.relu && a.target_type != DataType::u8) {
      dnnl::post_ops post_ops;
      post_ops.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
      a.attributes.set_post_ops(post_ops);
    }
    return a;
  }

  void AddWeights(const DenseLayer& layer, size_t index) {
    const Arithmetic a = ArithmeticOf(layer, index);
    const bool conv = layer.IsConvolution();
    const int64_t outputs = static_cast<int64_t>(layer.bias_o.size());
    const Shape& in = layer.input;
    const int64_t groups = layer.groups();
    memory::dims weight_dims = {outputs / groups, in.channels / groups, in.height, in.width};
    if (conv) std::copy_n(Kernel(layer.window).begin(), 2, weight_dims.begin() + 2);
    if (groups > 1) weight_dims.insert(weight_dims.begin(), groups);
    const Tag weight_tag = groups > 1 ? Tag::goihw : Tag::oihw;
    const memory::desc source_desc = Desc(in, a.source_type, Tag::any);
    const memory::desc weight_desc(weight_dims, a.weight_type, Tag::any);
    const memory::desc bias_desc({outputs}, DataType::f32, Tag::a);
    const auto finish = [&](const auto& primitive_desc, const dnnl::primitive& primitive) {
      Convert(primitive_desc.src_desc(), a.source.scale, a.source.zero);
      const memory weight = Constant(memory::desc(weight_dims, a.weight_type, weight_tag), a.weight,
                                     primitive_desc.weights_desc());
      const memory target(primitive_desc.dst_desc(), engine_);
      Step(primitive, {{DNNL_ARG_SRC, at_.memory_bcyx},
                       {DNNL_ARG_WEIGHTS, weight},
                       {DNNL_ARG_BIAS, Vector(a.bias_o)},
                       {DNNL_ARG_DST, target}});
      at_ = {target, a.target_scale, 0};
    };
    if (conv) {
      const dnnl::convolution_forward::primitive_desc desc(
          {dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_auto, source_desc,
           weight_desc, bias_desc, Desc(layer.output, a.target_type, Tag::any),
           Stride(layer.window), Pad(layer.window), Pad(layer.window)},
          a.attributes, engine_);
      finish(desc, dnnl::convolution_forward(desc));
      return;
    }
    const dnnl::inner_product_forward::primitive_desc desc(
        {dnnl::prop_kind::forward_inference, source_desc, weight_desc, bias_desc,
         memory::desc({batch_, outputs}, a.target_type, Tag::any)},
        a.attributes, engine_);
    finish(desc, dnnl::inner_product_forward(desc));
    // The other primitives want four dimensions.
    at_.memory_bcyx = memory(at_.memory_bcyx.get_desc().reshape({batch_, outputs, 1, 1}), engine_,
                             at_.memory_bcyx.get_data_handle());
    kept_.push_back(steps_.back().second.at(DNNL_ARG_DST));
  }

  /// Number format of an int8 layer's source; sets source.scale and source.zero.
  DataType SourceSteps(size_t index, Map& source) const {
    if (at_.type() != DataType::f32) return at_.type();
    const Range range = index == 0 ? ranges_->input : ranges_->layers[index - 1];
    if (range.low == 0 || (index == first_weights_ && first_ == DataType::u8)) {
      const Steps steps = StepsOf(range);
      source.scale = steps.scale;
      source.zero = steps.zero;
      return DataType::u8;
    }
    source.scale = std::max(range.high, -range.low) / 127;
    source.zero = 0;
    return DataType::s8;
  }

  void AddPool(const DenseLayer& layer) {
    const auto algorithm = layer.kind == LayerKind::kMaxPool
                               ? dnnl::algorithm::pooling_max
                               : dnnl::algorithm::pooling_avg_exclude_padding;
    const dnnl::pooling_forward::primitive_desc desc(
        {dnnl::prop_kind::forward_inference, algorithm, at_.memory_bcyx.get_desc(),
         Desc(layer.output, at_.type(), Tag::any), Stride(layer.window), Kernel(layer.window),
         Pad(layer.window), Pad(layer.window)},
        engine_);
    const memory target(desc.dst_desc(), engine_);
    Step(dnnl::pooling_forward(desc), {{DNNL_ARG_SRC, at_.memory_bcyx}, {DNNL_ARG_DST, target}});
    at_.memory_bcyx = target;
  }

  void AddAffine(const DenseLayer& layer) {
    ConvertToReal();
    const Shape& map = layer.output;
    const bool flat = static_cast<int64_t>(layer.bias_o.size()) != map.channels;
    const memory::desc desc({1, map.channels, flat ? map.height : 1, flat ? map.width : 1},
                            DataType::f32, Tag::nchw);
    AddBinary(dnnl::algorithm::binary_mul, Constant(desc, layer.weight_op.data(), desc));
    AddBinary(dnnl::algorithm::binary_add, Constant(desc, layer.bias_o.data(), desc));
  }
  void AddBinary(dnnl::algorithm algorithm, const memory& operand) {
    const memory::desc map = at_.memory_bcyx.get_desc();
    const dnnl::binary::primitive_desc desc({algorithm, map, operand.get_desc(), map}, engine_);
    const memory target(map, engine_);
    Step(dnnl::binary(desc),
         {{DNNL_ARG_SRC_0, at_.memory_bcyx}, {DNNL_ARG_SRC_1, operand}, {DNNL_ARG_DST, target}});
    at_ = {target};
  }

  void AddRelu() {
    const memory::desc map = at_.memory_bcyx.get_desc();
    const dnnl::eltwise_forward::primitive_desc desc(
        {dnnl::prop_kind::forward_inference, dnnl::algorithm::eltwise_relu, map, 0.0f, 0.0f},
        engine_);
    const memory target(map, engine_);
    Step(dnnl::eltwise_forward(desc), {{DNNL_ARG_SRC, at_.memory_bcyx}, {DNNL_ARG_DST, target}});
    at_.memory_bcyx = target;
  }

  static constexpr size_t kNone = SIZE_MAX;

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  const int64_t batch_;
  const Ranges* ranges_;  ///< int8 networks only
  const DataType first_;
  size_t first_weights_ = kNone, last_weights_ = kNone;
  std::vector<std::pair<dnnl::primitive, std::unordered_map<int, memory>>> steps_;
  std::vector<memory> kept_;  ///< whose bytes another memory uses
  memory input_, output_;
  Map at_;  ///< the map so far
};

RunBatch Make(const ServeSetup& setup) {
  if (setup.variant == "f32") {
    const auto network = std::make_shared<Network>(setup, nullptr, DataType::f32);
    return [network](const float* x_bi, float* y_bo) { network->Run(x_bi, y_bo); };
  }
  const Ranges ranges = Calibrate(setup.model, setup.network, setup.x_bi);
  std::shared_ptr<Network> fastest;
  double fastest_us = INFINITY;
  std::vector<float> unused_bo(static_cast<size_t>(setup.batch * setup.network.output_count()));
  std::vector<DataType> formats = {DataType::f32, DataType::s8};
  const auto& layers = setup.network.layers;
  const auto first_weights = std::find_if(layers.begin(), layers.end(),
                                          [](const DenseLayer& l) { return l.HasWeights(); });
  // oneDNN has no zero point for inner products.
  if (first_weights != layers.end() && first_weights->IsConvolution()) {
    formats.push_back(DataType::u8);
  }
  for (const DataType first : formats) {
    const auto network = std::make_shared<Network>(setup, &ranges, first);
    const double us = MedianUs([&] { network->Run(setup.x_bi.data(), unused_bo.data()); });
    if (us >= fastest_us) continue;
    fastest = network;
    fastest_us = us;
  }
  return [fastest](const float* x_bi, float* y_bo) { fastest->Run(x_bi, y_bo); };
}

}  // namespace
}  // namespace bisparse::peers

int main(int argc, char** argv) {
  return bisparse::peers::ServePeer(argc, argv, bisparse::peers::Make);
}
