#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole path on a fresh machine: install, build, then recordings, train, export, evaluate, benchmark.
#   ./quickstart.sh               on spoken commands synthesised here (espeak-ng)
#   ./quickstart.sh --data PATH   on Speech Commands: the official archive unpacked, or a folder that holds
#                                 speech_commands/ and speech_commands_test/
# Started again it keeps what is finished: packages, compiled files, the recordings, epochs of the training.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

data=
while (($#)); do
  case $1 in
    --data) data=$(cd "$invoked_from" && realpath -e "${2:?--data needs a path}"); shift 2 ;;
    -h | --help) sed -n '3,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart.sh: unknown argument '$1' (allowed: --data PATH)" >&2; exit 2 ;;
  esac
done

# Each step's name and when it began, so that the end can say what took how long.
steps=() begins=()
step() {
  steps+=("$2") begins+=("$SECONDS")
  printf '\n== %d/6 %s\n' "${#steps[@]}" "$1"
}
minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }
bin=build/release/bin

step "packages" packages
cmake/install_packages.sh

step "build (Release, the programs that this needs)" build
mkdir -p build
cmake --preset release >build/configure.log || { cat build/configure.log >&2; exit 1; }
cmake --build --preset release --target bisparse-synthesise bisparse-train bisparse-export bisparse-evaluate \
  bisparse-bench bisparse-classify

step "recordings" recordings
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

step "train: bisparse-train $config" training
if [[ -e $run/last.pt ]]; then
  $bin/bisparse-train "$config" --data "$data" --out "$run" --resume
else
  $bin/bisparse-train "$config" --data "$data" --out "$run"
fi

step "export and evaluate on speakers that training never heard" evaluation
$bin/bisparse-export "$run" -o "$model"
$bin/bisparse-evaluate "$model" --data "$evaluate" --json "$run/evaluation.json"

step "benchmark" benchmark
$bin/bisparse-bench "$model" --json "$run/bench.json"

printf '\n'
begins+=("$SECONDS")
for i in "${!steps[@]}"; do printf '%s %s, ' "${steps[i]}" "$(minutes $((begins[i + 1] - begins[i])))"; done
printf 'in all %s on %d cores\n' "$(minutes "$SECONDS")" "$(nproc)"
printf 'The model is %s. Try: %s/bisparse-classify %s FILE.wav\n' "$model" "$bin" "$model"
