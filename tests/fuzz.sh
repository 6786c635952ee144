#!/bin/sh
# Runs the fuzz targets of tests/fuzz under libFuzzer with AddressSanitizer and UBSan, two at a time:
#   tests/fuzz.sh [--seconds S | --runs N] [--save] [TARGET...]
# Without --seconds and --runs each target runs for 30 seconds; without targets all of them run. The corpus of each is kept in
# build/fuzz/corpus, which grows from run to run; inputs that fail are left in build/fuzz/crashes/TARGET and, with --save, copied to
# tests/fuzz/seeds/TARGET, where the ordinary tests run them from then on. Leaks, inputs of more than 10 seconds, 1 GiB of memory and
# single allocations of 128 MiB are failures too. Ends with 1 if anything failed. A line for each target goes to the file that
# DLTRAIN_SWEEP_RESULTS names, as from the sweeps.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd) build=$(pwd)/build/fuzz limit=-max_total_time=30 save=0
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) limit=-max_total_time=$2 && shift 2 ;;
    --runs) limit=-runs=$2 && shift 2 ;;
    --save) save=1 && shift ;;
    -*) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 2 ;;
    *) break ;;
    esac
done
if [ $# -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source##*/fuzz_}
        set -- "$@" "${name%.c}"
    done
fi
binaries=
for target in "$@"; do
    [ -f "tests/fuzz/fuzz_$target.c" ] || { echo "fuzz.sh: there is no target '$target'" >&2; exit 2; }
    binaries="$binaries fuzz_$target"
done
command -v clang >/dev/null || { echo "fuzz.sh: skipped: clang is not installed" && exit 77; }
# the core is built without notice; what is wrong with it is told
{ cmake --preset fuzz && cmake --build build/fuzz -j 2 --target $binaries; } >"${TMPDIR:-/tmp}/fuzz-build.$$" 2>&1 ||
    { cat "${TMPDIR:-/tmp}/fuzz-build.$$"; rm -f "${TMPDIR:-/tmp}/fuzz-build.$$"; exit 1; }
rm -f "${TMPDIR:-/tmp}/fuzz-build.$$"

# Traces of three frames and a small quarantine: fresh memory is what an execution costs most.
ASAN_OPTIONS=malloc_context_size=3:quarantine_size_mb=8:max_malloc_fill_size=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export ASAN_OPTIONS
mkdir -p "$build/logs"

fuzz() { # TARGET: runs it; its exit status stays in a file
    mkdir -p "$build/corpus/$1" "$build/crashes/$1"
    dictionary=
    [ -f "tests/fuzz/$1.dict" ] && dictionary=-dict=$root/tests/fuzz/$1.dict
    status=0
    "$build/tests/fuzz_$1" "$limit" $dictionary -entropic=0 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=128 \
        -print_final_stats=1 -artifact_prefix="$build/crashes/$1/" "$build/corpus/$1" "tests/fuzz/seeds/$1" \
        >"$build/logs/$1.log" 2>&1 || status=$?
    echo "$status" >"$build/logs/$1.status"
}

fuzz_all() { # every second target, from the one of this number on
    number=0 wanted=$1
    shift
    for target in "$@"; do
        [ $((number % 2)) -ne "$wanted" ] || fuzz "$target"
        number=$((number + 1))
    done
}

rm -f "$build"/logs/*.status
fuzz_all 0 "$@" &
fuzz_all 1 "$@"
wait

statistic() { # NAME TARGET: a number of libFuzzer's last lines
    sed -n "s/^stat::$1: *//p" "$build/logs/$2.log" | tail -n 1
}

failed=0
printf '%-12s %12s %8s %8s\n' target executions per\ s crashes
for target in "$@"; do
    status=$(cat "$build/logs/$target.status")
    executions=$(statistic number_of_executed_units "$target") rate=$(statistic average_exec_per_sec "$target")
    executions=${executions:-0} rate=${rate:-0} crashes=0
    if [ "$status" -ne 0 ]; then
        crashes=1 failed=1
    fi
    printf '%-12s %12s %8s %8s\n' "$target" "$executions" "$rate" "$crashes"
    if [ "$status" -ne 0 ]; then
        grep -E 'not so|runtime error|ERROR|SUMMARY|Test unit written' "$build/logs/$target.log" | sed 's/^/    /' || true
        if [ "$save" -eq 1 ]; then
            cp "$build/crashes/$target"/* "tests/fuzz/seeds/$target/"
        fi
    fi
    if [ -n "${DLTRAIN_SWEEP_RESULTS:-}" ]; then
        seconds=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$build/logs/$target.log" | tail -n 1)
        printf '{"sweep": "fuzz_%s", "commit": "%s", "date": "%s", "executions": %s, "crashes": %s, "seconds": %s}\n' "$target" \
            "$(git describe --always --dirty --exclude '*' 2>/dev/null)" "$(date -u +%F)" "$executions" "$crashes" "${seconds:-0}" \
            >>"$DLTRAIN_SWEEP_RESULTS"
    fi
done
exit $failed
