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
#define P 0.75f
#define Q 1.5f
#define A 0.5f
#define B 1.0f
#define C 1.75f

static const double SMALL[5] = {0, P, -P, Q, -Q}, LARGE[7] = {0, A, -A, B, -B, C, -C};

typedef int32_t bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef struct {
    int64_t height, width, out, dilation;
    int64_t rows, columns; /* of tiles, for one offset */
} Problem;

typedef struct {
    int64_t image, y, x; /* the first pixel that it makes */
} Tile;

/* Six pixels along an axis to their values at the six points. */
static inline void transform_4(const vector d[6], vector out[6]) {
    const float pp = P * P, qq = Q * Q;
    vector even1 = d[4] - qq * d[2], odd1 = P * (d[3] - qq * d[1]);
    vector even2 = d[4] - pp * d[2], odd2 = Q * (d[3] - pp * d[1]);
    out[0] = pp * qq * d[0] - (pp + qq) * d[2] + d[4];
    out[1] = even1 + odd1;
    out[2] = even1 - odd1;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = pp * qq * d[1] - (pp + qq) * d[3] + d[5];
}

/* Values at the six points to four pixels. */
static inline void transform_back_4(const vector m[6], vector out[4]) {
    const float pp = P * P, qq = Q * Q;
    vector sum1 = m[1] + m[2], difference1 = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    out[0] = m[0] + sum1 + sum2;
    out[1] = P * difference1 + Q * difference2;
    out[2] = pp * sum1 + qq * sum2;
    out[3] = P * pp * difference1 + Q * qq * difference2 + m[5];
}

/* Eight pixels along an axis to their values at the eight points. */
static inline void transform_6(const vector d[8], vector out[8]) {
    const float aa = A * A, bb = B * B, cc = C * C;
    vector even1 = d[6] - (bb + cc) * d[4] + bb * cc * d[2], odd1 = A * (d[5] - (bb + cc) * d[3] + bb * cc * d[1]);
    vector even2 = d[6] - (aa + cc) * d[4] + aa * cc * d[2], odd2 = B * (d[5] - (aa + cc) * d[3] + aa * cc * d[1]);
    vector even3 = d[6] - (aa + bb) * d[4] + aa * bb * d[2], odd3 = C * (d[5] - (aa + bb) * d[3] + aa * bb * d[1]);
    const float one = aa + bb + cc, two = aa * bb + bb * cc + cc * aa, three = aa * bb * cc;
    out[0] = d[6] - one * d[4] + two * d[2] - three * d[0];
    out[1] = even1 + odd1;
    out[2] = even1 - odd1;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = even3 + odd3;
    out[6] = even3 - odd3;
    out[7] = d[7] - one * d[5] + two * d[3] - three * d[1];
}

/* Values at the eight points to six pixels. */
static inline void transform_back_6(const vector m[8], vector out[6]) {
    const float aa = A * A, bb = B * B, cc = C * C;
    vector sum1 = m[1] + m[2], sum2 = m[3] + m[4], sum3 = m[5] + m[6];
    vector odd1 = A * (m[1] - m[2]), odd2 = B * (m[3] - m[4]), odd3 = C * (m[5] - m[6]);
    out[0] = m[0] + sum1 + sum2 + sum3;
    out[1] = odd1 + odd2 + odd3;
    out[2] = aa * sum1 + bb * sum2 + cc * sum3;
    out[3] = aa * odd1 + bb * odd2 + cc * odd3;
    out[4] = aa * aa * sum1 + bb * bb * sum2 + cc * cc * sum3;
    out[5] = aa * aa * odd1 + bb * bb * odd2 + cc * cc * odd3 + m[7];
}

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
    const int64_t size = panel(out), points = edge + 2;
#pragma omp parallel for num_threads(threads)
    for (int64_t o = 0; o < out; o++)
        for (int64_t c = 0; c < in; c++) {
            const float *kernel = kernels + (o * in + c) * taps;
            float *to = prepared + (o / size * in + c) * size + o % size;
            if (taps == 1) *to = *kernel;
            for (int i = 0; taps == 3 && i < points; i++)
                to[i * in * out] = (float)(g[i][0] * kernel[0] + g[i][1] * kernel[1] + g[i][2] * kernel[2]);
            for (int i = 0; taps == 9 && i < points; i++) {
                double row[3];
                for (int x = 0; x < 3; x++)
                    row[x] = g[i][0] * kernel[x] + g[i][1] * kernel[3 + x] + g[i][2] * kernel[6 + x];
                for (int j = 0; j < points; j++)
                    to[(points * i + j) * in * out] = (float)(row[0] * g[j][0] + row[1] * g[j][1] + row[2] * g[j][2]);
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

#define EDGE 4
#include "tiles.h"
#define EDGE 6
#include "tiles.h"

/* Whether this processor has the instructions that this file was compiled for. */
int onebreath_runs_here(void) {
#if defined(__x86_64__) && defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}

/* Convolve along y and x the channels of `parts` images, of which part i has in[i], by tiles whose edge is 4 or 6.
`bias` and `added` may be NULL, `result` may be `added`. Returns 0, or 1 if memory is short. */
int onebreath_convolve(const float *const *image, const int64_t *in, int64_t parts, const float *prepared,
                       const float *bias, const float *added, float *result, int64_t images, int64_t height,
                       int64_t width, int64_t out, int64_t dilation, int edge, int relu, int threads) {
    return (edge == 6 ? convolve_6 : convolve_4)(image, in, parts, prepared, bias, added, result, images, height, width,
                                                 out, dilation, relu, threads);
}

/* Convolve along time. `bias` may be NULL. Returns 0, or 1 if memory is short. */
int onebreath_convolve_in_time(const float *series, const float *prepared, const float *bias, float *result,
                               int64_t batch, int64_t frames, int64_t pixels, int64_t in, int64_t out, int edge,
                               int circular, int threads) {
    return (edge == 6 ? convolve_in_time_6 : convolve_in_time_4)(series, prepared, bias, result, batch, frames, pixels,
                                                                 in, out, circular, threads);
}
