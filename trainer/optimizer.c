/* trainer/optimizer.c: a whole update (keras-training.md 6.2-6.5). Everything but clipnorm and constraints
 * acts on flat vectors of all trainable weights, so that one fused program makes the step. */
#include "trainer/optimizer.h"

#include "base/arena.h"

/* What an update needs throughout. */
typedef struct update {
    dlt_builder *b;
    const dlt_item *item;
    const dlt_optimizer_params *params;
    int count;
    dlt_variable **weights; /* the trainable ones, in list order */
    dlt_value **grads;
    dlt_value *raw;     /* float64 scalar: micro-steps so far */
    dlt_value *updates; /* float64 scalar: updates so far */
    dlt_value *rate;
} update;

/* ---- for the kinds ---- */

void dlt_optimizer_check(const dlt_item *item, dlt_diag *diag)
{
    const dlt_optimizer_params *p = item->params;
    const char *const names[] = {"clipnorm", "clipvalue", "global_clipnorm"};
    const bool set[] = {p->clipnorm.set, p->clipvalue.set, p->global_clipnorm.set};
    const char *first = NULL;
    for (size_t i = 0; i < DLT_COUNT(names); i++) {
        if (set[i] && first != NULL) {
            dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(item, names[i]),
                     "%s: only one of clipnorm, clipvalue and global_clipnorm can be set; %s is set already",
                     item->kind->name, first);
        }
        first = set[i] && first == NULL ? names[i] : first;
    }
}

dlt_value *dlt_optimizer_scalar(dlt_builder *b, const char *name, double start, dlt_variable **variable)
{
    const char *path = dlt_arena_printf(dlt_builder_graph(b)->arena, "optimizer:%s", name);
    *variable = NULL;
    if (path == NULL) {
        return dlt_reject_at(b, DLT_E_MEMORY, dlt_scope_pos(b), "out of memory");
    }
    dlt_value *v = dlt_variable_value(b, &(dlt_variable){.path = path,
                                                         .group = "",
                                                         .role = DLT_VARIABLE_SLOT,
                                                         .type = dlt_real(b),
                                                         .shape = dlt_scalar(),
                                                         .storage = DLT_STATE,
                                                         .constant = start,
                                                         .layer = "optimizer"});
    *variable = v != NULL ? dlt_variables_find(dlt_builder_graph(b)->variables, path) : NULL;
    return v;
}

dlt_value *dlt_one_minus_power(dlt_builder *b, double beta, dlt_value *step)
{
    const bool single = dlt_real(b) == DLT_F32;
    dlt_value *base = dlt_constant_typed(b, DLT_F64, single ? (double)(float)beta : beta);
    return dlt_c_sub(b, 1, dlt_cast(b, dlt_pow(b, base, step), dlt_real(b)));
}

dlt_value *dlt_moving_slot(dlt_builder *b, const char *name, dlt_value *x, double beta)
{
    dlt_variable *slot;
    dlt_value *old = dlt_flat_slot(b, name, 0, &slot);
    dlt_value *now = dlt_add(b, old, dlt_mul_c(b, dlt_sub(b, x, old), 1 - beta));
    dlt_assign(b, slot, now);
    return now;
}

/* ---- counters ---- */

static dlt_value *counter(dlt_builder *b, const char *path, dlt_dtype type, double start,
                          dlt_variable **variable)
{
    dlt_value *v = dlt_variable_value(b, &(dlt_variable){.path = path,
                                                         .group = "",
                                                         .role = DLT_VARIABLE_COUNTER,
                                                         .type = type,
                                                         .shape = dlt_scalar(),
                                                         .storage = DLT_STATE,
                                                         .constant = start,
                                                         .layer = "optimizer"});
    *variable = v != NULL ? dlt_variables_find(dlt_builder_graph(b)->variables, path) : NULL;
    return v;
}

