/* Matrices as they are stored, and what is asked of them. */

#include "simd.h"

#define BLOCK 64   /* numbers of NF4 that share a scale ... */
#define NESTED 256 /* ... and scales that share one */

typedef struct {
    const void *numbers;  /* [rows, columns]; NF4: two a byte, the first in the high bits */
    const void *scale;    /* INT8: float [rows]; NF4: a byte a block */
    const float *nested;  /* NF4: what those bytes are multiplied by ... */
    const float *offset;  /* ... and what is added */
    int64_t kind, rows;
} Matrix;

typedef struct {
    int64_t num_matrices, num, columns; /* num: of rows */
    int64_t is_gated;                   /* rows are [2, columns]: silu of the first is a factor */
    int64_t adds;                       /* products are added to what is in `out` */
} MultiplySizes;

/* Many rows times matrices: `multiply` of rows that are prepared. */
void multiply_many(const MultiplySizes *size, const Matrix *matrices, const float *rows, const float *code,
                   const float *byte_scales, float *out);
