/* schema/mistake.c: saying what is wrong in a model file: where, what was found, what may stand there, what
 * to do. */
#include "base/num.h"
#include "schema/schema_internal.h"

#include <stdarg.h>
#include <string.h>

enum { LONGEST_SHOWN = 40 /* characters of the user's text in a message */ };

bool dlt_mistake(dlt_loader *l, dlt_pos at, const dlt_detail *detail, const char *fmt, ...)
{
    if (l->stop) {
        return false;
    }
    dlt_buf text = {0};
    va_list args;
    va_start(args, fmt);
    dlt_buf_vprintf(&text, fmt, args);
    va_end(args);
    dlt_detail all = detail != NULL ? *detail : (dlt_detail){0};
    if (all.key == NULL && l->path.length > 0) {
        all.key = dlt_buf_text(&l->path);
    }
    if (text.failed) {
        dlt_fail_memory(l->diag);
    } else {
        dlt_fail_detail(l->diag, l->in_default ? DLT_E_INTERNAL : DLT_E_CONFIG, at, &all, "%s",
                        dlt_buf_text(&text));
    }
    dlt_buf_release(&text);
    l->stop = ++l->errors >= DLT_YAML_MAX_ERRORS;
    return false;
}

const char *dlt_take_text(dlt_loader *l, dlt_buf *text)
{
    const char *taken = text->failed ? NULL : dlt_arena_copy(l->arena, dlt_buf_text(text), text->length);
    if (taken == NULL) {
        dlt_fail_memory(l->diag);
    }
    dlt_buf_release(text);
    return taken != NULL ? taken : "";
}

const char *dlt_owner_prefix(dlt_loader *l)
{
    const char *prefix = l->owner != NULL ? dlt_arena_printf(l->arena, "%s: ", l->owner) : "";
    return prefix != NULL ? prefix : "";
}

/* Bytes of `text` that hold at most LONGEST_SHOWN characters. */
static size_t shown_bytes(const char *text, size_t length)
{
    size_t characters = 0;
    for (size_t i = 0; i < length; i++) {
        if (((unsigned char)text[i] & 0xC0) != 0x80 && ++characters > LONGEST_SHOWN) {
            return i;
        }
    }
    return length;
}

const char *dlt_found_text(dlt_loader *l, const dlt_yaml *node)
{
    const char *found = "nothing";
    double value = 0;
    if (node->type == DLT_YAML_LIST) {
        found = node->count > 0 ? "a list" : "an empty list";
    } else if (node->type == DLT_YAML_MAP) {
        found = node->count > 0 ? "a mapping" : "an empty mapping";
    } else if (node->text != NULL) {
        const size_t bytes = shown_bytes(node->text, node->length);
        const bool bare = node->type == DLT_YAML_NULL ||
                          dlt_read_number(node->text, node->length, true, &value) ||
                          strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0;
        const char *quote = node->quoted ? "\"" : bare ? "" : "'";
        found = dlt_arena_printf(l->arena, "%s%.*s%s%s", quote, (int)bytes, node->text,
                                 bytes < node->length ? "..." : "", quote);
    }
    if (found != NULL && node->origin != NULL) {
        found = dlt_arena_printf(l->arena, "%s (from %s)", found, node->origin);
    }
    return found != NULL ? found : "";
}

bool dlt_mistake_value(dlt_loader *l, const char *name, const dlt_yaml *node, const char *expected,
                       const char *hint)
{
    const char *found = dlt_found_text(l, node);
    const bool scalar = (node->type == DLT_YAML_SCALAR || node->type == DLT_YAML_NULL) && node->text != NULL;
    const dlt_detail detail = {.found = scalar ? node->text : found, .allowed = expected};
    dlt_buf subject = {0};
    dlt_buf_printf(&subject, "%s%s", dlt_owner_prefix(l), name);
    if (l->element >= 0) {
        dlt_buf_printf(&subject, "[%lld]", (long long)l->element);
    }
    return dlt_mistake(l, node->pos, &detail, "%s must be %s, found %s%s%s", dlt_take_text(l, &subject),
                       expected, found, hint != NULL ? "; " : "", hint != NULL ? hint : "");
}

/* ---- unknown keys ---- */

/* What other frameworks, and Keras elsewhere, call a thing. A row counts only where its second name is known.
 */
