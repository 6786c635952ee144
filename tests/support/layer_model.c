/* tests/support/layer_model.c: layers from YAML to graph, for tests. */
#include "support/layer_model.h"

#include "support/support.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/yaml.h"
#include "schema/spec.h"

#include <stdlib.h>
#include <string.h>

/* ---- what layers name beside layers: kinds that tests of the graph never call ---- */

typedef struct number_params {
    double l1, l2;
} number_params;
static const dlt_field l1_fields[] = {DLT_FLOAT(number_params, l1, 0, INFINITY, 0.01, "weight"), {0}};
static const dlt_field l2_fields[] = {DLT_FLOAT(number_params, l2, 0, INFINITY, 0.01, "weight"), {0}};
#define PLAIN(name_, ...)                                                                                    \
    {                                                                                                        \
        .name = name_, .doc = "a kind", __VA_ARGS__                                                          \
    }
static const dlt_kind initializers[] = {
    PLAIN("Zeros", .size = 0),
    PLAIN("Ones", .size = 0),
    PLAIN("GlorotUniform", .size = 0),
    PLAIN("Orthogonal", .size = 0),
    PLAIN("RandomUniform", .aliases = "uniform"),
};
static const dlt_kind regularizers[] = {
    PLAIN("L1", .size = sizeof(number_params), .fields = l1_fields),
    PLAIN("L2", .size = sizeof(number_params), .fields = l2_fields),
};
static const dlt_kind constraint = PLAIN("NonNeg", .size = 0);
static const dlt_kind optimizer = PLAIN("RMSprop", .aliases = "rmsprop");
static const dlt_kind other = PLAIN("Other", .size = 0);

enum { MAX_KINDS = 256 };

static const dlt_kind *kinds[16][MAX_KINDS];
static dlt_category categories[16];
static size_t category_count;

/* Begins a category; the kinds that follow go into it. */
static void begin(const char *name)
{
    const bool layers = strcmp(name, "layer") == 0;
    assert_true(category_count < DLT_COUNT(categories));
    categories[category_count] = (dlt_category){
        .name = name, .doc = "kinds", .kinds = kinds[category_count], .named = layers, .trainable = layers};
    category_count++;
}

static void add(const dlt_kind *kind)
{
    const size_t last = category_count - 1;
    assert_true(categories[last].count < MAX_KINDS);
    kinds[last][categories[last].count++] = kind;
}

const dlt_catalogue *dlt_layer_catalogue(void)
{
    static const char *const rest[] = {"source", "validation", "loss", "metric", "callback"};
    static dlt_catalogue catalogue;
    if (category_count > 0) {
        return &catalogue;
    }
    begin("layer");
    for (size_t i = 0; i < dlt_layer_kind_count; i++) {
        add(dlt_layer_kinds[i]);
    }
    begin("activation");
    for (size_t i = 0; i < dlt_activation_kind_count; i++) {
        add(dlt_activation_kinds[i]);
    }
    begin("feature");
    for (size_t i = 0; i < dlt_feature_kind_count; i++) {
        add(dlt_feature_kinds[i]);
    }
    begin("cross");
    categories[category_count - 1].implied = "cross";
    for (size_t i = 0; i < dlt_cross_kind_count; i++) {
        add(dlt_cross_kinds[i]);
    }
    begin("initializer");
    for (size_t i = 0; i < DLT_COUNT(initializers); i++) {
        add(&initializers[i]);
    }
    begin("regularizer");
    for (size_t i = 0; i < DLT_COUNT(regularizers); i++) {
        add(&regularizers[i]);
    }
    begin("constraint");
    add(&constraint);
    begin("optimizer");
    add(&optimizer);
    for (size_t i = 0; i < DLT_COUNT(rest); i++) {
        begin(rest[i]);
        add(&other);
    }
    catalogue = (dlt_catalogue){categories, category_count};
    return &catalogue;
}

