/* io/data/loader.c: a ring of slots between threads that fill it and the one that empties it.
 *
 * Batches have numbers along the line; number q belongs in slot q % slots. A worker takes the next number
 * whose slot is free, fills it without the lock and marks it ready; the consumer takes numbers in order.
 * Workers sleep until half of the ring is free, so that a step does not cost a wake-up each. */
#include "io/data/loader.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/rng.h"
#include "io/data/convert.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef enum slot_state { FREE, FILLING, READY, TAKEN } slot_state;

typedef struct slot {
    dlt_slot buffers;
    slot_state state;
    dlt_status status;
    dlt_batch batch;
    int64_t *rows;  /* batch_size row numbers */
    dlt_diag *diag; /* the worker's that failed; NULL otherwise */
} slot;

/* What each thread that fills slots has of its own. */
typedef struct worker {
    dlt_loader *loader;
    dlt_reader *reader;
    void **scratch; /* by part: a column, where the encoder or the weights need one; else NULL */
    void **columns; /* of the batch at hand: scratch or the slot's buffers */
    dlt_diag *diag;
    uint64_t reads, read_bytes; /* under the lock */
    pthread_t thread;
} worker;

struct dlt_loader {
    dlt_loader_options options;
    const dlt_record_layout *layout;
    int target, weight; /* parts, or -1 */
    int64_t batches;    /* of a pass */
    slot *slots;
    worker *workers; /* at least one: without threads the consumer is it */
    int thread_count;

    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    /* under the lock */
    uint64_t next_fill, next_take, next_release;
    uint64_t end; /* number behind the last batch */
    int idle;     /* workers that wait */
    int filling;
    bool waiting, quit;
    dlt_loader_stats stats;
};

int64_t dlt_batches_in_pass(int64_t rows, int64_t batch_size)
{
    return rows / batch_size + (rows % batch_size != 0);
}

int64_t dlt_epoch_steps(dlt_cursor cursor, int64_t batches_in_pass, int64_t steps_per_epoch, bool *is_short)
{
    const int64_t left = batches_in_pass - cursor.batch;
    *is_short = steps_per_epoch > left;
    return steps_per_epoch > 0 && steps_per_epoch < left ? steps_per_epoch : left;
}

static dlt_cursor cursor_at(const dlt_loader *loader, uint64_t number)
{
    const uint64_t batches = (uint64_t)loader->batches;
    const uint64_t at = (uint64_t)loader->options.start.batch + number;
    return (dlt_cursor){loader->options.start.pass + at / batches, (int64_t)(at % batches)};
}

/* ---- filling ---- */

/* Rows of a batch, in order; `count` of them. */
static void choose_rows(const dlt_loader *loader, dlt_cursor cursor, int64_t count, int64_t *rows)
{
    const dlt_loader_options *o = &loader->options;
    const int64_t first = cursor.batch * o->batch_size;
    dlt_shuffle order;
    if (o->shuffle == DLT_SHUFFLE_ON) {
        dlt_shuffle_init(&order, (uint64_t)o->view.count, o->seed, cursor.pass);
        dlt_shuffle_rows(&order, (uint64_t)first, (size_t)count, rows);
    } else if (o->shuffle == DLT_SHUFFLE_BATCH) {
        /* an order for each batch of each pass */
        dlt_shuffle_init(&order, (uint64_t)count, o->seed, cursor.pass << 32 ^ (uint64_t)cursor.batch);
        dlt_shuffle_rows(&order, 0, (size_t)count, rows);
        for (int64_t i = 0; i < count; i++) {
            rows[i] += first;
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            rows[i] = first + i;
        }
    }
    dlt_view_rows(&o->view, rows, count);
}