static const char *const same_key[][2] = {
    {"lr", "learning_rate"},
    {"n_epochs", "epochs"},
    {"num_epochs", "epochs"},
    {"max_epochs", "epochs"},
    {"nb_epoch", "epochs"},
    {"out_features", "units"},
    {"hidden_size", "units"},
    {"output_dim", "units"},
    {"out_channels", "filters"},
    {"p", "rate"},
    {"dropout", "rate"},
    {"bias", "use_bias"},
    {"stride", "strides"},
    {"dilation", "dilation_rate"},
    {"num_embeddings", "input_dim"},
    {"embedding_dim", "output_dim"},
    {"eps", "epsilon"},
    {"betas", "beta_1"},
    {"input_shape", "shape"},
    {"batch_input_shape", "shape"},
    {"dtype", "precision"},
    {"batch", "batch_size"},
    {"filename", "path"},
    {"file", "path"},
    {"filepath", "path"},
    {"label", "target"},
    {"y", "labels"},
    {"x", "features"},
    {"random_seed", "seed"},
    {"random_state", "seed"},
    {"model", "layers"},
    {"network", "layers"},
};

/* What to do about a key that is not ours but has its place elsewhere. */
static const char *const advice[][2] = {
    {"validation_split", "write data: {validation: {split: 0.1}}"},
    {"validation_data", "validation data stand under data, validation"},
    {"learning_rate", "it belongs to the optimizer: optimizer: {Adam: {learning_rate: 1e-3}}"},
    {"lr", "the rate belongs to the optimizer: optimizer: {Adam: {learning_rate: 1e-3}}"},
    {"weight_decay", "it belongs to the optimizer"},
    {"clipnorm", "it belongs to the optimizer"},
    {"input_shape", "the shape of the input is said by a first layer Input: {shape: [...]}"},
    {"batch_input_shape", "the shape of the input is said by a first layer Input: {shape: [...]}"},
    {"in_features", "the size of the input is known from the layer before; leave it out"},
    {"in_channels", "the size of the input is known from the layer before; leave it out"},
    {"verbose", "use the flag --verbose"},
    {"threads", "use the flag --threads"},
    {"num_workers", "it is called data.workers"},
    {"class_name", "the kind is the key itself: Dense: {units: 10}"},
    {"config", "the kind is the key itself: Dense: {units: 10}"},
    {"type", "the kind is the key itself: Dense: {units: 10}"},
};

static const char *look_up(const char *const (*rows)[2], size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i][0], key) == 0) {
            return rows[i][1];
        }
    }
    return NULL;
}

/* All keys that a table takes; *count of them, in the arena. */
static const char **keys_of(dlt_loader *l, const dlt_field *fields, const dlt_category *category,
                            size_t *count)
{
    const size_t fields_count = dlt_field_count(fields);
    const char **keys = dlt_arena_alloc(l->arena, 3 * fields_count + 2, sizeof *keys);
    size_t at = 0;
    if (keys == NULL) {
        *count = 0;
        return NULL;
    }
    for (size_t i = 0; i < fields_count; i++) {
        if (fields[i].type != DLT_FIELD_WEIGHT) {
            keys[at++] = fields[i].name;
            continue;
        }
        for (dlt_part_of part = DLT_INITIALIZER; part <= DLT_CONSTRAINT; part++) {
            keys[at++] = dlt_arena_printf(l->arena, "%s%s", fields[i].name, dlt_part_suffix(part));
        }
    }
    if (category != NULL && category->named) {
        keys[at++] = "name";
    }
    if (category != NULL && category->trainable) {
        keys[at++] = "trainable";
    }
    *count = at;
    return keys;
}

static const char *join(dlt_loader *l, const char *const *words, size_t count)
{
    dlt_buf out = {0};
    for (size_t i = 0; i < count; i++) {
        if (words[i] != NULL) {
            dlt_buf_printf(&out, "%s%s", out.length > 0 ? ", " : "", words[i]);
        }
    }
    return dlt_take_text(l, &out);
}

