// SPDX-License-Identifier: Apache-2.0
// What a model sees in a picture. Tested in: tests/programs.
#ifndef BISPARSE_APPS_SUPPORT_LOOKING_H_
#define BISPARSE_APPS_SUPPORT_LOOKING_H_

#include <string>
#include <utility>
#include <vector>

#include "bisparse/engine.h"

namespace bisparse::apps {

struct Seen {
  /// Name (its number where the model has no names) and softmax; best first, ties to the lowest index.
  std::vector<std::pair<std::string, double>> classes;
  double features_us = 0, network_us = 0;
};

/// engine.picture_channels() is not 0.
Seen Look(const Engine& engine, const Pixels& picture);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_LOOKING_H_
