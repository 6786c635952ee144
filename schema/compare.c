/* schema/compare.c: specs as lists of values, their differences, and the run digest. */
#include "base/sha256.h"
#include "schema/dump.h"
#include "schema/schema_internal.h"

#include <string.h>

/* ---- flat list ---- */

typedef struct flattener {
    dlt_arena *arena;
    const char *file;
    dlt_spec_entry *entries; /* NULL: only counted */
    size_t count;
    dlt_buf path;
} flattener;

/* A line of text in the arena; NULL when memory is refused. */
static const char *line_of(dlt_arena *arena, const dlt_shown *s, bool defaults, bool canonical)
{
    dlt_buf line = {0};
    dlt_shown_line(s, defaults, canonical, &line);
    const char *text = line.failed ? NULL : dlt_arena_copy(arena, dlt_buf_text(&line), line.length);
    dlt_buf_release(&line);
    return text;
}

static void cut(dlt_buf *path, size_t length)
{
    if (!path->failed && length < path->length) {
        path->length = length;
        path->data[length] = '\0';
    }
}

static size_t add_key(dlt_buf *path, const char *key)
{
    const size_t before = path->length;
    dlt_buf_printf(path, "%s%s", before > 0 ? "." : "", key);
    return before;
}

static bool is_list_of_items(const dlt_shown *s)
{
    return s->type == DLT_YAML_LIST && s->count > 0 && (s->at[0]->item || is_list_of_items(s->at[0]));
}

static void add_entry(flattener *f, const dlt_shown *s, unsigned flags, const char *text,
                      const char *canonical)
{
    if (f->entries != NULL) {
        dlt_buf origin = {0};
        dlt_shown_origin(s, f->file, &origin);
        f->entries[f->count] = (dlt_spec_entry){.path = dlt_arena_string(f->arena, dlt_buf_text(&f->path)),
                                                .text = text,
                                                .canonical = canonical,
                                                .origin = dlt_arena_string(f->arena, dlt_buf_text(&origin)),
                                                .is_default = s->is_default,
                                                .flags = flags,
                                                .pos = s->pos};
        dlt_buf_finish(&origin, &f->path);
    }
    f->count++;
}

static void flatten(flattener *f, const dlt_shown *s, unsigned flags)
{
    flags |= s->flags;
    if (s->item && s->at[0]->count == 0) {
        add_entry(f, s, flags, s->at[0]->key, s->at[0]->canonical);
    } else if (s->item || s->type == DLT_YAML_MAP) {
        for (size_t i = 0; i < s->count; i++) {
            const size_t before = add_key(&f->path, s->item ? s->at[i]->canonical : s->at[i]->key);
            flatten(f, s->at[i], flags);
            cut(&f->path, before);
        }
    } else if (is_list_of_items(s)) {
        for (size_t i = 0; i < s->count; i++) {
            const size_t before = f->path.length;
            dlt_buf_printf(&f->path, "[%zu]", i);
            flatten(f, s->at[i], flags);
            cut(&f->path, before);
        }
    } else if (f->entries != NULL) {
        add_entry(f, s, flags, line_of(f->arena, s, true, false), line_of(f->arena, s, true, true));
    } else {
        f->count++;
    }
}

const dlt_spec_entry *dlt_spec_flatten(dlt_arena *arena, const dlt_run_spec *spec, size_t *count)
{
    flattener f = {.arena = arena, .file = spec->file};
    *count = 0;
    flatten(&f, spec->effective, 0);
    f.entries = dlt_arena_alloc(arena, f.count, sizeof *f.entries);
    if (f.entries != NULL) {
        f.count = 0;
        flatten(&f, spec->effective, 0);
        *count = f.count;
    }
    const bool failed = f.path.failed || dlt_arena_failed(arena);
    dlt_buf_release(&f.path);
    return failed ? NULL : f.entries;
}

/* ---- differences ---- */

typedef struct comparer {
    dlt_arena *arena;
    dlt_spec_change *changes; /* NULL: only counted */
    size_t count;
    bool all;
    dlt_buf path;
} comparer;

/* The entry with a key, looked for first where it most likely is. */
static const dlt_shown *with_key(const dlt_shown *map, const char *key, size_t guess)
{
    if (guess < map->count && strcmp(map->at[guess]->key, key) == 0) {
        return map->at[guess];
    }
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->at[i]->key, key) == 0) {
            return map->at[i];
        }
    }
    return NULL;
}

static void add_change(comparer *c, const dlt_shown *before, const dlt_shown *after, const char *old_text,
                       const char *new_text, unsigned flags)
{
    if (c->changes != NULL) {
        c->changes[c->count] =
            (dlt_spec_change){.path = dlt_arena_string(c->arena, dlt_buf_text(&c->path)),
                              .old_text = before == NULL     ? "(none)"
                                          : old_text != NULL ? old_text
                                                             : line_of(c->arena, before, false, false),
                              .new_text = after == NULL      ? "(none)"
                                          : new_text != NULL ? new_text
                                                             : line_of(c->arena, after, false, false),
                              .flags = flags,
                              .pos = after != NULL ? after->pos : (dlt_pos){0}};
    }
    c->count++;
}

