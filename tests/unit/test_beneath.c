/* tests/unit/test_beneath.c: opening files that must lie below a folder, with openat2 and by the walk that
 * stands in. */
#include "support/support.h"

#include "base/alloc.h"
#include "base/linux_beneath.h"
#include "base/text.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[256];

static char *at(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/beneath-XXXXXX", DLT_BINARY_DIR);
    if (mkdtemp(folder) == NULL || mkdir(at("in"), 0777) != 0 || mkdir(at("in/sub"), 0777) != 0) {
        return -1;
    }
    static const char *const files[] = {"out.txt", "in/a.txt", "in/sub/b.txt"};
    for (size_t i = 0; i < DLT_COUNT(files); i++) {
        FILE *file = fopen(at(files[i]), "w");
        if (file == NULL || fputs("text", file) < 0 || fclose(file) != 0) {
            return -1;
        }
    }
    return symlink("../out.txt", at("in/leave")) + symlink("a.txt", at("in/stay")) +
           symlink("/etc/passwd", at("in/far")) + symlink("..", at("in/up")) + symlink("sub", at("in/down"));
}

static int tear_down(void **state)
{
    static const char *const names[] = {"in/leave", "in/stay",      "in/far", "in/up",
                                        "in/down",  "in/sub/b.txt", "in/sub", "in/a.txt",
                                        "in",       "out.txt",      ""};
    (void)state;
    for (size_t i = 0; i < DLT_COUNT(names); i++) {
        remove(at(names[i]));
    }
    return 0;
}

static void assert_opens(int (*open_file)(const char *, const char *, int), const char *path)
{
    char text[8] = "";
    const int fd = open_file(at("in"), path, O_RDONLY);
    if (fd < 0) {
        fail_msg("%s: %s", path, strerror(errno));
    }
    assert_int_equal(read(fd, text, sizeof text), 4);
    assert_string_equal(text, "text");
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    close(fd);
}

static void assert_refuses(int (*open_file)(const char *, const char *, int), const char *path, int reason)
{
    const int fd = open_file(at("in"), path, O_RDONLY);
    const int why = errno;
    if (fd >= 0 || why != reason) {
        fail_msg("%s: %s", path, fd >= 0 ? "opened" : strerror(why));
    }
}

/* Whether there is openat2: not before Linux 5.6, and not under valgrind 3.19. */
static bool follows_links(void)
{
#if defined(SYS_openat2)
    return syscall(SYS_openat2, -1, NULL, NULL, 0) >= 0 || errno != ENOSYS;
#else
    return false;
#endif
}

static void what_lies_below_opens_and_nothing_else(void **state)
{
    (void)state;
    int (*const ways[])(const char *, const char *, int) = {dlt_open_beneath_walk, dlt_open_beneath};
    for (size_t i = 0; i < DLT_COUNT(ways); i++) {
        assert_opens(ways[i], "a.txt");
        assert_opens(ways[i], "./a.txt");
        assert_opens(ways[i], "sub/b.txt");
        assert_opens(ways[i], "sub//b.txt");
        assert_refuses(ways[i], "../out.txt", EXDEV);
        assert_refuses(ways[i], at("in/a.txt"), EXDEV);
        assert_refuses(ways[i], "/etc/passwd", EXDEV);
        assert_refuses(ways[i], "none.txt", ENOENT);
        assert_refuses(ways[i], "", ENOENT);
        assert_refuses(ways[i], "a.txt/b", ENOTDIR);
    }
    if (follows_links()) {
        assert_opens(dlt_open_beneath, "stay"); /* a link that stays below */
        assert_opens(dlt_open_beneath, "down/b.txt");
        assert_refuses(dlt_open_beneath, "leave", EXDEV);
        assert_refuses(dlt_open_beneath, "far", EXDEV);
        assert_refuses(dlt_open_beneath, "up/out.txt", EXDEV);
    }
    assert_refuses(dlt_open_beneath_walk, "stay", ELOOP); /* the walk follows none */
    assert_refuses(dlt_open_beneath_walk, "leave", ELOOP);
    assert_refuses(dlt_open_beneath_walk, "far", ELOOP);
    assert_refuses(dlt_open_beneath_walk, "sub/../../out.txt", EXDEV);
    assert_true(dlt_open_beneath_walk(at("in"), "up/out.txt", O_RDONLY) < 0);
}

static void a_file_is_read_whole_or_refused_with_its_reason(void **state)
{
    (void)state;
    dlt_diag *diag = dlt_diag_create();
    char *data = NULL;
    size_t bytes = 0;
    assert_int_equal(
        dlt_file_load_beneath(at("in"), "sub/b.txt", 100, DLT_E_CONFIG, (dlt_pos){0}, &data, &bytes, diag),
        DLT_OK);
    assert_int_equal(bytes, 4);
    assert_string_equal(data, "text");
    dlt_free(data);
    assert_int_equal(
        dlt_file_load_beneath(at("in"), "sub/b.txt", 3, DLT_E_CONFIG, (dlt_pos){0}, &data, &bytes, diag),
        DLT_E_CONFIG);
    assert_int_equal(
        dlt_file_load_beneath(at("in"), "sub", 100, DLT_E_CONFIG, (dlt_pos){0}, &data, &bytes, diag),
        DLT_E_CONFIG);
    assert_int_equal(
        dlt_file_load_beneath(at("in"), "leave", 100, DLT_E_CONFIG, (dlt_pos){0}, &data, &bytes, diag),
        DLT_E_CONFIG);
    assert_null(data);
    assert_string_equal(dlt_diag_text(diag, 0), "'sub/b.txt' has more than 3 bytes, the most that is read");
    assert_string_equal(dlt_diag_text(diag, 1), "cannot open 'sub': it is a folder");
    assert_string_equal(dlt_diag_text(diag, 2),
                        follows_links() ? "cannot open 'leave': it leads out of the folder of the file that names it"
                                        : "cannot open 'leave': links are not followed where the kernel cannot keep them inside a folder");
    dlt_diag_destroy(diag);
}

static void texts_sort_by_bytes_and_equal_ones_by_number(void **state)
{
    (void)state;
    static const char *const texts[] = {"b", "a", "", "b", "ab", "a", "\xc3\xa9", "B"};
    static const size_t expected[] = {2, 7, 1, 5, 4, 0, 3, 6};
    size_t order[DLT_COUNT(texts)];
    dlt_sort_texts(texts, order, DLT_COUNT(texts));
    assert_memory_equal(order, expected, sizeof order);
    dlt_sort_texts(texts, order, 0);
    dlt_sort_texts(texts, order, 1);
    assert_int_equal(order[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_below_opens_and_nothing_else),
        cmocka_unit_test(a_file_is_read_whole_or_refused_with_its_reason),
        cmocka_unit_test(texts_sort_by_bytes_and_equal_ones_by_number),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
