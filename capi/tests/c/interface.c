// What only a C program can show of the library: every status, threads, fork, memory aligned to 8 bytes, and the
// handlers of errors (with -DHANDLER, a cblas_xerbla of the program's own). Prints nothing but failures.

#define _GNU_SOURCE
#define KERNELS_BLAS
#include <fcntl.h>
#include <kernels.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;
#define CHECK(what) check((what) != 0, #what, __LINE__)
static void check(int good, const char *what, int line) {
  if (!good) {
    failures++;
    fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, line, what, kernels_error_message());
  }
}

#ifdef HANDLER
static int reported;
static char routine[64];
void cblas_xerbla(int info, const char *rout, const char *form, ...) {
  (void)form;
  reported = info;
  snprintf(routine, sizeof routine, "%s", rout);
}

void cblas_xerbla_64(int64_t info, const char *rout, const char *form, ...) {
  cblas_xerbla((int)info, rout, form);
}

static void errors_reach_the_handler_of_the_program(void) {
  float x[16] = {0};
  cblas_sgemm(7, 111, 111, 1, 1, 1, 1, x, 1, x, 1, 0, x, 1);
  CHECK(reported == 1 && !strcmp(routine, "cblas_sgemm"));
  cblas_sgemm(101, 111, 114, 1, 1, 1, 1, x, 1, x, 1, 0, x, 1);
  CHECK(reported == 3);
  // It has no RowMajorStrg to swap arguments by: it is told of the one that was wrong.
  cblas_sgemm(101, 111, 111, 2, 2, 2, 1, x, 1, x, 2, 0, x, 2);
  CHECK(reported == 9);
  cblas_sgemm(102, 111, 111, 2, 2, 2, 1, x, 2, x, 1, 0, x, 2);
  CHECK(reported == 11);
  cblas_sgemv(101, 111, -1, 2, 1, x, 2, x, 1, 0, x, 1);
  CHECK(reported == 3 && !strcmp(routine, "cblas_sgemv"));
  cblas_sgemm_batch_strided(101, 111, 111, 2, 2, 2, 1, x, 2, 4, x, 1, 4, 0, x, 2, 4, 2);
  CHECK(reported == 12 && !strcmp(routine, "cblas_sgemm_batch_strided"));
  cblas_sgemm_batch_strided(101, 111, 111, 2, 2, 2, 1, x, 2, 4, x, 2, 4, 0, x, 2, 3, 2);
  CHECK(reported == 17);
  // The extent of a C overflows, and with it any stride.
  const int64_t much = (int64_t)1 << 40;
  reported = 0;
  cblas_sgemm_batch_strided_64(101, 111, 111, much, much, 0, 1, x, 1, 0, x, much, 0, 1, x, much, 1, 2);
  CHECK(reported == 17);
}
#else
// Standard error of a call, which has no other way to tell.
static void errors_without_a_handler_are_said(void) {
  int pipes[2];
  CHECK(pipe(pipes) == 0);
  fflush(stderr);
  int kept = dup(2);
  dup2(pipes[1], 2);
  float x[4] = {1, 2, 3, 4};
  cblas_sgemm(101, 111, 111, 2, 2, 2, 1, x, 1, x, 2, 0, x, 2);
  dup2(kept, 2);
  close(pipes[1]);
  char said[200] = "";
  CHECK(read(pipes[0], said, sizeof said - 1) > 0);
  close(pipes[0]);
  CHECK(!strcmp(said, "kernels: parameter 9 of cblas_sgemm has an illegal value\n"));
  CHECK(x[0] == 1 && x[3] == 4);
  // Where nothing can be written, the call returns all the same.
  int full = open("/dev/full", O_WRONLY);
  CHECK(full >= 0);
  kept = dup(2);
  dup2(full, 2);
  cblas_sgemm(101, 111, 111, 2, 2, 2, 1, x, 1, x, 2, 0, x, 2);
  dup2(kept, 2);
  CHECK(x[0] == 1 && x[3] == 4);
}
#endif

