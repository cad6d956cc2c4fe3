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
#define AHEAD 32 /* rows of a matrix that are asked for before they are multiplied */

/* c[ROWS][COLUMNS] = a[ROWS][depth] b[depth][COLUMNS], all sums in registers, VECTORS of them for a row. The matrix is
asked for early: those of all points and many channels are larger than the second-level cache. */
#define PRODUCT(COLUMNS, ROWS, VECTORS)                                                                                \
    static inline void product_##COLUMNS(const float *a, const float *b, float *c, int64_t depth, int64_t step) {      \
        typedef float vector __attribute__((vector_size(4 * COLUMNS / VECTORS), aligned(4), may_alias));               \
        vector sum[ROWS][VECTORS] = {{{0}}};                                                                           \
        for (int64_t k = 0; k < depth; k++) {                                                                          \
            vector weights[VECTORS];                                                                                   \
            for (int64_t j = 0; j < COLUMNS; j += LINE) __builtin_prefetch(b + (k + AHEAD) * COLUMNS + j, 0, 3);       \
            _Pragma("GCC unroll 3") for (int j = 0; j < VECTORS; j++)                                                  \
                weights[j] = ((const vector *)(b + k * COLUMNS))[j];                                                   \
            _Pragma("GCC unroll 12") for (int i = 0; i < ROWS; i++) {                                                  \
                float value = a[i * depth + k];                                                                        \
                _Pragma("GCC unroll 3") for (int j = 0; j < VECTORS; j++) sum[i][j] += value * weights[j];             \
            }                                                                                                          \
        }                                                                                                              \
        for (int i = 0; i < ROWS; i++)                                                                                 \
            for (int j = 0; j < VECTORS; j++) ((vector *)(c + i * step))[j] = sum[i][j];                               \
    }                                                                                                                  \
    static inline void multiply_##COLUMNS(const float *a, const float *b, float *c, int64_t count, int64_t in,         \
                                          int64_t out) {                                                               \
        for (int64_t t = 0; t < count; t += ROWS) product_##COLUMNS(a + t * in, b, c + t * out, in, out);              \
    }

/* As many sums as there are registers for: 16 of eight numbers, or 32 of sixteen. */
#ifdef __AVX512F__
PRODUCT(32, 12, 2)
PRODUCT(24, 6, 3)
PRODUCT(16, 12, 1)
#else
PRODUCT(24, 4, 3)
PRODUCT(16, 6, 2)
#endif
PRODUCT(8, 12, 1)

/* Output channels that one product makes. */
static inline int64_t panel(int64_t out) {
#ifdef __AVX512F__
    if (out % 32 == 0) return 32;
#endif
    return out % 16 == 0 ? 16 : out % 24 == 0 ? 24 : 8;
}

/* Multiply `count` rows of `in` channels with the first of `all` rows of a matrix (out / panel, all, panel). Rows up to
the next multiple of TILES are read and written, too, whatever they hold. */
static inline void multiply(const float *a, const float *b, float *c, int64_t count, int64_t in, int64_t all,
                            int64_t out) {
    int64_t size = panel(out);
    for (int64_t o = 0; o < out; o += size, b += all * size, c += size) {
#ifdef __AVX512F__
        if (size == 32) multiply_32(a, b, c, count, in, out);
#endif
        if (size == 24) multiply_24(a, b, c, count, in, out);
        if (size == 16) multiply_16(a, b, c, count, in, out);
        if (size == 8) multiply_8(a, b, c, count, in, out);
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
