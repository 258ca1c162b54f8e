"""A second model that answers beside the first on a share of the traffic, unseen by callers.

What the two disagree on is counted, and the last of it kept, redacted, for a person to look at before the second one is
promoted.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread

from earful.feedback import Feedback
from earful.redact import shown
from earful.tagger import Tagger
from earful.tags import Tags

MOST_WAITING = 256  # feedbacks; while the service is busy those that come are left out
AT_ONCE = 16  # of them, so that answers never wait long for the cores
KEPT = 200  # disagreements


@dataclass(frozen=True)
class Disagreement:
    """One feedback, redacted, with what each of the two models said of it."""

    text: str
    answered: Tags
    shadow: Tags


class Shadow:
    """The second model, and what came of comparing it."""

    def __init__(self, share: float) -> None:
        """`share` of the traffic is compared, once there is a model."""
        self.share = share
        self.tagger: Tagger | None = None
        self.counts: Counter[str] = Counter()
        self.kept: deque[Disagreement] = deque(maxlen=KEPT)
        self._waiting: deque[tuple[Feedback, Tags]] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str | None:
        """Which model it is."""
        return self.tagger.ref.identity if self.tagger is not None else None

    def swap(self, tagger: Tagger) -> None:
        """Compare another model from now on; what came of the one before is forgotten."""
        self.tagger = tagger
        self.counts.clear()
        self.kept.clear()

    def batch(self, items: int, waited: float, took: float) -> None:
        """Of no interest here."""

    def answer(self, item: Feedback, tags: Tags) -> None:
        """Compare, if its turn comes, what was answered."""
        if self.tagger is None or random.random() >= self.share:
            return
        self._waiting.append((item, tags))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._compare())

    async def _compare(self) -> None:
        while self._waiting and (tagger := self.tagger) is not None:
            some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            found = await to_thread.run_sync(tagger.tag, [item for item, _ in some])
            if tagger is self.tagger:
                self._note(some, found)

    def _note(self, some: Sequence[tuple[Feedback, Tags]], found: Sequence[Tags]) -> None:
        for (item, tags), other in zip(some, found, strict=True):
            differing = [head for head in ("category", "urgency") if _said(tags, head) != _said(other, head)]
            self.counts.update(["compared", *differing])
            if differing:
                self.kept.append(Disagreement(shown(item.text), tags, other))


def _said(tags: Tags, head: str) -> str | None:
    if head == "category":
        return tags.category.name
    return tags.urgency.level if tags.urgency is not None else None