static void every_status(void) {
  float d[64] = {0};
  kernels_view_f32 v = {d, 4, 4, 4, 1};
  kernels_view_mut_f32 c = {d + 32, 4, 4, 4, 1};
  kernels_options_f32 o;
  CHECK(kernels_gemm_f32(&v, &v, &c, NULL) == KERNELS_OK);
  CHECK(kernels_gemm_f32(NULL, &v, &c, NULL) == KERNELS_NULL);
  CHECK(kernels_gemm_f32(&v, &v, NULL, NULL) == KERNELS_NULL);
  kernels_view_f32 w = v;
  w.data = NULL;
  CHECK(kernels_gemm_f32(&v, &w, &c, NULL) == KERNELS_NULL);
  CHECK(strstr(kernels_error_message(), "B is a null pointer"));
  w = v, w.rows = 5;
  CHECK(kernels_gemm_f32(&v, &w, &c, NULL) == KERNELS_SHAPE);
  CHECK(strstr(kernels_error_message(), "5x4"));
  w = v, w.row_stride = PTRDIFF_MAX / 2;
  CHECK(kernels_gemm_f32(&v, &w, &c, NULL) == KERNELS_LAYOUT);
  w = v, w.rows = SIZE_MAX, w.row_stride = 0, w.col_stride = PTRDIFF_MIN;
  CHECK(kernels_gemm_f32(&v, &w, &c, NULL) == KERNELS_LAYOUT);
  w = v, w.data = (const float *)((const char *)d + 1);
  CHECK(kernels_gemm_f32(&v, &w, &c, NULL) == KERNELS_LAYOUT);
  kernels_view_mut_f32 e = c;
  e.row_stride = 3;
  CHECK(kernels_gemm_f32(&v, &v, &e, NULL) == KERNELS_LAYOUT);
  CHECK(strstr(kernels_error_message(), "overlap"));

  CHECK(kernels_options_init_f32(NULL, sizeof o) == KERNELS_NULL);
  CHECK(kernels_options_init_f32(&o, sizeof o) == KERNELS_OK);
  CHECK(o.size == sizeof o && o.alpha == 1 && o.beta == 0 && !o.bias);
  memset(&o, 0, sizeof o);
  CHECK(kernels_gemm_f32(&v, &v, &c, &o) == KERNELS_OPTION);
#define WITH(field, value, status) \
  (kernels_options_init_f32(&o, sizeof o), o.field = (value), CHECK(kernels_gemm_f32(&v, &v, &c, &o) == (status)))
  WITH(activation, 12, KERNELS_OPTION);
  WITH(activation, KERNELS_EXP, KERNELS_OPTION);
  WITH(activation, KERNELS_TANH, KERNELS_OK);
  WITH(precision, 4, KERNELS_OPTION);
  WITH(precision, -1, KERNELS_OPTION);
  // 1 + 2^-12 loses its last bit where operands have 8.
  for (int p = KERNELS_F32; p <= KERNELS_BF16; p++) {
    d[0] = 1.000244140625f, d[16] = 1;
    kernels_view_f32 one = {d, 1, 1, 1, 1}, other = {d + 16, 1, 1, 1, 1};
    kernels_view_mut_f32 sum = {d + 32, 1, 1, 1, 1};
    kernels_options_init_f32(&o, sizeof o);
    o.precision = p;
    CHECK(kernels_gemm_f32(&one, &other, &sum, &o) == KERNELS_OK);
    CHECK(d[32] == (p == KERNELS_BF16 ? 1 : 1.000244140625f));
    d[0] = d[16] = 0;
  }
  WITH(block_kc, 1, KERNELS_OPTION);
  WITH(isa, "sse9", KERNELS_ISA);
  WITH(isa, kernels_isa_name(), KERNELS_OK);
  WITH(bias, d, KERNELS_SHAPE);
  const size_t one_value = 1;
  WITH(tuning, &one_value, KERNELS_OPTION);
  kernels_options_init_f32(&o, sizeof o);
  o.bias = d, o.bias_len = 4, o.bias_per_row = 2;
  CHECK(kernels_gemm_f32(&v, &v, &c, &o) == KERNELS_OPTION);

  // A program of a later version, whose structure is larger.
  struct { kernels_options_f32 o; size_t later; } l;
  CHECK(kernels_options_init_f32(&l.o, sizeof l) == KERNELS_OK && l.later == 0);
  CHECK(kernels_gemm_f32(&v, &v, &c, &l.o) == KERNELS_OK);
  l.later = 1;
  CHECK(kernels_gemm_f32(&v, &v, &c, &l.o) == KERNELS_OPTION);

  kernels_plan_f32 *plan;
  kernels_packed_f32 *packed;
  CHECK(kernels_plan_create_f32(&v, &v, &c, NULL, &plan) == KERNELS_OK);
  kernels_view_f32 t = {d, 4, 4, 1, 4};
  kernels_options_init_f32(&o, sizeof o);
  o.plan = plan;
  CHECK(kernels_gemm_f32(&v, &v, &c, &o) == KERNELS_OK);
  CHECK(kernels_gemm_f32(&t, &v, &c, &o) == KERNELS_PLAN);
  CHECK(kernels_pack_a_f32(&v, NULL, &packed) == KERNELS_OK);
  kernels_options_init_f32(&o, sizeof o);
  o.packed_b = packed;
  CHECK(kernels_gemm_f32(&v, NULL, &c, &o) == KERNELS_PACKED);
  o.packed_b = NULL, o.packed_a = packed;
  CHECK(kernels_gemm_f32(NULL, &v, &c, &o) == KERNELS_OK);
  kernels_plan_destroy_f32(plan), kernels_packed_destroy_f32(packed);
  // One element again and again needs no memory, its panels more than can be addressed.
  w = v, w.rows = w.cols = (size_t)1 << 31, w.row_stride = w.col_stride = 0;
  CHECK(kernels_pack_b_f32(&w, NULL, &packed) == KERNELS_LAYOUT && strstr(kernels_error_message(), "packed B"));
  kernels_plan_destroy_f32(NULL), kernels_packed_destroy_f32(NULL), kernels_team_destroy(NULL);

  char text[2000], few[9];
  CHECK(kernels_explain_f32(&v, &v, &c, NULL, text, sizeof text) == KERNELS_OK && strstr(text, "4x4 times 4x4"));
  CHECK(kernels_explain_f32(&v, &v, &c, NULL, few, sizeof few) == KERNELS_BUFFER && !strcmp(few, "4x4 time"));
  CHECK(kernels_explain_f32(&v, &v, &c, NULL, NULL, 0) == KERNELS_BUFFER);
  CHECK(kernels_explain_f32(&v, &v, &c, NULL, NULL, 9) == KERNELS_NULL);
  CHECK(!strcmp(kernels_status_name(-1), "unknown status") && !strcmp(kernels_status_name(0), "done"));

  kernels_workspace *workspace;
  CHECK(kernels_workspace_create(&workspace) == KERNELS_OK);
  WITH(workspace, workspace, KERNELS_OK);
  kernels_workspace_destroy(workspace);

  // A double-precision product takes ReLU, and no other activation.
  double q[4] = {-1, 2, 3, -4}, r[4];
  kernels_view_f64 qv = {q, 2, 2, 2, 1};
  kernels_view_mut_f64 rv = {r, 2, 2, 2, 1};
  kernels_options_f64 p;
  kernels_options_init_f64(&p, sizeof p);
  p.activation = KERNELS_RELU;
  CHECK(kernels_gemm_f64(&qv, &qv, &rv, &p) == KERNELS_OK && r[0] == 7 && r[1] == 0 && r[2] == 0 && r[3] == 22);
  p.activation = KERNELS_TANH;
  CHECK(kernels_gemm_f64(&qv, &qv, &rv, &p) == KERNELS_OPTION);
  kernels_options_init_f64(&p, sizeof p);
  p.precision = KERNELS_BF16;
  CHECK(kernels_gemm_f64(&qv, &qv, &rv, &p) == KERNELS_OPTION);

  // A batch: one A for two B.
  float s[8] = {1, 2, 3, 4, 5, 6, 7, 8}, u[8];
  kernels_view_f32 one = {s, 2, 2, 2, 1};
  kernels_view_mut_f32 many = {u, 2, 2, 2, 1};
  CHECK(kernels_gemm_batch_f32(2, &one, 0, &one, 4, &many, 4, NULL) == KERNELS_OK);
  CHECK(u[0] == 7 && u[3] == 22 && u[4] == 19 && u[7] == 50);
  CHECK(kernels_gemm_batch_f32(2, &one, 0, &one, 4, &many, 3, NULL) == KERNELS_LAYOUT);
  CHECK(kernels_gemm_batch_f32(SIZE_MAX, &one, 0, &one, 4, &many, 4, NULL) == KERNELS_LAYOUT);
  kernels_options_init_f32(&o, sizeof o);
  o.packed_a = (const kernels_packed_f32 *)&one;
  CHECK(kernels_gemm_batch_f32(2, &one, 0, &one, 4, &many, 4, &o) == KERNELS_OPTION);
  CHECK(kernels_gemm_batch_f32(0, &one, 0, &one, 4, &many, 0, NULL) == KERNELS_OK);

  // The same with bf16 numbers: 1, 2, 3, 4 and 5, 6, 7, 8. Strides count them, as a second B from 5 on shows.
  const uint16_t h[8] = {0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0, 0x40e0, 0x4100};
  kernels_view_f32 half = {(const float *)h, 2, 2, 2, 1};
  kernels_options_init_f32(&o, sizeof o);
  o.bf16_a = o.bf16_b = 1;
  CHECK(kernels_gemm_batch_f32(2, &half, 0, &half, 4, &many, 4, &o) == KERNELS_OK);
  CHECK(u[0] == 7 && u[3] == 22 && u[4] == 19 && u[7] == 50);
  kernels_view_f32 odd = half;
  odd.data = (const float *)(h + 1);
  CHECK(kernels_gemm_f32(&half, &odd, &many, &o) == KERNELS_OK && u[0] == 10 && u[3] == 29);
  odd.data = (const float *)((const char *)h + 1);
  CHECK(kernels_gemm_f32(&half, &odd, &many, &o) == KERNELS_LAYOUT);
  o.bf16_a = 0;
  CHECK(kernels_gemm_f32(&one, &half, &many, &o) == KERNELS_OK && u[0] == 7 && u[3] == 22);
  CHECK(kernels_plan_create_f32(&one, &half, &many, &o, &plan) == KERNELS_OK);
  o.plan = plan;
  CHECK(kernels_gemm_f32(&one, &half, &many, &o) == KERNELS_OK && u[3] == 22);
  o.bf16_b = 0;
  CHECK(kernels_gemm_f32(&one, &one, &many, &o) == KERNELS_PLAN);
  kernels_plan_destroy_f32(plan);
  kernels_options_init_f32(&o, sizeof o);
  o.bf16_b = 1;
  CHECK(kernels_pack_b_f32(&half, &o, &packed) == KERNELS_OK);
  o.packed_b = packed;
  CHECK(kernels_gemm_f32(&one, NULL, &many, &o) == KERNELS_OK && u[0] == 7 && u[3] == 22);
  kernels_packed_destroy_f32(packed);
  kernels_options_init_f32(&o, sizeof o);
  o.bf16_a = 2;
  CHECK(kernels_gemm_f32(&half, &one, &many, &o) == KERNELS_OPTION);
  CHECK(strstr(kernels_error_message(), "bf16_a is 2, not 0 or 1"));
  p.precision = KERNELS_F32, p.bf16_b = 1;
  CHECK(kernels_gemm_f64(&qv, &qv, &rv, &p) == KERNELS_OPTION);
  CHECK(strstr(kernels_error_message(), "bf16_b is 1"));
}

