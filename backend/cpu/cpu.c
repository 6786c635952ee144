/* backend/cpu/cpu.c: the CPU as a device: its threads, its memory, its programs. */
#include "backend/backend.h"
#include "backend/cpu/simd.h"
#include "backend/cpu/steps.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/linux_machine.h"
#include "base/linux_map.h"
#include "base/pool.h"

#include <cblas.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4096 };

struct dlt_device {
    dlt_pool *pool;
    dlt_cpu_target target;
};

struct dlt_memory {
    dlt_device *device;
    dlt_memory_sizes sizes;
    char *all;
    size_t bytes;
    dlt_cpu_bases bases; /* INPUT: of slot 0 */
    int64_t slot_bytes;
    char *scratch; /* DLT_CPU_SCRATCH_BYTES a thread */
};

/* Work between two barriers: one phase of a step on all threads, or several single-task phases on one. */
typedef struct section {
    int first_step, phase; /* where it starts */
    int phases;            /* how many phases it runs; more than 1 only where each has a single task */
    int64_t tasks;
} section;

struct dlt_program {
    dlt_device *device;
    dlt_memory *memory;
    const dlt_plan *plan;
    dlt_arena *arena;
    dlt_cpu_steps steps;
    dlt_cpu_bases bases;
    int bound_slot;
    section *sections;
    int section_count;
    atomic_bool stopped; /* a guard found something that is not finite */
    atomic_int_fast64_t nodes_run;
};

/* ---- device ---- */

/* Kernels of `tuned` that are not there, or do other work than that of their key. */
static dlt_status check_tuned(const dlt_device_options *options, dlt_diag *diag)
{
    enum { MOST = 64 };
    const dlt_string_map *tuned = options->tuned;
    dlt_status status = DLT_OK;
    for (size_t i = 0; i < tuned->count; i++) {
        const dlt_pos at = tuned->pos != NULL ? tuned->pos[i] : options->tuned_at;
        const int word = (int)strcspn(tuned->key[i], " ");
        int op = 0;
        while (op < DLT_OP_COUNT && (strncmp(dlt_op_name((dlt_op)op), tuned->key[i], (size_t)word) != 0 || dlt_op_name((dlt_op)op)[word] != '\0')) {
            op++;
        }
        if (op == DLT_OP_COUNT) {
            status = dlt_fail(diag, DLT_E_CONFIG, at, "tuned: '%.*s' is no work that has kernels; remove `tuned` to have kernels timed anew", word,
                              tuned->key[i]);
            continue;
        }
        const dlt_cpu_kernel *kernel = dlt_cpu_kernel_named(tuned->value[i]);
        if (kernel != NULL && kernel->op != (dlt_op)op) {
            status = dlt_fail(diag, DLT_E_CONFIG, at, "tuned: kernel '%s' does %s, not %.*s; remove `tuned` to have kernels timed anew",
                              tuned->value[i], dlt_op_name(kernel->op), word, tuned->key[i]);
        } else if (kernel == NULL) {
            const char *names[MOST];
            const int count = dlt_cpu_kernels_of((dlt_op)op, names, MOST), near = dlt_nearest(tuned->value[i], names, (size_t)count);
            status = dlt_fail(diag, DLT_E_CONFIG, at, "tuned: the cpu has no kernel '%s'%s%s%s; remove `tuned` to have kernels timed anew",
                              tuned->value[i], near >= 0 ? "; did you mean '" : "", near >= 0 ? names[near] : "", near >= 0 ? "'?" : "");
        }
    }
    return status;
}

