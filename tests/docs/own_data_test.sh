#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the commands of docs/own-data.md in an empty folder and asks for what they promise: an int8 model of a perceptron
# that knows unseen samples. Usage: own_data_test.sh SOURCE_DIR BIN_DIR
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
PATH="$2:$PATH"
sed -n '/^```bash$/,/^```$/p' "$1/docs/own-data.md" | grep -v '^```' >"$folder/commands.sh"
cd "$folder"
bash -euo pipefail commands.sh
python3 - <<'END'
import json
result = json.load(open("machine.json"))
assert result["samples"] == 600 and result["classes"] == ["good", "worn", "unbalanced"], result
assert result["accuracy"] > 0.9, f"accuracy {result['accuracy']}, above 0.9 expected (a third is chance)"
assert "<svg" in open("sets.svg").read()
END
