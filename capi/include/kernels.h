// The kernels from C: matrix products and functions whose bits depend on neither CPU, threads nor blocks.
//
// Written by cbindgen from capi/src, and compared with it by a test; see docs/linking.md.
//
// The prototypes of the BLAS names come with KERNELS_BLAS defined before this header is included, for programs that
// have no cblas.h.

#ifndef KERNELS_H
#define KERNELS_H

#include <stddef.h>
#include <stdint.h>

// What a call returns. All but KERNELS_OK, KERNELS_BUFFER and KERNELS_INTERNAL mean that nothing has been written.
enum kernels_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  KERNELS_OK = 0,
  // A pointer is null where something is to be read or written.
  KERNELS_NULL = 1,
  // An option, a function or a parameter that this library does not know.
  KERNELS_OPTION = 2,
  // Matrices or vectors whose sizes do not go together.
  KERNELS_SHAPE = 3,
  // Strides by which elements of C overlap, a size that overflows or exceeds the memory, or a pointer that is not
  // aligned.
  KERNELS_LAYOUT = 4,
  // A matrix that lies otherwise than the plan of the call was made for.
  KERNELS_PLAN = 5,
  // A matrix packed for the other side, or for another instruction set.
  KERNELS_PACKED = 6,
  // An instruction set that this CPU lacks.
  KERNELS_ISA = 7,
  // A buffer that is too small; it holds the start of the text.
  KERNELS_BUFFER = 8,
  // A fault of the library, or a thread that could not be started. C may have been written.
  KERNELS_INTERNAL = 9,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kernels_status kernels_status;
#else
typedef int32_t kernels_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A function of one number: of arrays, and for those up to KERNELS_HARD_SWISH, of the elements of a product.
enum kernels_function
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // x
  KERNELS_IDENTITY = 0,
  // 0 where x < 0, else x
  KERNELS_RELU = 1,
  // parameter x where x < 0, else x
  KERNELS_LEAKY_RELU = 2,
  // parameter (e^x - 1) where x <= 0, else x
  KERNELS_ELU = 3,
  // tanh x
  KERNELS_TANH = 4,
  // 1 / (1 + e^-x)
  KERNELS_SIGMOID = 5,
  // x (1 + erf(x / sqrt 2)) / 2
  KERNELS_GELU = 6,
  // x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
  KERNELS_GELU_TANH = 7,
  // x / (1 + e^-x)
  KERNELS_SILU = 8,
  // ln(1 + e^x)
  KERNELS_SOFTPLUS = 9,
  // x tanh(ln(1 + e^x))
  KERNELS_MISH = 10,
  // 0 where x <= -3, x where x >= 3, else x (x + 3) / 6
  KERNELS_HARD_SWISH = 11,
  // e^x
  KERNELS_EXP = 64,
  // 2^x
  KERNELS_EXP2 = 65,
  // e^x - 1
  KERNELS_EXPM1 = 66,
  // The natural logarithm
  KERNELS_LN = 67,
  // ln(1 + x)
  KERNELS_LOG1P = 68,
  // The error function
  KERNELS_ERF = 69,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kernels_function kernels_function;
#else
typedef int32_t kernels_function;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How exactly a product of f32 matrices is computed; operands, sums and result are f32 in all of them.
enum kernels_precision
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // f32 multiplications: the same bits on every CPU.
  KERNELS_F32 = 0,
  // As exact as f32, by six bf16 products on a tile unit; where there is none, the same as KERNELS_F32.
  KERNELS_F32_AMX = 1,
  // Operands of 16 significant bits or a little more: three bf16 products on a tile unit.
  KERNELS_BF16X3 = 2,
  // Operands of 8 significant bits: one bf16 product on a tile unit.
  KERNELS_BF16 = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kernels_precision kernels_precision;
#else
typedef int32_t kernels_precision;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A or B, packed once for many products. Any number of threads can use it at once.
typedef struct kernels_packed_f32 kernels_packed_f32;

// A or B, packed once for many products. Any number of threads can use it at once.
typedef struct kernels_packed_f64 kernels_packed_f64;

// How products of fixed layouts are computed, chosen once.
typedef struct kernels_plan_f32 kernels_plan_f32;

