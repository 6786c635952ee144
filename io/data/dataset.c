/* io/data/dataset.c: keeping records and reading them back. */
#include "io/data/dataset.h"

#include "base/alloc.h"
#include "base/linux_map.h"
#include "io/data/folder.h"
#include "io/data/pack.h"
#include "io/data/signature.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    SEGMENT_BYTES = 1 << 20,    /* of memory, about, where the number of records is not known */
    MAP_BYTES = 4 << 20,        /* from this size on memory comes from the kernel, in large pages */
    ONE_SEGMENT = 62,           /* shift that no row reaches */
    SPILL_BYTES = 1 << 20,      /* read at once on the way into a cache file */
    SCAN_CACHE_BYTES = 8 << 20, /* files from this size on are not scanned twice */
    RUN_BYTES = 1 << 20,        /* read at once from a file */
    GAP_BYTES = 16 << 10,       /* between records that are still read together */
    META_VERSION = 1
};

typedef enum place { NOT_KEPT, IN_MEMORY, IN_CACHE, IN_PLACE, ON_DEMAND /* the source's fetch */ } place;

/* A file that holds some parts of each record at a fixed distance. */
typedef struct file_region {
    const dlt_pack *pack; /* verified pages; or */
    int fd;               /* a file of the source */
    const char *path;
    int64_t offset, stride;
    size_t span; /* bytes of a record in it */
    size_t part_count;
    const size_t *parts, *part_offsets; /* NULL: all parts, at unit_offsets */
    size_t one_part, one_offset;
} file_region;

struct dlt_dataset {
    dlt_source *source; /* NULL after a cache hit: then frame and stats are our own */
    dlt_frame *own_frame;
    dlt_stats own_stats;
    int32_t **own_map;

    const dlt_frame *frame;
    const dlt_stats *stats;
    int32_t *const *class_map; /* by part, or NULL */
    int64_t count;
    bool exact;
    char digest[DLT_SHA256_HEX], content[DLT_SHA256_HEX];
    int64_t file_bytes;
    dlt_stamp *stamps; /* after a cache hit; else the source's */
    size_t stamp_count;
    dlt_arena *arena;

    place place;
    char *place_text;
    /* of the units, as in dlt_source */
    size_t unit_bytes;
    int64_t stride, span;
    const size_t *unit_offsets;
    /* IN_MEMORY: one segment where the number of units is known; else units_per_segment, a power of two, in
     * each */
    unsigned char **segments;
    size_t segment_count;
    size_t mapped; /* bytes of the one segment if the kernel gave it; 0: dlt_alloc did */
    int shift;
    uint64_t memory;
    /* IN_CACHE, IN_PLACE */
    dlt_pack *pack;
    file_region *regions;
    size_t region_count;
};

/* ---- memory ---- */

static int64_t units_per_segment(const dlt_dataset *ds)
{
    return (int64_t)1 << ds->shift;
}

/* Segments for a number of units that is found out, or one for all. */
static void choose_segments(dlt_dataset *ds, bool known, uint64_t budget)
{
    const size_t most = budget < SEGMENT_BYTES ? (size_t)budget : SEGMENT_BYTES;
    ds->shift = known ? ONE_SEGMENT : 0;
    while (!known && ((size_t)2 << ds->shift) * ds->unit_bytes <= most) {
        ds->shift++;
    }
}

/* One more segment for `units` units; NULL when memory is refused. */
static unsigned char *add_segment(dlt_dataset *ds, int64_t units)
{
    unsigned char **segments = dlt_realloc(ds->segments, ds->segment_count + 1, sizeof *segments);
    if (segments == NULL) {
        return NULL;
    }
    ds->segments = segments;
    const size_t bytes = (size_t)units * ds->unit_bytes;
    const bool map = ds->shift == ONE_SEGMENT && bytes >= MAP_BYTES;
    unsigned char *segment = map ? dlt_map_zeroed(bytes) : dlt_alloc_aligned(64, bytes);
    if (segment != NULL) {
        segments[ds->segment_count++] = segment;
        ds->mapped = map ? bytes : 0;
        ds->memory += bytes;
    }
    return segment;
}

static void drop_segments(dlt_dataset *ds)
{
    for (size_t i = 0; i < ds->segment_count; i++) {
        if (ds->mapped > 0) {
            dlt_unmap(ds->segments[i], ds->mapped);
        } else {
            dlt_free(ds->segments[i]);
        }
    }
    dlt_free(ds->segments);
    ds->segments = NULL;
    ds->segment_count = 0;
    ds->memory = 0;
}

/* ---- what was learnt, as bytes ---- */

static void write_meta(const dlt_source *source, int64_t units, dlt_buf *out)
{
    const size_t parts = source->frame->layout.count;
    const dlt_stats *stats = &source->stats;
    dlt_put_u64(out, META_VERSION);
    dlt_put_u64(out, source->unit_bytes);
    dlt_put_u64(out, (uint64_t)source->stride);
    dlt_put_u64(out, (uint64_t)source->span);
    dlt_put_u64(out, (uint64_t)units);
    dlt_put_u64(out, (uint64_t)stats->records);
    dlt_put_u64(out, (uint64_t)stats->classes.count);
    dlt_put_u64(out, (uint64_t)(stats->classes.other + 1));
    dlt_put_double(out, stats->classes.other_value);
    for (int64_t i = 0; i < stats->classes.count; i++) {
        dlt_put_u64(out, (uint64_t)stats->classes.records[i]);
        dlt_put_u64(out, (uint64_t)(stats->classes.first[i] + 1));
    }
    dlt_frame_write(source->frame, out);
    for (size_t i = 0; i < parts; i++) {
        const dlt_part_stats *part = &stats->part[i];
        const int32_t *map = source->class_map != NULL ? source->class_map[i] : NULL;
        dlt_put_u64(out, source->unit_offsets != NULL ? source->unit_offsets[i]
                                                      : source->frame->layout.offsets[i]);
        dlt_put_u64(out, (uint64_t)part->missing);
        dlt_put_u64(out, (uint64_t)(part->distinct + 1));
        dlt_put_double(out, part->least);
        dlt_put_double(out, part->most);
        dlt_put_u64(out, part->whole);
        dlt_put_u64(out, map != NULL);
        for (int64_t k = 0; map != NULL && k < source->frame->layout.parts[i].dictionary->count; k++) {
            dlt_put_u64(out, (uint64_t)map[k]);
        }
    }
}