static dlt_status open_cpu(const dlt_device_options *options, dlt_device **out, dlt_diag *diag)
{
    *out = NULL;
    dlt_isa isa = dlt_isa_best();
    const char *asked = options->isa != NULL ? options->isa : getenv("DLTRAIN_ISA");
    if (asked != NULL) {
        int wanted = -1;
        for (int i = DLT_ISA_PLAIN; i <= DLT_ISA_AVX512_BF16; i++) {
            wanted = strcmp(asked, dlt_isa_name((dlt_isa)i)) == 0 ? i : wanted;
        }
        if (wanted < 0 || wanted > (int)isa) {
            return dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "instruction set '%s': %s; this machine's best is %s", asked,
                            wanted < 0 ? "not one of plain, avx2, avx512, avx512_bf16" : "this machine does not have it",
                            dlt_isa_name(isa));
        }
        isa = (dlt_isa)wanted;
    }
    if (options->tuned != NULL && !options->tuned_elsewhere) {
        DLT_TRY(check_tuned(options, diag));
    }
    dlt_device *device = dlt_alloc_zeroed(1, sizeof *device);
    if (device == NULL) {
        return dlt_fail_memory(diag);
    }
    device->pool = dlt_pool_create(options->threads, options->pin);
    if (device->pool == NULL) {
        const int error = errno;
        dlt_free(device);
        const int threads = options->threads > 0 ? options->threads : dlt_processors();
        return error == ENOMEM   ? dlt_fail_memory(diag)
               : error == EAGAIN ? dlt_fail(diag, DLT_E_MEMORY, (dlt_pos){0},
                                            "cpu: cannot start %d threads: no memory is left for them, or no process (ulimit)",
                                            threads)
                                 : dlt_fail(diag, DLT_E_BACKEND, (dlt_pos){0}, "cpu: cannot start %d threads: %s", threads,
                                            strerror(error));
    }
    dlt_cpu_target_init(&device->target, isa, options->reference);
    device->target.prefer = options->prefer;
    device->target.tuned = options->tuned;
    device->target.trial = options->trial;
    openblas_set_num_threads(1); /* tiles are shared out by our own pool (decisions 21) */
    *out = device;
    return DLT_OK;
}

static void close_cpu(dlt_device *device)
{
    if (device != NULL) {
        dlt_pool_destroy(device->pool);
        dlt_free(device);
    }
}

static dlt_lent_threads threads_of(dlt_device *device)
{
    return dlt_pool_lend(device->pool);
}

static void describe(const dlt_device *device, dlt_buf *out)
{
    const int threads = dlt_pool_size(device->pool);
    dlt_buf_printf(out, "cpu, %d thread%s (%s%s)", threads, threads == 1 ? "" : "s", dlt_isa_name(device->target.isa),
                   device->target.reference ? ", reference kernels" : "");
}

/* Name and version stand at the beginning of OpenBLAS' config text; what follows is how it was built. */
static int blas_name_length(const char *config)
{
    const size_t name = strcspn(config, " ");
    return (int)(config[name] != '\0' ? name + 1 + strcspn(config + name + 1, " ") : name);
}

static void identity(const dlt_device *device, dlt_buf *out)
{
    const char *config = openblas_get_config();
    dlt_buf_printf(out, "cpu %s%s%s%s, %.*s %s, libc %s", dlt_isa_name(device->target.isa),
                   device->target.reference ? " reference" : "", device->target.prefer != NULL ? " prefers " : "",
                   device->target.prefer != NULL ? device->target.prefer : "", blas_name_length(config), config,
                   openblas_get_corename(), dlt_libc_version());
}

/* ---- the yardstick ---- */

typedef struct spins {
    const dlt_simd *simd;
    int threads;
    _Atomic double ops; /* of one thread */
} spins;

static int64_t spin_tasks(void *context, int stage)
{
    (void)stage;
    return ((const spins *)context)->threads;
}

static void spin_on(void *context, int stage, int64_t task, int rank)
{
    enum { ROUNDS = 100000 };
    spins *s = context;
    (void)stage, (void)task, (void)rank;
    s->ops = s->simd->gemm->spin(ROUNDS);
}

/* All threads do nothing but fused multiply-adds; the best of a few tries. */
static double peak(dlt_device *device)
{
    enum { TRIES = 5 };
    spins s = {.simd = dlt_simd_of(device->target.isa), .threads = dlt_pool_size(device->pool)};
    const dlt_pool_job job = {.stages = 1, .tasks = spin_tasks, .task = spin_on, .context = &s};
    double best = 0;
    for (int i = 0; i < TRIES; i++) {
        const int64_t start = dlt_clock_ns();
        dlt_pool_run(device->pool, &job);
        const double rate = s.ops * s.threads / dlt_seconds_since(start);
        best = rate > best ? rate : best;
    }
    return best;
}

