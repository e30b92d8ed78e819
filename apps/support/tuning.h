// SPDX-License-Identifier: Apache-2.0
// Measures each layer's ways to be computed, in its place in the network. What was found is kept in a file that is good
// for that model on that kind of machine only.
#ifndef BISPARSE_APPS_SUPPORT_TUNING_H_
#define BISPARSE_APPS_SUPPORT_TUNING_H_

#include <string>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/packed/model.h"

namespace bisparse::apps {

/// For each convolution and linear layer the fastest of sparse_sparse, sparse_dense and dense. What is timed is the layer,
/// the one with weights before it, what lies between and what comes after, since a neighbour's work depends on the way.
/// Ways are timed in turn: the best tenth of many calls of one sample. One thread; about 0.1 s a layer.
std::vector<LayerChoice> Tune(const packed::Model& model);

/// --tune and --tune-file.
struct TuningFlags {
  bool tune = false;
  std::string file;

  std::string output() const { return tune ? file : ""; }
  std::string input() const { return tune ? "" : file; }
};
/// Measures with --tune, and writes the file if one is named; else reads it; else none. Throws Error (kConfiguration)
/// where the file is of another model, instruction set or CPU, (kData) where it is no such file.
std::vector<LayerChoice> TunedChoices(const packed::Model& model, const TuningFlags& flags);

}  // namespace bisparse::apps

#endif  // BISPARSE_APPS_SUPPORT_TUNING_H_