// How products of fixed layouts are computed, chosen once.
typedef struct kernels_plan_f64 kernels_plan_f64;

// A team of threads. Its workers belong to the process that made it: in a child of `fork`, which they did not follow,
// the caller computes alone.
typedef struct kernels_team kernels_team;

// Memory for packed panels, in place of a buffer that each thread keeps. Any number of threads can use it at once.
typedef struct kernels_workspace kernels_workspace;

// The settings of C <- activation(alpha A B + beta C + bias). kernels_options_init_f32 (or f64) fills in the defaults:
// set what differs. Null pointers and zeros are "not set".
//
// The structure grows at its end in later versions; `size` tells the library which one the program was compiled with.
typedef struct kernels_options_f32 {
  // sizeof of this structure.
  size_t size;
  // Factor of the product, 1 by default; at 0, A and B are not read.
  float alpha;
  // Factor of the old C, 0 by default; at 0, C is not read.
  float beta;
  // Added to each row (n values), or with bias_per_row to each column (m values).
  const float *bias;
  // How many values there are.
  size_t bias_len;
  // 0, or 1 for one value a row.
  int32_t bias_per_row;
  // A kernels_function up to KERNELS_HARD_SWISH, applied last. f64 has KERNELS_IDENTITY and KERNELS_RELU.
  int32_t activation;
  // The parameter of leaky ReLU and ELU.
  float activation_parameter;
  // A kernels_precision. f64 has KERNELS_F32 alone, the default, which is f64 there.
  int32_t precision;
  // Stands in the place of A, whose view is not looked at (and may be null).
  const struct kernels_packed_f32 *packed_a;
  // Stands in the place of B, whose view is not looked at (and may be null).
  const struct kernels_packed_f32 *packed_b;
  // How to compute, for calls with the layouts that it was made for; batches do not use it.
  const struct kernels_plan_f32 *plan;
  // Who computes, in place of the setting of kernels_set_num_threads.
  const struct kernels_team *team;
  // Where panels are packed.
  const struct kernels_workspace *workspace;
  // Block sizes and thresholds in place of the library's: all values of a line of a profile, in its order.
  const size_t *tuning;
  // How many values there are: as many as this version's profiles have.
  size_t tuning_len;
  // Packs both operands in blocks of this depth and this many columns, where both are set.
  size_t block_kc;
  // See block_kc.
  size_t block_nc;
  // An instruction set by name ("avx512", "amx", "avx2", "neon", "plain"), in place of the one in use.
  const char *isa;
  // 1 where the data of A's view are bf16 numbers (uint16_t, the upper halves of f32 numbers), which its strides
  // count then; 0 for those of the name. f64 has 0 alone.
  int32_t bf16_a;
  // The same of B.
  int32_t bf16_b;
} kernels_options_f32;

// The settings of C <- activation(alpha A B + beta C + bias). kernels_options_init_f32 (or f64) fills in the defaults:
// set what differs. Null pointers and zeros are "not set".
//
// The structure grows at its end in later versions; `size` tells the library which one the program was compiled with.
typedef struct kernels_options_f64 {
  // sizeof of this structure.
  size_t size;
  // Factor of the product, 1 by default; at 0, A and B are not read.
  double alpha;
  // Factor of the old C, 0 by default; at 0, C is not read.
  double beta;
  // Added to each row (n values), or with bias_per_row to each column (m values).
  const double *bias;
  // How many values there are.
  size_t bias_len;
  // 0, or 1 for one value a row.
  int32_t bias_per_row;
  // A kernels_function up to KERNELS_HARD_SWISH, applied last. f64 has KERNELS_IDENTITY and KERNELS_RELU.
  int32_t activation;
  // The parameter of leaky ReLU and ELU.
  float activation_parameter;
  // A kernels_precision. f64 has KERNELS_F32 alone, the default, which is f64 there.
  int32_t precision;
  // Stands in the place of A, whose view is not looked at (and may be null).
  const struct kernels_packed_f64 *packed_a;
  // Stands in the place of B, whose view is not looked at (and may be null).
  const struct kernels_packed_f64 *packed_b;
  // How to compute, for calls with the layouts that it was made for; batches do not use it.
  const struct kernels_plan_f64 *plan;
  // Who computes, in place of the setting of kernels_set_num_threads.
  const struct kernels_team *team;
  // Where panels are packed.
  const struct kernels_workspace *workspace;
  // Block sizes and thresholds in place of the library's: all values of a line of a profile, in its order.
  const size_t *tuning;
  // How many values there are: as many as this version's profiles have.
  size_t tuning_len;
  // Packs both operands in blocks of this depth and this many columns, where both are set.
  size_t block_kc;
  // See block_kc.
  size_t block_nc;
  // An instruction set by name ("avx512", "amx", "avx2", "neon", "plain"), in place of the one in use.
  const char *isa;
  // 1 where the data of A's view are bf16 numbers (uint16_t, the upper halves of f32 numbers), which its strides
  // count then; 0 for those of the name. f64 has 0 alone.
  int32_t bf16_a;
  // The same of B.
  int32_t bf16_b;
} kernels_options_f64;

