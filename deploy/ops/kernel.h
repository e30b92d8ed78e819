// SPDX-License-Identifier: Apache-2.0
// One entry for each way to compute a layer: what it refuses, what it does, how much work that is, how its weights are
// prepared, and the step that runs. The engine walks an operator's list of entries (lists.h), decides before any weight is
// touched, prepares each layer once, and runs the steps. f32 and int8 entries are alike.
//
//   Refuses(node) ─► UseOf(node) ─► Count(layer, use) ─► Prepare(node, use) ─► Step::Run(io)
//
// To add a kernel: write it beside its operator's others, give it an entry in that folder's kernels_*.cc, put that into the
// operator's list, fastest first. Tests of coverage, of the definition and of the cost table walk the lists.
// Read first: deploy/packed/model.h, deploy/ops/README.md. Tested in: deploy/engine/engine_test.cc.
#ifndef BISPARSE_DEPLOY_OPS_KERNEL_H_
#define BISPARSE_DEPLOY_OPS_KERNEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bisparse/engine.h"
#include "deploy/packed/model.h"

namespace bisparse::ops {

/// A layer and its neighbours, as far as the choice of a kernel depends on them. A neighbour after it is named only where it
/// is the one reader of the value before it.
struct Node {
  const packed::Layer* layer = nullptr;
  packed::NumberFormat format = packed::NumberFormat::kF32;
  Mode mode = Mode::kSparseSparse;         ///< never kAuto
  std::string_view isa;                    ///< kernels::IsaName(), or of a machine that is not here
  const packed::Layer* winners = nullptr;  ///< the k-WTA whose list may be read instead of the map
  const packed::Layer* pool = nullptr;     ///< the 2×2 max-pool of stride 2 that reads this layer
  const packed::Layer* kwta =
      nullptr;  ///< the k-WTA that reads it, or reads `pool` where that is not null; a relu may
                ///< stand before it
  bool relu = false;  ///< a relu reads it
  struct Input {
    Shape shape;
    int32_t zero = 0;  ///< int8: the step that means 0
    float scale = 0;   ///< int8: real value of one step
  };
  std::vector<Input> inputs;
  /// What pads a map.
  int32_t input_zero() const { return inputs[0].zero; }
};

/// Samples that a batched step takes at once, at most. Sixteen share a linear layer's weights well enough to be bound by
/// arithmetic (3 tiles of 6), and their maps stay in L2.
inline constexpr int64_t kMostSamples = 16;

class Kernel;

/// What an entry does with a node.
struct Use {
  const Kernel* kernel = nullptr;  ///< null: nothing is done (flatten), or another layer does it
  int64_t active_inputs = 0;       ///< winners, or all elements of the first input
  bool dense_weights = false;      ///< every weight is multiplied with: owners don't matter
  bool reads_winners = false;      ///< of Node::winners, else the map
  bool pools = false;              ///< does Node::pool too; a k-WTA: the max-pool before it
  bool kwta = false;       ///< does Node::kwta too; UseOf: can do so where only the list is read
  bool relu = false;       ///< does the relu after it too
  bool writes_map = true;  ///< a k-WTA: somebody reads its map
  bool begins = false;     ///< a k-WTA: somebody asks where each position's winners begin
  bool quantises = false;  ///< int8: floats become u8 before it
  int32_t line_step =
      0;  ///< its winners' list is channel · line_step instead of indices; 0: indices
  const char* reason = "";  ///< why this entry, for people
};

/// What an entry does for one sample, in counts that the cost table (deploy/engine/cost.h) has prices for.
struct Work {
  double units = 0;   ///< vector operations of the innermost loop
  double starts = 0;  ///< times that this loop begins: tiles, winners, positions
  double moved = 0;   ///< vectors copied, padded or stored outside of it
  /// Cache lines of weights, each once: from where all of the network's weights fit.
  double lines = 0;
  /// Lines of maps, and of weights read again: from where they fit themselves.
  double near_lines = 0;
  double near_bytes = 0;
};

/// Winners of a map as kernels exchange them (winners.h): index_k, or where Use::line_step says so u16 in its place;
/// value_k is f32 or u8 as the map is.
struct List {
  int32_t* index_k = nullptr;
  void* value_k = nullptr;
  int32_t* begin_p = nullptr;
  uint16_t* line_k() const { return reinterpret_cast<uint16_t*>(index_k); }
};

/// What one call of a step reads and writes. Maps are channels last, f32 or u8; of int8 logits y is f32.
struct StepIo {
  const void* x = nullptr;           ///< map of the first input
  const void* const* x_j = nullptr;  ///< maps of all inputs, where there are several
  void* y = nullptr;
  List in, out;         ///< winners that are read, winners that are written
  int64_t samples = 1;  ///< more than one for batched steps only, back to back
  uint8_t* scratch =
      nullptr;  ///< 64-byte aligned; that of slot s begins s · scratch_stride further on
  int64_t scratch_stride = 0;

