#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the commands of docs/own-pictures.md in an empty folder and asks for what they promise: an int8 model that knows unseen
# pictures, and one cache of decoded ones. Usage: own_pictures_test.sh SOURCE_DIR BIN_DIR
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PATH="$2:$PATH"
sed -n '/^```bash$/,/^```$/p' "$1/docs/own-pictures.md" | grep -v '^```' >"$folder/commands.sh"
cd "$folder"
bash -euo pipefail commands.sh >out.txt 2>err.txt || { cat out.txt err.txt; exit 1; }
cat out.txt err.txt
grep -qE '^circle +48 +12$' err.txt || { echo "the table of samples lacks 48 and 12 of circle"; exit 1; }
grep -q '^pictures    red green blue, cropped' out.txt || { echo "bisparse-inspect says nothing of pictures"; exit 1; }
(($(grep -c '^shapes/test/stripes/.*\.png:  ' out.txt) == 20)) || { echo "20 classified stripes expected"; exit 1; }
(($(find runs -name 'pictures-*.cache' | wc -l) == 1)) || { echo "one cache expected"; exit 1; }
python3 - <<'END'
import json
result = json.load(open("shapes.json"))
assert result["samples"] == 60 and result["classes"] == ["circle", "square", "stripes"], result
assert result["part"] == "test" and result["recordings"] == 60, result
assert result["accuracy"] > 0.8, f"accuracy {result['accuracy']}, above 0.8 expected (a third is chance)"
END