// A matrix that is read: element (i, j) is data[i * row_stride + j * col_stride]. Strides count elements, and may be 0
// or negative; an empty matrix needs no data.
typedef struct kernels_view_f32 {
  // Element (0, 0).
  const float *data;
  // Number of rows.
  size_t rows;
  // Number of columns.
  size_t cols;
  // From a row to the next.
  ptrdiff_t row_stride;
  // From a column to the next.
  ptrdiff_t col_stride;
} kernels_view_f32;

// A matrix that is written, in which no two elements share a place.
typedef struct kernels_view_mut_f32 {
  // Element (0, 0).
  float *data;
  // Number of rows.
  size_t rows;
  // Number of columns.
  size_t cols;
  // From a row to the next.
  ptrdiff_t row_stride;
  // From a column to the next.
  ptrdiff_t col_stride;
} kernels_view_mut_f32;

// A matrix that is read: element (i, j) is data[i * row_stride + j * col_stride]. Strides count elements, and may be 0
// or negative; an empty matrix needs no data.
typedef struct kernels_view_f64 {
  // Element (0, 0).
  const double *data;
  // Number of rows.
  size_t rows;
  // Number of columns.
  size_t cols;
  // From a row to the next.
  ptrdiff_t row_stride;
  // From a column to the next.
  ptrdiff_t col_stride;
} kernels_view_f64;

// A matrix that is written, in which no two elements share a place.
typedef struct kernels_view_mut_f64 {
  // Element (0, 0).
  double *data;
  // Number of rows.
  size_t rows;
  // Number of columns.
  size_t cols;
  // From a row to the next.
  ptrdiff_t row_stride;
  // From a column to the next.
  ptrdiff_t col_stride;
} kernels_view_mut_f64;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The defaults: C <- A B. `size` is sizeof of the structure that the program was compiled with.
//
// # Safety
// `options` is null, or `size` bytes can be written there.
kernels_status kernels_options_init_f32(struct kernels_options_f32 *options, size_t size);

// As kernels_options_init_f32.
//
// # Safety
// As kernels_options_init_f32.
kernels_status kernels_options_init_f64(struct kernels_options_f64 *options, size_t size);

// C <- activation(alpha A B + beta C + bias), for A (m x k), B (k x n) and C (m x n) of any strides. Null options are
// the defaults: C <- A B.
//
// # Safety
// Each pointer is null or points to what it says; the elements of A and B (unless alpha is 0) and the bias can be
// read, those of C written, and read unless beta is 0; C overlaps nothing else.
kernels_status kernels_gemm_f32(const struct kernels_view_f32 *a,
                                const struct kernels_view_f32 *b,
                                const struct kernels_view_mut_f32 *c,
                                const struct kernels_options_f32 *options);

// As kernels_gemm_f32.
//
// # Safety
// As kernels_gemm_f32.
kernels_status kernels_gemm_f64(const struct kernels_view_f64 *a,
                                const struct kernels_view_f64 *b,
                                const struct kernels_view_mut_f64 *c,
                                const struct kernels_options_f64 *options);

