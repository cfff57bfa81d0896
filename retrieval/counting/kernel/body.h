/* The kernel itself, for one instruction set. Included by kernel.c once for each, with these macros, which it
 * undefines:
 *
 *   NAME(x)  the name x of this version          TARGET   the function attribute that allows its instructions
 *   W        32-bit lanes of a vector            MR       rows of a register tile (2 vectors of concepts wide)
 *   LOAD_HALVES(p)  W float16 as W floats        ROUND(v) floats to nearest integers
 *   SPLAT_FLOAT(x), SPLAT_WORD(x)  one number in all lanes
 *   LOW_DOUBLES(v), HIGH_DOUBLES(v)  half the lanes as doubles     BITS(mask)  one bit a lane
 *   DOT16(acc, a, b)    adds products of int16 pairs     DOT8(acc, a, b) adds products of uint8 by int8 quadruples
 *
 * Rows are taken MR at a time against panels of NR = 2 W concepts. Sums stay in registers until all of the dimension is
 * summed, are compared there, and leave only as counts; the few that a threshold's band holds are settled at once by
 * the float64 dot of the stored float16 values, which is exact (see docs/counting.md).
 */

#define NR (2 * W)

typedef float NAME(Floats) __attribute__((vector_size(4 * W), may_alias));
typedef int32_t NAME(Ints) __attribute__((vector_size(4 * W), may_alias));
typedef double NAME(Doubles) __attribute__((vector_size(4 * W)));
typedef int16_t NAME(Shorts) __attribute__((vector_size(2 * W), aligned(2), may_alias));
typedef uint8_t NAME(Bytes) __attribute__((vector_size(W), aligned(1), may_alias));
/* The same, at any address: numpy's arrays begin where they like. */
typedef float NAME(LooseFloats) __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t NAME(LooseInts) __attribute__((vector_size(4 * W), aligned(4), may_alias));
#define Floats NAME(Floats)
#define Ints NAME(Ints)

#define INLINE static inline __attribute__((always_inline)) TARGET

/* Row by row: convert, check the length, and lay out as the product wants them. */

/* Lane by lane: a where the mask is set, else b. */
INLINE Floats NAME(select)(Ints mask, Floats a, Floats b) { return (Floats)(((Ints)a & mask) | ((Ints)b & ~mask)); }

INLINE float NAME(sum)(Floats v) {
    float total = 0;
    for (int lane = 0; lane < W; lane++) total += v[lane];
    return total;
}

/* Loads W halves from position k on; what lies beyond the dimension is zero. */
INLINE Floats NAME(load)(const uint16_t *row, int64_t k, int64_t dimension) {
    if (k + W <= dimension) return LOAD_HALVES(row + k);
    uint16_t tail[W] = {0};
    for (int64_t i = k; i < dimension; i++) tail[i - k] = row[i];
    return LOAD_HALVES(tail);
}

/* The float64 dot of two float16 vectors: exact, whatever the order, for vectors of about unit length. The products
 * have 22 bits and are exact in float32 already; the sums are not. */
static TARGET double NAME(exact)(const uint16_t *a, const uint16_t *b, int64_t dimension) {
    NAME(Doubles) sums[4] = {0};
    int64_t k = 0;
    for (; k + 2 * W <= dimension; k += 2 * W) { /* four chains of sums: one would wait for itself */
        Floats first = LOAD_HALVES(a + k) * LOAD_HALVES(b + k);
        Floats second = LOAD_HALVES(a + k + W) * LOAD_HALVES(b + k + W);
        sums[0] += LOW_DOUBLES(first);
        sums[1] += HIGH_DOUBLES(first);
        sums[2] += LOW_DOUBLES(second);
        sums[3] += HIGH_DOUBLES(second);
    }
    for (; k < dimension; k += W) {
        Floats rest = NAME(load)(a, k, dimension) * NAME(load)(b, k, dimension);
        sums[0] += LOW_DOUBLES(rest);
        sums[1] += HIGH_DOUBLES(rest);
    }
    sums[0] += sums[1] + sums[2] + sums[3];
    double sum = 0;
    for (int lane = 0; lane < W / 2; lane++) sum += sums[0][lane];
    return sum;
}

