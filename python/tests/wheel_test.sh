#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `pip install .` without network in a fresh environment, then its tests. Not part of ctest: it compiles the engine once more.
# Usage: python/tests/wheel_test.sh [PYTHON]
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${1:-/usr/bin/python3}" -m venv --system-site-packages "$work/venv"
PIP_NO_INDEX=1 "$work/venv/bin/pip" install -q "$source"
cd "$work"
BISPARSE_SOURCE=$source "$work/venv/bin/python" -m pytest -q -p no:cacheprovider "$source/python/tests"