static void doctor(const dlt_device *device, dlt_buf *out)
{
    dlt_buf_printf(out, "cpu        %d threads, %s (best here: %s)\n", dlt_pool_size(device->pool),
                   dlt_isa_name(device->target.isa), dlt_isa_name(dlt_isa_best()));
    dlt_buf_printf(out, "bfloat16   %s\n", dlt_gemm_bf16_of(device->target.isa) != NULL
                                               ? "products by AVX512-BF16 (precision: mixed_bfloat16)"
                                               : "no instructions for it: precision: mixed_bfloat16 works, but is no faster than float32");
    const int parallel = openblas_get_parallel();
    const char *forced = getenv("OPENBLAS_CORETYPE");
    const char *config = openblas_get_config();
    dlt_buf_printf(out, "blas       %.*s, core %s%s%s\n", blas_name_length(config), config, openblas_get_corename(),
                   forced != NULL ? " (forced by OPENBLAS_CORETYPE)" : "",
                   parallel == 0 ? "" : "; a build with threads of its own is loaded: the serial one is faster here");
}

static const dlt_target *target_of(dlt_device *device)
{
    return &device->target.target;
}

/* ---- memory ---- */

static const dlt_storage laid_out[] = {DLT_PARAM, DLT_GRAD, DLT_STATE, DLT_TRANSIENT};

/* Adds bytes rounded up to whole pages; false on overflow. */
static bool add_pages(int64_t *total, int64_t bytes)
{
    return bytes >= 0 && !__builtin_add_overflow(bytes, (int64_t)PAGE_BYTES - 1, &bytes) &&
           !__builtin_add_overflow(*total, bytes / PAGE_BYTES * PAGE_BYTES, total);
}

static int64_t memory_bytes(const dlt_device *device, const dlt_memory_sizes *sizes)
{
    int64_t total = 0, slot = 0;
    bool fits = add_pages(&slot, sizes->bytes[DLT_INPUT]);
    for (size_t i = 0; i < DLT_COUNT(laid_out) && fits; i++) {
        fits = add_pages(&total, sizes->bytes[laid_out[i]]);
    }
    for (int i = 0; i < sizes->input_slots && fits; i++) {
        fits = add_pages(&total, slot);
    }
    for (int i = 0; i < dlt_pool_size(device->pool) && fits; i++) {
        fits = add_pages(&total, DLT_CPU_SCRATCH_BYTES);
    }
    return fits ? total : INT64_MAX;
}

static dlt_status memory_create(dlt_device *device, const dlt_memory_sizes *sizes, dlt_memory **out, dlt_diag *diag)
{
    const int64_t bytes = memory_bytes(device, sizes);
    *out = NULL;
    dlt_memory *m = dlt_alloc_zeroed(1, sizeof *m);
    if (m == NULL) {
        return dlt_fail_memory(diag);
    }
    m->device = device;
    m->sizes = *sizes;
    m->bytes = (size_t)bytes;
    /* Linux promises more than it has and kills who takes it up on that: better not begin */
    const int64_t available = dlt_memory_available();
    const bool fits = available < 0 || bytes <= available;
    m->all = bytes < INT64_MAX && fits ? dlt_map_zeroed(m->bytes) : NULL;
    if (m->all == NULL) {
        char needed[40], left[48];
        dlt_format_bytes((uint64_t)bytes, needed, sizeof needed);
        dlt_format_bytes((uint64_t)(available > 0 ? available : 0), left, sizeof left);
        dlt_free(m);
        return dlt_fail(diag, DLT_E_MEMORY, (dlt_pos){0},
                        "cpu: %s of memory are needed, %s%s; a smaller fit.batch_size or smaller layers need less: "
                        "`dltrain plan` shows what takes them",
                        needed, fits ? "and were refused" : left, fits ? "" : " are left");
    }
    char *at = m->all;
    for (size_t i = 0; i < DLT_COUNT(laid_out); i++) {
        int64_t size = 0;
        add_pages(&size, sizes->bytes[laid_out[i]]);
        m->bases.base[laid_out[i]] = at;
        at += size;
    }
    add_pages(&m->slot_bytes, sizes->bytes[DLT_INPUT]);
    m->bases.base[DLT_INPUT] = at;
    at += m->slot_bytes * sizes->input_slots;
    m->scratch = at;
    *out = m;
    return DLT_OK;
}

