// SPDX-License-Identifier: Apache-2.0
// Read first: model_file.h, docs/model-format.md. Every byte of the header is checked here, every
// byte of the payload by its checksum; what a right checksum cannot rule out, by FlatBuffers'
// verifier and ValidateModel. Past 400 lines: the writer and the reader of one schema are read side by side.
#include "deploy/packed/model_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "deploy/base/aligned_buffer.h"
#include "deploy/base/check.h"
#include "deploy/base/checksum.h"
#include "deploy/base/file.h"
#include "deploy/base/mapped_file.h"
#include "deploy/base/regular_file.h"
#include "deploy/ops/operator.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/model_generated.h"

namespace bisparse::packed {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is used in place");

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
template <typename T>
using Vector = flatbuffers::Vector<T>;

// A file of what older programs know is what it was, so that they read it too.
constexpr uint32_t kVersionF32 = 1, kVersionI8 = 2, kVersionGraph = 3, kVersionDilation = 4,
                   kVersionNewest = kVersionDilation;
/// Version 3: a layer reads another than the one before it, an int8 map holds values below 0, or a layer has a table.
/// Version 4: a convolution is dilated.
uint32_t FormatVersion(const Model& model) {
  const auto any = [&](const auto& of_layer) {
    return std::any_of(model.layers.begin(), model.layers.end(), of_layer);
  };
  if (any([](const Layer& layer) { return layer.window.IsDilated(); })) return kVersionDilation;
  const bool is_new =
      any([](const Layer& layer) { return layer.output_zero != 0 || !layer.table.empty(); });
  if (is_new || !Graph(model).IsChain()) return kVersionGraph;
  return model.format == NumberFormat::kI8 ? kVersionI8 : kVersionF32;
}
constexpr size_t kAlignment = 64;  // of weights: a cache line, an AVX-512 register
// FlatBuffers' offsets are signed 32-bit numbers.
constexpr uint64_t kMaxPayloadBytes = FLATBUFFERS_MAX_BUFFER_SIZE - kAlignment;

struct Header {
  std::array<char, 8> magic = {'B', 'I', 'S', 'P', 'A', 'R', 'S', 'E'};
  uint32_t format_version = kVersionF32;
  uint32_t header_bytes = 64;
  uint64_t payload_bytes = 0;
  uint64_t payload_xxhash64 = 0;
  std::array<uint8_t, 32> zero = {};
};
static_assert(sizeof(Header) == 64);

struct Checked {
  uint32_t format_version;
  std::span<const uint8_t> payload;
};

/// The header of a file of `file_bytes`, of which `bytes` are the first (all, or the header's at least).
Header CheckHeader(std::span<const uint8_t> bytes, uint64_t file_bytes,
                   const std::string& location) {
  const auto refuse = [&location](auto format, const auto&... args) {
    throw Error(ErrorKind::kData, location, fmt::format(fmt::runtime(format), args...));
  };
  const Header expected;
  Header header;
  if (bytes.size() >= header.magic.size() &&
      std::memcmp(bytes.data(), expected.magic.data(), expected.magic.size()) != 0) {
    refuse("does not begin with \"BISPARSE\": no model file, or an altered one");
  }
  if (bytes.size() < sizeof header) {
    refuse("has {} bytes, a header alone has {}: truncated", bytes.size(), sizeof header);
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.format_version < kVersionF32 || header.format_version > kVersionNewest) {
    refuse("format version = {}, this program reads {} to {} (hint: {})", header.format_version,
           kVersionF32, kVersionNewest,
           header.format_version > kVersionNewest ? "too new, update bisparse"
                                                  : "export the model again");
  }
  if (header.header_bytes != sizeof header) {
    refuse("header bytes = {}, {} expected: altered", header.header_bytes, sizeof header);
  }
  if (header.zero != expected.zero) refuse("bytes 32 to 63 of the header are not zero: altered");
  const uint64_t payload_bytes = file_bytes - sizeof header;
  if (header.payload_bytes != payload_bytes) {
    refuse("payload bytes = {} in the header, {} in the file: {}", header.payload_bytes,
           payload_bytes,
           payload_bytes < header.payload_bytes ? "truncated"
                                                : "bytes were added, or the header altered");
  }
  if (payload_bytes > kMaxPayloadBytes) {
    refuse("payload bytes = {}, at most {} are allowed", payload_bytes, kMaxPayloadBytes);
  }
  return header;
}

/// The payload of a file whose header and checksum are right.
Checked CheckBytes(std::span<const uint8_t> bytes, const std::string& location) {
  const Header header = CheckHeader(bytes, bytes.size(), location);
  const std::span<const uint8_t> payload = bytes.subspan(sizeof header);
  const uint64_t checksum = XxHash64(payload);
  if (checksum != header.payload_xxhash64) {
    Fail(ErrorKind::kData, location,
         "checksum = {:016x}, the header says {:016x}: altered (hint: copy or export it again)",
         checksum, header.payload_xxhash64);
  }
  return {header.format_version, payload};
}

std::string ToString(const flatbuffers::String* text) { return text ? text->str() : std::string(); }
/// Of a layer or class, cut after the first byte that is too many (ValidateModel allows 256): many
/// offsets to one long string must not become many long strings.
std::string ToName(const flatbuffers::String& name) {
  return std::string(name.c_str(), std::min<size_t>(name.size(), 257));
}
/// Of a layer's inputs, cut likewise after the first that is too many.
template <typename T>
std::vector<T> ToShort(const Vector<T>* values) {
  if (values == nullptr) return {};
  const size_t size = std::min<size_t>(values->size(), kMaxInputs + 1);
  return {values->data(), values->data() + size};
}
Shape ToShape(const schema::Shape& s) { return {s.height(), s.width(), s.channels()}; }
schema::Shape FromShape(const Shape& s) { return {s.height, s.width, s.channels}; }

/// A file's enum as ours (the same order); a value past `last` is from a newer program.
template <typename To, typename From>
To ToEnum(From value, To last, const char* field, const std::string& location) {
  if (static_cast<uint8_t>(value) > static_cast<uint8_t>(last)) {
    Fail(ErrorKind::kData, location, "{} = {} is unknown (hint: too new, update bisparse)", field,
         static_cast<int>(value));
  }
  return static_cast<To>(value);
}

/// The vector in place, empty if it is not there.
template <typename T>
std::span<const T> InPlace(const Vector<T>* vector, const char* field,
                           const std::string& location) {
  if (vector == nullptr || vector->size() == 0) return {};
  if constexpr (!std::is_same_v<T, uint8_t>) {  // owners and shifts are read one at a time
    if (reinterpret_cast<uintptr_t>(vector->Data()) % kAlignment != 0) {
      Fail(ErrorKind::kData, location, "{} does not lie at a multiple of {} bytes", field,
           kAlignment);
    }
  }
  return {reinterpret_cast<const T*>(vector->Data()), vector->size()};
}

Layer ReadLayer(const schema::Layer& stored, const std::string& model_location) {
  Layer layer;
  layer.name = ToName(*stored.name());
  const std::string location = fmt::format("{}: layer '{:.80}'", model_location, layer.name);
  layer.kind = ToEnum(stored.kind(), kLastLayerKind, "kind", location);
  layer.input = ToShape(*stored.input());
  layer.output = ToShape(*stored.output());
  if (const schema::Window* w = stored.window()) {
    layer.window = {w->kernel_h(), w->kernel_w(), w->stride_h(),
                    w->stride_w(), w->pad_h(),    w->pad_w()};
  }
  layer.window.dilation_h = stored.dilation_h();
  layer.window.dilation_w = stored.dilation_w();
  if (const schema::Packing* p = stored.packing()) {
    const RunTaps taps = ToEnum(p->run_taps(), RunTaps::kAll, "run.taps", location);
    layer.packing = {p->set_size(), p->lanes(), {p->run_channels(), taps}};
  }
  if (const schema::KwtaRule* k = stored.kwta()) {
    const KwtaScope scope = ToEnum(k->scope(), KwtaScope::kGlobal, "kwta.scope", location);
    layer.kwta = {k->winners(), scope, k->groups(), k->chunk()};
  }
  layer.owner_nr = InPlace(stored.owner_nr(), "owner_nr", location);
  layer.weight_pnl = InPlace(stored.weight_pnl(), "weight_pnl", location);
  layer.bias_o = InPlace(stored.bias_o(), "bias_o", location);
  layer.weight_i8_pnl = InPlace(stored.weight_i8_pnl(), "weight_i8_pnl", location);
  layer.bias_i32_o = InPlace(stored.bias_i32_o(), "bias_i32_o", location);
  layer.shift_o = InPlace(stored.shift_o(), "shift_o", location);
  layer.scale_o = InPlace(stored.scale_o(), "scale_o", location);
  layer.output_scale = stored.output_scale();
  layer.inputs = ToShort<int32_t>(stored.inputs());
  layer.output_zero = stored.output_zero();
  layer.input_shift = ToShort<uint8_t>(stored.input_shift());
  layer.output_shift = stored.output_shift();
  layer.table = InPlace(stored.table(), "table", location);
  layer.epsilon = stored.epsilon();
  return layer;
}

FrontEnd ReadFrontEnd(const schema::FrontEnd& stored, const std::string& model_location) {
  const std::string location = model_location + ": front_end";
  FrontEnd f;
  f.sample_rate_hz = stored.sample_rate_hz();
  f.clip_samples = stored.clip_samples();
  f.align = ToEnum(stored.align(), ClipAlign::kEnd, "align", location);
  f.window_samples = stored.window_samples();
  f.hop_samples = stored.hop_samples();
  f.fft_samples = stored.fft_samples();
  f.mel_count = stored.mel_count();
  f.frame_count = stored.frame_count();
  f.low_hz = stored.low_hz();
  f.high_hz = stored.high_hz();
  f.log_floor = stored.log_floor();
  f.norm = ToEnum(stored.norm(), FeatureNorm::kClipMeanStd, "norm", location);
  f.offset = stored.offset();
  f.scale = stored.scale();
  return f;
}

DetectionOptions ReadDetection(const schema::Detection& stored) {
  DetectionOptions d;
  d.average_ms = stored.average_ms();
  d.threshold = stored.threshold();
  d.least_ms = stored.least_ms();
  d.refractory_ms = stored.refractory_ms();
  d.gate_db = stored.gate_db();
  if (stored.words() == nullptr) return d;
  for (const schema::WordThreshold* word : *stored.words()) {
    d.words.push_back({ToName(*word->word()), word->threshold()});
  }
  return d;
}

PictureInput ReadPictures(const schema::Pictures& stored, const std::string& model_location) {
  const std::string location = model_location + ": pictures";
  return {.fit = ToEnum(stored.fit(), PictureFit::kStretch, "fit", location),
          .filter = ToEnum(stored.filter(), ResizeFilter::kTriangle, "filter", location),
          .order = ToEnum(stored.order(), ChannelOrder::kBgr, "order", location),
          .mean_c = ToShort(stored.mean()),
          .deviation_c = ToShort(stored.deviation())};
}

/// `bytes` lie at a 64-byte boundary and live as long as `storage`.
Model ParseInPlace(std::span<const uint8_t> bytes, const std::string& location,
                   std::shared_ptr<const void> storage) {
  const auto [format_version, payload] = CheckBytes(bytes, location);
  // Tables: the model, its provenance and front end, and for each of at most 4096 layers three.
  // Without a limit many offsets to one table would cost more time than the file has bytes.
  flatbuffers::Verifier verifier(payload.data(), payload.size(), /*max_depth=*/8,
                                 /*max_tables=*/16384);
  if (!verifier.VerifyBuffer<schema::Model>(nullptr)) {
    Fail(ErrorKind::kData, location, "the payload is not laid out as a model (model.fbs)");
  }
  const schema::Model& stored = *flatbuffers::GetRoot<schema::Model>(payload.data());
  Model model;
  model.storage = std::move(storage);
  model.name = stored.name()->str();
  model.format = ToEnum(stored.number_format(), NumberFormat::kI8, "number_format", location);
  model.input = ToShape(*stored.input());
  model.input_scale = stored.input_scale();
  model.input_zero = stored.input_zero();
  for (const schema::Layer* layer : *stored.layers())
    model.layers.push_back(ReadLayer(*layer, location));
  if (const uint32_t expected = FormatVersion(model); format_version != expected) {
    Fail(ErrorKind::kData, location, "format version = {}, {}{} is version {}: altered",
         format_version, NumberFormatName(model.format),
         expected == kVersionDilation ? " with a dilation"
         : expected == kVersionGraph  ? " with branches, signed maps or tables"
                                      : "",
         expected);
  }
  if (stored.class_names() != nullptr) {
    // In double: shapes are not validated yet, their product may not fit 64 bits.
    const Shape shape = model.layers.empty() ? model.input : model.layers.back().output;
    const double outputs = double(shape.height) * double(shape.width) * double(shape.channels);
    if (double(stored.class_names()->size()) > outputs) {
      Fail(ErrorKind::kData, location, "{} class names for {:.0f} outputs",
           stored.class_names()->size(), outputs);
    }
    for (const flatbuffers::String* name : *stored.class_names()) {
      model.class_names.push_back(ToName(*name));
    }
  }
  if (stored.front_end() != nullptr) model.front_end = ReadFrontEnd(*stored.front_end(), location);
  if (stored.detection() != nullptr) model.detection = ReadDetection(*stored.detection());
  if (stored.pictures() != nullptr) model.pictures = ReadPictures(*stored.pictures(), location);
  const schema::Provenance& p = *stored.provenance();
  model.provenance = {ToString(p.config_text()), ToString(p.version()), ToString(p.created_utc()),
                      p.seed(), p.validation_accuracy()};
  ValidateModel(model, location);
  return model;
}

template <typename T>
Offset<Vector<T>> WriteVector(FlatBufferBuilder& builder, std::span<const T> values) {
  if (values.empty()) return 0;
  if (!std::is_same_v<T, uint8_t>)
    builder.ForceVectorAlignment(values.size(), sizeof(T), kAlignment);
  return builder.CreateVector(values.data(), values.size());
}

/// `index`: of the layer.
Offset<schema::Layer> WriteLayer(FlatBufferBuilder& builder, const Layer& layer, int32_t index) {
  const auto weights = WriteVector(builder, layer.weight_pnl);
  const auto biases = WriteVector(builder, layer.bias_o);
  const auto owners = WriteVector(builder, layer.owner_nr);
  const auto weights_i8 = WriteVector(builder, layer.weight_i8_pnl);
  const auto biases_i32 = WriteVector(builder, layer.bias_i32_o);
  const auto shifts = WriteVector(builder, layer.shift_o);
  const auto scales = WriteVector(builder, layer.scale_o);
  // A layer that reads the one before it is written as it was before there were branches.
  const bool names_inputs = !layer.inputs.empty() && layer.inputs != std::vector{index - 1};
  const auto inputs = WriteVector(
      builder,
      std::span<const int32_t>(layer.inputs).first(names_inputs ? layer.inputs.size() : 0));
  const auto input_shifts = WriteVector(builder, std::span<const uint8_t>(layer.input_shift));
  const auto table = WriteVector(builder, layer.table);
  const auto name = builder.CreateString(layer.name);
  Offset<schema::Packing> packing;
  if (layer.HasWeights()) {
    const Packing& p = layer.packing;
    packing = schema::CreatePacking(builder, p.set_size, p.lanes, p.run.channels,
                                    static_cast<schema::RunTaps>(p.run.taps));
  }
  Offset<schema::KwtaRule> kwta;
  if (layer.kind == LayerKind::kKwta) {
    const Kwta& k = layer.kwta;
    kwta = schema::CreateKwtaRule(builder, k.winners, static_cast<schema::KwtaScope>(k.scope),
                                  k.groups, k.chunk);
  }
  const float epsilon = layer.kind == LayerKind::kLayerNorm ? layer.epsilon : Layer().epsilon;
  const bool has_window = OperatorOf(layer.kind).has_window;
  const Window& w = layer.window;
  const schema::Window window(w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.pad_h, w.pad_w);
  const schema::Shape input = FromShape(layer.input), output = FromShape(layer.output);
  return schema::CreateLayer(builder, static_cast<schema::LayerKind>(layer.kind), name, &input,
                             &output, has_window ? &window : nullptr, packing, kwta, owners,
                             weights, biases, weights_i8, biases_i32, shifts, scales,
                             layer.output_scale, inputs, layer.output_zero, input_shifts,
                             layer.output_shift, table, epsilon, w.dilation_h, w.dilation_w);
}

Offset<schema::FrontEnd> WriteFrontEnd(FlatBufferBuilder& builder, const FrontEnd& f) {
  return schema::CreateFrontEnd(
      builder, f.sample_rate_hz, f.clip_samples, static_cast<schema::ClipAlign>(f.align),
      f.window_samples, f.hop_samples, f.fft_samples, f.mel_count, f.frame_count, f.low_hz,
      f.high_hz, f.log_floor, static_cast<schema::FeatureNorm>(f.norm), f.offset, f.scale);
}

Offset<schema::Detection> WriteDetection(FlatBufferBuilder& builder, const DetectionOptions& d) {
  std::vector<Offset<schema::WordThreshold>> words;
  for (const WordThreshold& word : d.words) {
    words.push_back(
        schema::CreateWordThreshold(builder, builder.CreateString(word.word), word.threshold));
  }
  return schema::CreateDetection(builder, d.average_ms, d.threshold, builder.CreateVector(words),
                                 d.least_ms, d.refractory_ms, d.gate_db);
}

Offset<schema::Pictures> WritePictures(FlatBufferBuilder& builder, const PictureInput& p) {
  const auto mean = builder.CreateVector(p.mean_c);
  const auto deviation = builder.CreateVector(p.deviation_c);
  return schema::CreatePictures(builder, static_cast<schema::PictureFit>(p.fit),
                                static_cast<schema::ResizeFilter>(p.filter),
                                static_cast<schema::ChannelOrder>(p.order), mean, deviation);
}

/// Enough for what is not weights, owners or configuration text: names, tables, alignment.
uint64_t EstimateBytes(const Model& model) {
  uint64_t bytes = 4096 + model.provenance.config_text.size() + model.class_names.size() * 300;
  for (const Layer& layer : model.layers) {
    bytes += 1024 + layer.owner_nr.size() + layer.weight_pnl.size_bytes() +
             layer.bias_o.size_bytes() + layer.weight_i8_pnl.size_bytes() +
             layer.bias_i32_o.size_bytes() + layer.shift_o.size() + layer.scale_o.size_bytes() +
             layer.table.size();
  }
  return bytes;
}

}  // namespace