/* The float32 dot: a lane sums no more than d / 4 W products, and a few sums of lanes follow. */
static TARGET float NAME(roughly)(const uint16_t *a, const uint16_t *b, int64_t dimension) {
    Floats sums[4] = {0};
    int64_t k = 0;
    for (; k + 4 * W <= dimension; k += 4 * W)
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) sums[i] += LOAD_HALVES(a + k + i * W) * LOAD_HALVES(b + k + i * W);
    for (; k < dimension; k += W) sums[0] += NAME(load)(a, k, dimension) * NAME(load)(b, k, dimension);
    return NAME(sum)((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* Whether a row is a unit vector; `square` is its float32 squared length, which errs by far less than 1e-4. */
INLINE int NAME(is_unit)(const Tile *tile, const uint16_t *row, float square) {
    if (square > tile->least_square + 1e-4 && square < tile->most_square - 1e-4) return 1;
    if (!(square > 0.9f && square < 1.1f)) return 0; /* nan is refused here */
    double exact = NAME(exact)(row, row, tile->dimension);
    return exact >= tile->least_square && exact <= tile->most_square;
}

static TARGET void NAME(rows_as_floats)(const Tile *tile, int64_t first, int64_t count, float *to, int64_t stride) {
    for (int64_t r = 0; r < count; r++) {
        const uint16_t *row = tile->rows + (first + r) * tile->dimension;
        Floats square = {0};
        for (int64_t k = 0; k < tile->dimension; k += W) {
            Floats x = NAME(load)(row, k, tile->dimension);
            square += x * x;
            memcpy(to + r * stride + k, &x, sizeof x);
        }
        if (!NAME(is_unit)(tile, row, NAME(sum)(square))) {
            tile->refused[first + r] = 1;
            memset(to + r * stride, 0, sizeof(float) * tile->dimension);
        }
    }
}

/* Rounds rows to multiples of 2^-15; gives the longest residual and the longest rounded row of these, rounded up. */
static TARGET void NAME(rows_as_int16)(const Tile *tile, int64_t first, int64_t count, int16_t *to, int64_t stride,
                                       double *residual, double *length) {
    const float scale = 32768, greatest = 32767, back = 1 / scale;
    double longest_residual = 0, longest = 0;
    for (int64_t r = 0; r < count; r++) {
        const uint16_t *row = tile->rows + (first + r) * tile->dimension;
        Floats square = {0}, lost = {0};
        for (int64_t k = 0; k < tile->dimension; k += W) {
            Floats x = NAME(load)(row, k, tile->dimension), scaled = x * scale;
            scaled = NAME(select)((Ints)(scaled > greatest), (Floats){0} + greatest, scaled);
            scaled = NAME(select)((Ints)(scaled < -greatest), (Floats){0} - greatest, scaled);
            Ints rounded = ROUND(scaled);
            Floats left = x - __builtin_convertvector(rounded, Floats) * back; /* both exact, so is the difference */
            square += x * x;
            lost += left * left;
            NAME(Shorts) narrow = __builtin_convertvector(rounded, NAME(Shorts));
            memcpy(to + r * stride + k, &narrow, sizeof narrow);
        }
        float length_square = NAME(sum)(square);
        if (!NAME(is_unit)(tile, row, length_square)) {
            tile->refused[first + r] = 1;
            memset(to + r * stride, 0, sizeof(int16_t) * tile->dimension);
            continue;
        }
        double lost_here = sqrt((double)NAME(sum)(lost)) * (1 + 1e-4) + 1e-12;
        double length_here = sqrt((double)length_square) * (1 + 1e-4) + lost_here;
        if (lost_here > longest_residual) longest_residual = lost_here;
        if (length_here > longest) longest = length_here;
    }
    *residual = longest_residual;
    *length = longest;
}

/* Takes the mean off, rounds to int8 with a scale for each row and adds 128; gives the scales' inverses, the longest
 * residual and the longest rounded row, rounded up. */
static TARGET void NAME(rows_as_uint8)(const Tile *tile, int64_t first, int64_t count, uint8_t *to, int64_t stride,
                                       float *inverses, double *residual, double *length) {
    double longest_residual = 0, longest = 0;
    for (int64_t r = 0; r < count; r++) {
        const uint16_t *row = tile->rows + (first + r) * tile->dimension;
        Floats square = {0}, most = {0};
        for (int64_t k = 0; k < tile->dimension; k += W) {
            Floats x = NAME(load)(row, k, tile->dimension), mean;
            memcpy(&mean, tile->mean + k, sizeof mean);
            square += x * x;
            Floats apart = x - mean, size = NAME(select)((Ints)(apart < 0), -apart, apart);
            most = NAME(select)((Ints)(size > most), size, most);
        }
        float greatest = 0;
        for (int lane = 0; lane < W; lane++) greatest = most[lane] > greatest ? most[lane] : greatest;
        int fine = NAME(is_unit)(tile, row, NAME(sum)(square));
        if (!fine) tile->refused[first + r] = 1;
        float scale = fine && greatest > 0 ? 127 / greatest : 0, back = scale > 0 ? 1 / scale : 0;
        inverses[r] = back;
        Floats lost = {0}, kept = {0};
        for (int64_t k = 0; k < tile->dimension; k += W) {
            Floats x = NAME(load)(row, k, tile->dimension), mean;
            memcpy(&mean, tile->mean + k, sizeof mean);
            if (!fine) x = mean;
            Floats apart = x - mean;
            Ints rounded = ROUND(apart * scale);
            rounded -= (rounded - 127) & (rounded > 127);
            rounded -= (rounded + 127) & (rounded < -127);
            Floats stands_for = __builtin_convertvector(rounded, Floats) * back, left = apart - stands_for;
            lost += left * left;
            kept += stands_for * stands_for;
            NAME(Bytes) narrow = __builtin_convertvector(rounded + 128, NAME(Bytes));
            memcpy(to + r * stride + k, &narrow, sizeof narrow);
        }
        /* The float32 roundings of `apart` and `left` are below 1e-7 of |x| + |mean| each. */
        double lost_here = sqrt((double)NAME(sum)(lost)) * (1 + 1e-4) + 1e-6;
        double length_here = sqrt((double)NAME(sum)(kept)) * (1 + 1e-4) + 1e-6;
        if (lost_here > longest_residual) longest_residual = lost_here;
        if (length_here > longest) longest = length_here;
    }
    *residual = longest_residual;
    *length = longest;
}

/* Products of MR rows and one panel. Never inlined, so that the sums have all the registers to themselves. */

#define PRODUCT static TARGET __attribute__((noinline)) void

/* Summed in short runs: what a float32 sum may err by grows with its length. */
PRODUCT NAME(product_float32)(const float *rows, int64_t stride, const float *panel, int64_t dimension,
                              Floats scores[MR][2]) {
    const NAME(LooseFloats) *columns = (const NAME(LooseFloats) *)panel;
    memset(scores, 0, sizeof(Floats) * MR * 2);
    for (int64_t from = 0; from < dimension; from += RUN) {
        int64_t to = dimension - from < RUN ? dimension : from + RUN;
        Floats sums[MR][2] = {0};
        for (int64_t k = from; k < to; k++) {
            Floats left = columns[2 * k], right = columns[2 * k + 1];
#pragma GCC unroll 16
            for (int r = 0; r < MR; r++) {
                Floats x = SPLAT_FLOAT(rows[r * stride + k]);
                sums[r][0] += x * left;
                sums[r][1] += x * right;
            }
        }
        for (int r = 0; r < MR; r++) {
            scores[r][0] += sums[r][0];
            scores[r][1] += sums[r][1];
        }
    }
}

PRODUCT NAME(product_int16)(const int16_t *rows, int64_t stride, const int16_t *panel, int64_t steps,
                            Ints result[MR][2]) {
    const NAME(LooseInts) *columns = (const NAME(LooseInts) *)panel;
    Ints sums[MR][2] = {0};
    for (int64_t k = 0; k < steps; k++) {
        Ints left = columns[2 * k], right = columns[2 * k + 1];
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
            Ints x = SPLAT_WORD(*(const Word *)(rows + r * stride + 2 * k));
            sums[r][0] = DOT16(sums[r][0], x, left);
            sums[r][1] = DOT16(sums[r][1], x, right);
        }
    }
    memcpy(result, sums, sizeof sums);
}

PRODUCT NAME(product_int8)(const uint8_t *rows, int64_t stride, const int8_t *panel, int64_t steps,
                           Ints result[MR][2]) {
    const NAME(LooseInts) *columns = (const NAME(LooseInts) *)panel;
    Ints sums[MR][2] = {0};
    for (int64_t k = 0; k < steps; k++) {
        Ints left = columns[2 * k], right = columns[2 * k + 1];
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
            Ints x = SPLAT_WORD(*(const Word *)(rows + r * stride + 4 * k));
            sums[r][0] = DOT8(sums[r][0], x, left);
            sums[r][1] = DOT8(sums[r][1], x, right);
        }
    }
    memcpy(result, sums, sizeof sums);
}

