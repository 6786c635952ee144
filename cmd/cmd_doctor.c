/* cmd/cmd_doctor.c: dltrain doctor: what this machine can do, and why not. */
#include "cmd/args.h"
#include "cmd/write_out.h"

#include "base/alloc.h"

#include "backend/backend.h"
#include "base/clock.h"
#include "base/linux_beneath.h"
#include "base/linux_machine.h"
#include "base/pool.h"
#include "io/file.h"
#include "io/h5/h5_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct doctor_options {
    const char *folder;
} doctor_options;

static const dlt_flag flags[] = {
    DLT_TEXT(doctor_options, folder, "folder", '\0', DLT_FLAG_FOLDER, "DIR",
             "where runs will be kept: is it writable, how fast; default: here"),
    {0},
};

/* What has been found. */
typedef struct findings {
    dlt_buf out;
    int warnings, faults;
    bool no_memory; /* was refused to a look: what it found says nothing */
} findings;

enum { GOOD, WARNING, FAULT, ABSENT };

static void put(findings *f, const char *what, int level, const char *fmt, ...) DLT_PRINTF(4, 5);
static void put(findings *f, const char *what, int level, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "warning", "MISSING", "-"};
    va_list args;
    va_start(args, fmt);
    dlt_buf_printf(&f->out, "%-10s %-8s ", what, words[level]);
    dlt_buf_vprintf(&f->out, fmt, args);
    dlt_buf_char(&f->out, '\n');
    va_end(args);
    f->warnings += level == WARNING;
    f->faults += level == FAULT;
}

static void look_at_machine(findings *f)
{
    char kernel[256], processor[256], bytes[40];
    const int64_t memory = dlt_memory_available();
    dlt_kernel_name(kernel, sizeof kernel);
    dlt_processor_name(processor, sizeof processor);
#if defined(__clang__)
    static const char compiler[] = "";
#else
    static const char compiler[] = "gcc ";
#endif
    put(f, "dltrain", GOOD, "%s, built with %s%s", DLT_VERSION, compiler, __VERSION__);
    put(f, "system", GOOD, "%s", kernel);
    put(f, "processor", GOOD, "%s, %d usable", processor, dlt_processors());
    if (memory < 0) {
        put(f, "memory", WARNING, "how much is available cannot be found out");
    } else {
        dlt_format_bytes((uint64_t)memory, bytes, sizeof bytes);
        put(f, "memory", GOOD, "%s available", bytes);
    }
}

/* A device that can be opened says itself what it has; the first word of each of its lines is the name of a
 * row. */
static void look_at_device(findings *f, const char *name, bool needed, dlt_diag *diag)
{
    const dlt_backend *backend = NULL;
    dlt_device *device = NULL;
    dlt_buf lines = {0};
    const size_t before = dlt_diag_size(diag);
    const dlt_device_options options = {.name = name};
    dlt_status status = dlt_backend_find(name, &backend, diag);
    status = status == DLT_OK ? dlt_backend_open(backend, &options, &device, diag) : status;
    if (status != DLT_OK) {
        f->no_memory |= status == DLT_E_MEMORY;
        const char *why = dlt_diag_size(diag) > before ? dlt_diag_text(diag, before) : "it cannot be used";
        if (needed) {
            put(f, name, FAULT, "%s", why);
        } else {
            char prefix[64]; /* "device: cuda: ": that much the row says already */
            const int length = snprintf(prefix, sizeof prefix, "device: %s: ", name);
            put(f, name, ABSENT, "%s", dlt_text_starts(why, prefix) ? why + length : why);
        }
        dlt_diag_reset(diag);
        return;
    }
    backend->doctor(device, &lines);
    const char *text = dlt_buf_text(&lines);
    while (*text != '\0') {
        const int length = (int)strcspn(text, "\n"), word = (int)strcspn(text, " \n");
        const int rest = word + (int)strspn(text + word, " ");
        char label[32];
        snprintf(label, sizeof label, "%.*s", word, text);
        put(f, label, GOOD, "%.*s", length - rest, text + rest);
        text += length + (text[length] == '\n');
    }
    dlt_buf_finish(&lines, &f->out);
    backend->close(device);
}