static dlt_value *learning_rate(update *u)
{
    const dlt_item *item = u->params->learning_rate;
    const dlt_schedule_desc *schedule = dlt_schedule_of(item);
    if (schedule->constant) {
        dlt_variable *ignored;
        const dlt_constant_rate_params *p = item->params;
        return counter(u->b, DLT_PATH_LEARNING_RATE, dlt_real(u->b), p->value, &ignored);
    }
    return dlt_cast(u->b, schedule->build(u->b, item->params, u->raw), dlt_real(u->b));
}

/* floor(raw / n): what Keras calls iterations while gradients are accumulated. */
static void read_counters(update *u)
{
    dlt_builder *b = u->b;
    dlt_variable *iteration;
    dlt_value *before = counter(b, DLT_PATH_ITERATION, DLT_I64, 0, &iteration);
    dlt_assign(b, iteration, dlt_add_c(b, before, 1));
    u->raw = u->updates = dlt_cast(b, before, DLT_F64);
    if (u->params->gradient_accumulation_steps.set) {
        dlt_value *share = dlt_div_c(b, u->raw, (double)u->params->gradient_accumulation_steps.value);
        u->updates = dlt_elementwise(b, DLT_EW_FLOOR, share, NULL, NULL);
    }
    u->rate = learning_rate(u);
}

/* ---- gradients ---- */

static bool find_weights(update *u)
{
    dlt_graph *g = dlt_builder_graph(u->b);
    const dlt_variables *all = g->variables;
    u->weights = dlt_arena_alloc(g->arena, (size_t)all->count, sizeof(dlt_variable *));
    u->grads = dlt_arena_alloc(g->arena, (size_t)all->count, sizeof(dlt_value *));
    if (u->weights == NULL || u->grads == NULL) {
        dlt_reject_at(u->b, DLT_E_MEMORY, dlt_scope_pos(u->b), "out of memory");
        return false;
    }
    for (int i = 0; i < all->count; i++) {
        if (all->list[i]->storage == DLT_PARAM && all->list[i]->trainable) {
            u->weights[u->count++] = all->list[i];
        }
    }
    if (u->count == 0) {
        dlt_reject(u->b, "there is nothing to train: no layer has trainable weights");
        return false;
    }
    return true;
}

static void find_gradients(update *u, dlt_value *loss)
{
    dlt_builder *b = u->b;
    const dlt_opt_float scale = u->params->loss_scale_factor;
    dlt_value **at = dlt_arena_alloc(dlt_builder_graph(b)->arena, (size_t)u->count, sizeof *at);
    if (at == NULL) {
        dlt_reject_at(b, DLT_E_MEMORY, dlt_scope_pos(b), "out of memory");
        return;
    }
    for (int i = 0; i < u->count; i++) {
        at[i] = dlt_current(b, u->weights[i]);
    }
    dlt_gradients(b, scale.set ? dlt_mul_c(b, loss, scale.value) : loss, at, u->count, u->grads);
    for (int i = 0; i < u->count && scale.set; i++) {
        u->grads[i] = dlt_div_c(b, u->grads[i], scale.value);
    }
}

/* Sum of the squares of one gradient. */
static dlt_value *squared_norm(dlt_builder *b, dlt_value *g)
{
    return dlt_sum_all(b, dlt_square(b, g));
}

/* clipnorm: g c / max(|g|, c) for each weight's gradient. Sets *squares to the sum of squares of all before.
 */
static void clip_each(update *u, double most, dlt_value **squares)
{
    dlt_builder *b = u->b;
    dlt_value **parts = dlt_arena_alloc(dlt_builder_graph(b)->arena, (size_t)u->count, sizeof *parts);
    *squares = NULL;
    if (parts == NULL) {
        dlt_reject_at(b, DLT_E_MEMORY, dlt_scope_pos(b), "out of memory");
        return;
    }
    for (int i = 0; i < u->count; i++) {
        dlt_value *square = squared_norm(b, u->grads[i]);
        dlt_value *scale = dlt_div(b, dlt_constant(b, most), dlt_max_c(b, dlt_sqrt(b, square), most));
        u->grads[i] = dlt_mul(b, u->grads[i], scale);
        parts[i] = dlt_reshape(b, square, DLT_SHAPE(1));
    }
    *squares = dlt_sum_all(b, u->count > 1 ? dlt_concat(b, parts, u->count, 0) : parts[0]);
}

