// From C++: a matrix of std::vector, and, where Eigen is installed, Eigen's matrices and maps, without a copy.
//
//   c++ -std=c++17 matrix.cpp $(pkg-config --cflags --libs kernels_c eigen3) && ./a.out

#include <kernels.h>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <vector>
#if __has_include(<Eigen/Core>)
#include <Eigen/Core>
#define HAS_EIGEN 1
#endif

/// An error of the library as an exception.
static void must(kernels_status status) {
  if (status != KERNELS_OK) throw std::runtime_error(kernels_error_message());
}

/// A row-major matrix that owns its elements.
struct Matrix {
  std::size_t rows, cols;
  std::vector<double> data;

  Matrix(std::size_t rows, std::size_t cols, double value = 0) : rows(rows), cols(cols), data(rows * cols, value) {}
  kernels_view_f64 view() const { return {data.data(), rows, cols, std::ptrdiff_t(cols), 1}; }
  kernels_view_mut_f64 view() { return {data.data(), rows, cols, std::ptrdiff_t(cols), 1}; }
};

static Matrix operator*(const Matrix &a, const Matrix &b) {
  Matrix c(a.rows, b.cols);
  const auto av = a.view(), bv = b.view();
  const auto cv = c.view();
  must(kernels_gemm_f64(&av, &bv, &cv, nullptr));
  return c;
}

int main() {
  Matrix a(3, 4, 0.5), b(4, 2, 2.0);
  Matrix c = a * b;
  std::printf("c(2, 1) = %g\n", c.data[2 * 2 + 1]);
  bool good = c.data == std::vector<double>(6, 4.0);

  try {
    a * a;
    good = false;
  } catch (const std::runtime_error &error) {
    std::printf("refused: %s\n", error.what());
  }

#ifdef HAS_EIGEN
  // Anything of Eigen that has its elements at strides: here a transposed block, times a column-major matrix.
  Eigen::MatrixXd x = Eigen::MatrixXd::Random(40, 30), w = Eigen::MatrixXd::Random(20, 10), y(16, 10);
  const auto part = x.block(3, 5, 20, 16).transpose();
  const kernels_view_f64 pv = {part.data(), 16, 20, part.rowStride(), part.colStride()};
  const kernels_view_f64 wv = {w.data(), 20, 10, 1, w.outerStride()};
  const kernels_view_mut_f64 yv = {y.data(), 16, 10, 1, y.outerStride()};
  must(kernels_gemm_f64(&pv, &wv, &yv, nullptr));
  const double error = (y - part * w).cwiseAbs().maxCoeff();
  std::printf("Eigen: largest difference %.1e\n", error);
  good = good && error < 1e-12;
#endif
  return good ? 0 : 1;
}
