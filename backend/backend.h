/* backend/backend.h: what a device is to the rest of dltrain. cpu/ is linked in, cuda/ is a module opened at run time.
 *
 * A run opens a device, lets the passes ask its target, gives it one memory for all programs, compiles the plans, and from
 * then on only calls run. Nothing is allocated after program_create. */
#ifndef DLT_BACKEND_BACKEND_H
#define DLT_BACKEND_BACKEND_H

#include "base/kind.h"
#include "base/pool.h"
#include "base/text.h"
#include "graph/plan.h"
#include "graph/target.h"

enum { DLT_BACKEND_VERSION = 2 };

typedef struct dlt_device dlt_device;
typedef struct dlt_memory dlt_memory;
typedef struct dlt_program dlt_program;

typedef struct dlt_device_options {
    const char *name;  /* "cpu", "cuda", "cuda:1" */
    int threads;       /* CPU: 0 = one for each processor */
    bool pin;          /* CPU: bind threads to processors */
    const char *isa;   /* CPU: "avx512", "avx2", "plain"; NULL: the best there is, or DLTRAIN_ISA */
    bool reference;    /* only reference kernels */
    const char *prefer; /* kernels with this in their names are taken wherever they can be, to compare them; NULL: none */
    const dlt_string_map *tuned; /* kernels by dlt_node_key, which are taken before what the rule says; NULL: none */
    bool tuned_elsewhere;        /* they come from a checkpoint: names that this device does not know are passed over */
    dlt_pos tuned_at;            /* where they stand, for messages */
    int trial; /* k > 0: each node takes the k-th kernel that can run it, if it has so many besides the reference: for tune */
    bool deterministic;
} dlt_device_options;

typedef struct dlt_memory_sizes {
    int64_t bytes[DLT_STORAGE_COUNT]; /* TRANSIENT: the largest of all programs; INPUT: of one slot; CONSTANT: unused here */
    int input_slots;
} dlt_memory_sizes;

/** What a run of a program came to. */
typedef struct dlt_run_result {
    bool finite;      /* false: the guard stopped the step; PARAM and STATE are as before */
    int64_t nodes_run;
} dlt_run_result;

typedef struct dlt_backend {
    unsigned version; /* DLT_BACKEND_VERSION */
    const char *name; /* "cpu" */

    dlt_status (*open)(const dlt_device_options *options, dlt_device **device, dlt_diag *diag);
    void (*close)(dlt_device *device); /* NULL is accepted, here and below */
    /** "cpu, 8 threads (avx512)". */
    void (*describe)(const dlt_device *device, dlt_buf *out);
    /** What decides about bits: instruction set, BLAS core, library versions (decisions 23). */
    void (*identity)(const dlt_device *device, dlt_buf *out);
    /** Operations a second in float32 that the device can do at most, measured now; NULL: not known. */
    double (*peak)(dlt_device *device);
    /** Lines for `doctor`: what is there and what is not. */
    void (*doctor)(const dlt_device *device, dlt_buf *out);
    const dlt_target *(*target)(dlt_device *device);
    /** Threads of the host that compute while a program runs, and are free between two. */
    dlt_lent_threads (*threads)(dlt_device *device);

    /** All storage classes of a run from one allocation, zeroed. DLT_E_MEMORY with the sizes if it is refused. */
    dlt_status (*memory_create)(dlt_device *device, const dlt_memory_sizes *sizes, dlt_memory **memory, dlt_diag *diag);
    void (*memory_destroy)(dlt_memory *memory);
    /** Bytes that memory_create takes for these sizes: what `plan` prints. */
    int64_t (*memory_bytes)(const dlt_device *device, const dlt_memory_sizes *sizes);
    /** Where the loader puts what goes into an input slot: host memory. */
    void *(*input_slot)(dlt_memory *memory, int slot);
    /** Copies between host and a storage class (not INPUT); waits for programs that are still running. */
    dlt_status (*write)(dlt_memory *memory, dlt_storage storage, int64_t offset, const void *data, int64_t bytes,
                        dlt_diag *diag);
    dlt_status (*read)(dlt_memory *memory, dlt_storage storage, int64_t offset, void *data, int64_t bytes,
                       dlt_diag *diag);
    dlt_status (*zero)(dlt_memory *memory, dlt_storage storage, int64_t offset, int64_t bytes, dlt_diag *diag);

    /** Compiles a verified plan. The plan and its graph must outlive the program. */
    dlt_status (*program_create)(dlt_device *device, dlt_memory *memory, const dlt_plan *plan, dlt_program **program,
                                 dlt_diag *diag);
    void (*program_destroy)(dlt_program *program);
    /** Runs it on an input slot. May return before the device is done: finish waits and tells the result. */
    dlt_status (*run)(dlt_program *program, int slot, dlt_diag *diag);
    dlt_status (*finish)(dlt_program *program, dlt_run_result *result, dlt_diag *diag);
    /** Runs nodes [first, last) one by one and waits: for debug, and for time (seconds, if not NULL, gets one a node). */
    dlt_status (*run_nodes)(dlt_program *program, int slot, int first, int last, double *seconds, dlt_diag *diag);
    /** Values of a program (also INPUT and CONSTANT ones), as they lie after the nodes that were run. */
    dlt_status (*read_value)(dlt_program *program, int slot, const dlt_value *value, void *data, dlt_diag *diag);
    /** Kernel launches (stages with a barrier on the CPU) of one run. */
    int64_t (*launches)(const dlt_program *program);
} dlt_backend;

extern const dlt_backend dlt_backend_cpu;

/**
 * The backend that a device name means; opens the module of one that is not linked in. "auto": cuda if it is usable, else
 * cpu. DLT_E_BACKEND says why a device that was named cannot be used.
 */
dlt_status dlt_backend_find(const char *device, const dlt_backend **backend, dlt_diag *diag);
/** Opens a device and checks that the module speaks this ABI. */
static inline dlt_status dlt_backend_open(const dlt_backend *backend, const dlt_device_options *options, dlt_device **device,
                                          dlt_diag *diag)
{
    if (backend->version != DLT_BACKEND_VERSION) {
        return dlt_fail(diag, DLT_E_BACKEND, (dlt_pos){0}, "the module of device %s is of version %u; this dltrain needs %u",
                        backend->name, backend->version, (unsigned)DLT_BACKEND_VERSION);
    }
    return backend->open(options, device, diag);
}

#endif
