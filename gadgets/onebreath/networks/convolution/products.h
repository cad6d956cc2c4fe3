/* Products of pixels and kernels, the instructions they are made of, and the memory for them.

Images are (image, y, x, channel) in memory, series (batch, frame, pixel, channel), the last fastest. Numbers of channels
are multiples of LANES where nothing else is said. There is no Python here: see compiled.py. */

#ifndef ONEBREATH_PRODUCTS_H
#define ONEBREATH_PRODUCTS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8
#define LINE 16  /* floats of a line of the cache */
#define TILES 12 /* rows of pixels or tiles that are multiplied at once; a multiple of the ROWS of all PRODUCTs */

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vector load(const float *from) { return *(const vector *)from; }
static inline void store(float *to, vector value) { *(vector *)to = value; }

/* c[ROWS][VECTORS] = a[ROWS][depth] b[depth][VECTORS], all sums in registers. */
#define PRODUCT(NAME, ROWS, VECTORS)                                                                                   \
    static inline void NAME(const float *a, int64_t a_step, const float *b, float *c, int64_t c_step, int64_t depth) { \
        vector sum[ROWS][VECTORS] = {{{0}}};                                                                           \
        for (int64_t k = 0; k < depth; k++) {                                                                          \
            vector weights[VECTORS];                                                                                   \
            _Pragma("GCC unroll 3") for (int j = 0; j < VECTORS; j++)                                                  \
                weights[j] = load(b + (k * VECTORS + j) * LANES);                                                      \
            _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; i++) {                                                  \
                float value = a[i * a_step + k];                                                                       \
                _Pragma("GCC unroll 3") for (int j = 0; j < VECTORS; j++) sum[i][j] += value * weights[j];             \
            }                                                                                                          \
        }                                                                                                              \
        for (int i = 0; i < ROWS; i++)                                                                                 \
            for (int j = 0; j < VECTORS; j++) store(c + i * c_step + j * LANES, sum[i][j]);                            \
    }

PRODUCT(product_12_8, 12, 1)
PRODUCT(product_6_16, 6, 2)
PRODUCT(product_4_24, 4, 3)

/* Output channels that one product makes: as many sums as fill the registers of AVX2. */
static inline int64_t panel(int64_t out) { return out % 16 == 0 ? 16 : out % 24 == 0 ? 24 : 8; }

/* Multiply `count` rows of `in` channels with a matrix (out / panel, in, panel). Rows up to the next multiple of TILES
are read and written, too, whatever they hold. */
static inline void multiply(const float *a, const float *b, float *c, int64_t count, int64_t in, int64_t out) {
    int64_t size = panel(out);
    for (int64_t o = 0; o < out; o += size, b += in * size, c += size) {
        if (size == 16)
            for (int64_t t = 0; t < count; t += 6) product_6_16(a + t * in, in, b, c + t * out, out, in);
        else if (size == 24)
            for (int64_t t = 0; t < count; t += 4) product_4_24(a + t * in, in, b, c + t * out, out, in);
        else
            for (int64_t t = 0; t < count; t += 12) product_12_8(a + t * in, in, b, c + t * out, out, in);
    }
}

/* Memory of one thread: what is multiplied, the products, and a pixel of zeros. */
typedef struct {
    float *values, *sums, *zeros;
    int64_t in_step, out_step; /* between the matrices of two points */
} Scratch;

/* Memory for `rows` rows at each of `points` points; without any, `failed` is set. */
static inline Scratch allocate(int points, int64_t rows, int64_t in, int64_t out, int *failed) {
    /* 16 more, so that points do not lie powers of two apart, at the same places of the cache */
    const int64_t in_step = rows * in + 16, out_step = rows * out + 16;
    float *values = malloc((points * (in_step + out_step) + in) * sizeof(float));
    if (!values) {
#pragma omp atomic write
        *failed = 1;
        return (Scratch){0};
    }
    float *sums = values + points * in_step, *zeros = sums + points * out_step;
    memset(zeros, 0, in * sizeof(float));
    return (Scratch){values, sums, zeros, in_step, out_step};
}

#endif
