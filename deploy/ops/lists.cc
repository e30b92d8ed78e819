// SPDX-License-Identifier: Apache-2.0
// Read first: lists.h.
#include "deploy/ops/lists.h"

#include <algorithm>

#include "deploy/base/check.h"
#include "deploy/ops/activation/kernels.h"
#include "deploy/ops/activation/op.h"
#include "deploy/ops/add/kernels.h"
#include "deploy/ops/affine/kernels.h"
#include "deploy/ops/concat/kernels.h"
#include "deploy/ops/conv/kernels.h"
#include "deploy/ops/depthwise/kernels.h"
#include "deploy/ops/kwta/kernels.h"
#include "deploy/ops/layer_norm/kernels.h"
#include "deploy/ops/linear/kernels.h"
#include "deploy/ops/multiply/kernels.h"
#include "deploy/ops/pool/kernels.h"
#include "deploy/ops/relu/kernels.h"
#include "deploy/ops/shared/counts.h"

namespace bisparse::ops {
namespace {

using packed::LayerKind;
using packed::NumberFormat;

struct Room {
  LayerKind kind;
  std::span<const Kernel* const> (*f32)();
  std::span<const Kernel* const> (*i8)();
};

/// Activations share a room, whatever their kind.
constexpr LayerKind kAnyActivation = LayerKind::kSigmoid;

constexpr Room kRooms[] = {
    {LayerKind::kConv2d, ConvKernelsF32, ConvKernelsI8},
    {LayerKind::kDepthwiseConv2d, DepthwiseKernelsF32, DepthwiseKernelsI8},
    {LayerKind::kLinear, LinearKernelsF32, LinearKernelsI8},
    {LayerKind::kAffine, AffineKernelsF32, AffineKernelsI8},
    {LayerKind::kRelu, ReluKernelsF32, ReluKernelsI8},
    {LayerKind::kMaxPool, PoolKernelsF32, PoolKernelsI8},
    {LayerKind::kAvgPool, PoolKernelsF32, PoolKernelsI8},
    {LayerKind::kKwta, KwtaKernelsF32, KwtaKernelsI8},
    {LayerKind::kAdd, AddKernelsF32, AddKernelsI8},
    {LayerKind::kMultiply, MultiplyKernelsF32, MultiplyKernelsI8},
    {LayerKind::kConcat, ConcatKernelsF32, ConcatKernelsI8},
    {LayerKind::kLayerNorm, LayerNormKernelsF32, LayerNormKernelsI8},
    {kAnyActivation, ActivationKernelsF32, ActivationKernelsI8},
};

}  // namespace

std::span<const Kernel* const> KernelsOf(LayerKind kind, NumberFormat format) {
  if (packed::FindActivation(kind) != nullptr) kind = kAnyActivation;
  for (const Room& room : kRooms) {
    if (room.kind == kind) return format == NumberFormat::kI8 ? room.i8() : room.f32();
  }
  return {};
}

std::vector<const Kernel*> AllKernels(NumberFormat format) {
  std::vector<const Kernel*> all;
  for (const Room& room : kRooms) {
    for (const Kernel* kernel : KernelsOf(room.kind, format)) {
      if (std::find(all.begin(), all.end(), kernel) == all.end()) all.push_back(kernel);
    }
  }
  return all;
}

const Kernel* FindKernel(std::string_view name) {
  for (const NumberFormat format : {NumberFormat::kF32, NumberFormat::kI8}) {
    for (const Kernel* kernel : AllKernels(format)) {
      if (name == kernel->name()) return kernel;
    }
  }
  return nullptr;
}

const Kernel& ChooseKernel(const Node& node) {
  for (const Kernel* kernel : KernelsOf(node.layer->kind, node.format)) {
    if (kernel->Refuses(node) == nullptr) return *kernel;
  }
  BISPARSE_CHECK(false);
}

Work CountWork(const packed::Layer& layer, const Use& use, NumberFormat format,
               int32_t vector_bytes) {
  Work work = use.kernel->Count(layer, use, vector_bytes);
  const double maps = (format == NumberFormat::kF32 ? 4.0 : 1.0) / kLineBytes *
                      static_cast<double>(layer.input.elements() + layer.output.elements());
  work.near_lines = maps + work.lines * (use.kernel->WeightPasses(layer) - 1);
  work.near_bytes = kLineBytes * (maps + work.lines);
  return work;
}

}  // namespace bisparse::ops
