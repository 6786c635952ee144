/* layers/farmhash.h: the hashes by which TensorFlow, and so Keras' FeatureSpace, puts texts and crosses into bins. */
#ifndef DLT_LAYERS_FARMHASH_H
#define DLT_LAYERS_FARMHASH_H

#include <stddef.h>
#include <stdint.h>

/**
 * FarmHash's Fingerprint64, which never changes between versions and machines. Source of the algorithm: Pike & Alakuijala,
 * github.com/google/farmhash, namespace farmhashna. TensorFlow's to_hash_bucket_fast is this modulo the number of bins.
 */
uint64_t dlt_fingerprint64(const char *text, size_t bytes);
/**
 * Hash of a combination of numbers, one after another: TensorFlow's sparse.cross_hashed starts from its default key and takes
 * the last hash modulo the number of bins (kernels/sparse_cross_op.cc, FingerprintCat64).
 */
#define DLT_CROSS_SEED UINT64_C(0xDECAFCAFFE)
uint64_t dlt_cross_step(uint64_t hash, int64_t value);

#endif
