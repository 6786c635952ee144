#!/bin/sh
# Static analysis of the product: gcc's -fanalyzer and clang-tidy (.clang-tidy). Any finding is a failure.
#   tests/analyze.sh [FILE...]      default: every source file of the product
set -eu
cd "$(dirname "$0")/.."
build=build/analyze
# optimised, for that shows more, and with assert, which tells the analyzers what callers guarantee
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O2 -g -DDLT_ANALYSIS" >/dev/null
[ $# -gt 0 ] || set -- $(git ls-files 'base/*.c' 'io/*.c' 'graph/*.c' 'schema/*.c' 'layers/*.c' 'backend/*.c' 'trainer/*.c' 'cmd/*.c' |
    grep -v '^backend/cpu/simd/') # compiled once for each instruction set, by rules of its own
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT

# A file's own compile command, as cmake wrote it, with the analyzer and without the object.
python3 - "$build" "$@" >"$found/commands" <<'PYTHON'
import json, os, sys
build, wanted = sys.argv[1], {os.path.abspath(f) for f in sys.argv[2:]}
seen = set()
for entry in json.load(open(os.path.join(build, "compile_commands.json"))):
    if entry["file"] in wanted - seen:
        seen.add(entry["file"])
        command = entry["command"].split(" -o ")[0]
        print(f"cd {entry['directory']} && {command} -fanalyzer -S -o /dev/null {entry['file']}")
PYTHON
xargs -P "$(nproc)" -d '\n' -I '{}' sh -c '{}' <"$found/commands" 2>"$found/gcc" || true
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 clang-tidy -p $build --quiet >"$found/tidy" 2>/dev/null || true

{ grep -E 'Wanalyzer|error:' "$found/gcc"; grep -E 'warning:|error:' "$found/tidy"; } | sort -u | tee "$found/all"
echo "$# files, $(wc -l <"$found/all") findings"
[ ! -s "$found/all" ]
