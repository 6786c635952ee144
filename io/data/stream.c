/* io/data/stream.c: sequential reading, plain or gzip (RFC 1952, by zlib). */
#include "io/data/stream.h"

#include "base/alloc.h"
#include "io/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { INPUT_BYTES = 64 << 10, MOST_EXPANSION = 1032 };

struct dlt_stream {
    dlt_pos at; /* where the path was written */
    const char *path;
    const atomic_int *stop;
    int fd;
    bool pipe, gzip, ended;
    bool member_ended; /* gzip: between two members, or behind the last */
    const char *damage; /* gzip: what is wrong with what comes next */
    dlt_stamp stamp;
    int64_t position; /* bytes taken from the file */
    int64_t produced; /* gzip: bytes given out. Places of damage are told by it: how far zlib has read by then depends on how much was asked for */
    z_stream z;
    size_t in_at, in_end; /* what of `in` is not used yet */
    unsigned char in[INPUT_BYTES];
};

static voidpf z_alloc(voidpf opaque, uInt items, uInt size)
{
    (void)opaque;
    return dlt_alloc_zeroed(items, size);
}

static void z_free(voidpf opaque, voidpf block)
{
    (void)opaque;
    dlt_free(block);
}

/* The file's own bytes. A regular file is read as long as it was when it was opened. */
static dlt_status raw_read(dlt_stream *s, void *data, size_t bytes, size_t *got, dlt_diag *diag)
{
    *got = 0;
    if (!s->pipe) {
        const int64_t left = s->stamp.size - s->position;
        bytes = left < (int64_t)bytes ? (size_t)left : bytes;
    }
    bytes = bytes < SSIZE_MAX ? bytes : SSIZE_MAX;
    while (bytes > 0) {
        const bool ready = !s->pipe || dlt_wait_ready(s->fd, POLLIN, s->stop);
        if (!ready || (s->stop != NULL && atomic_load_explicit(s->stop, memory_order_relaxed) != 0)) {
            return dlt_fail(diag, DLT_E_STOPPED, (dlt_pos){0}, "stopped while reading '%s'", s->path);
        }
        const ssize_t n = s->pipe ? dlt_file()->read(s->fd, data, bytes)
                                  : dlt_file()->pread(s->fd, data, bytes, (off_t)s->position);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0}, "cannot read '%s': %s", s->path, strerror(errno));
        }
        if (n == 0 && !s->pipe) {
            return dlt_fail(diag, DLT_E_DATA, (dlt_pos){0},
                            "'%s' got shorter while it was read: it ended at byte %lld of %lld", s->path,
                            (long long)s->position, (long long)s->stamp.size);
        }
        s->position += n;
        *got = (size_t)n;
        break;
    }
    return DLT_OK;
}

static dlt_status refill(dlt_stream *s, dlt_diag *diag)
{
    size_t got = 0;
    DLT_TRY(raw_read(s, s->in, sizeof s->in, &got, diag));
    s->in_at = 0;
    s->in_end = got;
    return DLT_OK;
}

static bool starts_gzip(const dlt_stream *s)
{
    return s->in_end - s->in_at >= 2 && s->in[s->in_at] == 0x1f && s->in[s->in_at + 1] == 0x8b;
}

dlt_status dlt_stream_open(const char *path, dlt_pos at, const atomic_int *stop, dlt_stream **stream,
                           dlt_diag *diag)
{
    *stream = NULL;
    dlt_stream *s = dlt_alloc_zeroed(1, sizeof *s);
    if (s == NULL) {
        return dlt_fail_memory(diag);
    }
    s->path = path;
    s->at = at;
    s->stop = stop;
    s->pipe = strcmp(path, "-") == 0;
    s->fd = s->pipe ? STDIN_FILENO : -1;
    dlt_status status = DLT_OK;
    if (!s->pipe) {
        status = dlt_file_open_read(path, DLT_E_DATA, at, &s->fd, NULL, diag);
        if (status == DLT_OK) {
            status = dlt_stamp_take(s->fd, path, false, &s->stamp, diag);
        }
    }
    if (status == DLT_OK) {
        status = refill(s, diag);
    }
    while (status == DLT_OK && s->pipe && s->in_end == 1 &&
           s->in[0] == 0x1f) { /* half a magic number has come */
        size_t got = 0;
        status = raw_read(s, s->in + 1, sizeof s->in - 1, &got, diag);
        s->in_end += got;
        if (got == 0) {
            break;
        }
    }
    if (status == DLT_OK && starts_gzip(s)) {
        s->z.zalloc = z_alloc;
        s->z.zfree = z_free;
        s->gzip = inflateInit2(&s->z, 15 + 16) == Z_OK; /* the largest window, gzip header */
        if (!s->gzip) {
            status = dlt_fail_memory(diag);
        }
    }
    if (status != DLT_OK) {
        dlt_stream_close(s);
        return status;
    }
    *stream = s;
    return DLT_OK;
}

