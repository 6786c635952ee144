/* io/data/frame.c: frames, and the bytes they are saved as. */
#include "io/data/frame.h"

#include "base/alloc.h"
#include "base/num.h"
#include "io/data/stats.h"

#include <string.h>

enum { FRAME_VERSION = 1, MOST_PARTS = 1 << 20, MOST_NAME_BYTES = 64 << 10, MOST_RECORD_BYTES = 1 << 30 };
static const char magic[8] = {'d', 'l', 't', 'f', 'r', 'a', 'm', 'e'};

size_t dlt_part_bytes(const dlt_part *part)
{
    return (size_t)dlt_shape_count(&part->shape) * dlt_dtype_size(part->dtype);
}

/* Sets offsets and record_bytes; false if the record is too large. */
static bool lay_out(const dlt_part *parts, size_t count, size_t *offsets, size_t *record_bytes)
{
    size_t at = 0, widest = 1;
    if (count == 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t size = dlt_dtype_size(parts[i].dtype);
        const int64_t elements = dlt_shape_count(&parts[i].shape);
        if (elements < 1 || elements > MOST_RECORD_BYTES / (int64_t)size) {
            return false;
        }
        at = (at + size - 1) / size * size;
        offsets[i] = at;
        at += (size_t)elements * size;
        widest = size > widest ? size : widest;
        if (at > MOST_RECORD_BYTES) {
            return false;
        }
    }
    *record_bytes = (at + widest - 1) / widest * widest;
    return true;
}

dlt_status dlt_frame_create(const dlt_frame_plan *plan, dlt_frame **made, dlt_diag *diag)
{
    *made = NULL;
    dlt_frame *frame = dlt_alloc_zeroed(1, sizeof *frame);
    dlt_arena *arena = dlt_arena_create();
    if (frame == NULL || arena == NULL) {
        dlt_free(frame);
        dlt_arena_destroy(arena);
        return dlt_fail_memory(diag);
    }
    frame->arena = arena;
    frame->table = plan->table;
    frame->named = plan->named;
    frame->file_columns = plan->file_columns;
    dlt_part *parts = dlt_arena_alloc(arena, plan->count, sizeof *parts);
    size_t *offsets = dlt_arena_alloc(arena, plan->count, sizeof *offsets);
    int64_t *column_of = dlt_arena_alloc(arena, plan->count, sizeof *column_of);
    frame->words = dlt_alloc_zeroed(plan->count, sizeof *frame->words);
    frame->layout = (dlt_record_layout){.count = plan->count, .parts = parts, .offsets = offsets};
    for (size_t i = 0; !dlt_arena_failed(arena) && frame->words != NULL && i < plan->count; i++) {
        parts[i] = plan->parts[i];
        parts[i].name = dlt_arena_string(arena, plan->parts[i].name);
        parts[i].dictionary = plan->parts[i].dictionary != NULL ? &frame->words[i].dictionary : NULL;
        column_of[i] = plan->column_of != NULL ? plan->column_of[i] : -1;
    }
    frame->parts = parts;
    frame->column_of = column_of;
    dlt_status status = DLT_OK;
    if (dlt_arena_failed(arena) || frame->words == NULL) {
        status = dlt_fail_memory(diag);
    } else if (!lay_out(parts, plan->count, offsets, &frame->layout.record_bytes)) {
        status = dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                          "a record has 1 byte to 1 GiB; this one is empty or larger");
    }
    if (status != DLT_OK) {
        dlt_frame_destroy(frame);
        return status;
    }
    *made = frame;
    return DLT_OK;
}

void dlt_frame_destroy(dlt_frame *frame)
{
    if (frame == NULL) {
        return;
    }
    for (size_t i = 0; frame->words != NULL && i < frame->layout.count; i++) {
        dlt_words_release(&frame->words[i]);
    }
    dlt_free(frame->words);
    dlt_arena_destroy(frame->arena);
    dlt_free(frame);
}

dlt_words *dlt_frame_words(dlt_frame *frame, size_t part)
{
    return frame->layout.parts[part].dictionary != NULL ? &frame->words[part] : NULL;
}

