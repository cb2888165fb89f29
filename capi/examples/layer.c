// A layer of a network from C: y = relu(x w + b), for a batch, with the weights packed once.
//
//   cc layer.c $(pkg-config --cflags --libs kernels_c) && ./a.out

#include <kernels.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 32, INPUTS = 784, OUTPUTS = 128 };

// Ends the program with the library's own words where a call was refused.
static void must(kernels_status status) {
  if (status != KERNELS_OK) {
    fprintf(stderr, "%s: %s\n", kernels_status_name(status), kernels_error_message());
    exit(1);
  }
}

int main(void) {
  float *x = malloc(sizeof(float) * BATCH * INPUTS), *w = malloc(sizeof(float) * INPUTS * OUTPUTS);
  float *y = malloc(sizeof(float) * BATCH * OUTPUTS), bias[OUTPUTS];
  if (!x || !w || !y) return 1;
  for (int i = 0; i < BATCH * INPUTS; i++) x[i] = 0.5f;
  for (int i = 0; i < INPUTS * OUTPUTS; i++) w[i] = 0.01f;
  for (int i = 0; i < OUTPUTS; i++) bias[i] = i % 2 ? -1.0f : -5.0f;

  // Row-major matrices; any other strides would do.
  kernels_view_f32 xs = {x, BATCH, INPUTS, INPUTS, 1}, ws = {w, INPUTS, OUTPUTS, OUTPUTS, 1};
  kernels_view_mut_f32 ys = {y, BATCH, OUTPUTS, OUTPUTS, 1};

  kernels_options_f32 options;
  must(kernels_options_init_f32(&options, sizeof options));
  options.bias = bias;
  options.bias_len = OUTPUTS;
  options.activation = KERNELS_RELU;

  // Once, for many calls: the weights as panels, and the choice of how to compute.
  kernels_packed_f32 *packed;
  kernels_plan_f32 *plan;
  must(kernels_pack_b_f32(&ws, &options, &packed));
  options.packed_b = packed;
  must(kernels_plan_create_f32(&xs, NULL, &ys, &options, &plan));
  options.plan = plan;
  for (int call = 0; call < 3; call++) must(kernels_gemm_f32(&xs, NULL, &ys, &options));

  char text[1024];
  must(kernels_explain_f32(&xs, NULL, &ys, &options, text, sizeof text));
  printf("kernels %s on %s\n%s\n", kernels_version(), kernels_isa_name(), text);
  printf("y = %.4f %.4f\n", y[0], y[1]);

  // Bad input is a status and a message, and leaves y as it was.
  kernels_view_f32 wrong = {w, INPUTS - 1, OUTPUTS, OUTPUTS, 1};
  kernels_status status = kernels_gemm_f32(&xs, &wrong, &ys, NULL);
  printf("refused: %s: %s\n", kernels_status_name(status), kernels_error_message());

  kernels_plan_destroy_f32(plan);
  kernels_packed_destroy_f32(packed);
  free(x), free(w), free(y);
  return 0;
}