dlt_value *dlt_layer_model_regularize(dlt_builder *b, const dlt_item *regularizer, dlt_value *x)
{
    const number_params *p = regularizer->params;
    return regularizer->kind == &regularizers[0] ? dlt_mul_c(b, dlt_sum_all(b, dlt_abs(b, x)), p->l1)
                                                 : dlt_mul_c(b, dlt_sum_all(b, dlt_square(b, x)), p->l2);
}

/* ---- models ---- */

dlt_layer_model *dlt_layer_model_open(void)
{
    dlt_layer_model *m = dlt_alloc_zeroed(1, sizeof *m);
    assert_non_null(m);
    m->arena = dlt_arena_create();
    m->diag = dlt_diag_create();
    assert_non_null(m->arena);
    assert_non_null(m->diag);
    m->variables = dlt_variables_create(m->arena);
    assert_non_null(m->variables);
    return m;
}

void dlt_layer_model_close(dlt_layer_model *m)
{
    dlt_arena_destroy(m->arena);
    dlt_diag_destroy(m->diag);
    dlt_free(m);
}

bool dlt_layer_model_parse(dlt_layer_model *m, const char *list)
{
    const dlt_load_options options = {.stored = true};
    const dlt_run_spec *spec = NULL;
    char *text = dlt_arena_printf(m->arena, "layers: %s\n", list);
    assert_non_null(text);
    if (dlt_spec_parse(m->arena, dlt_layer_catalogue(), "test.yaml", text, strlen(text), &options, &spec,
                       m->diag) != DLT_OK) {
        return false;
    }
    m->layers = &spec->value.layers;
    return true;
}

dlt_value *dlt_layer_model_build(dlt_layer_model *m, dlt_mode mode, dlt_dtype real,
                                 const dlt_layer_input_spec *input)
{
    const dlt_builder_options options = {.name = "test",
                                         .mode = mode,
                                         .real = real,
                                         .batch = input->shape.rank > 0 ? input->shape.dim[0] : 2,
                                         .seed = 7};
    m->b = dlt_builder_create(m->arena, m->variables, &options, m->diag);
    assert_non_null(m->b);
    m->in = NULL;
    if (input->shape.rank > 0) {
        const dlt_dtype type = dlt_dtype_is_real(input->type) ? real : input->type;
        m->in = dlt_input(m->b, "x", type, input->shape);
        assert_non_null(m->in);
    }
    if (input->mask) {
        m->in->mask = dlt_input(m->b, "mask", DLT_U8, DLT_SHAPE(input->shape.dim[0], input->shape.dim[1]));
    }
    m->out = dlt_model_apply(m->b, m->layers, m->in, m->fitted, m->inputs, m->input_count, NULL, NULL);
    assert_true(m->out != NULL || dlt_builder_failed(m->b));
    return m->out;
}

dlt_value *dlt_layer_model_make(dlt_layer_model *m, const char *list, const dlt_layer_input_spec *input)
{
    return dlt_layer_model_parse(m, list) ? dlt_layer_model_build(m, DLT_MODE_TRAIN, DLT_F32, input) : NULL;
}

/* ---- examples ---- */

