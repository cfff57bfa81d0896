/* What a caller hands over for one tile of rows, and what the kernel leaves there. The twin of `kernel_library.py`. */

#ifndef TAILWAG_TILE_H
#define TAILWAG_TILE_H

#include <stdint.h>

enum { BINS = 2048, BINS_PER_UNIT = 1000, FIRST_EDGE = -1024 };

/* How the product is made; the same numbers stand in kernel_library.py. */
enum { DOTS = 0, FLOAT32 = 1, INT16 = 2, INT8 = 3 };

/* Pairs that one thread found, ordered by row. */
typedef struct {
    int64_t count, room;
    int64_t *rows;
    int32_t *concepts;
    double *similarities;
} Found;

typedef struct {
    /* The question. C concepts, padded to whole panels of NR; what belongs to a panel lies together in memory. */
    int64_t dimension, concepts, padded, columns, best, threads, histogram_copies;
    int32_t product, histogram_wanted, pairs_wanted, within_wanted;
    const uint16_t *prototypes; /* (C, d) float16 */
    const void *panels;         /* the same, as the product wants them */
    const double *thresholds;   /* (panels, T, NR) */
    const float *lower, *upper; /* (panels, T, NR): float32 scores between them are unsettled */
    const double *scale;        /* (padded): what an integer product is divided by to give a similarity */
    const double *length;       /* (padded): |p|, rounded up */
    const double *residual;     /* (padded): |p - p^|, rounded up, p^ being what the integers stand for */
    const double *offset;       /* (padded): similarity of the mean row, taken off before rounding to int8 */
    const int32_t *correction;  /* (padded): what unsigned rows add to an int8 product */
    const float *mean;          /* (d padded): the mean row */
    double band;                /* how far a float32 score may lie from the similarity */
    double within;
    double least_square, most_square;
    /* One tile. */
    int64_t rows_count;
    const uint16_t *rows;        /* (n, d) float16 */
    const double *floors;        /* (padded) */
    const float *floors_lower;   /* (padded): rounded down, less the band */
    int64_t *counts;             /* (panels, T, NR), added to */
    int32_t *histograms;         /* (copies, C, BIN_STRIDE), added to */
    int32_t *best_concepts;      /* (n, best) */
    double *best_similarities;   /* (n, best) */
    uint8_t *refused;            /* (n), set to 1 for rows that are no unit vectors */
    Found *found;                /* (threads) */
} Tile;

/* What a thread has to do. Rows are taken from *next on, which threads share; each has its own where the order of rows
 * must be kept, and where all go through all rows, for a few panels each, because there is one histogram for all. */
typedef struct {
    int64_t *next, last, first_panel, last_panel;
} Work;

/* Counts rows until there are none left; returns 0, or 1 when memory ran out. */
typedef int (*CountRows)(const Tile *tile, Work work, int64_t thread);

#endif