/* clipvalue and global_clipnorm, of the flat vector; norm is its norm. */
static dlt_value *clip_flat(update *u, dlt_value *g, dlt_value *norm)
{
    dlt_builder *b = u->b;
    const dlt_optimizer_params *p = u->params;
    if (p->clipvalue.set) {
        return dlt_clip(b, g, -p->clipvalue.value, p->clipvalue.value);
    }
    if (p->global_clipnorm.set) {
        const double most = p->global_clipnorm.value;
        return dlt_mul(b, g, dlt_div(b, dlt_constant(b, most), dlt_max_c(b, norm, most)));
    }
    return g;
}

/* What stands before it belongs to the backward phase, what stands behind to the update. */
static void guard(dlt_builder *b, dlt_value *loss, dlt_value *norm)
{
    if (loss != NULL && norm != NULL) {
        dlt_value *const watched[] = {loss, norm};
        dlt_guard(b, watched, 2);
    }
    dlt_builder_phase(b, DLT_PHASE_UPDATE);
}

/* The gradients as one vector, accumulated, watched and clipped; NULL where they are only added up. */
static dlt_value *prepare_gradients(update *u, dlt_value *loss, dlt_update_kind kind, dlt_value **norm)
{
    dlt_builder *b = u->b;
    const dlt_optimizer_params *p = u->params;
    dlt_variable *slot = NULL;
    dlt_value *sum = NULL, *g = NULL, *squares = NULL;
    const double share = kind == DLT_UPDATE_APPLY ? (double)p->gradient_accumulation_steps.value : 1;
    if (kind != DLT_UPDATE_STEP) {
        sum = dlt_flat_slot(b, DLT_SLOT_ACCUMULATOR, 0, &slot);
    }
    const bool each = p->clipnorm.set && kind != DLT_UPDATE_ACCUMULATE;
    if (each) { /* before they become one vector */
        for (int i = 0; i < u->count && sum != NULL; i++) {
            dlt_value *so_far = dlt_flat_part(b, sum, u->weights[i]);
            u->grads[i] = dlt_div_c(b, dlt_add(b, u->grads[i], so_far), share);
        }
        clip_each(u, p->clipnorm.value, &squares);
    }
    g = dlt_flat_grads(b, u->grads, u->count);
    if (!each) {
        squares = squared_norm(b, g);
    }
    *norm = dlt_sqrt(b, squares);
    if (kind == DLT_UPDATE_ACCUMULATE) {
        guard(b, loss, *norm);
        dlt_assign(b, slot, dlt_add(b, g, sum));
        return NULL;
    }
    if (kind == DLT_UPDATE_APPLY) {
        if (!each) {
            g = dlt_div_c(b, dlt_add(b, g, sum), share);
            *norm = dlt_sqrt(b, squared_norm(b, g));
        }
    }
    guard(b, loss, *norm);
    if (kind == DLT_UPDATE_APPLY) {
        dlt_assign(
            b, slot,
            dlt_sub(b, sum, sum)); /* zeros in the layout of the vector; the guard let no infinite sum pass */
    }
    return each ? g : clip_flat(u, g, *norm);
}

/* ---- weights ---- */

/* avg = w while there was no update, then momentum avg + (1 - momentum) w; every so often the weights become
 * it. */