static void functions(void) {
  float x[5] = {-2, -0.5f, 0, 1, 3}, y[5], dy[5] = {1, 1, 1, 1, 1};
  CHECK(kernels_map_f32(KERNELS_EXP, 0, x, y, 5) == KERNELS_OK && y[2] == 1 && fabsf(y[3] - 2.7182817f) < 1e-6f);
  CHECK(kernels_map_f32(KERNELS_LEAKY_RELU, 0.5f, x, x, 5) == KERNELS_OK && x[0] == -1 && x[4] == 3);
  CHECK(kernels_map_f32(99, 0, x, y, 5) == KERNELS_OPTION);
  CHECK(kernels_map_f32(KERNELS_EXP, 0, NULL, y, 5) == KERNELS_NULL);
  CHECK(kernels_map_f32(KERNELS_EXP, 0, NULL, NULL, 0) == KERNELS_OK);
  CHECK(kernels_map_f32(KERNELS_EXP, 0, x, y, SIZE_MAX) == KERNELS_LAYOUT);
  CHECK(kernels_saves_output(KERNELS_RELU) == 1 && kernels_saves_output(KERNELS_GELU) == 0);
  CHECK(kernels_saves_output(KERNELS_EXP) == -1);
  CHECK(kernels_activation_backward_f32(KERNELS_RELU, 0, x, dy, 5) == KERNELS_OK && dy[0] == 0 && dy[4] == 1);
  kernels_view_mut_f32 row = {y, 1, 5, 5, 1};
  CHECK(kernels_softmax_f32(&row) == KERNELS_OK && fabsf(y[0] + y[1] + y[2] + y[3] + y[4] - 1) < 1e-6f);
}

