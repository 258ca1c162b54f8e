"""The whole walk on one file of public data, by the command line alone: split, train, serve, score, compare.

    python -m benchmarks.walk --data FOLDER --set banking77|airline|cfpb [--seed 0] [train options …]

A tenth of the labelled rows, drawn at random, is kept from training and given as `--test`. It is then scored with
`earful score` and sent to a running service; both must give the same answers. Beside them, TF-IDF of words and
characters with LinearSVC, and logistic regression on the frozen encoder, trained on the same nine tenths. What
follows the options goes to `earful train`.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.peers import frozen, linear
from benchmarks.quality import SETS
from benchmarks.server import free_port, wait
from earful.settings import SQLITE
from training.encoders import DEFAULT
from training.settings import Columns

Rows = list[dict[str, str]]
Answer = tuple[str, float]  # category and confidence
PART = 200  # rows in one request


def split(path: Path, category: str, seed: int) -> tuple[Rows, Rows]:
    """Nine tenths and one tenth of the rows that have a category, in random order."""
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row[category].strip()]
    random.Random(seed).shuffle(rows)
    return rows[len(rows) // 10 :], rows[: len(rows) // 10]


def write(rows: Rows, path: Path) -> Path:
    """Rows as a CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def earful(*arguments: object, store: Path) -> str:
    """What `earful ARGUMENTS` prints; it must end well."""
    command = [sys.executable, "-m", "earful", *map(str, arguments)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"{SQLITE}{store}/mlflow.db"}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def served(texts: Sequence[str], bundle: Path) -> list[Answer]:
    """Category and confidence of each text, from a service of its own."""
    port, found = free_port(), []
    command = [sys.executable, "-m", "earful", "serve", "--port", str(port), "--model", str(bundle)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            wait(f"http://127.0.0.1:{port}/readyz", 60)
            for start in range(0, len(texts), PART):
                body = json.dumps({"items": [{"text": text} for text in texts[start : start + PART]]}).encode()
                headers = {"Content-Type": "application/json"}
                request = urllib.request.Request(f"http://127.0.0.1:{port}/classify/batch", body, headers)
                with urllib.request.urlopen(request, timeout=600) as answer:
                    found += [item["tags"]["category"] for item in json.load(answer)["items"]]
        finally:
            server.terminate()
    return [(one["name"], one["confidence"]) for one in found]


def main() -> None:
    """Print what the walk reached, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options, more = parser.parse_known_args()
    file, columns = SETS[options.set]
    train, rest = split(options.data / file, columns.category, options.seed)
    with tempfile.TemporaryDirectory(prefix="earful-walk-") as name:
        folder = Path(name)
        paths = write(train, folder / "train.csv"), write(rest, folder / "rest.csv")
        named = ("--text-column", columns.text, "--category-column", columns.category)
        start = time.perf_counter()
        printed = earful(
            "train", "--data", paths[0], "--test", paths[1], *named, "--out", folder / "bundle", "--json", *more,
            store=folder,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        target = folder / "scored.csv"
        earful("score", paths[1], target, "--text-column", columns.text, "--model", folder / "bundle", store=folder)
        with target.open(encoding="utf-8", newline="") as scored_file:
            rows = list(csv.DictReader(scored_file))
        scored = [(row["tag_category"], float(row["tag_category_confidence"])) for row in rows]
        live = served([row[columns.text] for row in rest], folder / "bundle")
    found = figures(train, rest, columns, scored, live, json.loads(printed))
    print(json.dumps({**found, "seconds": round(seconds)}))


def figures(
    train: Rows, rest: Rows, columns: Columns, scored: Sequence[Answer], live: Sequence[Answer], made: dict[str, Any]
) -> dict[str, Any]:
    """Ours, the peer's, and whether file and service answered alike."""
    (texts, labels), (held, truth) = (
        ([row[columns.text] for row in rows], [row[columns.category].strip() for row in rows]) for rows in (train, rest)
    )
    peer = linear().fit(texts, labels)
    return {
        "ours": _measure(truth, [name for name, _ in scored]),
        "tfidf_svc": _measure(truth, peer.predict(held)),
        "frozen": _measure(truth, frozen(texts, labels, held, DEFAULT)),
        "same_labels": sum(one[0] == other[0] for one, other in zip(scored, live, strict=True)),
        "largest_change_of_confidence": max(abs(one[1] - other[1]) for one, other in zip(scored, live, strict=True)),
        "rows": len(rest),
        **{key: made[key] for key in ("precision", "parity", "metrics")},
    }


def _measure(truth: Sequence[str], found: Sequence[str]) -> dict[str, float]:
    macro = f1_score(truth, found, average="macro", labels=np.unique(truth))
    return {"accuracy": round(float(accuracy_score(truth, found)), 4), "macro_f1": round(float(macro), 4)}


if __name__ == "__main__":
    main()