static bool read_classes(dlt_get *in, dlt_class_stats *classes)
{
    classes->count = classes->room = dlt_get_count(in, DLT_CLASSES_MOST);
    classes->other = dlt_get_count(in, INT64_MAX) - 1;
    classes->other_value = dlt_get_double(in);
    if (in->bad || (in->end - in->at) / 16 < classes->count) {
        classes->count = classes->room = 0;
        in->bad = true;
        return true;
    }
    classes->records = dlt_alloc_zeroed((size_t)classes->count, sizeof *classes->records);
    classes->first = dlt_alloc_zeroed((size_t)classes->count, sizeof *classes->first);
    for (int64_t i = 0; classes->records != NULL && classes->first != NULL && i < classes->count; i++) {
        classes->records[i] = dlt_get_count(in, INT64_MAX);
        classes->first[i] = dlt_get_count(in, INT64_MAX) - 1;
    }
    return classes->records != NULL && classes->first != NULL;
}

/* True if that many records lie in that many units; bytes is what the units take. */
static bool records_fit(const dlt_dataset *ds, int64_t records, int64_t units, int64_t *bytes)
{
    int64_t last = 0;
    return records > 0 && dlt_mul_i64(units, (int64_t)ds->unit_bytes, bytes) &&
           dlt_mul_i64(records - 1, ds->stride, &last) && last <= *bytes - ds->span;
}

/* Fills the data set from a cache file's meta. The file has a digest, so what is wrong in it is our own
 * doing, or that of someone who can compute digests: nothing outside of memory is reached all the same. */
static dlt_status read_meta(dlt_dataset *ds, const void *meta, size_t bytes, int64_t *units, dlt_diag *diag)
{
    dlt_get in = {meta, (const unsigned char *)meta + bytes, false};
    size_t used = 0;
    int64_t held = 0;
    in.bad = dlt_get_u64(&in) != META_VERSION;
    ds->unit_bytes = (size_t)dlt_get_count(&in, INT32_MAX);
    ds->stride = dlt_get_count(&in, INT32_MAX);
    ds->span = dlt_get_count(&in, INT32_MAX);
    *units = dlt_get_count(&in, INT64_MAX);
    const int64_t records = dlt_get_count(&in, INT64_MAX);
    const bool memory = read_classes(&in, &ds->own_stats.classes);
    if (!memory) {
        return dlt_fail_memory(diag);
    }
    in.bad = in.bad || ds->unit_bytes == 0 || ds->stride == 0 || ds->span == 0;
    if (!in.bad) {
        DLT_TRY(dlt_frame_read(in.at, (size_t)(in.end - in.at), &used, "a cache file", DLT_E_DATA,
                               &ds->own_frame, diag));
        in.at += used;
        const size_t parts = ds->own_frame->layout.count;
        const dlt_class_stats classes = ds->own_stats.classes;
        size_t *offsets = dlt_arena_alloc(ds->arena, parts, sizeof *offsets);
        ds->own_map = dlt_alloc_zeroed(parts, sizeof *ds->own_map);
        if (!dlt_stats_init(&ds->own_stats, parts) || ds->own_map == NULL || offsets == NULL) {
            ds->own_stats.classes = classes;
            return dlt_fail_memory(diag);
        }
        ds->own_stats.classes = classes;
        ds->own_stats.records = records;
        ds->own_stats.complete = true;
        ds->unit_offsets = offsets;
        for (size_t i = 0; i < parts && !in.bad; i++) {
            dlt_part_stats *part = &ds->own_stats.part[i];
            const dlt_part *described = &ds->own_frame->layout.parts[i];
            offsets[i] = (size_t)dlt_get_count(&in, ds->span);
            part->missing = dlt_get_count(&in, INT64_MAX);
            part->distinct = dlt_get_count(&in, INT64_MAX) - 1;
            part->least = dlt_get_double(&in);
            part->most = dlt_get_double(&in);
            part->whole = dlt_get_count(&in, 1) != 0;
            in.bad = in.bad || dlt_part_bytes(described) > (size_t)ds->span - offsets[i];
            const bool mapped = dlt_get_count(&in, 1) != 0;
            in.bad = in.bad || (mapped && described->type != DLT_COLUMN_TEXT);
            if (mapped && !in.bad) {
                const int64_t words = described->dictionary->count;
                ds->own_map[i] = dlt_alloc_zeroed((size_t)words, sizeof **ds->own_map);
                if (ds->own_map[i] == NULL) {
                    return dlt_fail_memory(diag);
                }
                for (int64_t k = 0; k < words; k++) {
                    ds->own_map[i][k] = (int32_t)dlt_get_count(&in, words - 1);
                }
            }
        }
    }
    if (in.bad || !records_fit(ds, records, *units, &held)) {
        return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                        "the cache file '%s' is damaged; delete it, and it is packed anew",
                        dlt_pack_path(ds->pack));
    }
    ds->frame = ds->own_frame;
    ds->stats = &ds->own_stats;
    ds->class_map = ds->own_map;
    return DLT_OK;
}

/* ---- cache files ---- */

static void digest_frame(const dlt_frame *frame, dlt_sha256 *sha, bool *no_memory)
{
    dlt_buf bytes = {0};
    dlt_frame_write(frame, &bytes);
    *no_memory = bytes.failed;
    dlt_sha256_update(sha, dlt_buf_text(&bytes), bytes.length);
    dlt_buf_release(&bytes);
}

