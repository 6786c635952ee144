/* trainer/metric.c: the metrics of a run (keras-training.md 1.3, 5). */
#include "trainer/metric.h"

#include "base/alloc.h"
#include "base/names.h"
#include "base/text.h"

#include <string.h>

/* ---- names ---- */

/* A metric's own name, before it is compared with the others': see dlt_metric_set_create. */
static const char *own_name(dlt_arena *arena, const dlt_item *item, dlt_names *classes)
{
    const dlt_metric_desc *desc = dlt_metric_of(item);
    if (item->name != NULL) {
        return item->name;
    }
    if (item->bare) {
        return item->written;
    }
    if (desc->default_name != NULL) {
        return desc->default_name;
    }
    char snake[160];
    dlt_snake_case(item->kind->name, snake, sizeof snake);
    int64_t *seen = dlt_names_at(classes, item->kind->name, 0);
    if (seen == NULL) {
        return NULL;
    }
    const int64_t number = (*seen)++;
    return number == 0 ? dlt_arena_string(arena, snake)
                       : dlt_arena_printf(arena, "%s_%lld", snake, (long long)number);
}

/* The name under which results of several metrics lie beside each other; `taken` counts uses of each name. */
static const char *log_name(dlt_arena *arena, const char *own, bool weighted, dlt_names *taken)
{
    int64_t *uses = dlt_names_at(taken, own, 0);
    if (uses == NULL || (*uses)++ == 0) {
        return uses != NULL ? own : NULL;
    }
    if (!weighted) {
        return dlt_arena_printf(arena, "%s_%lld", own, (long long)*uses - 1);
    }
    (*uses)--; /* the plain name is not used again */
    const char *name = dlt_arena_printf(arena, "weighted_%s", own);
    uses = name != NULL ? dlt_names_at(taken, name, 0) : NULL;
    if (uses == NULL) {
        return NULL;
    }
    const int64_t number = (*uses)++;
    return number == 0 ? name : dlt_arena_printf(arena, "%s_%lld", name, (long long)number);
}

static void check_name(const char *name, const dlt_item *item, dlt_diag *diag)
{
    if (strcmp(name, "loss") == 0 || strcmp(name, "epoch") == 0 || strcmp(name, "learning_rate") == 0 ||
        dlt_text_starts(name, "val_")) {
        dlt_fail(
            diag, DLT_E_CONFIG, dlt_item_pos(item, NULL),
            "a metric cannot be called '%s': the logs use that name themselves; give it another with name:",
            name);
    }
}

dlt_status dlt_metric_set_create(dlt_arena *arena, const dlt_items *metrics, const dlt_items *weighted,
                                 dlt_metric_set **set, dlt_diag *diag)
{
    const size_t count = metrics->count + weighted->count, errors = dlt_diag_count(diag, DLT_ERROR);
    dlt_metric_set *s = dlt_arena_alloc(arena, 1, sizeof *s);
    dlt_metric *at = dlt_arena_alloc(arena, count, sizeof *at);
    dlt_names classes = {.arena = arena}, taken = {.arena = arena};
    *set = NULL;
    if (s == NULL || at == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < count; i++) {
        const bool of_weighted = i >= metrics->count;
        const dlt_item *item = of_weighted ? weighted->at[i - metrics->count] : metrics->at[i];
        const char *own = own_name(arena, item, &classes);
        const char *name = own != NULL ? log_name(arena, own, of_weighted, &taken) : NULL;
        if (name == NULL) {
            return dlt_fail_memory(diag);
        }
        check_name(name, item, diag);
        at[i] = (dlt_metric){.item = item,
                             .name = name,
                             .weighted = of_weighted,
                             .direction = dlt_metric_of(item)->direction,
                             .desc = dlt_metric_of(item),
                             .params = item->params,
                             .value_count = 1};
    }
    *s = (dlt_metric_set){.arena = arena, .count = (int)count, .at = at};
    *set = s;
    return dlt_diag_count(diag, DLT_ERROR) > errors ? DLT_E_CONFIG : DLT_OK;
}

/* ---- sums ---- */

