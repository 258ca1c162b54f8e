"""Out of scope: how many foreign texts are told from those that a model was trained for, at what cost.

    python -m benchmarks.scope --data FOLDER [--seed 0] [train options …]

Of Banking77's 77 intents a fifth, drawn at random, is left out. A model learns from nine tenths of the other rows. The
tenth that is left is in scope, where a refused text counts as wrong; the intents left out (near), tweets at airlines
and reviews of a speaker (far) are not. Beside the model's rule, each of its two halves and the highest probability
alone, all with thresholds that leave as many of the in-scope rows in scope.
"""

import argparse
import csv
import random
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.walk import earful, split, write
from earful.tagger import Logits, Tagger

FOREIGN = ("airline_tweets.csv", "alexa_reviews.csv")
MOST = 1000  # texts of each kind

Scores = NDArray[np.float64]


def foreign(folder: Path, name: str) -> list[str]:
    """Some texts of another set."""
    with (folder / name).open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file) if row["text"].strip()]
    return random.Random(0).sample(texts, MOST)


def scores(tagger: Tagger, logits: Logits) -> dict[str, Scores]:
    """How much each text seems in scope (n,), by several ways."""
    rule, policy = tagger.bundle.policy.scope, tagger.bundle.policy
    assert rule is not None
    assert logits.position is not None
    assert logits.nearness is not None
    parts = logits.category, logits.position, logits.nearness
    energy = rule.model_copy(update={"distance_scale": np.inf})
    distance = rule.model_copy(update={"energy_scale": np.inf})
    return {
        "energy and distance": rule.score(*parts),
        "energy alone": energy.score(*parts),
        "distance alone": distance.score(*parts),
        "highest probability": policy.category_probabilities(logits.category).max(axis=1),
    }


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options, more = parser.parse_known_args()
    rows, rest = split(options.data / "banking77/train.csv", "category", options.seed)
    names = sorted({row["category"] for row in rows})
    left_out = set(random.Random(options.seed).sample(names, len(names) // 5))
    known = [row for row in rest if row["category"] not in left_out]
    with tempfile.TemporaryDirectory(prefix="earful-scope-") as name:
        folder = Path(name)
        learned = write([row for row in rows if row["category"] not in left_out], folder / "train.csv")
        tested = write(known, folder / "known.csv")
        earful("train", "--data", learned, "--test", tested, "--out", folder / "bundle", *more, store=folder)
        tagger = Tagger.load(folder / "bundle")
    near = [row["text"] for row in (*rows, *rest) if row["category"] in left_out][:MOST]
    texts = {"near": near, **{file: foreign(options.data, file) for file in FOREIGN}}
    logits = tagger.logits([row["text"] for row in known])
    chosen = [tagger.bundle.taxonomy.names[k] for k in logits.category.argmax(axis=1)]
    right = np.array([name == row["category"] for name, row in zip(chosen, known, strict=True)])
    inside = tagger.bundle.policy.inside(logits.category, logits.position, logits.nearness)
    print(f"in scope {inside.mean():.4f} of {len(known)} rows of the kind learned from, right {right.mean():.4f},")
    print(f"right and in scope {(right & inside).mean():.4f}. Out of scope, of {MOST} foreign texts of each kind:\n")
    mine, others = scores(tagger, logits), {kind: scores(tagger, tagger.logits(some)) for kind, some in texts.items()}
    print("| told by | " + " | ".join(texts) + " |\n| --- " + "| --- " * len(texts) + "|")
    for way, found in mine.items():
        least = np.quantile(found, 1 - inside.mean())
        print(f"| {way} | " + " | ".join(f"{(others[kind][way] < least).mean():.3f}" for kind in texts) + " |")


if __name__ == "__main__":
    main()