enum { N = 160 };
static float big[N * N], want[N * N];

static int product_is_right(void) {
  float *c = malloc(sizeof want);
  cblas_sgemm(101, 111, 112, N, N, N, 1, big, N, big, N, 0, c, N);
  int good = c && !memcmp(c, want, sizeof want);
  free(c);
  return good;
}

static int calls = 250;

static void *many_calls(void *unused) {
  (void)unused;
  long wrong = 0;
  for (int i = 0; i < calls; i++) wrong += !product_is_right();
  return (void *)wrong;
}

// Two thousand calls from eight threads, while the number of threads changes.
static void threads(void) {
  for (int i = 0; i < N * N; i++) big[i] = (float)(i * 7919 % 1000) / 500 - 1;
  kernels_set_num_threads(1);
  cblas_sgemm(101, 111, 112, N, N, N, 1, big, N, big, N, 0, want, N);
  kernels_set_num_threads(2);
  pthread_t thread[8];
  for (int i = 0; i < 8; i++) CHECK(pthread_create(&thread[i], NULL, many_calls, NULL) == 0);
  for (int i = 0; i < 100 && i < calls; i++) kernels_set_num_threads(1 + i % 3), usleep(1000);
  for (int i = 0; i < 8; i++) {
    void *wrong;
    CHECK(pthread_join(thread[i], &wrong) == 0 && wrong == NULL);
  }
}

