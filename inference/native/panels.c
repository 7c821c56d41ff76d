/* Many rows times matrices, in whatever bits they are stored.

   Sixteen rows of a matrix, a panel, are made floats and turned, so that sixteen sums grow side by
   side in two registers; six rows of x meet a panel while it is in the nearest cache. No sum has to
   be added up across a register, and the floats are those that the matrix stands for. */

#include "matrix.h"

#define PANEL 16  /* rows of matrices ... */
#define DEPTH 256 /* ... and their columns that are floats at a time */
#define TILE 6    /* rows of x whose sums are in registers */

/* The sixteen numbers of NF4, in two registers. */
typedef struct {
    __m256 low, high;
} Code;

/* Eight numbers from the i-th on, without their scale. */
INLINE __m256 decode8(int kind, const void *numbers, int64_t i, Code code) {
    if (kind != NF4) return load8(kind, numbers, i);
    int32_t packed;
    memcpy(&packed, (const uint8_t *)numbers + i / 2, 4);
    __m256i shifts = _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
    __m256i codes = _mm256_srlv_epi32(_mm256_set1_epi32(packed), shifts);
    __m256 is_high = _mm256_castsi256_ps(_mm256_slli_epi32(codes, 28));
    __m256 low = _mm256_permutevar8x32_ps(code.low, codes);
    return _mm256_blendv_ps(low, _mm256_permutevar8x32_ps(code.high, codes), is_high);
}

/* The last numbers of a row, fewer than eight. */
static __m256 decode_last(int kind, const void *numbers, int64_t i, int64_t num) {
    const int size = kind == F32 ? 4 : kind == BF16 ? 2 : 1; /* a row of NF4 is whole blocks */
    float last[8] = {0};
    memcpy(last, (const char *)numbers + i * size, num * size);
    return load8(kind, last, 0);
}

INLINE float scale_of(int kind, const Matrix *matrix, int64_t row, int64_t i, const float *byte_scales) {
    if (kind == INT8) return ((const float *)matrix->scale)[row];
    int64_t block = i / BLOCK;
    return byte_scales[((const uint8_t *)matrix->scale)[block]] * matrix->nested[block / NESTED] + *matrix->offset;
}

/* Eight rows of eight as eight columns, PANEL apart. */
INLINE void turn(const __m256 rows[8], float *to) {
    __m256 pairs[8], fours[8];
    for (int n = 0; n < 8; n += 2) {
        pairs[n] = _mm256_unpacklo_ps(rows[n], rows[n + 1]);
        pairs[n + 1] = _mm256_unpackhi_ps(rows[n], rows[n + 1]);
    }
    for (int n = 0; n < 8; n += 4)
        for (int half = 0; half < 2; half++) {
            fours[n + 2 * half] = _mm256_shuffle_ps(pairs[n + half], pairs[n + 2 + half], 0x44);
            fours[n + 2 * half + 1] = _mm256_shuffle_ps(pairs[n + half], pairs[n + 2 + half], 0xee);
        }
    for (int n = 0; n < 4; n++) {
        _mm256_store_ps(to + PANEL * n, _mm256_permute2f128_ps(fours[n], fours[n + 4], 0x20));
        _mm256_store_ps(to + PANEL * (n + 4), _mm256_permute2f128_ps(fours[n], fours[n + 4], 0x31));
    }
}

/* What of a matrix is made floats: rows from `row` on, the last one again where there are no more. */
typedef struct {
    const Matrix *matrix;
    int64_t row, columns, first, num; /* `num` columns from `first` on */
    int64_t ahead;                    /* where the next part of the row is, or of that in the next panel */
} Part;

INLINE const void *address(int kind, const void *numbers, int64_t i) {
    return (const char *)numbers + (kind == F32 ? 4 * i : kind == BF16 ? 2 * i : kind == INT8 ? i : i / 2);
}

/* Make eight rows floats: `to` [num, PANEL]. */
INLINE void fill_eight(int kind, Part part, Code code, const float *byte_scales, float *to) {
    const Matrix *matrix = part.matrix;
    __m256 eight[8], scales[8];
    int64_t starts[8];
    for (int64_t block = 0; block < part.num; block += BLOCK) {
        const int64_t num = part.num - block < BLOCK ? part.num - block : BLOCK;
        for (int n = 0; n < 8; n++) {
            int64_t row = part.row + n < matrix->rows ? part.row + n : matrix->rows - 1;
            starts[n] = row * part.columns + part.first + block;
            if (kind >= INT8) scales[n] = _mm256_set1_ps(scale_of(kind, matrix, row, starts[n], byte_scales));
            const char *ahead = address(kind, matrix->numbers, starts[n] + part.ahead);
            for (int line = 0; line < (kind == F32 ? 4 : kind == BF16 ? 2 : 1); line++)
                _mm_prefetch(ahead + 64 * line, _MM_HINT_T1);
        }
        for (int64_t i = 0; i < num; i += 8, to += 8 * PANEL) {
            for (int n = 0; n < 8; n++) {
                eight[n] = num - i < 8 ? decode_last(kind, matrix->numbers, starts[n] + i, num - i)
                                       : decode8(kind, matrix->numbers, starts[n] + i, code);
                if (kind >= INT8) eight[n] = _mm256_mul_ps(eight[n], scales[n]);
            }
            turn(eight, to);
        }
    }
}

