"""Writes the files of nn/tests/files: models that scikit-learn trained on its iris data, as skl2onnx writes them, a
chain as PyTorch writes it (weights outputs x inputs, names of its exporter), and what onnxruntime makes of each:

  python3 ci/onnx-fixtures.py nn/tests/files

Needs numpy, onnx, onnxruntime, scikit-learn, skl2onnx."""

import json
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.filterwarnings("ignore")
folder = sys.argv[1]
x, y = load_iris(return_X_y=True)
x = x.astype(np.float32)


def save(name, model, output):
    with open(f"{folder}/{name}.onnx", "wb") as file:
        file.write(model.SerializeToString())
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run([output], {session.get_inputs()[0].name: x[::10]})[0]
    with open(f"{folder}/{name}.json", "w") as file:
        numbers = {"inputs": x[::10].ravel().tolist(), "outputs": found.ravel().tolist()}
        json.dump(numbers, file)
        file.write("\n")


for activation, hidden in [("relu", (8,)), ("tanh", (6, 5)), ("logistic", (7,))]:
    mlp = MLPClassifier(hidden, activation=activation, random_state=0, max_iter=300)
    pipeline = make_pipeline(StandardScaler(), mlp).fit(x, y)
    save(f"skl-{activation}", to_onnx(pipeline, x[:1], options={"zipmap": False}), "probabilities")

mlp = MLPRegressor(hidden_layer_sizes=(8,), activation="relu", random_state=0, max_iter=300)
mlp.fit(x, x[:, 0] * 2 - x[:, 1])
save("skl-regression", to_onnx(mlp, x[:1]), "variable")

rng = np.random.default_rng(0)
sizes = [4, 8, 6, 3]
constants, nodes, at = [], [], "input"
nodes.append(helper.make_node("Flatten", [at], ["/0/Flatten_output_0"], "/0/Flatten", axis=1))
at = "/0/Flatten_output_0"
for i, (k, n) in enumerate(zip(sizes, sizes[1:])):
    for what, shape in [("weight", (n, k)), ("bias", (n,))]:
        array = rng.normal(size=shape).astype(np.float32)
        constants.append(numpy_helper.from_array(array, f"{i}.{what}"))
    out = f"/{i}/Gemm_output_0"
    inputs = [at, f"{i}.weight", f"{i}.bias"]
    nodes.append(helper.make_node("Gemm", inputs, [out], f"/{i}/Gemm", alpha=1.0, beta=1.0, transB=1))
    at = out
    if i == 0:
        drawn = [rng.uniform(0.5, 2, n), rng.normal(size=n), rng.normal(size=n), rng.uniform(0.5, 2, n)]
        for j, array in enumerate(drawn):
            constants.append(numpy_helper.from_array(array.astype(np.float32), f"bn.{j}"))
        inputs = [at] + [f"bn.{j}" for j in range(4)]
        nodes.append(helper.make_node("BatchNormalization", inputs, ["bn"], "/bn", epsilon=1e-5))
        nodes.append(helper.make_node("LeakyRelu", ["bn"], ["leaky"], "/leaky", alpha=0.2))
        at = "leaky"
    if i == 1:
        nodes.append(helper.make_node("Sigmoid", [at], ["gate"], "/silu/Sigmoid"))
        nodes.append(helper.make_node("Mul", [at, "gate"], ["silu"], "/silu/Mul"))
        at = "silu"
nodes.append(helper.make_node("Softmax", [at], ["output"], "/Softmax", axis=1))
graph = helper.make_graph(
    nodes,
    "main_graph",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4])],
    [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])],
    constants,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
save("torch-layout", model, "output")
