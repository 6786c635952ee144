#!/bin/sh
# Runs the unit and registry tests under valgrind's memcheck with the AVX2 kernels, and those that compute once more with the
# kernels in plain C (its processor has no AVX-512). Every error and every leak is a failure.
#   tests/valgrind.sh [BUILD-FOLDER [TEST...]]
# Left out, because they are about processes that are killed and start many thousands: test_checkpoint_faults,
# test_h5_hostile.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- "$build"/tests/test_*
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
${CC:-cc} -shared -fPIC -O1 -o "$log/spawn.so" tests/tools/spawn_own_program.c

cat >"$log/one" <<'SHELL'
#!/bin/sh
# FOLDER-OF-LOGS INSTRUCTION-SET TEST
log=$1 isa=$2 test=$3 name=$(basename "$3")
case $isa-$name in
*-test_checkpoint_faults | *-test_h5_hostile) exit 0 ;;
plain-test_kernels | plain-test_vmath) exit 0 ;; # they go through all instruction sets by themselves
plain-test_ew | plain-test_ops | plain-test_plans | plain-test_gradients | plain-test_golden_* | plain-test_*step) ;;
plain-*) exit 0 ;; # computes nothing
esac
if DLT_TEST_FEWER=8 DLT_TEST_SLOWER=100 DLTRAIN_ISA=$isa LD_PRELOAD=$log/spawn.so valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite,possible \
    --suppressions=tests/valgrind.supp --trace-children=no "$test" >"$log/$isa-$name" 2>&1; then
    echo "ok    $isa $name"
else
    echo "WRONG $isa $name"
    touch "$log/failed"
    tail -n 60 "$log/$isa-$name"
fi
SHELL
chmod +x "$log/one"

for isa in avx2 plain; do
    for test in "$@"; do
        [ ! -x "$test" ] || [ -d "$test" ] || echo "$isa $test"
    done
done | xargs -P "$(nproc)" -L 1 "$log/one" "$log"
[ ! -e "$log/failed" ]
