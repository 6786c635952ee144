/* io/data/signature.h: what the rest of the program needs to know about the data before it sees any: types,
 * shapes, counts, classes. The stage between run spec and graph (decisions 1). */
#ifndef DLT_IO_DATA_SIGNATURE_H
#define DLT_IO_DATA_SIGNATURE_H

#include "base/kind.h"
#include "base/text.h"
#include "io/data/frame.h"
#include "io/data/stats.h"

typedef enum dlt_set { DLT_TRAIN, DLT_VALIDATION, DLT_TEST, DLT_SET_COUNT } dlt_set;

/** What is to be predicted. */
typedef enum dlt_target_type {
    DLT_TARGET_NONE,
    DLT_TARGET_CLASS,  /* one class number a record: text, or integers 0..n-1 of which none is left out */
    DLT_TARGET_NUMBER, /* one number a record */
    DLT_TARGET_TENSOR  /* anything else: several numbers, a sequence */
} dlt_target_type;

/** One of train, validation, test. */
typedef struct dlt_set_info {
    bool present;
    int64_t count;               /* records; -1: only a scan can tell */
    const int64_t *class_counts; /* class_count of them; NULL: not known */
    const char *digest;          /* of samples of the content; "" where it is a part of train */
    const char *content;         /* of all of it; "" where that is not known, or it is a part of train */
    const char *place;           /* where records are kept */
    int64_t file_bytes;
    const dlt_stats *stats; /* of its source; NULL where it is a part of train */
} dlt_set_info;

typedef struct dlt_signature {
    const char *name;                /* of the data, for people */
    const dlt_record_layout *layout; /* of train; features first, then targets, then weights */
    const dlt_stats *stats; /* of train's source, validation's part included where it was split off */
    bool exact;             /* all of it is final; else types and classes are those of the first records */
    dlt_target_type target;
    dlt_shape target_shape; /* of a record: several target columns are one axis */
    int64_t class_count; /* of a class target, or codes of a text's characters; 0: not known, or no classes */
    const char *const *class_names; /* class_count of them; NULL: the numbers themselves */
    dlt_set_info sets[DLT_SET_COUNT];
} dlt_signature;

/** "mnist  54,000 train  6,000 validation  10,000 test   28x28x1, 10 classes" */
void dlt_signature_text(const dlt_signature *signature, dlt_buf *out);
/** A table, a line for each part: name, role, type, missing, distinct, range. For `data` and `summary`. */
void dlt_signature_columns(const dlt_signature *signature, dlt_buf *out);

/**
 * The target is used as class numbers below `units` (0: as many as there are). Each label that cannot be one
 * is an error at `at` with its record number: negative, no integer, too large, or, where units is 0, a number
 * that is left out below the largest.
 */
dlt_status dlt_signature_classes(const dlt_signature *signature, int64_t units, dlt_pos at, dlt_diag *diag);
/**
 * Table of class weights by class for the loader: `balanced` is n / (classes * count) over train's records,
 * else by name or number, 1 where nothing is said (as in Keras). *count entries from `arena`; NULL where
 * class_weight is empty. Unknown names are errors.
 */
dlt_status dlt_class_weights(const dlt_signature *signature, const dlt_float_map *class_weight, dlt_pos at,
                             dlt_arena *arena, float **weights, int64_t *count, dlt_diag *diag);
enum { DLT_DATA_DIGEST = 130 };
/** Digest of the three sets for run.json and resume: 64 hexadecimal digits of samples of their files, and, where all of each set was
 * read into memory or a cache file, ":" and 64 more of every byte of their records. */
void dlt_signature_digest(const dlt_signature *signature, char digest[DLT_DATA_DIGEST]);
/** Whether two such digests can be of the same data; what only one of them knows is not compared. */
bool dlt_same_data(const char *a, const char *b);

/** What kind of target a frame has, and its shape. */
dlt_target_type dlt_target_of(const dlt_frame *frame, dlt_shape *shape);
/** Classes of a target by what was seen of it: words of its dictionary, or integers 0..n-1; 0: no classes. */
int64_t dlt_classes_seen(const dlt_record_layout *layout, const dlt_stats *stats);

#endif
