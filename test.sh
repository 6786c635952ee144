#!/bin/sh
# Passes all tests: as ./build.sh builds the program, with clang, and under the sanitizers, and fuzzes each parser for half a
# minute. Full data sets are used where DLTRAIN_DATA names their folder. `./test.sh quick` runs those of the first build only.
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

tools/install-packages.sh python3 python3-jsonschema python3-yaml strace valgrind
CFLAGS="${CFLAGS:-} -Werror" ./build.sh
run release all
if [ "${1:-}" = quick ]; then
    exit
fi
# the runtime of clang's sanitizers is a package of its own where there is one of this name
# shellcheck disable=SC2046 # no word or one
tools/install-packages.sh clang $(apt-cache pkgnames 2>/dev/null | grep -x libclang-rt-dev || true)
run clang all -LE program
(export DLT_TEST_FEWER=2 && run asan all -LE program) # of random cases one in two: the first build has tried them all
run asan all -R 'program_(predict|signals)'
(export DLT_TEST_FEWER=4 && run tsan thread_tests -L threads) # of random cases, one in four: what runs on threads is the same in all
echo "== fuzz"
tests/fuzz.sh --seconds 30
