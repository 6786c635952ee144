/* schema/schema_internal.h: what the files of schema/ share while one model file is read.
 *
 * Order of work (spec.c): text -> tree (io/yaml.c) -> include.c merges other files in -> override.c puts `-o`
 * in -> apply.c fills the structs by their field tables, with vars.c replacing `${...}` on the way ->
 * effective.c writes the structs down again with everything filled in: what dump.c prints and compare.c
 * compares and digests. */
#ifndef DLT_SCHEMA_INTERNAL_H
#define DLT_SCHEMA_INTERNAL_H

#include "base/text.h"
#include "io/yaml.h"
#include "schema/spec.h"

enum {
    DLT_INCLUDE_MAX_DEPTH = 8,
    DLT_INCLUDE_MAX_FILES = 64, /* read for one model file, counting each time */
    DLT_VARS_MAX_DEPTH = 32,    /* variables that stand in variables */
    DLT_FILES_MAX = DLT_INCLUDE_MAX_FILES + 4
};

/** Which node gave a value; remembered for messages, `check --show` and comparisons. */
typedef struct dlt_origins dlt_origins;

/** A file of the model, and the folder that relative paths in it are taken against. */
typedef struct dlt_file_entry {
    const char *name, *folder;
} dlt_file_entry;

typedef struct dlt_default_entry {
    const char *def;
    const dlt_yaml *node;
} dlt_default_entry;

typedef struct dlt_kind_entry {
    const dlt_category *category;
    const char *name;
    const dlt_kind *kind;
} dlt_kind_entry;

/** Parts of a model file in which something is wrong, so that what hangs on them is not known. */
enum { DLT_BROKEN_LAYERS = 1, DLT_BROKEN_DATA = 2, DLT_BROKEN_FIT = 4, DLT_BROKEN_METRICS = 8, DLT_BROKEN_VALIDATION = 16, DLT_BROKEN_ACTIVATION = 32 };

/** State of reading one model file. */
typedef struct dlt_loader {
    dlt_arena *arena;
    const dlt_catalogue *catalogue;
    const dlt_field *model; /* the table of the whole file */
    dlt_diag *diag;
    bool stored;     /* see dlt_load_options */
    bool stop;       /* so many mistakes, or so many values, that the rest is not looked at */
    bool in_default; /* a default of a table is being read, not the user's text */
    const dlt_kind *stand_in; /* of dlt_load_options */
    unsigned broken;          /* DLT_BROKEN_..: what was left out because it is wrong */
    bool harm;                /* in the thing that is being read: something wrong that its shape may hang on */
    const dlt_item *usable;   /* the thing read last, if it is wrong without such harm; NULL: it is right, or there is none */
    bool include_missing;     /* one could not be read: what is not there may stand in it */
    size_t errors;
    size_t visited; /* values looked at, those behind variables included */
    int depth;      /* of nested values while applying */
    int resolving;  /* of variables inside variables */
    dlt_origins *origins;
    dlt_buf path;         /* of the value being looked at: "layers[3].Dense.units" */
    const char *owner;    /* what messages begin with: kind or section; NULL at the top */
    int64_t element;      /* of the list of values that is being read; -1: none */
    const dlt_yaml *vars; /* the mapping under `vars:`, or NULL */
    dlt_file_entry files[DLT_FILES_MAX];
    size_t file_count;
    size_t includes; /* files read by include */
    dlt_default_entry defaults[64];
    dlt_kind_entry kinds[256];
} dlt_loader;

/* ---- mistake.c: saying what is wrong ---- */

/** Adds an error; detail may be NULL; its key is the loader's path where it has none. Always returns false.
 */
bool dlt_mistake(dlt_loader *l, dlt_pos at, const dlt_detail *detail, const char *fmt, ...) DLT_PRINTF(4, 5);
/** "OWNER: NAME must be EXPECTED, found WHAT; HINT" at the node; hint may be NULL. Always returns false. */
bool dlt_mistake_value(dlt_loader *l, const char *name, const dlt_yaml *node, const char *expected,
                       const char *hint);