// `count` products of the same settings: matrix i begins i * stride elements after the first, which the view
// describes. A stride of 0 is one A (or B) for all. Each C ends before the next begins. Options with packed operands
// are refused.
//
// # Safety
// As kernels_gemm_f32, for each product.
kernels_status kernels_gemm_batch_f32(size_t count,
                                      const struct kernels_view_f32 *a,
                                      size_t stride_a,
                                      const struct kernels_view_f32 *b,
                                      size_t stride_b,
                                      const struct kernels_view_mut_f32 *c,
                                      size_t stride_c,
                                      const struct kernels_options_f32 *options);

// As kernels_gemm_batch_f32.
//
// # Safety
// As kernels_gemm_batch_f32.
kernels_status kernels_gemm_batch_f64(size_t count,
                                      const struct kernels_view_f64 *a,
                                      size_t stride_a,
                                      const struct kernels_view_f64 *b,
                                      size_t stride_b,
                                      const struct kernels_view_mut_f64 *c,
                                      size_t stride_c,
                                      const struct kernels_options_f64 *options);

// Chooses how to compute products of these layouts, for the field `plan` of options: with the instruction set, tuning,
// blocks and number of threads of these options, for any factors, bias and activation. The data of the views is not
// looked at.
//
// # Safety
// Each pointer is null or points to what it says.
kernels_status kernels_plan_create_f32(const struct kernels_view_f32 *a,
                                       const struct kernels_view_f32 *b,
                                       const struct kernels_view_mut_f32 *c,
                                       const struct kernels_options_f32 *options,
                                       struct kernels_plan_f32 **plan);

// As kernels_plan_create_f32.
//
// # Safety
// As kernels_plan_create_f32.
kernels_status kernels_plan_create_f64(const struct kernels_view_f64 *a,
                                       const struct kernels_view_f64 *b,
                                       const struct kernels_view_mut_f64 *c,
                                       const struct kernels_options_f64 *options,
                                       struct kernels_plan_f64 **plan);

// Ends a plan, which no call uses any more. Null is ignored.
//
// # Safety
// It comes from kernels_plan_create_f32, and is not used again.
void kernels_plan_destroy_f32(struct kernels_plan_f32 *plan);

// As kernels_plan_destroy_f32.
//
// # Safety
// As kernels_plan_destroy_f32.
void kernels_plan_destroy_f64(struct kernels_plan_f64 *plan);

// Packs an A (m x k), for the field `packed_a` of options. Of these options the instruction set, the precision and
// bf16_a count.
//
// # Safety
// Each pointer is null or points to what it says; the elements of A can be read.
kernels_status kernels_pack_a_f32(const struct kernels_view_f32 *a,
                                  const struct kernels_options_f32 *options,
                                  struct kernels_packed_f32 **packed);

// As kernels_pack_a_f32.
//
// # Safety
// As kernels_pack_a_f32.
kernels_status kernels_pack_a_f64(const struct kernels_view_f64 *a,
                                  const struct kernels_options_f64 *options,
                                  struct kernels_packed_f64 **packed);

// Packs a B (k x n), for the field `packed_b` of options. Of these options the instruction set, the precision and
// bf16_b count.
//
// # Safety
// Each pointer is null or points to what it says; the elements of B can be read.
kernels_status kernels_pack_b_f32(const struct kernels_view_f32 *b,
                                  const struct kernels_options_f32 *options,
                                  struct kernels_packed_f32 **packed);

// As kernels_pack_b_f32.
//
// # Safety
// As kernels_pack_b_f32.
kernels_status kernels_pack_b_f64(const struct kernels_view_f64 *b,
                                  const struct kernels_options_f64 *options,
                                  struct kernels_packed_f64 **packed);

// Ends a packed matrix, which no call uses any more. Null is ignored.
//
// # Safety
// It comes from kernels_pack_a_f32 or kernels_pack_b_f32, and is not used again.
void kernels_packed_destroy_f32(struct kernels_packed_f32 *packed);

// As kernels_packed_destroy_f32.
//
// # Safety
// As kernels_packed_destroy_f32.
void kernels_packed_destroy_f64(struct kernels_packed_f64 *packed);

