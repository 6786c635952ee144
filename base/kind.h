/* base/kind.h: field tables, the single truth about what may be written in a model file.
 *
 * A kind (a layer, an optimizer, a data source, ...) describes its parameters by one table of dlt_field. From the tables
 * come parsing, ranges, defaults, suggestions, `dltrain help KIND`, the JSON Schema, shell completion and docs/config.md.
 * schema/ fills the parameter struct of a kind from YAML; nobody else parses anything.
 *
 *     typedef struct dense_params {
 *         int64_t units;
 *         bool use_bias;
 *         const dlt_item *activation;
 *         dlt_weight_params kernel;
 *     } dense_params;
 *     static const dlt_field dense_fields[] = {
 *         DLT_INT(dense_params, units, 1, 1 << 24, DLT_REQUIRED, "size of the last output axis"),
 *         DLT_BOOL(dense_params, use_bias, true, "add a learned vector"),
 *         DLT_ITEM(dense_params, activation, "activation", linear, "applied to the result"),
 *         DLT_WEIGHT(dense_params, kernel, "glorot_uniform", "the matrix"),
 *         {0},
 *     };
 */
#ifndef DLT_BASE_KIND_H
#define DLT_BASE_KIND_H

#include "base/diag.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dlt_field dlt_field;
typedef struct dlt_kind dlt_kind;
typedef struct dlt_item dlt_item;

/* ---- what a parameter struct is made of ---- */

/** A number that may be absent (YAML null). */
typedef struct dlt_opt_int {
    bool set;
    int64_t value;
} dlt_opt_int;
typedef struct dlt_opt_float {
    bool set;
    double value;
} dlt_opt_float;
/** Lists; count 0 and at NULL when absent or empty. */
typedef struct dlt_ints {
    size_t count;
    const int64_t *at;
} dlt_ints;
typedef struct dlt_floats {
    size_t count;
    const double *at;
} dlt_floats;
typedef struct dlt_strings {
    size_t count;
    const char *const *at;
} dlt_strings;
/** A list of things; layers: [...] */
typedef struct dlt_items {
    size_t count;
    const dlt_item *const *at;
} dlt_items;
/** A list of lists of things; branches: [[...], [...]] */
typedef struct dlt_item_lists {
    size_t count;
    const dlt_items *at;
} dlt_item_lists;
/** Mappings with free keys, in the order written. */
typedef struct dlt_float_map {
    const char *word; /* one of the field's names written in place of a mapping ("balanced"), or NULL */
    size_t count;
    const char *const *key;
    const double *value;
    const dlt_pos *pos; /* of the keys; NULL: not from a file */
} dlt_float_map;
typedef struct dlt_string_map {
    size_t count;
    const char *const *key;
    const char *const *value;
    const dlt_pos *pos; /* of the keys; NULL: not from a file */
} dlt_string_map;
typedef struct dlt_item_map {
    size_t count;
    const char *const *key;
    const dlt_item *const *value;
} dlt_item_map;
/** Names or numbers of columns: a number is kept as text with `number` set. */
typedef struct dlt_column_ref {
    const char *name; /* as written */
    bool number;      /* written as a plain integer: counts from 0, -1 is the last */
    int64_t index;
    dlt_pos pos;
} dlt_column_ref;
typedef struct dlt_columns {
    size_t count;
    const dlt_column_ref *at;
} dlt_columns;
/** What Keras lets a user say of one weight: kernel_initializer, kernel_regularizer, kernel_constraint. */
typedef struct dlt_weight_params {
    const char *name;            /* "kernel": set from the table */
    const dlt_item *initializer; /* never NULL */
    const dlt_item *regularizer; /* NULL: none */
    const dlt_item *constraint;  /* NULL: none */
} dlt_weight_params;

/** Bytes of a `name:`; with what is put around it, it is still a name in logs and in checkpoints. */
enum { DLT_MAX_NAME = 100 };

/** A thing named in a model file: which kind, with which parameters, from where. Constant once made. */
struct dlt_item {
    const dlt_kind *kind;
    const char *written;      /* the kind's name as it was written: "mse"; Keras logs a metric under it, if it is bare */
    bool bare;                /* the name stood alone, without parameters: `mse`, not `mse: {}` */
    const void *params;       /* struct of kind->size bytes; NULL when that is 0 */
    const char *name;         /* the user's `name:`, or NULL */
    bool trainable;           /* `trainable:`, true unless written */
    dlt_pos pos;              /* where the kind's name stands */
    const dlt_pos *field_pos; /* place of each field's value, by index in kind->fields; line 0: by default */
};

/* ---- tables ---- */

