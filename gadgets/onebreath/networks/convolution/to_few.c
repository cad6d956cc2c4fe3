/* Convolutions to few channels, as at the end of a network that makes two planes of an image.

A register holds eight output channels: with two of them most of it would be idle. So each pixel is multiplied with all
taps at once, (side, side, out) as the channels of one product, and pixels gather what their neighbours made for them. */

#include "products.h"

typedef float pair __attribute__((vector_size(8), aligned(4), may_alias));

/* Add to a row of pixels the products for one row of the kernels, which lie `step` apart from pixel to pixel. */
static void gather(float *to, const float *products, int64_t step, int64_t width, int64_t out, int64_t side) {
    for (int64_t i = 0; i < side; i++, products += out) {
        int64_t shift = i - side / 2, first = shift < 0 ? -shift : 0, last = shift > 0 ? width - shift : width;
        const float *from = products + (first + shift) * step;
        if (out == 2)
            for (int64_t x = first; x < last; x++, from += step) *(pair *)(to + 2 * x) += *(const pair *)from;
        else
            for (int64_t x = first; x < last; x++, from += step)
                for (int64_t o = 0; o < out; o++) to[out * x + o] += from[o];
    }
}

/* Convolve with side x side kernels. The taps of a channel are (side, side, out), padded to `all` numbers, a multiple of
LANES; `out` need not be one; `bias` may be NULL. Returns 0, or 1 if memory is short. */
int onebreath_convolve_to_few(const float *image, const float *prepared, const float *bias, float *result,
                              int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int64_t side,
                              int64_t all, int threads) {
    const int64_t parts = images >= 2 * threads ? 1 : (2 * threads + images - 1) / images;
    const int64_t rows = (height + parts - 1) / parts, padded = (width + TILES - 1) / TILES * TILES;
    const int64_t reach = side / 2;
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        /* A row of pixels, and the products of the last `side` rows in turn. */
        Scratch s = allocate(1, padded, in, side * all, &failed);
#pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < images * parts; index++) {
            if (!s.values) continue;
            int64_t n = index / parts, first = index % parts * rows, last = first + rows < height ? first + rows : height;
            for (int64_t y = first > reach ? first - reach : 0; y < last + reach; y++) {
                if (y < height) {
                    memcpy(s.values, image + (n * height + y) * width * in, width * in * sizeof(float));
                    multiply(s.values, prepared, s.sums + y % side * padded * all, padded, in, in, all);
                }
                int64_t made = y - reach; /* the row whose products are complete */
                if (made < first || made >= last) continue;
                float *to = result + (n * height + made) * width * out;
                for (int64_t x = 0; x < width * out; x++) to[x] = bias ? bias[x % out] : 0;
                for (int64_t i = 0; i < side; i++) {
                    int64_t from = made + i - reach;
                    if (from < 0 || from >= height) continue;
                    gather(to, s.sums + from % side * padded * all + i * side * out, all, width, out, side);
                }
            }
        }
        free(s.values);
    }
    return failed;
}