// Writes into `buffer` how a product of these layouts would be computed, and why: text with a NUL. KERNELS_BUFFER
// where it has less than all of it; the message tells how much that is. The data of the views is not looked at.
//
// # Safety
// Each pointer is null or points to what it says; `capacity` bytes of `buffer` can be written.
kernels_status kernels_explain_f32(const struct kernels_view_f32 *a,
                                   const struct kernels_view_f32 *b,
                                   const struct kernels_view_mut_f32 *c,
                                   const struct kernels_options_f32 *options,
                                   char *buffer,
                                   size_t capacity);

// As kernels_explain_f32.
//
// # Safety
// As kernels_explain_f32.
kernels_status kernels_explain_f64(const struct kernels_view_f64 *a,
                                   const struct kernels_view_f64 *b,
                                   const struct kernels_view_mut_f64 *c,
                                   const struct kernels_options_f64 *options,
                                   char *buffer,
                                   size_t capacity);

// Makes an empty workspace, for the field `workspace` of options.
//
// # Safety
// `workspace` is null or can be written.
kernels_status kernels_workspace_create(struct kernels_workspace **workspace);

// Ends a workspace, which no call uses any more. Null is ignored.
//
// # Safety
// It comes from kernels_workspace_create, and is not used again.
void kernels_workspace_destroy(struct kernels_workspace *workspace);

// `y[i] = function(x[i])` for `len` elements, on the calling thread; `y` is `x`, or apart from it. `function` is a
// kernels_function; `parameter` is that of leaky ReLU and ELU, and else ignored.
//
// # Safety
// `len` elements of `x` can be read, and of `y` written.
kernels_status kernels_map_f32(int32_t function,
                               float parameter,
                               const float *x,
                               float *y,
                               size_t len);

// The gradient through an activation: `dy[i]` is multiplied by its derivative, computed from `saved`, the output of
// the activation or its input, whichever kernels_saves_output tells.
//
// # Safety
// `len` elements of `saved` can be read, and of `dy` written; they do not overlap.
kernels_status kernels_activation_backward_f32(int32_t function,
                                               float parameter,
                                               const float *saved,
                                               float *dy,
                                               size_t len);

// What the derivative of an activation is computed from: 1 for its output, 0 for its input, -1 for no activation.
int32_t kernels_saves_output(int32_t function);

// e^(x - max) / sum e^(x - max) along each row, in place.
//
// # Safety
// `x` is null or points to a view whose elements can be read and written.
kernels_status kernels_softmax_f32(const struct kernels_view_mut_f32 *x);

// What was wrong with the last call of this thread that did not return KERNELS_OK, with the numbers: "" before there
// was one. Valid until the next such call of this thread.
const char *kernels_error_message(void);

// What a status means, in a few words; for any number.
const char *kernels_status_name(int32_t status);

// The version of the library, such as "0.1.0".
const char *kernels_version(void);

// The instruction set in use, such as "avx2"; null, with a message, where KERNELS_ISA pins one that this CPU lacks.
const char *kernels_isa_name(void);

// Sets how many threads compute a product that is large enough: 0 for as many as there are cores, at most 1024. Takes
// the place of KERNELS_NUM_THREADS; without either, the caller computes alone. The results do not depend on it.
void kernels_set_num_threads(size_t threads);

// How many threads compute a product that is large enough.
size_t kernels_get_num_threads(void);

// Makes a team of threads, the caller included, for the field `team` of options: 0 for as many as there are cores, at
// most 1024.
//
// # Safety
// `team` is null or can be written.
kernels_status kernels_team_create(size_t threads,
                                   struct kernels_team **team);

// Ends a team, which no call uses any more. Null is ignored.
//
// # Safety
// It comes from kernels_team_create, and is not used again.
void kernels_team_destroy(struct kernels_team *team);

#if defined(KERNELS_BLAS)
// C <- alpha op(A) op(B) + beta C.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_sgemm(int order,
                 int trans_a,
                 int trans_b,
                 int32_t m,
                 int32_t n,
                 int32_t k,
                 float alpha,
                 const float *a,
                 int32_t lda,
                 const float *b,
                 int32_t ldb,
                 float beta,
                 float *c,
                 int32_t ldc);
#endif

#if defined(KERNELS_BLAS)
// C <- alpha op(A) op(B) + beta C.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_dgemm(int order,
                 int trans_a,
                 int trans_b,
                 int32_t m,
                 int32_t n,
                 int32_t k,
                 double alpha,
                 const double *a,
                 int32_t lda,
                 const double *b,
                 int32_t ldb,
                 double beta,
                 double *c,
                 int32_t ldc);
