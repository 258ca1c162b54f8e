"""The figures that a run is logged with."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay

from earful.taxonomy import URGENCIES
from training.calibrate import Answers
from training.evaluate import Answered

BINS = 10
CRITICAL = URGENCIES.index("critical")


def draw(answered: Answered, right: Answers, names: Sequence[str]) -> Mapping[str, Figure]:
    """Confusion, reliability and precision-recall, by file name; those of a head without labels are left out."""
    figures: dict[str, Figure] = {}
    known = right.category >= 0
    if known.any():
        probabilities, truth = answered.category[known], right.category[known]
        figures["category_confusion.png"] = _confusion(truth, probabilities.argmax(axis=1), names)
        figures["category_reliability.png"] = _reliability(probabilities, truth)
        figures["category_precision_recall.png"] = _precision_recall(probabilities, truth)
    known = right.urgency >= 0
    if answered.level is not None and known.any():
        figures["urgency_confusion.png"] = _confusion(right.urgency[known], answered.level[known], URGENCIES)
        if answered.urgency is not None and (right.urgency == CRITICAL).any():
            figures["urgency_critical.png"] = _critical(answered, right.urgency, known)
    return figures


def _figure(size: float) -> tuple[Figure, "matplotlib.axes.Axes"]:
    figure = Figure(figsize=(size, size), layout="constrained")  # no pyplot: nothing global, nothing to close
    return figure, figure.add_subplot()


def _confusion(truth: NDArray[np.int64], chosen: NDArray[np.int64], names: Sequence[str]) -> Figure:
    figure, axes = _figure(max(6.0, 0.35 * len(names)))
    ConfusionMatrixDisplay.from_predictions(
        truth, chosen, labels=range(len(names)), display_labels=names, xticks_rotation="vertical",
        include_values=len(names) <= 30, colorbar=False, cmap="Blues", ax=axes,
    )  # fmt: skip
    return figure


def _reliability(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> Figure:
    figure, axes = _figure(6.0)
    correct = probabilities.argmax(axis=1) == truth
    CalibrationDisplay.from_predictions(correct, probabilities.max(axis=1), n_bins=BINS, name="category", ax=axes)
    axes.set(xlabel="confidence given", ylabel="share that was right")
    return figure


def _critical(answered: Answered, right: NDArray[np.int64], known: NDArray[np.bool_]) -> Figure:
    """What a higher recall of critical costs in precision, and where this model stands."""
    assert answered.urgency is not None
    assert answered.level is not None
    figure, axes = _figure(6.0)
    truth, called = right[known] == CRITICAL, answered.level[known] == CRITICAL
    PrecisionRecallDisplay.from_predictions(truth, answered.urgency[known, CRITICAL], name="critical", ax=axes)
    if called.any():
        axes.plot(called[truth].mean(), truth[called].mean(), "o", label="as it is called")
        axes.legend()
    return figure


def _precision_recall(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> Figure:
    """All (row, category) pairs together: the micro-averaged curve."""
    figure, axes = _figure(6.0)
    right = np.eye(probabilities.shape[1], dtype=int)[truth]
    PrecisionRecallDisplay.from_predictions(right.ravel(), probabilities.ravel(), name="all categories", ax=axes)
    return figure
