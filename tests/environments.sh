#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests of build/release in surroundings that differ from a developer's. By hand, not in CI: each takes as long
# as the whole suite does.
#   tests/environments.sh                          every surrounding below, in turn
#   tests/environments.sh core locale              these
#   tests/environments.sh isa -- -R 'Choose|Cost'  what follows -- is for ctest
#
#   core       one core of the process's own (taskset)
#   quota      a cgroup with the time of one core; needs root
#   locale     a comma is the decimal point (de_DE.UTF-8, generated into a folder of its own)
#   zone       a time zone with half an hour (Asia/Kolkata)
#   home       HOME is a folder that does not exist and cannot be made
#   umask      new files are their owner's alone
#   temporary  TMPDIR has a space in its name
#   blas       OPENBLAS_CORETYPE is set
#   caches     caches of other sizes than the machine's, and none stated; needs root
#   isa        each instruction set below the CPU's best (BISPARSE_ISA)
#   together   core, locale, zone, home, umask, temporary and blas at once
#   user       a user who is not root, on a copy of the tree; needs root
set -uo pipefail
cd "$(dirname "$0")/.."
all=(core quota locale zone home umask temporary blas caches isa together user)

names=()
while (($#)) && [[ $1 != -- ]]; do names+=("$1"); shift; done
if (($#)); then shift; fi
((${#names[@]})) || names=("${all[@]}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

ctest_arguments=(--test-dir build/release --no-tests=error --output-on-failure --parallel "$(nproc)" "$@")
tests() { ctest "${ctest_arguments[@]}" </dev/null; }

# The locale must take effect: without it the C library silently keeps the point.
make_locale() {
  [[ -d $work/locale ]] || { mkdir "$work/locale" && localedef -i de_DE -f UTF-8 "$work/locale/de_DE.UTF-8"; } || return 1
  export LOCPATH=$work/locale
  export LC_ALL=de_DE.UTF-8
  [[ $(bash -c "printf %.1f 1,5" 2>/dev/null) == 1,5 ]] || { echo "de_DE.UTF-8 does not take effect" >&2; return 1; }
}
# As Linux states them: L1 of data, then the levels after it.
make_caches() {
  local level
  rm -rf "$work/caches" && mkdir "$work/caches"
  for ((level = 1; level <= $#; ++level)); do
    mkdir "$work/caches/index$level"
    echo "$level" >"$work/caches/index$level/level"
    ((level == 1)) && echo Data >"$work/caches/index$level/type" || echo Unified >"$work/caches/index$level/type"
    echo "${!level}K" >"$work/caches/index$level/size"
  done
}
spaced() { export TMPDIR="$work/a folder" && mkdir -p "$TMPDIR"; }

surround() {
  case $1 in
    core) taskset -cp "$(taskset -cp $BASHPID | sed 's/.*: \([0-9]*\).*/\1/')" $BASHPID >/dev/null && tests ;;
    quota)
      local group=/sys/fs/cgroup/cpu/bisparse-tests file=cpu.cfs_quota_us limit=100000
      if [[ ! -d /sys/fs/cgroup/cpu ]]; then group=/sys/fs/cgroup/bisparse-tests file=cpu.max limit='100000 100000'; fi
      mkdir -p "$group" && echo "$limit" >"$group/$file" && echo $BASHPID >"$group/cgroup.procs" || return 1
      tests ;;
    locale) make_locale && tests ;;
    zone) TZ=Asia/Kolkata tests ;;
    home) HOME=/proc/nonexistent tests ;;
    umask) umask 077 && tests ;;
    temporary) spaced && tests ;;
    blas) OPENBLAS_CORETYPE=Haswell tests ;;
    caches)
      local sizes status=0
      for sizes in "32 1024 32768" "32 1024" "128 12288" ""; do
        echo "== caches of KB: ${sizes:-not stated}"
        make_caches $sizes
        unshare -m bash -c 'mount --bind "$0" /sys/devices/system/cpu/cpu0/cache && exec "$@"' "$work/caches" \
          ctest "${ctest_arguments[@]}" </dev/null || status=1
      done
      return $status ;;
    isa)
      local isa status=0
      for isa in $(BISPARSE_ISA=none build/release/bin/bisparse-inspect tests/golden/small.bisparse --plan 2>&1 |
                   sed -n 's/.*it runs \(.*\))$/\1/p' | tr -d ',' | cut -d' ' -f2-); do
        echo "== BISPARSE_ISA=$isa"
        BISPARSE_ISA=$isa tests || status=1
      done
      return $status ;;
    together)
      make_locale && spaced && umask 077 && export TZ=Asia/Kolkata HOME=/proc/nonexistent OPENBLAS_CORETYPE=Haswell &&
        surround core ;;
    user)
      # The tests' paths are those of the tree, so the copy is mounted there, for this process alone.
      cp -a . "$work/tree" && chown -R 65534:65534 "$work/tree" || return 1
      unshare -m bash -c 'mount --bind "$0" "$PWD" && cd "$PWD" &&
        HOME=/proc/nonexistent exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"' \
        "$work/tree" ctest "${ctest_arguments[@]}" </dev/null ;;
    *) echo "environments.sh: '$1' is none of: ${all[*]}" >&2; return 2 ;;
  esac
}

failed=()
for name in "${names[@]}"; do
  printf '\n== %s\n' "$name"
  (surround "$name") || failed+=("$name")
done
if ((${#failed[@]})); then echo "failed: ${failed[*]}" >&2; exit 1; fi
echo "all passed: ${names[*]}"
