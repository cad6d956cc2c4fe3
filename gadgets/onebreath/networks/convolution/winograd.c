/* Convolutions of width 3, along y and x or along time, by Winograd's minimal filtering, in float32.

A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. F(4 x 4, 3 x 3): a tile of 6 x 6
pixels and the kernel are transformed, multiplied element by element and summed over the channels (36 small matrix
products), and transformed back to 4 x 4 pixels: 36 multiplications in place of 144. F(6 x 6, 3 x 3): 8 x 8 pixels to
6 x 6, with 64 in place of 324. F(4, 3) and F(6, 3): the same with 6 or 8 frames of a pixel. The polynomials are
evaluated at 0, 3/4, -3/4, 3/2, -3/2 and infinity, or at 0, 1/2, -1/2, 1, -1, 7/4, -7/4 and infinity. All are exact in
binary. The error of the smaller tile is a third of that with the usual 0, 1, -1, 2, -2; that of the larger tile is
one and a half times as large as with these.

A dilated convolution is one of every d-th pixel for each of d x d offsets. A block of tiles is transformed, multiplied
and transformed back while it stays in the second-level cache. */

#include "products.h"

#define TIME_TILES (6 * TILES) /* of a block, along time */
#define WIDEST 32              /* the largest panel */
#define P 0.75f
#define Q 1.5f
#define A 0.5f
#define B 1.0f
#define C 1.75f

static const double SMALL[5] = {0, P, -P, Q, -Q}, LARGE[7] = {0, A, -A, B, -B, C, -C};

/* So many channels at once: vector_8, load_8, ... */
#define NUMBERS(SIZE)                                                                                                  \
    typedef float vector_##SIZE __attribute__((vector_size(4 * SIZE), aligned(4), may_alias));                         \
    typedef int32_t bits_##SIZE __attribute__((vector_size(4 * SIZE), aligned(4), may_alias));                         \
    static inline vector_##SIZE load_##SIZE(const float *from) { return *(const vector_##SIZE *)from; }                \
    static inline void store_##SIZE(float *to, vector_##SIZE value) { *(vector_##SIZE *)to = value; }

NUMBERS(8)
#ifdef __AVX512F__
NUMBERS(16)
#endif

typedef struct {
    int64_t height, width, out, dilation;
    int64_t rows, columns; /* of tiles, for one offset */
} Problem;

typedef struct {
    int64_t image, y, x; /* the first pixel that it makes */
} Tile;

/* The matrix that takes three taps to the points of a tile with such an edge. */
static void taps_to_points(double g[8][3], int edge) {
    const double *points = edge == 6 ? LARGE : SMALL;
    memset(g, 0, 24 * sizeof(double));
    for (int i = 0; i <= edge; i++) {
        double scale = 1;
        for (int k = 0; k <= edge; k++)
            if (k != i) scale *= points[i] - points[k];
        g[i][0] = 1 / scale;
        g[i][1] = points[i] / scale;
        g[i][2] = points[i] * points[i] / scale;
    }
    g[edge + 1][2] = 1;
}

/* Kernels (out, in, taps) to (point, out / panel, in, panel). Nine taps are 3 x 3 and have (edge + 2)^2 points, three
have edge + 2, and one has itself. */
void onebreath_prepare(const float *kernels, float *prepared, int64_t in, int64_t out, int taps, int edge,
                       int threads) {
    double g[8][3];
    taps_to_points(g, edge);
    const int64_t size = panel(out), points = taps == 1 ? 1 : edge + 2, rows = taps == 9 ? points : 1;
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int64_t o = 0; o < out; o += size)
        for (int64_t c = 0; c < in; c++) {
            double tap[9][WIDEST], row[3][WIDEST]; /* of the kernels of a panel */
            float *to = prepared + o * in + c * size;
            for (int k = 0; k < taps; k++)
                for (int64_t j = 0; j < size; j++) tap[k][j] = kernels[((o + j) * in + c) * taps + k];
            for (int64_t j = 0; taps == 1 && j < size; j++) to[j] = (float)tap[0][j];
            for (int64_t i = 0; taps > 1 && i < rows; i++) {
                for (int x = 0; x < 3; x++)
                    for (int64_t j = 0; j < size; j++)
                        row[x][j] = taps == 3 ? tap[x][j]
                                              : g[i][0] * tap[x][j] + g[i][1] * tap[3 + x][j] + g[i][2] * tap[6 + x][j];
                for (int64_t p = 0; p < points; p++)
                    for (int64_t j = 0; j < size; j++)
                        to[(points * i + p) * in * out + j] =
                            (float)(row[0][j] * g[p][0] + row[1][j] * g[p][1] + row[2][j] * g[p][2]);
            }
        }
}

/* Every d-th of `size` pixels. */
static inline int64_t parted(int64_t size, int64_t d) { return (size + d - 1) / d; }

/* The frame `at`, which may lie before the first or after the last one; NULL: zeros. */
static const float *frame(const float *series, int64_t at, int64_t frames, int64_t size, int circular) {
    if (circular) at = (at % frames + frames) % frames;
    return at >= 0 && at < frames ? series + at * size : NULL;
}

#define JOINED_AS_THEY_ARE(name, size) name##_##size
#define JOINED(name, size) JOINED_AS_THEY_ARE(name, size)

#define EDGE 4
#include "tiles.h"
#define EDGE 6
#include "tiles.h"

/* Whether this processor has the instructions that this file was compiled for. */
int onebreath_runs_here(void) {
#if defined(__AVX512F__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}

/* Convolve along y and x the channels of `parts` images, of which part i has in[i], by tiles whose edge is 4 or 6. The
kernels are of `all` channels, of which the images may have the first ones only. `bias` and `added` may be NULL, `result`
may be `added`. Returns 0, or 1 if memory is short. */
int onebreath_convolve(const float *const *image, const int64_t *in, int64_t parts, const float *prepared, int64_t all,
                       const float *bias, const float *added, float *result, int64_t images, int64_t height,
                       int64_t width, int64_t out, int64_t dilation, int edge, int relu, int threads) {
    return (edge == 6 ? convolve_6 : convolve_4)(image, in, parts, prepared, all, bias, added, result, images, height,
                                                 width, out, dilation, relu, threads);
}

/* Convolve along time. `bias` may be NULL. Returns 0, or 1 if memory is short. */
int onebreath_convolve_in_time(const float *series, const float *prepared, const float *bias, float *result,
                               int64_t batch, int64_t frames, int64_t pixels, int64_t in, int64_t out, int edge,
                               int circular, int threads) {
    return (edge == 6 ? convolve_in_time_6 : convolve_in_time_4)(series, prepared, bias, result, batch, frames, pixels,
                                                                 in, out, circular, threads);
}
