/* Rows times matrices that are read once, as they are stored; of many rows, see `panels.c`.

   torch makes a quantized matrix dense in memory first. Here numbers live in registers from the
   memory to the sum. Where the matrix is quantized, the rows are rounded to 16 bits a block of 64:
   pairs of products then fit one instruction, and what is lost is a twentieth of what bfloat16
   loses. */

#include "matrix.h"

#define STEPS 32767 /* of the sixteen numbers of NF4, and of a block of rows ... */
#define FEW_STEPS 8191 /* ... that meets these: eight of their products fit 32 bits */
#define TOGETHER 4  /* rows that meet a row of a matrix while it is in registers */
#define MANY_PLAIN 12 /* rows for which it pays to make a matrix floats and turn it, by measurement */
#define MANY_INT8 16
#define MANY_NF4 32
#define CHUNK 16    /* rows of a matrix that a thread takes at a time */

/* Rows that are multiplied: as they are; in 16 bits with a scale a block; in the order of NF4. */
typedef struct {
    const float *numbers;
    int16_t *steps, *unpacked;
    float *scales;
    int64_t columns, blocks;
} Rows;

INLINE __m256i load16(const int16_t *from) { return _mm256_loadu_si256((const __m256i *)from); }

INLINE void store16(int16_t *to, __m256i words) { _mm256_storeu_si256((__m256i *)to, words); }

/* Two times eight steps in 32 bits, as sixteen in order. */
INLINE __m256i joined(__m256i low, __m256i high) {
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
}

INLINE void dot_plain(int kind, const void *row, const Rows *x, int64_t first, int num, float *out) {
    const float *from = x->numbers + first * x->columns;
    __m256 sums[2][TOGETHER];
    for (int m = 0; m < num; m++) sums[0][m] = sums[1][m] = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 16 <= x->columns; i += 16)
        for (int half = 0; half < 2; half++) {
            __m256 w = load8(kind, row, i + 8 * half);
            for (int m = 0; m < num; m++) {
                __m256 v = _mm256_loadu_ps(from + m * x->columns + i + 8 * half);
                sums[half][m] = _mm256_fmadd_ps(w, v, sums[half][m]);
            }
        }
    for (int m = 0; m < num; m++) {
        out[m] = sum8(_mm256_add_ps(sums[0][m], sums[1][m]));
        for (int64_t j = i; j < x->columns; j++) {
            float w = kind == F32 ? ((const float *)row)[j] : load_bf16((const uint16_t *)row + j);
            out[m] += w * from[m * x->columns + j];
        }
    }
}

INLINE void dot_int8(const int8_t *row, float scale, const Rows *x, int64_t first, int num, float *out) {
    __m256 sums[TOGETHER];
    for (int m = 0; m < num; m++) sums[m] = _mm256_setzero_ps();
    for (int64_t block = 0; block < x->blocks; block++) {
        const int8_t *bytes = row + block * BLOCK;
        int8_t last[BLOCK] = {0};
        if (block * BLOCK + BLOCK > x->columns) bytes = memcpy(last, bytes, x->columns % BLOCK);
        __m256i words[4];
        for (int n = 0; n < 4; n++)
            words[n] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)bytes + n));
        for (int m = 0; m < num; m++) {
            int64_t place = (first + m) * x->blocks + block;
            const int16_t *v = x->steps + place * BLOCK;
            __m256i sum = _mm256_madd_epi16(words[0], load16(v));
            for (int n = 1; n < 4; n++)
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(words[n], load16(v + 16 * n)));
            __m256 factor = _mm256_broadcast_ss(x->scales + place);
            sums[m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, sums[m]);
        }
    }
    for (int m = 0; m < num; m++) out[m] = sum8(sums[m]) * scale;
}

/* What 32 codes stand for, in steps; `planes` has the low bytes of the sixteen, and the high ones. */
INLINE void look_up(__m256i codes, const __m256i planes[2], __m256i words[2]) {
    __m256i low = _mm256_shuffle_epi8(planes[0], codes);
    __m256i high = _mm256_shuffle_epi8(planes[1], codes);
    words[0] = _mm256_unpacklo_epi8(low, high);
    words[1] = _mm256_unpackhi_epi8(low, high);
}

