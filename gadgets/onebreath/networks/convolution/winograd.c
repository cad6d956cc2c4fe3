/* Convolutions of width 3, along y and x or along time, by Winograd's minimal filtering, in float32.

A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016. F(4 x 4, 3 x 3): a tile of 6 x 6
pixels and the kernel are transformed, multiplied element by element and summed over the channels (36 small matrix
products), and transformed back to 4 x 4 pixels: 36 multiplications in place of 144. F(4, 3): the same with 6 frames of
a pixel, 6 multiplications in place of 12. The polynomials are evaluated at 0, 3/4, -3/4, 3/2, -3/2 and infinity. All
are exact in binary, and the error is a quarter of that with the usual 0, 1, -1, 2, -2.

A dilated convolution is one of every d-th pixel for each of d x d offsets. A block of tiles is transformed, multiplied
and transformed back while it stays in the second-level cache. */

#include "products.h"

#define TIME_TILES (6 * TILES) /* of a block, along time */
#define P 0.75f
#define Q 1.5f

typedef int32_t bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef struct {
    int64_t height, width, out, dilation;
    int64_t rows, columns; /* of tiles, for one offset */
} Problem;

typedef struct {
    int64_t image, y, x; /* the first pixel that it makes */
} Tile;

/* Six pixels along an axis to their values at the six points. */
static inline void transform(const vector d[6], vector out[6]) {
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
static inline void transform_back(const vector m[6], vector out[4]) {
    const float pp = P * P, qq = Q * Q;
    vector sum1 = m[1] + m[2], difference1 = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    out[0] = m[0] + sum1 + sum2;
    out[1] = P * difference1 + Q * difference2;
    out[2] = pp * sum1 + qq * sum2;
    out[3] = P * pp * difference1 + Q * qq * difference2 + m[5];
}

/* The matrix that takes three taps to the six points. */
static void taps_to_points(double g[6][3]) {
    const double pp = P * P, qq = Q * Q, points[4] = {P, -P, Q, -Q};
    memset(g, 0, 18 * sizeof(double));
    g[0][0] = 1 / (pp * qq);
    for (int i = 0; i < 4; i++) {
        double square = points[i] * points[i], scale = 2 * square * (square - (i < 2 ? qq : pp));
        g[i + 1][0] = 1 / scale;
        g[i + 1][1] = points[i] / scale;
        g[i + 1][2] = square / scale;
    }
    g[5][2] = 1;
}

/* Kernels (out, in, taps) to (point, out / panel, in, panel). Nine taps are 3 x 3 and have 36 points, three have 6, and
one has itself. */
void onebreath_prepare(const float *kernels, float *prepared, int64_t in, int64_t out, int taps, int threads) {
    double g[6][3];
    taps_to_points(g);
    int64_t size = panel(out);
#pragma omp parallel for num_threads(threads)
    for (int64_t o = 0; o < out; o++)
        for (int64_t c = 0; c < in; c++) {
            const float *kernel = kernels + (o * in + c) * taps;
            float *to = prepared + (o / size * in + c) * size + o % size;
            if (taps == 1) *to = *kernel;
            for (int i = 0; taps == 3 && i < 6; i++)
                to[i * in * out] = (float)(g[i][0] * kernel[0] + g[i][1] * kernel[1] + g[i][2] * kernel[2]);
            for (int i = 0; taps == 9 && i < 6; i++) {
                double row[3];
                for (int x = 0; x < 3; x++)
                    row[x] = g[i][0] * kernel[x] + g[i][1] * kernel[3 + x] + g[i][2] * kernel[6 + x];
                for (int j = 0; j < 6; j++)
                    to[(6 * i + j) * in * out] = (float)(row[0] * g[j][0] + row[1] * g[j][1] + row[2] * g[j][2]);
            }
        }
}

static Tile find(const Problem *p, int64_t index) {
    int64_t d = p->dilation, column = index % p->columns, row = index / p->columns % p->rows;
    int64_t offset = index / p->columns / p->rows;
    return (Tile){offset / d / d, offset / d % d + 4 * row * d, offset % d + 4 * column * d};
}

/* The transform of a tile's pixels, whose points lie `step` apart; pixels outside of the image are zero. */
static void analyse(const Problem *p, Tile tile, const float *image, int64_t in, const float *zeros, float *to,
                    int64_t step) {
    const int64_t next = 4 * p->dilation * in; /* from a pixel to that of the next tile, which is asked for early */
    const float *pixels[6][6];
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            int64_t y = tile.y + (i - 1) * p->dilation, x = tile.x + (j - 1) * p->dilation;
            int inside = y >= 0 && y < p->height && x >= 0 && x < p->width;
            pixels[i][j] = inside ? image + ((tile.image * p->height + y) * p->width + x) * in : zeros;
        }
    for (int64_t c = 0; c < in; c += LANES) {
        vector half[6][6];
        if (c % LINE == 0)
            for (int i = 0; i < 6; i++)
                for (int j = 2; j < 6; j++) __builtin_prefetch(pixels[i][j] + c + next, 0, 2);
        for (int j = 0; j < 6; j++) {
            vector column[6], out[6];
            for (int i = 0; i < 6; i++) column[i] = load(pixels[i][j] + c);
            transform(column, out);
            for (int i = 0; i < 6; i++) half[i][j] = out[i];
        }
        for (int i = 0; i < 6; i++) {
            vector out[6];
            transform(half[i], out);
            for (int j = 0; j < 6; j++) store(to + (6 * i + j) * step + c, out[j]);
        }
    }
}