std::vector<uint8_t> SerialiseModel(const Model& model) {
  ValidateModel(model, fmt::format("model '{}'", model.name));
  if (EstimateBytes(model) > kMaxPayloadBytes) {
    Fail(ErrorKind::kData, fmt::format("model '{}'", model.name),
         "needs about {} bytes, a file holds at most {}", EstimateBytes(model), kMaxPayloadBytes);
  }
  FlatBufferBuilder builder(EstimateBytes(model));
  std::vector<Offset<schema::Layer>> layers;
  for (const Layer& layer : model.layers) {
    layers.push_back(WriteLayer(builder, layer, static_cast<int32_t>(layers.size())));
  }
  const auto layer_vector = builder.CreateVector(layers);
  Offset<Vector<Offset<flatbuffers::String>>> class_names;
  if (!model.class_names.empty()) class_names = builder.CreateVectorOfStrings(model.class_names);
  Offset<schema::FrontEnd> front_end;
  if (model.front_end) front_end = WriteFrontEnd(builder, *model.front_end);
  Offset<schema::Detection> detection;
  if (model.detection) detection = WriteDetection(builder, *model.detection);
  Offset<schema::Pictures> pictures;
  if (model.pictures) pictures = WritePictures(builder, *model.pictures);
  const Provenance& p = model.provenance;
  const auto provenance = schema::CreateProvenance(
      builder, builder.CreateString(p.config_text), builder.CreateString(p.version),
      builder.CreateString(p.created_utc), p.seed, p.validation_accuracy);
  const schema::Shape input = FromShape(model.input);
  const auto name = builder.CreateString(model.name);
  builder.Finish(schema::CreateModel(builder, name, &input, layer_vector, class_names, front_end,
                                     provenance, static_cast<schema::NumberFormat>(model.format),
                                     model.input_scale, model.input_zero, detection, pictures));

  const std::span<const uint8_t> payload(builder.GetBufferPointer(), builder.GetSize());
  Header header;
  header.format_version = FormatVersion(model);
  header.payload_bytes = payload.size();
  header.payload_xxhash64 = XxHash64(payload);
  std::vector<uint8_t> bytes(sizeof header + payload.size());
  std::memcpy(bytes.data(), &header, sizeof header);
  std::copy(payload.begin(), payload.end(), bytes.begin() + sizeof header);
  return bytes;
}

