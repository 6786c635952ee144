/* io/data/view.c: splits. */
#include "io/data/view.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "io/data/convert.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { BLOCK_WORDS = 8, BLOCK_BITS = 64 * BLOCK_WORDS, STRATIFY_CLASSES = 10000 };

/* Passes of the shuffle that belong to splits: training never gets there. */
#define SPLIT_PASS UINT64_MAX

/* ---- bits ---- */

static bool bits_init(dlt_bits *bits, int64_t count)
{
    const size_t blocks = (size_t)((count + BLOCK_BITS - 1) / BLOCK_BITS);
    *bits = (dlt_bits){.count = count};
    bits->words = dlt_alloc_zeroed(blocks * BLOCK_WORDS, sizeof *bits->words);
    bits->before = dlt_alloc_zeroed(blocks + 1, sizeof *bits->before);
    return bits->words != NULL && bits->before != NULL;
}

static void bits_release(dlt_bits *bits)
{
    dlt_free(bits->words);
    dlt_free(bits->before);
    *bits = (dlt_bits){0};
}

static void bits_set(dlt_bits *bits, int64_t row)
{
    bits->words[row / 64] |= UINT64_C(1) << (row % 64);
}

/* Counts, once all bits are set. */
static void bits_finish(dlt_bits *bits)
{
    const int64_t blocks = (bits->count + BLOCK_BITS - 1) / BLOCK_BITS;
    int64_t ones = 0;
    for (int64_t b = 0; b < blocks; b++) {
        bits->before[b] = ones;
        for (int64_t w = 0; w < BLOCK_WORDS; w++) {
            ones += __builtin_popcountll(bits->words[b * BLOCK_WORDS + w]);
        }
    }
    bits->before[blocks] = ones;
    bits->ones = ones;
}

/* Bits of the wanted value before block b. */
static int64_t before(const dlt_bits *bits, bool one, int64_t b)
{
    return one ? bits->before[b] : b * BLOCK_BITS - bits->before[b];
}

/* Where the k-th bit (from 0) of a value stands. */
static int64_t bits_select(const dlt_bits *bits, bool one, int64_t k)
{
    int64_t low = 0, high = (bits->count + BLOCK_BITS - 1) / BLOCK_BITS; /* before(low) <= k < before(high) */
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (before(bits, one, middle) <= k) {
            low = middle;
        } else {
            high = middle;
        }
    }
    k -= before(bits, one, low);
    for (int64_t w = low * BLOCK_WORDS;; w++) {
        uint64_t word = one ? bits->words[w] : ~bits->words[w];
        const int64_t here = __builtin_popcountll(word);
        if (k < here) {
            while (k-- > 0) {
                word &= word - 1;
            }
            return w * 64 + __builtin_ctzll(word);
        }
        k -= here;
    }
}

/* ---- views ---- */

dlt_view dlt_view_whole(const dlt_dataset *dataset)
{
    return (dlt_view){.dataset = dataset, .count = dlt_dataset_count(dataset)};
}

int64_t dlt_view_row(const dlt_view *view, int64_t position)
{
    return view->bits != NULL ? bits_select(view->bits, view->one, position) : view->first + position;
}

void dlt_view_rows(const dlt_view *view, int64_t *rows, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        rows[i] = dlt_view_row(view, rows[i]);
    }
}

int64_t dlt_class_of(const dlt_part *target, const void *value)
{
    const int64_t elements = dlt_shape_count(&target->shape);
    if (target->type == DLT_COLUMN_TEXT) {
        int32_t code;
        memcpy(&code, value, sizeof code);
        return code >= 0 ? code : -1;
    }
    if (elements > 1) {
        int64_t best = 0;
        double most = dlt_element_value(target->dtype, value, 0);
        for (int64_t i = 1; i < elements; i++) {
            const double here = dlt_element_value(target->dtype, value, (size_t)i);
            if (here > most) {
                most = here;
                best = i;
            }
        }
        return best;
    }
    const double label = rint(dlt_element_value(target->dtype, value, 0));
    return label >= 0 && label < DLT_CLASSES_MOST ? (int64_t)label : -1;
}

