/* base/pool.c: the thread pool. */
#define _GNU_SOURCE /* affinity */
#include "base/pool.h"

#include "base/alloc.h"
#include "base/linux_futex.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CACHE_LINE = 64, SPINS = 4000, STACK_BYTES = 1 << 20 };

typedef struct worker {
    dlt_pool *pool;
    pthread_t thread;
    int rank;
} worker;

struct dlt_pool {
    /* the barrier: each on a line of its own, as all threads poll the generation */
    _Alignas(CACHE_LINE) _Atomic uint32_t arrived;
    _Alignas(CACHE_LINE) _Atomic uint32_t generation;
    _Alignas(CACHE_LINE) _Atomic uint32_t sleepers;
    _Alignas(CACHE_LINE) dlt_pool_work *work; /* NULL: leave */
    void *context;
    _Atomic int size; /* smaller than asked for only while a pool that could not be started is taken down */
    bool pin;
    worker *workers; /* of ranks 1.. */
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    _mm_pause();
#endif
}

/* Denormal numbers cost a hundred times more than others and carry nothing a network needs: they count as zero in all
 * threads that compute, as in TensorFlow and JAX. */
static void flush_denormals(void)
{
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

void dlt_pool_barrier(dlt_pool *pool)
{
    if (pool->size == 1) {
        return;
    }
    const uint32_t seen = atomic_load_explicit(&pool->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 == (uint32_t)pool->size) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool->generation, 1, memory_order_seq_cst);
        if (atomic_load_explicit(&pool->sleepers, memory_order_seq_cst) > 0) {
            dlt_futex_wake_all(&pool->generation);
        }
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen) {
            return;
        }
        pause_briefly();
    }
    atomic_fetch_add_explicit(&pool->sleepers, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&pool->generation, memory_order_seq_cst) == seen) {
        dlt_futex_wait(&pool->generation, seen);
    }
    atomic_fetch_sub_explicit(&pool->sleepers, 1, memory_order_relaxed);
}

static void *worker_main(void *argument)
{
    worker *w = argument;
    dlt_pool *pool = w->pool;
    flush_denormals();
    for (;;) {
        dlt_pool_barrier(pool); /* until there is work */
        if (pool->work == NULL) {
            return NULL;
        }
        pool->work(pool->context, w->rank);
        dlt_pool_barrier(pool); /* all are done */
    }
}

void dlt_pool_run(dlt_pool *pool, dlt_pool_work *work, void *context)
{
    flush_denormals();
    if (pool->size == 1) {
        work(context, 0);
        return;
    }
    pool->work = work;
    pool->context = context;
    dlt_pool_barrier(pool);
    work(context, 0);
    dlt_pool_barrier(pool);
}

int dlt_pool_size(const dlt_pool *pool)
{
    return pool->size;
}

int dlt_processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? count : 1;
}

/* Binds a thread to the rank-th processor of those this process may use. */
static void bind_to(pthread_t thread, int rank)
{
    cpu_set_t all, one;
    CPU_ZERO(&all);
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) == 0) {
        return;
    }
    int left = rank % CPU_COUNT(&all);
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all) && left-- == 0) {
            CPU_SET(i, &one);
            pthread_setaffinity_np(thread, sizeof one, &one); /* a wish: refused, the thread floats */
            return;
        }
    }
}

dlt_pool *dlt_pool_create(int threads, bool pin)
{
    const int size = threads > 0 ? threads : dlt_processors();
    dlt_pool *pool = dlt_alloc_aligned(CACHE_LINE, sizeof *pool);
    if (pool == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    *pool = (dlt_pool){.size = size, .pin = pin};
    pool->workers = dlt_alloc_zeroed((size_t)size, sizeof *pool->workers);
    if (pool->workers == NULL) {
        dlt_free(pool);
        errno = ENOMEM;
        return NULL;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int started = 1, error = 0;
    for (; started < size; started++) {
        worker *w = &pool->workers[started];
        *w = (worker){.pool = pool, .rank = started};
        error = pthread_create(&w->thread, &attributes, worker_main, w);
        if (error != 0) {
            break;
        }
        if (pin) {
            bind_to(w->thread, started);
        }
    }
    pthread_attr_destroy(&attributes);
    if (started < size) { /* let those go that did start */
        pool->size = started;
        dlt_pool_destroy(pool);
        errno = error;
        return NULL;
    }
    if (pin) {
        bind_to(pthread_self(), 0);
    }
    return pool;
}

void dlt_pool_destroy(dlt_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pool->work = NULL;
    dlt_pool_barrier(pool);
    for (int i = 1; i < pool->size; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    dlt_free(pool->workers);
    dlt_free(pool);
}
