/* tests/fuzz/fuzz_override.c: `-o` over model files that are right: overrides are separated by the byte 0. */
#include "fuzz/spec_claims.h"

/* Many small ones instead of one large: reading the model is what an execution costs. */
static const char *const models[] = {
    "name: m\nlayers:\n  - Dense: {units: 3, name: head}\n  - Flatten\n",
    "vars: {n: 3, deep: {x: 1}}\nlayers: [{Dense: {units: '${vars.n}'}}]\n",
    "data: {train: {CSV: {path: a.csv, columns: [x, y]}}, validation: {split: 0.1}}\nlayers: [Flatten]\n",
    "layers: [Flatten]\noptimizer: {Adam: {learning_rate: 1e-3}}\nmetrics: [acc]\n",
    "layers: [Flatten]\nfit: {epochs: 3, callbacks: [EarlyStopping: {patience: 1}]}\n",
    "layers:\n  - Residual: {layers: [Dense: {units: 4, name: in}, Flatten]}\n",
    "layers:\n  - Parallel: {branches: [[Flatten], [&d {Dense: {units: 5}}, *d]]}\n",
    "layers:\n  - FeatureSpace: {features: {age: float_normalized}}\n",
    "layers:\n  - Everything: {axes: [1, 2], kernel_initializer: {Constant: 1}}\n",
};

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
    const unsigned choice = fuzz_choice(data, size);
    const char *model = models[choice % DLT_COUNT(models)];
    fuzz_claim_spec(model, strlen(model), &options, choice / 16);
    free(text);
    return 0;
}
