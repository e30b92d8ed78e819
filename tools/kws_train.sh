#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains configs/kws.yaml in its stages and writes the model. An hour and a half of one core.
#   tools/kws_train.sh DATA RUNS
# DATA holds the recordings; tools/kws_data.sh DATA RUNS/kws_data has been run, and RUNS is ./runs, where the configuration
# looks. What is finished is not trained again. Stages:
#   kws-first, kws_dense   the teachers: the same data, none taught
#   kws-taught             taught by both; it is exported
set -euo pipefail
data=$(realpath -e "${1:?usage: tools/kws_train.sh DATA RUNS}")
runs=$(realpath -e "${2:?usage: tools/kws_train.sh DATA RUNS}")
cd "$(dirname "$0")/.."
bin=build/release/bin

train() { # run, configuration, settings…
  local run=$runs/$1 config=configs/$2.yaml
  shift 2
  grep -qs '"finished": true' "$run/log/summary.json" && return 0
  $bin/bisparse-train "$config" --data "$data/speech_commands" --threads "${THREADS:-1}" --out "$run" --resume "$@"
}
train kws-first kws --epochs 28 --set data.augment.spliced_probability=0.1
train kws_dense kws_dense --epochs 36 --set data.augment.spliced_probability=0.1
train kws-taught kws --set "train.teacher=[$runs/kws-first, $runs/kws_dense]"
# Training shows eight times as many clips of _unknown_ as of a word, which an export takes out in part.
$bin/bisparse-export "$runs/kws-taught" --format int8 --even-classes "${EVEN:-0.5}" -o models/kws_int8.bisparse