static void memory_destroy(dlt_memory *memory)
{
    if (memory != NULL) {
        dlt_unmap(memory->all, memory->bytes);
        dlt_free(memory);
    }
}

static void *input_slot(dlt_memory *memory, int slot)
{
    return memory->bases.base[DLT_INPUT] + memory->slot_bytes * slot;
}

static dlt_status check_range(const dlt_memory *memory, dlt_storage storage, int64_t offset, int64_t bytes, dlt_diag *diag)
{
    if (storage == DLT_INPUT || storage == DLT_CONSTANT || offset < 0 || bytes < 0 ||
        offset > memory->sizes.bytes[storage] - bytes) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "cpu: %lld bytes at %lld of class %s are not there",
                        (long long)bytes, (long long)offset, dlt_storage_name(storage));
    }
    return DLT_OK;
}

static dlt_status write_memory(dlt_memory *memory, dlt_storage storage, int64_t offset, const void *data, int64_t bytes,
                               dlt_diag *diag)
{
    DLT_TRY(check_range(memory, storage, offset, bytes, diag));
    memcpy(memory->bases.base[storage] + offset, data, (size_t)bytes);
    return DLT_OK;
}

static dlt_status read_memory(dlt_memory *memory, dlt_storage storage, int64_t offset, void *data, int64_t bytes,
                              dlt_diag *diag)
{
    DLT_TRY(check_range(memory, storage, offset, bytes, diag));
    memcpy(data, memory->bases.base[storage] + offset, (size_t)bytes);
    return DLT_OK;
}

static dlt_status zero_memory(dlt_memory *memory, dlt_storage storage, int64_t offset, int64_t bytes, dlt_diag *diag)
{
    DLT_TRY(check_range(memory, storage, offset, bytes, diag));
    memset(memory->bases.base[storage] + offset, 0, (size_t)bytes);
    return DLT_OK;
}

/* ---- programs ---- */

static int phases_of(const dlt_cpu_step *s)
{
    return s->choice != NULL ? s->choice->schedule.phases : 1;
}

static int64_t tasks_of(const dlt_cpu_step *s, int phase)
{
    return s->choice != NULL ? s->choice->schedule.tasks[phase] : 1;
}

/* Cuts the steps into sections. */
static bool make_sections(dlt_program *p)
{
    int most = 0;
    for (int i = 0; i < p->steps.count; i++) {
        most += phases_of(&p->steps.list[i]);
    }
    p->sections = dlt_arena_alloc(p->arena, (size_t)most, sizeof *p->sections);
    if (p->sections == NULL) {
        return false;
    }
    for (int i = 0; i < p->steps.count; i++) {
        for (int phase = 0; phase < phases_of(&p->steps.list[i]); phase++) {
            const int64_t tasks = tasks_of(&p->steps.list[i], phase);
            section *last = p->section_count > 0 ? &p->sections[p->section_count - 1] : NULL;
            if (tasks == 0) {
                continue;
            }
            if (tasks == 1 && last != NULL && last->tasks == 1) {
                last->phases++;
            } else {
                p->sections[p->section_count++] = (section){.first_step = i, .phase = phase, .phases = 1, .tasks = tasks};
            }
        }
    }
    return true;
}