// A child of fork has none of its parent's threads, and computes all the same: with a team of its own, and alone where
// it uses its parent's.
static void forks(void) {
  kernels_set_num_threads(2);
  CHECK(product_is_right());
  kernels_team *team;
  CHECK(kernels_team_create(2, &team) == KERNELS_OK);
  for (int i = 0; i < 3; i++) {
    pid_t child = fork();
    if (child == 0) {
      alarm(60);
      failures = 0;
      CHECK(product_is_right() && product_is_right());
      kernels_view_f32 a = {big, N, N, N, 1}, b = {big, N, N, 1, N};
      float *c = malloc(sizeof want);
      kernels_view_mut_f32 cv = {c, N, N, N, 1};
      kernels_options_f32 o;
      kernels_options_init_f32(&o, sizeof o);
      o.team = team;
      CHECK(kernels_gemm_f32(&a, &b, &cv, &o) == KERNELS_OK && !memcmp(c, want, sizeof want));
      free(c);
      kernels_team_destroy(team);
      pid_t grandchild = fork();
      if (grandchild == 0) _exit(!product_is_right());
      int status;
      CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
      _exit(failures != 0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(product_is_right());
  }
  kernels_team_destroy(team);
}

static void memory_aligned_to_8_bytes(void) {
  char *block = malloc(3 * sizeof(double) * 1000 + 64);
  double *a = (double *)(block + 8), *b = a + 1001, *c = b + 901;
  for (int i = 0; i < 900; i++) a[i] = i % 7, b[i] = i % 5;
  cblas_dgemm(102, 111, 111, 30, 29, 28, 1, a, 30, b, 28, 0, c, 30);
  for (int i = 0; i < 30; i++)
    for (int j = 0; j < 29; j++) {
      double sum = 0;
      for (int p = 0; p < 28; p++) sum += a[i + 30 * p] * b[p + 28 * j];
      CHECK(c[i + 30 * j] == sum);
    }
  free(block);
}

// The argument is the number of calls of each thread, for tools under which they are slow.
int main(int count, char **arguments) {
  if (count > 1) calls = atoi(arguments[1]);
#ifdef HANDLER
  errors_reach_the_handler_of_the_program();
#else
  errors_without_a_handler_are_said();
#endif
  every_status();
  functions();
  threads();
  forks();
  memory_aligned_to_8_bytes();
  kernels_set_num_threads(1);
  return failures != 0;
}