static void weigh(const dlt_loader *loader, const worker *w, int64_t rows, int64_t filled, float *weights)
{
    const dlt_loader_options *o = &loader->options;
    const dlt_part *parts = loader->layout->parts;
    for (int64_t i = 0; i < filled; i++) {
        weights[i] = i < rows ? 1.0f : 0.0f;
    }
    for (int64_t i = 0; loader->weight >= 0 && i < rows; i++) {
        weights[i] =
            (float)dlt_element_value(parts[loader->weight].dtype, w->columns[loader->weight], (size_t)i);
    }
    if (o->class_weight != NULL && loader->target >= 0) {
        const size_t bytes = dlt_part_bytes(&parts[loader->target]);
        for (int64_t i = 0; i < rows; i++) {
            const int64_t label = dlt_class_of(&parts[loader->target],
                                               (const char *)w->columns[loader->target] + (size_t)i * bytes);
            weights[i] *= label >= 0 && label < o->class_count ? o->class_weight[label] : 1.0f;
        }
    }
}

static dlt_status fill(worker *w, uint64_t number, slot *s)
{
    dlt_loader *loader = w->loader;
    const dlt_loader_options *o = &loader->options;
    const dlt_cursor cursor = cursor_at(loader, number);
    const int64_t first = cursor.batch * o->batch_size, left = o->view.count - first;
    const int64_t rows = left < o->batch_size ? left : o->batch_size;
    const int64_t filled = o->pad ? o->batch_size : rows;
    s->batch.rows = rows;
    s->batch.filled = filled;
    s->batch.cursor = cursor;
    s->batch.next = cursor_at(loader, number + 1);
    s->batch.first_sample = cursor.pass * (uint64_t)o->view.count + (uint64_t)first;
    s->batch.last_in_pass = cursor.batch == loader->batches - 1;
    s->batch.row_numbers = s->rows;
    choose_rows(loader, cursor, rows, s->rows);
    for (int64_t i = rows; i < filled; i++) {
        s->rows[i] = s->rows[rows - 1];
    }
    for (size_t i = 0; i < loader->layout->count; i++) {
        const int output = o->encode == NULL ? (int)i : o->direct != NULL ? o->direct[i] : -1;
        void *direct = output >= 0 ? s->buffers.outputs[output] : NULL;
        w->columns[i] = direct != NULL ? direct : w->scratch[i];
    }
    DLT_TRY(dlt_reader_read(w->reader, s->rows, filled, w->columns, w->diag));
    if (s->buffers.weights != NULL) {
        weigh(loader, w, rows, filled, s->buffers.weights);
    }
    if (o->encode != NULL) {
        const dlt_table table = {loader->layout, filled, w->columns, s->rows};
        DLT_TRY(o->encode(o->context, &table, s->buffers.outputs, w->diag));
    }
    return s->batch.last_in_pass ? dlt_dataset_unchanged(o->view.dataset, w->diag) : DLT_OK;
}

/* ---- the ring; all under the lock ---- */

static slot *slot_of(dlt_loader *loader, uint64_t number)
{
    return &loader->slots[number % loader->options.slot_count];
}

static bool can_fill(dlt_loader *loader)
{
    return loader->next_fill < loader->end && slot_of(loader, loader->next_fill)->state == FREE;
}

static void start_filling(dlt_loader *loader, slot *s)
{
    s->state = FILLING;
    s->batch.slot = (size_t)(s - loader->slots);
    loader->next_fill++;
    loader->filling++;
}

static void finish_filling(dlt_loader *loader, worker *w, slot *s, uint64_t number, dlt_status status)
{
    dlt_reader_work(w->reader, &w->reads, &w->read_bytes);
    s->state = READY;
    s->status = status;
    s->diag = status != DLT_OK ? w->diag : NULL;
    loader->filling--;
    if (status != DLT_OK && number + 1 < loader->end) {
        loader->end = number + 1; /* what comes behind is of no use */
    }
}

