#!/bin/sh
# footprint_test.sh PROGRAM MODEL…: of a program that only runs a model, the best of 10 loads to the first result takes at
# most 5 ms and twice what the best of 10 starts of the program takes, which a slow machine stretches alike. No more than
# 15 MB are ever resident, and no shared library is LibTorch, OpenMP or a BLAS.
set -eu
program=$1
shift
libraries=$(ldd "$program")
if echo "$libraries" | grep -E 'torch|gomp|libomp|iomp|blas|lapack|mkl'; then
  echo "footprint_test: $program reaches the libraries above" >&2
  exit 1
fi
start_ns=$(for _ in 1 2 3 4 5 6 7 8 9 10; do
  begin=$(date +%s%N)
  "$program" || true # no model: it ends at once
  echo $(($(date +%s%N) - begin))
done | sort -n | head -n 1)
for model; do
  best=$(for _ in 1 2 3 4 5 6 7 8 9 10; do "$program" "$model"; done | sort -n | head -n 1)
  [ -n "$best" ] || exit 1  # it said why
  echo "$model: $best (ms from load to first result, KB resident)"
  echo "$best" | awk -v model="$model" -v start_ms="$((start_ns / 1000))e-3" '
    { most = 5 + 2 * start_ms }
    $1 > most { print model ": " $1 " ms to the first result, allowed are " most; bad = 1 }
    $2 < 0 || $2 > 15 * 1024 { print model ": " $2 " KB resident, allowed are " 15 * 1024; bad = 1 }
    END { exit bad }' >&2
done
