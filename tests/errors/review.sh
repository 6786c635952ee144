#!/bin/sh
# Runs the program over every wrong file below this folder and compares what it says with NAME.expected beside it.
#   review.sh [--accept] [FAKE REAL]
# Here lie mistakes that every catalogue knows: `check` by FAKE, a dltrain over the catalogue of
# tests/support/fake_catalogue.c, whose messages do not change with every layer that is added. NAME.args holds further
# arguments, one a line. In real/ lie mistakes that need real layers, losses and data: `check` by REAL, the program itself, or
# the shell lines of NAME.sh, in which `dltrain` is the program and $T a folder that is thrown away.
# Default: the newest programs under build/. Prints a diff for each case that differs; --accept takes what the program says as
# right: look at `git diff` before you commit that. In what is expected this folder is HERE and $T is T.
accept=
if [ "$1" = --accept ]; then
    accept=yes
    shift
fi
absolute() {
    case $1 in
    '' | /*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
    esac
}
fake=$(absolute "$1") real=$(absolute "$2")
cd "$(dirname "$0")" || exit 2
here=$(pwd -P)
fake=${fake:-$(ls -t "$here"/../../build/*/tests/dltrain_fake 2>/dev/null | head -n 1)}
real=${real:-$(ls -t "$here"/../../build/*/dltrain 2>/dev/null | head -n 1)}
if [ ! -x "$fake" ] || [ ! -x "$real" ]; then
    echo "review.sh: no program to test; build first, or name both" >&2
    exit 2
fi
found=$(mktemp) scratch=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo /tmp)") || exit 2
trap 'rm -rf "$found" "$scratch"' EXIT
cases=0 wrong=0

# one NAME: the last part of a case's command has written $found
judge() {
    sed -i "s#$here/real#HERE#g; s#$here#HERE#g; s#$T#T#g" "$found"
    cases=$((cases + 1))
    if [ -n "$accept" ]; then
        cmp -s "$found" "$1.expected" || { cp "$found" "$1.expected"; echo "accepted $1"; }
    elif ! diff -u "$1.expected" "$found"; then
        wrong=$((wrong + 1))
    fi
}
leftovers() {
    for file in *.expected *.args *.sh; do
        case $file in
        '*'* | review.sh) ;;
        *) [ -f "${file%.*}.yaml" ] || { echo "$file has no case"; wrong=$((wrong + 1)); } ;;
        esac
    done
}

T=$scratch/T
for file in *.yaml; do
    name=${file%.yaml}
    set --
    if [ -f "$name.args" ]; then
        while IFS= read -r word; do set -- "$@" "$word"; done <"$name.args"
    fi
    env -i PATH="$PATH" HOME=/home/user COLUMNS=100 EPOCHS=ten EMPTY= API_KEY=12345 LSAN_OPTIONS="$LSAN_OPTIONS" \
        "$fake" check "$@" "$file" >"$found" 2>&1 </dev/null
    echo "exit $?" >>"$found"
    judge "$name"
done
leftovers
few=$cases
cd real || exit 2
mkdir "$scratch/bin" && ln -s "$real" "$scratch/bin/dltrain" || exit 2
for file in *.yaml; do
    name=${file%.yaml}
    rm -rf "$T"
    mkdir "$T" || exit 2
    set -- -c "dltrain check $file"
    [ -f "$name.sh" ] && set -- "$name.sh"
    env -i PATH="$scratch/bin:$PATH" HOME="$T" XDG_CACHE_HOME="$scratch/cache" COLUMNS=100 T="$T" LSAN_OPTIONS="$LSAN_OPTIONS" \
        sh "$@" >"$found" 2>&1 </dev/null
    echo "exit $?" >>"$found"
    judge "$name"
done
leftovers
echo "$cases cases, $((cases - few)) of them of the real program, $wrong differ"
[ "$wrong" -eq 0 ] && [ "$few" -ge 240 ] && [ "$((cases - few))" -ge 300 ]