typedef enum dlt_field_type {
    DLT_FIELD_INT,         /* int64_t */
    DLT_FIELD_OPT_INT,     /* dlt_opt_int */
    DLT_FIELD_FLOAT,       /* double; "1/255" is accepted */
    DLT_FIELD_OPT_FLOAT,   /* dlt_opt_float */
    DLT_FIELD_BOOL,        /* bool */
    DLT_FIELD_STRING,      /* const char *; NULL when absent */
    DLT_FIELD_PATH,        /* const char *: made absolute against the folder of the file it stands in */
    DLT_FIELD_PATHS,       /* dlt_strings: one path or a list; globs are expanded by the source */
    DLT_FIELD_ENUM,        /* int: index in names */
    DLT_FIELD_AXES,        /* int64_t[count]: one integer for all axes, or a list of `count` */
    DLT_FIELD_INTS,        /* dlt_ints: one integer or a list */
    DLT_FIELD_SHAPE,       /* dlt_ints: a list; may be empty */
    DLT_FIELD_FLOATS,      /* dlt_floats: one number or a list */
    DLT_FIELD_STRINGS,     /* dlt_strings: one string or a list */
    DLT_FIELD_COLUMNS,     /* dlt_columns: one name or number, or a list */
    DLT_FIELD_FLOAT_MAP,   /* dlt_float_map */
    DLT_FIELD_STRING_MAP,  /* dlt_string_map */
    DLT_FIELD_ITEM,        /* const dlt_item *; NULL when absent or null */
    DLT_FIELD_ITEMS,       /* dlt_items */
    DLT_FIELD_ITEM_LISTS,  /* dlt_item_lists */
    DLT_FIELD_ITEM_MAP,    /* dlt_item_map */
    DLT_FIELD_STRUCT,      /* a struct of its own table, inside this one */
    DLT_FIELD_WEIGHT,      /* dlt_weight_params: three keys */
    DLT_FIELD_FLOAT_OR_ITEM /* const dlt_item *: a number becomes an item of kind `number` of the category */
} dlt_field_type;

enum {
    DLT_FIELD_OPEN_MIN = 1,    /* min itself is not allowed */
    DLT_FIELD_OPEN_MAX = 2,    /* max itself is not allowed */
    DLT_FIELD_NOT_IN_RUN = 4,  /* does not change what is trained: left out of the run digest (decisions 29) */
    DLT_FIELD_CHANGEABLE = 8,  /* may change on --resume auto --allow-change */
    DLT_FIELD_AUTO = 16,       /* accepts the word `auto`, which reads as absent */
    DLT_FIELD_NULL = 64,       /* accepts null, which reads as absent though the default is something else */
    DLT_FIELD_NON_FINITE = 32, /* accepts .inf, -.inf and .nan as well, whatever min and max are */
    DLT_FIELD_FILES = 128      /* names files: set in effective configs, for every PATH and PATHS */
};

struct dlt_field {
    const char *name;
    dlt_field_type type;
    size_t offset;           /* in the parameter struct */
    double min, max;         /* numbers, and each element of lists of numbers; lengths of SHAPE are bounded by `count` */
    int count;               /* AXES: number of axes; SHAPE: most elements */
    const char *def;         /* default in YAML syntax; "null": absent; for a required field see dlt_field_required */
    const char *const *names; /* ENUM: allowed names, NULL-terminated; FLOAT_MAP: words allowed in place of a mapping */
    const char *category;    /* ITEM*: which kinds may stand here */
    const dlt_field *fields; /* STRUCT: its table */
    size_t size;             /* STRUCT: its size */
    unsigned flags;
    const char *doc;         /* one line, small first letter, no full stop */
};

struct dlt_kind {
    const char *name; /* Keras' class name: "Dense" */
    const char *doc;  /* one line */
    size_t size;      /* of the parameter struct; 0 when there are none */
    const dlt_field *fields; /* ends with {0}; NULL when there are none */
    /** Other names, separated by spaces: Keras' string identifiers ("mse mean_squared_error"). NULL: snake case only. */
    const char *aliases;
    /** Field that a plain scalar in place of the parameters sets (`split: 0.1`). NULL: parameters must be a mapping. */
    const char *scalar_field;
    /** Checks across fields after each was found good; adds its errors to diag. NULL: nothing to check. */
    void (*check)(const dlt_item *item, dlt_diag *diag);
};

