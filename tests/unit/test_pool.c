/* tests/unit/test_pool.c: the thread pool: every task once, stages one after another, whoever comes late. */
#include "support/support.h"

#include "base/pool.h"
#include "base/status.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STAGES = 9, MOST = 300 };

typedef struct trace {
    int64_t tasks[STAGES];
    atomic_int done[STAGES][MOST];
    atomic_int early; /* tasks that began before the stage in front of theirs was over */
    atomic_int wrong; /* ranks that there are not */
    int threads, slow_rank;
} trace;

static int64_t tasks_of(void *context, int stage)
{
    return ((const trace *)context)->tasks[stage];
}

static void note_task(void *context, int stage, int64_t task, int rank)
{
    trace *t = context;
    for (int before = 0; before < stage; before++) {
        for (int64_t i = 0; i < t->tasks[before]; i++) {
            t->early += t->done[before][i] != 1;
        }
    }
    if (rank == t->slow_rank) { /* as if the kernel had taken it from its processor */
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    t->wrong += rank < 0 || rank >= t->threads;
    t->done[stage][task]++;
}

static void run_and_check(dlt_pool *pool, trace *t, int stages)
{
    for (int s = 0; s < STAGES; s++) {
        for (int i = 0; i < MOST; i++) {
            t->done[s][i] = 0;
        }
    }
    t->early = t->wrong = 0;
    t->threads = dlt_pool_size(pool);
    dlt_pool_run(pool, &(dlt_pool_job){.stages = stages, .tasks = tasks_of, .task = note_task, .context = t});
    assert_int_equal(t->early, 0);
    assert_int_equal(t->wrong, 0);
    bool ended = false;
    for (int s = 0; s < STAGES; s++) {
        ended = ended || s >= stages || t->tasks[s] < 0;
        for (int i = 0; i < MOST; i++) {
            assert_int_equal(t->done[s][i], !ended && i < t->tasks[s]);
        }
    }
}

static void each_task_is_done_once_and_in_its_stage(void **state)
{
    static const int64_t shapes[][STAGES] = {
        {1}, {0}, {2}, {300, 1, 1, 300, 0, 2, 1, 7, 64}, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0, 0, 5, 0, 0, 0, 0, 0, 0}, {3, 2, 3, 2, 3, 2, 3, 2, 3}};
    trace *t = calloc(1, sizeof *t);
    (void)state;
    assert_non_null(t);
    for (int threads = 1; threads <= 8; threads += threads < 4 ? 1 : 4) {
        dlt_pool *pool = dlt_pool_create(threads, false);
        assert_non_null(pool);
        for (int round = 0; round < 60; round++) {
            for (size_t i = 0; i < DLT_COUNT(shapes); i++) {
                memcpy(t->tasks, shapes[i], sizeof t->tasks);
                t->slow_rank = round % 3 == 0 ? round % (threads + 1) : -1;
                run_and_check(pool, t, STAGES);
            }
        }
        dlt_pool_destroy(pool);
    }
    free(t);
}

static void a_job_can_end_early_or_be_empty(void **state)
{
    trace *t = calloc(1, sizeof *t);
    (void)state;
    assert_non_null(t);
    for (int threads = 1; threads <= 4; threads++) {
        dlt_pool *pool = dlt_pool_create(threads, false);
        assert_non_null(pool);
        t->slow_rank = -1;
        memcpy(t->tasks, (int64_t[STAGES]){4, 1, 30, -1, 8, 8}, sizeof t->tasks);
        run_and_check(pool, t, STAGES);
        run_and_check(pool, t, 2);
        run_and_check(pool, t, 0);
        memcpy(t->tasks, (int64_t[STAGES]){-1, 8}, sizeof t->tasks);
        run_and_check(pool, t, STAGES);
        dlt_pool_destroy(pool);
    }
    free(t);
}

/* Pools that never ran anything, and threads that have gone to sleep between jobs. */
static void threads_sleep_and_wake(void **state)
{
    trace *t = calloc(1, sizeof *t);
    (void)state;
    assert_non_null(t);
    dlt_pool_destroy(dlt_pool_create(6, false));
    dlt_pool *pool = dlt_pool_create(4, true);
    assert_non_null(pool);
    for (int i = 0; i < 20; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
        memcpy(t->tasks, (int64_t[STAGES]){40, 1, 40}, sizeof t->tasks);
        t->slow_rank = 1;
        run_and_check(pool, t, 3);
    }
    dlt_pool_destroy(pool);
    dlt_pool_destroy(NULL);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_task_is_done_once_and_in_its_stage),
        cmocka_unit_test(a_job_can_end_early_or_be_empty),
        cmocka_unit_test(threads_sleep_and_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