static dlt_status make_key(const dlt_source *source, dlt_pack_key *key, dlt_diag *diag)
{
    dlt_sha256 sha;
    bool no_memory = false;
    const unsigned char follows = source->options.follow != NULL;
    dlt_sha256_init(&sha);
    dlt_source_digest(source, true, &sha);
    dlt_sha256_update(&sha, &follows, 1);
    if (follows) {
        digest_frame(source->options.follow, &sha, &no_memory);
    }
    dlt_sha256_final(&sha, key->key);
    dlt_sha256_init(&sha);
    for (size_t i = 0; i < source->stamp_count; i++) {
        const int64_t facts[2] = {source->stamps[i].size, source->stamps[i].mtime_ns};
        dlt_sha256_update(&sha, facts, sizeof facts);
        dlt_sha256_update(&sha, source->stamps[i].sample, sizeof source->stamps[i].sample);
        if (source->stamps[i].folder != NULL) {
            dlt_sha256_update(&sha, source->stamps[i].folder->times, sizeof source->stamps[i].folder->times);
        }
    }
    dlt_sha256_final(&sha, key->stamp);
    key->what = source->stamp_count > 0 ? source->stamps[0].path : source->item->kind->name;
    key->name = source->stamp_count > 0 ? dlt_path_base(source->stamps[0].path) : source->item->kind->name;
    return no_memory ? dlt_fail_memory(diag) : DLT_OK;
}

static dlt_status no_folder(dlt_diag *diag)
{
    return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                    "the data do not fit data.memory and there is no place for a packed copy: neither "
                    "data.cache nor HOME is set");
}

/* Takes over a cache file if there is one that will do. */
static dlt_status try_cache(dlt_dataset *ds, const char *folder, const dlt_pack_key *key, bool want_records,
                            bool *hit, dlt_diag *diag)
{
    dlt_pack *pack = NULL;
    size_t bytes = 0;
    int64_t units = 0;
    *hit = false;
    if (folder == NULL) {
        return DLT_OK;
    }
    DLT_TRY(dlt_pack_open(folder, key, want_records, &pack, diag));
    if (pack == NULL) {
        return DLT_OK;
    }
    ds->pack = pack;
    const void *meta = dlt_pack_meta(pack, &bytes);
    DLT_TRY(read_meta(ds, meta, bytes, &units, diag));
    ds->count = ds->own_stats.records;
    ds->exact = true;
    if (want_records && units * (int64_t)ds->unit_bytes > dlt_pack_bytes(pack)) {
        return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                        "the cache file '%s' is damaged; delete it, and it is packed anew",
                        dlt_pack_path(pack));
    }
    *hit = true;
    return DLT_OK;
}

/* What was left out when the file was written is said at each start. */
static void warn_of_left_out(const dlt_dataset *ds, dlt_diag *diag)
{
    char out[40], all[40];
    const int64_t wanted = ds->source->wanted;
    if (wanted > ds->count) {
        dlt_format_count(wanted - ds->count, out, sizeof out);
        dlt_format_count(wanted, all, sizeof all);
        dlt_warn(diag, dlt_item_pos(ds->source->item, "path"), "%s of %s records were left out when '%s' was written: they cannot be read", out, all,
                 dlt_pack_path(ds->pack));
    }
}

static dlt_status cache_regions(dlt_dataset *ds, dlt_diag *diag)
{
    ds->regions = dlt_alloc_zeroed(1, sizeof *ds->regions);
    dlt_buf text = {0};
    dlt_buf_printf(&text, "cache file %s", dlt_pack_path(ds->pack));
    if (ds->regions == NULL || text.failed) {
        dlt_buf_release(&text);
        return dlt_fail_memory(diag);
    }
    ds->place_text = text.data;
    ds->place = IN_CACHE;
    ds->region_count = 1;
    ds->regions[0] = (file_region){.pack = ds->pack,
                                   .fd = -1,
                                   .stride = ds->stride,
                                   .span = (size_t)ds->span,
                                   .part_count = ds->frame->layout.count};
    return DLT_OK;
}

/* Copies the records of a cache file into memory, where they fit now. */
static dlt_status cache_into_memory(dlt_dataset *ds, dlt_diag *diag)
{
    choose_segments(ds, true, UINT64_MAX);
    const int64_t units = dlt_pack_bytes(ds->pack) / (int64_t)ds->unit_bytes;
    unsigned char *pages = dlt_alloc_aligned(DLT_PACK_PAGE, dlt_pack_room(RUN_BYTES));
    dlt_status status = pages != NULL ? DLT_OK : dlt_fail_memory(diag);
    for (int64_t done = 0; status == DLT_OK && done < units;) {
        const int64_t here = units - done < units_per_segment(ds) ? units - done : units_per_segment(ds);
        const size_t bytes = (size_t)here * ds->unit_bytes;
        unsigned char *segment = add_segment(ds, here);
        status = segment != NULL ? DLT_OK : dlt_fail_memory(diag);
        for (size_t at = 0; status == DLT_OK && at < bytes;) {
            const size_t n = bytes - at < RUN_BYTES ? bytes - at : RUN_BYTES;
            const unsigned char *from = NULL;
            status =
                dlt_pack_read(ds->pack, done * (int64_t)ds->unit_bytes + (int64_t)at, n, pages, &from, diag);
            if (status == DLT_OK) {
                memcpy(segment + at, from, n);
            }
            at += n;
        }
        done += here;
    }
    dlt_free(pages);
    ds->place = IN_MEMORY;
    return status;
}

/* Of records in memory. */
static void digest_segments(const dlt_dataset *ds, int64_t units, uint8_t digest[DLT_SHA256_BYTES])
{
    dlt_content content;
    dlt_content_begin(&content);
    for (size_t i = 0; i < ds->segment_count; i++) {
        const int64_t here = ds->shift == ONE_SEGMENT || units < units_per_segment(ds) ? units : units_per_segment(ds);
        dlt_content_add(&content, ds->segments[i], (size_t)here * ds->unit_bytes);
        units -= here;
    }
    dlt_content_end(&content, digest);
}

/* What the numbers of the records mean is part of the content. */
static dlt_status make_content(dlt_dataset *ds, const uint8_t records[DLT_SHA256_BYTES], dlt_diag *diag)
{
    dlt_sha256 sha;
    uint8_t digest[DLT_SHA256_BYTES];
    bool no_memory = false;
    dlt_sha256_init(&sha);
    digest_frame(ds->frame, &sha, &no_memory);
    dlt_sha256_update(&sha, records, DLT_SHA256_BYTES);
    dlt_sha256_final(&sha, digest);
    dlt_sha256_hex(digest, ds->content);
    return no_memory ? dlt_fail_memory(diag) : DLT_OK;
}

