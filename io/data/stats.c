/* io/data/stats.c: counting. */
#include "io/data/stats.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

bool dlt_stats_init(dlt_stats *stats, size_t part_count)
{
    *stats = (dlt_stats){.part_count = part_count, .classes.other = -1};
    stats->part = dlt_alloc_zeroed(part_count, sizeof *stats->part);
    for (size_t i = 0; stats->part != NULL && i < part_count; i++) {
        stats->part[i] =
            (dlt_part_stats){.distinct = -1, .least = (double)NAN, .most = (double)NAN, .whole = true};
    }
    return stats->part != NULL;
}

void dlt_stats_release(dlt_stats *stats)
{
    dlt_free(stats->part);
    dlt_free(stats->classes.records);
    dlt_free(stats->classes.first);
    *stats = (dlt_stats){.classes.other = -1};
}

static bool make_room(dlt_class_stats *classes, int64_t wanted)
{
    int64_t room = classes->room > 0 ? classes->room : 16;
    while (room < wanted) {
        room *= 2;
    }
    int64_t *records = dlt_realloc(classes->records, (size_t)room, sizeof *records);
    if (records == NULL) {
        return false;
    }
    classes->records = records;
    int64_t *first = dlt_realloc(classes->first, (size_t)room, sizeof *first);
    if (first == NULL) {
        return false;
    }
    classes->first = first;
    classes->room = room;
    return true;
}

bool dlt_stats_class(dlt_stats *stats, double value, int64_t record)
{
    dlt_class_stats *classes = &stats->classes;
    if (!(value >= 0 && value < DLT_CLASSES_MOST) || value != floor(value)) { /* NaN too */
        if (classes->other < 0) {
            classes->other = record;
            classes->other_value = value;
        }
        return true;
    }
    const int64_t label = (int64_t)value;
    if (label >= classes->room && !make_room(classes, label + 1)) {
        return false;
    }
    for (; classes->count <= label; classes->count++) {
        classes->records[classes->count] = 0;
        classes->first[classes->count] = -1;
    }
    if (classes->records[label]++ == 0) {
        classes->first[label] = record;
    }
    return true;
}

void dlt_distinct_add_new(dlt_distinct *set, double value, size_t slot)
{
    if (value == 0) {
        set->zero = true;
        return;
    }
    while (set->at[slot] != 0) {
        if (set->at[slot] == value) {
            return;
        }
        slot = (slot + 1) % DLT_COUNT(set->at);
    }
    if (set->count == DLT_DISTINCT_MOST) {
        set->full = true;
        return;
    }
    set->at[slot] = value;
    set->count++;
}

void dlt_distinct_join(dlt_distinct *set, const dlt_distinct *from)
{
    for (size_t i = 0; i < DLT_COUNT(from->at); i++) {
        if (from->at[i] != 0) {
            dlt_distinct_add(set, from->at[i]);
        }
    }
    set->zero = set->zero || from->zero;
    set->full = set->full || from->full;
}

int64_t dlt_distinct_count(const dlt_distinct *set)
{
    const int count = set->count + set->zero;
    return set->full || count > DLT_DISTINCT_MOST ? -1 : count;
}
