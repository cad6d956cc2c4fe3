/* Convolutions by tiles with an edge of EDGE pixels, which is defined before this file is included: see winograd.c. */

#define POINTS (EDGE + 2)
#define JOINED(name, edge) name##_##edge
#define WITH_EDGE(name, edge) JOINED(name, edge)
#define TILED(name) WITH_EDGE(name, EDGE)

static Tile TILED(find)(const Problem *p, int64_t index) {
    int64_t d = p->dilation, column = index % p->columns, row = index / p->columns % p->rows;
    int64_t offset = index / p->columns / p->rows;
    return (Tile){offset / d / d, offset / d % d + EDGE * row * d, offset % d + EDGE * column * d};
}

/* The transform of a tile's pixels, whose points lie `step` apart; pixels outside of the image are zero. */
static void TILED(analyse)(const Problem *p, Tile tile, const float *image, int64_t in, const float *zeros, float *to,
                           int64_t step) {
    const int64_t next = EDGE * p->dilation * in; /* from a pixel to that of the next tile, which is asked for early */
    const float *pixels[POINTS][POINTS];
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < POINTS; j++) {
            int64_t y = tile.y + (i - 1) * p->dilation, x = tile.x + (j - 1) * p->dilation;
            int inside = y >= 0 && y < p->height && x >= 0 && x < p->width;
            pixels[i][j] = inside ? image + ((tile.image * p->height + y) * p->width + x) * in : zeros;
        }
    for (int64_t c = 0; c < in; c += LANES) {
        vector half[POINTS][POINTS];
        if (c % LINE == 0)
            for (int i = 0; i < POINTS; i++)
                for (int j = 2; j < POINTS; j++) __builtin_prefetch(pixels[i][j] + c + next, 0, 2);
        for (int j = 0; j < POINTS; j++) {
            vector column[POINTS], out[POINTS];
            for (int i = 0; i < POINTS; i++) column[i] = load(pixels[i][j] + c);
            TILED(transform)(column, out);
            for (int i = 0; i < POINTS; i++) half[i][j] = out[i];
        }
        for (int i = 0; i < POINTS; i++) {
            vector out[POINTS];
            TILED(transform)(half[i], out);
            for (int j = 0; j < POINTS; j++) store(to + (POINTS * i + j) * step + c, out[j]);
        }
    }
}

/* Sums over the channels at the points, to pixels: plus bias, plus `added`, the negative ones to zero if `relu`. */
static void TILED(synthesise)(const Problem *p, Tile tile, const float *from, int64_t step, const float *bias,
                              const float *added, int relu, float *image) {
    for (int64_t c = 0; c < p->out; c += LANES) {
        vector half[EDGE][POINTS], constant = bias ? load(bias + c) : (vector){0};
        for (int j = 0; j < POINTS; j++) {
            vector column[POINTS], out[EDGE];
            for (int i = 0; i < POINTS; i++) column[i] = load(from + (POINTS * i + j) * step + c);
            TILED(transform_back)(column, out);
            for (int i = 0; i < EDGE; i++) half[i][j] = out[i];
        }
        for (int i = 0; i < EDGE; i++) {
            int64_t y = tile.y + i * p->dilation;
            vector out[EDGE];
            TILED(transform_back)(half[i], out);
            for (int j = 0; j < EDGE; j++) {
                int64_t x = tile.x + j * p->dilation, at = ((tile.image * p->height + y) * p->width + x) * p->out + c;
                if (y >= p->height || x >= p->width) continue;
                vector value = out[j] + constant;
                if (c % LINE == 0) __builtin_prefetch(image + at + EDGE * p->dilation * p->out, 1, 2);
                if (added) value += load(added + at);
                if (relu) value = (vector)((bits)value & ~(bits)(value <= 0)); /* NaN stays */
                store(image + at, value);
            }
        }
    }
}

/* See onebreath_convolve in winograd.c. */
static int TILED(convolve)(const float *const *image, const int64_t *in, int64_t parts, const float *prepared,
                           const float *bias, const float *added, float *result, int64_t images, int64_t height,
                           int64_t width, int64_t out, int64_t dilation, int relu, int threads) {
    const int64_t rows = (parted(height, dilation) + EDGE - 1) / EDGE;
    const int64_t columns = (parted(width, dilation) + EDGE - 1) / EDGE;
    const Problem p = {height, width, out, dilation, rows, columns};
    const int64_t tiles = images * dilation * dilation * rows * columns;
    int64_t all = 0;
    int failed = 0;
    for (int64_t i = 0; i < parts; i++) all += in[i];
#pragma omp parallel num_threads(threads)
    {
        Scratch s = allocate(POINTS * POINTS, TILES, all, out, &failed);
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < tiles; first += TILES) {
            if (!s.values) continue;
            int64_t count = tiles - first < TILES ? tiles - first : TILES;
            for (int64_t t = 0; t < count; t++) {
                float *to = s.values + t * all;
                for (int64_t i = 0; i < parts; to += in[i], i++)
                    TILED(analyse)(&p, TILED(find)(&p, first + t), image[i], in[i], s.zeros, to, s.in_step);
            }
            for (int i = 0; i < POINTS * POINTS; i++)
                multiply(s.values + i * s.in_step, prepared + i * all * out, s.sums + i * s.out_step, count, all, out);
            for (int64_t t = 0; t < count; t++) {
                Tile tile = TILED(find)(&p, first + t);
                TILED(synthesise)(&p, tile, s.sums + t * out, s.out_step, bias, added, relu, result);
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
            for (int64_t c = 0; c < count * in; c += LANES) {
                vector given[POINTS], values[POINTS];
                for (int i = 0; i < POINTS; i++) given[i] = taps[i] ? load(taps[i] + c) : (vector){0};
                TILED(transform)(given, values);
                for (int i = 0; i < POINTS; i++) store(s.values + i * s.in_step + c, values[i]);
            }
            for (int i = 0; i < POINTS; i++)
                multiply(s.values + i * s.in_step, prepared + i * in * out, s.sums + i * s.out_step, count, in, out);
            float *to = result + ((before + start) * pixels + pixel) * out;
            for (int64_t t = 0; t < count; t++)
                for (int64_t c = 0; c < out; c += LANES) {
                    vector sums[POINTS], values[EDGE], constant = bias ? load(bias + c) : (vector){0};
                    for (int i = 0; i < POINTS; i++) sums[i] = load(s.sums + i * s.out_step + t * out + c);
                    TILED(transform_back)(sums, values);
                    for (int i = 0; i < EDGE && start + i < frames; i++)
                        store(to + (i * pixels + t) * out + c, values[i] + constant);
                }
        }
        free(s.values);
    }
    return failed;
}

#undef TILED
#undef WITH_EDGE
#undef JOINED
#undef POINTS
#undef EDGE
