/* backend/backend.c: from a device's name to its backend. */
#include "backend/backend.h"

#include <string.h>

dlt_status dlt_backend_find(const char *device, const dlt_backend **backend, dlt_diag *diag)
{
    *backend = NULL;
    if (strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0) {
        *backend = &dlt_backend_cpu;
        return DLT_OK;
    }
    if (strncmp(device, "cuda", 4) == 0) {
        return dlt_fail(diag, DLT_E_BACKEND, (dlt_pos){0},
                        "device: %s: this dltrain is built without a CUDA module; use cpu or auto", device);
    }
    return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "device: '%s' is not one of auto, cpu, cuda, cuda:N", device);
}
