#!/bin/sh
# Passes all tests: as ./build.sh builds the program, with clang, and under the sanitizers. Full data sets are used where
# DLTRAIN_DATA names their folder. `./test.sh quick` runs those of the first build only.
set -eu
cd "$(dirname "$0")"
jobs=$(nproc)

run() { # preset, target, further arguments of ctest
    preset=$1 target=$2
    shift 2
    echo "== $preset"
    cmake --preset "$preset" >/dev/null
    cmake --build "build/$preset" -j "$jobs" --target "$target"
    ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --timeout 900 "$@"
}

tools/install-packages.sh python3 python3-jsonschema python3-yaml strace
CFLAGS="${CFLAGS:-} -Werror" ./build.sh
run release all
if [ "${1:-}" = quick ]; then
    exit
fi
tools/install-packages.sh clang
run clang all -LE program
run asan all -LE program
run asan all -R 'program_(predict|signals)'
run tsan thread_tests -L threads
