"""Seconds an epoch of the reference program (784-128-10 on MNIST, batches of 32, Adam) by `harness train` and by JAX,
taking turns; the median of the rounds. JAX runs an epoch as one compiled loop over its steps, which is its fastest way;
compiling is not counted.

  cargo build --release -p harness
  python3 -m venv target/jax && target/jax/bin/pip install jax
  taskset -c 1 target/jax/bin/python ci/training.py [ROUNDS]

The CPUs that it may run on, by taskset, are the threads of both."""

import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

try:
    import jax
    import jax.numpy as jnp
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit()

root = Path(__file__).resolve().parent.parent
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
threads = len(os.sched_getaffinity(0))
BATCH, RATE, BETA1, BETA2, EPSILON = 32, 1e-3, 0.9, 0.999, 1e-7


def read(name, header):
    with gzip.open(root / f"data/mnist/{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def images(part):
    return jnp.asarray(read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784).astype(np.float32) / 255)


def labels(part):
    return jnp.asarray(read(f"{part}-labels-idx1-ubyte", 8).astype(np.int32))


def logits(weights, x):
    (w1, b1), (w2, b2) = weights
    return jax.nn.relu(x @ w1 + b1) @ w2 + b2


def loss(weights, x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(weights, x)), y[:, None], axis=1).mean()


def step(state, x, y):
    weights, m, v, t = state
    g = jax.grad(loss)(weights, x, y)
    t = t + 1
    rate = RATE * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    m = jax.tree.map(lambda m, g: m + (1 - BETA1) * (g - m), m, g)
    v = jax.tree.map(lambda v, g: v + (1 - BETA2) * (g * g - v), v, g)
    weights = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), weights, m, v)
    return weights, m, v, t


@partial(jax.jit, donate_argnums=0)
def epoch(state, x, y, order):
    return jax.lax.scan(lambda state, i: (step(state, x[i], y[i]), None), state, order)[0]


def begin():
    keys = jax.random.split(jax.random.key(0), 2)
    draw = jax.nn.initializers.glorot_uniform()
    sizes = [(784, 128), (128, 10)]
    weights = [(draw(key, size), jnp.zeros(size[1])) for key, size in zip(keys, sizes)]
    zeros = lambda: jax.tree.map(jnp.zeros_like, weights)
    return weights, zeros(), zeros(), jnp.float32(0)


def ours():
    command = [root / "target/release/harness", "train", "--epochs", "2", "--threads", str(threads), "--json", "-"]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return min(json.loads(done.stdout)["epoch_seconds"])


x, y = images("train"), labels("train")
rng = np.random.default_rng(0)
state, figures = begin(), []
for _ in range(rounds + 1):
    order = jnp.asarray(rng.permutation(len(x)).reshape(-1, BATCH))
    start = time.perf_counter()
    state = jax.block_until_ready(epoch(state, x, y, order))
    taken = time.perf_counter() - start
    figures.append((ours(), taken))
nn, peer = (statistics.median(times) for times in zip(*figures[1:]))
hits = logits(state[0], images("t10k")).argmax(axis=1) == labels("t10k")
print(f"{threads} threads, {rounds} rounds; seconds an epoch:", end=" ")
print(f"nn {nn:.3f}, JAX {jax.__version__} {peer:.3f}, {peer / nn:.2f} times")
print(f"test accuracy of JAX after {rounds + 1} epochs {float(hits.mean()):.4f}")
