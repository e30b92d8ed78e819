// SPDX-License-Identifier: Apache-2.0
// Tables of a model's layers and provenance.
#include "apps/support/inspection.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "deploy/base/show.h"
#include "deploy/packed/graph.h"
#include "deploy/packed/pack.h"

namespace bisparse::apps {
namespace {

const char* NormName(FeatureNorm norm) {
  switch (norm) {
    case FeatureNorm::kNone:
      return "none";
    case FeatureNorm::kBandMean:
      return "mean of each band";
    case FeatureNorm::kClipMean:
      return "mean of the clip";
    case FeatureNorm::kClipMeanStd:
      return "mean and deviation of the clip";
  }
  return "?";
}

}  // namespace

std::string ShapeText(const Shape& shape) {
  return fmt::format("{}x{}x{}", shape.height, shape.width, shape.channels);
}

std::string RunText(const packed::Packing& packing) {
  const char* taps = packing.run.taps == packed::RunTaps::kOne   ? "one"
                     : packing.run.taps == packed::RunTaps::kRow ? "row"
                                                                 : "all";
  return fmt::format("{} ch, {}", packing.run.channels, taps);
}

std::string KwtaText(const packed::Layer& layer) {
  const packed::Kwta& kwta = layer.kwta;
  const bool local = kwta.scope == packed::KwtaScope::kLocal;
  const int64_t units = (local ? layer.input.channels : layer.input.elements()) / kwta.chunk;
  return fmt::format("{} of {} {}{}{}", kwta.winners, units, local ? "a position" : "a map",
                     kwta.groups > 1 ? fmt::format(", {} groups", kwta.groups) : "",
                     kwta.chunk > 1 ? fmt::format(", chunks of {}", kwta.chunk) : "");
}

std::string InputNames(const packed::Model& model, std::span<const int32_t> values) {
  std::string names;
  for (const int32_t value : values) {
    names += names.empty() ? "" : ", ";
    names += value < 0 ? "input" : Shown(model.layers[static_cast<size_t>(value)].name);
  }
  return names;
}

std::string FormatLayers(const packed::Model& model) {
  std::string text = fmt::format(
      "{:<10}{:<9}{:<11}{:>5}{:>4}{:>4} {:<11}{:>10}{:>10}{:>9}{:>10}  {}\n", "layer", "kind",
      "output", "N", "S", "L", "run", "weights", "non-zero", "density", "bytes", "k-WTA");
  int64_t weights = 0, nonzeros = 0, bytes = 0;
  const packed::Graph graph(model);
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const packed::Layer& layer = model.layers[i];
    text += fmt::format("{:<9} {:<8} {:<11}", Shown(layer.name), packed::LayerKindName(layer.kind),
                        ShapeText(layer.output));
    if (layer.HasWeights()) {
      const packed::Layout layout(layer.kernel(), layer.packing);
      const int64_t layer_weights = layer.kernel().weights();
      const int64_t layer_nonzeros = packed::CountOwned(layout, layer.owner_nr);
      const int64_t layer_bytes = static_cast<int64_t>(
          layer.weight_pnl.size_bytes() + layer.owner_nr.size_bytes() + layer.bias_o.size_bytes() +
          layer.weight_i8_pnl.size_bytes() + layer.bias_i32_o.size_bytes() +
          layer.shift_o.size_bytes() + layer.scale_o.size_bytes());
      const bool sparse = layer.packing.set_size > 1;
      text += fmt::format(
          "{:>5}{:>4}{:>4} {:<11}{:>10}{:>10}{:>8.2f}%{:>10}\n",
          sparse ? fmt::format("{}", layout.sets) : "-", layer.packing.set_size,
          sparse ? fmt::format("{}", layer.packing.lanes) : "-",
          sparse ? RunText(layer.packing) : "dense", layer_weights, layer_nonzeros,
          100.0 * static_cast<double>(layer_nonzeros) / static_cast<double>(layer_weights),
          layer_bytes);
      weights += layer_weights;
      nonzeros += layer_nonzeros;
      bytes += layer_bytes;
    } else if (layer.kind == packed::LayerKind::kKwta) {
      text += fmt::format("{:>64}  {}\n", "", KwtaText(layer));
    } else {
      text += '\n';
    }
    const auto inputs = graph.inputs(static_cast<int64_t>(i));
    if (inputs.size() == 1 && inputs[0] == static_cast<int32_t>(i) - 1) continue;
    text.pop_back();
    text += "  reads " + InputNames(model, inputs) + "\n";
  }
  text += fmt::format(
      "{:<55}{:>10}{:>10}{:>8.2f}%{:>10}\n", "total", weights, nonzeros,
      weights == 0 ? 0.0 : 100.0 * static_cast<double>(nonzeros) / static_cast<double>(weights),
      bytes);
  return text;
}

std::string FormatSummary(const packed::Model& model) {
  std::string text = fmt::format(
      "name        {}\nnumbers     {}\ninput       {}\nclasses     {} {}\n", Shown(model.name),
      packed::NumberFormatName(model.format), ShapeText(model.input), model.class_names.size(),
      Shown(fmt::format("{}", fmt::join(model.class_names, " "))));
  if (model.front_end) {
    const FrontEnd& fe = *model.front_end;
    text += fmt::format(
        "front end   {} Hz, {} samples a clip, window {}, hop {}, FFT {}, {} mels {:.0f}-{:.0f} "
        "Hz, "
        "{} frames, norm: {}\n",
        fe.sample_rate_hz, fe.clip_samples, fe.window_samples, fe.hop_samples, fe.fft_samples,
        fe.mel_count, fe.low_hz, fe.high_hz, fe.frame_count, NormName(fe.norm));
  } else if (model.pictures) {
    const PictureInput& pictures = *model.pictures;
    text += fmt::format("pictures    {}, {}, triangle filter, mean {:.4g}, deviation {:.4g}\n",
                        model.input.channels == 1              ? "grey"
                        : pictures.order == ChannelOrder::kRgb ? "red green blue"
                                                               : "blue green red",
                        pictures.fit == PictureFit::kCrop ? "cropped to the input's shape"
                                                          : "stretched to the input's shape",
                        fmt::join(pictures.mean_c, " "), fmt::join(pictures.deviation_c, " "));
  } else {
    text += "front end   none (features in)\n";
  }
  const packed::Provenance& from = model.provenance;
  text += fmt::format("made        {} by bisparse {}, seed {}, validation {}\n",
                      from.created_utc.empty() ? "at an unknown time" : Shown(from.created_utc),
                      from.version.empty() ? "?" : Shown(from.version), from.seed,
                      from.validation_accuracy < 0
                          ? "not known"
                          : fmt::format("{:.2f} %", 100.0 * from.validation_accuracy));
  return text;
}

}  // namespace bisparse::apps
