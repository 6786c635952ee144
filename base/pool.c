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
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { CACHE_LINE = 64, SPINS = 4000, STACK_BYTES = 1 << 20 };

typedef struct worker {
    dlt_pool *pool;
    pthread_t thread;
    int rank;
} worker;

/* The tasks [.., end) that one thread looks at first; on a line of its own. */
typedef struct share {
    _Alignas(CACHE_LINE) _Atomic uint64_t next; /* the turn in the upper half, the next task in the lower */
    _Atomic int64_t end;
} share;

/* The stage of a turn. */
typedef struct slot {
    share *shares; /* one a thread */
    _Alignas(CACHE_LINE) _Atomic int64_t done;
    int64_t tasks;
    int stage;
} slot;

/*
 * Each stage has a turn, a number that only grows. Its tasks lie in slots[turn % 2], and the turn is part of what is compared when one is taken: a
 * thread that comes late cannot take a task of another stage by mistake. Who has taken a task may read what else is in the slot, and the job,
 * for the stage cannot end before that task is done.
 */
struct dlt_pool {
    _Alignas(CACHE_LINE) _Atomic uint32_t turn;
    _Alignas(CACHE_LINE) _Atomic uint32_t sleepers;
    _Atomic uint32_t over; /* the turn that stands behind the last stage of a job */
    _Atomic bool leave;
    slot slots[2];
    const dlt_pool_job *job;
    int size; /* smaller than asked for only while a pool that could not be started is taken down */
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

/* Begins the next turn. Nobody else does so meanwhile. Where there is nothing to do nobody is woken. */
static void publish(dlt_pool *pool, int stage, int64_t tasks)
{
    const uint32_t turn = atomic_load_explicit(&pool->turn, memory_order_relaxed) + 1;
    slot *s = &pool->slots[turn % 2];
    s->stage = stage;
    s->tasks = tasks;
    atomic_store_explicit(&s->done, 0, memory_order_relaxed);
    for (int i = 0; i < pool->size; i++) {
        atomic_store_explicit(&s->shares[i].end, tasks * (i + 1) / pool->size, memory_order_relaxed);
        atomic_store_explicit(&s->shares[i].next, (uint64_t)turn << 32 | (uint64_t)(tasks * i / pool->size), memory_order_release);
    }
    atomic_store_explicit(&pool->turn, turn, memory_order_seq_cst);
    if (atomic_load_explicit(&pool->sleepers, memory_order_seq_cst) > 0) {
        dlt_futex_wake_all(&pool->turn);
    }
}

/* Goes on behind `stage`, which is over. Stages of a single task are done here and now. */
static void advance(dlt_pool *pool, int stage, int rank)
{
    const dlt_pool_job *job = pool->job;
    while (++stage < job->stages) {
        const int64_t tasks = job->tasks(job->context, stage);
        if (tasks < 0) {
            break;
        }
        if (tasks == 1) {
            job->task(job->context, stage, 0, rank);
        } else if (tasks > 0) {
            publish(pool, stage, tasks);
            return;
        }
    }
    atomic_store_explicit(&pool->over, atomic_load_explicit(&pool->turn, memory_order_relaxed) + 1, memory_order_relaxed);
    publish(pool, 0, 0); /* the caller may go on from here */
}

/* Takes tasks of a turn while there are any. */
static void work_on(dlt_pool *pool, uint32_t turn, int rank)
{
    slot *s = &pool->slots[turn % 2];
    int64_t done = 0;
    for (int i = 0; i < pool->size; i++) {
        share *of = &s->shares[(rank + i) % pool->size];
        uint64_t next = atomic_load_explicit(&of->next, memory_order_acquire);
        while (next >> 32 == turn && (int64_t)(uint32_t)next < atomic_load_explicit(&of->end, memory_order_relaxed)) {
            if (atomic_compare_exchange_weak_explicit(&of->next, &next, next + 1, memory_order_acq_rel, memory_order_acquire)) {
                pool->job->task(pool->job->context, s->stage, (int64_t)(uint32_t)next, rank);
                done++;
                next = atomic_load_explicit(&of->next, memory_order_acquire);
            }
        }
    }
    /* the last one opens the next stage */
    if (done > 0) {
        const int64_t tasks = s->tasks;
        const int stage = s->stage;
        if (atomic_fetch_add_explicit(&s->done, done, memory_order_acq_rel) + done == tasks) {
            advance(pool, stage, rank);
        }
    }
}

/* Returns when another turn is on. */
static void wait_for_turn(dlt_pool *pool, uint32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool->turn, memory_order_acquire) != seen) {
            return;
        }
        pause_briefly();
    }
    atomic_fetch_add_explicit(&pool->sleepers, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&pool->turn, memory_order_seq_cst) == seen) {
        dlt_futex_wait(&pool->turn, seen);
    }
    atomic_fetch_sub_explicit(&pool->sleepers, 1, memory_order_relaxed);
}

