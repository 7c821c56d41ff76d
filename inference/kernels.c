/* The inner loops of a forward over few tokens on a CPU; `kernels.py` compiles and calls them.

   Each reads what it needs from memory once, as it is stored, and keeps what it makes of it in
   registers; torch makes a quantized matrix dense first, or needs several times the cycles. x86
   with AVX2 and FMA. Where a matrix is quantized, x is rounded to 16 bits a block of 64: pairs of
   products then fit an instruction, and what is lost is a hundredth of what bfloat16 loses. */

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define BLOCK 64      /* numbers of NF4 that share a scale ... */
#define NESTED 256    /* ... and scales that share one */
#define STEPS 32767   /* of a block of x, and of the sixteen numbers of NF4 */
#define TOGETHER 4    /* rows of x that meet a row of a matrix while it is in registers */
#define CHUNK 16      /* rows of a matrix that a thread takes at a time */
#define TILE 32       /* keys whose scores are held */
#define NEVER -1e30f  /* the score of a key that may not be seen */
#define MAX_DIM 512   /* of a head of attention */

enum { F32, BF16, INT8, NF4 };

typedef struct {
    const void *numbers;  /* [rows, columns]; NF4: two a byte, the first in the high bits */
    const void *scale;    /* INT8: float [rows]; NF4: a byte a block */
    const float *nested;  /* NF4: what those bytes are multiplied by ... */
    const float *offset;  /* ... and what is added */
    int64_t kind, rows;
} Matrix;

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

INLINE float sum8(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

INLINE float largest8(__m256 v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* exp by Cephes' polynomial, to 2 units in the last place; below -87 it is that of -87. */
INLINE __m256 exp8(__m256 x) {
    static const float terms[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                                  1.6666665459e-1f, 5.0000001201e-1f};
    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.0f)), _mm256_set1_ps(88.0f));
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), 8);
    x = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
    x = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), x);
    __m256 y = _mm256_set1_ps(1.9875691500e-4f);
    for (int term = 0; term < 5; term++) y = _mm256_fmadd_ps(y, x, _mm256_set1_ps(terms[term]));
    y = _mm256_fmadd_ps(y, _mm256_mul_ps(x, x), _mm256_add_ps(x, _mm256_set1_ps(1.0f)));
    __m256i power = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32(power, 23)));
}

INLINE __m256 silu8(__m256 x) {
    __m256 below = _mm256_add_ps(_mm256_set1_ps(1.0f), exp8(_mm256_sub_ps(_mm256_setzero_ps(), x)));
    return _mm256_div_ps(x, below);
}

/* Eight numbers from the i-th on. */
INLINE __m256 load8(int kind, const void *from, int64_t i) {
    if (kind == F32) return _mm256_loadu_ps((const float *)from + i);
    if (kind == BF16) {
        __m128i halves = _mm_loadu_si128((const __m128i *)((const uint16_t *)from + i));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
    __m128i bytes = _mm_loadl_epi64((const __m128i *)((const int8_t *)from + i));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

INLINE float load_bf16(const uint16_t *from) {
    uint32_t bits = (uint32_t)*from << 16;
    float number;
    memcpy(&number, &bits, 4);
    return number;
}

/* ---- Matrices ---- */

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
            __m256 part = _mm256_cvtepi32_ps(_mm256_madd_epi16(words[0], load16(v)));
            for (int n = 1; n < 4; n++) {
                __m256i products = _mm256_madd_epi16(words[n], load16(v + 16 * n));
                part = _mm256_add_ps(part, _mm256_cvtepi32_ps(products));
            }
            __m256 factor = _mm256_set1_ps(scale * x->scales[place]);
            sums[m] = _mm256_fmadd_ps(part, factor, sums[m]);
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

/* Round a block of x to steps. */
static float round_block(const float x[BLOCK], int16_t steps[BLOCK]) {
    __m256 sign = _mm256_set1_ps(-0.0f), largest = _mm256_setzero_ps();
    for (int n = 0; n < BLOCK; n += 8)
        largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, _mm256_loadu_ps(x + n)));
    float limit = largest8(largest);
    __m256 inverse = _mm256_set1_ps(limit > 0 ? STEPS / limit : 0);
    for (int n = 0; n < BLOCK; n += 16) {
        __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + n), inverse));
        __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + n + 8), inverse));
        store16(steps + n, joined(low, high));
    }
    return limit / STEPS;
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
            x->scales[place] = round_block(from, x->steps + place * BLOCK);
            if (is_packed) unpack_block(x->steps + place * BLOCK, x->unpacked + place * BLOCK);
        }
}

