/* trainer/losses/loss_kl_divergence.c: sum over the last axis of t ln(t / p), both clipped to [EPS, 1]. */
#include "trainer/kinds.h"

static const dlt_field fields[] = {DLT_LOSS_FIELDS, {0}};

static dlt_value *build(dlt_builder *b, const void *params, dlt_value *y_true, dlt_value *y_pred,
                        dlt_value **mask)
{
    (void)params;
    (void)mask;
    dlt_value *t = dlt_clip(b, y_true, DLT_EPSILON, 1), *p = dlt_clip(b, y_pred, DLT_EPSILON, 1);
    dlt_value *l = dlt_mul(b, t, dlt_log(b, dlt_div(b, t, p)));
    return dlt_sum(b, l, dlt_axis_bit(l, -1), false);
}

const dlt_loss_desc dlt_loss_kl_divergence = {
    .kind = {.name = "KLDivergence",
             .doc = "Kullback-Leibler divergence of two distributions",
             .size = sizeof(dlt_loss_params),
             .fields = fields,
             .aliases = "kld KLD"},
    .build = build,
    .fits = DLT_FITS_PROBABILITIES,
    .from_logits = -1,
};