static dlt_value *average_weights(update *u, dlt_value *w)
{
    dlt_builder *b = u->b;
    const dlt_optimizer_params *p = u->params;
    dlt_variable *slot;
    dlt_value *before = dlt_flat_slot(b, DLT_SLOT_AVERAGE, 0, &slot);
    dlt_value *none_yet = dlt_equal(b, u->updates, dlt_constant_typed(b, DLT_F64, 0));
    dlt_value *momentum = dlt_mul_c(b, dlt_cast(b, dlt_not(b, none_yet), dlt_real(b)), p->ema_momentum);
    dlt_value *average = dlt_add(b, dlt_mul(b, before, momentum), dlt_mul(b, w, dlt_c_sub(b, 1, momentum)));
    dlt_assign(b, slot, average);
    if (!p->ema_overwrite_frequency.set) {
        return w;
    }
    dlt_value *every = dlt_constant_typed(b, DLT_F64, (double)p->ema_overwrite_frequency.value);
    dlt_value *rest = dlt_elementwise(b, DLT_EW_MOD, dlt_add_c(b, u->updates, 1), every, NULL);
    return dlt_select(b, dlt_cast(b, rest, dlt_real(b)), w, average);
}

/*
 * The sum of the new weights, and of sums that the rule keeps: not finite where one of them is not. Fused into the update it costs
 * next to nothing; that it may overflow although all are finite is for the reader to sort out.
 */
static dlt_value *update_sum(update *u, dlt_value *w)
{
    dlt_builder *b = u->b;
    const char *names[DLT_OPTIMIZER_MAX_SLOTS];
    const dlt_optimizer_desc *desc = dlt_optimizer_of(u->item);
    const int slots = desc->sums ? desc->slots(u->item->params, names) : 0;
    dlt_value *sum = w;
    for (int i = 0; i < slots; i++) {
        dlt_value *now = dlt_flat_slot(b, names[i], 0, NULL);
        sum = now != NULL && now->node->op != DLT_OP_VAR ? dlt_add(b, sum, now) : sum;
    }
    return dlt_sum_all(b, sum);
}

static void constrain_weights(update *u)
{
    dlt_builder *b = u->b;
    for (int i = 0; i < u->count; i++) {
        dlt_variable *v = u->weights[i];
        if (v->constraint != NULL) {
            dlt_scope_enter(b, NULL, NULL, v->pos, true);
            dlt_assign(b, v, dlt_constrain(b, v->constraint, dlt_current(b, v)));
            dlt_scope_leave(b);
        }
    }
}

void dlt_optimizer_build(dlt_builder *b, const dlt_item *optimizer, dlt_value *loss, dlt_update_kind kind,
                         dlt_update_report *report)
{
    update u = {.b = b, .item = optimizer, .params = dlt_optimizer_common(optimizer)};
    *report = (dlt_update_report){NULL, NULL, NULL};
    if (dlt_builder_failed(b) || loss == NULL) {
        return;
    }
    dlt_scope_enter(b, "optimizer", NULL, optimizer->pos, true);
    if (find_weights(&u)) {
        find_gradients(&u, loss);
        dlt_builder_phase(b, DLT_PHASE_BACKWARD);
        dlt_value *g = prepare_gradients(&u, loss, kind, &report->grad_norm);
        read_counters(&u);
        dlt_value *w = dlt_flat_params(b), *old = w;
        if (kind != DLT_UPDATE_ACCUMULATE) {
            if (u.params->weight_decay.set) {
                w = dlt_sub(b, w, dlt_mul(b, dlt_mul_c(b, w, u.params->weight_decay.value), u.rate));
            }
            const dlt_optimizer_io io = {.w = w, .g = g, .rate = u.rate, .step = dlt_add_c(b, u.updates, 1)};
            w = dlt_optimizer_of(optimizer)->update(b, optimizer->params, &io);
            report->sum = update_sum(&u, w);
        }
        if (u.params->use_ema) {
            w = average_weights(&u, w);
        }
        if (w != old) {
            dlt_assign_flat(b, w);
        }
        constrain_weights(&u);
        report->rate = u.rate;
    }
    dlt_scope_leave(b);
}

void dlt_optimizer_finish(dlt_builder *b)
{
    dlt_builder_phase(b, DLT_PHASE_UPDATE);
    dlt_assign_flat(b, dlt_flat_slot(b, DLT_SLOT_AVERAGE, 0, NULL));
}