/** What stands at a node, as messages say it: 'ten', 0, "12" (in quotes), a list, nothing. Lives in the
 * arena. */
const char *dlt_found_text(dlt_loader *l, const dlt_yaml *node);
/** Moves a text into the arena and releases it; "" and "out of memory" in the diag where it is not whole. */
const char *dlt_take_text(dlt_loader *l, dlt_buf *text);
/** "OWNER: ", or "" at the top. Lives in the arena. */
const char *dlt_owner_prefix(dlt_loader *l);
/** Unknown key `key`, at `at`, among `fields` of the current owner; `category` (or NULL) tells whether items
 * take `name` and `trainable`. Returns the key that was meant, as far as can be told, or NULL. */
const char *dlt_mistake_key(dlt_loader *l, dlt_pos at, const char *key, const dlt_field *fields,
                            const dlt_category *category);
/** Unknown kind `name` in a category, at `at`. Always returns false. */
bool dlt_mistake_kind(dlt_loader *l, dlt_pos at, const char *name, const dlt_category *category);

/* ---- expect.c: what may stand in a field, in words ---- */

/** "an integer of 1..16777216", "true or false", "one of valid, same", "a layer". */
void dlt_expect(const dlt_field *field, dlt_buf *out);
/** The same for one element of a field that takes lists. */
void dlt_expect_element(const dlt_field *field, dlt_buf *out);
/** "a layer", "an optimizer", "a loss". */
void dlt_expect_item(const char *category, dlt_buf *out);
/** "layers", "losses". */
void dlt_plural(const char *word, dlt_buf *out);
/** What a field could be given, as an example: "10", "[1, 2]", "relu". */
void dlt_example_value(const dlt_catalogue *catalogue, const dlt_field *field, dlt_buf *out);
/** How a kind is written with what it must be given: "Dense: {units: 10}", or its bare name. */
void dlt_example_item(const dlt_catalogue *catalogue, const dlt_kind *kind, dlt_buf *out);
/** Bound of an integer field: a double rounded into int64. */
int64_t dlt_bound_int(double bound);

/* ---- number.c: scalars to numbers ---- */

/** "1e-3", "1/255", "0.5"; .inf and .nan where `special` is set. */
bool dlt_read_number(const char *text, size_t length, bool special, double *value);
/** A number as YAML has it: "10", "0.001", ".inf"; at least 40 bytes. Reads back as the same double (-0 as
 * 0). */
void dlt_number_text(double value, char *text, size_t room);
/** A finite number for a field of numbers that float32, in which everything is computed, does not have. */
bool dlt_beyond_float(const dlt_field *field, double value);
/** Whether a number is inside a field's bounds, and float32's where it is no integer. */
bool dlt_in_bounds(const dlt_field *field, double value);
/** What someone probably meant by `text` where a number, an integer or a boolean is wanted; NULL if unknown.
 * In arena. */
const char *dlt_number_hint(dlt_arena *arena, const dlt_field *field, const dlt_yaml *node);
const char *dlt_bool_hint(dlt_arena *arena, const dlt_yaml *node);

/* ---- apply.c: trees into structs ---- */

enum { DLT_MOST_FIELDS = 128 /* of one table */ };

/** Which part of a field a key names. */
typedef enum dlt_part_of {
    DLT_WHOLE,
    DLT_INITIALIZER, /* the three keys of a DLT_FIELD_WEIGHT */
    DLT_REGULARIZER,
    DLT_CONSTRAINT
} dlt_part_of;

/** The field that `key` names in a table, or NULL. */
const dlt_field *dlt_field_of(const dlt_field *fields, const char *key, dlt_part_of *part);
/** Suffix of a weight's key: "_initializer"; and its category: "initializer". */
const char *dlt_part_suffix(dlt_part_of part);
/** Category of the items under a field, or NULL when it takes none. */
const char *dlt_field_category(const dlt_field *field, dlt_part_of part);
/** True for the keys that are the user's notes. */
bool dlt_is_note(const dlt_yaml *key);
/** A default of a table as a node. NULL when memory is refused or the table is wrong. */
const dlt_yaml *dlt_default_node(dlt_loader *l, const char *def);
/** Applies the model's own table to a tree. False when anything was wrong. */
bool dlt_apply_model(dlt_loader *l, const dlt_kind *model, const dlt_yaml *tree, dlt_spec *spec,
                     dlt_item *root);
