"""Int8 for the processor, so that a text gets the same answer whatever batch it falls in.

onnxruntime's own dynamic quantisation takes one scale for a whole batch, seen afresh in each: a text's answer then
depends on the texts beside it, and a few channels that are twenty times as large as the rest leave little precision to
the others. Here activations get a scale that is fixed at export, after each channel was moved to lie around zero, and
large ones made smaller and the weights that they meet larger (SmoothQuant, Xiao et al. 2023; the shift is that of
Outlier Suppression+, Wei et al. 2023). Activations that hardly go below zero, as GELU's, whose size varies most, get a
scale for each token. Weights have a scale for each column and are rounded one row after another, each making up for the
error of those before it (GPTQ, Frantar et al. 2023). Activations stay unsigned: products of two signed int8 are twenty
times slower on this kind of processor.

With x ≈ scale * (q - zero), where q is uint8, the product x W is scale * (q W) - scale * (zero W), whose second part is
constant.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from earful.bundle import open_session

SMOOTHING = 0.65  # share of the difficulty that moves from activations to weights
DAMPING = 0.01  # share of the mean added to the diagonal of the activations' products; GPTQ's own
ONE_SIDED = 0.25  # an activation whose least value is nearer to 0 than this part of its greatest
LEAST = 1e-9  # a scale is never 0
MICROSOFT = "com.microsoft"  # the domain of onnxruntime's own operations
LARGE_TABLE = 1_000_000  # elements from which a table that is only looked up is kept in float16

Floats = NDArray[np.floating]
Feed = Mapping[str, NDArray[np.int64]]


class Seen(NamedTuple):
    """What an activation of k channels was seen to hold: tokens, and by channel their least, greatest and sum.

    `products` (k, k) sums the products of each two channels.
    """

    rows: int
    low: Floats
    high: Floats
    sums: Floats
    products: Floats

    @property
    def one_sided(self) -> bool:
        """Whether it hardly goes below zero."""
        return bool(-self.low.min() < ONE_SIDED * self.high.max())


def quantise(model: ModelProto, feeds: Sequence[Feed]) -> ModelProto:
    """The model with every product by a constant matrix in int8; `feeds` are inputs to see typical activations on."""
    weights = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    products: dict[str, list[NodeProto]] = {}  # by the activation that they share
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            products.setdefault(node.input[0], []).append(node)
    seen = _observe(model, list(products), feeds)
    writer = _Writer(weights)
    for name, nodes in products.items():
        writer.write(name, nodes, seen[name])
    return _rebuild(model, writer)


def _observe(model: ModelProto, names: Sequence[str], feeds: Iterable[Feed]) -> dict[str, Seen]:
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = open_session(watched.SerializeToString())
    seen: dict[str, Seen] = {}
    for feed in feeds:
        real = feed["attention_mask"].astype(bool)
        for name, value in zip(names, session.run(list(names), dict(feed)), strict=True):
            now = _look(value[real] if value.ndim == real.ndim + 1 else value)
            seen[name] = _both(seen[name], now) if name in seen else now
    return seen


def _look(rows: Floats) -> Seen:
    return Seen(len(rows), rows.min(axis=0), rows.max(axis=0), rows.sum(axis=0), rows.T @ rows)


def _both(old: Seen, new: Seen) -> Seen:
    low, high = np.minimum(old.low, new.low), np.maximum(old.high, new.high)
    return Seen(old.rows + new.rows, low, high, old.sums + new.sums, old.products + new.products)


class _Steps(NamedTuple):
    """How an activation's levels lie: x = smooth * (scale * q + offset), by channel."""

    smooth: Floats
    offset: Floats


