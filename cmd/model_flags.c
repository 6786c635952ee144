/* cmd/model_flags.c: flags that several commands share. */
#include "cmd/model_flags.h"

#include "trainer/signals.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

dlt_session_options dlt_session_of_flags(const dlt_device_flags *flags)
{
    return (dlt_session_options){.device = flags->device,
                                 .threads = flags->threads.set ? (int)flags->threads.value : 0,
                                 .pin = flags->pin,
                                 .isa = flags->isa,
                                 .reference = flags->reference,
                                 .stop = dlt_stop_flag()};
}

const char *dlt_shown_path(dlt_arena *arena, const char *path)
{
    char here[PATH_MAX];
    const size_t length = getcwd(here, sizeof here) != NULL ? strlen(here) : 0;
    if (length > 1 && strncmp(path, here, length) == 0 && path[length] == '/' && path[length + 1] != '\0') {
        return path + length + 1;
    }
    const char *kept = dlt_arena_string(arena, path);
    return kept != NULL ? kept : path;
}
