#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains, exports and evaluates the networks of the results table over seeds, then writes docs/results.{md,json}.
#   configs/train_results.sh DATA RUNS [SEEDS…]
# DATA holds speech_commands/ and speech_commands_test/; RUNS is a folder for the runs (kept, resumable: what is done is
# not done again). The test set is read once for each network and seed, after training and export.
set -euo pipefail
data=$(realpath -e "${1:?usage: configs/train_results.sh DATA RUNS [SEEDS…]}")
mkdir -p "${2:?usage: configs/train_results.sh DATA RUNS [SEEDS…]}"
runs=$(realpath "$2")
shift 2
seeds=("${@:-1}")
cd "$(dirname "$0")/.."
bin=build/release/bin

for seed in "${seeds[@]}"; do
  for config in ${CONFIGS:-gsc_dense gsc_sparse_dense gsc_paper gsc_aligned}; do
    run=$runs/$config-seed$seed
    [[ -e $run/test.json ]] && continue
    echo "== $config, seed $seed"
    resume=()
    [[ -e $run/last.pt ]] && resume=(--resume)
    $bin/bisparse-train "configs/$config.yaml" --data "$data/speech_commands" --seed "$seed" --out "$run" "${resume[@]}"
    $bin/bisparse-export "$run" -o "$run/model.bisparse"
    $bin/bisparse-evaluate "$run/model.bisparse" --data "$data/speech_commands" --split validation --json "$run/validation.json"
    $bin/bisparse-evaluate "$run/model.bisparse" --data "$data/speech_commands_test" --json "$run/test.json"
  done
done
configs/write_results.py "$runs"
