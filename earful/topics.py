"""Topics: what customers actually talk about, under ids that are for ever. The part of a bundle that knows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from earful.errors import BundleError
from earful.past import Past
from earful.vectors import Floats, Ints, unit

TOPICS, CENTRES, PAGE = "topics.json", "topics.safetensors", "topics.html"
FILES = (TOPICS, CENTRES, PAGE)  # of a bundle that has topics
LONGEST_LABEL = 80  # characters
EventKind = Literal["new", "split", "merged", "ended", "returned", "renamed", "retired"]


def as_label(said: str) -> str:
    """What a person calls a topic, without needless space. Raises `ValueError` if it cannot be shown as one."""
    label = " ".join(said.split())
    if not 0 < len(label) <= LONGEST_LABEL:
        raise ValueError(f"a label has 1 to {LONGEST_LABEL} characters; this one has {len(label)}")
    if not label.isprintable():
        raise ValueError("a label has no control characters")
    return label


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(_Part):
    """What became of a topic, when (ISO 8601, UTC), and in words. `others` are those it came from or went into."""

    at: str
    kind: EventKind
    topic: int
    others: tuple[int, ...] = ()
    said: str


def event(kind: EventKind, topic: int, said: str, others: Sequence[int] = ()) -> Event:
    """What happened to a topic just now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Event(at=now, kind=kind, topic=topic, others=tuple(others), said=said)


class Topic(_Part):
    """One topic, as the last fit saw it.

    `pinned`: a person named or split it, and no fit undoes that. `state`: a fit ends a topic that nobody talks of any
    more, and brings it back when they do; what a person retires stays so. `size`, `days` (messages by date) and the
    shares of categories and urgencies are of the messages of that fit. `coherence` is the mean NPMI of its keywords
    there, from -1 to 1; `tightness` the mean cosine between its messages and their centre.
    """

    id: Annotated[int, Field(ge=1)]
    label: str
    pinned: bool = False
    state: Literal["active", "ended", "retired"] = "active"
    keywords: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    theme: str = ""
    size: int = 0
    coherence: float | None = None
    tightness: float | None = None
    categories: dict[str, float] = {}
    urgencies: dict[str, float] = {}
    days: dict[str, int] = {}


class Catalogue(_Part):
    """Every topic there ever was, what became of them, and how near to one (cosine) a message must be to belong to it.

    `least` is that by the model's embeddings, `least_read` by the encoder's, in which topics are fitted. `metrics` are
    those of the last fit. Ids rise, and none is given twice in one line of
    versions; of two fits that start from one version, each gives the same next ids.
    """

    topics: tuple[Topic, ...] = ()
    events: tuple[Event, ...] = ()
    least: float = 1.0
    least_read: float = 1.0
    metrics: dict[str, float] = {}

    @property
    def active(self) -> tuple[Topic, ...]:
        """Those that messages are given to."""
        return tuple(topic for topic in self.topics if topic.state == "active")

    @property
    def next_id(self) -> int:
        """The id of the next new topic."""
        return max((topic.id for topic in self.topics), default=0) + 1

    def find(self, id: int) -> Topic | None:
        """The topic with that id, be it retired."""
        return next((topic for topic in self.topics if topic.id == id), None)

    def lineage(self, id: int) -> list[Event]:
        """What became of a topic, oldest first, its part in the becoming of others included."""
        return [event for event in self.events if id in (event.topic, *event.others)]


class Nearest(NamedTuple):
    """The topic that a message belongs to, and how near it is to the topic's centre (cosine)."""

    topic: Topic
    similarity: float