#undef PRODUCT

/* What becomes of the sums. */

/* Settles one pair of a row and a concept that lies in the band of a threshold. */
static TARGET __attribute__((noinline)) int32_t NAME(settle)(const Tile *tile, int64_t row, int64_t concept,
                                                             double threshold) {
    const uint16_t *a = tile->rows + row * tile->dimension, *b = tile->prototypes + concept * tile->dimension;
    double score = NAME(roughly)(a, b, tile->dimension);
    if (score >= threshold + tile->band) return 1;
    if (score < threshold - tile->band) return 0;
    return NAME(exact)(a, b, tile->dimension) >= threshold;
}

/* Settles what lies between the two bounds of a threshold. Rare, and kept out of the way of the sums. */
static TARGET __attribute__((noinline, cold)) void NAME(settle_all)(const Tile *tile, int64_t row, int64_t panel,
                                                                    int64_t column, Ints unsettled[MR][2],
                                                                    int32_t *counts) {
    for (int r = 0; r < MR; r++) {
        for (int half = 0; half < 2; half++) {
            for (uint32_t bits = BITS(unsettled[r][half]); bits; bits &= bits - 1) {
                int lane = __builtin_ctz(bits);
                int64_t concept = panel * NR + half * W + lane;
                counts[half * W + lane] +=
                    NAME(settle)(tile, row + r, concept, tile->thresholds[(panel * tile->columns + column) * NR +
                                                                          half * W + lane]);
            }
        }
    }
}