#endif

#if defined(KERNELS_BLAS)
// y <- alpha op(A) x + beta y.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_sgemv(int order,
                 int trans,
                 int32_t m,
                 int32_t n,
                 float alpha,
                 const float *a,
                 int32_t lda,
                 const float *x,
                 int32_t inc_x,
                 float beta,
                 float *y,
                 int32_t inc_y);
#endif

#if defined(KERNELS_BLAS)
// y <- alpha op(A) x + beta y.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_dgemv(int order,
                 int trans,
                 int32_t m,
                 int32_t n,
                 double alpha,
                 const double *a,
                 int32_t lda,
                 const double *x,
                 int32_t inc_x,
                 double beta,
                 double *y,
                 int32_t inc_y);
#endif

#if defined(KERNELS_BLAS)
// batch_size products C <- alpha op(A) op(B) + beta C; matrix i begins i strides after the first.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_sgemm_batch_strided(int order,
                               int trans_a,
                               int trans_b,
                               int32_t m,
                               int32_t n,
                               int32_t k,
                               float alpha,
                               const float *a,
                               int32_t lda,
                               int32_t stride_a,
                               const float *b,
                               int32_t ldb,
                               int32_t stride_b,
                               float beta,
                               float *c,
                               int32_t ldc,
                               int32_t stride_c,
                               int32_t batch_size);
#endif

#if defined(KERNELS_BLAS)
// batch_size products C <- alpha op(A) op(B) + beta C; matrix i begins i strides after the first.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_dgemm_batch_strided(int order,
                               int trans_a,
                               int trans_b,
                               int32_t m,
                               int32_t n,
                               int32_t k,
                               double alpha,
                               const double *a,
                               int32_t lda,
                               int32_t stride_a,
                               const double *b,
                               int32_t ldb,
                               int32_t stride_b,
                               double beta,
                               double *c,
                               int32_t ldc,
                               int32_t stride_c,
                               int32_t batch_size);
#endif

#if defined(KERNELS_BLAS)
// C <- alpha op(A) op(B) + beta C, for Fortran.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void sgemm_(const char *trans_a,
            const char *trans_b,
            const int32_t *m,
            const int32_t *n,
            const int32_t *k,
            const float *alpha,
            const float *a,
            const int32_t *lda,
            const float *b,
            const int32_t *ldb,
            const float *beta,
            float *c,
            const int32_t *ldc);
#endif

#if defined(KERNELS_BLAS)
// C <- alpha op(A) op(B) + beta C, for Fortran.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void dgemm_(const char *trans_a,
            const char *trans_b,
            const int32_t *m,
            const int32_t *n,
            const int32_t *k,
            const double *alpha,
            const double *a,
            const int32_t *lda,
            const double *b,
            const int32_t *ldb,
            const double *beta,
            double *c,
            const int32_t *ldc);
#endif

#if defined(KERNELS_BLAS)
// y <- alpha op(A) x + beta y, for Fortran.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void sgemv_(const char *trans,
            const int32_t *m,
            const int32_t *n,
            const float *alpha,
            const float *a,
            const int32_t *lda,
            const float *x,
            const int32_t *inc_x,
            const float *beta,
            float *y,
            const int32_t *inc_y);
#endif

#if defined(KERNELS_BLAS)
// y <- alpha op(A) x + beta y, for Fortran.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void dgemv_(const char *trans,
            const int32_t *m,
            const int32_t *n,
            const double *alpha,
            const double *a,
            const int32_t *lda,
            const double *x,
            const int32_t *inc_x,
            const double *beta,
            double *y,
            const int32_t *inc_y);
#endif

#if defined(KERNELS_BLAS)
// C <- alpha op(A) op(B) + beta C.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_sgemm_64(int order,
                    int trans_a,
                    int trans_b,
                    int64_t m,
                    int64_t n,
                    int64_t k,
                    float alpha,
                    const float *a,
                    int64_t lda,
                    const float *b,
                    int64_t ldb,
                    float beta,
                    float *c,
                    int64_t ldc);
#endif