static void *worker_main(void *argument)
{
    worker *w = argument;
    dlt_pool *pool = w->pool;
    flush_denormals();
    for (uint32_t turn = 0;;) {
        wait_for_turn(pool, turn);
        turn = atomic_load_explicit(&pool->turn, memory_order_acquire);
        if (atomic_load_explicit(&pool->leave, memory_order_relaxed)) {
            return NULL;
        }
        work_on(pool, turn, w->rank);
    }
}

static void run_alone(const dlt_pool_job *job)
{
    for (int stage = 0; stage < job->stages; stage++) {
        const int64_t tasks = job->tasks(job->context, stage);
        if (tasks < 0) {
            return;
        }
        for (int64_t i = 0; i < tasks; i++) {
            job->task(job->context, stage, i, 0);
        }
    }
}

void dlt_pool_run(dlt_pool *pool, const dlt_pool_job *job)
{
    flush_denormals();
    if (pool->size == 1) {
        run_alone(job);
        return;
    }
    pool->job = job;
    advance(pool, -1, 0);
    for (;;) {
        const uint32_t turn = atomic_load_explicit(&pool->turn, memory_order_acquire);
        if (atomic_load_explicit(&pool->over, memory_order_relaxed) == turn) {
            return;
        }
        work_on(pool, turn, 0);
        wait_for_turn(pool, turn);
    }
}

typedef struct lent_job {
    int64_t count;
    void (*task)(void *context, int64_t task);
    void *context;
} lent_job;

static int64_t lent_tasks(void *context, int stage)
{
    (void)stage;
    return ((const lent_job *)context)->count;
}

static void lent_task(void *context, int stage, int64_t task, int rank)
{
    const lent_job *job = context;
    (void)stage;
    (void)rank;
    job->task(job->context, task);
}

static void run_lent(void *lender, int64_t count, void (*task)(void *context, int64_t task), void *context)
{
    lent_job job = {count, task, context};
    dlt_pool_run(lender, &(dlt_pool_job){.stages = 1, .tasks = lent_tasks, .task = lent_task, .context = &job});
}

dlt_lent_threads dlt_pool_lend(dlt_pool *pool)
{
    return (dlt_lent_threads){run_lent, pool->size > 1 ? pool : NULL};
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
    *pool = (dlt_pool){.size = size};
    pool->workers = dlt_alloc_zeroed((size_t)size, sizeof *pool->workers);
    share *shares = dlt_alloc_aligned(CACHE_LINE, 2 * (size_t)size * sizeof *shares);
    if (pool->workers == NULL || shares == NULL) {
        dlt_free(shares);
        dlt_free(pool->workers);
        dlt_free(pool);
        errno = ENOMEM;
        return NULL;
    }
    memset(shares, 0, 2 * (size_t)size * sizeof *shares);
    pool->slots[0].shares = shares;
    pool->slots[1].shares = shares + size;
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
    if (started < size) { /* let those go that did start; no job has run */
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
    atomic_store_explicit(&pool->leave, true, memory_order_relaxed);
    publish(pool, 0, 0);
    for (int i = 1; i < pool->size; i++) {
        pthread_join(pool->workers[i].thread, NULL);
    }
    dlt_free(pool->slots[0].shares);
    dlt_free(pool->workers);
    dlt_free(pool);
}