/** All kinds of one category ("layer", "optimizer", "initializer", ...). */
typedef struct dlt_category {
    const char *name;
    const char *doc;
    const dlt_kind *const *kinds;
    size_t count;
    bool named;     /* items take `name:` */
    bool called;    /* a bare item is called as its kind was written ("AUC"), as metrics are in Keras' logs */
    bool trainable; /* items take `trainable:` */
    const char *implied; /* kind that a list, or a mapping that names no kind, gives the parameters of; NULL: none */
} dlt_category;

/** Everything a model file can name. Built once in cmd/ and handed to schema/ (decisions 17). */
typedef struct dlt_catalogue {
    const dlt_category *categories;
    size_t count;
} dlt_catalogue;

/** Place of a field's value, or of the item when the value is the default. Names no field: the item's place. */
dlt_pos dlt_item_pos(const dlt_item *item, const char *field);
/** Number of fields of a table. */
size_t dlt_field_count(const dlt_field *fields);
/** The category of a name, or NULL. */
const dlt_category *dlt_catalogue_find(const dlt_catalogue *catalogue, const char *category);
/** The kind that `name` means in a category: class name, snake case or alias as Keras accepts them; NULL if unknown. */
const dlt_kind *dlt_kind_find(const dlt_category *category, const char *name);
/** True if `name` is the class name, snake-case name or an alias of the kind. */
bool dlt_kind_is(const dlt_kind *kind, const char *name);

/** True if the field has no default: its def is NULL, or the word DLT_REQUIRED stood in the table. */
bool dlt_field_required(const dlt_field *field);

/* ---- the macros that fill a table; each checks the member's type when compiled ----
 * Defaults of numbers, booleans, names and items are written bare (0.5, true, linear, null) or DLT_REQUIRED. */

#define DLT_MEMBER_(type, member, wanted)                                                                    \
    (offsetof(type, member) + 0 * sizeof(0 ? &((type *)0)->member : (wanted *)0))

