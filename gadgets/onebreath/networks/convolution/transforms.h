/* Transforms of SIZE channels at once, for tiles with an edge of EDGE pixels. Both are defined before this file is
included: see tiles.h. */

#define VECTORS(name) JOINED(TILED(name), SIZE)
#define vector JOINED(vector, SIZE)
#define bits JOINED(bits, SIZE)
#define load JOINED(load, SIZE)
#define store JOINED(store, SIZE)

#if EDGE == 4
/* Six pixels along an axis to their values at the six points. */
static inline void VECTORS(transform)(const vector d[6], vector out[6]) {
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
static inline void VECTORS(transform_back)(const vector m[6], vector out[4]) {
    const float pp = P * P, qq = Q * Q;
    vector sum1 = m[1] + m[2], difference1 = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    out[0] = m[0] + sum1 + sum2;
    out[1] = P * difference1 + Q * difference2;
    out[2] = pp * sum1 + qq * sum2;
    out[3] = P * pp * difference1 + Q * qq * difference2 + m[5];
}
#else
/* Eight pixels along an axis to their values at the eight points. */
static inline void VECTORS(transform)(const vector d[8], vector out[8]) {
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
static inline void VECTORS(transform_back)(const vector m[8], vector out[6]) {
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
#endif

/* The transform of a tile's pixels, whose points lie `step` apart; pixels outside of the image are zero. */
static void VECTORS(analyse)(const Problem *p, Tile tile, const float *image, int64_t in, const float *zeros, float *to,
                           int64_t step) {
    const int64_t next = EDGE * p->dilation * in; /* from a pixel to that of the next tile, which is asked for early */
    const float *pixels[POINTS][POINTS];
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < POINTS; j++) {
            int64_t y = tile.y + (i - 1) * p->dilation, x = tile.x + (j - 1) * p->dilation;
            int inside = y >= 0 && y < p->height && x >= 0 && x < p->width;
            pixels[i][j] = inside ? image + ((tile.image * p->height + y) * p->width + x) * in : zeros;
        }
    for (int64_t c = 0; c < in; c += SIZE) {
        vector half[POINTS][POINTS];
        if (c % LINE == 0)
            for (int i = 0; i < POINTS; i++)
                for (int j = 2; j < POINTS; j++) __builtin_prefetch(pixels[i][j] + c + next, 0, 2);
        for (int j = 0; j < POINTS; j++) {
            vector column[POINTS], out[POINTS];
            for (int i = 0; i < POINTS; i++) column[i] = load(pixels[i][j] + c);
            VECTORS(transform)(column, out);
            for (int i = 0; i < POINTS; i++) half[i][j] = out[i];
        }
        for (int i = 0; i < POINTS; i++) {
            vector out[POINTS];
            VECTORS(transform)(half[i], out);
            for (int j = 0; j < POINTS; j++) {
                store(to + (POINTS * i + j) * step + c, out[j]);
                __builtin_prefetch(to + (POINTS * i + j) * step + c + LINE, 1, 3); /* written next */
            }
        }
    }
}

/* Sums over the channels at the points, to pixels: plus bias, plus `added`, the negative ones to zero if `relu`. */
static void VECTORS(synthesise)(const Problem *p, Tile tile, const float *from, int64_t step, const float *bias,
                              const float *added, int relu, float *image) {
    for (int64_t c = 0; c < p->out; c += SIZE) {
        vector half[EDGE][POINTS], constant = bias ? load(bias + c) : (vector){0};
        for (int j = 0; j < POINTS; j++) {
            vector column[POINTS], out[EDGE];
            for (int i = 0; i < POINTS; i++) column[i] = load(from + (POINTS * i + j) * step + c);
            VECTORS(transform_back)(column, out);
            for (int i = 0; i < EDGE; i++) half[i][j] = out[i];
        }
        for (int i = 0; i < EDGE; i++) {
            int64_t y = tile.y + i * p->dilation;
            vector out[EDGE];
            VECTORS(transform_back)(half[i], out);
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

/* Frames of `count` numbers to their values at the points, which lie `step` apart; frames that are NULL are zero. */
static void VECTORS(analyse_in_time)(const float *const *frames, int64_t count, float *to, int64_t step) {
    for (int64_t c = 0; c < count; c += SIZE) {
        vector given[POINTS], values[POINTS];
        for (int i = 0; i < POINTS; i++) given[i] = frames[i] ? load(frames[i] + c) : (vector){0};
        VECTORS(transform)(given, values);
        for (int i = 0; i < POINTS; i++) store(to + i * step + c, values[i]);
    }
}

/* Sums over the channels of a pixel at the points, to `count` frames, which lie `size` apart, plus bias. */
static void VECTORS(synthesise_in_time)(const float *from, int64_t step, const float *bias, int64_t out, float *to,
                                        int64_t size, int64_t count) {
    for (int64_t c = 0; c < out; c += SIZE) {
        vector sums[POINTS], values[EDGE], constant = bias ? load(bias + c) : (vector){0};
        for (int i = 0; i < POINTS; i++) sums[i] = load(from + i * step + c);
        VECTORS(transform_back)(sums, values);
        for (int i = 0; i < EDGE && i < count; i++) store(to + i * size + c, values[i] + constant);
    }
}

#undef VECTORS
#undef vector
#undef bits
#undef load
#undef store
#undef SIZE