static void fill(Part part, Code code, const float *byte_scales, float *panel) {
    for (float *to = panel; to < panel + PANEL; to += 8, part.row += 8) {
        if (part.matrix->kind == F32) fill_eight(F32, part, code, byte_scales, to);
        if (part.matrix->kind == BF16) fill_eight(BF16, part, code, byte_scales, to);
        if (part.matrix->kind == INT8) fill_eight(INT8, part, code, byte_scales, to);
        if (part.matrix->kind == NF4) fill_eight(NF4, part, code, byte_scales, to);
    }
}

/* Add `num` columns of a panel times `rows` rows of x to sums `apart` from each other. */
INLINE void tile(int rows, const float *panel, const float *x, int64_t columns, int64_t num, int adds, float *out,
                 int64_t apart) {
    __m256 sums[TILE][2];
    for (int m = 0; m < rows; m++)
        for (int half = 0; half < 2; half++)
            sums[m][half] = adds ? _mm256_loadu_ps(out + m * apart + 8 * half) : _mm256_setzero_ps();
    for (int64_t i = 0; i < num; i++, panel += PANEL) {
        __m256 first = _mm256_load_ps(panel), second = _mm256_load_ps(panel + 8);
        for (int m = 0; m < rows; m++) {
            __m256 v = _mm256_broadcast_ss(x + m * columns + i);
            sums[m][0] = _mm256_fmadd_ps(first, v, sums[m][0]);
            sums[m][1] = _mm256_fmadd_ps(second, v, sums[m][1]);
        }
    }
    for (int m = 0; m < rows; m++)
        for (int half = 0; half < 2; half++) _mm256_storeu_ps(out + m * apart + 8 * half, sums[m][half]);
}

static void tiles(const float *panel, const float *x, const MultiplySizes *size, int64_t num, int adds, float *out,
                  int64_t apart) {
    for (int64_t m = 0; m < size->num; m += TILE, x += TILE * size->columns, out += TILE * apart) {
#define TILES(rows) tile(rows, panel, x, size->columns, num, adds, out, apart)
        int64_t left = size->num - m;
        if (left >= TILE) TILES(TILE);
        if (left == 5) TILES(5);
        if (left == 4) TILES(4);
        if (left == 3) TILES(3);
        if (left == 2) TILES(2);
        if (left == 1) TILES(1);
    }
}

void multiply_many(const MultiplySizes *size, const Matrix *matrices, const float *rows, const float *code,
                   const float *byte_scales, float *out) {
    const int64_t columns = size->columns, num = size->num;
    const Code values = {_mm256_loadu_ps(code), _mm256_loadu_ps(code + 8)};
    int64_t width = 0, num_panels = 0;
    for (int64_t n = 0; n < size->num_matrices; n++) {
        width += matrices[n].rows;
        num_panels += (matrices[n].rows + PANEL - 1) / PANEL;
    }
    /* The products of the last panel of a matrix, which may not be full. */
    float *lasts = malloc(size->num_matrices * num * PANEL * sizeof(float));
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t n = 0; n < num_panels; n++) {
        float panel[DEPTH * PANEL] __attribute__((aligned(32)));
        const Matrix *matrix = matrices;
        int64_t row = n * PANEL, column = 0;
        for (; row >= matrix->rows; column += matrix++->rows) row -= (matrix->rows + PANEL - 1) / PANEL * PANEL;
        const int64_t num_rows = matrix->rows - row < PANEL ? matrix->rows - row : PANEL;
        float *last = lasts + (matrix - matrices) * num * PANEL;
        const int is_full = num_rows == PANEL;
        for (int64_t i = 0; i < columns; i += DEPTH) {
            Part part = {matrix, row, columns, i, columns - i < DEPTH ? columns - i : DEPTH, DEPTH};
            if (i + DEPTH >= columns) part.ahead = PANEL * columns - i;
            fill(part, values, byte_scales, panel);
            if (is_full)
                tiles(panel, rows + i, size, part.num, i || size->adds, out + column + row, width);
            else
                tiles(panel, rows + i, size, part.num, i > 0, last, PANEL);
        }
        for (int64_t m = 0; !is_full && m < num; m++)
            for (int64_t r = 0; r < num_rows; r++) {
                float *sum = out + m * width + column + row + r;
                *sum = (size->adds ? *sum : 0) + last[m * PANEL + r];
            }
    }
    free(lasts);
}
