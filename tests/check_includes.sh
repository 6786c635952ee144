#!/bin/sh
# Checks the directions of includes between folders (docs/architecture.md, "Folders"), and that calls which end the
# program or print, and the unsafe string functions, stay where they are allowed. Prints each offence; exit 1 if any.
cd "$(dirname "$0")/.." || exit 2
find base io graph schema layers backend dist trainer export cmd -name '*.[ch]' -o -name '*.cu' -o -name '*.def' 2>/dev/null |
sort | xargs awk '
BEGIN {
    may["base"] = "base"
    may["io"] = "base io"
    may["graph"] = "base graph"
    may["schema"] = "base io schema"
    may["layers"] = "base graph layers"
    may["backend"] = "base graph backend"
    may["dist"] = "base backend dist"
    may["trainer"] = "base io graph schema layers backend dist trainer"
    may["export"] = "base io graph schema layers trainer export"
    may["cmd"] = "base io graph schema layers backend dist trainer export cmd"
}
FNR == 1 {
    folder = FILENAME
    sub(/\/.*/, "", folder)
    comment = 0
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
    target = $0
    sub(/^[^"]*"/, "", target)
    sub(/".*/, "", target)
    if (target !~ /\//) { offence("include by its path from the top: \"" target "\"") }
    top = target
    sub(/\/.*/, "", top)
    if (index(" " may[folder] " ", " " top " ") == 0) { offence(folder "/ may not include " target) }
    if (target ~ /_internal\.h$/) {
        own = FILENAME; sub(/\/[^\/]*$/, "", own)
        other = target; sub(/\/[^\/]*$/, "", other)
        if (own != other && index(own "/", other "/") != 1) { offence("internal header of another folder: " target) }
    }
    next
}
{
    line = $0
    gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
    while (match(line, /\/\*[^*]*\*+([^\/*][^*]*\*+)*\//)) { line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH) }
    if (comment) {
        if (line !~ /\*\//) { next }
        sub(/^.*\*\//, "", line); comment = 0
    }
    if (line ~ /\/\*/) { sub(/\/\*.*/, "", line); comment = 1 }
    if (line ~ /(^|[^A-Za-z0-9_.>])(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|gets|setlocale)[ \t]*\(/) {
        offence("banned function: " $0)
    }
    if (folder != "cmd" && FILENAME != "base/log.c" &&
        line ~ /(^|[^A-Za-z0-9_.>])(exit|_exit|abort|printf|puts|putchar)[ \t]*\(/ && FILENAME !~ /^io\/h5\/h5_child/) {
        offence("only cmd/ and base/log.c may print or end the program: " $0)
    }
    if (folder != "base" && line ~ /(^|[^A-Za-z0-9_.>])(malloc|calloc|realloc|free|posix_memalign|strdup)[ \t]*\(/) {
        offence("memory goes through base/alloc.h: " $0)
    }
}
function offence(text) { print FILENAME ":" FNR ": " text; bad = 1 }
END { exit bad }
'
