"""What becomes of topics when messages are looked at anew: the same id as long as customers talk of the same thing.

Clusters change with every seed; what is known is changed only where the messages have. A cluster is a new topic if most
of its messages belong to none, a known topic ends if hardly any message belongs to it, one splits if its messages have
moved apart, two merge if their centres have come together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from earful.topics import Catalogue, Event, EventKind, Topics, assign, event
from earful.vectors import Floats, Ints, unit
from training.topics.centres import settled, smallest

EXPLAINED = 0.5  # share of a cluster's messages that belong to known topics, from which it is none of its own
SAME = 0.85  # cosine of a cluster's centre and of a topic that ended, or of its own other part, from which they are one
TOGETHER = 0.95  # cosine of two topics' centres from which they are one
APART = 0.02  # by how much less like their centre a topic's messages must have become for it to split
PART = 0.3  # of a topic's messages, that each part of a split has at least
END = 1 / 3  # of the smallest cluster: with fewer messages a topic ends


@dataclass
class Draft:
    """Topics while it is decided what becomes of them: each centre's topic, which have ended, and what has happened."""

    known: Catalogue
    centres: list[Floats]
    owners: list[int]
    closed: set[int]
    events: list[Event]
    next_id: int

    @classmethod
    def of(cls, known: Topics | None) -> "Draft":
        """The topics that are known."""
        if known is None:
            return cls(Catalogue(), [], [], set(), [], 1)
        closed = {topic.id for topic in known.catalogue.topics if topic.state != "active"}
        return cls(known.catalogue, list(known.centres), known.owners.tolist(), closed, [], known.catalogue.next_id)

    @property
    def open(self) -> list[int]:
        """The centres of topics that have not ended, by number."""
        return [n for n, owner in enumerate(self.owners) if owner not in self.closed]

    def known_of(self, embeddings: Floats) -> Ints:
        """The topic that each message (n,) belonged to, be it one that a person retired; 0 for none."""
        ended = {topic.id for topic in self.known.topics if topic.state == "ended"}
        kept = [n for n, owner in enumerate(self.owners) if owner not in ended]
        if not kept:
            return np.zeros(len(embeddings), dtype=np.int64)
        centres, owners = (np.array([part[n] for n in kept]) for part in (self.centres, self.owners))
        return assign(embeddings, centres, owners, self.known.least_read)

    def label(self, id: int) -> str:
        """What a known topic is called."""
        topic = self.known.find(id)
        return f"“{topic.label}”" if topic else f"topic {id}"

    def add(self, centre: Floats, kind: EventKind, said: str, others: Sequence[int] = ()) -> None:
        """One topic more."""
        self.centres.append(centre)
        self.owners.append(self.next_id)
        self.events.append(event(kind, self.next_id, said, others))
        self.next_id += 1

    def close(self, id: int, kind: EventKind, said: str, others: Sequence[int] = ()) -> None:
        """A topic ends; one that began just now has never been."""
        self.closed.add(id)
        if self.known.find(id):
            self.events.append(event(kind, id, said, others))
            return
        self.events = [one for one in self.events if one.topic != id]
        kept = [n for n, owner in enumerate(self.owners) if owner != id]
        self.centres, self.owners = [self.centres[n] for n in kept], [self.owners[n] for n in kept]


@dataclass(frozen=True)
class Matched:
    """Where topics lie now, the topic of each message `index` (n,), 0 for none, and what has become of topics."""

    centres: Floats
    owners: Ints
    closed: frozenset[int]
    index: Ints
    least: float
    events: tuple[Event, ...]

    @property
    def active(self) -> list[int]:
        """The topics that messages are given to, by id."""
        return sorted(set(self.owners.tolist()) - self.closed)

    @property
    def open(self) -> tuple[Floats, Ints]:
        """The centres of those, and whose each is."""
        kept = [n for n, owner in enumerate(self.owners.tolist()) if owner not in self.closed]
        return self.centres[kept], self.owners[kept]

    def place(self, embeddings: Floats, least: float) -> Ints:
        """The topic of each message (n,), 0 for none."""
        centres, owners = self.open
        return assign(embeddings, centres, owners, least)

    def similarity(self, id: int, embeddings: Floats) -> Floats:
        """How near messages (n, width) are to the nearest centre of a topic."""
        near: Floats = (unit(embeddings) @ self.centres[self.owners == id].T).max(axis=1)
        return near

    def middle(self, id: int) -> Floats:
        """The mean of a topic's centres."""
        found: Floats = unit(self.centres[self.owners == id].mean(axis=0, keepdims=True))[0]
        return found

    def tightness(self, id: int, embeddings: Floats) -> float | None:
        """How near a topic's messages are to it, on average; None if it has none."""
        members = self.index == id
        return round(float(self.similarity(id, embeddings[members]).mean()), 4) if members.any() else None


def match(known: Topics | None, clusters: Ints, embeddings: Floats) -> Matched:
    """The topics of messages, from BERTopic's clusters of them (n,), -1 for none, and from the topics that are known.

    `embeddings` (n, width) are of unit length.
    """
    draft = Draft.of(known)
    before = draft.known_of(embeddings)
    for k in range(clusters.max() + 1):
        _consider(draft, np.flatnonzero(clusters == k), before, embeddings)
    _merge(draft)
    found = _settle(draft, embeddings)
    while gone := _small(found, len(embeddings)) or _taken(found, before):
        draft.close(gone, "ended", f"hardly a message speaks of {draft.label(gone)} any more")
        found = _settle(draft, embeddings)
    return found


