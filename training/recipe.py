"""The recipe: how a network is fitted to so many rows. The one place where it is chosen."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from earful.feedback import Feedback
from earful.taxonomy import Taxonomy
from training.settings import TrainSettings
from training.sources import Example

QUICK_TOKENS = 2_000_000  # to learn from, over all passes, in steps that nobody asked to take twice as long
STEPS = 300  # optimiser steps that few rows are given, as near as whole epochs allow
FEWEST_EPOCHS, MOST_EPOCHS = 5, 12
CHARACTERS = 4  # in a token, about
FEW_LABELS = 16  # rows of the middle category up to which pairs teach more than labels do
FEW_EPOCHS = 10
COPIES = 8  # of what the taxonomy says of a category that no row has; forty were learned by heart


@dataclass(frozen=True)
class Recipe:
    """`consistency` and `contrast` are weights of the losses beside cross-entropy (`FeedbackNetwork`).

    `words`: learn from what the taxonomy says of its categories, too. `best`: keep the epoch with the best score on
    rows held back, instead of the last. `refit`: fit once more, on those rows too. `why` is what chose it, in words.
    """

    why: str
    epochs: int
    consistency: float
    contrast: float
    words: bool
    best: bool
    refit: bool

    def __str__(self) -> str:
        parts = [f"{self.epochs} epochs", "cross-entropy"]
        parts += [f"{name} {weight:g}" for name in ("consistency", "contrast") if (weight := getattr(self, name))]
        parts += ["the taxonomy's words"] if self.words else []
        parts += ["a second fit"] if self.refit else []
        return f"{self.why}: {', '.join(parts)}"


def choose(settings: TrainSettings, rows: Sequence[Example]) -> Recipe:
    """What was set; and what was not, by how many rows a category has and how much there is to read."""
    each = per_category(rows)
    few = each <= FEW_LABELS
    epochs = settings.epochs or (FEW_EPOCHS if few else _epochs(len(rows), settings.batch_size))
    longest = settings.train_windows * settings.window_tokens
    tokens = sum(min(len(row.feedback.text) / CHARACTERS, longest) for row in rows)
    quick = not few and tokens * epochs <= QUICK_TOKENS
    return Recipe(
        why=f"few rows a category (the middle one has {each:g})" if few else f"{len(rows):,} rows",
        epochs=epochs,
        consistency=float(quick) if settings.consistency is None else settings.consistency,
        contrast=float(few) if settings.contrast is None else settings.contrast,
        words=few,
        best=not few,  # the best epoch by so few rows is the luckiest
        refit=few if settings.refit is None else settings.refit,
    )


def with_believed(first: Recipe, settings: TrainSettings, rows: Sequence[Example]) -> Recipe:
    """How rows are learned some of which have the labels of a model that was fitted by the first recipe."""
    then = choose(settings, rows)
    why = f"{then.why}, some with the labels of a first model"
    return replace(then, why=why, words=first.words, best=first.best, refit=False)


def unlabelled(taxonomy: Taxonomy, rows: Sequence[Example]) -> tuple[str, ...]:
    """The categories that no row has: a model learns them from the taxonomy's words alone (zero-shot)."""
    seen = {row.category for row in rows}
    return tuple(name for name in taxonomy.names if name not in seen) if seen != {None} else ()


def words(taxonomy: Taxonomy, names: Collection[str]) -> list[Example]:
    """What a taxonomy says of these categories, as rows to learn from: labels, definitions and examples that count."""
    said = [
        (category.name, text)
        for n, category in enumerate(taxonomy.categories)
        if category.name in names
        for text in (taxonomy.label(n).replace("_", " "), category.definition, *category.counts)
        if text
    ]
    return [
        Example(feedback=Feedback(text=text), source="taxonomy", row=row, category=name, urgency=None)
        for row, (name, text) in enumerate(said, start=1)
    ]


def per_category(rows: Sequence[Example]) -> float:
    """Rows of the middle one of the categories that have any; infinite if none has."""
    counts = Counter(row.category for row in rows if row.category)
    return float(np.median(list(counts.values()))) if counts else float("inf")


def _epochs(rows: int, batch_size: int) -> int:
    """Enough passes that few rows get `STEPS` steps, within bounds; early stopping ends what is not needed."""
    steps = max(1, rows // batch_size)
    return int(np.clip(round(STEPS / steps), FEWEST_EPOCHS, MOST_EPOCHS))
