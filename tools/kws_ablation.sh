#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains what each part of configs/kws.yaml is worth, a change a run, and writes the table in docs/open-set.md.
#   tools/kws_ablation.sh DATA RUNS
# DATA holds the recordings; tools/kws_data.sh DATA RUNS/kws_data has been run. RUNS keeps the runs: those that are finished are
# not trained again. Networks are chosen by these figures, all of validation: the test set is not read. EPOCHS (15) of a run.
set -euo pipefail
data=$(realpath -e "${1:?usage: tools/kws_ablation.sh DATA RUNS}")
runs=$(realpath -e "${2:?usage: tools/kws_ablation.sh DATA RUNS}")
cd "$(dirname "$0")/.."
held_out=$(python3 -c 'import re; print(re.sub(r"\s+", " ", re.search(r"held_out_words: (\[[^]]*\])", open("configs/kws.yaml").read())[1]))')

# Folders with the words held out alone.
mkdir -p "$runs/kws_data/real_held_out"
for word in hadouken dracarys trick_or_treat joke athena archie; do
  ln -sfn "$data/other_words/$word" "$runs/kws_data/real_held_out/"
done
held=$runs/kws_data/held_out real="$data/other_words, $data/speech_commands_more"
others=(--set data.unknown=0.8 --set data.unknown_draw=words)
spliced=(--set data.augment.reversed_probability=0.1 --set data.augment.spliced_probability=0.15 --set data.augment.trim_probability=0.3)

train() { # run, configuration, settings…
  local run=$runs/kws-$1 config=$2
  shift 2
  grep -qs '"finished": true' "$run/log/summary.json" && return 0
  build/release/bin/bisparse-train "configs/$config.yaml" --data "$data/speech_commands" --epochs "${EPOCHS:-15}" --threads 1 --out "$run" \
    --resume --set data.perturbed_copies=1 --set "data.held_out_words=$held_out" "$@"
}
train before gsc_fast --set "data.other_paths=[$runs/kws_data/real_held_out, $held]"
train real gsc_fast "${others[@]}" --set "data.other_paths=[$real, $held]"
train spliced gsc_fast "${others[@]}" --set "data.other_paths=[$real, $held]" "${spliced[@]}"
train synthesised gsc_fast "${others[@]}" --set "data.other_paths=[$real, $runs/kws_data/words, $held]"
train one_vs_all gsc_fast "${others[@]}" --set "data.other_paths=[$real, $held]" --set train.loss=one_vs_all
train sparse kws "${others[@]}" --set "data.other_paths=[$real, $held]" "${spliced[@]}"
python3 tools/write_kws_ablation.py "$runs" docs/open-set.md
