// SPDX-License-Identifier: Apache-2.0
// oneDNN as a peer of the benchmark, f32 and int8 (its own static quantisation, post-training).
//
// In the peer's favour: `any` as the layout of every source, weight and destination; weights
// reordered once; ReLU as a post-op (f32) or as the saturation of a u8 destination (int8); scales
// as attributes; primitives made once. What is timed besides them: the input's own reorder, if its
// layer wants one. In int8 the first layer runs in whichever of f32, s8 and u8 with a zero point is
// fastest at start-up, the last gives f32.
// Past 400 lines: f32 and int8 share one translation of a graph into primitives.
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
/// Positions left out between two taps.
memory::dims Dilation(const packed::Window& w) { return {w.dilation_h - 1, w.dilation_w - 1}; }
memory::dims Kernel(const packed::Window& w) { return {w.kernel_h, w.kernel_w}; }

class Network {
 public:
  /// `first`: number format of the first layer with weights (f32 = not an int8 network's choice).
  Network(const ServeSetup& setup, const Ranges* ranges, DataType first)
      : network_(setup.network), batch_(setup.batch), ranges_(ranges), first_(first) {
    const DenseNetwork& network = setup.network;
    for (size_t i = 0; i < network.layers.size(); ++i) {
      if (!network.layers[i].HasWeights()) continue;
      if (first_weights_ == kNone) first_weights_ = i;
      last_weights_ = i;
    }
    input_ = memory(Desc(network.input, DataType::f32, Tag::nchw), engine_, nullptr);
    values_ = {{input_}};
    for (size_t i = 0; i < network.layers.size(); ++i) {
      const DenseLayer& layer = network.layers[i];
      at_ = ValueOf(layer.inputs[0]);
      (this->*RowOf(kRows, layer, "oneDNN").add)(layer, i);
      values_.push_back(at_);
    }
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

  const Map& ValueOf(int32_t value) const { return values_[static_cast<size_t>(value + 1)]; }

  /// The map in this layout and number format: a step of its own where it differs.
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
        a.target_type = layer.nonnegative ? DataType::u8 : DataType::s8;
        a.target_scale = TargetScale(layer, index);
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

  /// Of an int8 map without a zero point.
  float TargetScale(const DenseLayer& layer, size_t index) const {
    const Range range = ranges_->layers[index];
    const float scale =
        layer.nonnegative ? range.high / 255 : std::max(range.high, -range.low) / 127;
    return scale == 0 ? 1 : scale;
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
           Stride(layer.window), Dilation(layer.window), Pad(layer.window), Pad(layer.window)},
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
    const int32_t value = network_.layers[index].inputs[0];
    const Range range = value < 0 ? ranges_->input : ranges_->layers[static_cast<size_t>(value)];
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

  void AddPool(const DenseLayer& layer, size_t) {
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

  void AddAffine(const DenseLayer& layer, size_t) {
    ConvertToReal();
    const Shape& map = layer.output;
    const bool flat = static_cast<int64_t>(layer.bias_o.size()) != map.channels;
    const memory::desc desc({1, map.channels, flat ? map.height : 1, flat ? map.width : 1},
                            DataType::f32, Tag::nchw);
    AddBinary(dnnl::algorithm::binary_mul, {Constant(desc, layer.weight_op.data(), desc)}, {});
    AddBinary(dnnl::algorithm::binary_add, {Constant(desc, layer.bias_o.data(), desc)}, {});
    if (layer.relu) AddRelu(layer, 0);
  }

  /// The primitive goes over the last dimension: channels last, or all of what is flat.
  void AddLayerNorm(const DenseLayer& layer, size_t) {
    const Shape& map = layer.output;
    const auto channels = static_cast<int64_t>(layer.bias_o.size());
    const memory::desc wanted = Desc(map, DataType::f32, layer.flat ? Tag::nchw : Tag::nhwc);
    // Where the network's input lies is known in a run alone.
    const bool has_bytes = at_.memory_bcyx.get_data_handle() != nullptr;
    has_bytes ? Convert(wanted, 1, 0) : ConvertTo(memory(wanted, engine_), 1, 0);
    const memory::desc rows({batch_ * map.elements() / channels, channels}, DataType::f32, Tag::ab);
    const dnnl::layer_normalization_forward::primitive_desc desc(
        {dnnl::prop_kind::forward_inference, rows, layer.epsilon,
         dnnl::normalization_flags::use_scale | dnnl::normalization_flags::use_shift},
        engine_);
    const memory target(wanted, engine_);
    const auto as_rows = [&](const memory& of) {
      kept_.push_back(of);
      return memory(rows, engine_, of.get_data_handle());
    };
    Step(dnnl::layer_normalization_forward(desc), {{DNNL_ARG_SRC, as_rows(at_.memory_bcyx)},
                                                   {DNNL_ARG_SCALE, Vector(layer.weight_op)},
                                                   {DNNL_ARG_SHIFT, Vector(layer.bias_o)},
                                                   {DNNL_ARG_DST, as_rows(target)}});
    at_ = {target};
  }

  /// What a binary primitive gives, and whether a ReLU is part of it.
  struct Target {
    DataType type = DataType::f32;
    float scale = 1;
    bool relu = false;
  };
  void AddBinary(dnnl::algorithm algorithm, const Map& operand, const Target& target) {
    const memory::desc first = at_.memory_bcyx.get_desc();
    memory::desc result = first;
    result.data.data_type = memory::convert_to_c(target.type);
    dnnl::primitive_attr attributes;
    if (target.type != DataType::f32) {
      // The product's scales in one factor, those of the sum's inputs each in its own.
      const bool product = algorithm == dnnl::algorithm::binary_mul;
      const float scale = (product ? at_.scale * operand.scale : at_.scale) / target.scale;
      attributes.set_scales(DNNL_ARG_SRC_0, 0, {scale});
      if (!product) attributes.set_scales(DNNL_ARG_SRC_1, 0, {operand.scale / target.scale});
    }
    if (target.relu && target.type != DataType::u8) {
      dnnl::post_ops post_ops;
      post_ops.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
      attributes.set_post_ops(post_ops);
    }
    const dnnl::binary::primitive_desc desc(
        {algorithm, first, operand.memory_bcyx.get_desc(), result}, attributes, engine_);
    const memory to(result, engine_);
    Step(dnnl::binary(desc), {{DNNL_ARG_SRC_0, at_.memory_bcyx},
                              {DNNL_ARG_SRC_1, operand.memory_bcyx},
                              {DNNL_ARG_DST, to}});
    at_ = {to, target.scale};
  }

  /// Integers where all inputs are and the sum has two, else real numbers.
  bool JoinsIntegers(const DenseLayer& layer) const {
    return ranges_ != nullptr &&
           std::all_of(layer.inputs.begin(), layer.inputs.end(),
                       [this](int32_t value) { return ValueOf(value).type() != DataType::f32; });
  }

  void AddJoin(const DenseLayer& layer, size_t index, dnnl::algorithm algorithm) {
    const bool integers = JoinsIntegers(layer) && layer.inputs.size() == 2;
    if (!integers) ConvertToReal();
    Map joined = at_;
    for (size_t k = 1; k < layer.inputs.size(); ++k) {
      // The other map in the layout of the first; one of a single position as plain channels.
      at_ = ValueOf(layer.inputs[k]);
      const Shape& shape = network_.ShapeOf(layer.inputs[k]);
      const DataType type = integers ? at_.type() : DataType::f32;
      memory::desc wanted = Desc(shape, type, Tag::nchw);
      if (shape == layer.output) {
        wanted = joined.memory_bcyx.get_desc();
        wanted.data.data_type = memory::convert_to_c(type);
      }
      Convert(wanted, integers ? at_.scale : 1, 0);
      const Map operand = std::exchange(at_, joined);
      Target target{.relu = layer.relu && k + 1 == layer.inputs.size()};
      if (integers) {
        target.type = layer.nonnegative ? DataType::u8 : DataType::s8;
        target.scale = TargetScale(layer, index);
      }
      AddBinary(algorithm, operand, target);
      joined = at_;
    }
  }
  void AddSum(const DenseLayer& layer, size_t index) {
    AddJoin(layer, index, dnnl::algorithm::binary_add);
  }
  void AddProduct(const DenseLayer& layer, size_t index) {
    AddJoin(layer, index, dnnl::algorithm::binary_mul);
  }

  void AddConcat(const DenseLayer& layer, size_t index) {
    const bool integers = JoinsIntegers(layer);
    const DataType type = !integers           ? DataType::f32
                          : layer.nonnegative ? DataType::u8
                                              : DataType::s8;
    const float scale = integers ? TargetScale(layer, index) : 1;
    std::vector<memory::desc> descs;
    std::unordered_map<int, memory> arguments;
    for (size_t k = 0; k < layer.inputs.size(); ++k) {
      at_ = ValueOf(layer.inputs[k]);
      Convert(Desc(network_.ShapeOf(layer.inputs[k]), type, Tag::nhwc), scale, 0);
      descs.push_back(at_.memory_bcyx.get_desc());
      arguments[DNNL_ARG_MULTIPLE_SRC + static_cast<int>(k)] = at_.memory_bcyx;
    }
    const dnnl::concat::primitive_desc desc(/*axis, the channels*/ 1, descs, engine_);
    const memory target(desc.dst_desc(), engine_);
    arguments[DNNL_ARG_DST] = target;
    Step(dnnl::concat(desc), std::move(arguments));
    at_ = {target, scale};
  }

  void AddRelu(const DenseLayer&, size_t) {
    const memory::desc map = at_.memory_bcyx.get_desc();
    const dnnl::eltwise_forward::primitive_desc desc(
        {dnnl::prop_kind::forward_inference, dnnl::algorithm::eltwise_relu, map, 0.0f, 0.0f},
        engine_);
    const memory target(map, engine_);
    Step(dnnl::eltwise_forward(desc), {{DNNL_ARG_SRC, at_.memory_bcyx}, {DNNL_ARG_DST, target}});
    at_.memory_bcyx = target;
  }

  /// A row a kind: the steps of its layers.
  struct Row {
    LayerKind kind;
    void (Network::*add)(const DenseLayer& layer, size_t index);
  };
  static constexpr Row kRows[] = {
      {LayerKind::kConv2d, &Network::AddWeights},
      {LayerKind::kLinear, &Network::AddWeights},
      {LayerKind::kAffine, &Network::AddAffine},
      {LayerKind::kMaxPool, &Network::AddPool},
      {LayerKind::kAvgPool, &Network::AddPool},
      {LayerKind::kRelu, &Network::AddRelu},
      {LayerKind::kDepthwiseConv2d, &Network::AddWeights},
      {LayerKind::kAdd, &Network::AddSum},
      {LayerKind::kMultiply, &Network::AddProduct},
      {LayerKind::kConcat, &Network::AddConcat},
      {LayerKind::kLayerNorm, &Network::AddLayerNorm},
  };

  static constexpr size_t kNone = SIZE_MAX;

  const DenseNetwork& network_;

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  const int64_t batch_;
  const Ranges* ranges_;  ///< int8 networks only
  const DataType first_;
  size_t first_weights_ = kNone, last_weights_ = kNone;
  std::vector<std::pair<dnnl::primitive, std::unordered_map<int, memory>>> steps_;
  std::vector<memory> kept_;  ///< whose bytes another memory uses
  memory input_, output_;
  std::vector<Map> values_;  ///< the input, then the outputs of the layers so far
  Map at_;                   ///< the map that the next primitive reads
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