/* ---- from a source ---- */

static void take_over(dlt_dataset *ds)
{
    const dlt_source *source = ds->source;
    ds->frame = source->frame;
    ds->stats = &source->stats;
    ds->class_map = source->class_map;
    ds->unit_bytes = source->unit_bytes;
    ds->stride = source->stride;
    ds->span = source->span;
    ds->unit_offsets = source->unit_offsets != NULL ? source->unit_offsets : source->frame->layout.offsets;
}

static dlt_status settle(dlt_source *source, dlt_diag *diag)
{
    const dlt_source_desc *desc = dlt_source_desc_of(source->item);
    return desc->settle != NULL ? desc->settle(source, diag) : DLT_OK;
}

/* When enough was read: how many classes there are. Who follows train has its classes. */
static void note_classes(dlt_source *source)
{
    const dlt_frame *train = source->options.follow;
    source->frame->class_count =
        train != NULL ? train->class_count : dlt_classes_seen(&source->frame->layout, &source->stats);
}

static dlt_status probe(dlt_dataset *ds, dlt_diag *diag)
{
    dlt_source *source = ds->source;
    int64_t got = 1;
    while (source->units < 0 && source->stats.records < DLT_PROBE_RECORDS && got > 0) {
        DLT_TRY(dlt_source_next(source, INT64_MAX, NULL, &got, diag));
    }
    DLT_TRY(settle(source, diag));
    note_classes(source);
    ds->exact = source->stats.complete;
    ds->count = source->units >= 0 ? dlt_source_records(source, source->units)
                : ds->exact        ? source->stats.records
                                   : -1;
    return DLT_OK;
}

/* Looks at all records; *units counts them. */
static dlt_status scan(dlt_dataset *ds, int64_t *units, dlt_diag *diag)
{
    dlt_source *source = ds->source;
    *units = 0;
    for (int64_t got = 1; got > 0; *units += got) {
        DLT_TRY(dlt_source_next(source, INT64_MAX, NULL, &got, diag));
    }
    note_classes(source);
    ds->exact = true;
    ds->count = dlt_source_records(source, *units);
    return DLT_OK;
}

/* Writes what was learnt, and no records, so that the next scan need not read all again. */
static dlt_status save_scan(dlt_dataset *ds, const char *folder, const dlt_pack_key *key, int64_t units,
                            dlt_diag *diag)
{
    dlt_pack_writer *writer = NULL;
    dlt_buf meta = {0};
    write_meta(ds->source, units, &meta);
    if (meta.failed) {
        dlt_buf_release(&meta);
        return dlt_fail_memory(diag);
    }
    /* a folder that cannot be written costs time on the next scan, nothing else: no message */
    if (dlt_pack_create(folder, key, &writer, NULL) == DLT_OK) {
        (void)!dlt_pack_finish(writer, dlt_buf_text(&meta), meta.length, NULL);
    }
    dlt_buf_release(&meta);
    return DLT_OK;
}

/* Copies all units into memory, as long as they fit. *spilled: they did not; what was read so far is in
 * memory. */
static dlt_status fill_memory(dlt_dataset *ds, uint64_t budget, int64_t *units, bool *spilled, dlt_diag *diag)
{
    dlt_source *source = ds->source;
    *units = 0;
    *spilled = false;
    choose_segments(ds, source->units >= 0, budget);
    const int64_t whole = ds->shift == ONE_SEGMENT ? source->units : units_per_segment(ds);
    while (source->units < 0 || *units < source->units) {
        const int64_t in_last = *units & (units_per_segment(ds) - 1);
        if (in_last == 0) {
            int64_t wanted = whole;
            if (source->units >= 0 && source->units - *units < wanted) {
                wanted = source->units - *units;
            }
            if (source->units < 0 && ds->memory + (uint64_t)wanted * ds->unit_bytes > budget && *units > 0) {
                *spilled = true;
                return DLT_OK;
            }
            if (add_segment(ds, wanted) == NULL) {
                return dlt_fail_memory(diag);
            }
        }
        const int64_t room = source->units >= 0 && source->units - *units < whole - in_last
                                 ? source->units - *units
                                 : whole - in_last;
        int64_t got = 0;
        DLT_TRY(dlt_source_next(source, room,
                                ds->segments[ds->segment_count - 1] + (size_t)in_last * ds->unit_bytes, &got,
                                diag));
        *units += got;
        if (got == 0) {
            break;
        }
    }
    if (source->units >= 0) { /* the source looks for what its header did not promise */
        int64_t more = 0;
        DLT_TRY(dlt_source_next(source, 1, NULL, &more, diag));
    }
    note_classes(source);
    ds->place = IN_MEMORY;
    return DLT_OK;
}

/* Copies all units into a cache file, those in memory first. */
static dlt_status fill_cache(dlt_dataset *ds, const char *folder, const dlt_pack_key *key, int64_t units,
                             dlt_diag *diag)
{
    dlt_source *source = ds->source;
    dlt_pack_writer *writer = NULL;
    dlt_buf meta = {0};
    dlt_status status = dlt_pack_create(folder, key, &writer, diag);
    for (size_t i = 0; status == DLT_OK && i < ds->segment_count; i++) {
        status =
            dlt_pack_append(writer, ds->segments[i], (size_t)units_per_segment(ds) * ds->unit_bytes, diag);
    }
    drop_segments(ds);
    const int64_t most =
        (int64_t)(SPILL_BYTES / ds->unit_bytes) > 0 ? (int64_t)(SPILL_BYTES / ds->unit_bytes) : 1;
    unsigned char *buffer = status == DLT_OK ? dlt_alloc_aligned(64, (size_t)most * ds->unit_bytes) : NULL;
    if (status == DLT_OK && buffer == NULL) {
        status = dlt_fail_memory(diag);
    }
    for (int64_t got = 1; status == DLT_OK && got > 0; units += got) {
        status = dlt_source_next(source, most, buffer, &got, diag);
        if (status == DLT_OK && got > 0) {
            status = dlt_pack_append(writer, buffer, (size_t)got * ds->unit_bytes, diag);
        }
    }
    dlt_free(buffer);
    if (status == DLT_OK) {
        note_classes(source);
        write_meta(source, units, &meta);
        status = meta.failed ? dlt_fail_memory(diag) : DLT_OK;
    }
    if (status == DLT_OK) {
        status = dlt_pack_finish(writer, dlt_buf_text(&meta), meta.length, diag);
    } else {
        dlt_pack_abort(writer);
    }
    dlt_buf_release(&meta);
    DLT_TRY(status);
    DLT_TRY(dlt_pack_open(folder, key, true, &ds->pack, diag));
    if (ds->pack == NULL) {
        return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                        "the packed copy of '%s' was replaced while it was written", key->what);
    }
    ds->count = dlt_source_records(source, units);
    ds->exact = true;
    return cache_regions(ds, diag);
}

