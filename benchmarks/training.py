"""An epoch of training beside transformers' Trainer as its documentation shows it: the same rows, one run.

    python -m benchmarks.training --data FOLDER

Nine tenths of `banking77/train.csv` are learned for one epoch in batches of 32, a tenth is answered. The peer is
`AutoModelForSequenceClassification` on the same encoder in float32, every text padded to the longest, at the rate of
5e-5 that the Trainer starts from. Ours is `training.finetune.fit` with its defaults but for one epoch and no R-Drop,
which would read every row twice. Seconds are of the epoch alone, without reading, tokenising and answering.
"""

import argparse
import json
from pathlib import Path

import torch
from sklearn.metrics import accuracy_score

from benchmarks.peers import BATCH, SEED, Watch, trainer
from benchmarks.walk import Rows, split
from earful.feedback import Feedback
from training import encoders, finetune
from training.recipe import Recipe
from training.settings import TrainSettings
from training.sources import Example


def ours(train: Rows, rest: Rows) -> tuple[float, list[str]]:
    """Seconds of Earful's training, and what the network then says of the rest, before export."""
    names = sorted({row["category"] for row in train})
    learned, held = (
        [Example("", n, Feedback(text=row["text"]), row["category"], None) for n, row in enumerate(rows, 1)]
        for rows in (train, rest)
    )
    once = Recipe("one epoch", epochs=1, consistency=0.0, contrast=0.0, words=False, best=False, refit=False)
    watch = Watch()
    settings = TrainSettings(data=("",), seed=SEED, batch_size=BATCH)
    fitted = finetune.fit(encoders.load(encoders.DEFAULT), learned, held, names, settings, once, [watch])
    return watch.seconds, [names[n] for n in fitted.held.category.argmax(axis=1)]


def main() -> None:
    """Print seconds, accuracies and the ratio as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    train, rest = split(options.data / "banking77" / "train.csv", "category", SEED)
    (texts, labels), (held, truth) = (
        ([row["text"] for row in rows], [row["category"] for row in rows]) for rows in (train, rest)
    )
    fast, slow = ours(train, rest), trainer(texts, labels, held, epochs=1)
    print(
        json.dumps(
            {
                "ours": {"seconds": round(fast[0], 1), "accuracy": round(accuracy_score(truth, fast[1]), 4)},
                "trainer": {"seconds": round(slow[0], 1), "accuracy": round(accuracy_score(truth, slow[1]), 4)},
                "ratio": round(slow[0] / fast[0], 2),
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