/* Counts the sums that surely reach each threshold, and settles those that may. Float sums and bounds, or integers. */
#define DEFINE_COUNT_SUMS(name, Kind, Number)                                                                          \
    INLINE void name(const Tile *tile, int64_t row, int64_t panel, Kind sums[MR][2], const Number *lower,              \
                     const Number *upper, int32_t *counts) {                                                           \
        for (int64_t column = 0; column < tile->columns; column++) {                                                   \
            int64_t place = (panel * tile->columns + column) * NR;                                                     \
            Kind low[2], high[2];                                                                                      \
            memcpy(low, lower + place, sizeof low);                                                                    \
            memcpy(high, upper + place, sizeof high);                                                                  \
            Ints total[2], any = {0};                                                                                  \
            memcpy(total, counts + place, sizeof total);                                                               \
            for (int r = 0; r < MR; r++) {                                                                             \
                for (int half = 0; half < 2; half++) {                                                                 \
                    Ints unsure = (Ints)(sums[r][half] < high[half]); /* -1 where it is */                             \
                    total[half] += unsure;                                                                             \
                    any |= unsure ^ (Ints)(sums[r][half] < low[half]);                                                 \
                }                                                                                                      \
            }                                                                                                          \
            total[0] += MR, total[1] += MR;                                                                            \
            memcpy(counts + place, total, sizeof total);                                                               \
            if (__builtin_expect(!BITS(any), 1)) continue;                                                             \
            Ints unsettled[MR][2];                                                                                     \
            for (int r = 0; r < MR; r++)                                                                               \
                for (int half = 0; half < 2; half++)                                                                   \
                    unsettled[r][half] = (Ints)(sums[r][half] < high[half]) ^ (Ints)(sums[r][half] < low[half]);       \
            NAME(settle_all)(tile, row, panel, column, unsettled, counts + place);                                     \
        }                                                                                                              \
    }
DEFINE_COUNT_SUMS(NAME(count_floats), Floats, float)
DEFINE_COUNT_SUMS(NAME(count_integers), Ints, int32_t)
#undef DEFINE_COUNT_SUMS

static inline int64_t NAME(bin_of)(double similarity) {
    if (!(similarity > -1.02 && similarity < 1.02)) return 0; /* of a row that is refused */
    int64_t bin = (int64_t)(similarity * BINS_PER_UNIT - FIRST_EDGE);
    /* The edges are the float64 nearest to each thousandth; the product above may have been rounded over one. */
    if (similarity >= (double)(bin + 1 + FIRST_EDGE) / BINS_PER_UNIT) bin++;
    if (similarity < (double)(bin + FIRST_EDGE) / BINS_PER_UNIT) bin--;
    return bin;
}

INLINE void NAME(bin_scores)(const Tile *tile, int64_t row, int64_t rows, int64_t panel, Floats scores[MR][2],
                             int32_t *histogram) {
    /* In units of a bin: the band, and the rounding of the two operations below (2048 has 12 bits of 24). */
    const float near = (float)(tile->band * BINS_PER_UNIT * 1.001 + 3.0 * 2048 * 0x1p-24);
    int64_t concepts = tile->concepts - panel * NR;
    for (int r = 0; r < rows; r++) {
        for (int half = 0; half < 2; half++) {
            Floats place = scores[r][half] * (float)BINS_PER_UNIT - (float)FIRST_EDGE;
            Ints bins = __builtin_convertvector(place, Ints);
            Floats part = place - __builtin_convertvector(bins, Floats);
            Ints unsettled = (Ints)(part < near) | (Ints)(part > 1 - near);
            int64_t lanes = concepts - half * W < W ? concepts - half * W : W;
            int32_t *own = histogram + (panel * NR + half * W) * BIN_STRIDE, places[W];
            memcpy(places, &bins, sizeof places);
            for (uint32_t bits = BITS(unsettled); __builtin_expect(bits, 0); bits &= bits - 1) {
                int64_t lane = __builtin_ctz(bits), concept = panel * NR + half * W + lane;
                if (lane < lanes)
                    places[lane] = NAME(bin_of)(NAME(exact)(tile->rows + (row + r) * tile->dimension,
                                                            tile->prototypes + concept * tile->dimension,
                                                            tile->dimension));
            }
            for (int64_t lane = 0; lane < lanes; lane++) own[lane * BIN_STRIDE + places[lane]]++;
        }
    }
}

