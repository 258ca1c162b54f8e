"""Quality on public data, beside what else one would use on the same rows: a table with intervals.

    python -m benchmarks.quality --data FOLDER [--sets banking77 airline cfpb] [--seeds 1]

Each seed is one split that nothing straddles: a tenth of the rows tests (`--test-fraction`), a tenth stops and
calibrates, the rest trains. The peers train on everything that does not test. Ours is the exported bundle, through the
Tagger. Intervals are of 95 in a hundred over resampled test rows: they say what the choice of these rows may change,
not what another training would.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.peers import contrastive, frozen, linear, trainer
from earful.feedback import Feedback
from earful.settings import RegistrySettings
from earful.tagger import Tagger
from earful.text import normalise
from training import encoders, pipeline
from training.prepare import prepare
from training.progress import Reporter
from training.settings import Columns, TrainSettings
from training.sources import Example

SETS: dict[str, tuple[str, Columns]] = {
    "banking77": ("banking77/train.csv", Columns(category="category")),
    "airline": ("airline_tweets.csv", Columns(category="reason", id="id", created_at="created_at")),
    "cfpb": ("cfpb_complaints.csv", Columns(text="narrative", category="product", id="complaint_id")),
}
RESAMPLES = 1000
EPOCHS = 3  # that the Trainer makes unless it is told otherwise

Interval = tuple[float, float]
Peer = Callable[[Sequence[str], Sequence[str], Sequence[str]], list[str]]


class Figures(NamedTuple):
    """What one model reached on one split, with intervals, and the seconds that it took to train and answer."""

    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_interval: Interval
    seconds: float

    def __str__(self) -> str:
        shares = ((self.accuracy, self.accuracy_interval), (self.macro_f1, self.macro_interval))
        cells = [f"{share:.3f} ({low:.3f} to {high:.3f})" for share, (low, high) in shares]
        return " | ".join([*cells, f"{self.seconds:.0f}"])


def measure(truth: Sequence[str], found: Sequence[str], seconds: float) -> Figures:
    """Accuracy and macro-F1 of answers; classes that no row has do not count."""
    names = sorted(set(truth))
    right, given = (np.array([names.index(one) if one in names else -1 for one in some]) for some in (truth, found))
    scores: list[Callable[..., float]] = [
        lambda a, b: float(accuracy_score(a, b)),
        lambda a, b: float(f1_score(a, b, average="macro", labels=np.unique(a), zero_division=0.0)),
    ]
    parts: list[tuple[float, Interval]] = []
    for score in scores:
        drawn = bootstrap(
            (right, given), score, n_resamples=RESAMPLES, paired=True, vectorized=False, method="percentile", rng=0
        )
        low, high = drawn.confidence_interval
        parts.append((score(right, given), (float(low), float(high))))
    return Figures(*parts[0], *parts[1], seconds)


PEERS: dict[str, Peer] = {
    "TF-IDF of words and characters, LinearSVC": lambda texts, labels, held: list(
        linear().fit(texts, labels).predict(held)
    ),
    "frozen encoder, logistic regression": lambda texts, labels, held: frozen(texts, labels, held, encoders.DEFAULT),
    f"the Trainer as it comes, {EPOCHS} epochs": lambda texts, labels, held: trainer(texts, labels, held, EPOCHS)[1],
    "SetFit, a pair of each kind for every row": lambda texts, labels, held: contrastive(texts, labels, held, 1),
}


def earful(settings: TrainSettings, rows: Sequence[Example], folder: Path) -> tuple[Figures, str]:
    """Train Earful and measure it on its test rows; also as what it was exported, and its calibration error."""
    store = RegistrySettings.model_validate({"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"})
    start = time.perf_counter()
    made = pipeline.train(settings, store, Reporter(Console(stderr=True)))
    assert made is not None
    tags = Tagger.load(made.bundle).tag([Feedback(text=row.feedback.text) for row in rows])
    seconds = time.perf_counter() - start
    figures = measure([row.category or "" for row in rows], [one.category.name for one in tags], seconds)
    return figures, f"{made.precision}, calibration error {made.report.metrics['category_ece']:.3f}"


def _rows(examples: Sequence[Example]) -> tuple[list[str], list[str]]:
    return [normalise(e.feedback.text) for e in examples], [e.category or "" for e in examples]


def compare(settings: TrainSettings, folder: Path) -> Iterator[tuple[str, Figures]]:
    """Each model by name, on one split."""
    corpus = prepare(settings, Reporter()).corpus
    figures, exported = earful(settings, corpus.test, folder)
    yield f"**Earful** ({exported})", figures
    texts, labels = _rows((*corpus.train, *corpus.validation))
    held, truth = _rows(corpus.test)
    for name, peer in PEERS.items():
        start = time.perf_counter()
        found = peer(texts, labels, held)
        yield name, measure(truth, found, time.perf_counter() - start)


def main() -> None:
    """Print a Markdown table, a row for each set, seed and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--test-fraction", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, help="of Earful, instead of what the size of the data suggests")
    options = parser.parse_args()
    print("| set | seed | model | accuracy | macro-F1 | seconds |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in options.sets:
        file, columns = SETS[name]
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory(prefix="earful-bench-") as work:
                folder = Path(work)
                settings = TrainSettings(
                    data=(str(options.data / file),), columns=columns, out=folder / "bundle",
                    test_fraction=options.test_fraction, seed=seed, epochs=options.epochs,
                )  # fmt: skip
                for model, figures in compare(settings, folder):
                    print(f"| {name} | {seed} | {model} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