void dlt_metric_sum(dlt_builder *b, const char *name, dlt_value *addend)
{
    dlt_metric *metric = dlt_builder_context(b);
    dlt_arena *arena = dlt_builder_graph(b)->arena;
    if (dlt_builder_failed(b) || addend == NULL) {
        return;
    }
    const char *path = dlt_arena_printf(arena, "%s:%s", dlt_scope_path(b), name);
    if (path == NULL || metric->sum_count == DLT_METRIC_MAX_SUMS) {
        dlt_reject_at(b, path == NULL ? DLT_E_MEMORY : DLT_E_INTERNAL, metric->item->pos, "%s",
                      path == NULL ? "out of memory" : "a metric has too many sums");
        return;
    }
    dlt_value *sum = dlt_variable_value(b, &(dlt_variable){.path = path,
                                                           .group = "",
                                                           .role = DLT_VARIABLE_METRIC,
                                                           .type = DLT_F64,
                                                           .shape = addend->shape,
                                                           .storage = DLT_STATE,
                                                           .pos = metric->item->pos,
                                                           .layer = ""});
    if (sum == NULL) {
        return;
    }
    dlt_variable *variable = dlt_variables_find(dlt_builder_graph(b)->variables, path);
    metric->sums[metric->sum_count++] = variable;
    dlt_assign(b, variable, dlt_add(b, sum, dlt_cast(b, addend, DLT_F64)));
}

/* Mean over all axes from `first` on. */
static dlt_value *mean_from(dlt_builder *b, dlt_value *x, int first)
{
    return x != NULL && x->shape.rank > first ? dlt_mean(b, x, dlt_axes_from(x, first), false) : x;
}

static dlt_value *times(dlt_builder *b, dlt_value *x, dlt_value *y)
{
    return x == NULL ? y : y == NULL ? x : dlt_mul(b, x, y);
}

/* Weight and masks as one factor, or NULL; of the rank of the larger of them. */
static dlt_value *sample_weight(dlt_builder *b, const dlt_outcome *o, dlt_value *own_mask)
{
    dlt_value *w = o->weight, *m = o->mask;
    if (w != NULL && m != NULL) {
        const bool by_weight = w->shape.rank > m->shape.rank && w->shape.dim[w->shape.rank - 1] != 1;
        const dlt_shape shape = by_weight ? w->shape : m->shape;
        w = dlt_mul(b, dlt_weight_aligned(b, w, shape), dlt_weight_aligned(b, m, shape));
    } else {
        w = w != NULL ? w : m;
        w = w != NULL ? dlt_cast(b, w, dlt_real(b)) : NULL;
    }
    if (w != NULL && own_mask != NULL) {
        w = dlt_mul(b, dlt_weight_aligned(b, w, own_mask->shape), own_mask);
    }
    return w;
}

void dlt_metric_mean(dlt_builder *b, const dlt_outcome *outcome, dlt_value *values, dlt_value *own_mask)
{
    dlt_value *w = sample_weight(b, outcome, own_mask), *rows = dlt_outcome_rows(b, outcome);
    if (dlt_builder_failed(b) || values == NULL) {
        return;
    }
    if (w != NULL) {
        /* a weight for each step, say, is multiplied with the mean over what lies below the step */
        const dlt_shape v = values->shape;
        if (v.rank > w->shape.rank && v.dim[v.rank - 1] == 1) {
            values = dlt_squeeze(b, values, -1);
        }
        values = mean_from(b, values, w->shape.rank);
        if (values == NULL) {
            return;
        }
        w = dlt_broadcast_to(b, dlt_weight_aligned(b, w, values->shape), values->shape);
        values = dlt_mul(b, values, w);
        w = times(b, mean_from(b, w, 1), rows);
    }
    values = times(b, mean_from(b, values, 1), rows);
    dlt_metric_sum(b, "total", dlt_sum_all(b, values));
    dlt_metric_sum(b, "count",
                   w != NULL      ? dlt_sum_all(b, w)
                   : rows != NULL ? dlt_cast(b, outcome->rows, DLT_F64)
                                  : dlt_constant_typed(b, DLT_F64, (double)dlt_batch_size(b)));
}

int dlt_metric_mean_result(const void *params, const double *const *sums, const int64_t *counts, double *out,
                           int room)
{
    (void)params;
    (void)counts;
    if (room > 0) {
        out[0] = sums[1][0] != 0 ? sums[0][0] / sums[1][0] : 0;
    }
    return 1;
}

/* ---- programs ---- */

/* How many values the metric has: it is asked with sums of zeros. */
static int count_values(dlt_builder *b, const dlt_metric *metric)
{
    const double *sums[DLT_METRIC_MAX_SUMS];
    int64_t counts[DLT_METRIC_MAX_SUMS];
    double ignored;
    for (int i = 0; i < metric->sum_count; i++) {
        counts[i] = dlt_shape_count(&metric->sums[i]->shape);
        sums[i] = dlt_arena_alloc(dlt_builder_graph(b)->arena, (size_t)counts[i], sizeof(double));
        if (sums[i] == NULL) {
            dlt_reject_at(b, DLT_E_MEMORY, metric->item->pos, "out of memory");
            return 1;
        }
    }
    return metric->desc->result(metric->params, sums, counts, &ignored, 1);
}

