"""Export: the trained network as ONNX, in int8 or float32, and proof that it still answers as the trained one did."""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import onnx
import torch
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from torch import Tensor, nn

from earful.policy import Policy
from earful.tagger import Logits, batches, pad
from training.calibrate import Answers
from training.evaluate import answer, metrics
from training.network import FeedbackNetwork
from training.quantise import Feed, quantise

OPSET = 17
MOST_DISAGREEMENT = 0.01  # of labels
MOST_LOSS = 0.005  # of any metric
NOT_HELD = (
    "secondary",
    "category_tagged",
    "category_in_scope",
)  # figures that rest on few answers, or on thresholds fitted to the export
ROUNDING = 1e-9
Precision = Literal["int8", "float32"]
PRECISIONS: tuple[Precision, ...] = ("int8", "float32")  # in the order in which they are tried


class _Windows(nn.Module):
    """`network.windows` as a tuple, which is what the exporter can take."""

    def __init__(self, network: FeedbackNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network.windows(input_ids, attention_mask).values())


def to_onnx(network: FeedbackNetwork) -> onnx.ModelProto:
    """The network as ONNX: `input_ids` and `attention_mask` (windows, tokens) to what `network.windows` gives."""
    with tempfile.TemporaryDirectory(prefix="earful-export-") as name:
        folder = Path(name)
        _export(network, folder / "full.onnx")
        quant_pre_process(folder / "full.onnx", folder / "clean.onnx", skip_symbolic_shape=True)
        return _fuse(folder / "clean.onnx", network.encoder.config)


def at(precision: Precision, model: onnx.ModelProto, windows: Sequence[Sequence[int]], pad_id: int) -> bytes:
    """The bytes of `model` at a precision; `windows` are training texts, to see typical activations on."""
    if precision == "int8":
        chosen = batches([len(window) for window in windows])
        model = quantise(model, [_feed([windows[n] for n in batch], pad_id) for batch in chosen])
    made: bytes = model.SerializeToString()
    return made


def _fuse(path: Path, config: Any) -> onnx.ModelProto:
    """Attention as one operation, where the encoder's is of the usual kind; measured a tenth faster than its parts."""
    options = FusionOptions("bert")
    options.use_multi_head_attention = True  # leaves the products of the queries, keys and values to be quantised
    options.enable_embed_layer_norm = False  # would hide the table that is kept in half precision
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False  # slower on the processor
    heads, width = getattr(config, "num_attention_heads", 0), config.hidden_size
    fused = optimize_model(
        str(path), "bert", num_heads=heads, hidden_size=width, optimization_options=options, opt_level=0
    )
    return fused.model


def _feed(windows: Sequence[Sequence[int]], pad_id: int) -> Feed:
    ids, mask = pad(windows, pad_id)
    return {"input_ids": ids, "attention_mask": mask}


def _export(network: FeedbackNetwork, path: Path) -> None:
    """With the older exporter: what the newer one writes cannot be quantised by onnxruntime."""
    ids = torch.ones(2, 8, dtype=torch.long)
    network.eval().cpu().float()
    network.encoder.set_attn_implementation("eager")  # type: ignore[operator]  # as its parts, which `_fuse` knows
    axes = {name: {0: "windows", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecation of the exporter, and tracing constants that are constant
        outputs = list(network.windows(ids, torch.ones_like(ids)))
        torch.onnx.export(
            _Windows(network).eval(),
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=outputs,
            dynamic_axes={**axes, **{name: {0: "windows"} for name in outputs}},
            opset_version=OPSET,
            dynamo=False,
        )


class Parity(NamedTuple):
    """How far two models agree: shares of rows with the same labels, and each metric's change (exported - trained)."""

    category_agreement: float
    urgency_agreement: float | None
    changes: Mapping[str, float]


def parity(trained: Logits, exported: Logits, right: Answers, policy: Policy) -> Parity:
    """Compare two models' answers to the same rows."""
    before, after = answer(trained, policy), answer(exported, policy)
    old, new = metrics(before, right), metrics(after, right)
    category = float((before.category.argmax(axis=1) == after.category.argmax(axis=1)).mean())
    urgency: float | None = None
    if before.level is not None and after.level is not None:
        urgency = float((before.level == after.level).mean())
    changes = {name: round(new.get(name, 0.0) - value, 4) for name, value in old.items()}
    return Parity(category, urgency, changes)


def problems(found: Parity) -> list[str]:
    """What is wrong: labels that disagree on more than 1% of the rows, metrics that fall by more than half a point.

    Calibration errors and what needs review are not held: temperatures and tiers are fitted to the exported model.
    Nor are the figures of second categories, which rest on so few answers that one of them is half a point.
    """
    shares = {"category": found.category_agreement, "urgency": found.urgency_agreement}
    wrong = [
        f"{name} labels disagree on {1 - share:.2%} of the rows kept back"
        for name, share in shares.items()
        if share is not None and 1 - share > MOST_DISAGREEMENT + ROUNDING
    ]
    return wrong + [
        f"{name} changes by {change:+.4f}"
        for name, change in found.changes.items()
        if not name.endswith("_ece") and not name.startswith(NOT_HELD) and -change > MOST_LOSS + ROUNDING
    ]
