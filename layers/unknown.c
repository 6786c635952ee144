/* layers/unknown.c: what is looked at behind a mistake: the stand-in for a layer that is wrong, and the search for the first layer
 * behind it whose output does not hang on what comes in. */
#include "layers/unknown.h"

#include <string.h>

/* Its mistake was told when the model file was read. */
static dlt_value *unknown_build(dlt_builder *b, const void *params, dlt_value *in)
{
    (void)params;
    (void)in;
    dlt_builder_mistake(b);
    return NULL;
}

const dlt_layer_desc dlt_layer_unknown = {
    .kind = {.name = "Unknown", .doc = "a layer that is wrong, where others are looked at all the same"},
    .build = unknown_build,
    .mask = DLT_MASK_PASS,
    .no_key = true,
    .starts = true,
};

/* What may come into a layer: every rank, in two sizes that only a layer that takes no notice of them makes the same. Axes have many
 * divisors, and they are longer than the longest window or stride (65536) would make one of, so that few layers refuse them for their size. */
typedef struct guess {
    dlt_dtype type;
    dlt_shape shape; /* rank 0: the guess was refused */
} guess;

/* Nodes that are built to find out, in one try and in all: about a second. */
enum { GUESSES = 10, MOST_OF_A_TRY = 20000, MOST_NODES = 400000 };

static void all_guesses(const dlt_builder *b, guess guesses[GUESSES])
{
    static const int64_t sizes[][DLT_MAX_RANK] = {{48},
                                                  {720},
                                                  {30240, 48},
                                                  {665280, 720},
                                                  {10080, 10080, 48},
                                                  {166320, 166320, 720},
                                                  {8, 10080, 10080, 48},
                                                  {40, 166320, 166320, 720}};
    static const int ranks[] = {2, 2, 3, 3, 4, 4, 5, 5};
    for (size_t i = 0; i < GUESSES; i++) {
        const size_t k = i < DLT_COUNT(ranks) ? i : i - DLT_COUNT(ranks); /* the last are ids, as an Embedding takes */
        guess *g = &guesses[i];
        *g = (guess){.type = i < DLT_COUNT(ranks) ? dlt_real(b) : DLT_I32, .shape = {.rank = ranks[k], .dim = {dlt_batch_size(b)}}};
        memcpy(&g->shape.dim[1], sizes[k], (size_t)(ranks[k] - 1) * sizeof *sizes[k]);
    }
}

/* What a layer that stands alone makes of `in` (NULL: nothing comes in); false: it refuses it, or the builder failed. *nodes grows. */
static bool try_layer(dlt_builder *b, const dlt_item *item, const guess *in, guess *out, int64_t *nodes)
{
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *unheard = dlt_diag_create();
    dlt_variables *variables = arena != NULL ? dlt_variables_create(arena) : NULL;
    const dlt_builder_options options = {
        .name = "guess", .mode = dlt_builder_mode(b), .real = dlt_real(b), .batch = dlt_batch_size(b), .most_nodes = MOST_OF_A_TRY};
    dlt_builder *own = variables != NULL && unheard != NULL ? dlt_builder_create(arena, variables, &options, unheard) : NULL;
    bool made = false;
    if (own == NULL) {
        (void)dlt_reject_at(b, DLT_E_MEMORY, (dlt_pos){0}, "out of memory");
    } else {
        dlt_value *x = in != NULL ? dlt_input(own, "x", in->type, in->shape) : NULL;
        dlt_value *y = dlt_layer_alone(own, item, x);
        made = y != NULL && !dlt_builder_failed(own);
        *nodes += dlt_builder_graph(own)->node_count;
        if (made) {
            *out = (guess){y->type, y->shape};
        }
        if (dlt_diag_status(unheard) == DLT_E_MEMORY || dlt_arena_failed(arena)) {
            (void)dlt_reject_at(b, DLT_E_MEMORY, (dlt_pos){0}, "out of memory");
        }
    }
    dlt_diag_destroy(unheard);
    dlt_arena_destroy(arena);
    return made && !dlt_builder_failed(b);
}

/* Whether what came out of the guesses that were not refused is one and the same though what went in was not. */
static bool all_same(const guess before[GUESSES], const guess after[GUESSES])
{
    int first = -1;
    bool other = false; /* something else went in */
    for (int i = 0; i < GUESSES; i++) {
        if (after[i].shape.rank == 0) {
            continue;
        }
        if (first < 0) {
            first = i;
        } else if (after[i].type != after[first].type || !dlt_shape_equal(&after[i].shape, &after[first].shape)) {
            return false;
        } else {
            other = other || !dlt_shape_equal(&before[i].shape, &before[first].shape);
        }
    }
    return other;
}

size_t dlt_layers_known_again(dlt_builder *b, const dlt_items *items, size_t from, dlt_value **in)
{
    guess now[GUESSES], next[GUESSES];
    int64_t nodes = 0;
    all_guesses(b, now);
    *in = NULL;
    for (size_t i = from; i < items->count && nodes < MOST_NODES && !dlt_builder_failed(b); i++) {
        const dlt_item *item = items->at[i];
        int first = -1;
        if (dlt_layer_of(item)->starts && dlt_layer_of(item)->table == NULL && try_layer(b, item, NULL, &next[0], &nodes)) {
            return i; /* Input says what there is */
        }
        for (int k = 0; k < GUESSES; k++) {
            next[k] = (guess){0};
            if (now[k].shape.rank > 0 && dlt_layer_of(item)->table == NULL && try_layer(b, item, &now[k], &next[k], &nodes) && first < 0) {
                first = k;
            }
        }
        if (first < 0) { /* it is wrong, or wants what is none of the guesses: what comes behind it may be anything again */
            all_guesses(b, now);
        } else if (all_same(now, next)) {
            *in = dlt_input(b, "known again", now[first].type, now[first].shape);
            return i;
        } else {
            memcpy(now, next, sizeof now);
        }
    }
    return items->count;
}
