"""Export: the trained network as an int8 ONNX model, and proof that it still answers as the trained one did."""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from earful.errors import ParityError
from earful.policy import Policy
from earful.tagger import Logits, batches, pad
from earful.taxonomy import URGENCIES
from training.calibrate import Answers
from training.evaluate import answer, metrics
from training.network import FeedbackNetwork
from training.quantise import Feed, quantise

OPSET = 17
MOST_DISAGREEMENT = 0.01  # of labels
MOST_LOSS = 0.005  # of any metric
TIE = 0.05  # two labels whose probabilities are nearer than this are both the network's answer
FEW = 2.0  # rows that may always differ: among a few dozen, one or two lie on the edge
ROUNDING = 1e-9


class _Windows(nn.Module):
    """What is exported: logits of each window, with as many outputs as there are heads."""

    def __init__(self, network: FeedbackNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        return tuple(part for part in self.network.windows(input_ids, attention_mask) if part is not None)


def to_onnx(network: FeedbackNetwork, windows: Sequence[Sequence[int]], pad_id: int) -> bytes:
    """The network as int8 ONNX: `input_ids` and `attention_mask` (windows, tokens) to `category` and maybe `urgency`.

    `windows` are token ids of some training texts, to see typical activations on.
    """
    outputs = ["category"] + (["urgency"] if network.urgency is not None else [])
    with tempfile.TemporaryDirectory(prefix="earful-export-") as name:
        folder = Path(name)
        _export(network, folder / "full.onnx", outputs)
        quant_pre_process(folder / "full.onnx", folder / "clean.onnx", skip_symbolic_shape=True)
        model = onnx.load(folder / "clean.onnx")
    feeds = [_feed([windows[n] for n in batch], pad_id) for batch in batches([len(window) for window in windows])]
    made: bytes = quantise(model, feeds).SerializeToString()
    return made


def _feed(windows: Sequence[Sequence[int]], pad_id: int) -> Feed:
    ids, mask = pad(windows, pad_id)
    return {"input_ids": ids, "attention_mask": mask}


def _export(network: FeedbackNetwork, path: Path, outputs: Sequence[str]) -> None:
    """With the older exporter: what the newer one writes cannot be quantised by onnxruntime."""
    ids = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "windows", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecation of the exporter, and tracing constants that are constant
        torch.onnx.export(
            _Windows(network).eval().cpu().float(),
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=list(outputs),
            dynamic_axes={**axes, **{name: {0: "windows"} for name in outputs}},
            opset_version=OPSET,
            dynamo=False,
        )


class Parity(NamedTuple):
    """How far two models agree: shares of rows with the same labels, and each metric's change (exported - trained).

    A `clear` disagreement is one where the trained network was not itself undecided, by `TIE`.
    """

    category_agreement: float
    urgency_agreement: float | None
    category_clear: float
    urgency_clear: float
    changes: Mapping[str, float]


def parity(trained: Logits, exported: Logits, right: Answers, policy: Policy) -> Parity:
    """Compare two models' answers to the same rows."""
    before, after = answer(trained, policy), answer(exported, policy)
    old, new = metrics(before, right), metrics(after, right)
    same, clear = _categories(before.category, after.category)
    urgency: float | None = None
    urgency_clear = 0.0
    if (
        before.level is not None
        and after.level is not None
        and before.urgency is not None
        and after.urgency is not None
    ):
        levels = np.arange(len(URGENCIES)) / (len(URGENCIES) - 1)
        moved = np.abs((after.urgency - before.urgency) @ levels) > TIE
        urgency = float((before.level == after.level).mean())
        urgency_clear = float(((before.level != after.level) & moved).mean())
    changes = {name: round(new.get(name, 0.0) - value, 4) for name, value in old.items()}
    return Parity(same, urgency, clear, urgency_clear, changes)


def _categories(before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
    """Share of rows with the same category, and with another that the trained network held clearly less likely."""
    rows, old, new = np.arange(len(before)), before.argmax(axis=1), after.argmax(axis=1)
    clear = before[rows, old] - before[rows, new] > TIE
    return float((old == new).mean()), float(clear.mean())


def check_parity(found: Parity, right: Answers) -> None:
    """Raises `ParityError` if more than 1% of labels clearly disagree or a metric falls by more than half a point.

    Two labels may always differ, and four rows' worth of a metric (a row counts in the F1 of two classes): among a few
    dozen rows that is chance. Calibration errors are not held: the temperatures were fitted to the exported model.
    """
    rows = len(right.category)
    problems = [
        f"{name} labels clearly disagree on {share:.2%} of {rows} validation rows"
        for name, share in (("category", found.category_clear), ("urgency", found.urgency_clear))
        if share > max(MOST_DISAGREEMENT, FEW / rows) + ROUNDING
    ]
    problems += [
        f"{name} changes by {change:+.4f}"
        for name, change in found.changes.items()
        if not name.endswith("_ece") and -change > max(MOST_LOSS, 2 * FEW / _rows_behind(name, right)) + ROUNDING
    ]
    if problems:
        raise ParityError("the int8 model does not answer as the trained one: " + "; ".join(problems))


def _rows_behind(metric: str, right: Answers) -> int:
    """How many rows a metric is the mean of."""
    for level, name in enumerate(URGENCIES):
        if metric.endswith(f"_{name}"):
            return max(1, int((right.urgency >= level).sum()))
    labels = right.urgency if metric.startswith("urgency") else right.category
    return max(1, int((labels >= 0).sum()))
