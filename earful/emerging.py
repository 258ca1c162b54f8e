"""What customers have begun to talk about since topics were fitted: candidates for topics, among the last messages.

A message that speaks of something new seldom lies far from every topic; what gives it away is company. A candidate
appears where the last messages lie much closer together than those of the fit did (docs/experiments.md).
"""

import re
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import NamedTuple

import numpy as np

from earful.feedback import Feedback
from earful.past import Past
from earful.topics import read_as
from earful.vectors import Floats, Ints, unit

RECENT = 1000  # last messages that are looked at
FEWEST, TIMES = 16, 5.0  # neighbours that make a candidate, and times as many as by the past: by chance, one in 5e6
SAME_TEXT = 0.95  # cosine from which a message only repeats another
SAME = 0.4  # cosine of two candidates' middles from which they are one
MOST = 100  # candidates that are kept: the latest
USUAL = 0.1  # share of all the last messages from which a word tells nothing
KEYWORDS, WORD = 8, re.compile(r"(?<!@)\b[^\W\d_]{3,}")
KEPT, KEPT_CHARS = 200, 2000  # messages of a candidate that are kept, the latest, and as much of each


class Heard(NamedTuple):
    """A message, and when it came."""

    text: str
    moment: datetime


@dataclass
class Candidate:
    """Messages that may be a topic: how many so far, since when, and the last of them.

    `times` as many lay together, when it was found, as by the past.
    """

    id: int
    size: int
    times: float
    since: datetime
    messages: deque[Heard]

    @property
    def until(self) -> datetime:
        """When the last of them came."""
        return max(message.moment for message in self.messages)


class Watch:
    """The last messages that came, and the candidates among them. Safe to share between threads."""

    def __init__(self, past: Past, reading: Floats) -> None:
        """`reading` is that of the topics whose fit the past is of."""
        self._past, self._reading = past, reading
        self._places = np.zeros((RECENT, past.sample.shape[1]), dtype=np.float32)
        self._messages: list[Heard] = []  # the last, each where its place is
        self._came = 0
        self._found: dict[int, Candidate] = {}
        self._centres: list[Floats] = []  # of every candidate there was, by id: none comes twice
        self._lock = Lock()

    @property
    def candidates(self) -> list[Candidate]:
        """Those that there are, the latest first."""
        with self._lock:
            return [replace(one, messages=one.messages.copy()) for one in reversed(self._found.values())]

    def keywords(self, candidates: Sequence[Candidate]) -> list[list[str]]:
        """For each candidate the words that more of its messages have than of the last ones, by the difference."""
        with self._lock:
            last = tuple(self._messages)
        usual = _shares(last)
        return [_telling(candidate.messages, usual) for candidate in candidates]

    def dismiss(self, id: int) -> None:
        """Forget a candidate; none like it appears again."""
        with self._lock:
            self._found.pop(id, None)

    def hear(self, items: Sequence[Feedback], embeddings: Floats) -> None:
        """Messages came, which lie there (n, width) by the model."""
        now = datetime.now(UTC)
        places = self._past.place(read_as(self._reading, embeddings))
        with self._lock:
            for item, place in zip(items, places, strict=True):
                self._hear(Heard(item.text[:KEPT_CHARS], item.created_at or now), place)

    def _hear(self, message: Heard, place: Floats) -> None:
        like = self._places[: len(self._messages)] @ place
        if len(like) and like.max() >= SAME_TEXT:
            return
        if not self._joins(message, place, self._past.near**0.5):
            self._consider(message, place, np.flatnonzero(like >= self._past.near))
        slot = self._came % RECENT
        self._places[slot] = place
        self._messages[slot : slot + 1] = [message]
        self._came += 1

    def _joins(self, message: Heard, place: Floats, near: float) -> bool:
        """Whether a message belongs to a candidate that is or was; one that is, grows."""
        if not self._centres:
            return False
        like = np.stack(self._centres) @ place
        id = int(like.argmax()) + 1
        if like[id - 1] < near:
            return False
        if candidate := self._found.get(id):
            candidate.size += 1
            candidate.messages.append(message)
        return True

    def _consider(self, message: Heard, place: Floats, near: Ints) -> None:
        """A message and those near it are a candidate if the past has far fewer in that place."""
        if len(near) + 1 < FEWEST:
            return
        times = (len(near) + 1) / RECENT / self._past.share(place)
        centre = unit((self._places[near].sum(axis=0) + place)[None])[0]
        if times < TIMES or self._joins(message, centre, SAME):
            return
        self._centres.append(centre)
        messages = deque([*(self._messages[n] for n in near), message], maxlen=KEPT)
        id = len(self._centres)
        since = min(one.moment for one in messages)
        self._found[id] = Candidate(id, len(messages), round(times, 1), since, messages)
        self._found.pop(id - MOST, None)


def _shares(messages: Collection[Heard]) -> Counter[str]:
    """Each word's share of messages."""
    counts = Counter(word for message in messages for word in set(WORD.findall(message.text.lower())))
    return Counter({word: count / len(messages) for word, count in counts.items()})


def _telling(messages: Collection[Heard], usual: Counter[str]) -> list[str]:
    more = {word: share - usual[word] for word, share in _shares(messages).items() if usual[word] < min(share, USUAL)}
    return sorted(more, key=lambda word: -more[word])[:KEYWORDS]