@dataclass(frozen=True)
class Topics:
    """A catalogue, and where its topics lie: centres (centres, width) of unit length, `owners` the topic of each.

    A topic that others were merged into has their centres beside its own; one that is no longer active keeps its own.
    `reading` (width + 1, width), its shift last, maps the model's embeddings to those of the encoder, among which the
    centres lie. `page` is the document that shows them, as HTML. `past` is where the messages of the last fit lay.
    """

    catalogue: Catalogue
    centres: Floats
    owners: Ints
    reading: Floats
    page: bytes = b""
    past: Past | None = None

    @cached_property
    def _active(self) -> tuple[Floats, list[Topic]]:
        active = {topic.id: topic for topic in self.catalogue.active}
        kept = [n for n, owner in enumerate(self.owners) if int(owner) in active]
        return self.centres[kept], [active[int(self.owners[n])] for n in kept]

    def nearest(self, embeddings: Floats) -> list[Nearest | None]:
        """For each of the model's embeddings (n, width) its topic, None where none is near enough."""
        centres, topics = self._active
        if not topics:
            return [None] * len(embeddings)
        index, similarity = place(read_as(self.reading, embeddings), centres, self.catalogue.least)
        return [Nearest(topics[k], float(near)) if k >= 0 else None for k, near in zip(index, similarity, strict=True)]

    def assign(self, embeddings: Floats) -> Ints:
        """The id of the topic of each of the encoder's embeddings (n, width), 0 for none."""
        centres, topics = self._active
        owners = np.array([topic.id for topic in topics], dtype=np.int64)
        return assign(embeddings, centres, owners, self.catalogue.least_read)

    def files(self) -> dict[str, bytes]:
        """What is written into a bundle."""
        arrays: dict[str, NDArray[Any]] = {"centres": self.centres, "owners": self.owners, "reading": self.reading}
        if self.past is not None:
            arrays |= self.past.arrays()
        return {
            TOPICS: (self.catalogue.model_dump_json(indent=1) + "\n").encode(),
            CENTRES: save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}),
            PAGE: self.page,
        }


def read(files: Mapping[str, bytes]) -> Topics:
    """The topics that `Topics.files` wrote. Raises `BundleError` if they do not fit together."""
    try:
        catalogue = Catalogue.model_validate_json(files[TOPICS])
        arrays = load_arrays(files[CENTRES])
        centres, reading = (arrays[name].astype(np.float32) for name in ("centres", "reading"))
        owners = arrays["owners"].astype(np.int64)
        past = Past.read(arrays, len(reading))
        page = files[PAGE]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BundleError(f"{TOPICS}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{CENTRES}: cannot be read: {error}") from error
    known = {topic.id for topic in catalogue.topics}
    whole = centres.ndim == 2 and owners.shape == (len(centres),)
    if not whole or not np.isfinite(centres).all() or not np.isfinite(reading).all():
        raise BundleError(f"{CENTRES}: does not say of each centre where it lies and whose it is")
    if reading.shape != (centres.shape[1] + 1, centres.shape[1]):
        raise BundleError(f"{CENTRES}: does not say how a text is placed among the centres")
    if len(known) != len(catalogue.topics) or not set(owners.tolist()) <= known:
        raise BundleError(f"{TOPICS}: has a topic twice, or not all that {CENTRES} has a centre of")
    return Topics(catalogue, centres, owners, reading, page, past)


def read_as(reading: Floats, embeddings: Floats) -> Floats:
    """The model's embeddings (n, width) as the encoder's."""
    mapped: Floats = unit(embeddings) @ reading[:-1] + reading[-1]
    return mapped


def assign(embeddings: Floats, centres: Floats, owners: Ints, least: float) -> Ints:
    """The topic of each embedding (n, width), 0 where no centre is near enough."""
    if not len(centres):
        return np.zeros(len(embeddings), dtype=np.int64)
    index, _ = place(embeddings, centres, least)
    return np.where(index >= 0, owners[index], 0)


def place(embeddings: Floats, centres: Floats, least: float) -> tuple[Ints, Floats]:
    """The nearest centre of each embedding (n, width), by index, -1 where none is near enough, and its cosine (n,)."""
    similarity = unit(embeddings) @ centres.T
    index = similarity.argmax(axis=1)
    best = np.take_along_axis(similarity, index[:, None], axis=1)[:, 0]
    return np.where(best >= least, index, -1), best
