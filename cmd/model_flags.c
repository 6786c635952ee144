/* cmd/model_flags.c: flags that several commands share. */
#include "cmd/model_flags.h"

#include "trainer/signals.h"

dlt_session_options dlt_session_of_flags(const dlt_device_flags *flags)
{
    return (dlt_session_options){.device = flags->device,
                                 .threads = flags->threads.set ? (int)flags->threads.value : 0,
                                 .pin = flags->pin,
                                 .isa = flags->isa,
                                 .reference = flags->reference,
                                 .stop = dlt_stop_flag()};
}