class _Writer:
    """Writes the nodes and constants that take the place of the products."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self.weights = weights
        self.nodes: dict[str, list[NodeProto]] = {}  # by the name of the product whose place they take
        self._steps: dict[str, _Steps] = {}
        self.constants: dict[str, NDArray[np.generic]] = {
            "int8/one": _constant(1), "int8/255": _constant(255), "int8/least": _constant(LEAST),
            "int8/zero": np.array(0, dtype=np.uint8),
        }  # fmt: skip

    def write(self, name: str, products: Sequence[NodeProto], seen: Seen) -> None:
        """Replace the products of one activation by its int8 once, and the product of that with each one's weights."""
        matrices = [self.weights[node.input[1]] for node in products]
        if seen.one_sided:
            before = self._by_token(name, seen)
        else:
            before = self._fixed(name, np.concatenate(matrices, axis=1), seen)
        for node, matrix in zip(products, matrices, strict=True):
            self.nodes[node.name] = [*before, *self._product(node, matrix, seen)]
            before = []

    def _fixed(self, name: str, matrix: Floats, seen: Seen) -> list[NodeProto]:
        """x = smooth * (scale * q + offset), so that no channel needs more than the 256 levels."""
        half, middle = (seen.high - seen.low) / 2, (seen.high + seen.low) / 2
        smooth = _smoothing(half, matrix)
        scale = max(float((half / smooth).max()) * 2 / 255, LEAST)
        self._steps[name] = _Steps(smooth, middle / smooth - 127.5 * scale)
        self.constants[f"{name}/scale"] = _constant(scale)
        self.constants[f"{name}/stretch"] = (1 / (smooth * scale)).astype(np.float32)
        self.constants[f"{name}/zero"] = (127.5 - middle / (smooth * scale)).astype(np.float32)
        return [
            _node("Mul", [name, f"{name}/stretch"], f"{name}/stretched"),
            _node("Add", [f"{name}/stretched", f"{name}/zero"], f"{name}/shifted"),
            _node("QuantizeLinear", [f"{name}/shifted", "int8/one", "int8/zero"], f"{name}/int8"),
        ]

    def _by_token(self, name: str, seen: Seen) -> list[NodeProto]:
        """x = scale * q + offset, where every token has its own scale."""
        low = seen.low.min()
        self._steps[name] = _Steps(np.ones_like(seen.low), np.full_like(seen.low, low))
        self.constants[f"{name}/low"] = _constant(low)
        return [
            _node("Sub", [name, f"{name}/low"], f"{name}/shifted"),
            helper.make_node("ReduceMax", [f"{name}/shifted"], [f"{name}/top"], axes=[-1], keepdims=1),
            _node("Max", [f"{name}/top", "int8/least"], f"{name}/safe"),
            _node("Div", ["int8/255", f"{name}/safe"], f"{name}/stretch"),
            _node("Div", [f"{name}/safe", "int8/255"], f"{name}/scale"),
            _node("Mul", [f"{name}/shifted", f"{name}/stretch"], f"{name}/stretched"),
            _node("QuantizeLinear", [f"{name}/stretched", "int8/one", "int8/zero"], f"{name}/int8"),
        ]

    def _product(self, node: NodeProto, matrix: Floats, seen: Seen) -> list[NodeProto]:
        name, weight, out = node.input[0], node.input[1], node.output[0]
        self._weight(weight, matrix, seen, self._steps[name])
        factors, bias = [f"{name}/int8", f"{weight}/int8"], f"{weight}/bias"
        if not seen.one_sided:
            return [_integers([*factors, f"{name}/scale", f"{weight}/scale", "int8/zero", "", bias], out)]
        return [
            _integers([*factors, "int8/one", f"{weight}/scale", "int8/zero"], f"{out}/integers"),
            _node("Mul", [f"{out}/integers", f"{name}/scale"], f"{out}/scaled"),
            _node("Add", [f"{out}/scaled", bias], out),
        ]

    def _weight(self, name: str, matrix: Floats, seen: Seen, steps: _Steps) -> None:
        """The int8 weights; the bias holds what the offset adds, and what rounding takes from the average token."""
        mean = seen.sums / seen.rows
        spread = (seen.products - seen.rows * np.outer(mean, mean)) / np.outer(steps.smooth, steps.smooth)
        smoothed = matrix * steps.smooth[:, None]
        scale = (np.maximum(np.abs(smoothed).max(axis=0), LEAST) / 127).astype(np.float32)
        whole = _round(smoothed / scale, spread)
        rounded = whole * scale
        bias = steps.offset @ rounded + (mean / steps.smooth) @ (smoothed - rounded)
        self.constants[f"{name}/int8"] = whole.astype(np.int8)
        self.constants[f"{name}/scale"] = scale
        self.constants[f"{name}/bias"] = bias.astype(np.float32)


def _smoothing(half: Floats, matrix: Floats) -> Floats:
    """By how much to divide each channel of an activation, and multiply the row of the weights it meets."""
    rows = np.abs(matrix).max(axis=1)
    by = np.maximum(half, 1e-5) ** SMOOTHING / np.maximum(rows, 1e-5) ** (1 - SMOOTHING)
    result: Floats = by / np.exp(np.log(by).mean())
    return result


def _round(matrix: Floats, products: Floats) -> Floats:
    """Whole numbers in ±127 whose product with activations is near the matrix's (k, n), by GPTQ.

    `products` (k, k) are those of the activations' channels. After each row is rounded, the rows below it take over its
    error as far as their channels move with its.
    """
    k = len(products)
    damping = DAMPING * np.trace(products) / k + LEAST
    upper = np.linalg.cholesky(np.linalg.inv(products + damping * np.eye(k))).T.astype(np.float32)
    left, whole = matrix.copy(), np.empty_like(matrix)
    for row in range(k):
        whole[row] = np.clip(np.round(left[row]), -127, 127)
        left[row + 1 :] -= np.outer(upper[row, row + 1 :], (left[row] - whole[row]) / upper[row, row])
    return whole


def _constant(value: float) -> Floats:
    return np.array(value, dtype=np.float32)


def _integers(inputs: Sequence[str], output: str) -> NodeProto:
    return helper.make_node("MatMulIntegerToFloat", inputs, [output], domain=MICROSOFT)


def _node(kind: str, inputs: Sequence[str], output: str) -> NodeProto:
    return helper.make_node(kind, inputs, [output])


def _rebuild(model: ModelProto, writer: _Writer) -> ModelProto:
    """A copy with the products replaced, and large look-up tables in half precision."""
    nodes: list[NodeProto] = []
    halves: dict[str, TensorProto] = {}
    for node in model.graph.node:
        if node.name in writer.nodes:
            nodes.extend(writer.nodes[node.name])
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
    opsets = [one for one in model.opset_import if one.domain != MICROSOFT] + [helper.make_opsetid(MICROSOFT, 1)]
    made: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    onnx.checker.check_model(made)
    return made
