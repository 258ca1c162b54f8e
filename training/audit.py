"""Finding labels that are probably wrong: confident learning (Northcutt et al. 2021), by cleanlab.

Every row is judged by a probe that did not learn from it: logistic regression on the encoder as it is, in five folds.
That takes a minute where fine-tuning five networks would take an hour, and it need not be the best classifier to see
that a label is not what the others like it have.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cleanlab.dataset import find_overlapping_classes
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from earful.errors import InputError
from training import corpus, encoders, sources
from training.features import PROBE_STRENGTH, embed
from training.progress import Reporter
from training.settings import Columns
from training.sources import Example

FOLDS = 5
PAIRS = 10  # of categories that are confused, as many as a person will read
HEAD = ("source", "row", "text", "category", "suggested", "confidence", "problem")


@dataclass(frozen=True)
class Doubt:
    """A row whose label is probably wrong: what it might be, and how probable the label that it has is."""

    example: Example
    suggested: str
    confidence: float
    problem: str


@dataclass(frozen=True)
class Overlap:
    """Two categories that labels confuse; `share` of all rows carry one where the other seems meant."""

    first: str
    second: str
    share: float


@dataclass(frozen=True)
class Audit:
    """What was looked at, and what was found, the most doubtful first."""

    rows: int
    rejected: int
    doubts: tuple[Doubt, ...]
    overlaps: tuple[Overlap, ...]
    out: Path


def audit(
    data: Sequence[str], columns: Columns, encoding: str | None, base_model: str, out: Path, reporter: Reporter
) -> Audit:
    """Judge every labelled row and write the doubtful ones to `out`, a CSV to be corrected in its column `category`.

    Raises `InputError` if there is too little to judge by, or `out` is there already.
    """
    _check_place(out)
    with reporter.bar("reading", None):
        source = sources.read(data, columns, None, encoding)
    rows = [example for example in source.examples if example.category]
    known = _common(rows)
    encoder = encoders.load(base_model)
    with reporter.bar("reading the texts", len(known)) as bar:
        features = embed(encoder, [example.feedback.text for example in known], bar.advance)
    with reporter.bar("judging each row by the others", None):
        names = sorted({example.category or "" for example in known})
        labels = np.array([names.index(example.category or "") for example in known])
        probabilities = _out_of_fold(features, labels)
        doubts = _doubts(known, labels, probabilities, names)
        overlaps = _overlaps(labels, probabilities, names)
    with reporter.bar("looking for texts with several labels", None):
        doubts = _joined(doubts, _contradictions(known))
    _write(doubts, out)
    return Audit(len(rows), len(source.rejects), tuple(doubts), tuple(overlaps), out)


def _check_place(out: Path) -> None:
    """Raises `InputError` if `out` is there already, or an `OSError` if it cannot be: before the work, not after it."""
    if out.exists():
        raise InputError(f"{out}: is there already, perhaps with corrections in it; name another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.part")
    beside.touch()
    beside.unlink()


def _common(rows: Sequence[Example]) -> list[Example]:
    """Rows of categories that can be split in folds. Raises `InputError` if fewer than two are left."""
    counts = Counter(example.category for example in rows)
    kept = [example for example in rows if counts[example.category] >= FOLDS]
    if len({example.category for example in kept}) < 2:
        raise InputError(f"there must be two categories of at least {FOLDS} rows each to judge labels by one another")
    return kept


def _out_of_fold(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities (rows, categories) by a model that did not see the row."""
    model = LogisticRegression(C=PROBE_STRENGTH, max_iter=500)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    found: NDArray[np.float64] = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")
    return found


def _doubts(
    rows: Sequence[Example], labels: NDArray[np.int64], probabilities: NDArray[np.float64], names: Sequence[str]
) -> list[Doubt]:
    wrong = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [
        Doubt(rows[n], names[int(probabilities[n].argmax())], float(probabilities[n, labels[n]]), "unlike its category")
        for n in wrong
    ]


def _contradictions(rows: Sequence[Example]) -> list[Doubt]:
    """Rows whose text (nearly) stands elsewhere with another category."""
    return [
        Doubt(one, other.category or "", 0.5, f"the text of {other.source} row {other.row}, which has another category")
        for one, other in corpus.contradictions(rows)
    ]


def _joined(doubts: Sequence[Doubt], more: Sequence[Doubt]) -> list[Doubt]:
    """Each row once, by its surest doubt, the least probable label first."""
    by_place: dict[tuple[str, int], Doubt] = {}
    for doubt in sorted([*doubts, *more], key=lambda doubt: doubt.confidence):
        by_place.setdefault((doubt.example.source, doubt.example.row), doubt)
    return list(by_place.values())


def _overlaps(labels: NDArray[np.int64], probabilities: NDArray[np.float64], names: Sequence[str]) -> list[Overlap]:
    found = find_overlapping_classes(labels, probabilities, class_names=list(names)).head(PAIRS)
    columns = (found["Class Name A"], found["Class Name B"], found["Joint Probability"])
    return [Overlap(str(a), str(b), float(share)) for a, b, share in zip(*columns, strict=True) if share > 0]


def _write(doubts: Sequence[Doubt], out: Path) -> None:
    """Beside and renamed."""
    beside = out.with_name(f".{out.name}.part")
    with beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for doubt in doubts:
            one = doubt.example
            found = (one.category, doubt.suggested, f"{doubt.confidence:.3f}", doubt.problem)
            writer.writerow((one.source, one.row, one.feedback.text, *found))
    beside.replace(out)
