/* cmd/exit_codes.c */
#include "cmd/exit_codes.h"

#include <stddef.h>

const dlt_exit_code *dlt_exit_codes(void)
{
    static const dlt_exit_code codes[] = {
        {0, "done"},
        {1, "internal error, or a proof that failed"},
        {2, "the model file or the command line is wrong, or asks for what is not supported"},
        {3, "does not fit in memory, or into the limits of the process (ulimit)"},
        {4, "data cannot be read or do not fit the model"},
        {5, "a number is not finite"},
        {6, "a checkpoint, a run directory or its lock"},
        {7, "the device or its libraries"},
        {8, "a result cannot be written"},
        {75, "stopped by a signal, and saved: run the same command again"},
        {130, "interrupted by the user; what fit has trained is saved"},
        {143, "stopped by SIGTERM before there was anything to save"},
        {0, NULL},
    };
    return codes;
}

int dlt_exit_code_of(dlt_status status)
{
    switch (status) {
    case DLT_OK:
        return 0;
    case DLT_E_CONFIG:
    case DLT_E_UNSUPPORTED:
        return 2;
    case DLT_E_MEMORY:
        return 3;
    case DLT_E_DATA:
        return 4;
    case DLT_E_NUMERIC:
        return 5;
    case DLT_E_CHECKPOINT:
        return 6;
    case DLT_E_BACKEND:
        return 7;
    case DLT_E_OUTPUT:
        return 8;
    case DLT_E_STOPPED:
        return 75;
    case DLT_E_INTERNAL:
    default:
        return 1;
    }
}

dlt_status dlt_status_of_exit(int code)
{
    for (dlt_status status = DLT_E_CONFIG; status < DLT_E_INTERNAL; status++) {
        if (dlt_exit_code_of(status) == code) {
            return status;
        }
    }
    return DLT_E_INTERNAL;
}

const char *dlt_status_word(dlt_status status)
{
    switch (status) {
    case DLT_E_CONFIG:
        return "config";
    case DLT_E_UNSUPPORTED:
        return "unsupported";
    case DLT_E_MEMORY:
        return "memory";
    case DLT_E_DATA:
        return "data";
    case DLT_E_NUMERIC:
        return "numeric";
    case DLT_E_CHECKPOINT:
        return "checkpoint";
    case DLT_E_BACKEND:
        return "backend";
    case DLT_E_OUTPUT:
        return "output";
    case DLT_E_STOPPED:
        return "stopped";
    case DLT_E_INTERNAL:
        return "internal";
    case DLT_OK:
    default:
        return "";
    }
}
