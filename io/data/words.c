/* io/data/words.c: dictionaries by open addressing with linear probing, at most half full. */
#include "io/data/words.h"

#include "base/alloc.h"

#include <string.h>

void dlt_words_release(dlt_words *words)
{
    dlt_free(words->at);
    dlt_free(words->length);
    dlt_free(words->slots);
    dlt_arena_destroy(words->texts);
    *words = (dlt_words){0};
}

/* The dictionary's pointers follow the tables when they move. */
static void show(dlt_words *words)
{
    words->dictionary.at = words->at;
    words->dictionary.length = words->length;
}

void dlt_words_reset(dlt_words *words)
{
    if (words->dictionary.count > 0) {
        memset(words->slots, 0, words->slot_count * sizeof *words->slots);
        dlt_arena_destroy(words->texts);
        words->texts = NULL;
        words->dictionary.count = 0;
        words->bytes = 0;
    }
}

static uint64_t hash_of(const char *text, size_t bytes)
{
    /* multiply and fold, eight bytes at a time: texts are short and the table is ours */
    uint64_t hash = 0x9E3779B97F4A7C15u ^ bytes;
    while (bytes >= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
        text += 8;
        bytes -= 8;
    }
    uint64_t tail = 0;
    for (size_t i = 0; i < bytes; i++) {
        tail |= (uint64_t)(unsigned char)text[i] << (8 * i);
    }
    hash = (hash ^ tail) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 29;
    return hash * 0x9FB21C651E98DF25u;
}

/* The slot where the text is, or the free one where it belongs. slot_count is a power of two. */
static size_t slot_of(const dlt_words *words, const char *text, size_t bytes)
{
    const size_t mask = words->slot_count - 1;
    for (size_t slot = (size_t)(hash_of(text, bytes) >> 16) & mask;; slot = (slot + 1) & mask) {
        const uint32_t entry = words->slots[slot];
        if (entry == 0 ||
            (words->length[entry - 1] == bytes && memcmp(words->at[entry - 1], text, bytes) == 0)) {
            return slot;
        }
    }
}

int32_t dlt_words_find(const dlt_words *words, const char *text, size_t bytes)
{
    if (words->dictionary.count == 0) {
        return -1;
    }
    return (int32_t)words->slots[slot_of(words, text, bytes)] - 1;
}

static bool grow(dlt_words *words)
{
    const size_t count = (size_t)words->dictionary.count;
    if (count == words->room) {
        const size_t room = words->room > 0 ? words->room * 2 : 16;
        const char **at = dlt_realloc(words->at, room, sizeof *at);
        if (at == NULL) {
            return false;
        }
        words->at = at;
        size_t *length = dlt_realloc(words->length, room, sizeof *length);
        if (length == NULL) {
            show(words);
            return false;
        }
        words->length = length;
        words->room = room;
        show(words);
    }
    if (2 * (count + 1) > words->slot_count) {
        const size_t slots = words->slot_count > 0 ? words->slot_count * 2 : 32;
        uint32_t *table = dlt_alloc_zeroed(slots, sizeof *table);
        if (table == NULL) {
            return false;
        }
        dlt_free(words->slots);
        words->slots = table;
        words->slot_count = slots;
        for (size_t i = 0; i < count; i++) {
            words->slots[slot_of(words, words->at[i], words->length[i])] = (uint32_t)i + 1;
        }
    }
    return true;
}

int32_t dlt_words_add(dlt_words *words, const char *text, size_t bytes)
{
    const int32_t known = dlt_words_find(words, text, bytes);
    if (known >= 0) {
        return known;
    }
    if (words->dictionary.count >= DLT_WORDS_MOST || bytes > DLT_WORDS_LONGEST ||
        words->bytes + bytes > DLT_WORDS_MOST_BYTES) {
        return DLT_WORDS_FULL;
    }
    if (words->texts == NULL) {
        words->texts = dlt_arena_create();
    }
    if (words->texts == NULL || !grow(words)) {
        return DLT_WORDS_NO_MEMORY;
    }
    const char *copy = dlt_arena_copy(words->texts, text, bytes);
    if (copy == NULL) {
        return DLT_WORDS_NO_MEMORY;
    }
    const int32_t code = (int32_t)words->dictionary.count;
    words->slots[slot_of(words, text, bytes)] = (uint32_t)code + 1;
    words->at[code] = copy;
    words->length[code] = bytes;
    words->bytes += bytes;
    words->dictionary.count++;
    return code;
}

static int compare(const dlt_words *words, int32_t a, int32_t b)
{
    const size_t n = words->length[a], m = words->length[b];
    const int order = memcmp(words->at[a], words->at[b], n < m ? n : m);
    return order != 0 ? order : (n > m) - (n < m);
}

/* Merge sort of codes by text; `other` is scratch of the same size. */
static void sort_codes(const dlt_words *words, int32_t *codes, int32_t *other, size_t count)
{
    if (count < 2) {
        return;
    }
    const size_t half = count / 2;
    sort_codes(words, codes, other, half);
    sort_codes(words, codes + half, other, count - half);
    memcpy(other, codes, count * sizeof *codes);
    for (size_t i = 0, a = 0, b = half; i < count; i++) {
        const bool first = b == count || (a < half && compare(words, other[a], other[b]) <= 0);
        codes[i] = first ? other[a++] : other[b++];
    }
}

bool dlt_words_sort(const dlt_words *words, dlt_words *sorted, int32_t *place)
{
    const size_t count = (size_t)words->dictionary.count;
    int32_t *codes = dlt_alloc_zeroed(2 * count, sizeof *codes);
    bool good = codes != NULL;
    for (size_t i = 0; good && i < count; i++) {
        codes[i] = (int32_t)i;
    }
    if (good) {
        sort_codes(words, codes, codes + count, count);
    }
    for (size_t i = 0; good && i < count; i++) {
        const int32_t code = dlt_words_add(sorted, words->at[codes[i]], words->length[codes[i]]);
        good = code >= 0;
        place[codes[i]] = code;
    }
    dlt_free(codes);
    return good;
}

const dlt_words *dlt_words_of(const dlt_dictionary *dictionary)
{
    return (const dlt_words *)(const void *)dictionary;
}
