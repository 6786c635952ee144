/* io/data/pack.h: cache files: the packed records of a source, and what was learnt when they were read.
 *
 * One file a source and set of parameters, named by the digest of both; it holds the stamp of the source too,
 * so that a changed source is noticed. Records lie in pages with a checksum each, which every read verifies:
 * a damaged file is an error, never wrong data. Files are written under a temporary name and renamed when
 * they are whole. */
#ifndef DLT_IO_DATA_PACK_H
#define DLT_IO_DATA_PACK_H

#include "io/file.h"

#include "base/sha256.h"

enum { DLT_PACK_PAGE = 4096 };

/** A digest of records, of every byte of them, that costs little more than reading them: of the checks of their pages. */
typedef struct dlt_content {
    dlt_sha256 sha;
    uint64_t pages;
    size_t filled; /* of page */
    unsigned char page[DLT_PACK_PAGE];
} dlt_content;

void dlt_content_begin(dlt_content *content);
void dlt_content_add(dlt_content *content, const unsigned char *records, size_t bytes);
void dlt_content_end(dlt_content *content, uint8_t digest[DLT_SHA256_BYTES]);

/** What a file is found by. */
typedef struct dlt_pack_key {
    const char *name;                /* for people, the beginning of the file's name */
    const char *what;                /* source in messages */
    uint8_t key[DLT_SHA256_BYTES];   /* of paths and parameters */
    uint8_t stamp[DLT_SHA256_BYTES]; /* of sizes, times and samples */
} dlt_pack_key;

typedef struct dlt_pack dlt_pack;
typedef struct dlt_pack_writer dlt_pack_writer;

/**
 * The folder for cache files: `chosen`, else $XDG_CACHE_HOME/dltrain, else ~/.cache/dltrain; NULL where there
 * is neither. Free with dlt_free. false when memory is refused.
 */
bool dlt_pack_folder(const char *chosen, char **folder);

/**
 * Looks for a file. *pack is NULL where there is none, or one that is out of date or damaged, which a note
 * says (a damaged or old one is replaced by the next write). want_records: one that only holds what was
 * learnt will not do.
 */
dlt_status dlt_pack_open(const char *folder, const dlt_pack_key *key, bool want_records, dlt_pack **pack,
                         dlt_diag *diag);
/** NULL is accepted. */
void dlt_pack_close(dlt_pack *pack);
const char *dlt_pack_path(const dlt_pack *pack);
/** What was learnt, as it was given to dlt_pack_finish. */
const void *dlt_pack_meta(const dlt_pack *pack, size_t *bytes);
/** Bytes of records. */
int64_t dlt_pack_bytes(const dlt_pack *pack);
/** The digest that dlt_content has of the same records. */
void dlt_pack_content(const dlt_pack *pack, uint8_t digest[DLT_SHA256_BYTES]);
/**
 * Reads and verifies the pages that hold [from, from + bytes), bytes > 0, into `pages`, which has
 * dlt_pack_room(bytes). *at is where `from` lies. Any thread; takes no memory.
 */
dlt_status dlt_pack_read(const dlt_pack *pack, int64_t from, size_t bytes, unsigned char *pages,
                         const unsigned char **at, dlt_diag *diag);
size_t dlt_pack_room(size_t bytes);

/** Begins a file (folders are made, leftovers of dead processes cleared away). */
dlt_status dlt_pack_create(const char *folder, const dlt_pack_key *key, dlt_pack_writer **writer,
                           dlt_diag *diag);
/** Adds bytes of records. */
dlt_status dlt_pack_append(dlt_pack_writer *writer, const void *data, size_t bytes, dlt_diag *diag);
/** Ends the file with what was learnt, syncs and names it. The writer is gone afterwards, also on failure. */
dlt_status dlt_pack_finish(dlt_pack_writer *writer, const void *meta, size_t meta_bytes, dlt_diag *diag);
/** Gives up; NULL is accepted. */
void dlt_pack_abort(dlt_pack_writer *writer);

#endif
