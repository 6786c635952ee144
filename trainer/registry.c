/* trainer/registry.c: the .def lists as tables. */
#include "trainer/kinds.h"

/* each list is read three times: to declare, for the table of descriptors, for the table of kinds */
#define DLT_LOSS(Class, name) extern const dlt_loss_desc dlt_loss_##name;
#include "trainer/losses/losses.def"
#undef DLT_LOSS
#define DLT_METRIC(Class, name) extern const dlt_metric_desc dlt_metric_##name;
#include "trainer/metrics/metrics.def"
#undef DLT_METRIC
#define DLT_OPTIMIZER(Class, name) extern const dlt_optimizer_desc dlt_optimizer_##name;
#include "trainer/optimizers/optimizers.def"
#undef DLT_OPTIMIZER
#define DLT_SCHEDULE(Class, name) extern const dlt_schedule_desc dlt_schedule_##name;
#include "trainer/schedules/schedules.def"
#undef DLT_SCHEDULE
#define DLT_INITIALIZER(Class, name) extern const dlt_initializer_desc dlt_initializer_##name;
#include "trainer/initializers/initializers.def"
#undef DLT_INITIALIZER
#define DLT_REGULARIZER(Class, name) extern const dlt_regularizer_desc dlt_regularizer_##name;
#include "trainer/regularizers/regularizers.def"
#undef DLT_REGULARIZER
#define DLT_CONSTRAINT(Class, name) extern const dlt_constraint_desc dlt_constraint_##name;
#include "trainer/constraints/constraints.def"
#undef DLT_CONSTRAINT
#define DLT_CALLBACK(Class, name) extern const dlt_callback_desc dlt_callback_##name;
#include "trainer/callbacks/callbacks.def"
#undef DLT_CALLBACK

#define DLT_LOSS(Class, name) &dlt_loss_##name,
const dlt_loss_desc *const dlt_losses[] = {
#include "trainer/losses/losses.def"
    NULL};
#undef DLT_LOSS
#define DLT_METRIC(Class, name) &dlt_metric_##name,
const dlt_metric_desc *const dlt_metrics[] = {
#include "trainer/metrics/metrics.def"
    NULL};
#undef DLT_METRIC
#define DLT_OPTIMIZER(Class, name) &dlt_optimizer_##name,
const dlt_optimizer_desc *const dlt_optimizers[] = {
#include "trainer/optimizers/optimizers.def"
    NULL};
#undef DLT_OPTIMIZER
#define DLT_SCHEDULE(Class, name) &dlt_schedule_##name,
const dlt_schedule_desc *const dlt_schedules[] = {
#include "trainer/schedules/schedules.def"
    NULL};
#undef DLT_SCHEDULE
#define DLT_INITIALIZER(Class, name) &dlt_initializer_##name,
const dlt_initializer_desc *const dlt_initializers[] = {
#include "trainer/initializers/initializers.def"
    NULL};
#undef DLT_INITIALIZER
#define DLT_REGULARIZER(Class, name) &dlt_regularizer_##name,
const dlt_regularizer_desc *const dlt_regularizers[] = {
#include "trainer/regularizers/regularizers.def"
    NULL};
#undef DLT_REGULARIZER
#define DLT_CONSTRAINT(Class, name) &dlt_constraint_##name,
const dlt_constraint_desc *const dlt_constraints[] = {
#include "trainer/constraints/constraints.def"
    NULL};
#undef DLT_CONSTRAINT
#define DLT_CALLBACK(Class, name) &dlt_callback_##name,
const dlt_callback_desc *const dlt_callbacks[] = {
#include "trainer/callbacks/callbacks.def"
    NULL};
#undef DLT_CALLBACK

#define DLT_LOSS(Class, name) &dlt_loss_##name.kind,
static const dlt_kind *const losses[] = {
#include "trainer/losses/losses.def"
};
#define DLT_METRIC(Class, name) &dlt_metric_##name.kind,
static const dlt_kind *const metrics[] = {
#include "trainer/metrics/metrics.def"
};
#define DLT_OPTIMIZER(Class, name) &dlt_optimizer_##name.kind,
static const dlt_kind *const optimizers[] = {
#include "trainer/optimizers/optimizers.def"
};
#define DLT_SCHEDULE(Class, name) &dlt_schedule_##name.kind,
static const dlt_kind *const schedules[] = {
#include "trainer/schedules/schedules.def"
};
#define DLT_INITIALIZER(Class, name) &dlt_initializer_##name.kind,
static const dlt_kind *const initializers[] = {
#include "trainer/initializers/initializers.def"
};
#define DLT_REGULARIZER(Class, name) &dlt_regularizer_##name.kind,
static const dlt_kind *const regularizers[] = {
#include "trainer/regularizers/regularizers.def"
};
#define DLT_CONSTRAINT(Class, name) &dlt_constraint_##name.kind,
static const dlt_kind *const constraints[] = {
#include "trainer/constraints/constraints.def"
};
#define DLT_CALLBACK(Class, name) &dlt_callback_##name.kind,
static const dlt_kind *const callbacks[] = {
#include "trainer/callbacks/callbacks.def"
};

#define KINDS(list) .kinds = (list), .count = DLT_COUNT(list)
const dlt_category dlt_trainer_categories[DLT_TRAINER_CATEGORIES] = {
    {.name = "loss", .doc = "what training makes small", KINDS(losses), .named = true},
    {.name = "metric",
     .doc = "what is measured while training and evaluating",
     KINDS(metrics),
     .named = true,
     .called = true},
    {.name = "optimizer", .doc = "how weights follow gradients", KINDS(optimizers), .named = true},
    {.name = "schedule", .doc = "a learning rate that changes by itself", KINDS(schedules), .named = true},
    {.name = "initializer", .doc = "first values of weights", KINDS(initializers)},
    {.name = "regularizer",
     .doc = "what is added to the loss for the size of weights or outputs",
     KINDS(regularizers)},
    {.name = "constraint", .doc = "what weights are held to after each step", KINDS(constraints)},
    {.name = "callback", .doc = "what is done at the ends of epochs", KINDS(callbacks)},
};
