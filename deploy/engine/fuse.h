// SPDX-License-Identifier: Apache-2.0
// f32 steps that a neighbour does in the same pass. Read first: plan.h. Tested in: engine_test.cc.
#ifndef BISPARSE_DEPLOY_ENGINE_FUSE_H_
#define BISPARSE_DEPLOY_ENGINE_FUSE_H_

#include "deploy/engine/plan.h"

namespace bisparse {

/// Marks steps that cost nothing of their own: max-pools and k-WTAs that the convolution in front does; max-pools and
/// ReLUs in front of k-WTA; ReLUs behind a dense kernel.
void Fuse(Plan& plan);

}  // namespace bisparse

#endif  // BISPARSE_DEPLOY_ENGINE_FUSE_H_
