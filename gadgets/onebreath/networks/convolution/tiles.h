/* Convolutions by tiles with an edge of EDGE pixels, which is defined before this file is included: see winograd.c. */

#define POINTS (EDGE + 2)
#define TILED(name) JOINED(name, EDGE)

#define SIZE 8
#include "transforms.h"
#ifdef __AVX512F__
#define SIZE 16
#include "transforms.h"
/* The function for such a number of channels. */
#define FOR(channels, name) ((channels) % 16 ? JOINED(TILED(name), 8) : JOINED(TILED(name), 16))
#else
#define FOR(channels, name) JOINED(TILED(name), 8)
#endif

static Tile TILED(find)(const Problem *p, int64_t index) {
    int64_t d = p->dilation, column = index % p->columns, row = index / p->columns % p->rows;
    int64_t offset = index / p->columns / p->rows;
    return (Tile){offset / d / d, offset / d % d + EDGE * row * d, offset % d + EDGE * column * d};
}

/* See onebreath_convolve in winograd.c. */
static int TILED(convolve)(const float *const *image, const int64_t *in, int64_t parts, const float *prepared,
                           int64_t all, const float *bias, const float *added, float *result, int64_t images,
                           int64_t height, int64_t width, int64_t out, int64_t dilation, int relu, int threads) {
    const int64_t rows = (parted(height, dilation) + EDGE - 1) / EDGE;
    const int64_t columns = (parted(width, dilation) + EDGE - 1) / EDGE;
    const Problem p = {height, width, out, dilation, rows, columns};
    const int64_t tiles = images * dilation * dilation * rows * columns;
    int64_t given = 0;
    int failed = 0;
    for (int64_t i = 0; i < parts; i++) given += in[i];
#pragma omp parallel num_threads(threads)
    {
        Scratch s = allocate(POINTS * POINTS, TILES, given, out, &failed);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < tiles; first += TILES) {
            if (!s.values) continue;
            int64_t count = tiles - first < TILES ? tiles - first : TILES;
            for (int64_t t = 0; t < count; t++) {
                float *to = s.values + t * given;
                for (int64_t i = 0; i < parts; to += in[i], i++)
                    FOR(in[i], analyse)(&p, TILED(find)(&p, first + t), image[i], in[i], s.zeros, to, s.in_step);
            }
            for (int i = 0; i < POINTS * POINTS; i++)
                multiply(s.values + i * s.in_step, prepared + i * all * out, s.sums + i * s.out_step, count, given, all,
                         out);
            for (int64_t t = 0; t < count; t++) {
                Tile tile = TILED(find)(&p, first + t);
                FOR(out, synthesise)(&p, tile, s.sums + t * out, s.out_step, bias, added, relu, result);
            }
        }
        free(s.values);
    }
    return failed;
}

/* See onebreath_convolve_in_time in winograd.c. */
static int TILED(convolve_in_time)(const float *series, const float *prepared, const float *bias, float *result,
                                   int64_t batch, int64_t frames, int64_t pixels, int64_t in, int64_t out, int circular,
                                   int threads) {
    const int64_t groups = (frames + EDGE - 1) / EDGE, blocks = (pixels + TIME_TILES - 1) / TIME_TILES;
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        Scratch s = allocate(POINTS, TIME_TILES, in, out, &failed);
#pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < batch * groups * blocks; index++) {
            if (!s.values) continue;
            int64_t start = index / blocks % groups * EDGE, pixel = index % blocks * TIME_TILES;
            int64_t count = pixels - pixel < TIME_TILES ? pixels - pixel : TIME_TILES;
            int64_t before = index / blocks / groups * frames; /* frames of earlier series of the batch */
            const float *taps[POINTS];
            for (int i = 0; i < POINTS; i++)
                taps[i] = frame(series + (before * pixels + pixel) * in, start + i - 1, frames, pixels * in, circular);
            FOR(in, analyse_in_time)(taps, count * in, s.values, s.in_step);
            for (int i = 0; i < POINTS; i++)
                multiply(s.values + i * s.in_step, prepared + i * in * out, s.sums + i * s.out_step, count, in, in, out);
            float *to = result + ((before + start) * pixels + pixel) * out;
            for (int64_t t = 0; t < count; t++)
                FOR(out, synthesise_in_time)(s.sums + t * out, s.out_step, bias, out, to + t * out, pixels * out,
                                             frames - start);
        }
        free(s.values);
    }
    return failed;
}

#undef FOR
#undef TILED
#undef POINTS
#undef EDGE
