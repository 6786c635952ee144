/* trainer/plan_report.h: what `plan` says of an engine: memory by class, largest activations, kernels and
 * why. */
#ifndef DLT_TRAINER_PLAN_REPORT_H
#define DLT_TRAINER_PLAN_REPORT_H

#include "trainer/engine.h"

/** Everything as JSON: also plan.json of a run. */
void dlt_plan_report_json(const dlt_engine *engine, dlt_buf *out);
/** For people. `verbose`: every kernel with its rejected rivals. */
void dlt_plan_report_text(const dlt_engine *engine, bool verbose, dlt_buf *out);

#endif
