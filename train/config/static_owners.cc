// SPDX-License-Identifier: Apache-2.0
// Read first: static_owners.h. Tested in: static_owners_test.cc.
#include "train/config/static_owners.h"

#include <numeric>
#include <utility>

#include "deploy/base/random.h"

namespace bisparse::train {
namespace {

// Names this use of random numbers among all that share a seed.
constexpr uint64_t kOwnersStream = 0x6F776E657273;  // "owners"

// FNV-1a: a fixed function of the name, unlike std::hash.
uint64_t HashName(std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace

std::vector<uint8_t> DrawStaticOwners(const packed::Layout& layout, uint64_t seed,
                                      std::string_view layer_name) {
  std::vector<uint8_t> owner_nr(static_cast<size_t>(layout.owners()));
  if (owner_nr.empty()) return owner_nr;
  const uint64_t layer = HashName(layer_name);
  const size_t runs = static_cast<size_t>(layout.runs);
  for (int32_t n = 0; n < layout.sets; ++n) {
    CounterRandom random(seed, {kOwnersStream, layer, static_cast<uint64_t>(n)});
    std::vector<uint8_t> deck(static_cast<size_t>(layout.packing.set_size));
    std::iota(deck.begin(), deck.end(), uint8_t{0});
    for (size_t r = 0; r < runs; ++r) {
      const size_t dealt = r % deck.size();
      // Fisher and Yates, one card at a time: whole decks are permutations, each equally likely.
      const size_t left = deck.size() - dealt;
      std::swap(deck[dealt], deck[dealt + random.Below(static_cast<uint32_t>(left))]);
      owner_nr[static_cast<size_t>(n) * runs + r] = deck[dealt];
    }
  }
  return owner_nr;
}

}  // namespace bisparse::train