static bool same_line(comparer *c, const dlt_shown *a, const dlt_shown *b)
{
    dlt_buf one = {0}, other = {0};
    dlt_shown_line(a, true, true, &one);
    dlt_shown_line(b, true, true, &other);
    if (one.failed || other.failed) {
        c->path.failed = true;
    }
    const bool same = strcmp(dlt_buf_text(&one), dlt_buf_text(&other)) == 0;
    dlt_buf_release(&one);
    dlt_buf_release(&other);
    return same;
}

/* Either may be NULL: it is not there. */
static void compare(comparer *c, const dlt_shown *before, const dlt_shown *after, unsigned flags)
{
    flags |= after != NULL ? after->flags : before->flags;
    if (!c->all && (flags & DLT_FIELD_NOT_IN_RUN) != 0) {
        return;
    }
    if (before == NULL || after == NULL) {
        add_change(c, before, after, NULL, NULL, flags);
        return;
    }
    if (before->item && after->item) {
        const dlt_shown *a = before->at[0], *b = after->at[0];
        if (strcmp(a->canonical, b->canonical) != 0) {
            add_change(c, before, after, a->key, b->key, flags);
            return;
        }
        const size_t length = add_key(&c->path, b->canonical);
        compare(c, a, b, flags);
        cut(&c->path, length);
        return;
    }
    if (before->type == DLT_YAML_MAP && after->type == DLT_YAML_MAP && !before->item && !after->item) {
        for (size_t i = 0; i < after->count; i++) {
            const size_t length = add_key(&c->path, after->at[i]->key);
            compare(c, with_key(before, after->at[i]->key, i), after->at[i], flags);
            cut(&c->path, length);
        }
        for (size_t i = 0; i < before->count; i++) {
            if (with_key(after, before->at[i]->key, i) == NULL) {
                const size_t length = add_key(&c->path, before->at[i]->key);
                compare(c, before->at[i], NULL, flags);
                cut(&c->path, length);
            }
        }
        return;
    }
    if (before->type == DLT_YAML_LIST && after->type == DLT_YAML_LIST &&
        (is_list_of_items(before) || is_list_of_items(after))) {
        for (size_t i = 0; i < before->count || i < after->count; i++) {
            const size_t length = c->path.length;
            dlt_buf_printf(&c->path, "[%zu]", i);
            compare(c, i < before->count ? before->at[i] : NULL, i < after->count ? after->at[i] : NULL,
                    flags);
            cut(&c->path, length);
        }
        return;
    }
    if (!same_line(c, before, after)) {
        add_change(c, before, after, NULL, NULL, flags);
    }
}

const dlt_spec_change *dlt_spec_compare(dlt_arena *arena, const dlt_run_spec *before,
                                        const dlt_run_spec *after, bool all, size_t *count)
{
    comparer c = {.arena = arena, .all = all};
    *count = 0;
    compare(&c, before->effective, after->effective, 0);
    c.changes = dlt_arena_alloc(arena, c.count, sizeof *c.changes);
    if (c.changes != NULL) {
        c.count = 0;
        compare(&c, before->effective, after->effective, 0);
        *count = c.count;
    }
    const bool failed = c.path.failed || dlt_arena_failed(arena);
    dlt_buf_release(&c.path);
    return failed ? NULL : c.changes;
}

/* ---- digest ---- */

/* Lengths stand before texts and counts before entries, so that no two trees give the same bytes. */
static void put_text(dlt_sha256 *sha, char tag, const char *text)
{
    const uint64_t length = strlen(text);
    uint8_t head[9] = {(uint8_t)tag};
    for (int i = 0; i < 8; i++) {
        head[1 + i] = (uint8_t)(length >> (8 * i));
    }
    dlt_sha256_update(sha, head, sizeof head);
    dlt_sha256_update(sha, text, length);
}

static void put_shown(dlt_sha256 *sha, const dlt_shown *s);

static void put_mapping(dlt_sha256 *sha, const dlt_shown *map)
{
    put_text(sha, '{', "");
    for (size_t i = 0; i < map->count; i++) {
        const dlt_shown *s = map->at[i];
        if ((s->flags & DLT_FIELD_NOT_IN_RUN) == 0) {
            put_text(sha, 'k', map->item ? s->canonical : s->key);
            put_shown(sha, s);
        }
    }
    put_text(sha, '}', "");
}

static void put_shown(dlt_sha256 *sha, const dlt_shown *s)
{
    switch (s->type) {
    case DLT_YAML_LIST:
        put_text(sha, '[', "");
        for (size_t i = 0; i < s->count; i++) {
            put_shown(sha, s->at[i]);
        }
        put_text(sha, ']', "");
        break;
    case DLT_YAML_MAP:
        put_mapping(sha, s);
        break;
    case DLT_YAML_NULL:
        put_text(sha, 'n', "");
        break;
    case DLT_YAML_SCALAR:
    default:
        put_text(sha, s->string ? 's' : 'v', s->canonical);
        break;
    }
}

void dlt_shown_digest(const dlt_shown *root, char text[65])
{
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256 sha;
    dlt_sha256_init(&sha);
    put_text(&sha, 'v', "dltrain run 1");
    put_shown(&sha, root);
    dlt_sha256_final(&sha, digest);
    dlt_sha256_hex(digest, text);
}
