#!/bin/sh
# Installs packages, builds dltrain, and trains a small network on the digits that come along.
set -eu
cd "$(dirname "$0")"
tools/install-packages.sh
cmake --preset release >/dev/null
cmake --build build/release
build/release/dltrain fit configs/digits-cnn.yaml
