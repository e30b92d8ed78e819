#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the commands of docs/own-words.md in an empty folder and asks for what they promise: all recordings are used, voices
# that were held out are understood, and a word is found in a sentence. Usage: own_words_test.sh SOURCE_DIR BIN_DIR
set -euo pipefail
if ! command -v espeak-ng >/dev/null; then
  echo "no espeak-ng: skipped"
  exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PATH="$2:$PATH"
sed -n '/^```bash$/,/^```$/p' "$1/docs/own-words.md" | grep -v '^```' >"$folder/commands.sh"
cd "$folder"
bash -euo pipefail commands.sh >out 2>err || { cat out err; exit 1; }
cat out err
python3 - <<'END'
import json, re
out, err = open("out").read(), open("err").read()
assert "warning" not in err and "skipped" not in err, "the page's recordings cause warnings"
result = json.load(open("result.json"))
assert result["part"] == "test" and result["recordings_in_folder"] == 120, result
assert 0 < result["recordings"] == result["samples"] and result["samples"] % 15 == 0, result  # whole voices
assert result["accuracy"] >= 0.8, f"accuracy {result['accuracy']} on a voice that was held out (a fifth is chance)"
lines = [line for line in out.splitlines() if line.startswith(("words/music", "talk.wav"))]
assert re.match(r"words/music/en-gb\+m2/165.wav:  music ", lines[0]), lines
assert " windows in " in lines[1] and "garden" in lines[1], lines
END