/* End of the value that starts at `at` in a flow mapping or list: the comma or bracket behind it. */
static const char *value_end(const char *at)
{
    int depth = 0;
    char quote = '\0';
    for (; *at != '\0'; at++) {
        if (quote != '\0') {
            quote = *at == quote ? '\0' : quote;
        } else if (*at == '"' || *at == '\'') {
            quote = *at;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if ((*at == '}' || *at == ']') && depth-- == 0) {
            return at;
        } else if (*at == ',' && depth == 0) {
            return at;
        }
    }
    return at;
}

/* Text of the value of a top-level key, or NULL. */
static const char *value_of(dlt_layer_model *m, const char *example, const char *key)
{
    assert_true(example[0] == '{');
    const char *at = example + 1;
    while (*at != '\0' && *at != '}') {
        at += strspn(at, " ");
        const size_t length = strcspn(at, ":");
        const char *value = at + length + 1 + strspn(at + length + 1, " "), *end = value_end(value);
        if (length == strlen(key) && strncmp(at, key, length) == 0) {
            return dlt_arena_copy(m->arena, value, (size_t)(end - value));
        }
        at = end + (*end == ',');
    }
    return NULL;
}

dlt_layer_example dlt_layer_example_read(dlt_layer_model *m, const char *example)
{
    dlt_layer_example e = {.input = {.type = DLT_F32}};
    const char *shape = value_of(m, example, "input"), *type = value_of(m, example, "dtype");
    const char *high = value_of(m, example, "high"), *mask = value_of(m, example, "mask");
    const char *before = value_of(m, example, "before"), *layer = value_of(m, example, "layer");
    const char *no_gradient = value_of(m, example, "no_gradient");
    assert_non_null(shape);
    assert_non_null(layer);
    for (const char *at = shape + 1; *at != '\0' && *at != ']';) {
        char *end;
        e.input.shape.dim[e.input.shape.rank++] = strtoll(at, &end, 10);
        assert_true(end != at && e.input.shape.rank <= DLT_MAX_RANK);
        at = end + strspn(end, ", ");
    }
    for (int i = 0; type != NULL && i < DLT_DTYPE_COUNT; i++) {
        if (strcmp(dlt_dtype_name((dlt_dtype)i), type) == 0) {
            e.input.type = (dlt_dtype)i;
        }
    }
    assert_true(type == NULL || strcmp(dlt_dtype_name(e.input.type), type) == 0);
    e.input.high = high != NULL ? strtoll(high, NULL, 10) : 0;
    e.input.mask = mask != NULL && strcmp(mask, "true") == 0;
    e.no_gradient = no_gradient != NULL && strcmp(no_gradient, "true") == 0;
    if (before != NULL) {
        const size_t inside = strlen(before) - 2;
        e.layers = dlt_arena_printf(m->arena, "[%.*s, %s]", (int)inside, before + 1, layer);
    } else {
        e.layers = dlt_arena_printf(m->arena, "[%s]", layer);
    }
    assert_non_null(e.layers);
    return e;
}

/* ---- showing ---- */

const char *dlt_layer_model_weights(dlt_layer_model *m)
{
    dlt_buf text = {0};
    char shape[160];
    assert_true(dlt_variables_number(m->variables));
    for (int i = 0; i < m->variables->count; i++) {
        const dlt_variable *v = m->variables->list[i];
        if (v->role == DLT_VARIABLE_WEIGHT) {
            dlt_buf_printf(&text, "%s %d %s %s", v->group, v->index, v->path,
                           dlt_shape_text(&v->shape, shape, sizeof shape));
            if (v->fan_in > 0) {
                dlt_buf_printf(&text, " fans %lld %lld", (long long)v->fan_in, (long long)v->fan_out);
            }
            if (v->ones_count > 0) {
                dlt_buf_printf(&text, " ones %lld+%lld", (long long)v->ones_from, (long long)v->ones_count);
            }
            if (!v->trainable) {
                dlt_buf_string(&text, v->created_trainable ? " frozen" : " fixed");
            }
            dlt_buf_char(&text, '\n');
        }
    }
    const char *copy = dlt_arena_string(m->arena, dlt_buf_text(&text));
    dlt_buf_release(&text);
    assert_non_null(copy);
    return copy;
}

const char *dlt_layer_model_shape(dlt_layer_model *m, const dlt_value *v)
{
    char *text = dlt_arena_alloc(m->arena, 1, 160);
    assert_non_null(text);
    return v != NULL ? dlt_shape_text(&v->shape, text, 160) : "none";
}

const char *dlt_layer_model_error(const dlt_layer_model *m)
{
    return dlt_diag_text(m->diag, 0);
}
