"""A model on real feedback that was judged blind: tweets at airlines, complaints to a regulator, reviews of a speaker.

    python -m benchmarks.real --data FOLDER [--model champion]

`data/labels/real.csv` says what a judge (a language model) made of 300 rows of the public sets by the labelling guide,
without seeing any model's answer; `also` is what it would have allowed as well. Others of its kind judged them again
by themselves: the same category for 88 in a hundred (kappa 0.86, and always one that either allowed), the same urgency
for 83 (weighted kappa 0.88); where they differed, theirs is allowed as well. The texts are not in this project: FOLDER
has the sets, and a row whose text is not the one that was judged stops the benchmark. Intervals are Wilson's, 95%.
"""

import argparse
import csv
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from earful.feedback import Feedback
from earful.settings import RegistrySettings
from earful.tags import Tags
from earful.taxonomy import URGENCIES
from training import evaluation

LABELS = Path(__file__).parents[1] / "data" / "labels" / "real.csv"
TEXTS = {"airline_tweets.csv": "text", "cfpb_complaints.csv": "narrative", "alexa_reviews.csv": "text"}


class Judged(NamedTuple):
    """One row of a public set with what was made of it, and what would have been allowed as well."""

    file: str
    text: str
    category: str
    also: tuple[str, ...]
    urgency: str
    urgency_also: tuple[str, ...]


def fingerprint(text: str) -> str:
    """What `sha256` in the labels holds: enough of a text's hash to tell it from others."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def judged(folder: Path) -> list[Judged]:
    """The labels with the texts that they are about. Ends the program if a text is another one."""
    texts: dict[str, list[str]] = {}
    for name, column in TEXTS.items():
        with (folder / name).open(encoding="utf-8", newline="") as file:
            texts[name] = [row[column].strip() for row in csv.DictReader(file)]
    found = []
    with LABELS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            text = texts[row["file"]][int(row["row"]) - 1]
            if fingerprint(text) != row["sha256"]:
                sys.exit(f"{folder / row['file']}: row {row['row']} is not the text that was judged")
            also, urgency_also = tuple(row["also"].split()), tuple(row["urgency_also"].split())
            found.append(Judged(row["file"], text, row["category"], also, row["urgency"], urgency_also))
    return found


def share(hits: Sequence[bool]) -> str:
    """How many of how many, the share, and its interval."""
    if not hits:
        return "none"
    low, high = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return f"{sum(hits)} of {len(hits)} ({sum(hits) / len(hits):.3f}, {low:.2f} to {high:.2f})"


def lines(rows: Sequence[Judged], answers: Sequence[Tags]) -> list[str]:
    """A Markdown table: all rows, and each set by itself."""
    made = ["| set | question | the judges' answer | or one that they allowed |", "| --- | --- | --- | --- |"]
    for name in ("all", *TEXTS):
        pairs = [pair for pair in zip(rows, answers, strict=True) if name in ("all", pair[0].file)]
        sure = [pair for pair in pairs if pair[1].outcome == "tagged"]
        for question, some in (("category, no review needed", sure), ("category", pairs)):
            exact = [tags.category.name == row.category for row, tags in some]
            allowed = [tags.category.name in (row.category, *row.also) for row, tags in some]
            made.append(f"| {name} | {question} | {share(exact)} | {share(allowed)} |")
        levels = [(row, tags.urgency.level) for row, tags in pairs if tags.urgency]
        exact = [level == row.urgency for row, level in levels]
        allowed = [level in (row.urgency, *row.urgency_also) for row, level in levels]
        made.append(f"| {name} | urgency | {share(exact)} | {share(allowed)} |")
        ranks = [(URGENCIES.index(row.urgency), URGENCIES.index(level)) for row, level in levels]
        near = [abs(right - found) <= 1 for right, found in ranks]
        made.append(f"| {name} | urgency within one level | {share(near)} | |")
        if levels:
            kappa = cohen_kappa_score(*zip(*ranks, strict=True), weights="quadratic")
            made.append(f"| {name} | urgency, weighted kappa | {kappa:.3f} | |")
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="champion")
    options = parser.parse_args()
    rows = judged(options.data)
    tagger = evaluation.load(options.model, RegistrySettings())
    answers = tagger.tag([Feedback(text=row.text) for row in rows])
    print("\n".join(lines(rows, answers)))


if __name__ == "__main__":
    main()