void WriteModel(const Model& model, const std::string& path) {
  const std::vector<uint8_t> bytes = SerialiseModel(model);
  WriteFileAtomically(path, std::as_bytes(std::span(bytes)));
}

Model ReadModel(const std::string& path, ModelStorage storage) {
  if (storage == ModelStorage::kInPlace) {
    auto file = std::make_shared<const MappedFile>(path);
    const std::span<const uint8_t> bytes = file->bytes();
    return ParseInPlace(bytes, path, std::move(file));
  }
  const RegularFile file(path);
  // Before the memory is asked for: a file that is no model may be large.
  std::array<uint8_t, sizeof(Header)> head;
  const std::span<uint8_t> first(head.data(), std::min(head.size(), file.size()));
  file.Read(first);
  CheckHeader(first, file.size(), path);
  auto copy = std::make_shared<AlignedBuffer<uint8_t>>(file.size());
  file.Read(copy->span());
  const std::span<const uint8_t> copied = copy->span();
  return ParseInPlace(copied, path, std::move(copy));
}

Model ParseModel(std::span<const uint8_t> bytes, const std::string& location,
                 ModelStorage storage) {
  if (storage == ModelStorage::kInPlace) {
    if (reinterpret_cast<uintptr_t>(bytes.data()) % kAlignment != 0) {
      Fail(ErrorKind::kConfiguration, location,
           "does not begin at a multiple of {} bytes, as in_place needs", kAlignment);
    }
    return ParseInPlace(bytes, location, nullptr);
  }
  auto copy = std::make_shared<AlignedBuffer<uint8_t>>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy->begin());
  const std::span<const uint8_t> copied = copy->span();
  return ParseInPlace(copied, location, std::move(copy));
}

}  // namespace bisparse::packed
