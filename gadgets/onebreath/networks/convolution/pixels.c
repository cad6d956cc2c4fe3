/* Convolutions of single pixels (1 x 1), whose result is added to what lies there while it is in the cache. */

#include "products.h"

#define PIXELS (2 * TILES) /* of a block */

/* Multiply the channels of each pixel with a matrix. `bias` and `added` may be NULL, `result` may be `added`. Returns 0,
or 1 if memory is short. */
int onebreath_convolve_pixels(const float *image, const float *prepared, const float *bias, const float *added,
                              float *result, int64_t pixels, int64_t in, int64_t out, int relu, int threads) {
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        Scratch s = allocate(1, PIXELS, in, out, &failed);
#pragma omp for schedule(static)
        for (int64_t first = 0; first < pixels; first += PIXELS) {
            if (!s.values) continue;
            int64_t count = pixels - first < PIXELS ? pixels - first : PIXELS;
            const float *from = image + first * in, *more = added ? added + first * out : NULL;
            float *to = result + first * out;
            /* What is needed next comes while numbers are multiplied. */
            for (int64_t i = 0; i < count * in; i += LINE) __builtin_prefetch(from + PIXELS * in + i, 0, 2);
            for (int64_t i = 0; added && i < count * out; i += LINE) __builtin_prefetch(more + i, 1, 2);
            if (count % TILES) /* there may be nothing to read after the last pixel */
                from = memcpy(s.values, from, count * in * sizeof(float));
            multiply(from, prepared, s.sums, count, in, in, out);
            for (int64_t t = 0; t < count; t++, to += out)
#pragma omp simd
                for (int64_t o = 0; o < out; o++) {
                    float value = s.sums[t * out + o];
                    if (bias) value += bias[o];
                    if (more) value += more[t * out + o];
                    to[o] = relu && value <= 0 ? 0 : value; /* NaN stays */
                }
        }
        free(s.values);
    }
    return failed;
}
