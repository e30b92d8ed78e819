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
top='(apps|cmake|configs|data|deploy|docs|models|python|tests|tools|train)'
for document in "${documents[@]}"; do
  folder=$(dirname "$document")
  while read -r link; do
    exists "$folder/${link%%#*}" || fault "$document: link to '$link', which is not there"
  done < <(sed '/^```/,/^```/d' "$document" | grep -oE '\]\([^)]+\)' | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^(https?:|mailto:|#)')
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
  [[ $name == c ]] && continue  # pkg-config's name of the C interface
  name=${name/#peer-/peers/}
  source=apps/${name//-/_}.cc
  [[ -f $source ]] || { fault "'$program' is named, but there is no $source"; continue; }
  # Flags that programs share, or that make a part of one, are in what it includes.
  mapfile -t support < <(grep -oE 'apps/support/[a-z_]+\.h' "$source" | sed 's/h$/cc/')
  for flag in $(grep -oE -- '(^| )--[a-z][a-z-]*' <<<"$arguments"); do
    ((++flags))
    [[ $flag == --help || $flag == --version ]] || grep -qsE -- "[\",]$flag\"" "$source" "${support[@]}" ||
      fault "'$program $arguments' is named, but $source has no flag $flag"
  done
done < <(grep -ohE 'bisparse-[a-z]+(-[a-z0-9]+)?( [^`|;]*)?' "${documents[@]}" ./*.sh tools/*.sh apps/*.cc)
((flags >= 20)) || fault "only $flags flags found"

# Files that comments name. What the reader is sent to is a path from the top, or lies in the same folder; another name
# is that of some file. Lines of a comment are joined, so that a sentence may be broken anywhere.
mapfile -t all_files < <(find . -type f -not -path './build*' -not -path './runs/*' -not -path './.git/*' -not -path '*/node_modules/*' |
  sed 's|^\./||')
mapfile -t sources < <(printf '%s\n' "${all_files[@]}" | grep -E '\.(h|cc|inc|fbs)$')
((${#sources[@]} >= 100)) || fault "only ${#sources[@]} sources found"
while read -r line; do
  fault "$line"
done < <(printf '%s\n' "${all_files[@]}" | awk '
  function there(name, folder) {
    return (name in path) || ((folder "/" name) in path) || (("deploy/include/" name) in path)
  }
  function check(strict, text,    name, folder) {
    folder = source
    sub(/\/[^\/]*$/, "", folder)
    while (match(text, /[A-Za-z0-9_*][A-Za-z0-9_\/*.-]*\.(h|cc|inc|fbs|md|sh|py)([^A-Za-z0-9_(]|$)/)) {
      name = substr(text, RSTART, RLENGTH)
      text = substr(text, RSTART + RLENGTH)
      sub(/[^A-Za-z0-9_]$/, "", name)
      if (name ~ /[*]|highway\.h$/ || there(name, folder)) continue
      if (name ~ /\// || strict) print source ": sends to \x27" name "\x27, which is not there"
      else if (!(name in base)) print source ": names \x27" name "\x27, which is not there"
    }
  }
  function flush_comment(    rest, sent) {
    rest = comment
    check(0, comment)
    while (match(rest, /(Read first|Tested in|Implemented by|Used by|Computed by):/)) {
      rest = substr(rest, RSTART + RLENGTH)
      sent = rest
      if (match(sent, /\. +[A-Z]/)) sent = substr(sent, 1, RSTART)
      check(1, sent)
    }
    comment = ""
  }
  FILENAME == "-" || FILENAME == "" {
    path[$0]
    name = $0
    sub(/.*\//, "", name)
    base[name]
    next
  }
  FNR == 1 {
    flush_comment()
    source = FILENAME
  }
  match($0, /(^|[^:])\/\/.*/) {
    text = substr($0, RSTART, RLENGTH)
    sub(/^[^\/]?\/\/+/, "", text)
    comment = comment " " text
    next
  }
  { flush_comment() }
  END { flush_comment() }' - "${sources[@]}" | sort -u)
exit $failed