/* Rows against all their float32 scores: the best concepts, and the pairs that reach their floors. */

static int NAME(remember)(Found *found, int64_t row, int32_t concept, double similarity) {
    if (found->count == found->room) {
        int64_t room = found->room ? 2 * found->room : 1024;
        int64_t *rows = realloc(found->rows, room * sizeof *rows);
        if (rows) found->rows = rows;
        int32_t *concepts = realloc(found->concepts, room * sizeof *concepts);
        if (concepts) found->concepts = concepts;
        double *similarities = realloc(found->similarities, room * sizeof *similarities);
        if (similarities) found->similarities = similarities;
        if (!rows || !concepts || !similarities) return 1;
        found->room = room;
    }
    found->rows[found->count] = row;
    found->concepts[found->count] = concept;
    found->similarities[found->count++] = similarity;
    return 0;
}

/* The m-th highest of a row's scores. `highest` has room for m. */
static TARGET float NAME(mth_highest)(const float *scores, int64_t padded, int64_t concepts, int64_t m,
                                      float *highest) {
    for (int64_t i = 0; i < m; i++) highest[i] = -INFINITY;
    for (int64_t start = 0; start < padded; start += W) {
        Floats here;
        memcpy(&here, scores + start, sizeof here);
        for (uint32_t bits = BITS((Ints)(here > highest[m - 1])); bits; bits &= bits - 1) {
            int64_t c = start + __builtin_ctz(bits), i = m - 1;
            if (c >= concepts || !(scores[c] > highest[i])) continue;
            for (; i > 0 && highest[i - 1] < scores[c]; i--) highest[i] = highest[i - 1];
            highest[i] = scores[c];
        }
    }
    return highest[m - 1];
}

static TARGET int NAME(read_scores)(const Tile *tile, int64_t row, const float *scores, float *highest,
                                    int32_t *candidates, double *exact, Found *found) {
    const uint16_t *halves = tile->rows + row * tile->dimension;
    int64_t m = tile->best > 0 ? tile->best : 1, kept = 0;
    double row_best = 0;
    if (tile->best > 0 || tile->within_wanted) {
        float cutoff = NAME(mth_highest)(scores, tile->padded, tile->concepts, m, highest);
        /* A float32 rounding more than two bands down: nothing that may be among the best is missed. */
        float least = (float)((double)cutoff - 2 * tile->band) - 0x1p-23f;
        for (int64_t start = 0; start < tile->padded; start += W) {
            Floats here;
            memcpy(&here, scores + start, sizeof here);
            for (uint32_t bits = BITS((Ints)(here >= least)); bits; bits &= bits - 1) {
                int64_t c = start + __builtin_ctz(bits);
                if (c >= tile->concepts) break;
                double similarity = NAME(exact)(halves, tile->prototypes + c * tile->dimension, tile->dimension);
                /* Kept in order; concepts come in ascending order, so that equal ones stay so. */
                if (kept == m && !(similarity > exact[m - 1])) continue;
                int64_t i = kept < m ? kept++ : m - 1;
                for (; i > 0 && exact[i - 1] < similarity; i--) {
                    exact[i] = exact[i - 1];
                    candidates[i] = candidates[i - 1];
                }
                exact[i] = similarity;
                candidates[i] = (int32_t)c;
            }
        }
        row_best = exact[0];
        if (tile->best > 0) {
            memcpy(tile->best_concepts + row * m, candidates, m * sizeof *candidates);
            memcpy(tile->best_similarities + row * m, exact, m * sizeof *exact);
        }
    }
    if (!tile->pairs_wanted) return 0;
    float least = tile->within_wanted ? (float)(row_best - tile->within - 2 * tile->band) - 0x1p-23f : -INFINITY;
    for (int64_t start = 0; start < tile->padded; start += W) {
        Floats here, floors;
        memcpy(&here, scores + start, sizeof here);
        memcpy(&floors, tile->floors_lower + start, sizeof floors);
        for (uint32_t bits = BITS((Ints)(here >= floors) & (Ints)(here >= least)); bits; bits &= bits - 1) {
            int64_t c = start + __builtin_ctz(bits);
            if (c >= tile->concepts) break;
            double similarity = NAME(exact)(halves, tile->prototypes + c * tile->dimension, tile->dimension);
            if (!(similarity >= tile->floors[c])) continue;
            if (tile->within_wanted && !(row_best - similarity <= tile->within)) continue;
            if (NAME(remember)(found, row, (int32_t)c, similarity)) return 1;
        }
    }
    return 0;
}