static void *work(void *context)
{
    worker *w = context;
    dlt_loader *loader = w->loader;
    pthread_mutex_lock(&loader->lock);
    while (!loader->quit) {
        if (!can_fill(loader)) {
            loader->idle++;
            pthread_cond_wait(&loader->work, &loader->lock);
            loader->idle--;
            continue;
        }
        const uint64_t number = loader->next_fill;
        slot *s = slot_of(loader, number);
        start_filling(loader, s);
        pthread_mutex_unlock(&loader->lock);
        const dlt_status status = fill(w, number, s);
        pthread_mutex_lock(&loader->lock);
        finish_filling(loader, w, s, number, status);
        if (loader->waiting) {
            pthread_cond_signal(&loader->ready);
        }
        if (status != DLT_OK) { /* its diag is the consumer's now: this worker is done until a seek */
            while (!loader->quit && s->diag == w->diag) {
                loader->idle++;
                pthread_cond_wait(&loader->work, &loader->lock);
                loader->idle--;
            }
        }
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

static void hand_over(dlt_diag *from, dlt_diag *to)
{
    for (size_t i = 0; i < dlt_diag_size(from); i++) {
        const dlt_message *m = dlt_diag_at(from, i);
        if (m->severity == DLT_ERROR) {
            dlt_fail(to, m->status, m->pos, "%s", m->text);
        } else if (m->severity == DLT_WARNING) {
            dlt_warn(to, m->pos, "%s", m->text);
        }
    }
}

dlt_status dlt_loader_next(dlt_loader *loader, dlt_batch *batch, dlt_diag *diag)
{
    *batch = (dlt_batch){0};
    pthread_mutex_lock(&loader->lock);
    const uint64_t number = loader->next_take;
    if (number >= loader->end) {
        batch->cursor = batch->next = cursor_at(loader, number);
        pthread_mutex_unlock(&loader->lock);
        return DLT_OK;
    }
    slot *s = slot_of(loader, number);
    if (s->state == TAKEN) {
        pthread_mutex_unlock(&loader->lock);
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "all %zu batches of the ring are in use",
                        loader->options.slot_count);
    }
    if (s->state != READY) {
        const int64_t start = dlt_clock_ns();
        loader->stats.waits++;
        if (loader->thread_count == 0 && number == loader->next_fill) {
            start_filling(loader, s);
            const dlt_status filled = fill(&loader->workers[0], number, s);
            finish_filling(loader, &loader->workers[0], s, number, filled);
        }
        loader->waiting = true;
        while (s->state != READY) {
            if (loader->idle > 0) {
                pthread_cond_broadcast(&loader->work);
            }
            pthread_cond_wait(&loader->ready, &loader->lock);
        }
        loader->waiting = false;
        loader->stats.wait_ns += dlt_clock_ns() - start;
    }
    const dlt_status status = s->status;
    if (status != DLT_OK) {
        hand_over(s->diag, diag); /* the slot stays as it is: asked again, it says the same */
    } else {
        s->state = TAKEN;
        *batch = s->batch;
        loader->next_take++;
        loader->stats.batches++;
    }
    pthread_mutex_unlock(&loader->lock);
    return status;
}

void dlt_loader_release(dlt_loader *loader, const dlt_batch *batch)
{
    pthread_mutex_lock(&loader->lock);
    loader->slots[batch->slot].state = FREE;
    loader->next_release++;
    const uint64_t held = loader->next_fill - loader->next_release;
    if (loader->idle > 0 && 2 * held <= loader->options.slot_count && can_fill(loader)) {
        pthread_cond_broadcast(&loader->work);
    }
    pthread_mutex_unlock(&loader->lock);
}

static uint64_t end_of_line(const dlt_loader *loader)
{
    const dlt_loader_options *o = &loader->options;
    const int64_t left = loader->batches - o->start.batch;
    const uint64_t pass_end = o->repeat ? UINT64_MAX : left > 0 ? (uint64_t)left : 0;
    return o->limit > 0 && (uint64_t)o->limit < pass_end ? (uint64_t)o->limit : pass_end;
}

void dlt_loader_seek(dlt_loader *loader, dlt_cursor cursor)
{
    pthread_mutex_lock(&loader->lock);
    loader->end = 0; /* nothing new is begun */
    loader->waiting = true;
    while (loader->filling > 0) {
        pthread_cond_wait(&loader->ready, &loader->lock);
    }
    loader->waiting = false;
    for (size_t i = 0; i < loader->options.slot_count; i++) {
        loader->slots[i].state = FREE;
        if (loader->slots[i].diag != NULL) {
            dlt_diag_reset(loader->slots[i].diag);
            loader->slots[i].diag = NULL;
        }
    }
    loader->options.start = cursor;
    loader->next_fill = loader->next_take = loader->next_release = 0;
    loader->end = end_of_line(loader);
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
}

dlt_loader_stats dlt_loader_statistics(dlt_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    dlt_loader_stats stats = loader->stats;
    for (int i = 0; i < (loader->thread_count > 0 ? loader->thread_count : 1); i++) {
        stats.reads += loader->workers[i].reads;
        stats.read_bytes += loader->workers[i].read_bytes;
    }
    pthread_mutex_unlock(&loader->lock);
    return stats;
}

int dlt_loader_workers(const dlt_loader *loader)
{
    return loader->thread_count;
}

/* ---- life ---- */

static void stop_workers(dlt_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    loader->quit = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->thread_count; i++) {
        pthread_join(loader->workers[i].thread, NULL);
    }
    loader->thread_count = 0;
}