def agreement(one: Ints, other: Ints) -> float:
    """The share of messages on which two assignments (n,) agree, their names matched one to one (Kuhn 1955).

    Of the messages that both assign; a number below 1 is no assignment in `one`, below 0 none in `other`.
    """
    both = (one >= 1) & (other >= 0)
    if not both.any():
        return 0.0
    table = np.zeros((one.max() + 1, other.max() + 1), dtype=np.int64)
    np.add.at(table, (one[both], other[both]), 1)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / both.sum())


def _consider(draft: Draft, members: Ints, before: Ints, embeddings: Floats) -> None:
    """Decide what a cluster of these messages is, given the topics that they belonged to."""
    centre = unit(embeddings[members].mean(axis=0, keepdims=True))[0]
    if np.mean(before[members] > 0) >= EXPLAINED:
        _consider_part(draft, members, centre, before, embeddings)
    elif not (closed := _nearest_closed(draft, centre)):
        draft.add(centre, "new", f"{len(members):,} messages that fit no topic before")
    elif (topic := draft.known.find(closed)) and topic.state == "ended":
        draft.closed.discard(closed)
        draft.events.append(event("returned", closed, f"{draft.label(closed)} is talked about again"))


def _nearest_closed(draft: Draft, centre: Floats) -> int:
    """The topic that ended and was about this, 0 if none was."""
    near = [(float(own @ centre), owner) for own, owner in zip(draft.centres, draft.owners, strict=True)]
    return max(((like, owner) for like, owner in near if owner in draft.closed and like >= SAME), default=(0.0, 0))[1]


def _consider_part(draft: Draft, members: Ints, centre: Floats, before: Ints, embeddings: Floats) -> None:
    """A cluster within a known topic splits off if that topic's messages have moved apart."""
    belonged = before[members]
    whole = int(np.bincount(belonged[belonged > 0]).argmax())
    topic, rest = draft.known.find(whole), np.setdiff1d(np.flatnonzero(before == whole), members)
    share = np.sum(belonged == whole) / (np.sum(belonged == whole) + len(rest))
    if topic is None or topic.state != "active" or topic.tightness is None or not PART <= share <= 1 - PART:
        return
    own = np.stack([c for c, owner in zip(draft.centres, draft.owners, strict=True) if owner == whole])
    tightness = float((embeddings[before == whole] @ own.T).max(axis=1).mean())
    middle = unit(embeddings[rest].mean(axis=0, keepdims=True))[0]
    if tightness < topic.tightness - APART and float(middle @ centre) < SAME:
        draft.add(centre, "split", f"{share:.0%} of {draft.label(whole)} by now speak of something else", (whole,))


def _merge(draft: Draft) -> None:
    """Topics whose centres have come together become one: the older, with the centres of both."""
    for n in draft.open:
        for other in draft.open:
            older, younger = sorted((draft.owners[n], draft.owners[other]))
            pinned = (topic := draft.known.find(younger)) is not None and topic.pinned
            if older != younger and not pinned and float(draft.centres[n] @ draft.centres[other]) >= TOGETHER:
                _into(draft, younger, older)
                return _merge(draft)
    return None


def _into(draft: Draft, younger: int, older: int) -> None:
    said = f"{draft.label(younger)} and {draft.label(older)} have become the same"
    if draft.known.find(younger):
        draft.owners = [older if owner == younger else owner for owner in draft.owners]
    draft.close(younger, "merged", said, (older,))


def _settle(draft: Draft, embeddings: Floats) -> Matched:
    open_ = draft.open
    index, least = np.zeros(len(embeddings), dtype=np.int64), 1.0
    if open_:
        known = sum(draft.known.find(draft.owners[n]) is not None for n in open_)  # the first: new ones are added last
        found = settled(embeddings, np.stack([draft.centres[n] for n in open_]), known)
        for n, centre in zip(open_, found.centres, strict=True):
            draft.centres[n] = centre
        least = found.least
        index = np.where(found.belongs >= 0, np.array([draft.owners[n] for n in open_])[found.belongs], 0)
    width = embeddings.shape[1]
    centres = np.stack(draft.centres) if draft.centres else np.zeros((0, width), dtype=np.float32)
    return Matched(
        centres, np.array(draft.owners, dtype=np.int64), frozenset(draft.closed), index, least, tuple(draft.events)
    )


def _small(found: Matched, messages: int) -> int:
    """The topic with fewest messages, if they are too few, 0 if none has; one at a time, since others get them then."""
    counts = {int(id): int(np.sum(found.index == id)) for id in set(found.owners.tolist()) - found.closed}
    least = min(counts, key=lambda id: (counts[id], -id), default=0)
    return least if counts and counts[least] < max(2, END * smallest(messages)) else 0


def _taken(found: Matched, before: Ints) -> int:
    """The new topic most of whose messages would be taken from known ones, if one is: that is none of its own."""
    new = [one.topic for one in found.events if one.kind == "new"]
    shares = {id: float(np.mean(before[found.index == id] > 0)) for id in new}
    most = max(shares, key=lambda id: (shares[id], id), default=0)
    return most if new and shares[most] >= EXPLAINED else 0