static void look_at_environment(findings *f)
{
    static const struct {
        const char *name, *effect;
    } variables[] = {
        {"OPENBLAS_CORETYPE", "holds matrix products to the kernels of that core: unset it for speed"},
        {"OPENBLAS_NUM_THREADS", "has no effect: dltrain has threads of its own (--threads)"},
        {"OMP_NUM_THREADS", "has no effect: dltrain has threads of its own (--threads)"},
        {"DLTRAIN_ISA", "holds kernels to that instruction set"},
    };
    for (size_t i = 0; i < DLT_COUNT(variables); i++) {
        const char *value = getenv(variables[i].name);
        if (value != NULL) {
            dlt_buf escaped = {0};
            dlt_buf_escaped(&escaped, value, strlen(value));
            put(f, "setting", strcmp(variables[i].name, "OPENBLAS_CORETYPE") == 0 ? WARNING : GOOD,
                "%s=%s %s", variables[i].name, dlt_buf_text(&escaped), variables[i].effect);
            dlt_buf_finish(&escaped, &f->out);
        }
    }
}

static void look_at_guards(findings *f, dlt_diag *diag)
{
    dlt_h5_guard guard;
    const dlt_status status = dlt_h5_child_guard(&guard, diag);
    if (status != DLT_OK) {
        f->no_memory |= status == DLT_E_MEMORY;
        put(f, "hdf5", FAULT, "the process that reads HDF5 files cannot be started: %s",
            dlt_diag_size(diag) > 0 ? dlt_diag_text(diag, 0) : "");
        dlt_diag_reset(diag);
    } else if (!guard.seccomp) {
        put(f, "hdf5", WARNING,
            "files are read by a process of its own, but this kernel has no seccomp to hold it to that: read "
            "files of "
            "people you trust only");
    } else {
        put(f, "hdf5", GOOD, "files are read by a process that can do nothing else%s",
            guard.memory_limit ? "" : " (its memory is not limited)");
    }
    put(f, "include", GOOD, "included files are held below the model file's folder, %s",
        dlt_beneath_by_kernel() ? "by the kernel (openat2)"
                                : "by a walk of our own: this kernel has no openat2 (Linux 5.6)");
}

/* Writes, syncs and removes a file of 1 MiB: what each checkpoint does. */
static void look_at_folder(findings *f, const char *folder, dlt_diag *diag)
{
    static const char zeros[1 << 20];
    char *path = dlt_path_join(folder, ".dltrain-doctor.tmp");
    const int64_t start = dlt_clock_ns();
    const dlt_status status = path != NULL ? dlt_file_replace(path, zeros, sizeof zeros, DLT_E_OUTPUT, diag) : DLT_E_MEMORY;
    if (status != DLT_OK) {
        f->no_memory |= status == DLT_E_MEMORY;
        put(f, "folder", FAULT, "%s", dlt_diag_size(diag) > 0 ? dlt_diag_text(diag, 0) : "out of memory");
        dlt_diag_reset(diag);
    } else {
        const double seconds = dlt_seconds_since(start);
        put(f, "folder", seconds < 1 ? GOOD : WARNING,
            "'%s' is writable; 1 MiB is safe on the disk in %.0f ms", folder, seconds * 1e3);
        dlt_file()->unlink(path);
    }
    dlt_free(path);
}

static dlt_status run(const dlt_command_call *call)
{
    const doctor_options *o = call->options;
    findings f = {0};
    look_at_machine(&f);
    look_at_device(&f, "cpu", true, call->diag);
    look_at_device(&f, "cuda", false, call->diag);
    look_at_environment(&f);
    look_at_guards(&f, call->diag);
    look_at_folder(&f, o->folder != NULL ? o->folder : ".", call->diag);
    if (f.no_memory) {
        dlt_buf_release(&f.out);
        return dlt_fail_memory(call->diag);
    }
    if (f.faults > 0) {
        dlt_buf_printf(&f.out, "%d thing%s missing\n", f.faults, f.faults == 1 ? " is" : "s are");
    } else {
        dlt_buf_printf(&f.out, "this machine can train%s\n",
                       f.warnings > 0 ? "; the warnings say what could be better" : "");
    }
    const int faults = f.faults;
    const dlt_status status = dlt_write_out(&f.out, call->diag);
    dlt_buf_release(&f.out);
    return status != DLT_OK ? status : faults > 0 ? DLT_E_BACKEND : DLT_OK;
}

static const char *const examples[] = {"dltrain doctor", "dltrain doctor --folder /scratch/runs", NULL};

const dlt_command dlt_command_doctor = {
    .name = "doctor",
    .doc = "what this machine can do, and why not",
    .arguments = "",
    .argument = DLT_ARG_NONE,
    .least = 0,
    .most = 0,
    .flags = flags,
    .options_size = sizeof(doctor_options),
    .text = "Looks at processor, memory, devices, libraries, settings in the environment, the guards around "
            "foreign files, and the folder where "
            "runs are kept. Ends with 7 if something is missing that training needs.",
    .examples = examples,
    .run = run,
};
