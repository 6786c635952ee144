/* cmd/catalogue.h: everything a model file can name, collected from the folders that own it. */
#ifndef DLT_CMD_CATALOGUE_H
#define DLT_CMD_CATALOGUE_H

#include "base/kind.h"

/** All categories; the same object on every call. */
const dlt_catalogue *dlt_catalogue_all(void);

#endif
