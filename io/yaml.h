/* io/yaml.h: a YAML text as a tree of nodes that know where they stand. Scalars stay text: the schema decides their type.
 * Built from libyaml's events under the limits below. Refused with a message: duplicate keys, tags outside the core set,
 * several documents, merge keys (`<<`: use include), UTF-16, invalid UTF-8, aliases that refer to themselves or expand
 * beyond the budget. JSON is read by the same parser. */
#ifndef DLT_IO_YAML_H
#define DLT_IO_YAML_H

#include "base/arena.h"
#include "base/diag.h"

enum {
    DLT_YAML_MAX_DEPTH = 32,
    DLT_YAML_MAX_BYTES = 1 << 20,
    DLT_YAML_MAX_NODES = 500000, /* aliases counted as often as they are used */
    DLT_YAML_MAX_SCALAR = 64 << 10,
    DLT_YAML_MAX_ANCHORS = 1000,
    DLT_YAML_MAX_ERRORS = 100 /* after so many mistakes of one text the rest is not looked at */
};

typedef enum dlt_yaml_type { DLT_YAML_NULL, DLT_YAML_SCALAR, DLT_YAML_LIST, DLT_YAML_MAP } dlt_yaml_type;

/** A node. Constant once made; an alias is the node it names, so nodes may be shared. */
typedef struct dlt_yaml dlt_yaml;
struct dlt_yaml {
    dlt_yaml_type type;
    bool quoted;      /* SCALAR: written in quotes or as a block, so it is a string whatever it looks like */
    const char *text; /* SCALAR: NUL-terminated; never holds a NUL byte */
    size_t length;
    size_t count;                 /* LIST, MAP: entries in the order written */
    dlt_yaml *const *keys;        /* MAP: scalars */
    dlt_yaml *const *values;      /* LIST, MAP */
    dlt_pos pos;
    const char *origin; /* NULL, or where the value came from if not from the text at pos: "env HOME" (set by schema/) */
};

/**
 * Parses `text` (not NUL-terminated). `name` is what messages call the file. Everything lives in `arena`; the text itself
 * may go. Adds the text to the diag as a source. An empty text gives a NULL-type root.
 * On error *root is NULL and libyaml's own errors appear in our words with their place. One exception: where the tree is
 * whole in spite of the mistakes (a key twice, a merge key, a foreign tag), *root is set, with the first of each key, so
 * that a caller can look for further mistakes; the status is an error all the same.
 */
dlt_status dlt_yaml_parse(dlt_arena *arena, const char *name, const char *text, size_t bytes, dlt_yaml **root,
                          dlt_diag *diag);
/** The same for a piece of a larger text that begins at `at`; adds no source. */
dlt_status dlt_yaml_parse_part(dlt_arena *arena, dlt_pos at, const char *text, size_t bytes, dlt_yaml **root,
                               dlt_diag *diag);
/** Reads a file of at most DLT_YAML_MAX_BYTES and parses it. `-` is standard input, which messages call "stdin". */
dlt_status dlt_yaml_load(dlt_arena *arena, const char *path, dlt_yaml **root, dlt_diag *diag);
/** Value of a key in a MAP, or NULL (also for other types). */
const dlt_yaml *dlt_yaml_get(const dlt_yaml *map, const char *key);

#endif
