"""Self-training: a second model learns what a first is surest of among rows that nobody labelled (Lee 2013), too."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from earful.tagger import Tagger
from training import evaluate
from training.sources import Example

SUREST = 0.8  # share of the rows given to a category that are believed: its surest ones


def labelled(
    tagger: Tagger, rows: Sequence[Example], names: Sequence[str], progress: Callable[[int], None]
) -> list[Example]:
    """Rows with the category that a model gives them; of each category those that it is surest of.

    By category, since a model that learned from few rows is sure of some categories throughout, and of others never.
    """
    probabilities = tagger.bundle.policy.category_probabilities(evaluate.run(tagger, rows, progress).category)
    best, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    kept = []
    for k in range(len(names)):
        members = np.flatnonzero(best == k)
        kept += list(members[np.argsort(-sure[members], kind="stable")[: round(SUREST * len(members))]])
    return [replace(rows[n], category=names[best[n]], supports=True) for n in sorted(kept)]
