"""Few labels: Banking77 with five or ten rows a category, beside the frozen encoder with logistic regression.

    python -m benchmarks.few --data FOLDER --each 5|10 [--unlabelled] [--setfit 20] [train options …]

Trained by the command line on `banking77/train_5.csv` or `train_10.csv`, and measured on 3,000 rows of `train.csv`
that are none of those. With `--unlabelled` the remaining rows of `train.csv` are given without their labels, with
`--setfit N` SetFit learns from N pairs of each kind for every row (20 in its paper) beside. What follows the options
goes to `earful train`.
"""

import argparse
import csv
import json
import random
import tempfile
import time
from pathlib import Path

from sklearn.metrics import accuracy_score

from benchmarks.peers import contrastive, frozen, linear
from benchmarks.walk import Rows, earful, write
from training.encoders import DEFAULT

HELD = 3000


def read(path: Path) -> Rows:
    """The rows of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def letters(text: str) -> str:
    """What two spellings of one text share: the small sets were written in lower case, with spaces between tokens."""
    return "".join(char for char in text.lower() if char.isalnum())


def main() -> None:
    """Print accuracies and seconds as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--each", type=int, choices=(5, 10), required=True)
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--setfit", type=int, metavar="PAIRS")
    options, more = parser.parse_known_args()
    train = read(options.data / "banking77" / f"train_{options.each}.csv")
    known = {letters(row["text"]) for row in train}
    others = [row for row in read(options.data / "banking77" / "train.csv") if letters(row["text"]) not in known]
    rest = random.Random(0).sample(others, HELD)
    held_back = {row["text"] for row in rest}
    plain = [{"text": row["text"]} for row in others if row["text"] not in held_back]
    with tempfile.TemporaryDirectory(prefix="earful-few-") as name:
        folder = Path(name)
        paths = write(train, folder / "train.csv"), write(rest, folder / "rest.csv")
        if options.unlabelled:
            more += ["--unlabelled", str(write(plain, folder / "plain.csv"))]
        start = time.perf_counter()
        made = json.loads(
            earful(
                "train", "--data", paths[0], "--test", paths[1], "--out", folder / "bundle", "--json", *more,
                store=folder,
            )
        )  # fmt: skip
        seconds = time.perf_counter() - start
    texts, labels = [row["text"] for row in train], [row["category"] for row in train]
    held, truth = [row["text"] for row in rest], [row["category"] for row in rest]
    found = {
        "ours": made["metrics"],
        "exported": made["precision"],
        "seconds": round(seconds),
        "frozen": float(accuracy_score(truth, frozen(texts, labels, held, DEFAULT))),
        "linear": float(accuracy_score(truth, linear().fit(texts, labels).predict(held))),
    }
    if options.setfit:
        start = time.perf_counter()
        found["setfit"] = float(accuracy_score(truth, contrastive(texts, labels, held, options.setfit)))
        found["setfit_seconds"] = round(time.perf_counter() - start)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