/* The loops over rows and panels. */

static TARGET int NAME(count_rows_float32)(const Tile *tile, Work work, int64_t thread) {
    int64_t depth = PADDED(tile->dimension), stride = depth + 16;
    int scores_wanted = tile->best > 0 || tile->pairs_wanted;
    int64_t strip = ROWS_A_STRIP / MR * MR;
    if (scores_wanted) { /* all scores of a strip stay in the second-level cache */
        int64_t fitting = (256 << 10) / (4 * tile->padded) / MR * MR;
        strip = fitting < 2 * MR ? 2 * MR : fitting < strip ? fitting : strip;
    }
    int64_t score_stride = tile->padded;
    float *rows = aligned(sizeof(float) * strip * stride);
    float *all_scores = aligned(sizeof(float) * (scores_wanted ? strip * score_stride : 1));
    int32_t *counts = aligned(sizeof(int32_t) * (tile->columns * tile->padded + 1));
    int32_t *histogram = histogram_of(tile, thread);
    int64_t m = tile->best > 0 ? tile->best : 1;
    float *highest = aligned(sizeof(float) * m);
    int32_t *candidates = aligned(sizeof(int32_t) * m);
    double *exact = aligned(sizeof(double) * m);
    int failed = !rows || !all_scores || !counts || !highest || !candidates || !exact;
    if (!failed) {
        memset(rows, 0, sizeof(float) * strip * stride);
        memset(counts, 0, sizeof(int32_t) * (tile->columns * tile->padded + 1));
    }
    for (int64_t start; !failed && (start = take_rows(work, strip)) < work.last;) {
        int64_t here = work.last - start < strip ? work.last - start : strip;
        NAME(rows_as_floats)(tile, start, here, rows, stride);
        for (int64_t panel = work.first_panel; panel < work.last_panel; panel++) {
            const float *columns = (const float *)tile->panels + panel * tile->dimension * NR;
            for (int64_t group = 0; group < here; group += MR) {
                int64_t in_group = here - group < MR ? here - group : MR;
                Floats scores[MR][2];
                NAME(product_float32)(rows + group * stride, stride, columns, tile->dimension, scores);
                for (int r = (int)in_group; r < MR; r++)
                    scores[r][0] = scores[r][1] = (Floats){0} - INFINITY; /* rows that are not there */
                NAME(count_floats)(tile, start + group, panel, scores, tile->lower, tile->upper, counts);
                if (tile->histogram_wanted)
                    NAME(bin_scores)(tile, start + group, in_group, panel, scores, histogram);
                if (scores_wanted)
                    for (int r = 0; r < MR; r++)
                        memcpy(all_scores + (group + r) * score_stride + panel * NR, scores[r], sizeof scores[r]);
            }
        }
        for (int64_t r = 0; scores_wanted && r < here && !failed; r++) {
            if (tile->refused[start + r]) continue;
            failed = NAME(read_scores)(tile, start + r, all_scores + r * score_stride, highest, candidates, exact,
                                       tile->found + thread);
        }
    }
    if (!failed) add_to_totals(tile, counts);
    free(rows), free(all_scores), free(counts), free(highest), free(candidates), free(exact);
    return failed;
}

/* Between which integer sums must the exact dot decide, for rows whose residual and length are at most these? */
static TARGET void NAME(integer_bounds)(const Tile *tile, double residual, double length, int32_t *least,
                                        int32_t *surely) {
    const double greatest = INT32_MAX;
    for (int64_t panel = 0; panel < tile->padded; panel += NR) {
        for (int64_t column = 0; column < tile->columns; column++) {
            int64_t place = (panel * tile->columns) + column * NR;
            for (int lane = 0; lane < NR; lane++) {
                /* |x.p - x^.p^| <= |x - x^| |p| + |x^| |p - p^|; a step of one covers the rounding here. */
                double band = residual * tile->length[panel + lane] + length * tile->residual[panel + lane];
                double threshold = tile->thresholds[place + lane], scale = tile->scale[panel + lane];
                double lower = floor((threshold - band) * scale) - 1, upper = ceil((threshold + band) * scale) + 1;
                lower = lower < greatest ? lower : greatest, upper = upper < greatest ? upper : greatest;
                least[place + lane] = (int32_t)(lower > -greatest ? lower : -greatest);
                surely[place + lane] = (int32_t)(upper > -greatest ? upper : -greatest);
            }
        }
    }
}

