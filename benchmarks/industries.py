"""How much the starter corpus tells about an industry that it has never seen: leave one industry out.

    python -m benchmarks.industries --data data/starter

Each industry in turn tests a logistic regression on the frozen encoder, once trained on the other industries alone and
once on as many rows that are drawn from all of them (the industry's own other rows among these). Fine-tuning fourteen
networks twice would take hours; the fall is measured on the part of the model that is fitted in seconds.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from earful import taxonomy
from earful.text import normalise
from training import encoders, sources
from training.features import PROBE_STRENGTH, embed
from training.settings import Columns


def accuracy(
    features: NDArray[np.float32], labels: NDArray[np.str_], train: NDArray[np.int64], test: NDArray[np.int64]
) -> float:
    """Accuracy on the rows `test` of a probe fitted on the rows `train`."""
    model = LogisticRegression(C=PROBE_STRENGTH, max_iter=300).fit(features[train], labels[train])
    return float((model.predict(features[test]) == labels[test]).mean())


def main() -> None:
    """Print a Markdown table, a row for each industry, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--taxonomy", type=Path, default=Path("data/taxonomy.toml"))
    options = parser.parse_args()
    read = sources.read((str(options.data),), Columns(), taxonomy.load(options.taxonomy), None)
    industry = np.array([Path(example.source).stem for example in read.examples])
    labels = np.array([example.category or "" for example in read.examples])
    features = embed(encoders.load("minilm"), [normalise(example.feedback.text) for example in read.examples])
    chance = np.random.default_rng(0)
    print("| industry left out | rows | known | unseen | fall |\n| --- | --- | --- | --- | --- |")
    falls = []
    for name in sorted(set(industry)):
        inside, outside = np.flatnonzero(industry == name), np.flatnonzero(industry != name)
        unseen = accuracy(features, labels, outside, inside)
        parts = []
        for train, test in KFold(5, shuffle=True, random_state=0).split(inside):
            others = chance.choice(outside, len(outside) - len(train), replace=False)
            parts.append(accuracy(features, labels, np.concatenate([others, inside[train]]), inside[test]))
        known = float(np.mean(parts))
        falls.append(known - unseen)
        print(f"| {name} | {len(inside)} | {known:.3f} | {unseen:.3f} | {known - unseen:+.3f} |", flush=True)
    print(f"\nmean fall {np.mean(falls):.3f}, largest {np.max(falls):.3f}")


if __name__ == "__main__":
    main()