/* Writes a cache file of records that memory holds, for the next start. Where it cannot be written that start costs as much as this one. */
static dlt_status keep_copy(const dlt_dataset *ds, const char *folder, const dlt_pack_key *key, int64_t units,
                            dlt_diag *diag)
{
    dlt_pack_writer *writer = NULL;
    dlt_buf meta = {0};
    int64_t left = units;
    write_meta(ds->source, units, &meta);
    if (meta.failed) {
        dlt_buf_release(&meta);
        return dlt_fail_memory(diag);
    }
    dlt_status status = dlt_pack_create(folder, key, &writer, NULL);
    for (size_t i = 0; status == DLT_OK && i < ds->segment_count; i++) {
        const int64_t here = ds->shift == ONE_SEGMENT || left < units_per_segment(ds) ? left : units_per_segment(ds);
        status = dlt_pack_append(writer, ds->segments[i], (size_t)here * ds->unit_bytes, NULL);
        left -= here;
    }
    if (status == DLT_OK) {
        status = dlt_pack_finish(writer, dlt_buf_text(&meta), meta.length, NULL);
    } else {
        dlt_pack_abort(writer);
    }
    dlt_buf_release(&meta);
    if (status == DLT_E_MEMORY) {
        return dlt_fail_memory(diag);
    }
    if (status != DLT_OK) {
        dlt_note(diag, (dlt_pos){0}, "%s: no packed copy can be kept in '%s'; the next start reads all of it again", key->what, folder);
    }
    return DLT_OK;
}

static dlt_status read_in_place(dlt_dataset *ds, dlt_diag *diag)
{
    const dlt_source *source = ds->source;
    int64_t units = 0;
    DLT_TRY(scan(ds, &units, diag));
    ds->regions = dlt_alloc_zeroed(source->extent_count, sizeof *ds->regions);
    if (ds->regions == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < source->extent_count; i++) {
        ds->regions[i].fd = -1;
    }
    ds->region_count = source->extent_count;
    for (size_t i = 0; i < source->extent_count; i++) {
        const dlt_extent *extent = &source->extents[i];
        file_region *r = &ds->regions[i];
        *r = (file_region){.fd = -1,
                           .path = extent->path,
                           .offset = extent->offset,
                           .stride = extent->stride,
                           .span = dlt_part_bytes(&ds->frame->layout.parts[extent->part]),
                           .part_count = 1,
                           .one_part = extent->part};
        r->parts = &r->one_part;
        r->part_offsets = &r->one_offset;
        DLT_TRY(dlt_file_open_read(extent->path, DLT_E_DATA, source->item->pos, &r->fd, NULL, diag));
    }
    ds->place = IN_PLACE;
    return DLT_OK;
}

static dlt_status load(dlt_dataset *ds, const dlt_dataset_options *options, const char *folder,
                       const dlt_pack_key *key, dlt_diag *diag)
{
    dlt_source *source = ds->source;
    int64_t units = 0;
    uint64_t bytes = 0;
    const bool known = source->units >= 0;
    const bool fits = known && !__builtin_mul_overflow((uint64_t)source->units, source->unit_bytes, &bytes) &&
                      bytes <= options->memory;
    if (known && !fits && source->extents != NULL) {
        return read_in_place(ds, diag);
    }
    if (known && !fits && source->fetch != NULL) {
        ds->place = ON_DEMAND;
        return scan(ds, &units, diag);
    }
    if (fits || !known) {
        bool spilled = false;
        DLT_TRY(fill_memory(ds, options->memory, &units, &spilled, diag));
        if (!spilled) {
            uint8_t records[DLT_SHA256_BYTES];
            ds->count = dlt_source_records(source, units);
            ds->exact = true;
            digest_segments(ds, units, records);
            if (source->costly && folder != NULL && ds->count > 0) {
                DLT_TRY(keep_copy(ds, folder, key, units, diag));
            }
            return make_content(ds, records, diag);
        }
    }
    return folder != NULL ? fill_cache(ds, folder, key, units, diag) : no_folder(diag);
}

static dlt_status copy_stamps(dlt_dataset *ds, dlt_diag *diag)
{
    const dlt_source *source = ds->source;
    ds->stamps = dlt_arena_alloc(ds->arena, source->stamp_count, sizeof *ds->stamps);
    for (size_t i = 0; ds->stamps != NULL && i < source->stamp_count; i++) {
        ds->stamps[i] = source->stamps[i];
        ds->stamps[i].path = dlt_arena_string(ds->arena, source->stamps[i].path);
        if (source->stamps[i].folder != NULL) {
            struct dlt_folder_stamp *folder = dlt_arena_alloc(ds->arena, 1, sizeof *folder);
            if (folder != NULL) {
                *folder = *source->stamps[i].folder;
            }
            ds->stamps[i].folder = folder;
        }
        ds->file_bytes += source->stamps[i].size;
    }
    ds->stamp_count = source->stamp_count;
    return dlt_arena_failed(ds->arena) ? dlt_fail_memory(diag) : DLT_OK;
}

static void make_digest(dlt_dataset *ds)
{
    dlt_sha256 sha;
    uint8_t digest[DLT_SHA256_BYTES];
    dlt_sha256_init(&sha);
    dlt_source_digest(ds->source, false, &sha);
    for (size_t i = 0; i < ds->stamp_count; i++) {
        dlt_sha256_update(&sha, ds->stamps[i].sample, sizeof ds->stamps[i].sample);
    }
    dlt_sha256_final(&sha, digest);
    dlt_sha256_hex(digest, ds->digest);
}

