/* trainer/check.c: checks across the parts of a model. */
#include "trainer/check.h"

#include "base/text.h"
#include "trainer/initializer.h"
#include "trainer/optimizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A loss or metric that is held against outputs and targets. */
typedef struct subject {
    const char *what; /* "loss", "metric" */
    const char *name; /* as the user wrote it */
    dlt_pos pos;
    dlt_target_form form;
    dlt_fits fits;
} subject;

/* "the last layer (model.yaml:12:5) gives", or "the model gives". */
static const char *last_gives(const dlt_check *c, char *text, size_t room)
{
    if (c->last == NULL || c->last->pos.line == 0) {
        snprintf(text, room, "the model gives");
    } else {
        const dlt_pos at = c->last->pos;
        snprintf(text, room, "the last layer (%s:%u:%u) gives", at.file != NULL ? at.file : "", at.line,
                 at.column);
    }
    return text;
}

static const char *word_of(const dlt_item *item)
{
    return item->written != NULL ? item->written : item->kind->name;
}

static int64_t last_dim(const dlt_shape *shape)
{
    return shape->rank > 0 ? shape->dim[shape->rank - 1] : 1;
}

/* ---- shapes and classes ---- */

/* One class number a row, or a step, for outputs of shape y. */
static bool are_class_numbers(const dlt_shape *target, const dlt_shape *y)
{
    return target->rank + 1 < y->rank ||
           (target->rank + 1 == y->rank && target->rank > 0 && last_dim(target) == 1 && last_dim(y) > 1);
}

static void check_class_count(const dlt_check *c, const subject *s, int64_t outputs, dlt_diag *diag)
{
    char gives[320];
    const int64_t classes = c->target->classes;
    if (classes > outputs) {
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s with %" PRId64 " classes needs %" PRId64 " outputs; %s %" PRId64, s->what, s->name,
                 classes, classes, last_gives(c, gives, sizeof gives), outputs);
    }
}

static void check_classes(const dlt_check *c, const subject *s, dlt_diag *diag)
{
    const dlt_shape *y = &c->y->shape, *t = &c->target->shape;
    const int64_t outputs = last_dim(y);
    const bool numbers = are_class_numbers(t, y);
    char gives[320];
    last_gives(c, gives, sizeof gives);
    if (s->form == DLT_TARGET_CLASSES) {
        if (!numbers && outputs > 1 && last_dim(t) == outputs) {
            dlt_fail(diag, DLT_E_CONFIG, s->pos,
                     "%s %s wants class numbers; the targets are rows of %" PRId64
                     " numbers, for which there is %s",
                     s->what, s->name, outputs,
                     strcmp(s->what, "loss") == 0 ? "categorical_crossentropy"
                                                  : "the metric without sparse_ in its name");
            return;
        }
        check_class_count(c, s, outputs, diag);
        if (outputs == 1 && c->target->classes <= 1) {
            dlt_fail(diag, DLT_E_CONFIG, s->pos,
                     "%s %s needs an output for each class; %s 1, which is the likeliest of one whatever it is",
                     s->what, s->name, gives);
        }
        return;
    }
    if (numbers && outputs > 1) {
        const bool top_k = strncmp(s->name, "top_k", 5) == 0 || strncmp(s->name, "TopK", 4) == 0;
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s wants a row of %" PRId64
                 " numbers for each target; the targets are class numbers, for which there is sparse_%s",
                 s->what, s->name, outputs,
                 strcmp(s->what, "loss") == 0 ? "categorical_crossentropy"
                 : top_k                      ? "top_k_categorical_accuracy"
                                              : "categorical_accuracy");
    } else if (outputs == 1) {
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s needs an output for each class; %s 1; for two classes and one output there is %s",
                 s->what, s->name, gives,
                 strcmp(s->what, "loss") == 0 ? "binary_crossentropy" : "binary_accuracy");
    } else if (last_dim(t) != outputs) {
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s with targets of %" PRId64 " numbers needs %" PRId64 " outputs; %s %" PRId64, s->what,
                 s->name, last_dim(t), last_dim(t), gives, outputs);
    }
}

