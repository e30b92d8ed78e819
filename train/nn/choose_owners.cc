// SPDX-License-Identifier: Apache-2.0
// Read first: choose_owners.h. Tested in: choose_owners_test.cc.
#include "train/nn/choose_owners.h"

#include <algorithm>
#include <limits>

#include "deploy/base/check.h"

namespace bisparse::train {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

/// Moves runs between kernels until every kernel owns between `floor` and `ceil` of them. Nodes of
/// the graph are the kernels and, as number `kernels`, the bank: a kernel below `ceil` may give it a
/// place (its count rises), one above `floor` take a place from it. Each path costs least, so no
/// cycle ever gains: the result stays the best one for its counts, and in the end the best of all.
class Balancer {
 public:
  Balancer(std::span<const float> saliency_sr, int64_t kernels, std::vector<uint8_t>& owner_r)
      : saliency_sr_(saliency_sr),
        kernels_(kernels),
        runs_(static_cast<int64_t>(owner_r.size())),
        floor_(runs_ / kernels),
        ceil_((runs_ + kernels - 1) / kernels),
        owner_r_(owner_r),
        count_s_(static_cast<size_t>(kernels)),
        edges_(static_cast<size_t>(kernels * kernels)) {
    for (const uint8_t owner : owner_r_) ++count_s_[owner];
    for (int64_t s = 0; s < kernels_; ++s) UpdateEdges(s);
  }

  void Run() {
    for (int64_t s = 0; s < kernels_; ++s) {
      while (count_s_[s] > ceil_) Move(s, kernels_);
    }
    for (int64_t s = 0; s < kernels_; ++s) {
      while (count_s_[s] < floor_) Move(kernels_, s);
    }
  }

 private:
  /// The cheapest run to pass from one kernel to another, and what that loses.
  struct Edge {
    double loss = kNever;
    int64_t run = -1;
  };

  float Saliency(int64_t s, int64_t r) const { return saliency_sr_[s * runs_ + r]; }

  void UpdateEdges(int64_t from) {
    Edge* const edges = &edges_[from * kernels_];
    std::fill(edges, edges + kernels_, Edge{});
    for (int64_t r = 0; r < runs_; ++r) {
      if (owner_r_[r] != from) continue;
      for (int64_t to = 0; to < kernels_; ++to) {
        const double loss = double{Saliency(from, r)} - double{Saliency(to, r)};
        if (to != from && loss < edges[to].loss) edges[to] = {loss, r};
      }
    }
  }

  double Loss(int64_t from, int64_t to) const {
    if (to == kernels_) return count_s_[from] < ceil_ ? 0.0 : kNever;
    if (from == kernels_) return count_s_[to] > floor_ ? 0.0 : kNever;
    return edges_[from * kernels_ + to].loss;
  }

  /// One run fewer for `source`, one more for `sink`, along the path that loses least (Bellman and
  /// Ford: edges may gain, cycles never do).
  void Move(int64_t source, int64_t sink) {
    std::vector<double> distance(static_cast<size_t>(kernels_ + 1), kNever);
    std::vector<int64_t> before(static_cast<size_t>(kernels_ + 1), -1);
    distance[source] = 0.0;
    bool changed = true;
    for (int64_t round = 0; changed && round <= kernels_; ++round) {
      changed = false;
      for (int64_t from = 0; from <= kernels_; ++from) {
        if (distance[from] == kNever) continue;
        for (int64_t to = 0; to <= kernels_; ++to) {
          // The bank's own places are for the path's ends: a path through it would be two paths.
          if (to == from || to == source) continue;
          const double through = distance[from] + Loss(from, to);
          if (through + kTolerance < distance[to]) {
            distance[to] = through;
            before[to] = from;
            changed = true;
          }
        }
      }
    }
    BISPARSE_CHECK(distance[sink] < kNever);
    std::vector<int64_t> touched;
    for (int64_t to = sink; to != source; to = before[to]) {
      const int64_t from = before[to];
      if (from < kernels_ && to < kernels_) {
        owner_r_[edges_[from * kernels_ + to].run] = static_cast<uint8_t>(to);
      }
      for (const int64_t s : {from, to}) {
        if (s < kernels_) touched.push_back(s);
      }
    }
    std::fill(count_s_.begin(), count_s_.end(), 0);
    for (const uint8_t owner : owner_r_) ++count_s_[owner];
    for (const int64_t s : touched) UpdateEdges(s);
  }

  // Differences of rounding are no gain: without it a cycle of nothing could turn for ever.
  static constexpr double kTolerance = 1e-12;

  std::span<const float> saliency_sr_;
  int64_t kernels_, runs_, floor_, ceil_;
  std::vector<uint8_t>& owner_r_;
  std::vector<int64_t> count_s_;
  std::vector<Edge> edges_;
};

}  // namespace

std::vector<uint8_t> LargestOwners(std::span<const float> saliency_sr, int64_t kernels) {
  BISPARSE_CHECK(kernels > 0 && static_cast<int64_t>(saliency_sr.size()) % kernels == 0);
  const int64_t runs = static_cast<int64_t>(saliency_sr.size()) / kernels;
  std::vector<uint8_t> owner_r(static_cast<size_t>(runs), 0);
  for (int64_t r = 0; r < runs; ++r) {
    for (int64_t s = 1; s < kernels; ++s) {
      if (saliency_sr[s * runs + r] > saliency_sr[owner_r[r] * runs + r]) {
        owner_r[r] = static_cast<uint8_t>(s);
      }
    }
  }
  return owner_r;
}

std::vector<uint8_t> BalancedOwners(std::span<const float> saliency_sr, int64_t kernels) {
  std::vector<uint8_t> owner_r = LargestOwners(saliency_sr, kernels);
  Balancer(saliency_sr, kernels, owner_r).Run();
  return owner_r;
}

}  // namespace bisparse::train
