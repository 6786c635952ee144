/* tests/fuzz/spec_claims.h: what is true of every model file, right or wrong. */
#ifndef DLT_TESTS_SPEC_CLAIMS_H
#define DLT_TESTS_SPEC_CLAIMS_H

#include "fuzz/fuzz.h"

#include "cmd/print_diag.h"
#include "io/file.h"
#include "schema/dump.h"
#include "support/fake_catalogue.h"

#include <errno.h>
#include <string.h>

static int fuzz_no_open(const char *path, int flags, mode_t mode)
{
    (void)path;
    (void)flags;
    (void)mode;
    errno = ENOENT;
    return -1;
}

static int fuzz_no_open_beneath(const char *folder, const char *path, int flags)
{
    (void)folder;
    return fuzz_no_open(path, flags, 0);
}

static int fuzz_no_stat(const char *path, struct stat *status)
{
    (void)status;
    return fuzz_no_open(path, 0, 0);
}

/* No input of a fuzzer opens a file. */
static inline void fuzz_close_files(void)
{
    static dlt_file_ops ops;
    ops = *dlt_file_system();
    ops.open = fuzz_no_open;
    ops.open_beneath = fuzz_no_open_beneath;
    ops.stat = fuzz_no_stat;
    dlt_file_install(&ops);
}

/* Messages can be printed, stand in order, and name places that exist. */
static inline void fuzz_claim_messages(dlt_diag *diag, dlt_status status)
{
    dlt_buf out = {0};
    const dlt_print_options options = {.width = 80};
    FUZZ_CLAIM((status == DLT_OK) == (dlt_diag_count(diag, DLT_ERROR) == 0));
    FUZZ_CLAIM(dlt_diag_status(diag) != DLT_E_INTERNAL && dlt_diag_status(diag) != DLT_E_MEMORY);
    dlt_print_messages(diag, &options, &out);
    dlt_print_messages_json(diag, &out);
    FUZZ_CLAIM(!out.failed);
    for (size_t i = 0; i < dlt_diag_size(diag); i++) {
        const dlt_message *m = dlt_diag_at(diag, i);
        size_t length = 0;
        FUZZ_CLAIM(m->text[0] != '\0' && strchr(m->text, '\n') == NULL);
        if (m->pos.line > 1) {
            FUZZ_CLAIM(dlt_diag_source_line(diag, m->pos.file, m->pos.line, &length) != NULL);
        }
        FUZZ_CLAIM(m->pos.line == 0 || m->pos.column > 0);
    }
    dlt_buf_release(&out);
}

/* What a spec is written down as reads back as the same spec. */
static inline void fuzz_claim_dump(const dlt_run_spec *spec, unsigned flags)
{
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    const dlt_run_spec *again = NULL;
    dlt_buf text = {0};
    size_t count = 1;
    dlt_spec_dump(spec, flags, &text);
    FUZZ_CLAIM(!text.failed);
    if (text.length > 1 << 20) { /* a short file with aliases can grow beyond what is read */
        goto out;
    }
    const dlt_status status = dlt_spec_parse(arena, dlt_catalogue_all(), "/fuzz/config.yaml",
                                             dlt_buf_text(&text), text.length, NULL, &again, diag);
    if (status != DLT_OK) {
        fprintf(stderr, "%s\n%s\n", dlt_diag_text(diag, 0), dlt_buf_text(&text));
    }
    FUZZ_CLAIM(status == DLT_OK);
    FUZZ_CLAIM(strcmp(spec->digest, again->digest) == 0);
    FUZZ_CLAIM(dlt_spec_compare(arena, spec, again, true, &count) != NULL && count == 0);
    FUZZ_CLAIM(dlt_spec_flatten(arena, spec, &count) != NULL && count > 0);
out:
    dlt_buf_release(&text);
    dlt_arena_destroy(arena);
    dlt_diag_destroy(diag);
}

static inline void fuzz_claim_spec(const char *text, size_t bytes, const dlt_load_options *options,
                                   unsigned choice)
{
    dlt_arena *arena = dlt_arena_create();
    dlt_diag *diag = dlt_diag_create();
    const dlt_run_spec *spec = NULL;
    const dlt_status status =
        dlt_spec_parse(arena, dlt_catalogue_all(), "/fuzz/m.yaml", text, bytes, options, &spec, diag);
    FUZZ_CLAIM((status == DLT_OK) == (spec != NULL));
    fuzz_claim_messages(diag, status);
    if (spec != NULL && choice % 8 < 2) { /* now and then one of the two forms: each costs more than reading */
        fuzz_claim_dump(spec, choice % 2 == 0 ? 0 : DLT_DUMP_DEFAULTS | DLT_DUMP_ORIGINS);
    }
    dlt_arena_destroy(arena);
    dlt_diag_destroy(diag);
}

#endif