/* The section of the model file that has the key, "" for its top level, NULL for none. */
static const char *section_of(const dlt_loader *l, const char *key)
{
    dlt_part_of part = DLT_WHOLE;
    if (l->model == NULL) {
        return NULL;
    }
    if (dlt_field_of(l->model, key, &part) != NULL || strcmp(key, "vars") == 0 ||
        strcmp(key, "include") == 0) {
        return "";
    }
    for (size_t i = 0; i < dlt_field_count(l->model); i++) {
        if (l->model[i].type == DLT_FIELD_STRUCT && dlt_field_of(l->model[i].fields, key, &part) != NULL) {
            return l->model[i].name;
        }
    }
    return NULL;
}

const char *dlt_mistake_key(dlt_loader *l, dlt_pos at, const char *key, const dlt_field *fields,
                            const dlt_category *category)
{
    enum { SHOWN_KEYS = 10, ONE_EDIT = 2 /* dlt_edit_distance counts in halves */ };
    size_t count = 0;
    const char **keys = keys_of(l, fields, category, &count);
    if (keys == NULL) {
        dlt_mistake(l, at, NULL, "%sunknown key '%s'", dlt_owner_prefix(l), key);
        return NULL;
    }
    dlt_detail detail = {.found = key, .allowed = join(l, keys, count)};
    const char *prefix = dlt_owner_prefix(l), *synonym = look_up(same_key, DLT_COUNT(same_key), key);
    int nearest = -1;
    for (size_t i = 0; synonym != NULL && i < count; i++) {
        if (keys[i] != NULL && strcmp(keys[i], synonym) == 0) {
            nearest = (int)i;
        }
    }
    const int close = nearest < 0 ? dlt_nearest(key, keys, count) : -1;
    if (close >= 0 && dlt_edit_distance(key, keys[close]) <= ONE_EDIT) { /* layers: for layer:, though there is one at the top */
        nearest = close;
    }
    if (nearest < 0) {
        const char *section = section_of(l, key), *todo = look_up(advice, DLT_COUNT(advice), key);
        if (section != NULL && *section != '\0') {
            dlt_mistake(l, at, &detail, "%sunknown key '%s'; it belongs under '%s'", prefix, key, section);
            return NULL;
        }
        if (section != NULL) {
            dlt_mistake(l, at, &detail, "%sunknown key '%s'; it belongs at the top of the file", prefix, key);
            return NULL;
        }
        if (todo != NULL) {
            dlt_mistake(l, at, &detail, "%sunknown key '%s'; %s", prefix, key, todo);
            return NULL;
        }
        nearest = close;
    }
    if (nearest >= 0) {
        detail.nearest = keys[nearest];
        dlt_mistake(l, at, &detail, "%sunknown key '%s'; did you mean '%s'?", prefix, key, keys[nearest]);
        return keys[nearest];
    }
    if (count == 0) {
        dlt_mistake(l, at, &detail, "%sunknown key '%s'; %s takes no parameters", prefix, key,
                    l->owner != NULL ? l->owner : "it");
    } else if (count <= SHOWN_KEYS) {
        dlt_mistake(l, at, &detail, "%sunknown key '%s'; known keys: %s", prefix, key, detail.allowed);
    } else {
        dlt_mistake(l, at, &detail, "%sunknown key '%s'; 'dltrain help %s' lists the keys", prefix, key,
                    l->owner != NULL ? l->owner : "model");
    }
    return NULL;
}

/* ---- unknown kinds ---- */

