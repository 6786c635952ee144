/* backend/cpu/attention.h: what is asked about attention_blocks before kernels are chosen. */
#ifndef DLT_CPU_ATTENTION_H
#define DLT_CPU_ATTENTION_H

#include "backend/cpu/kernel.h"

/** Whether attention_blocks has room for the keys of an ATTENTION or its gradient. */
bool dlt_cpu_attention_fits(const dlt_node *node);

#endif
