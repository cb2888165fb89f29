"""Predictions a second, softmax included, of nn::Predictor, onnxruntime and NumPy on one thread, taking turns; the
median of the rounds, and the share of the measured peak of the core's FMA units.

  cargo build --release -p nn --example speed && cargo build --release -p harness
  target/release/harness export MODEL MODEL.onnx
  taskset -c 1 python3 ci/speed.py target/release/examples/speed MODEL MODEL.onnx [ROUNDS]

Needs numpy and onnxruntime (ci/onnx makes a virtual environment with them below target)."""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import statistics
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

program, model, path = sys.argv[1:4]
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 9
SECONDS = 0.12

ours = subprocess.Popen([program, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(batch):
    ours.stdin.write(f"{batch} {SECONDS}\n")
    ours.stdin.flush()
    return float(ours.stdout.readline())


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
layers = list(zip(weights[::2], weights[1::2]))
flops = sum(2 * w.size for w, _ in layers)


def by_numpy(x):
    for i, (w, b) in enumerate(layers):
        x = x @ w + b
        if i + 1 < len(layers):
            np.maximum(x, 0, out=x)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True)


def timed(call, x):
    call(x)
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        for _ in range(-(-1024 // len(x))):
            call(x)
            count += len(x)
    return count / (time.perf_counter() - begin)


name = session.get_inputs()[0].name
width = layers[0][0].shape[0]
batches = [1024, 32, 1]
inputs = {batch: ((np.arange(batch * width) % 251) / 251).astype(np.float32).reshape(batch, width) for batch in batches}
figures, peaks = {}, []
for _ in range(rounds):
    peaks.append(ask(0))
    for batch in batches:
        x = inputs[batch]
        for who, figure in [
            ("nn", ask(batch)),
            ("onnxruntime", timed(lambda x: session.run(None, {name: x}), x)),
            ("numpy", timed(by_numpy, x)),
        ]:
            figures.setdefault((batch, who), []).append(figure)
peak = statistics.median(peaks)
sizes = "-".join(str(n) for n in [width] + [w.shape[1] for w, _ in layers])
print(f"{sizes}, {rounds} rounds, FMA peak {peak / 1e9:.0f} GFLOP/s;", end=" ")
print("samples/s, microseconds a call, share of the peak, nn over it")
for batch in batches:
    for who in ["nn", "onnxruntime", "numpy"]:
        figure = statistics.median(figures[batch, who])
        ratio = statistics.median(a / b for a, b in zip(figures[batch, "nn"], figures[batch, who]))
        us, share = 1e6 * batch / figure, 100 * figure * flops / peak
        print(f"  batch {batch:5} {who:12} {figure:12,.0f} {us:10.2f} us {share:5.1f} % {ratio:7.2f}")