  template <class T>
  const T* X() const {
    return static_cast<const T*>(x);
  }
  template <class T>
  T* Y() const {
    return static_cast<T*>(y);
  }
  uint8_t* ScratchOf(int slot) const { return scratch + slot * scratch_stride; }
};

/// A layer ready to run: const, no allocation, no threads. What it points into is the model's storage or its own.
class Step {
 public:
  virtual ~Step() = default;
  /// The whole step on one thread.
  virtual void Run(const StepIo& io) const noexcept = 0;
  /// The same in parts of [0, parts) that begin at multiples of `grain`, where `divisible`: Begin once, RunPart of each on any
  /// thread (slots of parts that run at the same time differ), End once. The same bits as Run.
  virtual void Begin(const StepIo&) const noexcept {}
  virtual void RunPart(const StepIo&, int64_t /*begin*/, int64_t /*end*/,
                       int /*slot*/) const noexcept {}
  virtual void End(const StepIo&) const noexcept {}

  int64_t parts = 1, grain = 1;
  bool divisible = true;
  int64_t scratch_bytes = 0;  ///< of a slot
  bool batched = false;       ///< takes several samples at once, which share its weights
  int64_t winner_count = 0;   ///< elements of the list that it writes; 0: none
  int64_t begin_count = 0;    ///< entries of List::begin_p; 0: none
};

/// Run as Begin, RunPart of everything, End, without indirect calls. Self defines RunPart and, if needed, the others.
template <class Self>
class StepOf : public Step {
 public:
  void Run(const StepIo& io) const noexcept final {
    const Self& self = static_cast<const Self&>(*this);
    self.Self::Begin(io);
    self.Self::RunPart(io, 0, parts, 0);
    self.Self::End(io);
  }
};

class Kernel {
 public:
  constexpr explicit Kernel(const char* name) : name_(name) {}
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  /// "conv_packed_f32/aligned_rows": for people, and the key of the cost table. Nothing parses it.
  const char* name() const { return name_; }
  /// Why it cannot compute the node; null: it can. Reads shapes and owners, no weights.
  virtual const char* Refuses(const Node& node) const = 0;
  /// Of a node that it does not refuse.
  virtual Use UseOf(const Node& node) const = 0;
  /// `vector_bytes`: of the machine's vectors, 64, 32, 16, or 4 for scalars. Maps are added by the caller (CountWork).
  virtual Work Count(const packed::Layer& layer, const Use& use, int32_t vector_bytes) const = 0;
  /// Times that it goes over its weights for one sample, in blocks of positions.
  virtual double WeightPasses(const packed::Layer&) const { return 1; }
  /// The row of the cost table; kernels with several forms for the same entry name one each.
  virtual const char* CostRow(const packed::Layer&, const Use&) const { return name_; }
  /// The rows that CostRow can give.
  virtual std::vector<const char*> CostRows() const { return {name_}; }
  /// What dot products of bytes cost more where the instruction set lacks them.
  virtual double UnitFactor(std::string_view /*isa*/, const char* /*row*/) const { return 1; }
  /// The kernel that would run, were the owners aligned with the winners; it puts that layer into `other`.
  /// Null: the owners are aligned, or this kernel does not need them to be.
  virtual const Kernel* Aligned(const packed::Layer&, packed::Layer* /*other*/) const {
    return nullptr;
  }
  /// Reads the weights; `summary` has shapes, names and counts of the dense layer, and gets what is executed and held.
  virtual std::unique_ptr<Step> Prepare(const Node& node, const Use& use,
                                        LayerSummary& summary) const = 0;

 protected:
  ~Kernel() = default;  // entries live for ever

 private:
  const char* name_;
};

}  // namespace bisparse::ops

#endif  // BISPARSE_DEPLOY_OPS_KERNEL_H_
