"""Quality on public data, beside TF-IDF with a linear SVM and a frozen encoder with logistic regression, same split.

    python -m benchmarks.quality --data FOLDER --sets banking77 airline cfpb --seeds 1

Each seed is one split that nothing straddles: a tenth of the rows tests (`--test-fraction`), a tenth stops and
calibrates, the rest trains. The peers train on everything that does not test. Figures are of the exported bundle,
through the Tagger.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.svm import LinearSVC

from earful.settings import RegistrySettings
from earful.text import normalise
from training import encoders, pipeline
from training.features import PROBE_STRENGTH, embed
from training.prepare import prepare
from training.progress import Reporter
from training.settings import Columns, TrainSettings
from training.sources import Example

SETS: dict[str, tuple[str, Columns]] = {
    "banking77": ("banking77/train.csv", Columns(category="category")),
    "airline": ("airline_tweets.csv", Columns(category="reason", id="id", created_at="created_at")),
    "cfpb": ("cfpb_complaints.csv", Columns(text="narrative", category="product", id="complaint_id")),
}


class Figures(NamedTuple):
    """What one model reached on one split."""

    accuracy: float
    macro_f1: float
    seconds: float


def earful(settings: TrainSettings, folder: Path) -> tuple[Figures, float, str]:
    """Train and measure Earful; also its calibration error, and as what it was exported."""
    store = RegistrySettings.model_validate({"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"})
    start = time.perf_counter()
    made = pipeline.train(settings, store, Reporter(Console(stderr=True)))
    assert made is not None
    metrics = made.report.metrics
    figures = Figures(metrics["category_accuracy"], metrics["category_macro_f1"], time.perf_counter() - start)
    return figures, metrics["category_ece"], f"{made.precision}, agrees {made.parity.category_agreement:.4f}"


def linear() -> Pipeline:
    """TF-IDF of words and characters with a linear SVM, untrained."""
    return make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LinearSVC(),
    )


def peer(settings: TrainSettings) -> Figures:
    """TF-IDF of words and characters with LinearSVC, on the same rows."""
    corpus = prepare(settings, Reporter()).corpus
    start = time.perf_counter()
    model = linear().fit(*_rows((*corpus.train, *corpus.validation)))
    texts, truth = _rows(corpus.test)
    found = model.predict(texts)
    macro = f1_score(truth, found, average="macro", labels=np.unique(truth))
    return Figures(float(accuracy_score(truth, found)), float(macro), time.perf_counter() - start)


def frozen(texts: Sequence[str], labels: Sequence[str], held: Sequence[str], base_model: str) -> list[str]:
    """What logistic regression on the frozen encoder's mean-pooled first window says of the texts that are held."""
    encoder = encoders.load(base_model)
    model = LogisticRegression(C=PROBE_STRENGTH, max_iter=300).fit(embed(encoder, texts), labels)
    return list(model.predict(embed(encoder, held)))


def probe(settings: TrainSettings) -> Figures:
    """The frozen encoder, on the same rows."""
    corpus = prepare(settings, Reporter()).corpus
    start = time.perf_counter()
    texts, truth = _rows(corpus.test)
    found = frozen(*_rows((*corpus.train, *corpus.validation)), texts, settings.base_model)
    macro = f1_score(truth, found, average="macro", labels=np.unique(truth))
    return Figures(float(accuracy_score(truth, found)), float(macro), time.perf_counter() - start)


def _rows(examples: tuple[Example, ...]) -> tuple[list[str], list[str]]:
    return [normalise(e.feedback.text) for e in examples], [e.category or "" for e in examples]


def compare(name: str, data: Path, seed: int, epochs: int | None, test_fraction: float) -> dict[str, Any]:
    """One row of the table: both models on one split."""
    file, columns = SETS[name]
    with tempfile.TemporaryDirectory(prefix="earful-bench-") as work:
        folder = Path(work)
        settings = TrainSettings(
            data=(str(data / file),), columns=columns, out=folder / "bundle",
            test_fraction=test_fraction, seed=seed, epochs=epochs,
        )  # fmt: skip
        ours, ece, exported = earful(settings, folder)
        theirs, unmoved = peer(settings), probe(settings)
    return {
        "set": name,
        "seed": seed,
        "ours": ours,
        "theirs": theirs,
        "frozen": unmoved,
        "ece": ece,
        "exported": exported,
    }


def main() -> None:
    """Print a Markdown table, a row for each set and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--test-fraction", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, help="instead of what the size of the data suggests")
    options = parser.parse_args()
    print(
        "| set | seed | accuracy | macro-F1 | ECE | exported | seconds | SVM accuracy | SVM macro-F1 | "
        "frozen accuracy | frozen macro-F1 |"
    )
    print("| --- " * 11 + "|", flush=True)
    for name in options.sets:
        for seed in range(options.seeds):
            row = compare(name, options.data, seed, options.epochs, options.test_fraction)
            ours, theirs, unmoved = row["ours"], row["theirs"], row["frozen"]
            print(
                f"| {name} | {seed} | {ours.accuracy:.4f} | {ours.macro_f1:.4f} | {row['ece']:.4f} | "
                f"{row['exported']} | {ours.seconds:.0f} | {theirs.accuracy:.4f} | {theirs.macro_f1:.4f} | "
                f"{unmoved.accuracy:.4f} | {unmoved.macro_f1:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
