/* io/data/words.h: a dictionary that can be searched and grow: texts and their codes, in order of first
 * appearance. */
#ifndef DLT_IO_DATA_WORDS_H
#define DLT_IO_DATA_WORDS_H

#include "base/arena.h"
#include "base/table.h"

enum {
    DLT_WORDS_MOST = 1000000,        /* distinct texts of one column */
    DLT_WORDS_MOST_BYTES = 64 << 20, /* of their bytes together */
    DLT_WORDS_LONGEST = 64 << 10,    /* one text */
    /* what dlt_words_add returns when it cannot */
    DLT_WORDS_NO_MEMORY = -1,
    DLT_WORDS_FULL = -2
};

typedef struct dlt_words {
    dlt_dictionary dictionary; /* first: a dlt_dictionary of a data set's layout is a dlt_words */
    const char **at;
    size_t *length;
    size_t room;
    uint32_t *slots; /* open addressing: code + 1, 0 where free */
    size_t slot_count, bytes;
    dlt_arena *texts;
} dlt_words;

/** All zero is an empty dictionary. Gives back everything; the struct may be used again. */
void dlt_words_release(dlt_words *words);
/** Forgets the texts and keeps the tables, for a dictionary that is filled again and again. */
void dlt_words_reset(dlt_words *words);
/** Code of a text, or -1. Any number of threads may search while nobody adds. */
int32_t dlt_words_find(const dlt_words *words, const char *text, size_t bytes);
/** Code of a text, which is added if it is new, or DLT_WORDS_NO_MEMORY, DLT_WORDS_FULL. */
int32_t dlt_words_add(dlt_words *words, const char *text, size_t bytes);
/**
 * Fills the empty `sorted` with the words in order of their bytes; place[code] becomes the code there (place
 * has room for them all). false when memory is refused.
 */
bool dlt_words_sort(const dlt_words *words, dlt_words *sorted, int32_t *place);
/** The dlt_words that a layout's dictionary is. */
const dlt_words *dlt_words_of(const dlt_dictionary *dictionary);

#endif