int dlt_layout_find(const dlt_record_layout *layout, dlt_role role, size_t from)
{
    for (size_t i = from; i < layout->count; i++) {
        if (layout->parts[i].role == role) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- bytes ---- */

void dlt_put_u64(dlt_buf *out, uint64_t value)
{
    char bytes[8];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (char)(unsigned char)(value >> (8 * i));
    }
    dlt_buf_append(out, bytes, sizeof bytes);
}

void dlt_put_double(dlt_buf *out, double value)
{
    dlt_put_u64(out, dlt_bits_of(value));
}

void dlt_put_text(dlt_buf *out, const char *text, size_t bytes)
{
    dlt_put_u64(out, bytes);
    dlt_buf_append(out, text, bytes);
}

uint64_t dlt_get_u64(dlt_get *in)
{
    if (in->bad || in->end - in->at < 8) {
        in->bad = true;
        return 0;
    }
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)in->at[i] << (8 * i);
    }
    in->at += 8;
    return value;
}

int64_t dlt_get_count(dlt_get *in, int64_t most)
{
    const uint64_t value = dlt_get_u64(in);
    if (value > (uint64_t)most) {
        in->bad = true;
        return 0;
    }
    return (int64_t)value;
}

double dlt_get_double(dlt_get *in)
{
    const uint64_t bits = dlt_get_u64(in);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

const char *dlt_get_text(dlt_get *in, size_t most, size_t *bytes)
{
    *bytes = (size_t)dlt_get_count(in, (int64_t)most);
    if (in->bad || (size_t)(in->end - in->at) < *bytes || memchr(in->at, '\0', *bytes) != NULL) {
        in->bad = true;
        *bytes = 0;
        return "";
    }
    const char *text = (const char *)in->at;
    in->at += *bytes;
    return text;
}

/* form: magic, version, table | named << 1, file_columns, class_count, parts; each part: name, role, type,
 * dtype, rank, dims, may_be_missing, column, has dictionary, and if so its count and words */
void dlt_frame_write(const dlt_frame *frame, dlt_buf *out)
{
    dlt_buf_append(out, magic, sizeof magic);
    dlt_put_u64(out, FRAME_VERSION);
    dlt_put_u64(out, (uint64_t)frame->table | (uint64_t)frame->named << 1);
    dlt_put_u64(out, (uint64_t)frame->file_columns);
    dlt_put_u64(out, (uint64_t)frame->class_count);
    dlt_put_u64(out, frame->layout.count);
    for (size_t i = 0; i < frame->layout.count; i++) {
        const dlt_part *part = &frame->layout.parts[i];
        dlt_put_text(out, part->name, strlen(part->name));
        dlt_put_u64(out, (uint64_t)part->role);
        dlt_put_u64(out, (uint64_t)part->type);
        dlt_put_u64(out, (uint64_t)part->dtype);
        dlt_put_u64(out, (uint64_t)part->shape.rank);
        for (int d = 0; d < part->shape.rank; d++) {
            dlt_put_u64(out, (uint64_t)part->shape.dim[d]);
        }
        dlt_put_u64(out, part->may_be_missing);
        dlt_put_u64(out, (uint64_t)(frame->column_of[i] + 1));
        dlt_put_u64(out, part->dictionary != NULL);
        if (part->dictionary != NULL) {
            dlt_put_u64(out, (uint64_t)part->dictionary->count);
            for (int64_t k = 0; k < part->dictionary->count; k++) {
                dlt_put_text(out, part->dictionary->at[k], part->dictionary->length[k]);
            }
        }
    }
}

/* One part as it was written, without its words. */
static void read_part(dlt_get *in, dlt_arena *arena, dlt_part *part, int64_t *column, int64_t file_columns)
{
    size_t name_bytes = 0;
    const char *name = dlt_get_text(in, MOST_NAME_BYTES, &name_bytes);
    part->name = dlt_arena_copy(arena, name, name_bytes);
    part->role = (dlt_role)dlt_get_count(in, DLT_ROLE_WEIGHT);
    part->type = (dlt_column_type)dlt_get_count(in, DLT_COLUMN_TEXT);
    part->dtype = (dlt_dtype)dlt_get_count(in, DLT_DTYPE_COUNT - 1);
    part->shape.rank = (int)dlt_get_count(in, DLT_MAX_RANK);
    for (int d = 0; d < part->shape.rank; d++) {
        part->shape.dim[d] = dlt_get_count(in, MOST_RECORD_BYTES);
    }
    part->may_be_missing = dlt_get_count(in, 1) != 0;
    *column = dlt_get_count(in, file_columns) - 1;
    /* a column's dtype is fixed by its type (base/table.h); what reads records relies on it */
    const bool column_good =
        part->type == DLT_COLUMN_TENSOR ||
        (part->shape.rank == 0 && part->dtype == (part->type == DLT_COLUMN_TEXT ? DLT_I32 : DLT_F64));
    in->bad = in->bad || !column_good;
}

static void read_words(dlt_get *in, dlt_words *words, bool *no_memory)
{
    const int64_t count = dlt_get_count(in, DLT_WORDS_MOST);
    for (int64_t i = 0; i < count && !in->bad; i++) {
        size_t bytes = 0;
        const char *text = dlt_get_text(in, DLT_WORDS_LONGEST, &bytes);
        const int32_t code = in->bad ? (int32_t)i : dlt_words_add(words, text, bytes);
        *no_memory = *no_memory || code == DLT_WORDS_NO_MEMORY;
        in->bad = in->bad || code != (int32_t)i; /* twice the same word, or too many bytes */
    }
}

dlt_status dlt_frame_read(const void *data, size_t bytes, size_t *used, const char *what, dlt_status kind,
                          dlt_frame **frame, dlt_diag *diag)
{
    *frame = NULL;
    dlt_get in = {data, (const unsigned char *)data + bytes, bytes < sizeof magic};
    if (in.bad || memcmp(data, magic, sizeof magic) != 0) {
        return dlt_fail(diag, kind, (dlt_pos){0}, "%s does not hold a description of data", what);
    }
    in.at += sizeof magic;
    const uint64_t version = dlt_get_u64(&in);
    if (!in.bad && version != FRAME_VERSION) {
        return dlt_fail(diag, kind, (dlt_pos){0},
                        "%s: its description of data has version %llu; this program reads version %d", what,
                        (unsigned long long)version, FRAME_VERSION);
    }
    dlt_frame_plan plan = {0};
    const int64_t flags = dlt_get_count(&in, 3);
    plan.table = (flags & 1) != 0;
    plan.named = (flags & 2) != 0;
    plan.file_columns = dlt_get_count(&in, MOST_PARTS);
    const int64_t class_count = dlt_get_count(&in, DLT_CLASSES_MOST);
    /* a part takes 64 bytes or more: the count is bounded by what is there before anything is allocated for
     * it */
    plan.count = (size_t)dlt_get_count(&in, (in.end - in.at) / 64);
    dlt_arena *arena = dlt_arena_create();
    dlt_part *parts = arena != NULL ? dlt_arena_alloc(arena, plan.count, sizeof *parts) : NULL;
    int64_t *column_of = arena != NULL ? dlt_arena_alloc(arena, plan.count, sizeof *column_of) : NULL;
    const unsigned char **words_at =
        arena != NULL ? dlt_arena_alloc(arena, plan.count, sizeof *words_at) : NULL;
    bool no_memory = arena == NULL || dlt_arena_failed(arena);
    static const dlt_dictionary some = {0};
    for (size_t i = 0; !no_memory && !in.bad && i < plan.count; i++) {
        read_part(&in, arena, &parts[i], &column_of[i], plan.file_columns);
        if (dlt_get_count(&in, 1) != 0) {
            parts[i].dictionary = &some;
            words_at[i] = in.at;
            const int64_t count = dlt_get_count(&in, DLT_WORDS_MOST);
            for (int64_t k = 0; k < count && !in.bad; k++) { /* passed over here, read below */
                size_t text_bytes = 0;
                dlt_get_text(&in, DLT_WORDS_LONGEST, &text_bytes);
            }
        } else if (parts[i].type == DLT_COLUMN_TEXT) {
            in.bad = true;
        }
    }
    no_memory = no_memory || dlt_arena_failed(arena);
    plan.parts = parts;
    plan.column_of = column_of;
    dlt_status status = DLT_OK;
    dlt_frame *made = NULL;
    if (no_memory) {
        status = dlt_fail_memory(diag);
    } else if (!in.bad) {
        status = dlt_frame_create(&plan, &made, diag);
        status = status == DLT_E_DATA ? kind : status;
    }
    if (made != NULL) {
        made->class_count = class_count;
    }
    for (size_t i = 0; made != NULL && i < plan.count; i++) {
        if (parts[i].dictionary != NULL) {
            dlt_get words = {words_at[i], in.end, false};
            read_words(&words, dlt_frame_words(made, i), &no_memory);
            in.bad = in.bad || words.bad;
        }
    }
    dlt_arena_destroy(arena);
    if (status == DLT_OK && no_memory) {
        status = dlt_fail_memory(diag);
    } else if (status == DLT_OK && in.bad) {
        status = dlt_fail(diag, kind, (dlt_pos){0}, "%s: its description of data is damaged", what);
    }
    if (status != DLT_OK) {
        dlt_frame_destroy(made);
        return status;
    }
    *used = (size_t)(in.at - (const unsigned char *)data);
    *frame = made;
    return DLT_OK;
}
