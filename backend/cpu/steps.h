/* backend/cpu/steps.h: a planned program as a list of calls. Internal to backend/cpu. */
#ifndef DLT_BACKEND_CPU_STEPS_H
#define DLT_BACKEND_CPU_STEPS_H

#include "backend/cpu/kernel.h"
#include "graph/plan.h"

/** One node that does something: a kernel, a guard or an assignment that copies. */
typedef struct dlt_cpu_step {
    const dlt_node *node;
    const dlt_cpu_choice *choice; /* NULL: GUARD or ASSIGN */
    dlt_cpu_call call;            /* scratch is set by who runs it */
} dlt_cpu_step;

/** Addresses of the storage classes. */
typedef struct dlt_cpu_bases {
    char *base[DLT_STORAGE_COUNT];
} dlt_cpu_bases;

typedef struct dlt_cpu_steps {
    const dlt_plan *plan;
    dlt_cpu_step *list;
    int count;
    char *constants; /* plan->constant_bytes, filled */
} dlt_cpu_steps;

/** Makes the list; pointers are set by dlt_cpu_steps_bind. All memory comes from the arena. */
dlt_status dlt_cpu_steps_create(const dlt_plan *plan, dlt_arena *arena, dlt_cpu_steps *steps, dlt_diag *diag);
/** Resolves all operands against these addresses (CONSTANT is the list's own). */
void dlt_cpu_steps_bind(dlt_cpu_steps *steps, const dlt_cpu_bases *bases);
/** Address of a value. */
void *dlt_cpu_value_address(const dlt_plan *plan, const dlt_cpu_bases *bases, const dlt_value *value);
/** True if all elements of a guard's operands are finite. */
bool dlt_cpu_guard_passes(const dlt_cpu_step *step);
/** Copies the value of an ASSIGN into its variable. */
void dlt_cpu_assign(const dlt_cpu_step *step, const dlt_cpu_bases *bases);

#endif