void dlt_stream_close(dlt_stream *s)
{
    if (s == NULL) {
        return;
    }
    if (s->gzip) {
        inflateEnd(&s->z);
    }
    if (s->fd >= 0 && !s->pipe) {
        dlt_file()->close(s->fd); /* only read from */
    }
    dlt_free(s);
}

/* Behind a member: the next one, or the end (zeros may pad it, as tape blocks do). */
static dlt_status next_member(dlt_stream *s, dlt_diag *diag)
{
    for (;;) {
        if (s->in_end - s->in_at < 2) { /* keep the one byte there may be in front of what comes */
            const size_t kept = s->in_end - s->in_at;
            size_t got = 0;
            memmove(s->in, s->in + s->in_at, kept);
            DLT_TRY(raw_read(s, s->in + kept, sizeof s->in - kept, &got, diag));
            s->in_at = 0;
            s->in_end = kept + got;
            if (got == 0 && (kept == 0 || s->in[0] == 0)) {
                s->ended = true;
                return DLT_OK;
            }
        }
        if (starts_gzip(s)) {
            s->member_ended = false;
            inflateReset(&s->z); /* cannot fail on a stream that inflateInit2 accepted */
            return DLT_OK;
        }
        if (s->in[s->in_at] != 0) {
            return dlt_fail(diag, DLT_E_DATA, s->at,
                            "'%s' goes on after its gzip data with something else, at byte %lld", s->path,
                            (long long)(s->position - (int64_t)(s->in_end - s->in_at)));
        }
        s->in_at++;
    }
}

static dlt_status inflate_some(dlt_stream *s, void *data, size_t bytes, size_t *got, dlt_diag *diag)
{
    while (!s->ended) {
        if (s->damage != NULL) {
            return dlt_fail(diag, DLT_E_DATA, s->at, "'%s' is damaged: its gzip data are wrong behind the first %lld bytes that they hold (%s)", s->path,
                            (long long)s->produced, s->damage);
        }
        if (s->member_ended) {
            DLT_TRY(next_member(s, diag));
            continue;
        }
        if (s->in_at == s->in_end) {
            DLT_TRY(refill(s, diag));
            if (s->in_end == 0) {
                return dlt_fail(
                    diag, DLT_E_DATA, s->at,
                    "'%s' ends in the middle of its gzip data, after %lld bytes: it was not copied whole",
                    s->path, (long long)s->position);
            }
        }
        const size_t room = bytes < UINT_MAX ? bytes : UINT_MAX;
        s->z.next_in = s->in + s->in_at;
        s->z.avail_in = (uInt)(s->in_end - s->in_at);
        s->z.next_out = data;
        s->z.avail_out = (uInt)room;
        const int result = inflate(&s->z, Z_NO_FLUSH);
        s->in_at = s->in_end - s->z.avail_in;
        if (result == Z_MEM_ERROR) {
            return dlt_fail_memory(diag);
        }
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
            s->damage = s->z.msg != NULL ? s->z.msg : "bad data";
        }
        s->member_ended = result == Z_STREAM_END;
        *got = room - s->z.avail_out;
        s->produced += (int64_t)*got;
        if (*got > 0) {
            return DLT_OK;
        }
    }
    return DLT_OK;
}

dlt_status dlt_stream_read(dlt_stream *s, void *data, size_t bytes, size_t *got, dlt_diag *diag)
{
    *got = 0;
    if (bytes == 0 || s->ended) {
        return DLT_OK;
    }
    if (s->gzip) {
        return inflate_some(s, data, bytes, got, diag);
    }
    if (s->in_at < s->in_end) { /* what was read to look for the magic number */
        *got = s->in_end - s->in_at < bytes ? s->in_end - s->in_at : bytes;
        memcpy(data, s->in + s->in_at, *got);
        s->in_at += *got;
        return DLT_OK;
    }
    DLT_TRY(raw_read(s, data, bytes, got, diag));
    s->ended = *got == 0;
    return DLT_OK;
}

dlt_status dlt_stream_fill(dlt_stream *s, void *data, size_t bytes, size_t *got, dlt_diag *diag)
{
    *got = 0;
    while (*got < bytes) {
        size_t n = 0;
        DLT_TRY(dlt_stream_read(s, (char *)data + *got, bytes - *got, &n, diag));
        if (n == 0) {
            break;
        }
        *got += n;
    }
    return DLT_OK;
}

bool dlt_stream_is_gzip(const dlt_stream *s)
{
    return s->gzip;
}

bool dlt_stream_is_pipe(const dlt_stream *s)
{
    return s->pipe;
}

const dlt_stamp *dlt_stream_stamp(const dlt_stream *s)
{
    return s->pipe ? NULL : &s->stamp;
}

int64_t dlt_stream_most(const dlt_stream *s)
{
    if (s->pipe) {
        return INT64_MAX;
    }
    const int64_t left = s->stamp.size - s->position + (int64_t)(s->in_end - s->in_at);
    int64_t most = left;
    if (s->gzip && (__builtin_mul_overflow(left, MOST_EXPANSION, &most) ||
                    __builtin_add_overflow(most, INPUT_BYTES, &most))) {
        most = INT64_MAX;
    }
    return most;
}
