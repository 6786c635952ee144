/* cmd/catalogue.c: collects what the folders of the program can do.
 *
 * One paragraph a category in gather(): its words, and the registry that its kinds come from, a
 * NULL-terminated table of descriptors that begin with their dlt_kind (dlt_layers, dlt_losses, ...). A
 * registry that the program does not have yet has no KINDS line: adding it is one line here, and nothing
 * anywhere else. */
#include "cmd/catalogue.h"

#include "layers/layer.h"
#include "schema/spec.h"

#include <assert.h>

enum { MOST_CATEGORIES = 32, MOST_KINDS = 1024 };

typedef struct collection {
    dlt_catalogue catalogue;
    dlt_category categories[MOST_CATEGORIES];
    const dlt_kind *kinds[MOST_KINDS]; /* those of a category stand together */
    size_t kind_count;
} collection;

/* The kinds that follow are of this category. */
static void category(collection *c, dlt_category words)
{
    assert(c->catalogue.count < MOST_CATEGORIES);
    words.kinds = &c->kinds[c->kind_count];
    c->categories[c->catalogue.count++] = words;
    c->catalogue.categories = c->categories;
}

static void add(collection *c, const dlt_kind *kind)
{
    assert(c->kind_count < MOST_KINDS);
    c->kinds[c->kind_count++] = kind;
    c->categories[c->catalogue.count - 1].count++;
}

#define KINDS(registry)                                                                                      \
    for (size_t i = 0; (registry)[i] != NULL; i++) {                                                         \
        add(c, &(registry)[i]->kind);                                                                        \
    }

static void gather(collection *c)
{
    category(
        c, (dlt_category){.name = "layer", .doc = "a step of the network", .named = true, .trainable = true});
    KINDS(dlt_layers)

    category(c, (dlt_category){.name = "activation", .doc = "a function of each value"});
    KINDS(dlt_activations)

    category(c, (dlt_category){.name = "initializer", .doc = "what weights start from"});

    category(c, (dlt_category){.name = "regularizer", .doc = "what weights add to the loss"});

    category(c, (dlt_category){.name = "constraint", .doc = "what weights are held to after each step"});

    category(c, (dlt_category){.name = "loss", .doc = "what training makes small"});

    category(c, (dlt_category){.name = "metric", .doc = "a figure of merit", .named = true});

    category(c, (dlt_category){.name = "optimizer", .doc = "how gradients become updates"});

    category(c, (dlt_category){.name = "schedule", .doc = "a learning rate that changes with the steps"});

    category(c, (dlt_category){.name = "callback", .doc = "what happens between epochs"});

    category(c, (dlt_category){.name = "feature", .doc = "what becomes of a column of a table"});

    category(c, (dlt_category){.name = "source", .doc = "where samples come from"});

    /* every source can be validated on as well */
    category(c, (dlt_category){.name = "validation",
                               .doc = "what validation runs on: a split of train, or any source"});
    const dlt_category *sources = dlt_catalogue_find(&c->catalogue, "source");
    add(c, &dlt_kind_split);
    for (size_t i = 0; i < sources->count; i++) {
        add(c, sources->kinds[i]);
    }
}

const dlt_catalogue *dlt_catalogue_all(void)
{
    static collection all;
    if (all.catalogue.count == 0) {
        gather(&all);
    }
    return &all.catalogue;
}