/** The field that a plain number sets in a kind `number`. */
const dlt_field *dlt_number_field(const dlt_kind *number);
/** Applies the default of the one field of a table to a struct; for checking tables. */
bool dlt_apply_default(dlt_loader *l, const dlt_field *field, void *base);
/**
 * Applies a mapping to a struct. category, field_pos and item are those of a thing, NULL for a section; `at` is where
 * what is missing is reported.
 */
bool dlt_apply_fields(dlt_loader *l, const dlt_field *fields, const dlt_category *category, const dlt_yaml *map,
                      dlt_pos at, char *base, dlt_pos *field_pos, dlt_item *item);
/** The path grows by a key or an index; both return what dlt_leave cuts it back to. */
size_t dlt_enter_key(dlt_loader *l, const char *key);
size_t dlt_enter_index(dlt_loader *l, size_t index);
void dlt_leave(dlt_loader *l, size_t before);

/* ---- values.c: single values, lists and mappings of them. All return false after a mistake ---- */

/** A field that holds no things. `node` is resolved and no null. */
bool dlt_apply_plain(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node, void *at);
bool dlt_read_float(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node, bool element,
                    double *value);
bool dlt_read_bool(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node, bool *value);
/** "NAME must be WHAT THE FIELD TAKES, found ..."; of one element of a list where `element`. Always returns false. */
bool dlt_wrong_value(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node, bool element,
                     const char *hint);
bool dlt_is_plain_scalar(const dlt_yaml *node);
/** Zeroed memory for a list; NULL for none, and where memory is refused, which the arena remembers. */
void *dlt_list_of(dlt_loader *l, size_t count, size_t size);

/* ---- items.c: things. All return false after a mistake; nodes are resolved ---- */

bool dlt_apply_item(dlt_loader *l, const dlt_category *category, const dlt_yaml *node, const dlt_item **to);
bool dlt_apply_items(dlt_loader *l, const dlt_field *field, const dlt_category *category, const char *name,
                     const dlt_yaml *node, dlt_items *items);
bool dlt_apply_item_lists(dlt_loader *l, const dlt_field *field, const dlt_category *category, const char *name,
                          const dlt_yaml *node, dlt_item_lists *lists);
bool dlt_apply_item_map(dlt_loader *l, const dlt_field *field, const dlt_category *category, const char *name,
                        const dlt_yaml *node, dlt_item_map *map);
bool dlt_apply_float_or_item(dlt_loader *l, const dlt_field *field, const char *name, const dlt_yaml *node,
                             const dlt_item **to);
/** A field's category. Where the catalogue lacks it: an empty one of that name, never NULL. */
const dlt_category *dlt_category_of(dlt_loader *l, const dlt_field *field, dlt_part_of part);
/** dlt_kind_find with a memory. */
const dlt_kind *dlt_find_kind(dlt_loader *l, const dlt_category *category, const char *name);

/** Remembers which node gave the value at an address. False when memory is refused. */
bool dlt_origin_put(dlt_loader *l, const void *address, const dlt_field *field, const dlt_yaml *node);
/** That node, or NULL: the value is a default. */
const dlt_yaml *dlt_origin_get(const dlt_origins *origins, const void *address, const dlt_field *field);

/* ---- trees ---- */

/** Copies of nodes, in the loader's arena; NULL when memory is refused. */
dlt_yaml *dlt_tree_copy(dlt_loader *l, const dlt_yaml *node);
dlt_yaml *dlt_tree_scalar(dlt_loader *l, const char *text, size_t length, bool quoted, dlt_pos pos);
/** A mapping or list of `count` entries, to be filled. */
dlt_yaml *dlt_tree_map(dlt_loader *l, size_t count, dlt_yaml ***keys, dlt_yaml ***values, dlt_pos pos);
const dlt_yaml *dlt_tree_empty(dlt_loader *l, dlt_pos pos);
dlt_yaml *dlt_tree_list(dlt_loader *l, size_t count, dlt_yaml ***values, dlt_pos pos);
/** Copy of a mapping (NULL: an empty one) with `key` set to `value`. */
dlt_yaml *dlt_tree_with(dlt_loader *l, const dlt_yaml *map, dlt_yaml *key, dlt_yaml *value, dlt_pos pos);
/** The one key of an item's mapping that is no note: its index, or -1 where there is none or more than one.
 */
