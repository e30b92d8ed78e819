#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that bisparse needs, and does nothing where they are all in place.
#   cmake/install_packages.sh            to build and train
#   cmake/install_packages.sh --tests    also what the tests and checks need
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config               # build
  libtorch-dev libopenblas0-pthread                     # training, and the BLAS that makes it 2.4 times faster
  libtbb-dev libhwy-dev libeigen3-dev libkissfft-dev    # engine and front end
  libyaml-cpp-dev libcli11-dev libfmt-dev nlohmann-json3-dev
  libflatbuffers-dev flatbuffers-compiler libxxhash-dev # model file
  libsndfile1-dev libsamplerate0-dev nettle-dev libxtensor-dev # data
  espeak-ng                                             # synthesised recordings, run as a program
)
if [[ ${1:-} == --tests ]]; then
  packages+=(libgtest-dev libgmock-dev libbenchmark-dev clang clang-format libclang-rt-14-dev git python3)
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then exit 0; fi

echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
root=()
if ((EUID != 0)); then root=(sudo); fi
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
