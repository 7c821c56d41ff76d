/* What lies between the matrices of a layer, for a few tokens: norms, and the two ways to remember.

   Sizes are given as structs; tensors are dense in the order that is said, float where nothing else
   is. The mathematics are in `gated_delta.py` and `attention.py`. */

#include "simd.h"

#define TOGETHER 4   /* queries that meet a key while it is in registers */
#define TILE 32      /* keys whose scores are held */
#define MAX_DIM 512  /* of a head of attention */
#define NEVER -1e30f /* the score of a key that may not be seen */

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
   keys and queries [tokens, key_dim] have length one; the others are those of the first token. A
   state that is not read again goes past the caches. */
INLINE void delta_columns(const DeltaSizes *size, int strips, const float *queries, const float *keys,
                          const float *values, int64_t values_apart, const float *log_decay, const float *beta,
                          const float *state, float *new_state, float *out) {
    const int64_t apart = size->value_dim;
    for (int64_t t = 0; t < size->tokens; t++) {
        const float *from = t ? new_state : state, *q = queries + t * size->key_dim, *k = keys + t * size->key_dim;
        __m256 kept = _mm256_set1_ps(expf(log_decay[t * size->heads])), step = _mm256_set1_ps(beta[t * size->heads]);
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
                if (size->tokens == 1) _mm256_stream_ps(new_state + i * apart + 8 * s, faded);
                else _mm256_storeu_ps(new_state + i * apart + 8 * s, faded);
                output[s] = _mm256_fmadd_ps(_mm256_set1_ps(q[i]), faded, output[s]);
            }
        for (int s = 0; s < strips; s++)
            _mm256_storeu_ps(out + t * size->heads * apart + 8 * s, output[s]);
    }
    _mm_sfence(); /* what was streamed past the caches is there for whoever reads it next */
}

/* Bring `num` numbers to length `length`. */
static void scale_to(float *x, int64_t num, float length) {
    float sum = 0;
    for (int64_t n = 0; n < num; n++) sum += x[n] * x[n];
    float factor = length / sqrtf(sum + 1e-6f);
    for (int64_t n = 0; n < num; n++) x[n] *= factor;
}

/* Convolve `mixed` [tokens, channels], then run the recurrence: what lies between the projections
   of a Gated DeltaNet layer. before, after [channels, width]; weight [channels, width + 1]; log_decay,
   beta [tokens, heads]; state, new_state [heads, key_dim, value_dim]; out [tokens, heads, value_dim]. */
void delta(const DeltaSizes *size, const float *mixed, const float *before, const float *weight,
           const float *log_decay, const float *beta, const float *state, float *after, float *new_state, float *out) {
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
                                    log_decay + head, beta + head, state + start, new_state + start, out + place)
            if (columns == 32) DELTA(4);
            else DELTA(1);
        }
    }
    free(convolved);
}

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