void dlt_loader_destroy(dlt_loader *loader)
{
    if (loader == NULL) {
        return;
    }
    stop_workers(loader);
    const size_t parts = loader->layout->count;
    const int workers = loader->options.workers > 0 ? loader->options.workers : 1;
    for (int i = 0; loader->workers != NULL && i < workers; i++) {
        worker *w = &loader->workers[i];
        for (size_t k = 0; w->scratch != NULL && k < parts; k++) {
            dlt_free(w->scratch[k]);
        }
        dlt_free(w->scratch);
        dlt_free(w->columns);
        dlt_reader_destroy(w->reader);
        dlt_diag_destroy(w->diag);
    }
    for (size_t i = 0; loader->slots != NULL && i < loader->options.slot_count; i++) {
        dlt_free(loader->slots[i].rows);
    }
    dlt_free(loader->workers);
    dlt_free(loader->slots);
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->ready);
    dlt_free(loader);
}

/* Threads where the caller leaves it to us. Files are waited for, which several can do at once. Copying from
 * memory is work: on one or two processors, which training keeps busy, it is done soonest by who needs it; on
 * more, by one thread for each MiB. */
static int choose_workers(const dlt_loader_options *options)
{
    enum { MOST = 4 };
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const size_t record = dlt_dataset_frame(options->view.dataset)->layout.record_bytes;
    if (options->slot_count < 2) {
        return 0;
    }
    if (!dlt_dataset_in_memory(options->view.dataset)) {
        return cores < 2 ? 2 : cores > MOST ? MOST : (int)cores;
    }
    const int64_t wanted = 1 + ((options->batch_size * (int64_t)(record >> 10)) >> 10);
    const int64_t most = cores - 1 < MOST ? cores - 1 : MOST;
    return cores <= 2 ? 0 : (int)(wanted < most ? wanted : most);
}

static dlt_status make_worker(dlt_loader *loader, worker *w, dlt_diag *diag)
{
    const dlt_loader_options *o = &loader->options;
    const size_t parts = loader->layout->count;
    w->loader = loader;
    w->diag = dlt_diag_create();
    w->scratch = dlt_alloc_zeroed(parts, sizeof *w->scratch);
    w->columns = dlt_alloc_zeroed(parts, sizeof *w->columns);
    if (w->diag == NULL || w->scratch == NULL || w->columns == NULL) {
        return dlt_fail_memory(diag);
    }
    for (size_t i = 0; i < parts; i++) {
        bool needed = o->encode != NULL && (o->direct == NULL || o->direct[i] < 0);
        for (size_t k = 0; k < o->slot_count && !needed;
             k++) { /* for weights, where the buffers do not have it */
            const bool weighs =
                (int)i == loader->weight || ((int)i == loader->target && o->class_weight != NULL);
            needed = o->encode == NULL && weighs && o->slots[k].weights != NULL && o->slots[k].outputs[i] == NULL;
        }
        size_t bytes = 0;
        if (needed &&
            (!dlt_mul_size((size_t)o->batch_size, dlt_part_bytes(&loader->layout->parts[i]), &bytes) ||
             (w->scratch[i] = dlt_alloc_aligned(64, bytes)) == NULL)) {
            return dlt_fail_memory(diag);
        }
    }
    DLT_TRY(dlt_reader_create(o->view.dataset, o->batch_size, &w->reader, diag));
    if (o->workers == 0) {
        dlt_reader_share(w->reader, o->threads);
    }
    return DLT_OK;
}