/* Sums over the channels at the points, to pixels: plus bias, plus `added`, the negative ones to zero if `relu`. */
static void synthesise(const Problem *p, Tile tile, const float *from, int64_t step, const float *bias,
                       const float *added, int relu, float *image) {
    for (int64_t c = 0; c < p->out; c += LANES) {
        vector half[4][6], constant = bias ? load(bias + c) : (vector){0};
        for (int j = 0; j < 6; j++) {
            vector column[6], out[4];
            for (int i = 0; i < 6; i++) column[i] = load(from + (6 * i + j) * step + c);
            transform_back(column, out);
            for (int i = 0; i < 4; i++) half[i][j] = out[i];
        }
        for (int i = 0; i < 4; i++) {
            int64_t y = tile.y + i * p->dilation;
            vector out[4];
            transform_back(half[i], out);
            for (int j = 0; j < 4; j++) {
                int64_t x = tile.x + j * p->dilation, at = ((tile.image * p->height + y) * p->width + x) * p->out + c;
                if (y >= p->height || x >= p->width) continue;
                vector value = out[j] + constant;
                if (c % LINE == 0) __builtin_prefetch(image + at + 4 * p->dilation * p->out, 1, 2);
                if (added) value += load(added + at);
                if (relu) value = (vector)((bits)value & ~(bits)(value <= 0)); /* NaN stays */
                store(image + at, value);
            }
        }
    }
}

/* Whether this processor has the instructions that this file was compiled for. */
int onebreath_runs_here(void) {
#if defined(__x86_64__) && defined(__AVX2__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}

/* Convolve along y and x the channels of `parts` images, of which part i has in[i]. `bias` and `added` may be NULL,
`result` may be `added`. Returns 0, or 1 if memory is short. */
int onebreath_convolve(const float *const *image, const int64_t *in, int64_t parts, const float *prepared,
                       const float *bias, const float *added, float *result, int64_t images, int64_t height,
                       int64_t width, int64_t out, int64_t dilation, int relu, int threads) {
    int64_t rows = ((height + dilation - 1) / dilation + 3) / 4, columns = ((width + dilation - 1) / dilation + 3) / 4;
    const Problem p = {height, width, out, dilation, rows, columns};
    const int64_t tiles = images * dilation * dilation * rows * columns;
    int64_t all = 0;
    int failed = 0;
    for (int64_t i = 0; i < parts; i++) all += in[i];
#pragma omp parallel num_threads(threads)
    {
        Scratch s = allocate(36, TILES, all, out, &failed);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < tiles; first += TILES) {
            if (!s.values) continue;
            int64_t count = tiles - first < TILES ? tiles - first : TILES;
            for (int64_t t = 0; t < count; t++) {
                float *to = s.values + t * all;
                for (int64_t i = 0; i < parts; to += in[i], i++)
                    analyse(&p, find(&p, first + t), image[i], in[i], s.zeros, to, s.in_step);
            }
            for (int i = 0; i < 36; i++)
                multiply(s.values + i * s.in_step, prepared + i * all * out, s.sums + i * s.out_step, count, all, out);
            for (int64_t t = 0; t < count; t++)
                synthesise(&p, find(&p, first + t), s.sums + t * out, s.out_step, bias, added, relu, result);
        }
        free(s.values);
    }
    return failed;
}

/* The frame `at`, which may lie before the first or after the last one; NULL: zeros. */
static const float *frame(const float *series, int64_t at, int64_t frames, int64_t size, int circular) {
    if (circular) at = (at % frames + frames) % frames;
    return at >= 0 && at < frames ? series + at * size : NULL;
}

/* Convolve along time. `bias` may be NULL. Returns 0, or 1 if memory is short. */
int onebreath_convolve_in_time(const float *series, const float *prepared, const float *bias, float *result,
                               int64_t batch, int64_t frames, int64_t pixels, int64_t in, int64_t out, int circular,
                               int threads) {
    const int64_t groups = (frames + 3) / 4, blocks = (pixels + TIME_TILES - 1) / TIME_TILES;
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        Scratch s = allocate(6, TIME_TILES, in, out, &failed);
#pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < batch * groups * blocks; index++) {
            if (!s.values) continue;
            int64_t start = index / blocks % groups * 4, pixel = index % blocks * TIME_TILES;
            int64_t count = pixels - pixel < TIME_TILES ? pixels - pixel : TIME_TILES;
            int64_t before = index / blocks / groups * frames; /* frames of earlier series of the batch */
            const float *taps[6];
            for (int i = 0; i < 6; i++)
                taps[i] = frame(series + (before * pixels + pixel) * in, start + i - 1, frames, pixels * in, circular);
            for (int64_t c = 0; c < count * in; c += LANES) {
                vector given[6], values[6];
                for (int i = 0; i < 6; i++) given[i] = taps[i] ? load(taps[i] + c) : (vector){0};
                transform(given, values);
                for (int i = 0; i < 6; i++) store(s.values + i * s.in_step + c, values[i]);
            }
            for (int i = 0; i < 6; i++)
                multiply(s.values + i * s.in_step, prepared + i * in * out, s.sums + i * s.out_step, count, in, out);
            float *to = result + ((before + start) * pixels + pixel) * out;
            for (int64_t t = 0; t < count; t++)
                for (int64_t c = 0; c < out; c += LANES) {
                    vector sums[6], values[4], constant = bias ? load(bias + c) : (vector){0};
                    for (int i = 0; i < 6; i++) sums[i] = load(s.sums + i * s.out_step + t * out + c);
                    transform_back(sums, values);
                    for (int i = 0; i < 4 && start + i < frames; i++)
                        store(to + (i * pixels + t) * out + c, values[i] + constant);
                }
        }
        free(s.values);
    }
    return failed;
}