static void check_binary(const dlt_check *c, const subject *s, dlt_diag *diag)
{
    const dlt_shape *y = &c->y->shape, *t = &c->target->shape;
    const int64_t outputs = last_dim(y), classes = c->target->classes;
    char gives[320];
    if (are_class_numbers(t, y) && outputs > 1) {
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s with one number a target needs 1 output; %s %" PRId64
                 "; for as many classes there is sparse_categorical_%s",
                 s->what, s->name, last_gives(c, gives, sizeof gives), outputs,
                 strcmp(s->what, "loss") == 0 ? "crossentropy" : "accuracy");
    } else if (outputs == 1 && classes > 2) {
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s tells two classes apart, the targets have %" PRId64
                 "; sparse_categorical_%s with %" PRId64 " outputs can",
                 s->what, s->name, classes, strcmp(s->what, "loss") == 0 ? "crossentropy" : "accuracy",
                 classes);
    } else if (outputs > 1 && last_dim(t) != outputs) {
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s with targets of %" PRId64 " numbers needs %" PRId64 " outputs; %s %" PRId64, s->what,
                 s->name, last_dim(t), last_dim(t), last_gives(c, gives, sizeof gives), outputs);
    }
}

static void check_numbers(const dlt_check *c, const subject *s, dlt_diag *diag)
{
    const dlt_shape *y = &c->y->shape, *t = &c->target->shape;
    char gives[320];
    if (c->target->names) {
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s is for numbers; the targets are names of %" PRId64 " classes", s->what, s->name,
                 c->target->classes);
        return;
    }
    /* (B) against (B, 1) and the like are the same */
    dlt_shape row = {.rank = y->rank > 0 ? y->rank - 1 : 0};
    for (int i = 0; i < row.rank; i++) {
        row.dim[i] = y->dim[i + 1];
    }
    const dlt_shape *longer = row.rank > t->rank ? &row : t, *shorter = row.rank > t->rank ? t : &row;
    dlt_shape squeezed = *longer;
    if (longer->rank == shorter->rank + 1 && last_dim(longer) == 1) {
        squeezed.rank--;
    }
    if (!dlt_shape_equal(&squeezed, shorter)) {
        char is[160], should[160];
        dlt_fail(diag, DLT_E_CONFIG, s->pos,
                 "%s %s needs targets of the outputs' shape; a target has shape %s, and %s %s", s->what,
                 s->name, dlt_shape_text(t, is, sizeof is), last_gives(c, gives, sizeof gives),
                 dlt_shape_text(&row, should, sizeof should));
    }
}

static void check_subject(const dlt_check *c, const subject *s, dlt_diag *diag)
{
    if (c->target == NULL || c->y->uncertain) {
        return;
    }
    if (c->target->uncertain) { /* there may be more classes than were seen, but not fewer, and names stay names */
        if (s->fits == DLT_FITS_CLASSES && s->form == DLT_TARGET_CLASSES && are_class_numbers(&c->target->shape, &c->y->shape)) {
            check_class_count(c, s, last_dim(&c->y->shape), diag);
        } else if (s->fits == DLT_FITS_NUMBERS && c->target->names) {
            check_numbers(c, s, diag);
        }
        return;
    }
    switch (s->fits) {
    case DLT_FITS_CLASSES:
        check_classes(c, s, diag);
        break;
    case DLT_FITS_BINARY:
        check_binary(c, s, diag);
        break;
    case DLT_FITS_PROBABILITIES: {
        /* names of two classes are 0 and 1 */
        dlt_check same = *c;
        dlt_target_info numbers = *c->target;
        numbers.names = numbers.names && numbers.classes > 2;
        same.target = &numbers;
        check_numbers(&same, s, diag);
        break;
    }
    case DLT_FITS_NUMBERS:
        check_numbers(c, s, diag);
        break;
    }
}

/* ---- the last activation ---- */

typedef enum output_range {
    RANGE_UNKNOWN,
    RANGE_SOFTMAX,
    RANGE_SIGMOID,
    RANGE_PROBABILITY,
    RANGE_ANY
} output_range;

/* The activation that the last layer names; *has: it has such a parameter. */
static const dlt_item *activation_of(const dlt_item *layer, bool *has)
{
    *has = false;
    for (const dlt_field *f = layer != NULL ? layer->kind->fields : NULL; f != NULL && f->name != NULL; f++) {
        if (f->type == DLT_FIELD_ITEM && strcmp(f->name, "activation") == 0) {
            *has = true;
            const dlt_item *item;
            memcpy(&item, (const char *)layer->params + f->offset, sizeof(const dlt_item *));
            return item;
        }
    }
    return NULL;
}