static dlt_status content_of_pack(dlt_dataset *ds, dlt_diag *diag)
{
    uint8_t records[DLT_SHA256_BYTES];
    dlt_pack_content(ds->pack, records);
    return make_content(ds, records, diag);
}

static dlt_status open_at_depth(dlt_dataset *ds, const dlt_item *item, dlt_depth depth,
                                const dlt_dataset_options *options, const char *folder, dlt_diag *diag)
{
    const dlt_source_options how = {.follow = options->follow,
                                    .threads = options->threads > 0 ? options->threads : 1,
                                    .memory = options->memory,
                                    .block_bytes = options->block_bytes,
                                    .stop = options->stop};
    dlt_pack_key key = {0};
    bool hit = false;
    int64_t units = 0;
    DLT_TRY(dlt_source_create(item, &how, &ds->source, diag));
    DLT_TRY(copy_stamps(ds, diag));
    make_digest(ds);
    DLT_TRY(make_key(ds->source, &key, diag));
    if (depth != DLT_DEPTH_PROBE) {
        DLT_TRY(try_cache(ds, folder, &key, depth == DLT_DEPTH_LOAD, &hit, diag));
    }
    if (hit) {
        warn_of_left_out(ds, diag);
        dlt_source_close(ds->source);
        ds->source = NULL;
        if (depth == DLT_DEPTH_SCAN) {
            return DLT_OK;
        }
        DLT_TRY(content_of_pack(ds, diag));
        return (uint64_t)dlt_pack_bytes(ds->pack) <= options->memory ? cache_into_memory(ds, diag)
                                                                     : cache_regions(ds, diag);
    }
    DLT_TRY(dlt_source_open(ds->source, diag));
    take_over(ds);
    if (depth == DLT_DEPTH_PROBE) {
        DLT_TRY(probe(ds, diag));
    } else if (depth == DLT_DEPTH_LOAD) {
        DLT_TRY(load(ds, options, folder, &key, diag));
    } else {
        const bool worth_keeping = ds->file_bytes >= SCAN_CACHE_BYTES && !ds->source->labels_known;
        DLT_TRY(scan(ds, &units, diag));
        if (worth_keeping && folder != NULL && ds->count > 0) {
            DLT_TRY(save_scan(ds, folder, &key, units, diag));
        }
    }
    if (ds->count == 0) {
        return dlt_fail(diag, DLT_E_DATA, item->pos, "'%s' has no records", key.what);
    }
    return ds->pack != NULL && depth == DLT_DEPTH_LOAD ? content_of_pack(ds, diag) : DLT_OK;
}

dlt_status dlt_dataset_open(const dlt_item *item, dlt_depth depth, const dlt_dataset_options *options,
                            dlt_dataset **dataset, dlt_diag *diag)
{
    *dataset = NULL;
    dlt_dataset *ds = dlt_alloc_zeroed(1, sizeof *ds);
    dlt_arena *arena = dlt_arena_create();
    if (ds == NULL || arena == NULL) {
        dlt_free(ds);
        dlt_arena_destroy(arena);
        return dlt_fail_memory(diag);
    }
    ds->arena = arena;
    ds->own_stats.classes.other = -1;
    char *folder = NULL;
    const dlt_status status = dlt_pack_folder(options->cache, &folder)
                                  ? open_at_depth(ds, item, depth, options, folder, diag)
                                  : dlt_fail_memory(diag);
    dlt_free(folder);
    if (status != DLT_OK) {
        dlt_dataset_close(ds);
        return status;
    }
    *dataset = ds;
    return DLT_OK;
}

void dlt_dataset_close(dlt_dataset *ds)
{
    if (ds == NULL) {
        return;
    }
    drop_segments(ds);
    for (size_t i = 0; i < ds->region_count; i++) {
        if (ds->regions[i].fd >= 0) {
            dlt_file()->close(ds->regions[i].fd);
        }
    }
    dlt_free(ds->regions);
    for (size_t i = 0; ds->own_map != NULL && i < ds->own_frame->layout.count; i++) {
        dlt_free(ds->own_map[i]);
    }
    dlt_free(ds->own_map);
    dlt_stats_release(&ds->own_stats);
    dlt_frame_destroy(ds->own_frame);
    dlt_pack_close(ds->pack);
    dlt_source_close(ds->source);
    dlt_free(ds->place_text);
    dlt_arena_destroy(ds->arena);
    dlt_free(ds);
}

const dlt_frame *dlt_dataset_frame(const dlt_dataset *ds)
{
    return ds->frame;
}

const dlt_stats *dlt_dataset_stats(const dlt_dataset *ds)
{
    return ds->stats;
}

int64_t dlt_dataset_count(const dlt_dataset *ds)
{
    return ds->count;
}

bool dlt_dataset_exact(const dlt_dataset *ds)
{
    return ds->exact;
}

const char *dlt_dataset_digest(const dlt_dataset *ds)
{
    return ds->digest;
}

const char *dlt_dataset_content(const dlt_dataset *ds)
{
    return ds->content;
}

uint64_t dlt_dataset_memory(const dlt_dataset *ds)
{
    return ds->memory;
}

const char *dlt_dataset_place(const dlt_dataset *ds)
{
    static const char *const texts[] = {"not kept", "memory", "cache file", "in place", "made as needed"};
    const place shown = ds->place == ON_DEMAND && ds->stamp_count > 0 ? IN_PLACE : ds->place;
    return ds->place_text != NULL ? ds->place_text : texts[shown];
}

const dlt_stamp *dlt_dataset_stamps(const dlt_dataset *ds, size_t *count)
{
    *count = ds->stamp_count;
    return ds->stamps;
}

const char *dlt_dataset_path(const dlt_dataset *ds)
{
    return ds->stamp_count > 0 ? ds->stamps[0].path : NULL;
}

const char *dlt_dataset_part_path(const dlt_dataset *ds, size_t part)
{
    const dlt_frame *frame = dlt_dataset_frame(ds);
    if (ds->stamp_count == 1) {
        return ds->stamps[0].path;
    }
    /* arrays of which each is a file: both are in the order features, labels, weights */
    const bool arrays = !frame->table && ds->stamp_count == frame->layout.count;
    return arrays && ds->stamps[part].folder == NULL ? ds->stamps[part].path : NULL;
}

