"""Runs exported models with onnxruntime on all test images and compares with the probabilities that `harness evaluate`
wrote; reads exported weights with NumPy and safetensors and writes them again. Called by ci/onnx."""

import gzip
import sys

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

folder = sys.argv[1]


def idx(name, skip):
    with gzip.open(f"data/mnist/{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=skip)


pixels = idx("t10k-images-idx3-ubyte", 16).reshape(-1, 784)
labels = idx("t10k-labels-idx1-ubyte", 8)
wanted = np.fromfile(f"{folder}/probabilities.f32", "<f4").reshape(len(labels), -1)
for name, inputs in [("numbers", pixels.astype(np.float32) * np.float32(1 / 255)), ("pixels", pixels)]:
    path = f"{folder}/{name}.onnx"
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs})
    apart = np.abs(found - wanted).max()
    classes = (found.argmax(1) != wanted.argmax(1)).sum()
    accuracy = (found.argmax(1) == labels).mean()
    told = f"{classes} other classes, largest difference {apart:.2g}, accuracy {accuracy:.4f}"
    print(f"{name}.onnx: {len(found)} images, {told}")
    assert found.shape == wanted.shape and classes == 0 and apart <= 1e-5

npz = dict(np.load(f"{folder}/weights.npz"))
weights = load_file(f"{folder}/weights.safetensors")
pytorch = load_file(f"{folder}/pytorch.safetensors")
for name, array in weights.items():
    turned = pytorch[name].T if array.ndim == 2 else pytorch[name]
    assert (array == npz[name]).all() and (array == turned).all(), name
print(f"weights: {len(weights)} arrays, the same in NPZ, safetensors and the layout of PyTorch")
np.savez_compressed(f"{folder}/again.npz", **{name: npz[name] for name in weights})
save_file(weights, f"{folder}/again.safetensors")