#define DLT_INT(T, member, lo, hi, default_, doc_)                                                           \
    {.name = #member, .type = DLT_FIELD_INT, .offset = DLT_MEMBER_(T, member, int64_t), .min = (double)(lo),      \
     .max = (double)(hi), .def = #default_, .doc = doc_}
#define DLT_OPT_INT(T, member, lo, hi, doc_)                                                                 \
    {.name = #member, .type = DLT_FIELD_OPT_INT, .offset = DLT_MEMBER_(T, member, dlt_opt_int),                   \
     .min = (double)(lo), .max = (double)(hi), .def = "null", .doc = doc_}
#define DLT_FLOAT(T, member, lo, hi, default_, doc_)                                                         \
    {.name = #member, .type = DLT_FIELD_FLOAT, .offset = DLT_MEMBER_(T, member, double), .min = (lo), .max = (hi), \
     .def = #default_, .doc = doc_}
/* lo < value < hi, or with one of the flags DLT_FIELD_OPEN_* */
#define DLT_FLOAT_OPEN(T, member, lo, hi, flags_, default_, doc_)                                            \
    {.name = #member, .type = DLT_FIELD_FLOAT, .offset = DLT_MEMBER_(T, member, double), .min = (lo), .max = (hi), \
     .def = #default_, .flags = (flags_), .doc = doc_}
#define DLT_OPT_FLOAT(T, member, lo, hi, flags_, doc_)                                                       \
    {.name = #member, .type = DLT_FIELD_OPT_FLOAT, .offset = DLT_MEMBER_(T, member, dlt_opt_float), .min = (lo),  \
     .max = (hi), .def = "null", .flags = (flags_), .doc = doc_}
#define DLT_BOOL(T, member, default_, doc_)                                                                  \
    {.name = #member, .type = DLT_FIELD_BOOL, .offset = DLT_MEMBER_(T, member, bool), .def = #default_, .doc = doc_}
/* default_ is a string literal in YAML syntax, or NULL where the field is required */
#define DLT_STRING(T, member, default_, doc_)                                                                \
    {.name = #member, .type = DLT_FIELD_STRING, .offset = DLT_MEMBER_(T, member, const char *), .def = default_,  \
     .doc = doc_}
#define DLT_PATH(T, member, default_, doc_)                                                                  \
    {.name = #member, .type = DLT_FIELD_PATH, .offset = DLT_MEMBER_(T, member, const char *), .def = default_,    \
     .doc = doc_}
#define DLT_PATHS(T, member, default_, doc_)                                                                 \
    {.name = #member, .type = DLT_FIELD_PATHS, .offset = DLT_MEMBER_(T, member, dlt_strings), .def = default_,    \
     .doc = doc_}
#define DLT_ENUM(T, member, names_, default_, doc_)                                                          \
    {.name = #member, .type = DLT_FIELD_ENUM, .offset = DLT_MEMBER_(T, member, int), .names = (names_),           \
     .def = #default_, .doc = doc_}
#define DLT_AXES(T, member, axes, lo, hi, default_, doc_)                                                    \
    {.name = #member, .type = DLT_FIELD_AXES, .offset = offsetof(T, member), .count = (axes), .min = (double)(lo), \
     .max = (double)(hi), .def = #default_, .doc = doc_}
#define DLT_INTS(T, member, lo, hi, default_, doc_)                                                          \
    {.name = #member, .type = DLT_FIELD_INTS, .offset = DLT_MEMBER_(T, member, dlt_ints), .min = (double)(lo),    \
     .max = (double)(hi), .def = default_, .doc = doc_}
#define DLT_SHAPE_FIELD(T, member, lo, hi, most, default_, doc_)                                             \
    {.name = #member, .type = DLT_FIELD_SHAPE, .offset = DLT_MEMBER_(T, member, dlt_ints), .min = (double)(lo),   \
     .max = (double)(hi), .count = (most), .def = default_, .doc = doc_}
#define DLT_FLOATS(T, member, lo, hi, default_, doc_)                                                        \
    {.name = #member, .type = DLT_FIELD_FLOATS, .offset = DLT_MEMBER_(T, member, dlt_floats), .min = (lo),        \
     .max = (hi), .def = default_, .doc = doc_}
#define DLT_STRINGS(T, member, default_, doc_)                                                               \
    {.name = #member, .type = DLT_FIELD_STRINGS, .offset = DLT_MEMBER_(T, member, dlt_strings), .def = default_,  \
     .doc = doc_}
#define DLT_COLUMNS(T, member, default_, doc_)                                                               \
    {.name = #member, .type = DLT_FIELD_COLUMNS, .offset = DLT_MEMBER_(T, member, dlt_columns), .def = default_,  \
     .doc = doc_}
#define DLT_FLOAT_MAP(T, member, lo, hi, words_, doc_)                                                       \
    {.name = #member, .type = DLT_FIELD_FLOAT_MAP, .offset = DLT_MEMBER_(T, member, dlt_float_map), .min = (lo),  \
     .max = (hi), .names = (words_), .def = "null", .doc = doc_}
#define DLT_STRING_MAP(T, member, doc_)                                                                      \
    {.name = #member, .type = DLT_FIELD_STRING_MAP, .offset = DLT_MEMBER_(T, member, dlt_string_map),             \
     .def = "null", .doc = doc_}
/* default_ is written bare: linear, DLT_REQUIRED, null */
#define DLT_ITEM(T, member, category_, default_, doc_)                                                       \
    {.name = #member, .type = DLT_FIELD_ITEM, .offset = DLT_MEMBER_(T, member, const dlt_item *),                 \
     .category = (category_), .def = #default_, .doc = doc_}
#define DLT_ITEMS(T, member, category_, default_, doc_)                                                      \
    {.name = #member, .type = DLT_FIELD_ITEMS, .offset = DLT_MEMBER_(T, member, dlt_items),                       \
     .category = (category_), .def = default_, .doc = doc_}
#define DLT_ITEM_LISTS(T, member, category_, default_, doc_)                                                 \
    {.name = #member, .type = DLT_FIELD_ITEM_LISTS, .offset = DLT_MEMBER_(T, member, dlt_item_lists),             \
     .category = (category_), .def = default_, .doc = doc_}
#define DLT_ITEM_MAP(T, member, category_, doc_)                                                             \
    {.name = #member, .type = DLT_FIELD_ITEM_MAP, .offset = DLT_MEMBER_(T, member, dlt_item_map),                 \
     .category = (category_), .def = "null", .doc = doc_}
#define DLT_FLOAT_OR_ITEM(T, member, lo, hi, flags_, category_, default_, doc_)                              \
    {.name = #member, .type = DLT_FIELD_FLOAT_OR_ITEM, .offset = DLT_MEMBER_(T, member, const dlt_item *),        \
     .min = (lo), .max = (hi), .category = (category_), .flags = (flags_), .def = #default_, .doc = doc_}
#define DLT_STRUCT(T, member, fields_, default_, doc_)                                                       \
    {.name = #member, .type = DLT_FIELD_STRUCT, .offset = offsetof(T, member), .fields = (fields_),               \
     .size = sizeof(((T *)0)->member), .def = default_, .doc = doc_}
#define DLT_WEIGHT(T, member, initializer_, doc_)                                                            \
    {.name = #member, .type = DLT_FIELD_WEIGHT, .offset = DLT_MEMBER_(T, member, dlt_weight_params),              \
     .def = initializer_, .doc = doc_}

#endif
