/* base/sha256.h: digests of weights, files and configurations (FIPS 180-4). */
#ifndef DLT_BASE_SHA256_H
#define DLT_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct dlt_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} dlt_sha256;

enum { DLT_SHA256_BYTES = 32, DLT_SHA256_HEX = 65 /* with the NUL */ };

void dlt_sha256_init(dlt_sha256 *sha);
void dlt_sha256_update(dlt_sha256 *sha, const void *data, size_t bytes);
void dlt_sha256_final(dlt_sha256 *sha, uint8_t digest[DLT_SHA256_BYTES]);
/** Digest as 64 small hexadecimal digits. */
void dlt_sha256_hex(const uint8_t digest[DLT_SHA256_BYTES], char text[DLT_SHA256_HEX]);
/** Digest of one piece of memory, in hexadecimal. */
void dlt_sha256_of(const void *data, size_t bytes, char text[DLT_SHA256_HEX]);

#endif
