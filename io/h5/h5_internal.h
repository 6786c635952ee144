/* io/h5/h5_internal.h: what the files of this folder share: limits, the wire form of the table, private structures. */
#ifndef DLT_IO_H5_INTERNAL_H
#define DLT_IO_H5_INTERNAL_H

#include "base/arena.h"
#include "base/text.h"
#include "io/h5/h5_table.h"

#include <pthread.h>

/* ---- limits on what a file may claim ---- */
enum {
    DLT_H5_MAX_OBJECTS = 200000,
    DLT_H5_MAX_DEPTH = 32,                 /* groups inside each other */
    DLT_H5_MAX_PATH = 1023,                /* bytes of an object's path */
    DLT_H5_MAX_ATTRIBUTES = 64,            /* of an object; more are left out */
    DLT_H5_MAX_ATTRIBUTE = 1 << 20,        /* bytes of an attribute's values; larger ones are left out */
    DLT_H5_MAX_ATTRIBUTE_COUNT = 1 << 16,  /* values of an attribute */
    DLT_H5_MAX_ATTRIBUTES_TOTAL = 8 << 20, /* bytes of all attributes of a file */
    DLT_H5_MAX_FILTERS = 3,                /* shuffle, deflate, fletcher32: each at most once */
    DLT_H5_MAX_TEXT = 512,                 /* bytes of a reason */
    DLT_H5_MAX_COMPACT = 1 << 16,          /* bytes of a compact dataset */
    DLT_H5_MAX_CHUNKS = 1 << 22,           /* of a file */
    DLT_H5_MAX_CHUNK_BYTES = 1 << 30,      /* of one chunk, decoded */
    DLT_H5_SPARSE_CHUNKS = 1 << 16,        /* a grid of more chunks than this ... */
    DLT_H5_SPARSE_RATIO = 16,              /* ... has at least one in so many written */
    DLT_H5_MAX_TABLE = 192 << 20,          /* bytes of the table, and not more than ... */
    DLT_H5_TABLE_FREE = 1 << 20,           /* ... this many plus ... */
    DLT_H5_TABLE_RATIO = 16,               /* ... so many times the file */
    DLT_H5_CLAIM_FREE = 64 << 20,          /* a dataset of more bytes than this ... */
    DLT_H5_CLAIM_RATIO = 2048,             /* ... claims at most so many times what the file holds of it */
    DLT_H5_MAX_DEFLATE = 1032,             /* deflate cannot shrink by more (zlib's technical details) */
    DLT_H5_DEFAULT_CACHE = 32 << 20
};

/* ---- the child ---- */
enum {
    DLT_H5_CHILD_FILE = 3,        /* descriptor of the file */
    DLT_H5_CHILD_TABLE = 4,       /* descriptor that takes the table */
    DLT_H5_CHILD_CPU_S = 3,       /* its processor time, and one second more ... */
    DLT_H5_CHILD_CPU_MIB = 8,     /* ... for so many MiB of the file, up to ... */
    DLT_H5_CHILD_MOST_CPU_S = 60, /* ... this */
    DLT_H5_CHILD_FREE = 64 << 20, /* bytes of memory that it may take, and ... */
    DLT_H5_CHILD_RATIO = 4,       /* ... so many times the file, up to 1 GiB */
    DLT_H5_CHILD_WALL_S = 120,    /* the parent's patience: slow network file systems */
    DLT_H5_CHILD_REFUSED = 3,     /* exit status after an error record */
    DLT_H5_CHILD_MEMORY = 4       /* exit status when it was refused memory */
};
#define DLT_H5_CHILD_ARGUMENT "--h5-child"
#define DLT_H5_CHILD_PROBE "probe"

/* ---- wire form: native byte order, since both ends are one executable ----
 *
 * table     = "DLTH5TAB" u32 version, record*, end
 * record    = object | error
 * object    = 'O' u8 class, str path, str refused, [dataset], u32 attributes left out, u32 count, attribute*
 *             dataset stands where class is DATASET and refused is empty
 * dataset   = u8 kind, u8 element bytes, u8 big-endian, u8 rank, u64 dim[rank], u8 fill[8], u8 storage, layout
 * layout    = str bytes                                    COMPACT
 *           | u64 offset (NOWHERE: never written)          CONTIGUOUS
 *           | u64 chunk dim[rank], u8 count, (u8 filter, u32 value)[count], u64 chunks,
 *             (u64 offset, u32 bytes, u32 mask)[chunks]    CHUNKED: every place of the grid, row-major; none of them
 *                                                          (chunks = 0) where nothing was ever written
 * attribute = str name, u8 type, u8 scalar, u32 count, (i64 | f64 | str)[count]
 * error     = 'X' str reason: the last record
 * end       = 'E' u64 bytes of the table before this record
 * str       = u32 bytes, the bytes */
#define DLT_H5_MAGIC "DLTH5TAB"
enum { DLT_H5_VERSION = 1 };
#define DLT_H5_NOWHERE UINT64_MAX

/* kind on the wire only: 2 opaque bytes, bfloat16 if attribute dtype says so */
enum { DLT_H5_OPAQUE = DLT_H5_BFLOAT + 1 };
enum { DLT_H5_FILTER_DEFLATE = 1, DLT_H5_FILTER_SHUFFLE = 2, DLT_H5_FILTER_FLETCHER32 = 3 };

