#!/bin/sh
# Passes all tests: with gcc and clang, and under the sanitizers. Full data sets are used where DLTRAIN_DATA names their folder.
# `./test.sh quick` runs the release build's tests only.
set -eu
cd "$(dirname "$0")"
jobs=$(nproc)

run() { # preset, further arguments of ctest
    preset=$1
    shift
    echo "== $preset"
    cmake --preset "$preset" >/dev/null
    cmake --build "build/$preset" -j "$jobs"
    ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --timeout 900 "$@"
}

if [ "${1:-}" = quick ]; then
    tools/install-packages.sh
    run release
    exit
fi
tools/install-packages.sh clang libclang-rt-14-dev python3 python3-jsonschema python3-yaml python3-h5py
run gcc
run clang
run asan
run tsan -L threads
