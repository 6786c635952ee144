/* cmd/probe_model.h: shapes, data and memory of a model that has been read. */
#ifndef DLT_CMD_PROBE_MODEL_H
#define DLT_CMD_PROBE_MODEL_H

#include "trainer/session.h"

/**
 * Opens the model as far as that needs no records: shapes, loss and labels against the data, and the memory
 * it will take. A device that is not in this machine (checked where jobs are submitted, say) leaves only the
 * memory out. *session stays NULL where nothing can be told: no data, and no Input at the front.
 */
dlt_status dlt_probe_model(const dlt_run_spec *spec, bool no_data, dlt_session **session, dlt_diag *diag);

#endif
