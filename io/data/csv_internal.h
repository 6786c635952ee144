/* io/data/csv_internal.h: reading CSV in pieces. csv_read.c cuts files into blocks of whole records;
 * csv_parse.c turns a block into packed records, by itself, so that several threads can do it at once;
 * source_csv.c puts the blocks together in order.
 *
 * A record ends at a line feed outside quotes; a carriage return before it belongs to the ending. A field is
 * quoted if its first byte (after blanks, when they are trimmed) is '"'; "" inside is one quote. Blank lines
 * and comment lines are no records. */
#ifndef DLT_IO_DATA_CSV_INTERNAL_H
#define DLT_IO_DATA_CSV_INTERNAL_H

#include "io/data/source.h"
#include "io/data/stream.h"

enum {
    CSV_BLOCK_BYTES = 512 << 10, /* of text that are read at once */
    CSV_RECORD_BYTES = 16 << 20, /* longest record */
    CSV_MOST_COLUMNS = 1 << 16,
    CSV_MOST_ERRORS = 20,       /* that are shown; the rest is counted */
    CSV_DISTINCT_COLUMNS = 1024 /* up to which different numbers are counted */
};

/** How records and fields are told apart. */
typedef struct csv_dialect {
    char delimiter, comment; /* comment 0: none */
    bool trim;
} csv_dialect;

typedef enum csv_action { CSV_SKIP, CSV_NUMBER, CSV_TEXT } csv_action;

/** What is done with a column of the file. Constant while blocks are parsed. */
typedef struct csv_column {
    csv_action action;
    bool whole; /* declared integer: fractions are errors */
    bool declared;
    bool value_needed; /* a missing value is an error: target, weight */
    bool is_weight;    /* must be 0 or more */
    bool is_label;     /* an unknown text is an error, not UNSEEN; label_map applies */
    bool grows;        /* unknown texts are new words */
    size_t part;
    size_t offset;          /* in the packed record */
    const dlt_words *known; /* TEXT: words that have their code */
    const char *name;
} csv_column;

typedef struct csv_text {
    const char *at;
    size_t length;
} csv_text;

typedef struct csv_plan {
    csv_dialect dialect;
    size_t column_count;
    const csv_column *columns; /* one for each column of the file */
    size_t record_bytes;
    size_t part_count;
    size_t missing_count;
    const csv_text *missing;
    bool missing_first; /* one of `missing` looks like a number: it is looked for before numbers are read */
    const dlt_string_map *label_map;
    bool count_distinct;
    const char *label_names; /* for messages: "a, b, c" */
} csv_plan;

typedef enum csv_fault {
    CSV_FAULT_COLUMNS, /* count: found */
    CSV_FAULT_NUMBER,
    CSV_FAULT_WHOLE,
    CSV_FAULT_MISSING,
    CSV_FAULT_LABEL,
    CSV_FAULT_WEIGHT,
    CSV_FAULT_QUOTE,  /* text behind a closing quote */
    CSV_FAULT_RETURN, /* carriage return without line feed */
    CSV_FAULT_NUL,
    CSV_FAULT_UTF8,
    CSV_FAULT_LONG /* text over DLT_WORDS_LONGEST */
} csv_fault;

typedef struct csv_error {
    csv_fault fault;
    unsigned line;   /* line feeds between the beginning of the records and it */
    unsigned column; /* from 1, characters */
    size_t field;    /* index of the column */
    size_t count;
    char text[48]; /* what stands there, cut */
    size_t text_length;
} csv_error;

/** A piece of a file: text in, records out. Buffers are kept from one piece to the next. */
typedef struct csv_block csv_block;
struct csv_block {
    csv_block *next; /* in the queue of its owner */
    enum { CSV_READ, CSV_PARSING, CSV_PARSED } state;

