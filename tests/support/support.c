/* tests/support/support.c */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const char *dlt_test_path(const char *relative)
{
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", DLT_SOURCE_DIR, relative);
    return path;
}

double dlt_test_slower(void)
{
    const char *asked = getenv("DLT_TEST_SLOWER");
    return asked != NULL ? strtod(asked, NULL) : DLT_TEST_USUALLY_SLOWER;
}

double dlt_test_cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}
