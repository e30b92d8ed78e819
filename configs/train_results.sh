#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains, exports (f32 and int8) and evaluates the networks of the results table over seeds, measures them against noise,
# then writes docs/results.{md,json} and docs/noise.svg.
#   configs/train_results.sh DATA RUNS [SEEDS…]
# DATA holds speech_commands/ and speech_commands_test/; RUNS is a folder for the runs (kept, resumable: what is done is
# not done again). The test set is read once for each network, number format and seed, after training and export.
# Variables: CONFIGS, the networks; NOISE, those of the noise curves; MAX_LOSS (0.2), points that int8 may lose.
set -euo pipefail
data=$(realpath -e "${1:?usage: configs/train_results.sh DATA RUNS [SEEDS…]}")
mkdir -p "${2:?usage: configs/train_results.sh DATA RUNS [SEEDS…]}"
runs=$(realpath "$2")
shift 2
seeds=("${@:-1}")
cd "$(dirname "$0")/.."
bin=build/release/bin

evaluate() { # model, file, further flags
  [[ -e $2 ]] || $bin/bisparse-evaluate "$1" --json "$2" "${@:3}"
}

for seed in "${seeds[@]}"; do
  for config in ${CONFIGS:-gsc_dense gsc_small_dense gsc_ds_cnn gsc_sparse_dense gsc_paper gsc_aligned}; do
    run=$runs/$config-seed$seed
    echo "== $config, seed $seed"
    grep -qs '"finished": true' "$run/log/summary.json" ||
      $bin/bisparse-train "configs/$config.yaml" --data "$data/speech_commands" --seed "$seed" --out "$run" --resume
    for format in f32 int8; do
      model=$run/model_$format.bisparse
      [[ -e $model ]] || $bin/bisparse-export "$run" --format $format --max-loss "${MAX_LOSS:-0.2}" -o "$model" \
        --data "$data/speech_commands" || { [[ $format == int8 ]] && continue; exit 1; }
      evaluate "$model" "$run/test_$format.json" --data "$data/speech_commands_test"
    done
    evaluate "$run/model_f32.bisparse" "$run/validation.json" --data "$data/speech_commands" --split validation
    evaluate "$run/model_f32.bisparse" "$run/perturbed.json" --data "$data/speech_commands" --split perturbed
  done
done

models=()
for config in ${NOISE:-gsc_dense gsc_aligned}; do
  [[ -e $runs/$config-seed${seeds[0]}/model_f32.bisparse ]] && models+=("$runs/$config-seed${seeds[0]}/model_f32.bisparse")
done
if ((${#models[@]} > 0)); then
  $bin/bisparse-evaluate "${models[@]}" --data "$data/speech_commands_test" --noise --json "$runs/noise.json" --plot docs/noise.svg
fi
configs/write_results.py "$runs"
