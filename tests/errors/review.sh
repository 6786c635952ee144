#!/bin/sh
# Runs `dltrain check` over every wrong file in this folder and compares what it says with NAME.expected beside it.
#   review.sh [--accept] [PROGRAM]
# PROGRAM is a dltrain over the catalogue of tests/support/fake_catalogue.c (default: the newest one under build/).
# NAME.args holds further arguments, one a line. Prints a diff for each case that differs; --accept takes what the
# program says as right: look at `git diff` before you commit that.
accept=
if [ "$1" = --accept ]; then
    accept=yes
    shift
fi
case $1 in
'' | /*) program=$1 ;;
*) program=$PWD/$1 ;;
esac
cd "$(dirname "$0")" || exit 2
program=${program:-$(ls -t ../../build/*/tests/dltrain_fake 2>/dev/null | head -n 1)}
if [ ! -x "$program" ]; then
    echo "review.sh: no program to test; build first, or name it" >&2
    exit 2
fi
found=$(mktemp) || exit 2
trap 'rm -f "$found"' EXIT
cases=0 wrong=0
for file in *.yaml; do
    name=${file%.yaml}
    set --
    if [ -f "$name.args" ]; then
        while IFS= read -r word; do set -- "$@" "$word"; done <"$name.args"
    fi
    env -i PATH="$PATH" HOME=/home/user COLUMNS=100 EPOCHS=ten EMPTY= API_KEY=12345 LSAN_OPTIONS="$LSAN_OPTIONS" \
        "$program" check "$@" "$file" >"$found" 2>&1 </dev/null
    echo "exit $?" >>"$found"
    cases=$((cases + 1))
    if [ -n "$accept" ]; then
        cmp -s "$found" "$name.expected" || { cp "$found" "$name.expected"; echo "accepted $name"; }
    elif ! diff -u "$name.expected" "$found"; then
        wrong=$((wrong + 1))
    fi
done
for expected in *.expected; do
    [ -f "${expected%.expected}.yaml" ] || { echo "$expected has no case"; wrong=$((wrong + 1)); }
done
echo "$cases cases, $wrong differ"
[ "$wrong" -eq 0 ] && [ "$cases" -ge 120 ]
