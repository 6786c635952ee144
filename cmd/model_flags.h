/* cmd/model_flags.h: flags that commands about a trained model, or about a session, share. */
#ifndef DLT_CMD_MODEL_FLAGS_H
#define DLT_CMD_MODEL_FLAGS_H

#include "cmd/args.h"
#include "trainer/session.h"

typedef struct dlt_device_flags {
    const char *device, *isa;
    dlt_opt_int threads;
    bool pin, reference;
} dlt_device_flags;

#define DLT_DEVICE_FLAGS(T, member)                                                                          \
    DLT_TEXT(T, member.device, "device", '\0', DLT_FLAG_TEXT, "DEVICE",                                      \
             "cpu, cuda, cuda:N or auto; default: the model file's"),                                        \
        DLT_NUMBER(T, member.threads, "threads", 't', 1, 1024, "N",                                          \
                   "CPU threads; default: one for each processor"),                                          \
        DLT_SWITCH(T, member.pin, "pin", '\0', "bind each thread to a processor"),                           \
        DLT_TEXT(T, member.isa, "isa", '\0', DLT_FLAG_TEXT, "SET",                                           \
                 "CPU instruction set: plain, avx2, avx512 or avx512_bf16; default: the best"),              \
        DLT_SWITCH(T, member.reference, "reference", '\0', "use the plain reference kernels")

/** Options of a session with what the flags say. */
dlt_session_options dlt_session_of_flags(const dlt_device_flags *flags);

#endif