/* What values the outputs can have, and the name of the activation that says so ("linear"). */
static output_range range_of(const dlt_check *c, const char **name)
{
    bool has;
    const dlt_item *activation = activation_of(c->last, &has);
    *name = activation != NULL ? word_of(activation) : "linear";
    if (dlt_logits_of(c->y, true) != NULL) {
        return RANGE_SOFTMAX;
    }
    if (dlt_logits_of(c->y, false) != NULL) {
        return RANGE_SIGMOID;
    }
    if (!has) { /* a container, a reshape: they may hold anything */
        return RANGE_UNKNOWN;
    }
    static const char *const good[] = {"softmax", "sigmoid", "hard_sigmoid", "sparsemax", "sparse_sigmoid"};
    for (size_t i = 0; activation != NULL && i < DLT_COUNT(good); i++) {
        if (dlt_kind_is(activation->kind, good[i])) {
            return RANGE_PROBABILITY;
        }
    }
    return RANGE_ANY;
}

static void check_activation(const dlt_check *c, const dlt_loss_desc *desc, const void *params,
                             dlt_diag *diag)
{
    const dlt_item *loss = c->spec->loss;
    const char *activation, *wanted = desc->fits == DLT_FITS_BINARY ? "sigmoid" : "softmax";
    const output_range range = range_of(c, &activation);
    if (desc->from_logits < 0) {
        return;
    }
    const bool from_logits = *(const bool *)((const char *)params + desc->from_logits);
    char gives[320];
    last_gives(c, gives, sizeof gives);
    if (from_logits) {
        if (range == RANGE_SOFTMAX || range == RANGE_SIGMOID || range == RANGE_PROBABILITY) {
            dlt_warn(diag, dlt_item_pos(loss, "from_logits"),
                     "loss %s takes logits (from_logits: true), but %s probabilities: %s is applied twice",
                     word_of(loss), gives, wanted);
        }
    } else if (range == RANGE_ANY) {
        dlt_fail(diag, DLT_E_CONFIG, loss->pos,
                 "loss %s takes probabilities, but %s values of activation %s; write activation: %s there, "
                 "or from_logits: true in the loss",
                 word_of(loss), gives, activation, wanted);
    } else if (range == RANGE_SOFTMAX && last_dim(&c->y->shape) == 1 && !c->y->uncertain) {
        dlt_fail(diag, DLT_E_CONFIG, loss->pos,
                 "loss %s: the softmax of one output is always 1; use activation: sigmoid there%s",
                 word_of(loss), desc->fits == DLT_FITS_BINARY ? "" : " and binary_crossentropy");
    }
}

/* ---- loss and metrics ---- */

/* Shape of the targets of a batch. */
static dlt_shape batch_shape(const dlt_check *c)
{
    dlt_shape shape = {.rank = 1, .dim = {c->y->shape.rank > 0 ? c->y->shape.dim[0] : 1}};
    for (int i = 0; c->target != NULL && i < c->target->shape.rank && shape.rank < DLT_MAX_RANK; i++) {
        shape.dim[shape.rank++] = c->target->shape.dim[i];
    }
    return shape;
}

static void check_loss(const dlt_check *c, dlt_diag *diag)
{
    const dlt_item *loss = c->spec->loss;
    if (loss == NULL || (c->target == NULL && dlt_loss_of(loss)->resolve != NULL)) {
        return;
    }
    const dlt_shape t = batch_shape(c);
    const void *params;
    const dlt_loss_desc *desc = dlt_loss_resolve(loss, &t, &c->y->shape, &params);
    const subject s = {"loss", word_of(loss), loss->pos, desc->form, desc->fits};
    const size_t errors = dlt_diag_count(diag, DLT_ERROR);
    check_subject(c, &s, diag);
    const bool too_few = s.form == DLT_TARGET_CLASSES && c->target != NULL && c->target->classes > last_dim(&c->y->shape) &&
                         last_dim(&c->y->shape) > 1;
    if (!c->unsure_activation && (dlt_diag_count(diag, DLT_ERROR) == errors || too_few)) { /* else another loss is advised */
        check_activation(c, desc, params, diag);
    }
}