/* Multiply x [num, columns] by each of the matrices; out [num, rows of all]. */
void multiply(const Matrix *matrices, int64_t num_matrices, const float *numbers, int64_t num,
              int64_t columns, const float *code, const float *byte_scales, float *out) {
    Rows x = {.numbers = numbers, .columns = columns, .blocks = (columns + BLOCK - 1) / BLOCK};
    int64_t width = 0, num_blocks = num * x.blocks, is_rounded = 0, is_packed = 0;
    for (int64_t n = 0; n < num_matrices; n++) {
        width += matrices[n].rows;
        is_rounded |= matrices[n].kind >= INT8;
        is_packed |= matrices[n].kind == NF4;
    }
    x.steps = malloc(num_blocks * (2 * BLOCK * sizeof(int16_t) + sizeof(float)));
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
                for (int64_t n = 0; n < left; n++) out[(m + n) * width + column] = sums[n];
            }
        }
    }
    free(x.steps);
}

/* ---- Layers with a state ---- */

/* The causal convolution of one channel at one token, over the last `width` + 1 inputs. */
INLINE float convolve(const float *mixed, const float *before, const float *weight, int64_t token,
                      int64_t channel, int64_t channels, int64_t width) {
    float sum = 0;
    for (int64_t n = 0; n <= width; n++) {
        int64_t from = token + n - width;
        sum += weight[channel * (width + 1) + n] *
               (from < 0 ? before[channel * width + token + n] : mixed[from * channels + channel]);
    }
    return sum;
}

typedef struct {
    int64_t tokens, key_heads, heads, key_dim, value_dim, width;
} DeltaSizes;

/* The gated delta rule over `strips` times eight columns of one head's state (`gated_delta.py`).
   keys and queries [tokens, key_dim] have length one; the others are those of the first token. */
INLINE void delta_columns(const DeltaSizes *size, int strips, const float *queries, const float *keys,
                          const float *values, int64_t values_apart, const float *decay, const float *beta,
                          const float *state, float *new_state, float *out) {
    const int64_t apart = size->value_dim;
    for (int64_t t = 0; t < size->tokens; t++) {
        const float *from = t ? new_state : state, *q = queries + t * size->key_dim, *k = keys + t * size->key_dim;
        __m256 kept = _mm256_set1_ps(decay[t * size->heads]), step = _mm256_set1_ps(beta[t * size->heads]);
        __m256 answer[4], output[4];
        for (int s = 0; s < strips; s++) answer[s] = output[s] = _mm256_setzero_ps();
        for (int64_t i = 0; i < size->key_dim; i++)
            for (int s = 0; s < strips; s++)
                answer[s] = _mm256_fmadd_ps(_mm256_set1_ps(k[i]), _mm256_loadu_ps(from + i * apart + 8 * s), answer[s]);
        for (int s = 0; s < strips; s++) {
            __m256 value = _mm256_loadu_ps(values + t * values_apart + 8 * s);
            answer[s] = _mm256_mul_ps(step, _mm256_fnmadd_ps(kept, answer[s], value));
        }
        for (int64_t i = 0; i < size->key_dim; i++)
            for (int s = 0; s < strips; s++) {
                __m256 faded = _mm256_mul_ps(kept, _mm256_loadu_ps(from + i * apart + 8 * s));
                faded = _mm256_fmadd_ps(_mm256_set1_ps(k[i]), answer[s], faded);
                _mm256_storeu_ps(new_state + i * apart + 8 * s, faded);
                output[s] = _mm256_fmadd_ps(_mm256_set1_ps(q[i]), faded, output[s]);
            }
        for (int s = 0; s < strips; s++)
            _mm256_storeu_ps(out + t * size->heads * apart + 8 * s, output[s]);
    }
}