INLINE void dot_nf4(const Matrix *matrix, int64_t row, const __m256i planes[2], const float *byte_scales,
                    const Rows *x, int64_t first, int num, float *out) {
    const int64_t first_block = row * x->blocks;
    const __m256i *packed = (const __m256i *)matrix->numbers + first_block;
    const uint8_t *scales = (const uint8_t *)matrix->scale + first_block;
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256 sums[TOGETHER];
    for (int m = 0; m < num; m++) sums[m] = _mm256_setzero_ps();
    for (int64_t block = 0; block < x->blocks; block++) {
        __m256i pairs = _mm256_loadu_si256(packed + block), words[4];
        look_up(_mm256_and_si256(_mm256_srli_epi16(pairs, 4), nibble), planes, words);
        look_up(_mm256_and_si256(pairs, nibble), planes, words + 2);
        float nested = matrix->nested[(first_block + block) / NESTED];
        float scale = byte_scales[scales[block]] * nested + *matrix->offset;
        for (int m = 0; m < num; m++) {
            int64_t place = (first + m) * x->blocks + block;
            const int16_t *v = x->unpacked + place * BLOCK;
            __m256i sum = _mm256_madd_epi16(words[0], load16(v));
            for (int n = 1; n < 4; n++)
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(words[n], load16(v + 16 * n)));
            __m256 factor = _mm256_set1_ps(scale * x->scales[place]);
            sums[m] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, sums[m]);
        }
    }
    for (int m = 0; m < num; m++) out[m] = sum8(sums[m]) * (1.0f / STEPS);
}

/* A row of a matrix times `num` rows of x; `num` is known where this is inlined. */
INLINE void dot(const Matrix *matrix, int64_t row, const __m256i planes[2], const float *byte_scales,
                const Rows *x, int64_t first, int num, float *out) {
    const int64_t start = row * x->columns;
    if (matrix->kind == NF4) dot_nf4(matrix, row, planes, byte_scales, x, first, num, out);
    if (matrix->kind == INT8)
        dot_int8((const int8_t *)matrix->numbers + start, ((const float *)matrix->scale)[row], x, first, num, out);
    if (matrix->kind == F32) dot_plain(F32, (const float *)matrix->numbers + start, x, first, num, out);
    if (matrix->kind == BF16) dot_plain(BF16, (const uint16_t *)matrix->numbers + start, x, first, num, out);
}

/* Round a block of x to so many steps; return how much one is. */
static float round_block(const float x[BLOCK], int num_steps, int16_t steps[BLOCK]) {
    __m256 sign = _mm256_set1_ps(-0.0f), largest = _mm256_setzero_ps();
    for (int n = 0; n < BLOCK; n += 8)
        largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, _mm256_loadu_ps(x + n)));
    float limit = largest8(largest);
    __m256 inverse = _mm256_set1_ps(limit > 0 ? num_steps / limit : 0);
    for (int n = 0; n < BLOCK; n += 16) {
        __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + n), inverse));
        __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + n + 8), inverse));
        store16(steps + n, joined(low, high));
    }
    return limit / num_steps;
}

/* Put a block in the order of `look_up`: numbers of the high codes, which come first in a pair,
   and then of the low ones, of each the halves of both lanes in turn. */
static void unpack_block(const int16_t steps[BLOCK], int16_t out[BLOCK]) {
    for (int n = 0; n < 2; n++) {
        __m256i low = load16(steps + 16 * n), high = load16(steps + 16 * n + 32);
        __m256i first = joined(_mm256_srai_epi32(_mm256_slli_epi32(low, 16), 16),
                               _mm256_srai_epi32(_mm256_slli_epi32(high, 16), 16));
        store16(out + 16 * n, first);
        store16(out + 16 * n + 32, joined(_mm256_srai_epi32(low, 16), _mm256_srai_epi32(high, 16)));
    }
}

static void round_rows(Rows *x, int64_t num, int is_packed) {
    for (int64_t m = 0; m < num; m++)
        for (int64_t block = 0; block < x->blocks; block++) {
            int64_t left = x->columns - block * BLOCK, place = m * x->blocks + block;
            const float *from = x->numbers + m * x->columns + block * BLOCK;
            float last[BLOCK] = {0};
            if (left < BLOCK) from = memcpy(last, from, left * sizeof(float));
            int num_steps = is_packed ? FEW_STEPS : STEPS;
            x->scales[place] = round_block(from, num_steps, x->steps + place * BLOCK);
            if (is_packed) unpack_block(x->steps + place * BLOCK, x->unpacked + place * BLOCK);
        }
}