static void update_metric(dlt_builder *b, dlt_metric *metric, const dlt_outcome *outcome)
{
    dlt_outcome given = *outcome, o;
    const dlt_metric_desc *desc = dlt_metric_of(metric->item);
    metric->params = metric->item->params;
    if (desc->resolve != NULL && metric->item->bare) {
        desc = desc->resolve(&outcome->y_true->shape, &outcome->y_pred->shape);
        metric->params = desc->defaults;
    }
    metric->desc = desc;
    metric->sum_count = 0;
    if (!metric->weighted) {
        given.weight = NULL;
    }
    if (given.y_true->shape.rank == 1 && given.y_pred->shape.rank == 1 && desc->form == DLT_TARGET_SAME) {
        /* (B, 1), so that a loss gives a value for each sample */
        given.mask = given.y_pred->mask;
        given.y_true = dlt_expand(b, given.y_true, -1);
        given.y_pred = dlt_expand(b, given.y_pred, -1);
    }
    if (dlt_outcome_match(b, &given, desc->form, &o)) {
        desc->update(b, metric->params, &o);
    }
    if (!dlt_builder_failed(b)) {
        metric->value_count = count_values(b, metric);
    }
}

static void update_loss(dlt_builder *b, dlt_metric_set *set, const dlt_outcome *outcome, dlt_value *loss)
{
    dlt_value *rows = outcome->rows != NULL ? dlt_cast(b, outcome->rows, DLT_F64)
                                            : dlt_constant_typed(b, DLT_F64, (double)dlt_batch_size(b));
    dlt_value *addends[] = {dlt_mul(b, dlt_cast(b, loss, DLT_F64), rows), rows};
    static const char *const paths[] = {"metric/loss:total", "metric/loss:rows"};
    dlt_variable **kept[] = {&set->loss_total, &set->loss_rows};
    for (int i = 0; i < 2; i++) {
        dlt_value *sum = dlt_variable_value(b, &(dlt_variable){.path = paths[i],
                                                               .group = "",
                                                               .role = DLT_VARIABLE_METRIC,
                                                               .type = DLT_F64,
                                                               .shape = dlt_scalar(),
                                                               .storage = DLT_STATE,
                                                               .layer = ""});
        *kept[i] = dlt_variables_find(dlt_builder_graph(b)->variables, paths[i]);
        dlt_assign(b, *kept[i], dlt_add(b, sum, addends[i]));
    }
}

void dlt_metric_set_update(dlt_builder *b, dlt_metric_set *set, const dlt_outcome *outcome, dlt_value *loss)
{
    if (dlt_builder_failed(b) || outcome->y_true == NULL || outcome->y_pred == NULL) {
        return;
    }
    void *context = dlt_builder_context(b);
    dlt_scope_enter(b, "metric", NULL, (dlt_pos){0}, true);
    if (loss != NULL) {
        update_loss(b, set, outcome, loss);
    }
    for (int i = 0; i < set->count && !dlt_builder_failed(b); i++) {
        dlt_metric *metric = &set->at[i];
        dlt_builder_set_context(b, metric);
        dlt_scope_enter(b, metric->name, NULL, metric->item->pos, true);
        update_metric(b, metric, outcome);
        dlt_scope_leave(b);
    }
    dlt_scope_leave(b);
    dlt_builder_set_context(b, context);
}

/* ---- values ---- */

int dlt_metric_values(const dlt_metric *metric, const double *const *sums, double *out, int room)
{
    int64_t counts[DLT_METRIC_MAX_SUMS];
    for (int i = 0; i < metric->sum_count; i++) {
        counts[i] = dlt_shape_count(&metric->sums[i]->shape);
    }
    return metric->desc->result(metric->params, sums, counts, out, room);
}

int dlt_metric_log_names(const dlt_metric_set *set, bool val, dlt_log_entry *entries, int room)
{
    const char *prefix = val ? "val_" : "";
    int count = 0;
    for (int i = -1; i < set->count; i++) {
        const char *name = i < 0 ? "loss" : set->at[i].name;
        const dlt_direction direction = i < 0 ? DLT_SMALLER_IS_BETTER : set->at[i].direction;
        const int values = i < 0 ? 1 : set->at[i].value_count;
        for (int k = 0; k < values; k++, count++) {
            if (count < room) {
                const char *full = values > 1 ? dlt_arena_printf(set->arena, "%s%s[%d]", prefix, name, k)
                                              : dlt_arena_printf(set->arena, "%s%s", prefix, name);
                entries[count] = (dlt_log_entry){full != NULL ? full : "", 0, direction};
            }
        }
    }
    return count;
}