#if defined(KERNELS_BLAS)
// C <- alpha op(A) op(B) + beta C.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_dgemm_64(int order,
                    int trans_a,
                    int trans_b,
                    int64_t m,
                    int64_t n,
                    int64_t k,
                    double alpha,
                    const double *a,
                    int64_t lda,
                    const double *b,
                    int64_t ldb,
                    double beta,
                    double *c,
                    int64_t ldc);
#endif

#if defined(KERNELS_BLAS)
// y <- alpha op(A) x + beta y.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_sgemv_64(int order,
                    int trans,
                    int64_t m,
                    int64_t n,
                    float alpha,
                    const float *a,
                    int64_t lda,
                    const float *x,
                    int64_t inc_x,
                    float beta,
                    float *y,
                    int64_t inc_y);
#endif

#if defined(KERNELS_BLAS)
// y <- alpha op(A) x + beta y.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_dgemv_64(int order,
                    int trans,
                    int64_t m,
                    int64_t n,
                    double alpha,
                    const double *a,
                    int64_t lda,
                    const double *x,
                    int64_t inc_x,
                    double beta,
                    double *y,
                    int64_t inc_y);
#endif

#if defined(KERNELS_BLAS)
// batch_size products C <- alpha op(A) op(B) + beta C; matrix i begins i strides after the first.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_sgemm_batch_strided_64(int order,
                                  int trans_a,
                                  int trans_b,
                                  int64_t m,
                                  int64_t n,
                                  int64_t k,
                                  float alpha,
                                  const float *a,
                                  int64_t lda,
                                  int64_t stride_a,
                                  const float *b,
                                  int64_t ldb,
                                  int64_t stride_b,
                                  float beta,
                                  float *c,
                                  int64_t ldc,
                                  int64_t stride_c,
                                  int64_t batch_size);
#endif

#if defined(KERNELS_BLAS)
// batch_size products C <- alpha op(A) op(B) + beta C; matrix i begins i strides after the first.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void cblas_dgemm_batch_strided_64(int order,
                                  int trans_a,
                                  int trans_b,
                                  int64_t m,
                                  int64_t n,
                                  int64_t k,
                                  double alpha,
                                  const double *a,
                                  int64_t lda,
                                  int64_t stride_a,
                                  const double *b,
                                  int64_t ldb,
                                  int64_t stride_b,
                                  double beta,
                                  double *c,
                                  int64_t ldc,
                                  int64_t stride_c,
                                  int64_t batch_size);
#endif

#if defined(KERNELS_BLAS)
// C <- alpha op(A) op(B) + beta C, for Fortran.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void sgemm_64_(const char *trans_a,
               const char *trans_b,
               const int64_t *m,
               const int64_t *n,
               const int64_t *k,
               const float *alpha,
               const float *a,
               const int64_t *lda,
               const float *b,
               const int64_t *ldb,
               const float *beta,
               float *c,
               const int64_t *ldc);
#endif

#if defined(KERNELS_BLAS)
// C <- alpha op(A) op(B) + beta C, for Fortran.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void dgemm_64_(const char *trans_a,
               const char *trans_b,
               const int64_t *m,
               const int64_t *n,
               const int64_t *k,
               const double *alpha,
               const double *a,
               const int64_t *lda,
               const double *b,
               const int64_t *ldb,
               const double *beta,
               double *c,
               const int64_t *ldc);
#endif

#if defined(KERNELS_BLAS)
// y <- alpha op(A) x + beta y, for Fortran.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void sgemv_64_(const char *trans,
               const int64_t *m,
               const int64_t *n,
               const float *alpha,
               const float *a,
               const int64_t *lda,
               const float *x,
               const int64_t *inc_x,
               const float *beta,
               float *y,
               const int64_t *inc_y);
#endif

#if defined(KERNELS_BLAS)
// y <- alpha op(A) x + beta y, for Fortran.
//
// # Safety
// As the reference BLAS has it: the operands are there.
void dgemv_64_(const char *trans,
               const int64_t *m,
               const int64_t *n,
               const double *alpha,
               const double *a,
               const int64_t *lda,
               const double *x,
               const int64_t *inc_x,
               const double *beta,
               double *y,
               const int64_t *inc_y);
#endif

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KERNELS_H */
