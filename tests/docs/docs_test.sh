#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fails where a document links to, or names, a file or a program's flag that is not there, where a source's opening
# comment does, or where a place holder was left. Usage: docs_test.sh SOURCE_DIR
set -uo pipefail
cd "$1" || exit 1
failed=0
fault() {
  echo "$*"
  failed=1
}
exists() { compgen -G "$1" >/dev/null; }

mapfile -t documents < <(find . -name '*.md' -not -path './build*' -not -path './runs/*' -not -path '*/node_modules/*' | sort)
((${#documents[@]} >= 5)) || fault "only ${#documents[@]} documents found"
top='(apps|cmake|configs|data|deploy|docs|models|tests|tools|train)'
for document in "${documents[@]}"; do
  folder=$(dirname "$document")
  while read -r link; do
    exists "$folder/${link%%#*}" || fault "$document: link to '$link', which is not there"
  done < <(grep -oE '\]\([^)]+\)' "$document" | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^(https?:|mailto:|#)')
  # In backticks: paths from the top folder, and scripts and documents in it. Patterns stand for themselves.
  while read -r path; do
    exists "${path%/}" || fault "$document: names '$path', which is not there"
  done < <(grep -oE '`[^` ]+`' "$document" | tr -d '`' | sed 's|^\./||' |
    grep -E "^$top/|^[A-Za-z_]+\.(sh|md)$" | grep -vE '[<>{}$…=:]')
  while read -r holder; do
    fault "$document: place holder $holder"
  done < <(grep -oE '@[A-Z_]+@' "$document")
done

# Flags: of `bisparse-NAME … --flag …` in documents and scripts, and of the examples in --help.
flags=0
while read -r program arguments; do
  name=${program#bisparse-}
  source=apps/${name/#peer-/peers/}.cc
  [[ -f $source ]] || { fault "'$program' is named, but there is no $source"; continue; }
  for flag in $(grep -oE -- '(^| )--[a-z][a-z-]*' <<<"$arguments"); do
    ((++flags))
    [[ $flag == --help || $flag == --version ]] || grep -qE -- "[\",]$flag\"" "$source" ||
      fault "'$program $arguments' is named, but $source has no flag $flag"
  done
done < <(grep -ohE 'bisparse-[a-z]+(-[a-z0-9]+)?( [^`|;]*)?' "${documents[@]}" ./*.sh tools/*.sh apps/*.cc)
((flags >= 20)) || fault "only $flags flags found"

# Files that sources send their reader to.
while IFS=: read -r source _ names; do
  for name in $(grep -oE '[A-Za-z0-9_*][A-Za-z0-9_/*.-]*\.(h|cc|md|sh|fbs)' <<<"$names"); do
    exists "$(dirname "$source")/$name" || exists "$name" || exists "deploy/include/$name" ||
      fault "$source: sends to '$name', which is not there"
  done
done < <(grep -rE --include='*.h' --include='*.cc' '(Read first|Tested in|Implemented by|Used by|Computed by):' apps data deploy tests tools train)
exit $failed
