/* tests/support/support.c */
#include "support/support.h"

#include <stdio.h>

const char *dlt_test_path(const char *relative)
{
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", DLT_SOURCE_DIR, relative);
    return path;
}