static void run_phase(dlt_program *p, const dlt_cpu_step *s, int phase, int64_t task, void *scratch)
{
    if (s->choice != NULL) {
        dlt_cpu_call call = s->call;
        call.scratch = scratch;
        s->choice->kernel->run(&call, phase, task);
    } else if (s->node->op == DLT_OP_GUARD) {
        if (!dlt_cpu_guard_passes(s)) {
            atomic_store_explicit(&p->stopped, true, memory_order_relaxed);
        }
    } else {
        dlt_cpu_assign(s, &p->bases);
    }
}

/* The single-task phases of a section, on one thread. */
static void run_alone(dlt_program *p, const section *at, void *scratch)
{
    int step = at->first_step, phase = at->phase;
    for (int left = at->phases; left > 0; phase++) {
        while (phase >= phases_of(&p->steps.list[step])) {
            step++;
            phase = 0;
        }
        if (tasks_of(&p->steps.list[step], phase) == 0) {
            continue;
        }
        run_phase(p, &p->steps.list[step], phase, 0, scratch);
        left--;
        if (atomic_load_explicit(&p->stopped, memory_order_relaxed)) {
            return;
        }
    }
}

/* ---- a program as a job of the pool: its sections are the stages ---- */

static int64_t section_tasks(void *context, int stage)
{
    const dlt_program *p = context;
    return atomic_load_explicit(&p->stopped, memory_order_relaxed) ? -1 : p->sections[stage].tasks;
}

static void section_task(void *context, int stage, int64_t task, int rank)
{
    dlt_program *p = context;
    const section *at = &p->sections[stage];
    void *scratch = p->memory->scratch + (int64_t)rank * DLT_CPU_SCRATCH_BYTES;
    if (at->tasks == 1) {
        run_alone(p, at, scratch);
    } else {
        run_phase(p, &p->steps.list[at->first_step], at->phase, task, scratch);
    }
}

static void bind_slot(dlt_program *p, int slot)
{
    if (slot != p->bound_slot) {
        p->bases = p->memory->bases;
        p->bases.base[DLT_INPUT] = input_slot(p->memory, slot);
        dlt_cpu_steps_bind(&p->steps, &p->bases);
        p->bases.base[DLT_CONSTANT] = p->steps.constants;
        p->bound_slot = slot;
    }
}

static void program_destroy(dlt_program *program)
{
    if (program != NULL) {
        dlt_arena_destroy(program->arena);
        dlt_free(program);
    }
}

/* Gradients are the one class that many programs do without: evaluation and prediction alone take no memory for them. */
static int64_t gradient_bytes(const dlt_plan *plan)
{
    int64_t bytes = 0;
    for (int i = 0; i < plan->graph->value_count; i++) {
        const dlt_place *place = &plan->places[i];
        if (place->storage == DLT_GRAD && place->offset + place->bytes > bytes) {
            bytes = place->offset + place->bytes;
        }
    }
    return bytes;
}

static dlt_status program_create(dlt_device *device, dlt_memory *memory, const dlt_plan *plan, dlt_program **out,
                                 dlt_diag *diag)
{
    const dlt_variables *variables = plan->graph->variables;
    const int64_t needed[DLT_STORAGE_COUNT] = {[DLT_TRANSIENT] = plan->transient_bytes,
                                               [DLT_PARAM] = variables->param_bytes,
                                               [DLT_GRAD] = gradient_bytes(plan),
                                               [DLT_STATE] = variables->state_bytes,
                                               [DLT_INPUT] = plan->input_bytes};
    *out = NULL;
    for (int i = 0; i < DLT_STORAGE_COUNT; i++) {
        if (needed[i] > memory->sizes.bytes[i]) {
            return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "cpu: program %s needs %lld bytes of class %s, the memory has %lld",
                            plan->graph->name, (long long)needed[i], dlt_storage_name((dlt_storage)i),
                            (long long)memory->sizes.bytes[i]);
        }
    }
    dlt_program *p = dlt_alloc_zeroed(1, sizeof *p);
    if (p == NULL) {
        return dlt_fail_memory(diag);
    }
    *p = (dlt_program){.device = device, .memory = memory, .plan = plan, .bound_slot = -1, .arena = dlt_arena_create()};
    dlt_status status = p->arena != NULL ? dlt_cpu_steps_create(plan, p->arena, &p->steps, diag) : dlt_fail_memory(diag);
    if (status == DLT_OK && !make_sections(p)) {
        status = dlt_fail_memory(diag);
    }
    if (status != DLT_OK) {
        program_destroy(p);
        return status;
    }
    *out = p;
    return DLT_OK;
}