/* Bring `num` numbers to length `length`. */
static void scale_to(float *x, int64_t num, float length) {
    float sum = 0;
    for (int64_t n = 0; n < num; n++) sum += x[n] * x[n];
    float factor = length / sqrtf(sum + 1e-6f);
    for (int64_t n = 0; n < num; n++) x[n] *= factor;
}

/* Convolve `mixed` [tokens, channels], then run the recurrence: what lies between the projections
   of a Gated DeltaNet layer. before, after [channels, width]; weight [channels, width + 1]; decay,
   beta [tokens, heads]; state, new_state [heads, key_dim, value_dim]; out [tokens, heads, value_dim]. */
void delta(const DeltaSizes *size, const float *mixed, const float *before, const float *weight,
           const float *decay, const float *beta, const float *state, float *after, float *new_state, float *out) {
    const int64_t keys = size->key_heads * size->key_dim, tokens = size->tokens, width = size->width;
    const int64_t channels = 2 * keys + size->heads * size->value_dim;
    const int64_t columns = size->value_dim % 32 ? 8 : 32, parts = size->value_dim / columns;
    float *convolved = malloc(tokens * (channels + 2 * keys) * sizeof(float));
    float *ordered = convolved + tokens * channels; /* [queries and keys, heads, tokens, key_dim] */
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t first = 0; first < channels; first += 8) {
            for (int64_t t = 0; t < tokens; t++) {
                float *to = convolved + t * channels + first;
                for (int64_t n = 0; n < 8; n++)
                    to[n] = convolve(mixed, before, weight, t, first + n, channels, width);
                _mm256_storeu_ps(to, silu8(_mm256_loadu_ps(to)));
            }
            for (int64_t c = first; c < first + 8; c++)
                for (int64_t n = 0; n < width; n++) {
                    int64_t from = tokens + n - width;
                    after[c * width + n] = from < 0 ? before[c * width + tokens + n] : mixed[from * channels + c];
                }
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < 2 * size->key_heads * tokens; row++) {
            int64_t head = row / tokens, t = row % tokens;
            float *to = ordered + row * size->key_dim;
            memcpy(to, convolved + t * channels + head * size->key_dim, size->key_dim * sizeof(float));
            scale_to(to, size->key_dim, head < size->key_heads ? 1 / sqrtf(size->key_dim) : 1);
        }
#pragma omp for schedule(static)
        for (int64_t part = 0; part < size->heads * parts; part++) {
            int64_t head = part / parts, place = head * size->value_dim + part % parts * columns;
            int64_t start = head * size->key_dim * size->value_dim + part % parts * columns;
            const float *queries = ordered + head * size->key_heads / size->heads * tokens * size->key_dim;
            const float *values = convolved + 2 * keys + place;
#define DELTA(strips) delta_columns(size, strips, queries, queries + tokens * keys, values, channels, \
                                    decay + head, beta + head, state + start, new_state + start, out + place)
            if (columns == 32) DELTA(4);
            else DELTA(1);
        }
    }
    free(convolved);
}

/* ---- Norms and attention ---- */

typedef struct {
    int64_t tokens, heads, dim, token_apart, head_apart, turned;
} NormSizes;

/* x / rms(x) * weight for each head of each token, into out [tokens, heads, dim]. Then, where given,
   times silu of `gate`, which lies like x but `gate_apart` a token, or turned by the angles of its
   token: cosines and sines [tokens, turned / 2]. */
