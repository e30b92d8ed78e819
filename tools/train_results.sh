#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains, exports (f32 and int8) and evaluates the networks of the results table over seeds, measures them against noise,
# times the first seed beside other engines, then writes docs/results.{md,json}, docs/{runs,predictions}.json and
# docs/noise.svg.
#   tools/train_results.sh DATA RUNS [SEEDS…]
# DATA holds speech_commands/ and speech_commands_test/; RUNS is a folder for the runs (kept, resumable: what is done is
# not done again). The test set is read once for each network, number format and seed, after training and export. All
# networks are alike: taught by gsc_dense of the same seed, and of the last epoch.
# Variables: CONFIGS, the networks; TAUGHT, those that are taught, or by the run TEACHER; NOISE, those of the noise curves,
# all seeds; MAX_LOSS (5), points that int8 may lose on validation (what it loses is in the table); THREADS (0: all cores);
# OTHER (DATA/other_words, where that is there), a folder of other words for the column "other words accepted"; BIN
# (build/release/bin), where the programs are; TRAIN=no takes the runs that are finished and trains none; BENCH=no
# leaves the timing out, which wants a machine with
# nothing else to do.
set -euo pipefail
data=$(realpath -e "${1:?usage: tools/train_results.sh DATA RUNS [SEEDS…]}")
mkdir -p "${2:?usage: tools/train_results.sh DATA RUNS [SEEDS…]}"
runs=$(realpath "$2")
shift 2
[[ -n ${TEACHER:-} ]] && TEACHER=$(realpath -e "$TEACHER")
other=()
[[ -d ${OTHER:-$data/other_words} ]] && other=(--unknown "$(realpath -e "${OTHER:-$data/other_words}")")
seeds=("${@:-1}")
cd "$(dirname "$0")/.."
bin=${BIN:-build/release/bin}
configs=${CONFIGS:-gsc_dense gsc_small_dense gsc_ds_cnn gsc_sparse_dense gsc_paper gsc_aligned gsc_sparser gsc_pooled gsc_fast gsc_resnet gsc_resnet_sparse gsc_mobilenet gsc_bc_resnet gsc_coarse}
# gsc_coarse hears other features than gsc_dense, so it can't be taught by it.
taught=${TAUGHT:-gsc_small_dense gsc_ds_cnn gsc_sparse_dense gsc_paper gsc_aligned gsc_sparser gsc_pooled gsc_fast gsc_resnet gsc_resnet_sparse gsc_mobilenet gsc_bc_resnet}

finished() { grep -qs '"finished": true' "$1/log/summary.json"; }

evaluate() { # model, file without its ending, further flags
  [[ -e $2.json && -e $2_clips.json ]] || $bin/bisparse-evaluate "$1" --json "$2.json" --predictions "$2_clips.json" "${@:3}" >/dev/null
}

evaluate_all() { # f32 model, int8 model, folder
  evaluate "$1" "$3/test_f32" --data "$data/speech_commands_test"
  evaluate "$1" "$3/validation" --data "$data/speech_commands" --split validation
  evaluate "$1" "$3/perturbed" --data "$data/speech_commands" --split perturbed
  [[ -e $2 ]] || return 0
  evaluate "$2" "$3/test_int8" --data "$data/speech_commands_test" "${other[@]}"
  evaluate "$2" "$3/validation_int8" --data "$data/speech_commands" --split validation
}

for seed in "${seeds[@]}"; do
  for config in $configs; do
    run=$runs/$config-seed$seed
    teacher=()
    [[ " $taught " == *" $config "* ]] && teacher=(--set "train.teacher=${TEACHER:-$runs/gsc_dense-seed$seed}")
    if ! finished "$run"; then
      [[ ${TRAIN:-yes} == no ]] && continue
      echo "== $config, seed $seed"
      $bin/bisparse-train "configs/$config.yaml" --data "$data/speech_commands" --seed "$seed" --threads "${THREADS:-0}" \
        --out "$run" --resume "${teacher[@]}"
    fi
    echo "== $config, seed $seed: export and evaluation"
    for format in f32 int8; do
      model=$run/model_$format.bisparse
      [[ -e $model ]] || $bin/bisparse-export "$run" --last --format $format --max-loss "${MAX_LOSS:-5}" -o "$model" \
        --data "$data/speech_commands" >/dev/null || { [[ $format == int8 ]] && continue; exit 1; }
    done
    evaluate_all "$run/model_f32.bisparse" "$run/model_int8.bisparse" "$run"
  done
done

# The shipped files stand in for networks without a run.
for config in $configs; do
  if [[ -e models/$config.bisparse ]] && ! compgen -G "$runs/$config-seed*/test_f32_clips.json" >/dev/null; then
    echo "== models/$config.bisparse"
    mkdir -p "$runs/models/$config"
    evaluate_all "models/$config.bisparse" "models/${config}_int8.bisparse" "$runs/models/$config"
  fi
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
for config in ${NOISE:-gsc_dense gsc_aligned gsc_pooled}; do
  for seed in "${seeds[@]}"; do
    [[ -e $runs/$config-seed$seed/model_f32.bisparse ]] && models+=("$runs/$config-seed$seed/model_f32.bisparse")
  done
done
if ((${#models[@]} > 0)) && [[ $(cat "$runs/noise.models" 2>/dev/null) != "${models[*]}" ]]; then
  echo "== noise, ${#models[@]} models"
  $bin/bisparse-evaluate "${models[@]}" --data "$data/speech_commands_test" --noise --json "$runs/noise.json" >/dev/null
  echo "${models[*]}" >"$runs/noise.models"
fi
tools/write_results.py "$runs"
