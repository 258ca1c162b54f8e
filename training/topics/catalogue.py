"""The catalogue: what each topic is called, how large it is, what it is about, and how good the whole is."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from earful.past import Past
from earful.redact import shown
from earful.tagger import Tagger
from earful.taxonomy import URGENCIES
from earful.topics import Catalogue, Topic, Topics, place, read_as
from earful.vectors import Floats, Ints
from training.evaluate import floors
from training.topics import reading, words
from training.topics.centres import NONE
from training.topics.lineage import Matched, agreement
from training.topics.messages import Messages
from training.topics.themes import themes
from training.topics.words import Words

EXAMPLES = 3


def build(known: Topics | None, matched: Matched, read: Messages, tagger: Tagger, found: Ints) -> Topics:
    """The topics that there are now, from where they lie and what belongs to them; `found` are BERTopic's clusters."""
    old = known.catalogue if known else Catalogue()
    order = {id: n for n, id in enumerate(matched.active)}
    index = np.array([order.get(int(id), -1) for id in matched.index], dtype=np.int64)
    said = words.describe(read.own_texts, index, len(order)) if order else []
    headings = themes(matched, matched.active, said)
    belongs = matched.place(read.embeddings, matched.least)
    about = _About(read, tagger)
    made = [
        _named(old.find(id), said[n]).model_copy(
            update={
                "id": id,
                "theme": headings[n],
                "examples": _examples(read, matched, id),
                "tightness": matched.tightness(id, read.own_embeddings),
                **about.of(np.flatnonzero(belongs == id)),
            }
        )
        for id, n in order.items()
    ]
    ended = [
        topic.model_copy(update={"state": "ended"}) if topic.state == "active" else topic
        for topic in old.topics
        if topic.id in matched.closed
    ]
    answered = _answered(read)
    seen = reading.fit(answered, read.own_embeddings)
    catalogue = Catalogue(
        topics=tuple(sorted((*made, *ended), key=lambda topic: topic.id)),
        events=(*old.events, *matched.events),
        least=_least(matched, read_as(seen, answered)),
        least_read=matched.least,
        metrics=_metrics(known, matched, read, said, found),
    )
    return Topics(catalogue, matched.centres, matched.owners, seen, past=Past.of(read_as(seen, answered)))


def _named(before: Topic | None, said: Words) -> Topic:
    """A topic under the name that it had, or the one that its messages give it; its words are today's."""
    topic = before or Topic(id=1, label=said.label)
    return topic.model_copy(update={"state": "active", "keywords": said.keywords, "coherence": said.coherence})


class _About:
    """What messages are about and when they came."""

    def __init__(self, read: Messages, tagger: Tagger) -> None:
        policy, taxonomy = tagger.bundle.policy, tagger.bundle.taxonomy
        best = policy.category_probabilities(read.answers.category).argmax(axis=1)
        self._categories = [taxonomy.names[k] for k in best]
        self._urgencies: list[str] = []  # of a model that does not know them
        if read.answers.urgency is not None:
            decided = policy.urgency(read.answers.urgency, floors(taxonomy, read.examples))
            self._urgencies = [URGENCIES[level] for level in decided.level]
        self._moments = [example.feedback.created_at for example in read.examples]

    def of(self, members: Ints) -> dict[str, object]:
        """Size, shares and days of a topic's messages, by number."""
        days = Counter(moment.date().isoformat() for n in members if (moment := self._moments[n]))
        return {
            "size": len(members),
            "categories": _shares(self._categories[n] for n in members),
            "urgencies": _shares(self._urgencies[n] for n in members) if self._urgencies else {},
            "days": dict(sorted(days.items())),
        }


def _shares(values: Iterable[str]) -> dict[str, float]:
    counts = Counter(values)
    return {name: round(count / counts.total(), 4) for name, count in counts.most_common()}


def _examples(read: Messages, matched: Matched, id: int) -> tuple[str, ...]:
    """The messages nearest to the middle of a topic, with what is personal in them taken out, as far as it is told."""
    members = np.flatnonzero(matched.index == id)
    nearest = members[np.argsort(-matched.similarity(id, read.own_embeddings[members]))[:EXAMPLES]]
    texts = (read.examples[int(read.own[n])].feedback.text for n in nearest)
    return tuple(map(shown, texts))


def _answered(read: Messages) -> Floats:
    """Where the model itself says that the messages lie: what it goes by when it serves."""
    assert read.answers.embedding is not None  # `models.load` has seen to it
    return read.answers.embedding[read.own]


def _least(matched: Matched, embeddings: Floats) -> float:
    """How near a message must be to have a topic, if these (n, width) are where messages are said to lie."""
    centres, _ = matched.open
    if not len(centres):
        return 1.0
    _, similarity = place(embeddings, centres, -1.0)
    return float(np.quantile(similarity, NONE))


def _served(matched: Matched, read: Messages) -> float:
    """How often the model in its one pass gives the topic that the encoder gives, on messages not used for its map."""
    answered, half = _answered(read), len(read.own) // 2
    order = np.random.default_rng(0).permutation(len(read.own))
    placed = read_as(reading.fit(answered[order[:half]], read.own_embeddings[order[:half]]), answered[order[half:]])
    right = matched.index[order[half:]]
    given = matched.place(placed, _least(matched, placed))
    return float(np.mean(given[right > 0] == right[right > 0])) if right.any() else 0.0


def _metrics(
    known: Topics | None, matched: Matched, read: Messages, said: Sequence[Words], found: Ints
) -> dict[str, float]:
    """How good the topics are, by the messages that repeat no other.

    `agreement_bertopic` is with BERTopic's own assignment, where it made one; `kept` says how many of the messages that
    had a topic have it still.
    """
    figures = {
        "topics": float(len(matched.active)),
        "coverage": float(np.mean(matched.index > 0)),
        "coherence": float(np.mean([topic.coherence for topic in said])) if said else 0.0,
        "diversity": words.diversity(said),
        "agreement_bertopic": agreement(matched.index, found),
        "agreement_served": _served(matched, read),
    }
    if known is not None:
        before = known.assign(read.own_embeddings)
        had = before > 0
        figures["kept"] = float(np.mean(matched.index[had] == before[had])) if had.any() else 1.0
    return {name: round(value, 4) for name, value in figures.items()}
