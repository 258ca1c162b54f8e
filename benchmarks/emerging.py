"""How soon a thing that nobody spoke of before is a candidate for a topic, and how many other candidates there are.

    python -m benchmarks.emerging --data FILE --bundle BUNDLE --held LABEL [LABEL …]
        [--text-column text --time-column created_at --label-column reason]

Messages go by in the order of their times. Those of one label are held back from the first half, which stands for what
topics were fitted to; the second half is heard as a service hears it, by the model's own embeddings. A candidate is the
held-back one if at least half of its messages have that label.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from earful.emerging import Watch
from earful.feedback import Feedback
from earful.past import Past
from earful.topics import read_as
from earful.vectors import Floats
from training import encoders, features
from training.topics import models, reading


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--held", nargs="+", required=True)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--time-column", default="created_at")
    parser.add_argument("--label-column", default="reason")
    options = parser.parse_args()
    rows = pd.read_csv(options.data).dropna(subset=[options.text_column])
    rows = rows.iloc[pd.to_datetime(rows[options.time_column], utc=True).argsort(kind="stable")]
    texts, labels = rows[options.text_column].tolist(), rows[options.label_column].to_numpy()
    tagger = models.load(options.bundle)
    answered = tagger.logits(texts).embedding
    assert answered is not None
    placed = features.embed(encoders.load(tagger.bundle.manifest.base_model), texts)
    table = Table("held back", "first seen after", "of", "other candidates in 5,000 messages")
    for held in options.held:
        table.add_row(held, *_replay(texts, labels == held, answered, placed))
    Console().print(table)


def _replay(texts: list[str], held: NDArray[np.bool_], answered: Floats, placed: Floats) -> tuple[str, str, str]:
    """After how many held-back messages of how many they were a candidate, and how many others there were."""
    half = len(texts) // 2
    known = np.flatnonzero(~held[:half])
    seen = reading.fit(answered[known], placed[known])
    watch = Watch(Past.of(read_as(seen, answered[known])), seen)
    first, others = "never", 0
    for n in range(half, len(texts)):
        before = {one.id for one in watch.candidates}
        watch.hear([Feedback(text=str(n))], answered[n : n + 1])
        for new in (one for one in watch.candidates if one.id not in before):
            if np.mean([held[int(message.text)] for message in new.messages]) < 0.5:
                others += 1
            elif first == "never":
                first = str(np.count_nonzero(held[half : n + 1]))
    return first, str(np.count_nonzero(held[half:])), f"{others * 5000 / (len(texts) - half):.1f}"


if __name__ == "__main__":
    main()
