#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole path on a fresh machine: install, build, then recordings, train, export, evaluate, benchmark.
#   ./quickstart.sh               on spoken commands synthesised here (espeak-ng)
#   ./quickstart.sh --data PATH   on Speech Commands: the official archive unpacked, or a folder that holds
#                                 speech_commands/ and speech_commands_test/
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

data=
while (($#)); do
  case $1 in
    --data) data=$(cd "$invoked_from" && realpath -e "${2:?--data needs a path}"); shift 2 ;;
    -h | --help) sed -n '3,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart.sh: unknown argument '$1' (allowed: --data PATH)" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s\n' "$*"; }
bin=build/release/bin

step "1/6 packages"
cmake/install_packages.sh

step "2/6 build (Release, programs only)"
mkdir -p build
cmake --preset release >build/configure.log || { cat build/configure.log >&2; exit 1; }
cmake --build --preset release --target programs

step "3/6 recordings"
if [[ -z $data ]]; then
  config=configs/quickstart.yaml
  data=build/quickstart/speech_commands
  evaluate=$data
  $bin/bisparse-synthesise --out "$data" --clips-per-word 800
else
  config=configs/gsc_aligned.yaml
  evaluate=$data
  if [[ -d $data/speech_commands ]]; then
    evaluate=$data/speech_commands_test
    data=$data/speech_commands
  fi
  echo "using $data"
fi
run=build/quickstart/$(basename "$config" .yaml)
model=$run/model.bisparse

step "4/6 train: bisparse-train $config"
if [[ -e $run/last.pt ]]; then
  $bin/bisparse-train "$config" --data "$data" --out "$run" --resume
else
  $bin/bisparse-train "$config" --data "$data" --out "$run"
fi

step "5/6 export and evaluate on speakers that training never heard"
$bin/bisparse-export "$run" -o "$model"
$bin/bisparse-evaluate "$model" --data "$evaluate" --json "$run/evaluation.json"

step "6/6 benchmark"
$bin/bisparse-bench "$model" --json "$run/bench.json"
printf '\nThe model is %s. Try: %s/bisparse-classify %s FILE.wav\n' "$model" "$bin" "$model"
