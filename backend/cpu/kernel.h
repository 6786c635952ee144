/* backend/cpu/kernel.h: what a CPU kernel is, and how one is chosen for a node.
 *
 * For every op there is a reference kernel (ref_*.c) in float and double: plain loops over row-major tensors with libm. Faster
 * ones stand before it in kernels.def; each may decline with a reason. A kernel works in phases with a barrier between them;
 * a phase is a number of tasks that any thread may run in any order. How the work is cut into tasks, and so every
 * rounding, depends on shapes and the instruction set alone, never on the number of threads (decisions 19). */
#ifndef DLT_BACKEND_CPU_KERNEL_H
#define DLT_BACKEND_CPU_KERNEL_H

#include "base/kind.h"
#include "graph/builder.h"
#include "graph/target.h"

enum { DLT_CPU_MAX_PHASES = 4, DLT_CPU_SCRATCH_BYTES = 1280 << 10 };

/** AVX512_BF16 is AVX512 with products of bfloat16 numbers. */
typedef enum dlt_isa { DLT_ISA_PLAIN, DLT_ISA_AVX2, DLT_ISA_AVX512, DLT_ISA_AVX512_BF16 } dlt_isa;
const char *dlt_isa_name(dlt_isa isa);
/** The best instruction set of this machine. */
dlt_isa dlt_isa_best(void);

/** What a kernel is asked about: the node, and on what it would run. */
typedef struct dlt_cpu_query {
    const dlt_node *node;
    const dlt_graph *graph;
    dlt_isa isa;
    dlt_arena *arena; /* for `prepared` */
    dlt_diag *diag;
} dlt_cpu_query;

/** How a chosen kernel runs. Filled by `prepare`; zeroed before. */
typedef struct dlt_cpu_schedule {
    int phases;
    int64_t tasks[DLT_CPU_MAX_PHASES];
    int64_t workspace_bytes;
    const void *prepared; /* the kernel's own, in the query's arena */
    int64_t opaque_bytes; /* RNN: size of `saved` */
} dlt_cpu_schedule;

/** One node, resolved to addresses. */
typedef struct dlt_cpu_call {
    const dlt_node *node;
    const void *const *in;  /* one a node input, epilogue operands last */
    void *const *out;       /* NULL where nobody uses the output */
    void *workspace;
    const void *prepared;
    void *scratch;          /* DLT_CPU_SCRATCH_BYTES of this thread, 64-byte aligned */
} dlt_cpu_call;

typedef struct dlt_cpu_kernel {
    const char *name;
    dlt_op op;
    bool layouts; /* knows layouts other than row-major; others are only offered row-major nodes */
    /** NULL if it can do the node, else why not: one short clause ("needs stride 1"). NULL function: does all. */
    const char *(*declines)(const dlt_cpu_query *query);
    /** Predicted seconds on one thread; the cheapest of those that do not decline is taken. NULL: first come. */
    double (*cost)(const dlt_cpu_query *query);
    /** False when memory is refused, or after a message in query->diag. */
    bool (*prepare)(const dlt_cpu_query *query, dlt_cpu_schedule *schedule);
    void (*run)(const dlt_cpu_call *call, int phase, int64_t task);
} dlt_cpu_kernel;

/** A node's choice on the CPU. */
typedef struct dlt_cpu_choice {
    dlt_choice choice; /* first: see graph/target.h */
    const dlt_cpu_kernel *kernel;
    dlt_cpu_schedule schedule;
} dlt_cpu_choice;

/** The target of the CPU: `self` is one of these. */
typedef struct dlt_cpu_target {
    dlt_target target;
    dlt_isa isa;
    bool reference;
    const char *prefer; /* kernels with this in their names come first; NULL: none */
    const dlt_string_map *tuned; /* kernels by dlt_node_key; NULL: none */
    int trial;                   /* k > 0: the k-th that can run a node */
} dlt_cpu_target;
/** The kernel of this name; NULL: there is none. */
const dlt_cpu_kernel *dlt_cpu_kernel_named(const char *name);
/** Names of the kernels that do an op, at most `most`; how many. */
int dlt_cpu_kernels_of(dlt_op op, const char **names, int most);
void dlt_cpu_target_init(dlt_cpu_target *target, dlt_isa isa, bool reference);

/** Wishes for layouts (backend/cpu/layout.c); 0: none. */
double dlt_cpu_layout(void *self, const dlt_node *node, dlt_layout *layouts);
/** Which programs the epilogues of products and convolutions take. */
bool dlt_cpu_epilogue(void *self, const dlt_node *node, const dlt_expr *expr);

/* ---- programs inside kernels: the step body of a recurrent layer ---- */

/** A graph compiled for one thread, run by a kernel on memory that the kernel has. */
typedef struct dlt_cpu_serial dlt_cpu_serial;
/** Compiles with reference kernels; the graph must read no variables. NULL after a message. */
const dlt_cpu_serial *dlt_cpu_serial_create(const dlt_graph *graph, dlt_arena *arena, dlt_diag *diag);
/** Bytes of memory that one running copy needs. */
int64_t dlt_cpu_serial_bytes(const dlt_cpu_serial *serial);
/** in: one pointer for each INPUT; out: one for each named output (NULL: not wanted), which it is copied to. */
void dlt_cpu_serial_run(const dlt_cpu_serial *serial, void *memory, void *scratch, const void *const *in,
                        void *const *out);

#endif
