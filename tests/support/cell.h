/* tests/support/cell.h: steps of recurrent cells, as the layers write them (layers/lstm.c, gru.c, simple_rnn.c). */
#ifndef DLT_TEST_CELL_H
#define DLT_TEST_CELL_H

#include "graph/builder.h"

/** bias: a recurrent bias, as GRU has with reset_after. outer: the builder of the graph that the recurrence is to be part of. */
dlt_rnn_body test_cell_body(dlt_builder *outer, dlt_rnn_cell cell, int64_t batch, int64_t units, bool bias);

#endif
