/* schema/dump.h: a run spec written down again: as YAML that can be run, as a list of values, and against
 * another spec. */
#ifndef DLT_SCHEMA_DUMP_H
#define DLT_SCHEMA_DUMP_H

#include "base/text.h"
#include "schema/spec.h"

enum {
    DLT_DUMP_DEFAULTS = 1, /* write values that stand by default as well */
    DLT_DUMP_ORIGINS = 2   /* one value a line, with where it came from as a comment: `check --show` */
};

/**
 * Appends the effective config: variables resolved, includes merged, paths absolute, kinds by their class
 * names. It reads back as the same spec with the same digest; with DLT_DUMP_DEFAULTS the text of a very large model can be longer than what
 * is read. Check out->failed.
 */
void dlt_spec_dump(const dlt_run_spec *spec, unsigned flags, dlt_buf *out);

/** One value of a spec. */
typedef struct dlt_spec_entry {
    const char *path;      /* "layers[1].Conv2D.filters" */
    const char *text;      /* as it would be written: "32", "[3, 3]", "relu" */
    const char *canonical; /* the same for the same value, however it was written */
    const char *origin;    /* "model.yaml:14:5", "default", "-o", "env HOME", "include base.yaml:3" */
    bool is_default;
    unsigned flags; /* of its field: DLT_FIELD_NOT_IN_RUN, DLT_FIELD_CHANGEABLE, DLT_FIELD_FILES */
    dlt_pos pos;    /* line 0: by default */
} dlt_spec_entry;

/** All values of a spec, defaults included, in the order of the tables. NULL when memory is refused. */
const dlt_spec_entry *dlt_spec_flatten(dlt_arena *arena, const dlt_run_spec *spec, size_t *count);

/** One difference between two specs. A thing of another kind is one difference, not one for each parameter.
 */
typedef struct dlt_spec_change {
    const char *path;     /* "layers[1].Conv2D.filters" */
    const char *old_text; /* "32"; "(none)" where there was nothing */
    const char *new_text; /* "48"; "(none)" where there is nothing now */
    unsigned flags;       /* of the field */
    dlt_pos pos;          /* in the new spec; line 0: by default */
} dlt_spec_change;

/**
 * What differs from `before` to `after`, in the order of `after`; fields with DLT_FIELD_NOT_IN_RUN only if
 * `all`. NULL when memory is refused; *count may be 0.
 */
const dlt_spec_change *dlt_spec_compare(dlt_arena *arena, const dlt_run_spec *before,
                                        const dlt_run_spec *after, bool all, size_t *count);

#endif
