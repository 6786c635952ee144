/* io/data/stats.h: what one reading of all records tells about them, in bounded memory. */
#ifndef DLT_IO_DATA_STATS_H
#define DLT_IO_DATA_STATS_H

#include "base/table.h"

enum {
    DLT_DISTINCT_MOST = 64,    /* different numbers of a column that are counted */
    DLT_CLASSES_MOST = 1 << 20 /* class numbers that are counted */
};

/** About one part of the records. */
typedef struct dlt_part_stats {
    int64_t missing;    /* records without a value */
    int64_t distinct;   /* different values; -1: more than DLT_DISTINCT_MOST numbers, or not counted */
    double least, most; /* numbers: their range; NaN where there is none */
    bool whole;         /* numbers: every one is an integer */
} dlt_part_stats;

/** About a target that is one value a record. Text has its class numbers from its dictionary. */
typedef struct dlt_class_stats {
    int64_t count;    /* the largest class number seen + 1 */
    int64_t *records; /* by class: how many records */
    int64_t *first;   /* by class: number of the first of them, -1 where there is none */
    int64_t room;
    int64_t other; /* first record whose target is no class number (negative, a fraction, large), -1: none */
    double other_value;
} dlt_class_stats;

typedef struct dlt_stats {
    size_t part_count;
    dlt_part_stats *part;
    dlt_class_stats classes;
    int64_t records;
    bool complete; /* all records were read; else only the first `records` */
} dlt_stats;

/** All parts unseen. false when memory is refused. */
bool dlt_stats_init(dlt_stats *stats, size_t part_count);
void dlt_stats_release(dlt_stats *stats);
/** Counts a record's class. false when memory is refused. */
bool dlt_stats_class(dlt_stats *stats, double value, int64_t record);
/** Widens a part's range by a number. */
static inline void dlt_part_stats_number(dlt_part_stats *part, double value)
{
    if (!(value >= part->least)) { /* written so that the first number replaces NaN */
        part->least = value;
    }
    if (!(value <= part->most)) {
        part->most = value;
    }
    if (part->whole) {
        /* an int64 holds every double that is whole and below 2^63; larger ones are whole anyway */
        const bool small = value > -0x1p63 && value < 0x1p63;
        part->whole = !small || (double)(int64_t)value == value;
    }
}

/** Different numbers, up to DLT_DISTINCT_MOST of them. All zero is empty. */
typedef struct dlt_distinct {
    double at[2 * DLT_DISTINCT_MOST]; /* open addressing; 0.0 bits mean free */
    int count;                        /* not counting zero */
    bool zero, full;
} dlt_distinct;

void dlt_distinct_add_new(dlt_distinct *set, double value, size_t slot);
static inline size_t dlt_distinct_slot(double value)
{
    union {
        double number;
        uint64_t bits;
    } v = {value};
    return (size_t)((v.bits * 0x9E3779B97F4A7C15u) >> 57); /* 7 bits: 128 slots */
}
/** Adds a number that is not NaN. */
static inline void dlt_distinct_add(dlt_distinct *set, double value)
{
    if (set->full) {
        return;
    }
    const size_t slot = dlt_distinct_slot(value);
    if (set->at[slot] != value || value == 0) { /* the common case is a number seen before */
        dlt_distinct_add_new(set, value, slot);
    }
}
/** Adds all of `from` to `set`. */
void dlt_distinct_join(dlt_distinct *set, const dlt_distinct *from);
/** How many, or -1 if more than are counted. */
int64_t dlt_distinct_count(const dlt_distinct *set);

#endif