/* What other frameworks call a thing; counts only where the second name is known in the category. */
static const char *const same_kind[][2] = {
    {"Linear", "Dense"},
    {"FullyConnected", "Dense"},
    {"fc", "Dense"},
    {"conv", "Conv2D"},
    {"Convolution2D", "Conv2D"},
    {"BatchNorm", "BatchNormalization"},
    {"BatchNorm1d", "BatchNormalization"},
    {"BatchNorm2d", "BatchNormalization"},
    {"BatchNorm3d", "BatchNormalization"},
    {"LayerNorm", "LayerNormalization"},
    {"GroupNorm", "GroupNormalization"},
    {"RMSNorm", "RMSNormalization"},
    {"MaxPool1d", "MaxPooling1D"},
    {"MaxPool2d", "MaxPooling2D"},
    {"MaxPool2D", "MaxPooling2D"},
    {"MaxPool3d", "MaxPooling3D"},
    {"AvgPool1d", "AveragePooling1D"},
    {"AvgPool2d", "AveragePooling2D"},
    {"AvgPool2D", "AveragePooling2D"},
    {"AdaptiveAvgPool2d", "GlobalAveragePooling2D"},
    {"AdaptiveMaxPool2d", "GlobalMaxPooling2D"},
    {"ConvTranspose2d", "Conv2DTranspose"},
    {"Dropout2d", "SpatialDropout2D"},
    {"RandomHorizontalFlip", "RandomFlip"},
    {"RandomVerticalFlip", "RandomFlip"},
    {"RandomAffine", "RandomTranslation"},
    {"Resize", "Resizing"},
    {"MultiheadAttention", "MultiHeadAttention"},
    {"TransformerEncoderLayer", "TransformerEncoder"},
    {"TransformerDecoderLayer", "TransformerDecoder"},
    {"CrossEntropyLoss", "SparseCategoricalCrossentropy"},
    {"cross_entropy", "SparseCategoricalCrossentropy"},
    {"NLLLoss", "SparseCategoricalCrossentropy"},
    {"BCELoss", "BinaryCrossentropy"},
    {"BCEWithLogitsLoss", "BinaryCrossentropy"},
    {"MSELoss", "MeanSquaredError"},
    {"L1Loss", "MeanAbsoluteError"},
    {"SmoothL1Loss", "Huber"},
    {"KLDivLoss", "KLDivergence"},
    {"rmse", "RootMeanSquaredError"},
    {"r2", "R2Score"},
    {"f1", "F1Score"},
    {"CosineAnnealingLR", "CosineDecay"},
    {"ExponentialLR", "ExponentialDecay"},
    {"xavier_uniform", "GlorotUniform"},
    {"xavier_normal", "GlorotNormal"},
    {"kaiming_uniform", "HeUniform"},
    {"kaiming_normal", "HeNormal"},
    {"swish", "silu"},
};

/* The key of a model file under which things of a category stand: "metrics", "fit.callbacks"; NULL if none.
 */
static const char *place_of(dlt_loader *l, const char *category)
{
    for (size_t i = 0; l->model != NULL && i < dlt_field_count(l->model); i++) {
        const dlt_field *field = &l->model[i];
        if (field->category != NULL && strcmp(field->category, category) == 0) {
            return field->name;
        }
        for (size_t k = 0; field->type == DLT_FIELD_STRUCT && k < dlt_field_count(field->fields); k++) {
            const dlt_field *inner = &field->fields[k];
            if (inner->category != NULL && strcmp(inner->category, category) == 0) {
                return dlt_arena_printf(l->arena, "%s.%s", field->name, inner->name);
            }
        }
    }
    return NULL;
}

/* An exact name of another category: says what it is and where it belongs. */
static bool of_other_category(dlt_loader *l, dlt_pos at, const char *name, const dlt_category *category)
{
    for (size_t i = 0; i < l->catalogue->count; i++) {
        const dlt_category *other = &l->catalogue->categories[i];
        const dlt_kind *kind = other != category ? dlt_find_kind(l, other, name) : NULL;
        if (kind == NULL || strcmp(kind->name, "number") == 0) {
            continue;
        }
        dlt_buf is = {0}, is_not = {0}, todo = {0};
        dlt_expect_item(other->name, &is);
        dlt_expect_item(category->name, &is_not);
        const char *place = place_of(l, other->name);
        if (strcmp(category->name, "layer") == 0 && strcmp(other->name, "activation") == 0 &&
            dlt_find_kind(l, category, "Activation") != NULL) {
            dlt_buf_printf(&todo, "; write Activation: {activation: %s}", name);
        } else if (place != NULL) {
            dlt_buf_printf(&todo, "; it belongs under '%s'", place);
        }
        const dlt_detail detail = {.found = name, .allowed = category->name};
        dlt_mistake(l, at, &detail, "'%s' is %s, not %s%s", name, dlt_take_text(l, &is),
                    dlt_take_text(l, &is_not), dlt_take_text(l, &todo));
        return true;
    }
    return false;
}

/* The name of a category's kinds most like `name`: class names, snake case and aliases; NULL if none is
 * close. */
