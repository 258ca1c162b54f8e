"""An epoch of training beside transformers' Trainer as its documentation shows it: the same rows, one run.

    python -m benchmarks.training --data FOLDER

Nine tenths of `banking77/train.csv` are learned for one epoch in batches of 32, a tenth is answered. The peer is
`AutoModelForSequenceClassification` on the same encoder in float32, every text padded to the longest, at the rate of
5e-5 that the Trainer starts from. Ours is `training.finetune.fit` with its defaults but for one epoch and no R-Drop,
which would read every row twice. Seconds are of the epoch alone, without reading, tokenising and answering.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import Dataset
from sklearn.metrics import accuracy_score
from transformers import TrainerCallback

from benchmarks.walk import Rows, split
from earful.feedback import Feedback
from training import encoders, finetune
from training.recipe import Recipe
from training.settings import TrainSettings
from training.sources import Example

BATCH, SEED = 32, 0


class Watch(TrainerCallback):
    """Seconds from the first step to the last."""

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Start."""
        self.start = time.perf_counter()

    def on_train_end(self, *_: object, **__: object) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self.start


def theirs(train: Rows, rest: Rows, names: Sequence[str]) -> tuple[float, float]:
    """Seconds and accuracy of the Trainer as it comes."""
    transformers.set_seed(SEED)
    folder = str(encoders.packaged())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(names))
    every = tokenizer([row["text"] for row in (*train, *rest)], padding="longest", truncation=True)
    labels = [names.index(row["category"]) for row in (*train, *rest)]
    data = Dataset.from_dict({**every, "labels": labels})
    watch = Watch()
    with tempfile.TemporaryDirectory() as work:
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=work, num_train_epochs=1, per_device_train_batch_size=BATCH, report_to=[], use_cpu=True,
                save_strategy="no", logging_strategy="no", disable_tqdm=True,
            ),
            train_dataset=data.select(range(len(train))),
            callbacks=[watch],
        )  # fmt: skip
        trainer.train()
        found = np.asarray(trainer.predict(data.select(range(len(train), len(data)))).predictions).argmax(axis=1)
    return watch.seconds, float(accuracy_score(labels[len(train) :], found))


def ours(train: Rows, rest: Rows, names: Sequence[str]) -> tuple[float, float]:
    """Seconds and accuracy of Earful's fitting, before export."""
    learned, held = (
        [Example("", n, Feedback(text=row["text"]), row["category"], None) for n, row in enumerate(rows, 1)]
        for rows in (train, rest)
    )
    once = Recipe("one epoch", epochs=1, consistency=0.0, contrast=0.0, words=False, best=False, refit=False)
    watch = Watch()
    settings = TrainSettings(data=("",), seed=SEED, batch_size=BATCH)
    fitted = finetune.fit(encoders.load(encoders.DEFAULT), learned, held, names, settings, once, [watch])
    truth = [names.index(row["category"]) for row in rest]
    return watch.seconds, float(accuracy_score(truth, np.asarray(fitted.held.category).argmax(axis=1)))


def main() -> None:
    """Print seconds, accuracies and the ratio as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    train, rest = split(options.data / "banking77" / "train.csv", "category", SEED)
    names = sorted({row["category"] for row in (*train, *rest)})
    fast, slow = ours(train, rest, names), theirs(train, rest, names)
    print(
        json.dumps(
            {
                "ours": {"seconds": round(fast[0], 1), "accuracy": round(fast[1], 4)},
                "trainer": {"seconds": round(slow[0], 1), "accuracy": round(slow[1], 4)},
                "ratio": round(slow[0] / fast[0], 2),
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