    /* text */
    size_t file;           /* which of the paths */
    bool file_start;       /* the first block of its file */
    const char *binary;    /* what the file is, if it begins like something else than text; NULL: it does not */
    unsigned lines_before; /* line feeds of this block in front of `start`: skipped rows, a header */
    char *text;
    size_t start, end, room; /* records are text[start .. end) */
    size_t open_quote;       /* where a quote stands that the file never closes; SIZE_MAX: none */
    bool too_long;           /* the record at `end` is longer than CSV_RECORD_BYTES */

    /* records */
    unsigned char *records;
    int64_t rows, row_room;
    unsigned lines;         /* line feeds in the records */
    dlt_words *words;       /* by part: new words; code known->count + i stands for the i-th of them */
    dlt_part_stats *stats;  /* by part */
    dlt_distinct *distinct; /* by part, kept over all pieces this block was used for; NULL: not counted */
    csv_error errors[CSV_MOST_ERRORS];
    size_t error_count, errors_more;
    bool no_memory;
    int full_part; /* a part that has too many words; -1: none */

    char *scratch; /* a quoted field without its quotes */
    size_t scratch_room;
};

/* ---- csv_parse.c ---- */

void csv_block_release(csv_block *block, size_t part_count);
/** Buffers for a plan. false when memory is refused. */
bool csv_block_prepare(csv_block *block, const csv_plan *plan);
/** Turns the block's text into records. Everything that can be wrong is left in the block. */
void csv_parse(csv_block *block, const csv_plan *plan);

/** Walks over records and fields one by one: for headers and for the first records, where speed does not
 * matter. */
typedef struct csv_walk {
    const csv_dialect *dialect;
    const char *at, *end;
    unsigned lines;   /* line feeds passed */
    csv_block *block; /* lends its scratch */
    bool no_memory;
} csv_walk;
/** Moves to the next record, past blank and comment lines; false at the end. */
bool csv_walk_record(csv_walk *walk);
/**
 * Next field of the record, trimmed and without quotes (what is wrong with it is left to csv_parse); *more
 * tells if another one follows. The text lives until the next call. false when memory is refused.
 */
bool csv_walk_field(csv_walk *walk, csv_text *field, bool *more);
bool csv_is_missing(const csv_plan *plan, const char *text, size_t length);
/** What label_map makes of a label. */
csv_text csv_mapped_label(const dlt_string_map *map, const char *text, size_t length);

/** Finds where the last whole record of text[0 .. bytes) ends; 0 if none does. State is kept to go on with
 * more text. */
typedef struct csv_split {
    size_t at;       /* looked at so far */
    size_t boundary; /* end of the last whole record */
    int state;
    size_t quote_at; /* where the open quote stands */
    bool plain;      /* no quote seen so far */
} csv_split;
void csv_split_more(csv_split *split, const csv_dialect *dialect, const char *text, size_t bytes);
bool csv_split_in_quotes(const csv_split *split);

/* ---- csv_read.c ---- */

typedef struct csv_reader {
    const dlt_strings *paths;
    const atomic_int *stop;
    dlt_pos at; /* where the paths were written, for messages */
    int64_t skip_rows;
    size_t block_bytes;
    csv_dialect dialect;
    size_t file; /* that is open, or to be opened next */
    dlt_stream *stream;
    bool started; /* of the open file: a block was given */
    char *carry;  /* a record's beginning that was read with the block before */
    size_t carry_bytes, carry_room;
} csv_reader;

void csv_reader_release(csv_reader *reader);
/** Next block of whole records; *got is false behind the last file. Records in front of a place where a file cannot be read are given
 * before that is told, so what is said of them does not hang on the size of blocks. */
dlt_status csv_reader_next(csv_reader *reader, csv_block *block, bool *got, dlt_diag *diag);
/** Chooses the delimiter that cuts the first lines of the first file into the same number of fields, most of
 * them; else ','. */
dlt_status csv_reader_find_delimiter(csv_reader *reader, dlt_diag *diag);

#endif