void norm(const NormSizes *size, const float *x, const float *weight, float eps, const float *gate,
          int64_t gate_apart, const float *cosines, const float *sines, float *out) {
    for (int64_t row = 0; row < size->tokens * size->heads; row++) {
        int64_t t = row / size->heads, head = row % size->heads, half = size->turned / 2;
        const float *from = x + t * size->token_apart + head * size->head_apart;
        float *to = out + row * size->dim;
        __m256 squares = _mm256_setzero_ps();
        for (int64_t i = 0; i < size->dim; i += 8) {
            __m256 v = _mm256_loadu_ps(from + i);
            squares = _mm256_fmadd_ps(v, v, squares);
        }
        __m256 factor = _mm256_set1_ps(1 / sqrtf(sum8(squares) / size->dim + eps));
        for (int64_t i = 0; i < size->dim; i += 8) {
            __m256 v = _mm256_mul_ps(_mm256_loadu_ps(from + i), factor);
            v = _mm256_mul_ps(v, _mm256_loadu_ps(weight + i));
            if (gate) {
                __m256 opening = silu8(_mm256_loadu_ps(gate + t * gate_apart + head * size->head_apart + i));
                v = _mm256_mul_ps(v, opening);
            }
            _mm256_storeu_ps(to + i, v);
        }
        for (int64_t i = 0; i < half; i++) {
            float first = to[i], second = to[i + half], c = cosines[t * half + i], s = sines[t * half + i];
            to[i] = first * c - second * s;
            to[i + half] = second * c + first * s;
        }
    }
}

typedef struct {
    int64_t kind, kv_heads, rows, dim, tokens;
    int64_t head_apart, scale_head_apart; /* between heads: of numbers, of scales */
    int64_t parts;
} AttendSizes;

/* Let four queries read the keys from `first` to `end` of one head; `seen` is how many each may. */
INLINE void attend_four(const AttendSizes *size, int kind, const void *keys, const void *values,
                        const uint16_t *key_scales, const uint16_t *value_scales, const float *queries[TOGETHER],
                        const int64_t seen[TOGETHER], int64_t first, int64_t end, float *out, float weight[TOGETHER]) {
    const int64_t dim = size->dim;
    float largest[TOGETHER], sums[TOGETHER] = {0}, scores[TOGETHER][TILE];
    for (int m = 0; m < TOGETHER; m++) largest[m] = NEVER;
    memset(out, 0, TOGETHER * dim * sizeof(float));
    for (int64_t tile = first; tile < end; tile += TILE) {
        int64_t num = end - tile < TILE ? end - tile : TILE;
        for (int64_t j = 0; j < TILE; j++) {
            __m256 dots[TOGETHER];
            for (int m = 0; m < TOGETHER; m++) dots[m] = _mm256_setzero_ps();
            for (int64_t i = 0; j < num && i < dim; i += 8) {
                __m256 key = load8(kind, keys, (tile + j) * dim + i);
                for (int m = 0; m < TOGETHER; m++)
                    dots[m] = _mm256_fmadd_ps(key, _mm256_loadu_ps(queries[m] + i), dots[m]);
            }
            float scale = kind == INT8 && j < num ? load_bf16(key_scales + tile + j) : 1;
            for (int m = 0; m < TOGETHER; m++)
                scores[m][j] = j < num && tile + j < seen[m] ? sum8(dots[m]) * scale : NEVER;
        }
        for (int m = 0; m < TOGETHER; m++) {
            __m256 top = _mm256_set1_ps(largest[m]);
            for (int j = 0; j < TILE; j += 8) top = _mm256_max_ps(top, _mm256_loadu_ps(scores[m] + j));
            float before = largest[m];
            largest[m] = largest8(top);
            if (largest[m] > before) {
                float left = sums[m] > 0 ? expf(before - largest[m]) : 0;
                sums[m] *= left;
                for (int64_t i = 0; i < dim; i++) out[m * dim + i] *= left;
            }
            __m256 total = _mm256_setzero_ps(), limit = _mm256_set1_ps(NEVER);
            for (int j = 0; j < TILE; j += 8) {
                __m256 score = _mm256_loadu_ps(scores[m] + j);
                __m256 share = exp8(_mm256_sub_ps(score, _mm256_set1_ps(largest[m])));
                share = _mm256_and_ps(share, _mm256_cmp_ps(score, limit, _CMP_GT_OQ));
                total = _mm256_add_ps(total, share);
                _mm256_storeu_ps(scores[m] + j, share);
            }
            sums[m] += sum8(total);
            for (int64_t j = 0; kind == INT8 && j < num; j++) scores[m][j] *= load_bf16(value_scales + tile + j);
        }
        for (int64_t i = 0; i < dim; i += 8) {
            __m256 read[TOGETHER];
            for (int m = 0; m < TOGETHER; m++) read[m] = _mm256_loadu_ps(out + m * dim + i);
            for (int64_t j = 0; j < num; j++) {
                __m256 value = load8(kind, values, (tile + j) * dim + i);
                for (int m = 0; m < TOGETHER; m++)
                    read[m] = _mm256_fmadd_ps(value, _mm256_broadcast_ss(scores[m] + j), read[m]);
            }
            for (int m = 0; m < TOGETHER; m++) _mm256_storeu_ps(out + m * dim + i, read[m]);
        }
    }
    for (int m = 0; m < TOGETHER; m++) {
        for (int64_t i = 0; i < dim && sums[m] > 0; i++) out[m * dim + i] /= sums[m];
        weight[m] = sums[m] > 0 ? largest[m] + logf(sums[m]) : -INFINITY;
    }
}