int64_t dlt_dataset_file_bytes(const dlt_dataset *ds)
{
    return ds->file_bytes;
}

bool dlt_dataset_in_memory(const dlt_dataset *ds)
{
    return ds->place == IN_MEMORY;
}

dlt_status dlt_dataset_unchanged(const dlt_dataset *ds, dlt_diag *diag)
{
    for (size_t i = 0; i < ds->stamp_count; i++) {
        DLT_TRY(dlt_stamp_check(&ds->stamps[i], ds->place == IN_MEMORY || ds->place == IN_CACHE, diag));
    }
    return DLT_OK;
}

/* ---- readers ---- */

typedef struct wanted {
    int64_t row;
    int64_t place; /* in the result */
} wanted;

struct dlt_reader {
    const dlt_dataset *ds;
    int64_t most;
    unsigned char *run; /* bytes of a file */
    size_t run_bytes;   /* of records that one run may span */
    wanted *order, *other;
    size_t *part_bytes;
    dlt_lent_threads threads;
    uint64_t reads, bytes;
};

dlt_status dlt_reader_create(const dlt_dataset *ds, int64_t most, dlt_reader **reader, dlt_diag *diag)
{
    *reader = NULL;
    dlt_reader *r = dlt_alloc_zeroed(1, sizeof *r);
    if (r == NULL) {
        return dlt_fail_memory(diag);
    }
    const dlt_record_layout *layout = &ds->frame->layout;
    r->ds = ds;
    r->most = most;
    r->part_bytes = dlt_alloc_zeroed(layout->count, sizeof *r->part_bytes);
    bool good = r->part_bytes != NULL;
    for (size_t i = 0; good && i < layout->count; i++) {
        r->part_bytes[i] = dlt_part_bytes(&layout->parts[i]);
    }
    if (good && ds->region_count > 0) {
        size_t widest = 0;
        for (size_t i = 0; i < ds->region_count; i++) {
            widest = ds->regions[i].span > widest ? ds->regions[i].span : widest;
        }
        /* no more than the rows of a call can fill, no less than one record */
        size_t all = 0;
        r->run_bytes =
            dlt_mul_size(widest + GAP_BYTES, (size_t)most, &all) && all < RUN_BYTES ? all : RUN_BYTES;
        r->run_bytes = r->run_bytes > widest ? r->run_bytes : widest;
        r->run = dlt_alloc_aligned(DLT_PACK_PAGE, dlt_pack_room(r->run_bytes));
        r->order = dlt_alloc_zeroed((size_t)most, sizeof *r->order);
        r->other = dlt_alloc_zeroed((size_t)most, sizeof *r->other);
        good = r->run != NULL && r->order != NULL && r->other != NULL;
    }
    if (!good) {
        dlt_reader_destroy(r);
        return dlt_fail_memory(diag);
    }
    *reader = r;
    return DLT_OK;
}

void dlt_reader_destroy(dlt_reader *r)
{
    if (r != NULL) {
        dlt_free(r->part_bytes);
        dlt_free(r->run);
        dlt_free(r->order);
        dlt_free(r->other);
        dlt_free(r);
    }
}

void dlt_reader_share(dlt_reader *r, dlt_lent_threads threads)
{
    r->threads = threads;
}

void dlt_reader_work(const dlt_reader *r, uint64_t *reads, uint64_t *bytes)
{
    *reads = r->reads;
    *bytes = r->bytes;
}

/* memcpy of the sizes that tables have, without a call. */
static inline void copy_bytes(char *to, const unsigned char *from, size_t bytes)
{
    switch (bytes) {
    case 1:
        *to = (char)*from;
        break;
    case 4:
        memcpy(to, from, 4);
        break;
    case 8:
        memcpy(to, from, 8);
        break;
    default:
        memcpy(to, from, bytes);
        break;
    }
}

/* Where a record lies in memory. Records may overlap (windows over a text), but only in one segment. */
static const unsigned char *record_at(const dlt_dataset *ds, int64_t row)
{
    if (ds->shift == ONE_SEGMENT) {
        return ds->segments[0] + (size_t)(row * ds->stride);
    }
    return ds->segments[row >> ds->shift] + (size_t)((row & (units_per_segment(ds) - 1)) * ds->stride);
}

/* Rows that are copied from memory. */
typedef struct memory_read {
    const dlt_reader *reader;
    const int64_t *rows;
    int64_t count, per_task;
    void *const *columns;
} memory_read;

static void read_memory_task(void *context, int64_t task)
{
    enum { AHEAD = 6, LINE = 64, MOST_LINES = 16 };
    const memory_read *m = context;
    const dlt_reader *r = m->reader;
    const int64_t *rows = m->rows, first = task * m->per_task;
    const int64_t count = m->count - first < m->per_task ? m->count : first + m->per_task;
    void *const *columns = m->columns;
    const dlt_dataset *ds = r->ds;
    const size_t parts = ds->frame->layout.count;
    const size_t lines = ds->span < LINE * MOST_LINES ? (size_t)ds->span : (size_t)LINE * MOST_LINES;
    for (int64_t k = first; k < count; k++) {
        const unsigned char *record = record_at(ds, rows[k]);
        if (k + AHEAD < count) { /* shuffled rows come from anywhere: ask for them early */
            const unsigned char *next = record_at(ds, rows[k + AHEAD]);
            for (size_t i = 0; i < lines; i += LINE) {
                __builtin_prefetch(next + i);
            }
        }
        for (size_t i = 0; i < parts; i++) {
            if (columns[i] != NULL) {
                copy_bytes((char *)columns[i] + (size_t)k * r->part_bytes[i], record + ds->unit_offsets[i],
                           r->part_bytes[i]);
            }
        }
    }
}