static TARGET int NAME(count_rows_int16)(const Tile *tile, Work work, int64_t thread) {
    int64_t depth = PADDED(tile->dimension), stride = depth + 32, panels = tile->padded / NR;
    int64_t strip = ROWS_A_STRIP / MR * MR, entries = tile->columns * tile->padded;
    int16_t *rows = aligned(sizeof(int16_t) * strip * stride);
    int32_t *counts = aligned(sizeof(int32_t) * entries);
    int32_t *least = aligned(sizeof(int32_t) * entries), *surely = aligned(sizeof(int32_t) * entries);
    int failed = !rows || !counts || !least || !surely;
    if (!failed) {
        memset(rows, 0, sizeof(int16_t) * strip * stride);
        memset(counts, 0, sizeof(int32_t) * entries);
    }
    for (int64_t start; !failed && (start = take_rows(work, strip)) < work.last;) {
        int64_t here = work.last - start < strip ? work.last - start : strip;
        double residual, length;
        NAME(rows_as_int16)(tile, start, here, rows, stride, &residual, &length);
        NAME(integer_bounds)(tile, residual, length, least, surely);
        for (int64_t panel = 0; panel < panels; panel++) {
            const int16_t *columns = (const int16_t *)tile->panels + panel * depth * NR;
            for (int64_t group = 0; group < here; group += MR) {
                Ints sums[MR][2];
                NAME(product_int16)(rows + group * stride, stride, columns, (tile->dimension + 1) / 2, sums);
                for (int r = here - group < MR ? (int)(here - group) : MR; r < MR; r++)
                    sums[r][0] = sums[r][1] = (Ints){0} + INT32_MIN; /* rows that are not there */
                NAME(count_integers)(tile, start + group, panel, sums, least, surely, counts);
            }
        }
    }
    if (!failed) add_to_totals(tile, counts);
    free(rows), free(counts), free(least), free(surely);
    (void)thread;
    return failed;
}

/* int8 sums as similarities: the row's own scale, the mean's share and the unsigned rows' surplus undone. */
static TARGET int NAME(count_rows_int8)(const Tile *tile, Work work, int64_t thread) {
    int64_t depth = PADDED(tile->dimension), stride = depth + 64, panels = tile->padded / NR;
    int64_t strip = ROWS_A_STRIP / MR * MR, entries = tile->columns * tile->padded;
    uint8_t *rows = aligned(strip * stride);
    float *inverses = aligned(sizeof(float) * strip);
    int32_t *counts = aligned(sizeof(int32_t) * entries);
    float *lower = aligned(sizeof(float) * entries), *upper = aligned(sizeof(float) * entries);
    int failed = !rows || !inverses || !counts || !lower || !upper;
    if (!failed) {
        memset(rows, 128, strip * stride);
        memset(inverses, 0, sizeof(float) * strip);
        memset(counts, 0, sizeof(int32_t) * entries);
    }
    for (int64_t start; !failed && (start = take_rows(work, strip)) < work.last;) {
        int64_t here = work.last - start < strip ? work.last - start : strip;
        double residual, length;
        NAME(rows_as_uint8)(tile, start, here, rows, stride, inverses, &residual, &length);
        for (int64_t panel = 0; panel < tile->padded; panel += NR) {
            for (int64_t place = panel * tile->columns; place < (panel + NR) * tile->columns; place++) {
                int64_t c = panel + place % NR; /* whole panels come before it */
                /* The last term covers four float32 roundings of values below 2. */
                double band = residual * tile->length[c] + length * tile->residual[c] + 1e-6;
                double rest = tile->thresholds[place] - tile->offset[c];
                lower[place] = (float)((rest - band) * tile->scale[c]);
                upper[place] = (float)((rest + band) * tile->scale[c]);
            }
        }
        for (int64_t panel = 0; panel < panels; panel++) {
            const int8_t *columns = (const int8_t *)tile->panels + panel * depth * NR;
            Ints surplus[2];
            memcpy(surplus, tile->correction + panel * NR, sizeof surplus);
            for (int64_t group = 0; group < here; group += MR) {
                int64_t in_group = here - group < MR ? here - group : MR;
                Ints sums[MR][2];
                NAME(product_int8)(rows + group * stride, stride, columns, (tile->dimension + 3) / 4, sums);
                Floats scaled[MR][2];
                for (int r = 0; r < MR; r++)
                    for (int half = 0; half < 2; half++)
                        scaled[r][half] =
                            r < in_group
                                ? __builtin_convertvector(sums[r][half] - surplus[half], Floats) * inverses[group + r]
                                : (Floats){0} - INFINITY;
                NAME(count_floats)(tile, start + group, panel, scaled, lower, upper, counts);
            }
        }
    }
    if (!failed) add_to_totals(tile, counts);
    free(rows), free(inverses), free(counts), free(lower), free(upper);
    (void)thread;
    return failed;
}

