#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains the cells of the ablation over seeds, then writes its part of docs/results.{md,json} and docs/ablation.svg.
#   tools/ablation.sh DATA RUNS [SEEDS…]
# DATA holds speech_commands/; RUNS is a folder for the runs (kept, resumable: start it again after an interruption, and
# what is done is not done again). Cells are settings on top of CONFIG (gsc_coarse: a third of gsc_aligned's time);
# accuracies are validation, clean and perturbed: the test set is not read. Variables: EPOCHS (20) of a cell, THREADS (0:
# all cores), OWNERS (static learned rigl), CELLS (all): a pattern of cells to train, BASE (learned): owners of the cells
# that change something else; TEACHER (gsc_coarse_dense): CONFIG's dense twin. Two of it may
# run beside each other: a cell that one is at is left to it.
set -euo pipefail
data=$(realpath -e "${1:?usage: tools/ablation.sh DATA RUNS [SEEDS…]}")
mkdir -p "${2:?usage: tools/ablation.sh DATA RUNS [SEEDS…]}/claims"
runs=$(realpath "$2")
shift 2
seeds=("${@:-1}")
cd "$(dirname "$0")/.."
bin=build/release/bin
base=${BASE:-learned} config=configs/${CONFIG:-gsc_coarse}.yaml

# Where the configuration's list of layers has them: two convolutions, the k-WTAs, the packed linear layer.
places() { awk -v want="$1" '/^network:/ {on = 1; next} on && /^[a-z]/ {exit} on && /^  - / {if ($2 ~ "^"want) print n + 0; n++}' "$config"; }
mapfile -t convs < <(places conv2d)
mapfile -t kwta_places < <(places kwta)
linear=$(places linear | head -1)
conv1=network.${convs[0]}.conv2d.packing conv2=network.${convs[1]}.conv2d.packing linear1=network.$linear.linear.packing

owners() { echo "$conv1.owners=$1 $conv2.owners=$1 $linear1.owners=$1"; }
runs_of() {
  case $1 in
    one) echo "$conv2.run.channels=1 $conv2.run.taps=one" ;;
    aligned) echo "$conv2.run.channels=32 $conv2.run.taps=row" ;;
  esac
}
lanes() { echo "$conv2.lanes=$1 $linear1.lanes=$1"; }
kwtas() { for i in "${kwta_places[@]}"; do echo "network.$i.kwta.$1"; done; }

train() { # cell, seed, settings…
  local cell=$1 seed=$2 run=$runs/$1-seed$2 settings=()
  shift 2
  # shellcheck disable=SC2053  # a pattern
  [[ $cell == ${CELLS:-*} ]] || return 0
  grep -qs '"finished": true' "$run/log/summary.json" && return 0
  exec 9>"$runs/claims/$cell-seed$seed"
  flock -n 9 || return 0
  echo "== $cell, seed $seed"
  for setting in $*; do settings+=(--set "$setting"); done
  $bin/bisparse-train "$config" --data "$data/speech_commands" --seed "$seed" --epochs "${EPOCHS:-20}" \
    --threads "${THREADS:-0}" --out "$run" --resume "${settings[@]}"
}

for seed in "${seeds[@]}"; do
  for owner in ${OWNERS:-static learned rigl}; do
    for run in one aligned; do
      for lane in 1 4 16; do
        train "$owner-$run-L$lane" "$seed" "$(owners "$owner") $(runs_of "$run") $(lanes "$lane")"
      done
    done
  done
  # One thing less, or more, than the cell $base-aligned-L16.
  same="$(owners "$base") $(runs_of aligned) $(lanes 16)"
  train no-annealing "$seed" "$same $(kwtas winners_start=0)"
  train no-boosting "$seed" "$same $(kwtas boost.strength=0)"
  train no-clip-normalisation "$seed" "$same front_end.norm=none"
  if [[ -z ${WITHOUT_TEACHER:-} ]]; then
    teacher=$runs/teacher-seed$seed
    exec 8>"$runs/claims/teacher-seed$seed"
    flock 8  # who comes second waits
    grep -qs '"finished": true' "$teacher/log/summary.json" ||
      $bin/bisparse-train "configs/${TEACHER:-gsc_coarse_dense}.yaml" --data "$data/speech_commands" --seed "$seed" --threads "${THREADS:-0}" \
        --out "$teacher" --resume
    exec 8>&-
    train with-teacher "$seed" "$same train.teacher=$teacher"
  fi
done
tools/write_ablation.py "$runs" "$base"
