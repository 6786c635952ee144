/* cmd/fit_process.c: `dltrain fit` in a process of its own. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "cmd/fit_process.h"

#include "base/alloc.h"
#include "base/text.h"
#include "cmd/exit_codes.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

enum { LOG_LIMIT = 1 << 24, LOG_SHOWN = 2000 };

dlt_fit_words dlt_fit_words_begin(dlt_arena *arena, const char *model)
{
    return (dlt_fit_words){.arena = arena, .at = {"dltrain", "fit", model}, .count = 3};
}

void dlt_fit_words_add(dlt_fit_words *w, const char *word)
{
    w->failed = w->failed || word == NULL || w->count >= DLT_FIT_WORDS;
    if (!w->failed) {
        w->at[w->count++] = word;
        w->at[w->count] = NULL;
    }
}

void dlt_fit_words_flag(dlt_fit_words *w, const char *flag, const char *value)
{
    dlt_fit_words_add(w, flag);
    dlt_fit_words_add(w, value);
}

static void redirect(dlt_fit_words *w, size_t callback, const char *field, const char *path, const char *folder)
{
    dlt_buf text = {0};
    const char *parts[] = {folder, dlt_arena_printf(w->arena, "/%zu-", callback), dlt_path_base(path)};
    dlt_buf_printf(&text, "fit.callbacks[%zu].%s='", callback, field);
    for (size_t k = 0; k < DLT_COUNT(parts); k++) {
        for (const char *c = parts[k]; c != NULL && *c != '\0'; c++) {
            dlt_buf_string(&text, *c == '\'' ? "''" : (const char[]){*c, '\0'});
        }
    }
    dlt_buf_char(&text, '\'');
    dlt_fit_words_flag(w, "-o", text.failed ? NULL : dlt_arena_string(w->arena, dlt_buf_text(&text)));
    dlt_buf_release(&text);
}

void dlt_fit_words_redirect(dlt_fit_words *w, const dlt_spec *spec, const char *folder)
{
    const dlt_items *callbacks = &spec->fit.callbacks;
    for (size_t i = 0; i < callbacks->count; i++) {
        const dlt_item *item = callbacks->at[i];
        for (const dlt_field *f = item->kind->fields; f != NULL && f->name != NULL; f++) {
            const char *path = NULL;
            if (f->type != DLT_FIELD_PATH) {
                continue;
            }
            memcpy(&path, (const char *)item->params + f->offset, sizeof path);
            if (path != NULL) {
                redirect(w, i, f->name, path, folder);
            }
        }
    }
}

bool dlt_fit_words_complete(const dlt_fit_words *w)
{
    return !w->failed && !dlt_arena_failed(w->arena);
}

dlt_status dlt_fit_start(const dlt_fit_words *w, const char *log, pid_t *child, dlt_diag *diag)
{
    posix_spawn_file_actions_t actions;
    if (!dlt_fit_words_complete(w) || log == NULL) {
        return w->count < DLT_FIT_WORDS
                   ? dlt_fail_memory(diag)
                   : dlt_fail(diag, DLT_E_CONFIG, (dlt_pos){0}, "more than %d words for `dltrain fit`", DLT_FIT_WORDS);
    }
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return dlt_fail_memory(diag);
    }
    int error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    error = error == 0 ? posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0666) : error;
    error = error == 0 ? posix_spawn_file_actions_adddup2(&actions, 1, 2) : error;
    error = error == 0 ? posix_spawn(child, "/proc/self/exe", &actions, NULL, (char *const *)w->at, environ) : error;
    posix_spawn_file_actions_destroy(&actions);
    return error == 0 ? DLT_OK
                      : dlt_fail(diag, error == ENOMEM ? DLT_E_MEMORY : DLT_E_INTERNAL, (dlt_pos){0}, "cannot start another dltrain: %s",
                                 strerror(error));
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : DLT_FIT_KILLED;
}

int dlt_fit_wait(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return code_of(status);
}

bool dlt_fit_ended(pid_t child, int *code)
{
    int status = 0;
    if (waitpid(child, &status, WNOHANG) != child) {
        return false;
    }
    *code = code_of(status);
    return true;
}

dlt_status dlt_fit_failed(const char *log, int code, const char *when, dlt_diag *diag)
{
    char *text = NULL;
    size_t bytes = 0;
    if (log != NULL && dlt_file_load(log, LOG_LIMIT, DLT_E_INTERNAL, (dlt_pos){0}, &text, &bytes, diag) == DLT_OK) {
        fputs(text + (bytes > LOG_SHOWN ? bytes - LOG_SHOWN : 0), stderr);
        dlt_free(text);
    }
    if (code == DLT_FIT_KILLED) {
        return dlt_fail(diag, DLT_E_INTERNAL, (dlt_pos){0}, "fit was killed %s; what it said stands above", when);
    }
    return dlt_fail(diag, dlt_status_of_exit(code), (dlt_pos){0}, "fit ended with %d %s; what it said stands above", code,
                    when);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void dlt_remove_folder(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
