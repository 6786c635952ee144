/* io/data/stream.h: the bytes of a file from front to back, unpacked where it is gzip (told by its magic
 * number, not by its name). Several gzip members in a row read as one, as gunzip does. */
#ifndef DLT_IO_DATA_STREAM_H
#define DLT_IO_DATA_STREAM_H

#include "io/data/stamp.h"

#include <stdatomic.h>

typedef struct dlt_stream dlt_stream;

/**
 * Opens `path` ("-" is standard input), which is borrowed until close. `at` is where the path was written,
 * for "cannot open". `stop` may be NULL; when *stop is not 0, reading ends with DLT_E_STOPPED.
 */
dlt_status dlt_stream_open(const char *path, dlt_pos at, const atomic_int *stop, dlt_stream **stream,
                           dlt_diag *diag);
/** NULL is accepted. */
void dlt_stream_close(dlt_stream *stream);

/** Reads 1 to `bytes` bytes, as many as come at once; *got is 0 at the end. What is in front of damage is read before that fails. */
dlt_status dlt_stream_read(dlt_stream *stream, void *data, size_t bytes, size_t *got, dlt_diag *diag);
/** Reads until `bytes` are there or the end has come (*got is less). */
dlt_status dlt_stream_fill(dlt_stream *stream, void *data, size_t bytes, size_t *got, dlt_diag *diag);

bool dlt_stream_is_gzip(const dlt_stream *stream);
/** Standard input or another pipe: bytes come when they come. */
bool dlt_stream_is_pipe(const dlt_stream *stream);
/** Size and time when the file was opened (no sample); NULL for a pipe. */
const dlt_stamp *dlt_stream_stamp(const dlt_stream *stream);
/**
 * Most bytes that the stream can still hold, by what its file can hold: deflate makes at most 1032 bytes of
 * one. What a header claims is compared with this before memory is taken. INT64_MAX for a pipe.
 */
int64_t dlt_stream_most(const dlt_stream *stream);

#endif
