#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains, exports (f32 and int8) and evaluates the networks of the results table over seeds, measures them against noise,
# times the first seed beside other engines, then writes docs/results.{md,json} and docs/noise.svg.
#   configs/train_results.sh DATA RUNS [SEEDS…]
# DATA holds speech_commands/ and speech_commands_test/; RUNS is a folder for the runs (kept, resumable: what is done is
# not done again). The test set is read once for each network, number format and seed, after training and export.
# Variables: CONFIGS, the networks; TAUGHT, those whose teacher is gsc_dense of the same seed, or the run TEACHER; NOISE,
# those of the noise curves; MAX_LOSS (5), points that int8 may lose on validation (what it loses is in the table); THREADS (0: all cores);
# BENCH=no leaves the timing out, which wants a machine with nothing else to do.
set -euo pipefail
data=$(realpath -e "${1:?usage: configs/train_results.sh DATA RUNS [SEEDS…]}")
mkdir -p "${2:?usage: configs/train_results.sh DATA RUNS [SEEDS…]}"
runs=$(realpath "$2")
shift 2
[[ -n ${TEACHER:-} ]] && TEACHER=$(realpath -e "$TEACHER")
seeds=("${@:-1}")
cd "$(dirname "$0")/.."
bin=build/release/bin
configs=${CONFIGS:-gsc_dense gsc_small_dense gsc_ds_cnn gsc_sparse_dense gsc_paper gsc_aligned gsc_sparser gsc_pooled gsc_fast gsc_coarse}

evaluate() { # model, file, further flags
  [[ -e $2 ]] || $bin/bisparse-evaluate "$1" --json "$2" "${@:3}"
}

for seed in "${seeds[@]}"; do
  for config in $configs; do
    run=$runs/$config-seed$seed
    echo "== $config, seed $seed"
    teacher=()
    [[ " ${TAUGHT:-gsc_aligned gsc_sparser gsc_pooled gsc_fast} " == *" $config "* ]] && teacher=(--set "train.teacher=${TEACHER:-$runs/gsc_dense-seed$seed}")
    grep -qs '"finished": true' "$run/log/summary.json" ||
      $bin/bisparse-train "configs/$config.yaml" --data "$data/speech_commands" --seed "$seed" --threads "${THREADS:-0}" \
        --out "$run" --resume "${teacher[@]}"
    for format in f32 int8; do
      model=$run/model_$format.bisparse
      [[ -e $model ]] || $bin/bisparse-export "$run" --format $format --max-loss "${MAX_LOSS:-5}" -o "$model" \
        --data "$data/speech_commands" || { [[ $format == int8 ]] && continue; exit 1; }
      evaluate "$model" "$run/test_$format.json" --data "$data/speech_commands_test"
    done
    evaluate "$run/model_f32.bisparse" "$run/validation.json" --data "$data/speech_commands" --split validation
    [[ -e $run/model_int8.bisparse ]] &&
      evaluate "$run/model_int8.bisparse" "$run/validation_int8.json" --data "$data/speech_commands" --split validation
    evaluate "$run/model_f32.bisparse" "$run/perturbed.json" --data "$data/speech_commands" --split perturbed
  done
done

bench() { # file, model, further flags
  [[ -e $runs/bench/$1.json ]] || $bin/bisparse-bench "$2" "${@:3}" --json "$runs/bench/$1.json" >/dev/null
}
if [[ ${BENCH:-yes} == yes ]]; then
  mkdir -p "$runs/bench"
  for config in $configs; do
    run=$runs/$config-seed${seeds[0]} paper=$runs/gsc_dense-seed${seeds[0]}/model_f32.bisparse
    [[ -e $run/model_int8.bisparse && -e $paper ]] || continue
    echo "== $config, timing"
    bench "$config-f32" "$run/model_f32.bisparse"
    bench "$config-int8" "$run/model_int8.bisparse" --peers onednn,onnxruntime
    bench "$config-paper" "$run/model_int8.bisparse" --peers onednn --peer-model "$paper"
  done
fi

models=()
for config in ${NOISE:-gsc_dense gsc_aligned}; do
  [[ -e $runs/$config-seed${seeds[0]}/model_f32.bisparse ]] && models+=("$runs/$config-seed${seeds[0]}/model_f32.bisparse")
done
if ((${#models[@]} > 0)); then
  $bin/bisparse-evaluate "${models[@]}" --data "$data/speech_commands_test" --noise --json "$runs/noise.json" --plot docs/noise.svg
fi
configs/write_results.py "$runs"
