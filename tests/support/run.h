/* tests/support/run.h: running graphs on the CPU for tests: passes, plan, verification, reference kernels. */
#ifndef DLT_TESTS_RUN_H
#define DLT_TESTS_RUN_H

#include "backend/backend.h"
#include "schema/spec.h"

/** Graphs over one list of variables, sharing one memory; the first one added decides about variables. */
typedef struct dlt_test_run {
    dlt_arena *arena;
    dlt_diag *diag;
    dlt_variables *variables;
    dlt_device *device;
    dlt_memory *memory;
    int count;
    const dlt_graph *graphs[8]; /* after passes */
    const dlt_plan *plans[8];
    dlt_program *programs[8];
    bool fuse;
    dlt_dtype compute; /* F32 at first; BF16: mixed precision */
} dlt_test_run;

/** Parameters of the only source of this catalogue, NPZ. */
typedef struct dlt_test_source {
    const char *path, *features, *labels, *sample_weight;
} dlt_test_source;
/** The catalogue of all kinds but sources, as cmd/ makes it. */
const dlt_catalogue *dlt_test_catalogue(void);
/** Parses a model file; asserts that it is good. */
const dlt_run_spec *dlt_test_spec(dlt_arena *arena, const char *text);
/** First message about a model file that is wrong; in the arena. Asserts that there is one. */
const char *dlt_test_mistake(dlt_arena *arena, const char *text);
/** Item of a category, from its text in flow style: dlt_test_item(a, "loss", "{Huber: {delta: 2}}"). Asserts.
 */
const dlt_item *dlt_test_item(dlt_arena *arena, const char *category, const char *text);

/** Starts with an empty list of variables, and reference kernels. */
dlt_test_run *dlt_test_run_open(void);
/** The same with the kernels that are chosen on this machine. */
dlt_test_run *dlt_test_run_open_chosen(void);
void dlt_test_run_close(dlt_test_run *run);
/** Passes, plans and verifies a graph; returns its number. All graphs are added before start. */
int dlt_test_run_add(dlt_test_run *run, const dlt_graph *graph);
/** Makes memory and programs; every variable starts as its constant, or 0. */
void dlt_test_run_start(dlt_test_run *run);
/** Values of a variable in its logical shape. part: of a flat slot, the weight whose part is meant; else
 * NULL. */
void dlt_test_set(dlt_test_run *run, const dlt_variable *variable, const dlt_variable *part,
                  const double *values);
void dlt_test_get(dlt_test_run *run, const dlt_variable *variable, const dlt_variable *part, double *values);
/** Fills input `number` of a program. */
void dlt_test_input(dlt_test_run *run, int program, int number, const double *values);
/** Runs a program; true if the guard let it pass. */
bool dlt_test_run_once(dlt_test_run *run, int program);
/** Reads a named output. */
void dlt_test_output(dlt_test_run *run, int program, const char *name, double *values);

#endif
