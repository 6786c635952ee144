/* trainer/tune.c: kernels chosen by timing them.
 *
 * Trial 0 takes what the rule says, trial k the k-th kernel that can run a node; each trial plans the training step anew and times its nodes one by
 * one. Nodes with the same key are timed together: what is remembered of a key and a kernel is the shortest time. */
#include "trainer/tune.h"

#include "base/clock.h"
#include "graph/passes.h"

#include <string.h>

enum { MOST_TRIALS = 16, MOST_ROUNDS = 5 };
#define TRIAL_SECONDS 0.5 /* from which on a trial makes no further round */
#define WORTH 0.95        /* of the rule's time, which another kernel must stay below */

typedef struct timed {
    const char *key, *kernel;
    double seconds;
    bool rule; /* it is what the rule says */
} timed;

typedef struct tuner {
    dlt_arena *arena;
    timed *list;
    size_t count, room;
} tuner;

static timed *find(const tuner *t, const char *key, const char *kernel)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->list[i].key, key) == 0 && strcmp(t->list[i].kernel, kernel) == 0) {
            return &t->list[i];
        }
    }
    return NULL;
}

static bool remember(tuner *t, const char *key, const char *kernel, double seconds, bool rule)
{
    timed *known = find(t, key, kernel);
    if (known != NULL) {
        known->seconds = seconds < known->seconds ? seconds : known->seconds;
        return true;
    }
    if (t->count == t->room) {
        const size_t room = t->room > 0 ? 2 * t->room : 64;
        timed *list = dlt_arena_alloc(t->arena, room, sizeof *list);
        if (list == NULL) {
            return false;
        }
        if (t->count > 0) {
            memcpy(list, t->list, t->count * sizeof *list);
        }
        t->list = list;
        t->room = room;
    }
    const char *own_key = dlt_arena_string(t->arena, key), *own_kernel = dlt_arena_string(t->arena, kernel);
    t->list[t->count] = (timed){own_key, own_kernel, seconds, rule};
    t->count += own_key != NULL && own_kernel != NULL;
    return own_key != NULL && own_kernel != NULL;
}

/* Times of all nodes of the program, each its shortest. */
static dlt_status time_nodes(const dlt_engine *e, const dlt_compiled *c, const atomic_int *stop, double *best, double *seconds, dlt_diag *diag)
{
    const int nodes = c->graph->node_count;
    DLT_TRY(e->backend->run_nodes(c->program, 0, 0, nodes, NULL, diag)); /* memory is touched for the first time */
    const int64_t start = dlt_clock_ns();
    for (int round = 0; round < 2 || (round < MOST_ROUNDS && dlt_seconds_since(start) < TRIAL_SECONDS); round++) {
        if (stop != NULL && atomic_load_explicit(stop, memory_order_relaxed) != 0) {
            return DLT_E_STOPPED;
        }
        memset(seconds, 0, (size_t)nodes * sizeof *seconds);
        DLT_TRY(e->backend->run_nodes(c->program, 0, 0, nodes, seconds, diag));
        for (int i = 0; i < nodes; i++) {
            best[i] = round == 0 || seconds[i] < best[i] ? seconds[i] : best[i];
        }
    }
    return DLT_OK;
}

static dlt_status time_session(dlt_session *s, const dlt_session_options *o, tuner *t, dlt_diag *diag)
{
    dlt_engine *e = s->engine;
    const dlt_compiled *c = &e->programs[e->main];
    const size_t nodes = (size_t)c->graph->node_count;
    double *best = dlt_arena_alloc(s->arena, nodes, sizeof *best), *seconds = dlt_arena_alloc(s->arena, nodes, sizeof *seconds);
    if (best == NULL || seconds == NULL) {
        return dlt_fail_memory(diag);
    }
    DLT_TRY(dlt_engine_start(e, diag));
    DLT_TRY(dlt_engine_init_variables(e, &s->fitted, false, diag));
    DLT_TRY(time_nodes(e, c, o->stop, best, seconds, diag));
    dlt_buf key = {0};
    bool kept = true;
    for (size_t i = 0; i < nodes && kept; i++) {
        const dlt_choice *choice = c->graph->nodes[i]->choice;
        if (choice != NULL && choice->count > 1) {
            dlt_buf_reset(&key);
            dlt_node_key(c->graph->nodes[i], &key);
            kept = !key.failed && remember(t, dlt_buf_text(&key), choice->candidates[choice->taken].name, best[i], o->trial == 0);
        }
    }
    dlt_buf_release(&key);
    return kept ? DLT_OK : dlt_fail_memory(diag);
}

/* What was timed with more than one kernel, with the fastest of them. */
static bool choose(const tuner *t, dlt_tuning *out)
{
    const char **keys = dlt_arena_alloc(t->arena, t->count + 1, sizeof *keys), **kernels = dlt_arena_alloc(t->arena, t->count + 1, sizeof *kernels);
    if (keys == NULL || kernels == NULL) {
        return false;
    }
    out->kernels = (dlt_string_map){.key = keys, .value = kernels};
    for (size_t i = 0; i < t->count; i++) {
        const timed *rule = &t->list[i], *best = rule;
        if (!rule->rule) {
            continue;
        }
        int rivals = 0;
        for (size_t k = 0; k < t->count; k++) {
            const timed *other = &t->list[k];
            if (k != i && strcmp(other->key, rule->key) == 0) {
                rivals++;
                best = other->seconds < best->seconds && other->seconds < WORTH * rule->seconds ? other : best;
            }
        }
        if (rivals > 0) {
            keys[out->kernels.count] = rule->key;
            kernels[out->kernels.count++] = best->kernel;
            out->other += best != rule;
        }
    }
    return true;
}

dlt_status dlt_tune(const dlt_run_spec *run, const dlt_session_options *options, dlt_arena *arena, dlt_tuning *out, dlt_diag *diag)
{
    const int64_t start = dlt_clock_ns();
    tuner t = {.arena = arena};
    dlt_session_options o = *options;
    o.depth = DLT_DEPTH_SCAN;
    o.train = true;
    o.evaluate = o.predict = false;
    o.visit = NULL;
    *out = (dlt_tuning){.seconds = 0};
    int unheard = 0; /* trials in a row that had nothing new */
    for (o.trial = 0; o.trial < MOST_TRIALS; o.trial++) {
        dlt_session *s = NULL;
        const size_t before = t.count;
        DLT_TRY(dlt_session_open(run, &o, &s, diag));
        const dlt_status status = time_session(s, &o, &t, diag);
        dlt_session_close(s);
        DLT_TRY(status);
        unheard = t.count == before ? unheard + 1 : 0;
        if (unheard == 2) { /* one such trial can be that of the rule's own kernels */
            break;
        }
    }
    if (!choose(&t, out)) {
        return dlt_fail_memory(diag);
    }
    out->seconds = dlt_seconds_since(start);
    return DLT_OK;
}
