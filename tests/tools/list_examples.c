/* tests/tools/list_examples.c: the examples of all layers as JSON, for tests that run the program. One line
 * each: kind, shape (with the batch), dtype, high, mask as in layers/layer.h, and `layers`, the list of a
 * model file. A layer without examples has a line with its kind alone. */
#include "support/layer_model.h"

#include "base/json.h"
#include "base/text.h"

#include <stdio.h>

static void put_example(dlt_buf *out, const dlt_layer_desc *layer, const char *text)
{
    dlt_json j;
    dlt_json_init(&j, out, 0);
    dlt_json_open(&j, '{');
    dlt_json_key_string(&j, "kind", layer->kind.name);
    if (text != NULL) {
        dlt_layer_model *m = dlt_layer_model_open();
        const dlt_layer_example e = dlt_layer_example_read(m, text);
        dlt_json_key(&j, "shape");
        dlt_json_open(&j, '[');
        for (int i = 0; i < e.input.shape.rank; i++) {
            dlt_json_int(&j, e.input.shape.dim[i]);
        }
        dlt_json_close(&j, ']');
        dlt_json_key_string(&j, "dtype", dlt_dtype_name(e.input.type));
        dlt_json_key_int(&j, "high", e.input.high);
        dlt_json_key_bool(&j, "mask", e.input.mask);
        dlt_json_key_string(&j, "layers", e.layers);
        dlt_layer_model_close(m);
    }
    dlt_json_close(&j, '}');
    dlt_buf_char(out, '\n');
}

int main(void)
{
    dlt_buf out = {0};
    for (size_t i = 0; dlt_layers[i] != NULL; i++) {
        const char *const *examples = dlt_layers[i]->examples;
        size_t k = 0;
        for (; examples != NULL && examples[k] != NULL; k++) {
            put_example(&out, dlt_layers[i], examples[k]);
        }
        if (k == 0) {
            put_example(&out, dlt_layers[i], NULL);
        }
    }
    const bool good = !out.failed && fputs(dlt_buf_text(&out), stdout) >= 0 && fflush(stdout) == 0;
    dlt_buf_release(&out);
    return good ? 0 : 1;
}
