#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fails where a noun that the project has coined is used in a header and has not exactly one row in docs/notation.md,
# where nobody uses a row's word, where a header says "in front" or "behind", which are read either way, and where
# README's first screen says what it does not explain.
# Usage: notation_test.sh SOURCE_DIR
set -uo pipefail
cd "$1" || exit 1
failed=0
fault() {
  echo "$*"
  failed=1
}
# Nouns that mean something of their own here; a new one joins the list with its row.
coined=(block chunk entry form four grain group kernel lane line mode node owner place plane position producer quad reader
  run segment set slot step tail tap tile unit value way winner)

mapfile -t headers < <(find apps data deploy tools train -name '*.h' | sort)
((${#headers[@]} >= 80)) || fault "only ${#headers[@]} headers found"
comments=$(sed -nE 's|^(.*[^:])?//+(.*)|\2|p' "${headers[@]}")
used() { # word: in a comment of a header, in singular or plural
  local word=${1//[- ]/[-_ ]}
  grep -qiwE "$word|${word}s|${word%y}ies" <<<"$comments"
}
# First cells of the tables below "## Words"; one cell may hold several words.
mapfile -t rows < <(sed -n '/^## Words/,$p' docs/notation.md | grep -E '^\| ' | grep -vE '^\| (word|---)' | cut -d'|' -f2 | tr ',' '\n' |
  sed -E 's/^ +| +$//g')
((${#rows[@]} >= 30)) || fault "docs/notation.md: only ${#rows[@]} words found: have the tables another form?"
while read -r word; do
  fault "docs/notation.md: '$word' has two rows"
done < <(printf '%s\n' "${rows[@]}" | sort | uniq -d)
for word in "${coined[@]}"; do
  used "$word" || fault "tests/docs/notation_test.sh: no header says '$word': take it from the list"
  [[ " $(printf '<%s> ' "${rows[@]}")" == *" <$word> "* ]] || fault "docs/notation.md: '$word' is used in a header and has no row"
done
for word in "${rows[@]}"; do
  used "$word" || grep -rqiwE --include='*.cc' --include='*.md' --exclude=notation.md "${word//[- ]/[-_ ]}" apps data deploy docs train ||
    fault "docs/notation.md: nobody says '$word'"
done
while read -r line; do
  fault "$line: say before or after, producer or reader"
done < <(grep -niE '//.*\b(in front|behind)\b' "${headers[@]}")
while read -r line; do
  fault "README.md:$line: the first screen has terms that it does not explain"
done < <(head -45 README.md | grep -niwE '(owner|slot|lane)s?')
exit $failed
