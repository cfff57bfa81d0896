/* Counting rows by similarity, fused: float16 rows in, counts out, no score matrix between.
 *
 * What lives here: the instruction sets, threads, and the few functions that Python calls through ctypes. The loops are
 * in body.h, what is handed over in tile.h. No Python API, so that one build serves every Python.
 */

#include "tile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#define X86 1
#endif

enum { RUN = 64, ROWS_A_STRIP = 96, ALIGNMENT = 64 };

/* Histograms that lie 2048 counts apart would share their lines of the first-level cache. */
enum { BIN_STRIDE = BINS + 16 }; /* also in kernel_library.py */

#define PADDED(dimension) (((dimension) + 15) / 16 * 16)

typedef int32_t Word __attribute__((may_alias, aligned(1)));

static void *aligned(size_t bytes) {
    return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ALIGNMENT);
}

static int64_t take_rows(Work work, int64_t rows) { return __atomic_fetch_add(work.next, rows, __ATOMIC_RELAXED); }

/* Adds one thread's 32-bit counts to the totals. */
static void add_to_totals(const Tile *tile, const int32_t *counts) {
#ifdef _OPENMP
#pragma omp critical(tailwag_totals)
#endif
    for (int64_t i = 0; i < tile->columns * tile->padded; i++) tile->counts[i] += counts[i];
}

static int32_t *histogram_of(const Tile *tile, int64_t thread) {
    return tile->histograms + (tile->histogram_copies > 1 ? thread * tile->concepts * BIN_STRIDE : 0);
}

/* Any machine: what the compiler makes of it. Also run, in tests, in place of AVX-512, whose loops it shares. */

