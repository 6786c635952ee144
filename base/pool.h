/* base/pool.h: threads that run one function together, with a barrier. They spin for a short while before they sleep, so
 * that a barrier costs well under a microsecond while all are running, and nothing while they wait for long. */
#ifndef DLT_BASE_POOL_H
#define DLT_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dlt_pool dlt_pool;

/** Runs on every thread; rank 0 is the caller's own thread. */
typedef void dlt_pool_work(void *context, int rank);

/**
 * A pool of `threads` threads, the caller's included; 0: one for each processor this process may use. pin: each thread is
 * bound to one processor. NULL when memory (errno is ENOMEM) or threads are refused.
 */
dlt_pool *dlt_pool_create(int threads, bool pin);
/** NULL is accepted. */
void dlt_pool_destroy(dlt_pool *pool);
int dlt_pool_size(const dlt_pool *pool);
/** Runs `work` on all threads at once and returns when all have. Not from inside such work. */
void dlt_pool_run(dlt_pool *pool, dlt_pool_work *work, void *context);
/** Inside work: returns when all threads have called it as often. What was written before is seen by all afterwards. */
void dlt_pool_barrier(dlt_pool *pool);

/** Processors that this process may run on. */
int dlt_processors(void);

#endif