/* ---- walking ---- */

typedef struct walk {
    dlt_reader *reader;
    void **columns;
    int64_t *rows;
    int64_t most;
    size_t part_count;
} walk;

static void walk_release(walk *w)
{
    dlt_reader_destroy(w->reader);
    for (size_t i = 0; w->columns != NULL && i < w->part_count; i++) {
        dlt_free(w->columns[i]);
    }
    dlt_free(w->columns);
    dlt_free(w->rows);
}

static dlt_status walk_init(const dlt_view *view, const bool *parts, walk *w, dlt_diag *diag)
{
    enum { ROWS = 1024, BYTES = 8 << 20 };
    const dlt_record_layout *layout = &dlt_dataset_frame(view->dataset)->layout;
    const int64_t fit = (int64_t)(BYTES / layout->record_bytes);
    *w = (walk){.most = fit < 1 ? 1 : fit > ROWS ? ROWS : fit, .part_count = layout->count};
    w->rows = dlt_alloc_zeroed((size_t)w->most, sizeof *w->rows);
    w->columns = dlt_alloc_zeroed(layout->count, sizeof *w->columns);
    bool good = w->rows != NULL && w->columns != NULL;
    for (size_t i = 0; good && i < layout->count; i++) {
        if (parts == NULL || parts[i]) {
            w->columns[i] = dlt_alloc_aligned(64, (size_t)w->most * dlt_part_bytes(&layout->parts[i]));
            good = w->columns[i] != NULL;
        }
    }
    return good ? dlt_reader_create(view->dataset, w->most, &w->reader, diag) : dlt_fail_memory(diag);
}

dlt_status dlt_view_walk(const dlt_view *view, const bool *parts, const atomic_int *stop, dlt_see_rows see,
                         void *context, dlt_diag *diag)
{
    walk w;
    dlt_status status = walk_init(view, parts, &w, diag);
    for (int64_t first = 0; status == DLT_OK && first < view->count; first += w.most) {
        const int64_t count = view->count - first < w.most ? view->count - first : w.most;
        if (stop != NULL && atomic_load_explicit(stop, memory_order_relaxed) != 0) {
            status = dlt_fail(diag, DLT_E_STOPPED, (dlt_pos){0}, "stopped while reading the data");
            break;
        }
        for (int64_t i = 0; i < count; i++) {
            w.rows[i] = first + i;
        }
        dlt_view_rows(view, w.rows, count);
        status = dlt_reader_read(w.reader, w.rows, count, w.columns, diag);
        if (status == DLT_OK) {
            const dlt_table table = {&dlt_dataset_frame(view->dataset)->layout, count, w.columns, w.rows};
            status = see(context, &table, diag);
        }
    }
    walk_release(&w);
    return status;
}

/* The classes of a batch, one by one. */
typedef struct class_walk {
    int target;
    dlt_status (*see)(void *context, int64_t row, int64_t label, dlt_diag *diag);
    void *context;
} class_walk;

static dlt_status see_classes(void *context, const dlt_table *rows, dlt_diag *diag)
{
    const class_walk *w = context;
    const dlt_part *part = &rows->layout->parts[w->target];
    const size_t bytes = dlt_part_bytes(part);
    const char *value = rows->columns[w->target];
    for (int64_t i = 0; i < rows->rows; i++, value += bytes) {
        DLT_TRY(w->see(w->context, rows->row_numbers[i], dlt_class_of(part, value), diag));
    }
    return DLT_OK;
}