static dlt_status run_program(dlt_program *program, int slot, dlt_diag *diag)
{
    (void)diag;
    bind_slot(program, slot);
    atomic_store_explicit(&program->stopped, false, memory_order_relaxed);
    const dlt_pool_job job = {.stages = program->section_count, .tasks = section_tasks, .task = section_task, .context = program};
    dlt_pool_run(program->device->pool, &job);
    return DLT_OK;
}

static dlt_status finish(dlt_program *program, dlt_run_result *result, dlt_diag *diag)
{
    (void)diag;
    *result = (dlt_run_result){.finite = !atomic_load_explicit(&program->stopped, memory_order_relaxed),
                               .nodes_run = program->steps.count};
    return DLT_OK;
}

/* One step as a job: its phases are the stages. */
typedef struct one_step {
    dlt_program *program;
    const dlt_cpu_step *step;
} one_step;

static int64_t phase_tasks(void *context, int stage)
{
    return tasks_of(((const one_step *)context)->step, stage);
}

static void phase_task(void *context, int stage, int64_t task, int rank)
{
    const one_step *one = context;
    run_phase(one->program, one->step, stage, task, one->program->memory->scratch + (int64_t)rank * DLT_CPU_SCRATCH_BYTES);
}

static dlt_status run_nodes(dlt_program *program, int slot, int first, int last, double *seconds, dlt_diag *diag)
{
    (void)diag;
    bind_slot(program, slot);
    atomic_store_explicit(&program->stopped, false, memory_order_relaxed);
    for (int i = 0; i < program->steps.count; i++) {
        const dlt_cpu_step *s = &program->steps.list[i];
        if (s->node->id < first || s->node->id >= last) {
            continue;
        }
        if (atomic_load_explicit(&program->stopped, memory_order_relaxed)) {
            break; /* behind a guard that stopped the step nothing may be written */
        }
        const int64_t start = dlt_clock_ns();
        one_step one = {program, s};
        dlt_pool_run(program->device->pool,
                     &(dlt_pool_job){.stages = phases_of(s), .tasks = phase_tasks, .task = phase_task, .context = &one});
        if (seconds != NULL) {
            seconds[s->node->id - first] += dlt_seconds_since(start);
        }
    }
    return DLT_OK;
}

static dlt_status read_value(dlt_program *program, int slot, const dlt_value *value, void *data, dlt_diag *diag)
{
    const dlt_place *p = &program->plan->places[value->id];
    if (p->bytes == 0 && dlt_value_bytes(value) > 0) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "cpu: value %d was not computed", value->id);
    }
    bind_slot(program, slot);
    memcpy(data, dlt_cpu_value_address(program->plan, &program->bases, value), (size_t)dlt_value_bytes(value));
    return DLT_OK;
}

static int64_t launches(const dlt_program *program)
{
    return program->section_count;
}

const dlt_backend dlt_backend_cpu = {
    .version = DLT_BACKEND_VERSION,
    .name = "cpu",
    .open = open_cpu,
    .close = close_cpu,
    .describe = describe,
    .identity = identity,
    .peak = peak,
    .doctor = doctor,
    .target = target_of,
    .threads = threads_of,
    .memory_create = memory_create,
    .memory_destroy = memory_destroy,
    .memory_bytes = memory_bytes,
    .input_slot = input_slot,
    .write = write_memory,
    .read = read_memory,
    .zero = zero_memory,
    .program_create = program_create,
    .program_destroy = program_destroy,
    .run = run_program,
    .finish = finish,
    .run_nodes = run_nodes,
    .read_value = read_value,
    .launches = launches,
};