static void check_metrics(const dlt_check *c, dlt_diag *diag)
{
    const dlt_shape t = batch_shape(c);
    for (int i = 0; i < c->metrics->count && c->target != NULL; i++) {
        const dlt_item *item = c->metrics->at[i].item;
        const dlt_metric_desc *desc = dlt_metric_of(item);
        if (desc->resolve != NULL && item->bare) {
            desc = desc->resolve(&t, &c->y->shape);
        }
        const subject s = {"metric", word_of(item), item->pos, desc->form, desc->fits};
        check_subject(c, &s, diag);
    }
}

/* ---- callbacks ---- */

/* All names that the logs of an epoch will have; at least one entry of room more than is used. */
static bool collect_names(const dlt_check *c, dlt_arena *arena, dlt_logs *logs)
{
    const int each = dlt_metric_log_names(c->metrics, false, NULL, 0);
    logs->room = 2 * each + 2;
    logs->at = dlt_arena_alloc(arena, (size_t)logs->room, sizeof *logs->at);
    dlt_log_entry *entries = dlt_arena_alloc(arena, (size_t)each, sizeof *entries);
    if (logs->at == NULL || entries == NULL) {
        return false;
    }
    for (int val = 0; val <= (c->validation ? 1 : 0); val++) {
        dlt_metric_log_names(c->metrics, val == 1, entries, each);
        for (int i = 0; i < each; i++) {
            dlt_logs_set(logs, entries[i].name, 0, entries[i].direction);
        }
    }
    for (size_t i = 0; i < c->spec->fit.callbacks.count; i++) {
        if (dlt_callback_of(c->spec->fit.callbacks.at[i])->sets_rate) {
            dlt_logs_set(logs, "learning_rate", 0, DLT_NO_DIRECTION);
        }
    }
    return true;
}

static void check_monitor(const dlt_check *c, const dlt_item *item, const dlt_logs *logs, dlt_diag *diag)
{
    const dlt_callback_desc *desc = dlt_callback_of(item);
    const char *monitor;
    int mode = 0;
    memcpy(&monitor, (const char *)item->params + desc->monitor, sizeof monitor);
    if (desc->mode >= 0) {
        memcpy(&mode, (const char *)item->params + desc->mode, sizeof mode);
    }
    const dlt_log_entry *entry = dlt_logs_find(logs, monitor);
    const dlt_pos at = dlt_item_pos(item, "monitor");
    if (entry != NULL) {
        if (mode == 0 && entry->direction == DLT_NO_DIRECTION) {
            dlt_fail(diag, DLT_E_CONFIG, at,
                     "%s: %s has no better direction of its own; write mode: min or mode: max",
                     item->kind->name, monitor);
        }
        return;
    }
    if (dlt_text_starts(monitor, "val_") && !c->validation && dlt_logs_find(logs, monitor + 4) != NULL) {
        dlt_fail(diag, DLT_E_CONFIG, at,
                 "%s watches %s, but there are no validation data; give data.validation, or watch %s",
                 item->kind->name, monitor, monitor + 4);
        return;
    }
    const char *known[64];
    size_t count = 0;
    dlt_buf all = {0};
    for (int i = 0; i < logs->count; i++) {
        dlt_buf_printf(&all, "%s%s", i > 0 ? ", " : "", logs->at[i].name);
        if (count < DLT_COUNT(known)) {
            known[count++] = logs->at[i].name;
        }
    }
    const int nearest = dlt_nearest(monitor, known, count);
    if (c->unsure_metrics && nearest < 0) {
        dlt_buf_release(&all);
        return;
    }
    const dlt_detail detail = {.key = "monitor",
                               .found = monitor,
                               .allowed = dlt_buf_text(&all),
                               .nearest = nearest >= 0 ? known[nearest] : NULL};
    if (nearest >= 0) {
        dlt_fail_detail(diag, DLT_E_CONFIG, at, &detail,
                        "%s watches '%s', which is not measured; did you mean '%s'?", item->kind->name,
                        monitor, known[nearest]);
    } else {
        dlt_fail_detail(diag, DLT_E_CONFIG, at, &detail,
                        "%s watches '%s', which is not measured; there are %s", item->kind->name, monitor,
                        dlt_buf_text(&all));
    }
    dlt_buf_release(&all);
}

