#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fails where a message names a key of the configuration that does not exist. Usage: keys_test.sh SOURCE_DIR
set -u
cd "$1" || exit 1
# The keys are those of the reference, which another test keeps equal to the schema; sections count.
known=$(grep -ohE '^\| `[a-z_0-9.]+`|^## [a-z_.]+' docs/configuration.md | tr -d '|`# ')
# Keys in string literals; data.json and the like are files.
named=$(grep -rhoE --include='*.cc' --include='*.h' --exclude='*_test.cc' '"([^"\\]|\\.)*"' deploy data train apps |
  grep -oE '(^|[^a-z_./])(data|front_end|train)(\.[a-z_0-9]+)+' | grep -oE '(data|front_end|train)\..*' |
  grep -vE '\.(json|h|cc|npy|yaml|pt)$' | sort -u)
[[ -n $known && -n $named ]] || { echo "found no keys: has the reference another form?"; exit 1; }
unknown=$(comm -13 <(sort -u <<<"$known") <(echo "$named"))
if [[ -n $unknown ]]; then
  printf 'Messages name keys that docs/configuration.md does not have:\n%s\n' "$unknown"
  exit 1
fi
