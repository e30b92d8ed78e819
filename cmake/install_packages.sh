#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that bisparse needs, and does nothing where they are all in place.
#   cmake/install_packages.sh            to build and train
#   cmake/install_packages.sh --tests    also what the tests and checks need
#   cmake/install_packages.sh --peers    also the engines that bisparse-bench --peers compares with
#   cmake/install_packages.sh --microphone  also what bisparse-listen --device is built with
#   cmake/install_packages.sh --python   also what the Python module and its tests need (BISPARSE_PYTHON=ON, pip install .)
#   cmake/install_packages.sh --aarch64  also what builds deploy/ for 64-bit Arm and runs its tests (preset aarch64)
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config               # build
  libtorch-dev libopenblas0-pthread                     # training, and the BLAS that makes it 2.4 times faster
  libgloo-dev                                           # training in several processes
  libtbb-dev libhwy-dev                                 # engine and front end
  libeigen3-dev                                         # one of the benchmark's peers
  libyaml-cpp-dev libcli11-dev libfmt-dev nlohmann-json3-dev
  libflatbuffers-dev flatbuffers-compiler libxxhash-dev # model file
  libsndfile1-dev libsamplerate0-dev nettle-dev libpng-dev libjpeg-dev # data
  espeak-ng flite wamerican-small                       # synthesised recordings: programs that are run, and a word list
  gnuplot-nox                                           # plots, run as a program
  graphviz                                              # drawings of networks, run as a program
)
peers=false
arm=false
for flag in "$@"; do
  case $flag in
    --tests) packages+=(make libgtest-dev libgmock-dev libbenchmark-dev clang clang-format libclang-rt-14-dev git python3 portaudio19-dev) ;;
    --microphone) packages+=(portaudio19-dev) ;;
    --python) packages+=(python3-dev python3-venv python3-pip pybind11-dev python3-numpy python3-pytest) ;;
    --peers)
      packages+=(libdnnl-dev libonnx-dev libprotobuf-dev protobuf-compiler)
      # A node from elsewhere brings its npm and conflicts with Debian's.
      command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm)
      peers=true ;;
    --aarch64)
      packages+=(g++-aarch64-linux-gnu qemu-user-static)
      for library in libhwy-dev libtbb-dev libfmt-dev libxxhash-dev libflatbuffers-dev libgtest-dev libgmock-dev; do
        packages+=("$library:arm64")
      done
      arm=true ;;
    *) echo "install_packages.sh: '$flag' is no flag (allowed: --tests, --peers, --microphone, --python, --aarch64)" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]} > 0)); then
  echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || { echo "install_packages.sh: installing needs root (hint: run cmake/install_packages.sh $* as root first)" >&2; exit 3; }
    root=(sudo)
  fi
  if $arm; then "${root[@]}" dpkg --add-architecture arm64; fi
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

# ONNX Runtime; its install script would fetch CUDA libraries.
folder=$(dirname "$0")/../apps/peers
if $peers && [[ ! -d $folder/node_modules/onnxruntime-node ]]; then
  ONNXRUNTIME_NODE_INSTALL=skip npm install --prefix "$folder" --ignore-scripts --no-package-lock --no-audit --no-fund
fi