/* The file that a callback names, and its field; NULL: none. */
static const char *file_of(const dlt_item *callback, const char **field)
{
    for (const dlt_field *f = callback->kind->fields; f != NULL && f->name != NULL; f++) {
        if (f->type == DLT_FIELD_PATH) {
            const char *path;
            memcpy(&path, (const char *)callback->params + f->offset, sizeof path);
            *field = f->name;
            return path;
        }
    }
    return NULL;
}

/* No two callbacks write one file. */
static void check_files(const dlt_items *callbacks, dlt_diag *diag)
{
    for (size_t i = 0; i < callbacks->count; i++) {
        const char *field = NULL, *own = file_of(callbacks->at[i], &field);
        for (size_t k = 0; k < i && own != NULL; k++) {
            const char *other_field = NULL, *other = file_of(callbacks->at[k], &other_field);
            if (other != NULL && strcmp(own, other) == 0) {
                dlt_fail(diag, DLT_E_CONFIG, dlt_item_pos(callbacks->at[i], field),
                         "%s writes the file that %s on line %u writes; give it another",
                         callbacks->at[i]->kind->name, callbacks->at[k]->kind->name,
                         callbacks->at[k]->pos.line);
                break;
            }
        }
    }
}

static void check_callbacks(const dlt_check *c, dlt_diag *diag)
{
    const dlt_items *callbacks = &c->spec->fit.callbacks;
    dlt_arena *arena = dlt_arena_create();
    dlt_logs logs = {0};
    if (arena == NULL || !collect_names(c, arena, &logs)) {
        dlt_fail_memory(diag);
        dlt_arena_destroy(arena);
        return;
    }
    const dlt_item *rate =
        c->spec->optimizer != NULL ? dlt_optimizer_common(c->spec->optimizer)->learning_rate : NULL;
    for (size_t i = 0; i < callbacks->count; i++) {
        const dlt_item *item = callbacks->at[i];
        const dlt_callback_desc *desc = dlt_callback_of(item);
        if (desc->monitor >= 0 && (desc->watches == NULL || desc->watches(item))) {
            check_monitor(c, item, &logs, diag);
        }
        if (desc->sets_rate && rate != NULL && !dlt_schedule_of(rate)->constant) {
            dlt_fail(diag, DLT_E_CONFIG, item->pos,
                     "%s sets the learning rate, which %s (%s:%u:%u) makes already", item->kind->name,
                     rate->kind->name, rate->pos.file != NULL ? rate->pos.file : "", rate->pos.line,
                     rate->pos.column);
        }
        if (dlt_kind_is(item->kind, "TerminateOnNaN") && c->spec->fit.non_finite != DLT_NON_FINITE_STOP) {
            dlt_fail(diag, DLT_E_CONFIG, item->pos, "%s ends training where fit.non_finite says to go on; leave one of the two out", item->kind->name);
        }
        if (desc->check_logs != NULL) {
            desc->check_logs(item, &logs, diag);
        }
    }
    check_files(callbacks, diag);
    dlt_arena_destroy(arena);
}

/* ---- weights ---- */

static void check_initializers(const dlt_check *c, dlt_diag *diag)
{
    for (int i = 0; i < c->variables->count; i++) {
        if (!c->variables->list[i]->guessed) {
            dlt_initializer_fits(c->variables->list[i], diag);
        }
    }
}

/* Of the messages from the Nth on: DLT_E_MEMORY if one says so, else that of the first error. */
static dlt_status status_since(const dlt_diag *diag, size_t nth)
{
    dlt_status status = DLT_OK;
    for (size_t i = nth; i < dlt_diag_size(diag); i++) {
        const dlt_status one = dlt_diag_at(diag, i)->status;
        status = status == DLT_OK || one == DLT_E_MEMORY ? one : status;
    }
    return status;
}

dlt_status dlt_check_model(const dlt_check *check, dlt_diag *diag)
{
    const size_t told = dlt_diag_size(diag);
    if (check->y != NULL) {
        check_loss(check, diag);
        check_metrics(check, diag);
    }
    check_callbacks(check, diag);
    if (check->variables != NULL) {
        check_initializers(check, diag);
    }
    return status_since(diag, told);
}