static float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023, bits;
    if (exponent == 0) { /* zero and the subnormal numbers, multiples of 2^-24 */
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define PORTABLE_LOAD(p)                                                                                               \
    ({                                                                                                                 \
        Floats loaded;                                                                                                 \
        for (int lane_ = 0; lane_ < W; lane_++) loaded[lane_] = half_to_float((p)[lane_]);                             \
        loaded;                                                                                                        \
    })
#define PORTABLE_ROUND(v)                                                                                              \
    ({                                                                                                                 \
        Floats exact_ = (v);                                                                                           \
        Ints rounded_;                                                                                                 \
        for (int lane_ = 0; lane_ < W; lane_++) rounded_[lane_] = (int32_t)lrintf(exact_[lane_]);                      \
        rounded_;                                                                                                      \
    })

#define PORTABLE_DOUBLES(v, from)                                                                                      \
    ({                                                                                                                 \
        Floats narrow_ = (v);                                                                                          \
        NAME(Doubles) wide_;                                                                                           \
        for (int lane_ = 0; lane_ < W / 2; lane_++) wide_[lane_] = narrow_[lane_ + (from)];                            \
        wide_;                                                                                                         \
    })
#define PORTABLE_BITS(mask)                                                                                            \
    ({                                                                                                                 \
        Ints mask_ = (mask);                                                                                           \
        uint32_t bits_ = 0;                                                                                            \
        for (int lane_ = 0; lane_ < W; lane_++) bits_ |= (uint32_t)(mask_[lane_] & 1) << lane_;                        \
        bits_;                                                                                                         \
    })

static inline int32_t dot_of_shorts(int32_t a, int32_t b) {
    return (int32_t)(int16_t)a * (int16_t)b + (int32_t)(int16_t)(a >> 16) * (int16_t)(b >> 16);
}

static inline int32_t dot_of_bytes(int32_t a, int32_t b) {
    int32_t total = 0;
    for (int byte = 0; byte < 32; byte += 8) total += (int32_t)(uint8_t)(a >> byte) * (int8_t)(b >> byte);
    return total;
}

#define PORTABLE_DOT(dot, acc, a, b)                                                                                   \
    ({                                                                                                                 \
        Ints sum_ = (acc), a_ = (a), b_ = (b);                                                                         \
        for (int lane_ = 0; lane_ < W; lane_++) sum_[lane_] += dot(a_[lane_], b_[lane_]);                              \
        sum_;                                                                                                          \
    })

#define NAME(x) x##_portable
#define TARGET
#define W 16
#define MR 4
#define LOAD_HALVES(p) PORTABLE_LOAD(p)
#define ROUND(v) PORTABLE_ROUND(v)
#define SPLAT_FLOAT(x) ((Floats){0} + (x))
#define SPLAT_WORD(x) ((Ints){0} + (x))
#define LOW_DOUBLES(v) PORTABLE_DOUBLES(v, 0)
#define HIGH_DOUBLES(v) PORTABLE_DOUBLES(v, W / 2)
#define BITS(mask) PORTABLE_BITS(mask)
#define DOT16(acc, a, b) PORTABLE_DOT(dot_of_shorts, acc, a, b)
#define DOT8(acc, a, b) PORTABLE_DOT(dot_of_bytes, acc, a, b)
#include "body.h"

#ifdef X86

#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define W 8
#define MR 6
#define LOAD_HALVES(p) ((Floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p))))
#define ROUND(v) ((Ints)_mm256_cvtps_epi32((__m256)(v)))
#define SPLAT_FLOAT(x) ((Floats)_mm256_set1_ps(x))
#define SPLAT_WORD(x) ((Ints)_mm256_set1_epi32(x))
#define LOW_DOUBLES(v) ((NAME(Doubles))_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)(v))))
#define HIGH_DOUBLES(v) ((NAME(Doubles))_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)(v), 1)))
#define BITS(mask) ((uint32_t)_mm256_movemask_ps((__m256)(mask)))
#define DOT16(acc, a, b) ((acc) + (Ints)_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
/* Without a saturating pair sum there is no int8 product here; int16 is as quick and far finer. */
#define DOT8(acc, a, b) PORTABLE_DOT(dot_of_bytes, acc, a, b)
#include "body.h"

#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))
#define W 16
#define MR 12
#define LOAD_HALVES(p) ((Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p))))
#define ROUND(v) ((Ints)_mm512_cvtps_epi32((__m512)(v)))
#define SPLAT_FLOAT(x) ((Floats)_mm512_set1_ps(x))
#define SPLAT_WORD(x) ((Ints)_mm512_set1_epi32(x))
#define LOW_DOUBLES(v) ((NAME(Doubles))_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)(v))))
#define HIGH_DOUBLES(v) ((NAME(Doubles))_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)(v), 1)))
#define BITS(mask) ((uint32_t)_mm512_movepi32_mask((__m512i)(mask)))
#define DOT16(acc, a, b) ((Ints)_mm512_dpwssd_epi32((__m512i)(acc), (__m512i)(a), (__m512i)(b)))
#define DOT8(acc, a, b) ((Ints)_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(a), (__m512i)(b)))
#include "body.h"

#endif

/* The instruction sets, slowest first; the same numbers stand in kernel_library.py. */
enum { PORTABLE = 0, AVX2 = 1, AVX512_VNNI = 2 };

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* The fastest instruction set of this machine. */
EXPORT int tailwag_instructions(void) {
#ifdef X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return AVX512_VNNI;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
    return PORTABLE;
}

/* Concepts of a panel. */
EXPORT int tailwag_panel(int instructions) { return instructions == AVX2 ? 16 : 32; }

EXPORT int tailwag_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

/* Counts one tile; returns 0, 1 when memory ran out, 2 for a product or an instruction set that is not there. */
EXPORT int tailwag_count(const Tile *tile, int instructions) {
    const CountRows *products = products_portable;
#ifdef X86
    if (instructions == AVX2) products = products_avx2;
    if (instructions == AVX512_VNNI) products = products_avx512;
#endif
    if (tile->product < DOTS || tile->product > INT8 || instructions > tailwag_instructions()) return 2;
    CountRows count_rows = products[tile->product];
    int64_t threads = tile->threads, shared = 0;
    int failed = 0;
#ifdef _OPENMP
#pragma omp parallel num_threads((int)threads) reduction(| : failed)
#endif
    {
        int64_t thread = 0, team = 1;
#ifdef _OPENMP
        thread = omp_get_thread_num();
        team = omp_get_num_threads();
#endif
        int64_t panels = tile->padded / tailwag_panel(instructions), own = 0;
        Work work = {&shared, tile->rows_count, 0, panels};
        if (tile->histogram_wanted && tile->histogram_copies < team && tile->product == FLOAT32) {
            work = (Work){&own, tile->rows_count, panels * thread / team, panels * (thread + 1) / team};
        } else if (tile->pairs_wanted) { /* in order */
            own = tile->rows_count * thread / team;
            work = (Work){&own, tile->rows_count * (thread + 1) / team, 0, panels};
        }
        failed |= count_rows(tile, work, thread);
    }
    return failed;
}

/* Frees what tailwag_count left in `found`. */
EXPORT void tailwag_free_found(Found *found, int64_t threads) {
    for (int64_t thread = 0; thread < threads; thread++) {
        free(found[thread].rows), free(found[thread].concepts), free(found[thread].similarities);
        memset(found + thread, 0, sizeof *found);
    }
}