static const char *nearest_kind(dlt_loader *l, const char *name, const dlt_category *category)
{
    char snake[128];
    const char *best = NULL;
    int best_distance = 0;
    for (size_t i = 0; i < category->count; i++) {
        const dlt_kind *kind = category->kinds[i];
        dlt_snake_case(kind->name, snake, sizeof snake);
        const char *own[2] = {kind->name, snake};
        for (int k = 0; k < 2; k++) {
            const int distance = dlt_edit_distance(name, own[k]);
            if (dlt_nearest(name, &own[k], 1) == 0 && (best == NULL || distance < best_distance)) {
                best = k == 0 ? kind->name : dlt_arena_string(l->arena, snake);
                best_distance = distance;
            }
        }
        for (const char *word = kind->aliases; word != NULL && *word != '\0';) {
            const size_t length = strcspn(word, " ");
            if (length < sizeof snake) {
                memcpy(snake, word, length);
                snake[length] = '\0';
                const char *alias = snake;
                const int distance = dlt_edit_distance(name, alias);
                if (dlt_nearest(name, &alias, 1) == 0 && (best == NULL || distance < best_distance)) {
                    best = dlt_arena_string(l->arena, alias);
                    best_distance = distance;
                }
            }
            word += length;
            word += *word == ' ';
        }
    }
    return best;
}

/* "Dense" of Python's "keras.layers.Dense(10)"; NULL where the text is no such thing. */
static const char *plain_name(dlt_loader *l, const char *text)
{
    const size_t length = strcspn(text, "(");
    size_t start = 0;
    for (size_t i = 0; i < length; i++) {
        start = text[i] == '.' ? i + 1 : start;
    }
    const bool changed = start > 0 || text[length] == '(';
    return changed && length > start ? dlt_arena_copy(l->arena, text + start, length - start) : NULL;
}

bool dlt_mistake_kind(dlt_loader *l, dlt_pos at, const char *name, const dlt_category *category)
{
    enum { SHOWN_KINDS = 8 };
    dlt_buf allowed = {0};
    for (size_t i = 0; i < category->count; i++) {
        if (strcmp(category->kinds[i]->name, "number") != 0) {
            dlt_buf_printf(&allowed, "%s%s", allowed.length > 0 ? ", " : "", category->kinds[i]->name);
        }
    }
    const char *list = dlt_take_text(l, &allowed);
    dlt_detail detail = {.found = name, .allowed = list};
    if (strstr(name, " - ") != NULL) {
        return dlt_mistake(l, at, &detail,
                           "unknown %s '%s'; it goes on over two lines: the second '- ' is indented too far",
                           category->name, name);
    }
    const char *inner = plain_name(l, name);
    const dlt_kind *inner_kind = inner != NULL ? dlt_find_kind(l, category, inner) : NULL;
    if (inner_kind != NULL) {
        dlt_buf example = {0};
        dlt_example_item(l->catalogue, inner_kind, &example);
        detail.nearest = inner_kind->name;
        return dlt_mistake(l, at, &detail, "unknown %s '%s'; write %s", category->name, name,
                           dlt_take_text(l, &example));
    }
    const char *synonym = look_up(same_kind, DLT_COUNT(same_kind), name);
    if (synonym != NULL && dlt_find_kind(l, category, synonym) != NULL) {
        detail.nearest = synonym;
        return dlt_mistake(l, at, &detail, "unknown %s '%s'; here it is called '%s'", category->name, name,
                           synonym);
    }
    if (of_other_category(l, at, name, category)) {
        return false;
    }
    detail.nearest = nearest_kind(l, name, category);
    if (detail.nearest != NULL) {
        return dlt_mistake(l, at, &detail, "unknown %s '%s'; did you mean '%s'?", category->name, name,
                           detail.nearest);
    }
    if (category->count == 0) {
        dlt_buf plural = {0};
        dlt_plural(category->name, &plural);
        return dlt_mistake(l, at, &detail, "unknown %s '%s'; this build knows no %s", category->name, name,
                           dlt_take_text(l, &plural));
    }
    if (category->count <= SHOWN_KINDS) {
        return dlt_mistake(l, at, &detail, "unknown %s '%s'; known: %s", category->name, name, list);
    }
    return dlt_mistake(l, at, &detail, "unknown %s '%s'; 'dltrain help %s' lists them", category->name, name,
                       category->name);
}