int dlt_tree_only_key(const dlt_yaml *map);

/* ---- include.c, override.c, vars.c ---- */

/** Notes a file and the folder that paths in it are relative to. */
bool dlt_loader_add_file(dlt_loader *l, const char *name, const char *folder);
/** That folder; the model file's own where the name is not known. */
const char *dlt_loader_folder(const dlt_loader *l, const char *name);
/** Merges what the file's `include` names below its own keys. Returns the new tree, NULL after an error. */
const dlt_yaml *dlt_include(dlt_loader *l, const dlt_kind *model, const dlt_yaml *tree, const char *folder);
/** Lays `over` on `base` as the tables of `fields` want it: mappings merge, everything else is replaced. */
const dlt_yaml *dlt_merge(dlt_loader *l, const dlt_field *fields, const dlt_yaml *base, const dlt_yaml *over);
/** Puts overrides into a tree; wrong ones are reported and left out. NULL when memory is refused. */
const dlt_yaml *dlt_override_all(dlt_loader *l, const dlt_kind *model, const dlt_yaml *tree,
                                 const dlt_load_options *options);
/** Replaces `${...}` in a scalar; other nodes and plain text come back as they are. NULL after an error. */
const dlt_yaml *dlt_resolve(dlt_loader *l, const dlt_yaml *node);

/* ---- effective.c: a spec written down again ---- */

/** A value of a spec. Lists and mappings without things in them are one text: "[3, 3]". */
typedef struct dlt_shown dlt_shown;
struct dlt_shown {
    dlt_yaml_type type;     /* LIST and MAP hold sections and things */
    const char *key;        /* in a mapping; of a thing: its kind as it was written */
    const char *text;       /* SCALAR, NULL: a number as it was written, else as we write it */
    const char *canonical;  /* the same for the same value; parameters of a thing: its class name */
    bool string;            /* SCALAR: a text, to be quoted where it could be read as something else */
    bool item;              /* a thing: MAP of one entry, the mapping of its parameters */
    bool section;           /* MAP: a struct of the tables */
    bool is_default;
    bool always;            /* written even where defaults are left out */
    unsigned flags;         /* of the field */
    const dlt_yaml *source; /* the node that gave it; NULL: by default */
    dlt_pos pos;
    size_t count;
    dlt_shown **at;
};

/** Writes down everything, defaults included. NULL when memory is refused. */
dlt_shown *dlt_effective(dlt_arena *arena, const dlt_item *root, const dlt_origins *origins);
/** The entry at a path as flatten writes them ("fit.batch_size", "layers[3].units"), or NULL. */
const dlt_shown *dlt_shown_find(const dlt_shown *root, const char *path);
/** "key: " on one line in YAML syntax, the key in quotes where it could be read as something else. */
void dlt_put_key(const char *key, dlt_buf *out);
/** A text in YAML syntax, in quotes where it could be read as something else. "$$" and "${" become "$$$" and "$${": in values they
 * mean something, in keys they do not. */
void dlt_quote(const char *text, bool string, dlt_buf *out);
/** A value on one line: "32", "[3, 3]", "{Adam: {learning_rate: 1e-3}}"; canonical: the same for the same
 * value. */
void dlt_shown_line(const dlt_shown *shown, bool defaults, bool canonical, dlt_buf *out);
/** "model.yaml:14:5", "default", "-o", "env HOME", "include base.yaml:3". `file` is the model file's name. */
void dlt_shown_origin(const dlt_shown *shown, const char *file, dlt_buf *out);
/** The run digest (decisions 29). */
void dlt_shown_digest(const dlt_shown *root, char text[65]);

#endif
