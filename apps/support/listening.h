// SPDX-License-Identifier: Apache-2.0
// What a model hears in a recording of any length. A recording of up to a clip is heard as in
// training: padded, or cut by less than a hop. Through a longer one a window of a clip's length
// slides by an eighth of it: each word counts where it is heard best. `_silence_` and `_unknown_`
// mean that no word is there; they count in the window in which a word is likeliest.
// Tested in: tests/programs.
#ifndef BISPARSE_APPS_SUPPORT_LISTENING_H_
#define BISPARSE_APPS_SUPPORT_LISTENING_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bisparse/engine.h"

namespace bisparse::apps {

struct Heard {
  std::string name;  ///< of the class; its number where the model has no names
  double score = 0;  ///< softmax in its window
  int64_t at = 0;    ///< first sample of its window; 0 with one window
};

struct Listening {
  std::vector<Heard> classes;               ///< best first, ties to the lowest index
  int64_t windows = 1;                      ///< 1: the recording is no longer than a clip
  double front_end_us = 0, network_us = 0;  ///< of one window
};

/// exp(logit) of each class over their sum.
void Softmax(std::span<const float> logits, std::vector<double>& scores);

/// `samples` at engine.sample_rate_hz(), which is not 0.
Listening Listen(const Engine& engine, std::span<const float> samples);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_LISTENING_H_