static dlt_status start_threads(dlt_loader *loader, int workers, dlt_diag *diag)
{
    enum { STACK_BYTES = 512 << 10 };
    pthread_attr_t attributes;
    sigset_t all, before;
    dlt_status status = DLT_OK;
    if (pthread_attr_init(&attributes) != 0) {
        return dlt_fail_memory(diag);
    }
    (void)!pthread_attr_setstacksize(&attributes, STACK_BYTES); /* the default will do, too */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the thread that handles them */
    for (int i = 0; i < workers && status == DLT_OK; i++) {
        if (pthread_create(&loader->workers[i].thread, &attributes, work, &loader->workers[i]) == 0) {
            loader->thread_count++;
        } else if (i == 0) {
            status =
                dlt_fail(diag, DLT_E_MEMORY, (dlt_pos){0}, "cannot start a thread that reads data ahead");
        } else {
            break; /* fewer will do */
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return status;
}

dlt_status dlt_loader_create(const dlt_loader_options *options, dlt_loader **loader, dlt_diag *diag)
{
    *loader = NULL;
    if (options->view.count < 1 || options->batch_size < 1 ||
        options->slot_count < (options->workers > 0 ? 2u : 1u)) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "a loader needs records, a batch size and slots");
    }
    dlt_loader *l = dlt_alloc_zeroed(1, sizeof *l);
    if (l == NULL) {
        return dlt_fail_memory(diag);
    }
    l->options = *options;
    l->layout = &dlt_dataset_frame(options->view.dataset)->layout;
    l->target = dlt_layout_find(l->layout, DLT_ROLE_TARGET, 0);
    l->weight = dlt_layout_find(l->layout, DLT_ROLE_WEIGHT, 0);
    l->batches = dlt_batches_in_pass(options->view.count, options->batch_size);
    l->end = end_of_line(l);
    l->options.workers = options->workers == DLT_WORKERS_CHOSEN ? choose_workers(options) : options->workers;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    const int workers = l->options.workers > 0 ? l->options.workers : 1;
    dlt_status status = DLT_OK;
    l->slots = dlt_alloc_zeroed(options->slot_count, sizeof *l->slots);
    l->workers = dlt_alloc_zeroed((size_t)workers, sizeof *l->workers);
    if (l->slots == NULL || l->workers == NULL) {
        status = dlt_fail_memory(diag);
    }
    for (size_t i = 0; status == DLT_OK && i < options->slot_count; i++) {
        l->slots[i].buffers = options->slots[i];
        l->slots[i].rows = dlt_alloc_zeroed((size_t)options->batch_size, sizeof *l->slots[i].rows);
        status = l->slots[i].rows != NULL ? DLT_OK : dlt_fail_memory(diag);
    }
    for (int i = 0; status == DLT_OK && i < workers; i++) {
        status = make_worker(l, &l->workers[i], diag);
    }
    if (status == DLT_OK && l->options.workers > 0) {
        status = start_threads(l, workers, diag);
    }
    if (status != DLT_OK) {
        dlt_loader_destroy(l);
        return status;
    }
    l->options.slots = NULL; /* borrowed until here */
    *loader = l;
    return DLT_OK;
}
