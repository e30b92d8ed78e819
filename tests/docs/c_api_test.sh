#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles the program of docs/c-api.md as C99 with every warning an error, and runs it: on noise it hears words where the
# threshold is low, on silence none, and of a file that is no model it says so. Every function that the header has is on the
# page. Usage: c_api_test.sh SOURCE_DIR CC FOLDER_OF_THE_SHARED_LIBRARY
set -euo pipefail
source=$1 cc=$2 library=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "$*"
  exit 1
}
sed -n '/^<!-- snippet -->/,/^<!-- \/snippet -->/p' "$source/docs/c-api.md" | sed '/^<!--/d; /^```/d' >"$work/hear.c"
grep -q bisparse_stream_new "$work/hear.c" || fail "docs/c-api.md has no program between its marks"
"$cc" -std=c99 -Wall -Wextra -pedantic -Werror "$work/hear.c" -I"$source/deploy/include" -L"$library" -lbisparse \
  -Wl,-rpath,"$library" -o "$work/hear"
model=$source/tests/golden/small.bisparse
# Loud tones that change: 2 s at 8000 Hz.
awk 'BEGIN { for (i = 0; i < 16000; ++i) printf "%c%c", 65 + (i * i) % 26, (i * 7) % 50 + 1 }' >"$work/sound"
"$work/hear" "$model" 0.34 <"$work/sound" >"$work/heard" || fail "the program ended with $?"
head -1 "$work/heard" | grep -qx '8x8x1 features, 8000 Hz' || fail "it printed: $(head -1 "$work/heard")"
grep -qE '^[0-9]+\.[0-9]+ s: (yes|no) [01]\.[0-9]+$' "$work/heard" || fail "it heard nothing: $(cat "$work/heard")"
"$work/hear" "$model" 1 </dev/null | grep ' s: ' && fail "it heard words in nothing"
status=0
"$work/hear" /dev/null </dev/null 2>"$work/error" || status=$?
[[ $status == 3 && -s $work/error ]] || fail "a file that is no model: exit code $status, '$(cat "$work/error")'"
for name in $(grep -oE '\bbisparse_(engine|stream)_[a-z0-9_]+\(' "$source/deploy/include/bisparse/bisparse.h" | tr -d '(' | sort -u); do
  grep -qE "$name|\`_${name#bisparse_*_}\`" "$source/docs/c-api.md" || fail "docs/c-api.md does not name $name"
done
