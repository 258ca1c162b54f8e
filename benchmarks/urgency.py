"""Urgency learned from people's codes from 1 to 7, on courses that were not learned from, beside peers.

    python -m benchmarks.urgency --data FOLDER [--folds 1] [train options …]

The posts of `mooc_urgency.csv` (Almatrafi, Johri and Rangwala 2018) come from twelve courses. Three times four of them
are kept from training, and one model's scores for their posts are compared with the codes: Spearman's correlation, and
the area under the curve for a code of 4 and more. The codes become levels with `--urgency-map`. The peers, on the same
rows, are ridge regression on the frozen encoder's mean-pooled first window, and on TF-IDF. What follows the options
goes to `earful train`.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from benchmarks.walk import Rows, earful, write
from earful.feedback import Feedback
from earful.tagger import Tagger
from training import encoders
from training.features import embed

FOLDS, URGENT = 3, 4
LEVELS = "1=low,2=normal,3=high,4=high,5=critical,6=critical,7=critical"
STRENGTHS = np.logspace(-2, 3, 11)


def folds(rows: Rows) -> list[tuple[Rows, Rows]]:
    """Rows to learn from and rows of other courses, `FOLDS` times."""
    courses = sorted({row["course"] for row in rows})
    apart = [set(courses[n::FOLDS]) for n in range(FOLDS)]
    return [
        ([row for row in rows if row["course"] not in held], [row for row in rows if row["course"] in held])
        for held in apart
    ]


def figures(truth: Sequence[float], found: Sequence[float]) -> dict[str, float]:
    """Spearman's correlation, and the area under the curve for codes from `URGENT` on."""
    urgent = np.array(truth) >= URGENT
    return {"spearman": float(spearmanr(truth, found).statistic), "auc": float(roc_auc_score(urgent, found))}


def ours(train: Rows, rest: Rows, more: Sequence[str]) -> list[float]:
    """Urgency scores of a model trained by the command line."""
    with tempfile.TemporaryDirectory(prefix="earful-urgency-") as name:
        folder = Path(name)
        file = write(train, folder / "train.csv")
        earful(
            "train", "--data", file, "--urgency-column", "urgency_1_7", "--urgency-map", LEVELS, "--customer-column",
            "course", "--test-fraction", 0, "--out", folder / "bundle", "--json", *more, store=folder,
        )  # fmt: skip
        tags = Tagger.load(folder / "bundle").tag([Feedback(text=row["text"]) for row in rest])
    return [tag.urgency.score for tag in tags if tag.urgency is not None]


def main() -> None:
    """Print the figures of each fold, and their means, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=FOLDS, help="how many of the three are measured")
    options, more = parser.parse_known_args()
    with (options.data / "mooc_urgency.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["urgency_1_7"].strip()]
    found = []
    for train, rest in folds(rows)[: options.folds]:
        (texts, codes), (held, truth) = (
            ([row["text"] for row in part], [float(row["urgency_1_7"]) for row in part]) for part in (train, rest)
        )
        encoder = encoders.load(encoders.DEFAULT)
        frozen = RidgeCV(STRENGTHS).fit(embed(encoder, texts), codes).predict(embed(encoder, held))
        words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), RidgeCV(STRENGTHS))
        found.append(
            {
                "ours": figures(truth, ours(train, rest, more)),
                "frozen encoder, ridge": figures(truth, list(frozen)),
                "TF-IDF, ridge": figures(truth, list(words.fit(texts, codes).predict(held))),
            }
        )
        print(json.dumps(found[-1]), flush=True)
    means = {
        who: {key: round(float(np.mean([one[who][key] for one in found])), 3) for key in found[0][who]}
        for who in found[0]
    }
    print(json.dumps({"mean": means}))


if __name__ == "__main__":
    main()
