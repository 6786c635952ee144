/* base/pool.h: threads that do the tasks of some stages, one stage after another.
 *
 * A stage is over when all its tasks are done, whoever did them: nobody calls the roll. A thread that the kernel has taken from its processor holds the
 * others up only while it has a task in hand; when it comes back it joins the stage that is on. Threads that find nothing to do spin for a short
 * while before they sleep, so that a stage costs well under a microsecond while all are running, and nothing while they wait for long. */
#ifndef DLT_BASE_POOL_H
#define DLT_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dlt_pool dlt_pool;

typedef struct dlt_pool_job {
    int stages;
    /** Tasks of a stage, fewer than 2^31: 0 skips it, below 0 ends the job. Asked when all stages before it are over. */
    int64_t (*tasks)(void *context, int stage);
    /** Does one. rank: of the thread; 0 is the caller's own. */
    void (*task)(void *context, int stage, int64_t task, int rank);
    void *context;
} dlt_pool_job;

/**
 * A pool of `threads` threads, the caller's included; 0: one for each processor this process may use. pin: each thread is
 * bound to one processor. NULL when memory (errno is ENOMEM) or threads are refused.
 */
dlt_pool *dlt_pool_create(int threads, bool pin);
/** NULL is accepted. */
void dlt_pool_destroy(dlt_pool *pool);
int dlt_pool_size(const dlt_pool *pool);
/** Runs a job and returns when its last stage is over. Each thread takes tasks of its own share first. Not from inside a task. */
void dlt_pool_run(dlt_pool *pool, const dlt_pool_job *job);

/** Threads of someone else that do `count` tasks together with the caller, of any order; returns when all are done. */
typedef struct dlt_lent_threads {
    void (*run)(void *lender, int64_t count, void (*task)(void *context, int64_t task), void *context);
    void *lender; /* NULL: none are lent */
} dlt_lent_threads;

/** Those of a pool, while no job of it runs. A pool of one thread lends none. */
dlt_lent_threads dlt_pool_lend(dlt_pool *pool);

/** Processors that this process may run on. */
int dlt_processors(void);

#endif
