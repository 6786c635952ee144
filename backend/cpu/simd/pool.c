/* backend/cpu/simd/pool.c: windows over rows of pixels, a vector of channels at a time. */
#include "backend/cpu/simd.h"
#include "backend/cpu/simd/vec.h"

static void max(float *y, uint8_t *index, const float *x, const dlt_pool_row *r)
{
    for (int64_t p = 0; p < r->pixels; p++) {
        for (int64_t c = 0; c < r->channels; c += VW) {
            const int64_t n = r->channels - c;
            const float *from = x + p * r->x_step + c;
            vf best = vload_to(from, n), winner = vset((float)r->first_cell);
            for (int64_t i = 0; i < r->rows; i++) {
                for (int64_t j = i == 0 ? 1 : 0; j < r->columns; j++) {
                    const vf v = vload_to(from + i * r->row_step + j * r->col_step, n);
                    /* larger, or the first NaN */
                    const vm wins = vor_m(vlt(best, v), vand_m(vne(v, v), veq(best, best)));
                    best = vselect(wins, v, best);
                    winner = vselect(wins, vset((float)(r->first_cell + i * r->cells_per_row + j)), winner);
                }
            }
            if (y != NULL) {
                vstore_to(y + p * r->y_step + c, best, n);
            }
            if (index != NULL) {
                vstore_bytes(index + p * r->y_step + c, vto_int(winner), n);
            }
        }
    }
}

static void max_dx(float *dx, const float *dy, const uint8_t *index, const dlt_pool_row *r, bool add)
{
    for (int64_t p = 0; p < r->pixels; p++) {
        for (int64_t c = 0; c < r->channels; c += VW) {
            const int64_t n = r->channels - c;
            const vf d = vload_to(dy + p * r->y_step + c, n), winner = vto_float(vload_bytes(index + p * r->y_step + c, n));
            float *to = dx + p * r->x_step + c;
            for (int64_t i = 0; i < r->rows; i++) {
                for (int64_t j = 0; j < r->columns; j++) {
                    float *cell = to + i * r->row_step + j * r->col_step;
                    const vm won = veq(winner, vset((float)(r->first_cell + i * r->cells_per_row + j)));
                    vf part = vselect(won, d, vzero());
                    if (add) {
                        part = vload_to(cell, n) + part;
                    }
                    vstore_to(cell, part, n);
                }
            }
        }
    }
}

static void avg(float *y, const float *x, const dlt_pool_row *r, float count)
{
    for (int64_t p = 0; p < r->pixels; p++) {
        for (int64_t c = 0; c < r->channels; c += VW) {
            const int64_t n = r->channels - c;
            const float *from = x + p * r->x_step + c;
            vf sum = vzero();
            for (int64_t i = 0; i < r->rows; i++) {
                for (int64_t j = 0; j < r->columns; j++) {
                    sum = sum + vload_to(from + i * r->row_step + j * r->col_step, n);
                }
            }
            vstore_to(y + p * r->y_step + c, sum / vset(count), n);
        }
    }
}

static void avg_dx(float *dx, const float *dy, const dlt_pool_row *r, float count)
{
    for (int64_t p = 0; p < r->pixels; p++) {
        for (int64_t c = 0; c < r->channels; c += VW) {
            const int64_t n = r->channels - c;
            const vf d = vload_to(dy + p * r->y_step + c, n) / vset(count);
            float *to = dx + p * r->x_step + c;
            for (int64_t i = 0; i < r->rows; i++) {
                for (int64_t j = 0; j < r->columns; j++) {
                    float *cell = to + i * r->row_step + j * r->col_step;
                    vstore_to(cell, vload_to(cell, n) + d, n);
                }
            }
        }
    }
}

extern const dlt_pool_ops DLT_SIMD(pool);
const dlt_pool_ops DLT_SIMD(pool) = {.max = max, .max_dx = max_dx, .avg = avg, .avg_dx = avg_dx};
