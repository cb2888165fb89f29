"""From Python: NumPy arrays of any strides, without a copy and without anything to compile.

    KERNELS_LIBRARY=/path/to/libkernels_c.so python3 arrays.py
"""

import ctypes
import ctypes.util
import os

import numpy as np

_path = os.environ.get("KERNELS_LIBRARY") or ctypes.util.find_library("kernels_c")
if not _path:
    raise SystemExit("libkernels_c is not installed: set KERNELS_LIBRARY to its path")
_lib = ctypes.CDLL(_path)
_lib.kernels_error_message.restype = ctypes.c_char_p


class _View(ctypes.Structure):
    """kernels_view_f32 and its kin: a pointer, a shape, and strides in elements."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("rows", ctypes.c_size_t),
        ("cols", ctypes.c_size_t),
        ("row_stride", ctypes.c_ssize_t),
        ("col_stride", ctypes.c_ssize_t),
    ]

    def __init__(self, x):
        if x.ndim != 2 or any(s % x.itemsize for s in x.strides):
            raise ValueError("a matrix whose strides are whole elements is needed")
        super().__init__(x.ctypes.data, *x.shape, *(s // x.itemsize for s in x.strides))


def matmul(a, b, out=None):
    """a @ b, for float32 or float64, written to out if it is given."""
    name = {"float32": "kernels_gemm_f32", "float64": "kernels_gemm_f64"}.get(a.dtype.name)
    if name is None or b.dtype != a.dtype:
        raise TypeError(f"two arrays of float32 or float64 are needed, not {a.dtype} and {b.dtype}")
    c = np.empty((a.shape[0], b.shape[1]), a.dtype) if out is None else out
    if c.dtype != a.dtype or not c.flags.writeable:
        raise TypeError("out must be writable, and of the type of a and b")
    if getattr(_lib, name)(*(ctypes.byref(_View(x)) for x in (a, b, c)), None) != 0:
        raise ValueError(_lib.kernels_error_message().decode())
    return c


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 60)).astype(np.float32)
    for a, b in [
        (x, x.T),
        (x[::2, ::-3], x[:20, :35].T[::-1][:20]),  # steps, backwards, transposed
        (np.broadcast_to(x[0], (7, 60)), x.T),  # a stride of 0
        (x.astype(np.float64), x.T.astype(np.float64)),
    ]:
        c = matmul(a, b)
        error = abs(c - a @ b).max()
        print(f"{a.shape} @ {b.shape}, strides {a.strides} and {b.strides}: largest difference {error:.1e}")
        assert error < 1e-4
    into = np.zeros((80, 80), np.float32)
    matmul(x, x.T, out=into[1::2, ::-2])
    assert np.array_equal(into[1::2, ::-2], matmul(x, x.T)) and not into[::2].any()
    try:
        matmul(x, x)
    except ValueError as error:
        print("refused:", error)
    else:
        raise SystemExit("a wrong shape was accepted")
