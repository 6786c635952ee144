/* tests/fuzz/fuzz_override.c: `-o` over a model file that is right: overrides are separated by the byte 0. */
#include "fuzz/spec_claims.h"

static const char model[] = "name: m\nvars: {n: 3, deep: {x: 1}}\n"
                            "data: {train: {CSV: {path: a.csv, columns: [x, y]}}, validation: {split: 0.1}}\n"
                            "layers:\n"
                            "  - Dense: {units: 3, name: head}\n"
                            "  - Flatten\n"
                            "  - Residual: {layers: [Dense: {units: 4, name: in}, Flatten]}\n"
                            "  - Parallel: {branches: [[Flatten], [&d {Dense: {units: 5}}, *d]]}\n"
                            "  - FeatureSpace: {features: {age: float_normalized}}\n"
                            "  - Everything: {axes: [1, 2], kernel_initializer: {Constant: 1}}\n"
                            "  - Dense: {units: '${vars.n}'}\n"
                            "optimizer: {Adam: {learning_rate: 1e-3}}\n"
                            "metrics: [acc]\n"
                            "fit: {epochs: 3, callbacks: [EarlyStopping: {patience: 1}]}\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { MOST = 4 };
    const char *overrides[MOST];
    char *text = fuzz_text(data, size);
    size_t count = 0;
    for (size_t at = 0; at < size && count < MOST; at += strlen(text + at) + 1) {
        overrides[count++] = text + at;
    }
    const dlt_load_options options = {.overrides = overrides, .override_count = count};
    fuzz_close_files();
    fuzz_claim_spec(model, sizeof model - 1, &options);
    free(text);
    return 0;
}