static void read_memory(const dlt_reader *r, const int64_t *rows, int64_t count, void *const *columns)
{
    enum { TASK_BYTES = 16 << 10, SHARED_BYTES = 2 * TASK_BYTES }; /* to wake a thread costs about what copying 10 KiB does */
    const int64_t span = (int64_t)r->ds->span > 0 ? (int64_t)r->ds->span : 1;
    memory_read m = {.reader = r, .rows = rows, .count = count, .per_task = count, .columns = columns};
    if (r->threads.lender == NULL || count * span < SHARED_BYTES) {
        read_memory_task(&m, 0);
        return;
    }
    m.per_task = (TASK_BYTES + span - 1) / span;
    r->threads.run(r->threads.lender, (count + m.per_task - 1) / m.per_task, read_memory_task, &m);
}

/* Merge sort from below by row; the result is in r->order. Takes no memory, which qsort may. */
static void sort_rows(dlt_reader *r, int64_t count)
{
    for (int64_t width = 1; width < count; width *= 2) {
        for (int64_t left = 0; left < count; left += 2 * width) {
            const int64_t middle = left + width < count ? left + width : count;
            const int64_t right = left + 2 * width < count ? left + 2 * width : count;
            for (int64_t i = left, a = left, b = middle; i < right; i++) {
                r->other[i] = b == right || (a < middle && r->order[a].row <= r->order[b].row)
                                  ? r->order[a++]
                                  : r->order[b++];
            }
        }
        wanted *swap = r->order;
        r->order = r->other;
        r->other = swap;
    }
}

/* Reads [from, from + bytes) of a region; *at is where they lie. */
static dlt_status read_run(dlt_reader *r, const file_region *region, int64_t from, size_t bytes,
                           const unsigned char **at, dlt_diag *diag)
{
    r->reads++;
    r->bytes += bytes;
    if (region->pack != NULL) {
        return dlt_pack_read(region->pack, from, bytes, r->run, at, diag);
    }
    *at = r->run;
    return dlt_file_read_at(region->fd, region->path, r->run, bytes, region->offset + from, DLT_E_DATA, diag);
}

static dlt_status read_region(dlt_reader *r, const file_region *region, int64_t count, void *const *columns,
                              dlt_diag *diag)
{
    const dlt_dataset *ds = r->ds;
    for (int64_t i = 0; i < count;) {
        const int64_t from = r->order[i].row * region->stride;
        int64_t upto = from + (int64_t)region->span, n = i + 1;
        while (n < count) { /* the next record, if it is near and the run has room for it */
            const int64_t start = r->order[n].row * region->stride, end = start + (int64_t)region->span;
            if (start > upto + GAP_BYTES || end - from > (int64_t)r->run_bytes) {
                break;
            }
            upto = end;
            n++;
        }
        const unsigned char *at = NULL;
        DLT_TRY(read_run(r, region, from, (size_t)(upto - from), &at, diag));
        for (; i < n; i++) {
            const unsigned char *record = at + (r->order[i].row * region->stride - from);
            for (size_t k = 0; k < region->part_count; k++) {
                const size_t part = region->parts != NULL ? region->parts[k] : k;
                if (columns[part] != NULL) {
                    const size_t bytes = r->part_bytes[part];
                    const size_t offset =
                        region->parts != NULL ? region->part_offsets[k] : ds->unit_offsets[k];
                    copy_bytes((char *)columns[part] + (size_t)r->order[i].place * bytes, record + offset,
                               bytes);
                }
            }
        }
    }
    return DLT_OK;
}

static dlt_status fetch_parts(const dlt_dataset *ds, const int64_t *rows, int64_t count, void *const *columns,
                              dlt_diag *diag)
{
    const dlt_record_layout *layout = &ds->frame->layout;
    for (size_t part = 0; part < layout->count; part++) {
        const size_t bytes = dlt_part_bytes(&layout->parts[part]);
        for (int64_t i = 0; columns[part] != NULL && i < count;) {
            int64_t n = 1;
            while (i + n < count && rows[i + n] == rows[i] + n) {
                n++;
            }
            DLT_TRY(ds->source->fetch(ds->source, part, rows[i], n, (char *)columns[part] + (size_t)i * bytes,
                                      diag));
            i += n;
        }
    }
    return DLT_OK;
}

/* Codes of a cache file's records name words that there are: they are indexed with. */
static dlt_status check_codes(const dlt_dataset *ds, int64_t count, void *const *columns, dlt_diag *diag)
{
    for (size_t i = 0; ds->own_frame != NULL && i < ds->frame->layout.count; i++) {
        const dlt_part *part = &ds->frame->layout.parts[i];
        const int32_t *codes = part->type == DLT_COLUMN_TEXT ? columns[i] : NULL;
        for (int64_t k = 0; codes != NULL && k < count; k++) {
            if (codes[k] < DLT_CODE_UNSEEN || codes[k] >= part->dictionary->count) {
                return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                                "the cache file '%s' is damaged; delete it, and it is packed anew",
                                dlt_pack_path(ds->pack));
            }
        }
    }
    return DLT_OK;
}

/* Codes of text targets become class numbers. */
static void map_classes(const dlt_dataset *ds, int64_t count, void *const *columns)
{
    for (size_t part = 0; ds->class_map != NULL && part < ds->frame->layout.count; part++) {
        const int32_t *map = ds->class_map[part];
        int32_t *codes = columns[part];
        for (int64_t i = 0; map != NULL && codes != NULL && i < count; i++) {
            codes[i] = codes[i] >= 0 ? map[codes[i]] : codes[i];
        }
    }
}

dlt_status dlt_reader_read(dlt_reader *r, const int64_t *rows, int64_t count, void *const *columns,
                           dlt_diag *diag)
{
    const dlt_dataset *ds = r->ds;
    dlt_status status = DLT_OK;
    if (ds->place == IN_MEMORY) {
        read_memory(r, rows, count, columns);
    } else if (ds->place == ON_DEMAND) {
        status = fetch_parts(ds, rows, count, columns, diag);
    } else {
        for (size_t i = 0; status == DLT_OK && i < ds->region_count; i++) {
            for (int64_t k = 0; k < count; k++) {
                r->order[k] = (wanted){rows[k], k};
            }
            sort_rows(r, count);
            status = read_region(r, &ds->regions[i], count, columns, diag);
        }
    }
    DLT_TRY(status);
    DLT_TRY(check_codes(ds, count, columns, diag));
    map_classes(ds, count, columns);
    return DLT_OK;
}
