#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fails where an include points up the list of folders in docs/architecture.md. Usage: includes_test.sh SOURCE_DIR
set -u
cd "$1" || exit 1
failed=0
forbid() {  # forbid PATTERN FOLDER… : no file below the folders may match
  local pattern=$1 found
  shift
  found=$(grep -rnE --include='*.h' --include='*.cc' "$pattern" "$@")
  if [[ -n $found ]]; then
    printf 'Includes that point the wrong way:\n%s\n' "$found"
    failed=1
  fi
}
forbid '#include [<"](torch|ATen|c10)/' deploy data train/config apps/*.cc apps/support
forbid '#include <(torch|ATen|c10)/' $(find apps/peers -name '*.h') $(find apps/peers -name '*.cc' ! -name libtorch.cc)
forbid '#include <(oneapi/dnnl|onnx|Eigen/Sparse)' deploy data train apps/*.cc apps/support
forbid '#include [<"](oneapi/)?tbb' deploy/base deploy/frontend deploy/packed deploy/ops deploy/simd deploy/reference deploy/include data train apps
forbid '#include <hwy/' $(find deploy/frontend -name '*.h') $(find deploy/frontend -name '*.cc' ! -name log_mel_frames.cc)
forbid '#include <hwy/' deploy/base deploy/packed deploy/engine deploy/include data train apps
forbid '#include "(data|train|apps)/' deploy
forbid '#include "(train|apps)/' data
forbid '#include "apps/' train
forbid '#include "deploy/engine/' deploy/base deploy/frontend deploy/packed deploy/ops deploy/simd deploy/reference
forbid '#include "deploy/(engine|frontend|ops|packed|simd)/' deploy/c/*_api.cc deploy/c/*.c deploy/c/*.h
forbid '#include "deploy/ops/' deploy/base deploy/simd deploy/frontend
forbid '#include "deploy/simd/' deploy/base
forbid '#include "deploy/(frontend|packed)/' deploy/base deploy/simd
# What an operator is belongs to the model; its kernels do not.
found=$(grep -rnE --include='*.h' --include='*.cc' '#include "deploy/(ops|simd)/' deploy/packed |
        grep -vE '"deploy/ops/(operator\.h|[a-z0-9_]+/op\.h)"')
if [[ -n $found ]]; then
  printf 'deploy/packed may include deploy/ops/operator.h and op.h alone:\n%s\n' "$found"
  failed=1
fi
exit $failed
