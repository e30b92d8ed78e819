// SPDX-License-Identifier: Apache-2.0
// Another engine beside ours in the benchmark. A peer is a program of its own, so that its threads,
// allocator and libraries stay away from ours: it gets a network and inputs in files, then answers
// one line of JSON for each line:
//
//   (start)             {"values": []} once the network is ready
//   run CALL            {"values": [outputs of batch number CALL, back to back]}
//   time MICROSECONDS   {"values": [µs of each call]}, calls repeated for that long
//   anything that fails {"error": "why"}, with "missing": true where a library is not installed
//
// Batch number CALL starts at sample CALL % (samples in the file − batch + 1).
// Read first: README.md. Tested in: peers_test.cc.
#ifndef BISPARSE_APPS_PEERS_PEER_H_
#define BISPARSE_APPS_PEERS_PEER_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "deploy/packed/model.h"

namespace bisparse::peers {

class Peer {
 public:
  /// Starts argv[0] with at most `threads` threads in whatever it computes with, and waits until it
  /// is ready. Throws Error with the reason: kConfiguration if something is not installed, kData if
  /// it fails; so do the functions below.
  Peer(const std::string& name, const std::vector<std::string>& argv, int threads);
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer();

  std::vector<double> Run(int64_t call);
  std::vector<double> TimeCalls(double budget_us);

 private:
  std::vector<double> Ask(const std::string& line);
  std::vector<double> ReadValues();
  void Stop();

  std::string name_;
  int socket_ = -1;
  pid_t process_ = -1;
  std::string received_;
};

/// What a peer that was asked for came to: ready to be timed, or the reason why not.
struct PeerResult {
  std::string name;  ///< "onednn_f32", …: the benchmark's key
  std::unique_ptr<Peer> peer;
  std::string reason;
  bool missing = false;  ///< the reason is that something is not built or installed
  double difference =
      0;  ///< largest difference from our engine, as a fraction of the outputs' range
};

/// "onednn", "onnxruntime", "eigen", "libtorch": what --peers takes.
const std::vector<std::string>& PeerEngines();

/// Largest difference of outputs that still counts as the same network.
double AllowedDifference(const std::string& name);

/// Largest |theirs − ours| as a fraction of max(ours) − min(ours), or of |ours| where all are equal; infinite where sizes differ or a
/// number is none.
double OutputDifference(std::span<const float> ours, std::span<const double> theirs);

/// Every variant of each engine, running WithReluForKwta(model), compared with our engine on these
/// inputs (channels last, batch number b = samples b … b + batch − 1).
std::vector<PeerResult> StartPeers(const std::vector<std::string>& engines,
                                   const packed::Model& model, const std::vector<float>& x_bi,
                                   int threads, int64_t batch);

}  // namespace bisparse::peers

#endif  // BISPARSE_APPS_PEERS_PEER_H_
