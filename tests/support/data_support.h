/* tests/support/data_support.h: items of source kinds without a model file, and files to read. */
#ifndef DLT_TESTS_DATA_SUPPORT_H
#define DLT_TESTS_DATA_SUPPORT_H

#include "base/arena.h"
#include "base/kind.h"
#include "io/data/dataset.h"

/** A folder of its own for each test, an arena and a diag. */
typedef struct data_fixture {
    dlt_arena *arena;
    dlt_diag *diag;
    char folder[512];
} data_fixture;

/** cmocka setup and teardown; the folder and all in it is deleted. */
int data_setup(void **state);
int data_teardown(void **state);

/**
 * Item of a kind with parameters given as pairs of text, "path", "a.csv", ..., NULL; the others have their
 * defaults from the field table, as schema/ would set them. Lists are written [a, b], maps {a: b}. Its place
 * is "model.yaml:1:1".
 */
const dlt_item *data_item(data_fixture *f, const dlt_category *category, const char *kind, ...);

/** Path of a file in the fixture's folder; lives in the arena. */
const char *data_path(data_fixture *f, const char *name);
/** Writes a file there and gives its path. */
const char *data_file(data_fixture *f, const char *name, const void *bytes, size_t count);
const char *data_text(data_fixture *f, const char *name, const char *text);
/** The same as gzip. */
const char *data_gzip(data_fixture *f, const char *name, const void *bytes, size_t count);
/** An NPY file, version 1: descr as '<f4', shape as "(2, 3)". */
const char *data_npy(data_fixture *f, const char *name, const char *descr, bool fortran, const char *shape,
                     const void *bytes, size_t count);
/** Opens a data set in memory (or at another depth); NULL when it fails, with the messages in the diag. */
dlt_dataset *data_open(data_fixture *f, const dlt_item *item, dlt_depth depth);
/** The same with all options; their cache folder is the fixture's where they name none. */
dlt_dataset *data_open_with(data_fixture *f, const dlt_item *item, dlt_depth depth,
                            dlt_dataset_options options);
/** All values of a part, in order; from the arena. */
void *data_part(data_fixture *f, const dlt_dataset *dataset, size_t part);
/** Digest of all parts of all records: the same data give the same text. */
const char *data_digest(data_fixture *f, const dlt_dataset *dataset);

/** Path below $DLTRAIN_DATA; NULL where that is not set. */
const char *data_full(data_fixture *f, const char *relative);
/** Text of message i without the fixture's folder, so that it can be compared. */
const char *data_message(data_fixture *f, size_t i);
/** Forgets the messages. */
void data_forget(data_fixture *f);

#endif