/* Calls `see` with the class of each row of the view, in order. */
static dlt_status walk_classes(const dlt_view *view, const atomic_int *stop,
                               dlt_status (*see)(void *context, int64_t row, int64_t label, dlt_diag *diag),
                               void *context, dlt_diag *diag)
{
    const dlt_record_layout *layout = &dlt_dataset_frame(view->dataset)->layout;
    class_walk w = {dlt_layout_find(layout, DLT_ROLE_TARGET, 0), see, context};
    if (w.target < 0) {
        return DLT_OK;
    }
    bool *parts = dlt_alloc_zeroed(layout->count, sizeof *parts);
    if (parts == NULL) {
        return dlt_fail_memory(diag);
    }
    parts[w.target] = true;
    const dlt_status status = dlt_view_walk(view, parts, stop, see_classes, &w, diag);
    dlt_free(parts);
    return status;
}

typedef struct counting {
    int64_t *counts, class_count;
} counting;

static dlt_status count_class(void *context, int64_t row, int64_t label, dlt_diag *diag)
{
    counting *c = context;
    (void)row;
    (void)diag;
    if (label >= 0 && label < c->class_count) {
        c->counts[label]++;
    }
    return DLT_OK;
}

dlt_status dlt_view_classes(const dlt_view *view, int64_t *counts, int64_t class_count,
                            const atomic_int *stop, dlt_diag *diag)
{
    counting c = {counts, class_count};
    memset(counts, 0, (size_t)class_count * sizeof *counts);
    return walk_classes(view, stop, count_class, &c, diag);
}

/* ---- splits ---- */

int64_t dlt_split_count(int64_t rows, double fraction)
{
    return (int64_t)floor((double)rows * (1.0 - fraction));
}

/* What is known of a class while rows are dealt out. */
typedef struct dealt {
    int64_t count;      /* of the class */
    int64_t validation; /* that go there */
    int64_t seen;
    double rest; /* what rounding down took away */
    dlt_shuffle shuffle;
} dealt;

typedef struct dealing {
    dealt *classes;
    int64_t class_count;
    dlt_bits *bits;
    bool random;
    dlt_pos at;
} dealing;

static dlt_status find_classes(void *context, int64_t row, int64_t label, dlt_diag *diag)
{
    dealing *d = context;
    if (label < 0) {
        return dlt_fail(diag, DLT_E_DATA, d->at,
                        "stratify needs classes, but the target of record %lld is no class number",
                        (long long)row + 1);
    }
    if (label >= STRATIFY_CLASSES) {
        return dlt_fail(diag, DLT_E_DATA, d->at,
                        "stratify: record %lld has class %lld; at most %d classes are dealt out",
                        (long long)row + 1, (long long)label, STRATIFY_CLASSES);
    }
    if (label >= d->class_count) {
        dealt *classes = dlt_realloc(d->classes, (size_t)label * 2 + 16, sizeof *classes);
        if (classes == NULL) {
            return dlt_fail_memory(diag);
        }
        memset(classes + d->class_count, 0, (size_t)(label * 2 + 16 - d->class_count) * sizeof *classes);
        d->classes = classes;
        d->class_count = label * 2 + 16;
    }
    d->classes[label].count++;
    return DLT_OK;
}

/* Parts of `validation` rows for each class, by largest remainder. */
static void share(dealing *d, int64_t rows, int64_t validation)
{
    int64_t given = 0;
    for (int64_t c = 0; c < d->class_count; c++) {
        const double exact = (double)d->classes[c].count * (double)validation / (double)rows;
        d->classes[c].validation = (int64_t)floor(exact);
        d->classes[c].rest = exact - floor(exact);
        given += d->classes[c].validation;
    }
    for (; given < validation; given++) {
        int64_t most = -1;
        for (int64_t c = 0; c < d->class_count; c++) {
            if (d->classes[c].validation < d->classes[c].count &&
                (most < 0 || d->classes[c].rest > d->classes[most].rest)) {
                most = c;
            }
        }
        assert(most >= 0 && d->classes != NULL); /* every row is of a class, and no more than all go to validation */
        d->classes[most].validation++;
        d->classes[most].rest = -1;
    }
}