/* A few concepts: row by row, each read once from memory, no panels. `panels` holds (C, padded dimension) floats. */
INLINE void NAME(dots)(const Tile *tile, const uint16_t *row, const float *prototypes, int64_t depth, int many,
                       float *scores, float *square) {
    Floats sums[4][2] = {0}, squares[2] = {0};
    int64_t k = 0;
    for (; k + 2 * W <= tile->dimension; k += 2 * W) {
        Floats x = LOAD_HALVES(row + k), y = LOAD_HALVES(row + k + W);
        squares[0] += x * x;
        squares[1] += y * y;
        for (int c = 0; c < many; c++) {
            sums[c][0] += x * *(const NAME(LooseFloats) *)(prototypes + c * depth + k);
            sums[c][1] += y * *(const NAME(LooseFloats) *)(prototypes + c * depth + k + W);
        }
    }
    for (; k < tile->dimension; k += W) {
        Floats x = NAME(load)(row, k, tile->dimension);
        squares[0] += x * x;
        for (int c = 0; c < many; c++) sums[c][0] += x * *(const NAME(LooseFloats) *)(prototypes + c * depth + k);
    }
    *square = NAME(sum)(squares[0] + squares[1]);
    for (int c = 0; c < many; c++) scores[c] = NAME(sum)(sums[c][0] + sums[c][1]);
}

/* Counts and bins one score, of a row that is a unit vector. */
INLINE void NAME(take_score)(const Tile *tile, int64_t row, int64_t concept, float score, int32_t *counts,
                             int32_t *histogram) {
    for (int64_t place = concept * tile->columns; place < (concept + 1) * tile->columns; place++) {
        if (score >= tile->upper[place]) counts[place]++;
        else if (score >= tile->lower[place])
            counts[place] += NAME(settle)(tile, row, concept, tile->thresholds[place]);
    }
    if (!tile->histogram_wanted) return;
    double place = (double)score * BINS_PER_UNIT - FIRST_EDGE, part = place - floor(place);
    double near = tile->band * BINS_PER_UNIT * 1.001;
    int64_t bin = (int64_t)place;
    if (part < near || part > 1 - near)
        bin = NAME(bin_of)(NAME(exact)(tile->rows + row * tile->dimension,
                                       tile->prototypes + concept * tile->dimension, tile->dimension));
    histogram[concept * BIN_STRIDE + bin]++;
}

static TARGET void NAME(count_row)(const Tile *tile, int64_t row, int32_t *counts, int32_t *histogram) {
    const uint16_t *halves = tile->rows + row * tile->dimension;
    int64_t depth = PADDED(tile->dimension);
    for (int64_t base = 0; base < tile->concepts; base += 4) {
        const float *own = (const float *)tile->panels + base * depth;
        int64_t many = tile->concepts - base < 4 ? tile->concepts - base : 4;
        float scores[4], square;
        switch (many) { /* so that each has a loop of its own, with its sums in registers */
        case 1: NAME(dots)(tile, halves, own, depth, 1, scores, &square); break;
        case 2: NAME(dots)(tile, halves, own, depth, 2, scores, &square); break;
        case 3: NAME(dots)(tile, halves, own, depth, 3, scores, &square); break;
        default: NAME(dots)(tile, halves, own, depth, 4, scores, &square);
        }
        if (base == 0 && !NAME(is_unit)(tile, halves, square)) {
            tile->refused[row] = 1;
            return;
        }
        for (int64_t i = 0; i < many; i++) NAME(take_score)(tile, row, base + i, scores[i], counts, histogram);
    }
}

static TARGET int NAME(count_rows_dots)(const Tile *tile, Work work, int64_t thread) {
    size_t bytes = sizeof(int32_t) * (tile->columns * tile->padded + 1);
    int32_t *counts = aligned(bytes), *histogram = histogram_of(tile, thread);
    if (!counts) return 1;
    memset(counts, 0, bytes);
    for (int64_t start; (start = take_rows(work, ROWS_A_STRIP)) < work.last;) {
        int64_t end = work.last - start < ROWS_A_STRIP ? work.last : start + ROWS_A_STRIP;
        for (int64_t row = start; row < end; row++) NAME(count_row)(tile, row, counts, histogram);
    }
    add_to_totals(tile, counts);
    free(counts);
    return 0;
}

static const CountRows NAME(products)[] = {NAME(count_rows_dots), NAME(count_rows_float32), NAME(count_rows_int16),
                                       NAME(count_rows_int8)};

#undef Floats
#undef Ints
#undef INLINE
#undef NR

/* For the next set. */
#undef NAME
#undef TARGET
#undef W
#undef MR
#undef LOAD_HALVES
#undef ROUND
#undef SPLAT_FLOAT
#undef SPLAT_WORD
#undef LOW_DOUBLES
#undef HIGH_DOUBLES
#undef BITS
#undef DOT16
#undef DOT8
