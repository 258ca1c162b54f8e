"""Whether what comes is still like what a model was measured on: shares of categories, urgencies, confidences, lengths.

The figure is the population stability index: the sum, over the kinds of a thing, of (p - q) ln(p / q), where p are the
shares among what came and q those of the model's own rows. By the usual rule of thumb below 0.1 nothing has changed,
and from 0.25 on a model is no longer asked what it was made for.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from math import log
from threading import Lock

from pydantic import BaseModel, ConfigDict

from earful.feedback import Feedback
from earful.tags import Tags

CHANGED = 0.25
RECENT = 2000  # answers that are compared: the last
FEWEST = 200  # before which chance decides
UNSEEN = 0.5  # rows that every kind is taken to have had besides, so that one without any has a share

Facts = Mapping[str, str]


class Reference(BaseModel):
    """Shares of each kind of a thing (such as `category`) among so many rows that a model was measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    shares: dict[str, dict[str, float]]


def facts(text: str, category: str, confidence: float, urgency: str | None) -> dict[str, str]:
    """What is compared of one answer: confidence in tenths, the length of the text in doublings of its characters."""
    found = {
        "category": category,
        "confidence": f"{min(int(confidence * 10), 9) / 10}",
        "length": str(len(text).bit_length()),
    }
    return found if urgency is None else {**found, "urgency": urgency}


def reference(rows: Iterable[Facts]) -> Reference:
    """The shares of rows' facts."""
    counts: dict[str, Counter[str]] = {}
    total = 0
    for row in rows:
        total += 1
        for thing, kind in row.items():
            counts.setdefault(thing, Counter())[kind] += 1
    shares = {
        thing: {kind: round(n / total, 6) for kind, n in sorted(kinds.items())} for thing, kinds in counts.items()
    }
    return Reference(rows=total, shares=shares)


class Drift:
    """The last answers beside a reference. Safe to share between threads."""

    def __init__(self, known: Reference) -> None:
        self.known = known
        self._last: deque[Facts] = deque()
        self._counts: dict[str, Counter[str]] = {thing: Counter() for thing in known.shares}
        self._lock = Lock()

    def hear(self, item: Feedback, tags: Tags) -> None:
        """Something was answered."""
        urgency = tags.urgency.level if tags.urgency is not None else None
        found = facts(item.text, tags.category.name, tags.category.confidence, urgency)
        with self._lock:
            self._last.append(found)
            self._count(found, 1)
            if len(self._last) > RECENT:
                self._count(self._last.popleft(), -1)

    @property
    def rows(self) -> int:
        """How many answers are compared."""
        return len(self._last)

    def indices(self) -> dict[str, float]:
        """The index of each thing; none before there are enough answers."""
        with self._lock:
            if len(self._last) < FEWEST:
                return {}
            counted = {thing: Counter(counts) for thing, counts in self._counts.items()}
        return {
            thing: round(_index(self.known.shares[thing], self.known.rows, counts), 4)
            for thing, counts in counted.items()
        }

    def _count(self, found: Facts, by: int) -> None:
        for thing, kind in found.items():
            if thing in self._counts:
                self._counts[thing][kind] += by


def _index(known: Mapping[str, float], rows: int, counts: Counter[str]) -> float:
    kinds = {kind for kind, n in counts.items() if n} | known.keys()
    before = {kind: known.get(kind, 0.0) * rows + UNSEEN for kind in kinds}
    now = {kind: counts[kind] + UNSEEN for kind in kinds}
    total_before, total_now = sum(before.values()), sum(now.values())
    pairs = ((now[kind] / total_now, before[kind] / total_before) for kind in kinds)
    return sum((p - q) * log(p / q) for p, q in pairs)
