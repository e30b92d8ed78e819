// SPDX-License-Identifier: Apache-2.0
#include "tools/cost_networks.h"

#include <fmt/format.h>

#include <algorithm>

namespace {

/// k-WTA (none for groups 0) → conv2d → max_pool or relu → k-WTA → pooled mean → classes.
struct ConvCase {
  int side, channels, outputs, kernel, stride, padding;
  int set_size, lanes, run_channels;
  const char* taps;
  int winners, groups;  ///< of a position, before the layer
  bool pool;
};

constexpr ConvCase kConvs[] = {
    // One channel.
    {32, 1, 64, 5, 1, 0, 3, 1, 1, "one", 0, 0, true},
    {32, 1, 64, 5, 1, 0, 3, 16, 1, "one", 0, 0, true},
    {32, 1, 64, 5, 1, 0, 4, 4, 1, "one", 0, 0, true},
    {32, 1, 32, 3, 1, 1, 2, 1, 1, "one", 0, 0, true},
    {28, 1, 128, 5, 1, 2, 5, 16, 1, "one", 0, 0, true},
    {28, 1, 32, 3, 2, 1, 2, 8, 1, "one", 0, 0, false},
    {40, 1, 64, 7, 1, 0, 7, 1, 1, "one", 0, 0, true},
    {32, 1, 64, 5, 2, 0, 2, 16, 1, "one", 0, 0, false},
    {32, 1, 128, 5, 2, 0, 4, 16, 1, "one", 0, 0, false},
    {32, 1, 64, 5, 2, 0, 3, 1, 1, "one", 0, 0, false},
    {32, 1, 64, 3, 1, 0, 3, 16, 1, "one", 0, 0, false},
    {32, 1, 64, 5, 1, 0, 2, 16, 1, "one", 0, 0, true},
    // Aligned rows, quads.
    {14, 64, 64, 5, 1, 0, 4, 16, 32, "row", 8, 8, true},
    {14, 64, 64, 5, 1, 0, 4, 16, 32, "row", 8, 8, false},
    {14, 64, 128, 3, 1, 1, 4, 16, 16, "row", 16, 16, false},
    {28, 128, 128, 3, 1, 1, 8, 16, 32, "row", 16, 16, false},
    {56, 64, 64, 3, 1, 1, 4, 16, 32, "row", 8, 8, false},
    {7, 512, 512, 3, 1, 1, 8, 16, 32, "row", 64, 64, false},
    {20, 32, 64, 3, 1, 0, 2, 16, 16, "all", 4, 4, true},
    {14, 256, 1024, 1, 1, 0, 8, 16, 32, "row", 32, 32, false},
    {28, 96, 96, 1, 1, 0, 3, 16, 32, "row", 12, 12, false},
    {10, 32, 48, 5, 1, 2, 2, 8, 8, "row", 4, 4, false},
    {16, 64, 64, 3, 1, 1, 4, 4, 16, "row", 8, 4, false},
    // By sets.
    {14, 256, 512, 1, 1, 0, 8, 16, 32, "row", 32, 32, false},
    {7, 512, 2048, 1, 1, 0, 8, 16, 32, "row", 64, 64, false},
    {28, 128, 512, 1, 1, 0, 4, 16, 32, "row", 16, 16, false},
    {14, 512, 192, 1, 1, 0, 4, 16, 32, "row", 64, 64, false},
    // Aligned with single groups, or of 8 lanes: gathered.
    {56, 64, 64, 3, 1, 1, 8, 8, 8, "row", 8, 8, false},
    {28, 64, 64, 3, 1, 1, 4, 8, 16, "row", 8, 8, false},
    {28, 128, 128, 3, 1, 1, 8, 16, 8, "row", 16, 16, false},
    {14, 64, 64, 5, 1, 0, 4, 16, 8, "row", 8, 8, true},
    {14, 64, 64, 5, 1, 0, 8, 8, 8, "row", 8, 8, true},
    {14, 256, 256, 1, 1, 0, 8, 8, 8, "row", 32, 32, false},
    {20, 32, 64, 3, 1, 0, 2, 16, 8, "all", 4, 4, true},
    {7, 512, 512, 3, 1, 1, 8, 16, 8, "row", 64, 64, false},
    // Aligned taps: other widths, strides.
    {28, 64, 64, 3, 2, 1, 4, 16, 16, "one", 8, 8, false},
    {14, 64, 64, 2, 1, 0, 4, 16, 8, "one", 8, 8, true},
    {12, 32, 64, 4, 1, 0, 2, 8, 8, "one", 4, 4, false},
    // Not aligned.
    {14, 64, 64, 5, 1, 0, 8, 1, 1, "one", 6, 1, true},
    {14, 64, 64, 5, 1, 0, 4, 16, 1, "one", 8, 1, true},
    {20, 32, 32, 3, 1, 1, 4, 4, 1, "one", 4, 1, false},
    {28, 128, 128, 3, 1, 1, 8, 16, 1, "one", 16, 1, false},
    {14, 256, 256, 1, 1, 0, 4, 8, 1, "one", 32, 2, false},
    {10, 48, 96, 3, 1, 0, 3, 2, 1, "one", 6, 3, false},
    {8, 16, 64, 3, 1, 0, 4, 16, 1, "one", 4, 1, false},
    {8, 16, 32, 3, 1, 0, 4, 1, 1, "one", 4, 1, false},
    {6, 64, 64, 3, 1, 1, 8, 1, 1, "one", 8, 1, false},
    {28, 16, 16, 3, 1, 1, 4, 1, 1, "one", 2, 1, false},
    {20, 64, 96, 3, 2, 1, 6, 1, 1, "one", 8, 1, false},
    {28, 128, 64, 1, 1, 0, 16, 1, 1, "one", 16, 1, false},
    // Many winners.
    {14, 64, 64, 3, 1, 1, 2, 16, 32, "row", 32, 32, false},
    {14, 64, 64, 3, 1, 1, 1, 16, 1, "one", 8, 8, false},
    {14, 64, 64, 3, 1, 1, 1, 16, 1, "one", 32, 4, false},
};

/// k-WTA of the input (none for winners 0) → linear → k-WTA → linear.
struct LinearCase {
  int inputs, outputs, set_size, lanes, winners;
};

constexpr LinearCase kLinears[] = {
    {256, 256, 4, 16, 32},     {784, 1024, 8, 16, 98},     {1600, 1500, 24, 16, 200},
    {1024, 1024, 16, 16, 64},  {1024, 1024, 1, 16, 128},   {4096, 4096, 16, 16, 205},
    {2048, 2048, 32, 8, 256},  {1024, 512, 8, 1, 102},     {1600, 1500, 25, 1, 200},
    {512, 2048, 4, 4, 64},     {4096, 1000, 8, 16, 410},   {128, 64, 2, 16, 16},
    {2048, 1024, 4, 16, 0},    {1600, 1500, 24, 16, 0},    {300, 100, 4, 2, 30},
    {4096, 4096, 8, 16, 820},  {1500, 12, 1, 16, 150},     {2000, 40, 1, 16, 250},
    {8192, 4096, 16, 16, 410}, {2048, 2048, 16, 16, 1024},
};

/// Straight from the input: kinds of k-WTA, pools, norms, depthwise.
constexpr const char* kOthers[] = {
    "[32, 32, 64]|- kwta: {winners: 8, groups: 8}",
    "[32, 32, 64]|- kwta: {winners: 16, groups: 16}",
    "[14, 14, 64]|- kwta: {winners: 6}",
    "[14, 14, 64]|- kwta: {winners: 8, groups: 2}",
    "[28, 28, 128]|- kwta: {winners: 12}",
    "[7, 7, 512]|- kwta: {winners: 64}",
    "[14, 14, 64]|- kwta: {winners: 1568, scope: global}",
    "[1, 1, 4096]|- kwta: {winners: 205, scope: global}",
    "[1, 1, 512]|- kwta: {winners: 64, scope: global}",
    "[1, 1, 16384]|- kwta: {winners: 1000, scope: global}",
    "[14, 14, 64]|- kwta: {winners: 2, chunk: 4}",
    "[14, 14, 64]|- kwta: {winners: 4, chunk: 2, groups: 2}",
    "[28, 28, 32]|- kwta: {winners: 8, groups: 8}",
    "[28, 28, 96]|- kwta: {winners: 6, groups: 6}",
    "[10, 10, 64]|- kwta: {winners: 64, groups: 4, scope: global}",
    "[28, 28, 64]|- kwta: {winners: 8, groups: 8}\n- max_pool: {kernel: 2}",
    "[28, 28, 128]|- kwta: {winners: 16, groups: 16}\n- max_pool: {kernel: 3}",
    "[56, 56, 64]|- kwta: {winners: 8, groups: 8}\n- max_pool: {kernel: 2}",
    "[14, 14, 48]|- kwta: {winners: 6, groups: 6}\n- max_pool: {kernel: 2}",
    "[14, 14, 256]|- batch_norm\n- relu",
    "[32, 32, 64]|- batch_norm\n- relu",
    "[8, 8, 64]|- batch_norm\n- relu",
    "[10, 10, 16]|- batch_norm\n- relu",
    "[14, 14, 256]|- layer_norm",
    "[32, 32, 64]|- layer_norm",
    "[28, 28, 17]|- layer_norm",
    "[1, 1, 4096]|- layer_norm",
    "[14, 14, 256]|- depthwise_conv2d: {kernel: 3, padding: 1}\n- relu",
    "[28, 28, 64]|- depthwise_conv2d: {kernel: 3, padding: 1}\n- relu",
    "[56, 56, 32]|- depthwise_conv2d: {kernel: 3, padding: 1, stride: 2}\n- relu",
    "[16, 8, 64]|- depthwise_conv2d: {kernel: 5, padding: 2}\n- relu",
};

std::string Head(int height, int width, int channels) {
  return fmt::format(
      "data: {{type: npy, train_x: x.npy, train_y: y.npy, input: [{}, {}, {}], class_names: ['0', "
      "'1']}}\n"
      "network:\n",
      height, width, channels);
}

std::string ConvText(const ConvCase& c) {
  std::string text = Head(c.side, c.side, c.channels);
  if (c.groups > 0)
    text += fmt::format("  - kwta: {{winners: {}, groups: {}}}\n", c.winners, c.groups);
  text += fmt::format(
      "  - conv2d: {{channels: {}, kernel: {}, stride: {}, padding: {}, packing: {{set_size: {}, "
      "lanes: {}, "
      "run: {{channels: {}, taps: {}}}}}}}\n",
      c.outputs, c.kernel, c.stride, c.padding, c.set_size, c.lanes, c.run_channels, c.taps);
  if (c.pool) text += "  - max_pool: {kernel: 2}\n";
  const int groups = c.outputs / 8;
  text += fmt::format("  - kwta: {{winners: {}, groups: {}}}\n", groups, groups);
  return text + "  - avg_pool: {kernel: 0}\n  - flatten\n  - linear: {units: classes}\n";
}

std::string LinearText(const LinearCase& c) {
  std::string text = Head(1, 1, c.inputs);
  if (c.winners > 0) text += fmt::format("  - kwta: {{winners: {}, scope: global}}\n", c.winners);
  const std::string packing =
      c.set_size == 1 ? ""
                      : fmt::format(", packing: {{set_size: {}, lanes: {}}}", c.set_size, c.lanes);
  text += fmt::format("  - linear: {{units: {}{}}}\n", c.outputs, packing);
  return text +
         fmt::format("  - kwta: {{winners: {}, scope: global}}\n  - linear: {{units: classes}}\n",
                     (c.outputs + 7) / 8);
}

std::string OtherText(const std::string& other) {
  const size_t bar = other.find('|');
  std::string layers = other.substr(bar + 1);
  for (size_t at = 0; (at = layers.find("\n- ", at)) != std::string::npos; at += 5) {
    layers.replace(at, 3, "\n  - ");
  }
  return fmt::format(
      "data: {{type: npy, train_x: x.npy, train_y: y.npy, input: {}, class_names: ['0', "
      "'1']}}\nnetwork:\n  {}\n"
      "  - avg_pool: {{kernel: 0}}\n  - flatten\n  - linear: {{units: classes}}\n",
      other.substr(0, bar), layers);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> CostNetworks() {
  std::vector<std::pair<std::string, std::string>> networks;
  for (const ConvCase& c : kConvs) {
    networks.emplace_back(fmt::format("{0}x{0}x{1}-{2}k{3} S{4} L{5}", c.side, c.channels,
                                      c.outputs, c.kernel, c.set_size, c.lanes),
                          ConvText(c));
  }
  for (const LinearCase& c : kLinears) {
    networks.emplace_back(
        fmt::format("{}-{} S{} L{} k{}", c.inputs, c.outputs, c.set_size, c.lanes, c.winners),
        LinearText(c));
  }
  for (const char* other : kOthers) {
    std::string name = other;
    std::replace(name.begin(), name.end(), '\n', ' ');
    networks.emplace_back(name, OtherText(other));
  }
  return networks;
}
