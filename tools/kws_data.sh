#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the folders that configs/kws.yaml hears other words from, beside the recordings of DATA. About ten minutes of one core.
#   tools/kws_data.sh DATA OUT
# DATA holds other_words/, talk/ and noise/ of the recordings that docs/open-set.md names. OUT gets
#   words/     the eight words, words that sound like them and others, by training voices
#   held_out/  words that training never hears, by voices that it never hears
#   talk/      links to the talk of one speaker, without the utterances that hold one of the eight words, and to noises
# What is there already stays.
set -euo pipefail
data=$(realpath -e "${1:?usage: tools/kws_data.sh DATA OUT}")
mkdir -p "${2:?usage: tools/kws_data.sh DATA OUT}"
out=$(realpath "$2")
cd "$(dirname "$0")/.."
synthesise=build/release/bin/bisparse-synthesise
words=bed,cat,down,go,happy,left,right,up
$synthesise --out "$out/words" --words $words --clips-per-word 200 --unknown-words on,off,yes,no,stop --near-misses 80 \
  --other-words 500 --clips-per-other-word 3 --engines espeak-ng,flite --voices training
$synthesise --out "$out/held_out" --words us,cub,of,dough,goat,dome,town,gown,bet,dead,cap,hat,nappy,lift,loft,ride,light,bead \
  --clips-per-word 12 --engines espeak-ng,flite --voices validation
# Speaker 19 trains; the others are left for streams. Of the noises those of two folds.
mkdir -p "$out/talk/19" "$out/talk/_background_noise_"
while read -r id; do
  recording=$(find "$data/talk/19" -name "$id.*" -not -name '*.txt')
  ln -sfn "$recording" "$out/talk/19/"
done < <(cat "$data"/talk/19/*.trans.txt | grep -viE "\b(${words//,/|})\b" | cut -d' ' -f1)
for noise in "$data"/noise/*/[12]-*; do ln -sfn "$noise" "$out/talk/_background_noise_/"; done
