"""Int8 for the processor, so that a text gets the same answer whatever batch it falls in.

onnxruntime's own dynamic quantisation takes one scale for a whole batch, seen afresh in each: a text's answer then
depends on the texts beside it, and a few channels that are twenty times as large as the rest leave little precision to
the others. Here activations get a scale that is fixed at export, after large channels were made smaller and the weights
that they meet larger (SmoothQuant, Xiao et al. 2023). Activations that hardly go below zero, as GELU's, whose size
varies most, get a scale for each token, and spend all 256 levels above their least value. Weights have a scale for each
column. Activations stay unsigned: products of two signed int8 are twenty times slower on this kind of processor.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from earful.bundle import open_session

SMOOTHING = 0.5  # share of the difficulty that moves from activations to weights; the paper's default
ONE_SIDED = 0.25  # an activation whose least value is nearer to 0 than this part of its greatest
LEAST = 1e-9  # a scale is never 0
LARGE_TABLE = 1_000_000  # elements from which a table that is only looked up is kept in float16

Floats = NDArray[np.float32]
Feed = Mapping[str, NDArray[np.int64]]


class Range(NamedTuple):
    """What an activation was seen to hold: least value, greatest value, greatest magnitude of each channel."""

    low: float
    high: float
    channels: Floats

    @property
    def one_sided(self) -> bool:
        """Whether it hardly goes below zero."""
        return -self.low < ONE_SIDED * self.high


def quantise(model: ModelProto, feeds: Sequence[Feed]) -> ModelProto:
    """The model with every product by a constant matrix in int8; `feeds` are inputs to see typical activations on."""
    weights = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    ranges = _observe(model, sorted({node.input[0] for node in products}), feeds)
    writer = _Writer(weights)
    for name, seen in ranges.items():
        writer.activation(name, seen, [weights[node.input[1]] for node in products if node.input[0] == name])
    replaced = {node.name: writer.product(node) for node in products}
    return _rebuild(model, writer, replaced)


def _observe(model: ModelProto, names: Sequence[str], feeds: Iterable[Feed]) -> dict[str, Range]:
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = open_session(watched.SerializeToString())
    seen: dict[str, Range] = {}
    for feed in feeds:
        for name, value in zip(names, session.run(list(names), dict(feed)), strict=True):
            flat = value.reshape(-1, value.shape[-1])
            now = Range(float(flat.min()), float(flat.max()), np.abs(flat).max(axis=0))
            old = seen.get(name, now)
            seen[name] = Range(min(old.low, now.low), max(old.high, now.high), np.maximum(old.channels, now.channels))
    return seen


class _Writer:
    """Writes the nodes and constants that take the place of the products."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self.weights = weights
        self.before: dict[str, list[NodeProto]] = {}  # by activation: the nodes that quantise it
        self.constants: dict[str, NDArray[np.generic]] = {
            "int8/one": _constant(1), "int8/255": _constant(255), "int8/least": _constant(LEAST),
            "int8/zero": np.array(0, dtype=np.uint8), "int8/middle": np.array(128, dtype=np.uint8),
        }  # fmt: skip
        self._ranges: dict[str, Range] = {}
        self._smooth: dict[str, Floats] = {}

    def activation(self, name: str, seen: Range, weights: Sequence[Floats]) -> None:
        """Quantise an activation into `NAME/int8`, with its scale in `NAME/scale`."""
        self._ranges[name] = seen
        if seen.one_sided:
            self.before[name] = self._by_token(name, seen)
        else:
            self.before[name] = self._smoothed(name, seen, weights)

    def _by_token(self, name: str, seen: Range) -> list[NodeProto]:
        self.constants[f"{name}/low"] = _constant(seen.low)
        return [
            _node("Sub", [name, f"{name}/low"], f"{name}/shifted"),
            helper.make_node("ReduceMax", [f"{name}/shifted"], [f"{name}/top"], axes=[-1], keepdims=1),
            _node("Max", [f"{name}/top", "int8/least"], f"{name}/safe"),
            _node("Div", ["int8/255", f"{name}/safe"], f"{name}/stretch"),
            _node("Div", [f"{name}/safe", "int8/255"], f"{name}/scale"),
            _node("Mul", [f"{name}/shifted", f"{name}/stretch"], f"{name}/stretched"),
            _node("QuantizeLinear", [f"{name}/stretched", "int8/one", "int8/zero"], f"{name}/int8"),
        ]

    def _smoothed(self, name: str, seen: Range, weights: Sequence[Floats]) -> list[NodeProto]:
        by = _smoothing(seen.channels, weights)
        self._smooth[name] = by
        self.constants[f"{name}/smooth"] = 1 / by
        self.constants[f"{name}/scale"] = _constant(max(float((seen.channels / by).max()), LEAST) / 127)
        return [
            _node("Mul", [name, f"{name}/smooth"], f"{name}/smoothed"),
            _node("QuantizeLinear", [f"{name}/smoothed", f"{name}/scale", "int8/middle"], f"{name}/int8"),
        ]

    def product(self, node: NodeProto) -> list[NodeProto]:
        """The nodes that take the place of one product."""
        name, weight, out = node.input[0], node.input[1], node.output[0]
        seen, matrix = self._ranges[name], self.weights[weight]
        smoothed = matrix * self._smooth[name][:, None] if name in self._smooth else matrix
        scale = (np.maximum(np.abs(smoothed).max(axis=0), LEAST) / 127).astype(np.float32)
        self.constants[f"{weight}/int8"] = np.clip(np.round(smoothed / scale), -127, 127).astype(np.int8)
        self.constants[f"{weight}/scale"] = scale
        if not seen.one_sided:
            return [
                _product([f"{name}/int8", f"{weight}/int8", f"{name}/scale", f"{weight}/scale", "int8/middle"], out)
            ]
        self.constants[f"{weight}/low"] = (seen.low * matrix.sum(axis=0)).astype(np.float32)
        return [
            _product([f"{name}/int8", f"{weight}/int8", "int8/one", f"{weight}/scale", "int8/zero"], f"{out}/int8"),
            _node("Mul", [f"{out}/int8", f"{name}/scale"], f"{out}/scaled"),
            _node("Add", [f"{out}/scaled", f"{weight}/low"], out),
        ]