/* Let `rows` queries of each key head, [kv_heads, rows, dim], read the keys and values of a run of
   pages in `parts`: out [parts, kv_heads, rows, dim] and the logarithms of their sums of
   exponentials, weights [parts, kv_heads, rows]. `seen` [rows] is how many keys each may see. */
void attend(const AttendSizes *size, const void *keys, const void *values, const void *key_scales,
            const void *value_scales, const float *queries, const int64_t *seen, float *out, float *weights) {
    const int64_t width = size->kind == INT8 ? 1 : size->kind == BF16 ? 2 : 4;
    const int64_t step = (size->tokens + size->parts - 1) / size->parts;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int64_t part = 0; part < size->parts; part++)
        for (int64_t head = 0; head < size->kv_heads; head++)
            for (int64_t row = 0; row < size->rows; row += TOGETHER) {
                const float *four[TOGETHER];
                int64_t limits[TOGETHER], first = part * step, place = (part * size->kv_heads + head) * size->rows + row;
                int64_t end = first + step < size->tokens ? first + step : size->tokens;
                int64_t left = size->rows - row < TOGETHER ? size->rows - row : TOGETHER;
                for (int m = 0; m < TOGETHER; m++) {
                    int64_t from = row + (m < left ? m : left - 1);
                    four[m] = queries + (head * size->rows + from) * size->dim;
                    limits[m] = seen[from];
                }
                float read[TOGETHER * MAX_DIM], weight[TOGETHER];
                const char *k = (const char *)keys + head * size->head_apart * width;
                const char *v = (const char *)values + head * size->head_apart * width;
                const uint16_t *ks = (const uint16_t *)key_scales + head * size->scale_head_apart;
                const uint16_t *vs = (const uint16_t *)value_scales + head * size->scale_head_apart;
#define ATTEND(kind) attend_four(size, kind, k, v, ks, vs, four, limits, first, end, read, weight)
                if (size->kind == INT8) ATTEND(INT8);
                if (size->kind == BF16) ATTEND(BF16);
                if (size->kind == F32) ATTEND(F32);
                memcpy(out + place * size->dim, read, left * size->dim * sizeof(float));
                memcpy(weights + place, weight, left * sizeof(float));
            }
}
