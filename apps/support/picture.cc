// SPDX-License-Identifier: Apache-2.0
// Read first: picture.h. Tested in: tests/programs/programs_test.cc.
#include "apps/support/picture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "deploy/base/check.h"
#include "deploy/base/show.h"

namespace bisparse::apps {
namespace {

constexpr int32_t kMostSets = 4, kPanelsPerRow = 9;
constexpr double kPanelWidth = 150, kGap = 14, kText = 16;

/// Evenly spaced hues, every other one darker: hue, saturation and lightness to #rrggbb.
std::string Colour(int32_t s, int32_t count) {
  const double hue = 6.0 * s / count, light = s % 2 == 0 ? 0.62 : 0.45;
  const double chroma = (1.0 - std::abs(2.0 * light - 1.0)) * 0.75;
  int channel[3];
  for (int c = 0; c < 3; ++c) {  // red, green and blue peak at hues 0, 2 and 4 of 6
    const double distance = std::abs(std::fmod(hue - 2.0 * c + 9.0, 6.0) - 3.0);
    const double part = std::clamp(2.0 - distance, 0.0, 1.0);
    channel[c] = static_cast<int>(std::lround(255.0 * (light + chroma * (part - 0.5))));
  }
  return fmt::format("#{:02x}{:02x}{:02x}", channel[0], channel[1], channel[2]);
}

/// Where positions lie in a panel.
class Grid {
 public:
  explicit Grid(const packed::Layout& layout) : layout_(layout) {
    const packed::KernelShape& k = layout.shape;
    taps_ = int64_t{k.kernel_h} * k.kernel_w;
    if (taps_ == 1) {
      columns_ = std::min<int64_t>(k.channels, 64);
    } else {
      columns_ = k.channels == 1 ? k.kernel_w : k.channels;
    }
    rows_ = (layout.positions + columns_ - 1) / columns_;
  }
  int64_t columns() const { return columns_; }
  int64_t rows() const { return rows_; }
  /// The position at a row and column, −1 past the last.
  int64_t At(int64_t row, int64_t column) const {
    const bool by_tap = taps_ > 1 && layout_.shape.channels > 1;
    const int64_t p = by_tap ? column * taps_ + row : row * columns_ + column;
    return p < layout_.positions ? p : -1;
  }

 private:
  const packed::Layout& layout_;
  int64_t taps_ = 1, columns_ = 1, rows_ = 1;
};

/// Text as XML 1.0 takes it, which has no control characters at all.
std::string XmlText(const std::string& text) {
  std::string xml;
  for (const char c : Shown(text)) {
    xml += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  }
  return xml;
}

class Drawing {
 public:
  explicit Drawing(const packed::Layer& layer)
      : layer_(layer), layout_(layer.kernel(), layer.packing), grid_(layout_) {
    cell_ = std::clamp(kPanelWidth / static_cast<double>(grid_.columns()), 1.5, 18.0);
    width_ = cell_ * static_cast<double>(grid_.columns());
    height_ = cell_ * static_cast<double>(grid_.rows());
  }

  std::string Draw() {
    const packed::Packing& packing = layer_.packing;
    const int32_t sets = std::min(layout_.sets, kMostSets);
    const int32_t panels = packing.set_size + 1;
    const int32_t lines = (panels + kPanelsPerRow - 1) / kPanelsPerRow;
    double y = kGap + kText;
    body_ = Text(kGap, y,
                 fmt::format("{}: {} set{} of {} kernels of {} lane{}{}; each position belongs to "
                             "one kernel of its set",
                             layer_.name, layout_.sets, layout_.sets > 1 ? "s" : "",
                             packing.set_size, packing.lanes, packing.lanes > 1 ? "s" : "",
                             sets < layout_.sets ? fmt::format(", {} are shown", sets) : ""));
    for (int32_t n = 0; n < sets; ++n) {
      for (int32_t panel = 0; panel < panels; ++panel) {
        const double x = kGap + (panel % kPanelsPerRow) * (width_ + kGap);
        const double top = y + kGap + (panel / kPanelsPerRow) * (height_ + kText + kGap);
        const bool packed = panel == packing.set_size;
        body_ += Text(
            x, top + kText - 4,
            packed ? fmt::format("set {} packed", n) : fmt::format("set {} kernel {}", n, panel));
        Panel(n, packed ? -1 : panel, x, top + kText);
      }
      y += lines * (height_ + kText + kGap) + kGap;
    }
    const double right = std::max(kGap + std::min(panels, kPanelsPerRow) * (width_ + kGap), 640.0);
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
        "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"11\">\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{2}</svg>\n",
        right, y + kGap, body_);
  }

 private:
  static std::string Text(double x, double y, const std::string& text) {
    return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x, y, XmlText(text));
  }

  /// Kernel s of set n, or all of them (−1). Neighbours of one colour in a row are one rectangle.
  void Panel(int32_t n, int32_t s, double x, double y) {
    body_ += fmt::format(
        "<g transform=\"translate({:.1f} {:.1f}) scale({:.4f})\" "
        "shape-rendering=\"crispEdges\">\n",
        x, y, cell_);
    for (int64_t row = 0; row < grid_.rows(); ++row) {
      for (int64_t column = 0; column < grid_.columns();) {
        const int32_t owner = OwnerAt(n, row, column);
        int64_t end = column + 1;
        while (end < grid_.columns() && OwnerAt(n, row, end) == owner) ++end;
        if (owner >= 0 && (s < 0 || owner == s)) {
          body_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"1\" fill=\"{}\"/>\n",
                               column, row, end - column, Colour(owner, layer_.packing.set_size));
        }
        column = end;
      }
    }
    body_ += fmt::format(
        "</g>\n<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"none\" "
        "stroke=\"#888\" stroke-width=\"0.5\"/>\n",
        x, y, width_, height_);
  }

  int32_t OwnerAt(int32_t n, int64_t row, int64_t column) const {
    const int64_t p = grid_.At(row, column);
    return p < 0 ? -1 : layout_.Owner(layer_.owner_nr, n, p);
  }

  const packed::Layer& layer_;
  const packed::Layout layout_;
  const Grid grid_;
  double cell_ = 1, width_ = 0, height_ = 0;
  std::string body_;
};

}  // namespace

const packed::Layer& FindPackedLayer(const packed::Model& model, const std::string& name) {
  std::vector<std::string> packed_names;
  for (const packed::Layer& layer : model.layers) {
    if (!layer.HasWeights() || layer.packing.set_size == 1) continue;
    if (name.empty() || layer.name == name) return layer;
    packed_names.push_back(layer.name);
  }
  if (packed_names.empty()) {
    Fail(ErrorKind::kConfiguration, model.name, "no layer is packed: there are no sets to draw");
  }
  Fail(ErrorKind::kConfiguration, model.name, "no packed layer is called '{}', only: {}", name,
       fmt::join(packed_names, " "));
}

std::string PictureOfSets(const packed::Layer& layer) { return Drawing(layer).Draw(); }

}  // namespace bisparse::apps