def _constant(value: float) -> NDArray[np.float32]:
    return np.array(value, dtype=np.float32)


def _product(inputs: Sequence[str], output: str) -> NodeProto:
    return helper.make_node("MatMulIntegerToFloat", inputs, [output], domain="com.microsoft")


def _node(kind: str, inputs: Sequence[str], output: str) -> NodeProto:
    return helper.make_node(kind, inputs, [output])


def _smoothing(channels: Floats, weights: Sequence[Floats]) -> Floats:
    """By how much to divide each channel of an activation, and multiply the rows of the weights it meets."""
    rows = np.abs(np.concatenate(weights, axis=1)).max(axis=1)
    by = np.maximum(channels, 1e-5) ** SMOOTHING / np.maximum(rows, 1e-5) ** (1 - SMOOTHING)
    result: Floats = (by / np.exp(np.log(by).mean())).astype(np.float32)
    return result


def _rebuild(model: ModelProto, writer: _Writer, replaced: Mapping[str, Sequence[NodeProto]]) -> ModelProto:
    """A copy with the products replaced, and large look-up tables in half precision."""
    nodes: list[NodeProto] = []
    written: set[str] = set()
    halves: dict[str, TensorProto] = {}
    for node in model.graph.node:
        if node.name in replaced:
            if node.input[0] not in written:
                nodes.extend(writer.before[node.input[0]])
                written.add(node.input[0])
            nodes.extend(replaced[node.name])
        elif node.op_type == "Gather" and writer.weights.get(node.input[0], np.empty(0)).size >= LARGE_TABLE:
            table, out = node.input[0], node.output[0]
            halves[table] = numpy_helper.from_array(writer.weights[table].astype(np.float16), table)
            nodes.append(helper.make_node("Gather", list(node.input), [f"{out}/half"], name=node.name))
            nodes.append(helper.make_node("Cast", [f"{out}/half"], [out], to=TensorProto.FLOAT))
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    constants = [halves.get(item.name, item) for item in model.graph.initializer if item.name in used]
    constants += [numpy_helper.from_array(np.asarray(value), name) for name, value in writer.constants.items()]
    graph = helper.make_graph(nodes, "earful", model.graph.input, model.graph.output, constants)
    opsets = [*model.opset_import, helper.make_opsetid("com.microsoft", 1)]
    made: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    onnx.checker.check_model(made)
    return made
