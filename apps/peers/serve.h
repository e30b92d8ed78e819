// SPDX-License-Identifier: Apache-2.0
// The other end of peer.h, for peers in C++:
//   int main(int argc, char** argv) { return ServePeer(argc, argv, MakeMyNetwork); }
// Read first: peer.h. Tested in: peers_test.cc.
#ifndef BISPARSE_APPS_PEERS_SERVE_H_
#define BISPARSE_APPS_PEERS_SERVE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apps/peers/network.h"

namespace bisparse::peers {

/// What the program was started with: VARIANT MODEL.bisparse INPUTS.f32 THREADS BATCH.
struct ServeSetup {
  std::string variant;  ///< "f32" or "int8"
  packed::Model model;
  DenseNetwork network;     ///< of `model`
  std::vector<float> x_bi;  ///< sample inputs, channels last
  int threads = 1;
  int64_t batch = 1;
};

/// One batch, channels first → outputs, channels last.
using RunBatch = std::function<void(const float* x_bi, float* y_bo)>;

int ServePeer(int argc, char** argv, const std::function<RunBatch(const ServeSetup&)>& make);

}  // namespace bisparse::peers

#endif  // BISPARSE_APPS_PEERS_SERVE_H_
