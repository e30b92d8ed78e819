#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds everything and runs all tests. Usage: ./test.sh [ctest arguments]
set -euo pipefail
cd "$(dirname "$0")"
cmake/install_packages.sh --tests
cmake --preset release
cmake --build --preset release
ctest --preset release --no-tests=error --parallel "$(nproc)" "$@"