/* What rows are before they are multiplied: over their root mean square, or gated. */
static void prepare(const MultiplySizes *size, const float *from, const float *norm, float eps, float *to) {
    const int64_t columns = size->columns;
    for (int64_t m = 0; m < size->num; m++, to += columns, from += columns * (1 + size->is_gated)) {
        __m256 squares = _mm256_setzero_ps(), factor = _mm256_set1_ps(1.0f);
        for (int64_t i = 0; norm && i < columns; i += 8) {
            __m256 v = _mm256_loadu_ps(from + i);
            squares = _mm256_fmadd_ps(v, v, squares);
        }
        if (norm) factor = _mm256_set1_ps(1 / sqrtf(sum8(squares) / columns + eps));
        for (int64_t i = 0; i < columns; i += 8) {
            __m256 v = _mm256_loadu_ps(from + i);
            if (norm) v = _mm256_mul_ps(_mm256_mul_ps(v, factor), _mm256_loadu_ps(norm + i));
            if (size->is_gated) v = _mm256_mul_ps(silu8(v), _mm256_loadu_ps(from + columns + i));
            _mm256_storeu_ps(to + i, v);
        }
    }
}

/* Multiply `numbers` [num, columns] by each of the matrices; out [num, rows of all]. Where `norm`
   [columns] is given, the rows are brought to its length first. */
void multiply(const MultiplySizes *size, const Matrix *matrices, const float *numbers, const float *norm,
              float eps, const float *code, const float *byte_scales, float *out) {
    const int64_t num = size->num, columns = size->columns;
    Rows x = {.numbers = numbers, .columns = columns, .blocks = (columns + BLOCK - 1) / BLOCK};
    int64_t width = 0, num_blocks = num * x.blocks, is_rounded = 0, is_packed = 0;
    for (int64_t n = 0; n < size->num_matrices; n++) {
        width += matrices[n].rows;
        is_rounded |= matrices[n].kind >= INT8;
        is_packed |= matrices[n].kind == NF4;
    }
    float *prepared = malloc(num_blocks * (BLOCK * (sizeof(float) + 2 * sizeof(int16_t)) + sizeof(float)));
    if (norm || size->is_gated) {
        prepare(size, numbers, norm, eps, prepared);
        x.numbers = prepared;
    }
    if (num >= (is_packed ? MANY_NF4 : is_rounded ? MANY_INT8 : MANY_PLAIN)) {
        multiply_many(size, matrices, x.numbers, code, byte_scales, out);
        free(prepared);
        return;
    }
    x.steps = (int16_t *)(prepared + num_blocks * BLOCK);
    x.unpacked = x.steps + num_blocks * BLOCK;
    x.scales = (float *)(x.unpacked + num_blocks * BLOCK);
    if (is_rounded) round_rows(&x, num, is_packed);
    uint8_t bytes[2][16];
    __m256i planes[2];
    for (int n = 0; n < 16; n++) {
        int16_t step = (int16_t)lrintf(code[n] * STEPS);
        bytes[0][n] = step & 255, bytes[1][n] = step >> 8 & 255;
    }
    for (int plane = 0; plane < 2; plane++)
        planes[plane] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)bytes[plane]));
#pragma omp parallel for schedule(dynamic, 4) if (width * columns > 65536)
    for (int64_t chunk = 0; chunk < (width + CHUNK - 1) / CHUNK; chunk++) {
        const Matrix *matrix = matrices;
        int64_t before = 0, end = (chunk + 1) * CHUNK < width ? (chunk + 1) * CHUNK : width;
        for (int64_t column = chunk * CHUNK; column < end; column++) {
            while (column - before >= matrix->rows) before += matrix++->rows;
            for (int64_t m = 0; m < num; m += TOGETHER) {
                float sums[TOGETHER];
                int64_t left = num - m < TOGETHER ? num - m : TOGETHER;
#define DOT(n) dot(matrix, column - before, planes, byte_scales, &x, m, n, sums)
                if (left == 1) DOT(1);
                if (left == 2) DOT(2);
                if (left == 3) DOT(3);
                if (left == 4) DOT(4);
                for (int64_t n = 0; n < left; n++) {
                    float *to = out + (m + n) * width + column;
                    *to = size->adds ? *to + sums[n] : sums[n];
                }
            }
        }
    }
    free(prepared);
}