typedef struct h5_chunk {
    uint64_t offset;      /* DLT_H5_NOWHERE: never written */
    uint32_t bytes, mask; /* bit i of mask: filter i was not applied */
} h5_chunk;

/** How a dataset lies in the file; behind dlt_h5_object.layout. Checked against the file's size. */
typedef struct h5_layout {
    uint8_t fill[8]; /* one element as in the file */
    uint64_t offset; /* CONTIGUOUS */
    const uint8_t *compact;
    int64_t grid[DLT_MAX_RANK]; /* CHUNKED: chunks along each axis */
    int64_t chunk_bytes, chunk_count;
    const h5_chunk *chunks; /* NULL: none was ever written */
    int filter_count;
    struct {
        unsigned id, value; /* value: element bytes of shuffle */
    } filter[DLT_H5_MAX_FILTERS];
} h5_layout;

/** A decoded chunk that is kept. */
typedef struct h5_slot {
    const h5_layout *layout;
    int64_t chunk;
    uint8_t *data;
    size_t bytes;
    unsigned users;
    uint64_t used; /* tick of the last use */
} h5_slot;

enum { DLT_H5_SLOTS = 256 };

struct dlt_h5_file {
    dlt_arena *arena;
    const char *path;
    dlt_pos at;
    dlt_status kind;
    int fd;
    int64_t size, mtime_ns;
    size_t count;
    dlt_h5_object *objects; /* sorted by path */

    pthread_mutex_t lock; /* for what follows */
    h5_slot slots[DLT_H5_SLOTS];
    size_t cached, cache_limit;
    uint64_t tick;
};

/** Where the child's side writes its table. */
typedef struct h5_sink {
    int fd; /* -1: everything stays in `buffer` */
    dlt_buf buffer;
    uint64_t written; /* bytes already gone to fd */
    bool failed;      /* cannot write, out of memory, or too long */
} h5_sink;

/**
 * The child's work: parses the HDF5 file on descriptor fd and writes its table. True if the table is whole,
 * false after an error record. Runs libhdf5: never in a process that has something to lose.
 */
bool dlt_h5_list(int fd, int64_t size, h5_sink *sink);

/** dlt_h5_child_main was called. */
bool dlt_h5_child_ready(void);
/** Sets libhdf5 up, once in a process: no exit handler, no printing, no plugins, no external links. */
bool dlt_h5_library(void);

/* Memory that is refused to libhdf5 (h5_memory.c). */
/** Gets a reserve from which libhdf5 is served on this thread where memory is refused, until _end; false when refused itself. */
bool dlt_h5_reserve_begin(void);
/** Whether it was: what libhdf5 did since _begin is to be given up. */
bool dlt_h5_reserve_used(void);
void dlt_h5_reserve_end(void);
/**
 * From here on a refusal calls `end`, which ends this process, unless it would hold more than half of limit_bytes, which it may
 * take from now on: that is a file's fault and no shortage, and whoever asked is told.
 */
void dlt_h5_child_memory(uint64_t limit_bytes, void (*end)(void));

/** Seconds of processor time that listing a file of this size may take. */
unsigned dlt_h5_cpu_limit(int64_t size);

/**
 * Starts the child on a descriptor of `size` bytes (or in probe mode), takes its table and sees to its end. Free *table
 * with dlt_free.
 */
dlt_status dlt_h5_run_child(int fd, int64_t size, bool probe, const char *path, dlt_status kind, dlt_pos at, char **table,
                            size_t *bytes, dlt_diag *diag);
/** The parent's patience in seconds, for tests; 0 restores it. */
void dlt_h5_set_deadline(double seconds);

/**
 * For tests that have tables of their own: dlt_h5_open asks `lister` in place of the child; NULL restores it. The rest of the
 * way is the same. Free *table with dlt_free.
 */
typedef dlt_status dlt_h5_lister(const dlt_h5_file *file, char **table, size_t *bytes, dlt_diag *diag);
void dlt_h5_set_lister(dlt_h5_lister *lister);

/** A file on a descriptor (taken over) without its table. */
dlt_status dlt_h5_file_create(int fd, const char *path, dlt_status kind, dlt_pos at, dlt_h5_file **file,
                              dlt_diag *diag);
/** Checks a hostile table and fills file->objects. */
dlt_status dlt_h5_parse_table(dlt_h5_file *file, const void *table, size_t bytes, dlt_diag *diag);
/** "bad HDF5 file 'PATH': ..." */
dlt_status dlt_h5_bad(const dlt_h5_file *file, dlt_diag *diag, const char *fmt, ...) DLT_PRINTF(3, 4);

/** SHA-256 of the bytes of a contiguous dataset that was written, as they lie in the file. Other datasets are refused. */
dlt_status dlt_h5_digest(dlt_h5_file *file, const dlt_h5_object *dataset, uint8_t digest[32], dlt_diag *diag);
/** Sum that HDF5 appends to chunks. */
uint32_t dlt_h5_fletcher32(const uint8_t *data, size_t bytes);

#endif