static dlt_status deal_out(void *context, int64_t row, int64_t label, dlt_diag *diag)
{
    dealing *d = context;
    (void)diag;
    dealt *c = &d->classes[label];
    const int64_t place = d->random ? (int64_t)dlt_shuffle_at(&c->shuffle, (uint64_t)c->seen) : c->seen;
    if (place >= c->count - c->validation) {
        bits_set(d->bits, row);
    }
    c->seen++;
    return DLT_OK;
}

static dlt_status stratify(dlt_split *split, const dlt_split_params *params, uint64_t seed, dlt_pos at,
                           const atomic_int *stop, int64_t rows, int64_t validation, dlt_diag *diag)
{
    const dlt_view whole = dlt_view_whole(split->train.dataset);
    dealing d = {.bits = &split->bits, .random = params->shuffle, .at = at};
    if (dlt_layout_find(&dlt_dataset_frame(whole.dataset)->layout, DLT_ROLE_TARGET, 0) < 0) {
        return dlt_fail(diag, DLT_E_DATA, at, "stratify needs classes, but the data have no target");
    }
    dlt_status status = walk_classes(&whole, stop, find_classes, &d, diag);
    if (status == DLT_OK) {
        share(&d, rows, validation);
        for (int64_t c = 0; c < d.class_count; c++) {
            if (d.classes[c].count > 0) {
                dlt_shuffle_init(&d.classes[c].shuffle, (uint64_t)d.classes[c].count, seed,
                                 SPLIT_PASS - 1 - (uint64_t)c);
            }
        }
        status = walk_classes(&whole, stop, deal_out, &d, diag);
    }
    dlt_free(d.classes);
    return status;
}

static void choose_random(dlt_split *split, uint64_t seed, int64_t rows, int64_t train)
{
    dlt_shuffle order;
    int64_t chosen[256];
    dlt_shuffle_init(&order, (uint64_t)rows, seed, SPLIT_PASS);
    for (int64_t at = train; at < rows;) {
        const int64_t many = rows - at < (int64_t)DLT_COUNT(chosen) ? rows - at : (int64_t)DLT_COUNT(chosen);
        dlt_shuffle_rows(&order, (uint64_t)at, (size_t)many, chosen);
        for (int64_t i = 0; i < many; i++) {
            bits_set(&split->bits, chosen[i]);
        }
        at += many;
    }
}

dlt_status dlt_split_create(const dlt_dataset *dataset, const dlt_split_params *params, uint64_t seed,
                            dlt_pos at, const atomic_int *stop, dlt_split **split, dlt_diag *diag)
{
    const int64_t rows = dlt_dataset_count(dataset), train = dlt_split_count(rows, params->fraction);
    *split = NULL;
    if (train <= 0 || train >= rows) {
        return dlt_fail(diag, DLT_E_DATA, at, "split %g of %lld records leaves %s empty", params->fraction,
                        (long long)rows, train <= 0 ? "train" : "validation");
    }
    dlt_split *s = dlt_alloc_zeroed(1, sizeof *s);
    if (s == NULL) {
        return dlt_fail_memory(diag);
    }
    s->train = (dlt_view){.dataset = dataset, .count = train};
    s->validation = (dlt_view){.dataset = dataset, .count = rows - train, .first = train, .one = true};
    dlt_status status = DLT_OK;
    if (params->shuffle || params->stratify) {
        status = bits_init(&s->bits, rows) ? DLT_OK : dlt_fail_memory(diag);
        if (status == DLT_OK && params->stratify) {
            status = stratify(s, params, seed, at, stop, rows, rows - train, diag);
        } else if (status == DLT_OK) {
            choose_random(s, seed, rows, train);
        }
        if (status == DLT_OK) {
            bits_finish(&s->bits);
            s->train.bits = s->validation.bits = &s->bits;
        }
    }
    if (status != DLT_OK) {
        dlt_split_destroy(s);
        return status;
    }
    *split = s;
    return DLT_OK;
}

void dlt_split_destroy(dlt_split *split)
{
    if (split != NULL) {
        bits_release(&split->bits);
        dlt_free(split);
    }
}
