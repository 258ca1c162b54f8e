"""The model that answers now, and what listens to it for new topics: swapped as one, between two batches."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from earful.drift import Drift
from earful.emerging import Watch
from earful.feedback import Feedback
from earful.tagger import Tagger
from earful.tags import Tags
from serving.batching import AT_ONCE
from serving.settings import ServeSettings


def load(folder: Path, version: str | None, settings: ServeSettings) -> Tagger:
    """A bundle that may serve, on as many cores as one of the inferences that are made at once may have.

    Raises a `BundleError`.
    """
    return Tagger.load(folder, version, settings.threads or max(1, (os.cpu_count() or 1) // AT_ONCE))


class Answering(NamedTuple):
    """A tagger, with the watch that hears what it tags, and what tells whether that is still like what it learned from.

    Without a watch if it knows no topics, or others hear a part as well; without the other if it does not know.
    """

    tagger: Tagger
    watch: Watch | None
    drift: Drift | None

    def tag(self, items: Sequence[Feedback]) -> list[Tags]:
        """Tags for each feedback, in order."""
        return self.tagger.tag(items, self.watch.hear if self.watch is not None else None)


class Models:
    """What answers now. Every batch is answered by one model as a whole, whatever is swapped meanwhile."""

    def __init__(self, tagger: Tagger, settings: ServeSettings) -> None:
        self._settings = settings
        self.now = self._listening(tagger)

    def swap(self, tagger: Tagger) -> None:
        """Let another model answer from the next batch on, and listen for new topics anew."""
        self.now = self._listening(tagger)

    def extend(self, tagger: Tagger) -> None:
        """Let the same model with a topic more answer from the next batch on; candidates stay."""
        self.now = self.now._replace(tagger=tagger)

    def tag(self, items: Sequence[Feedback]) -> list[Tags]:
        """Tags for each feedback, in order, by what answers now."""
        return self.now.tag(items)

    def batch(self, items: int, waited: float, took: float) -> None:
        """Of no interest here."""

    def answer(self, item: Feedback, tags: Tags) -> None:
        """Compare what was answered with what the model was measured on."""
        if self.now.drift is not None and tags.model == self.now.tagger.ref:
            self.now.drift.hear(item, tags)

    def _listening(self, tagger: Tagger) -> Answering:
        topics, known = tagger.bundle.topics, tagger.bundle.manifest.reference
        drift = Drift(known) if known is not None else None
        if topics is None or topics.past is None or self._settings.workers > 1:
            return Answering(tagger, None, drift)
        return Answering(tagger, Watch(topics.past, topics.reading), drift)
