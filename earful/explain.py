"""Which words carried an answer: the spans without which it would be less probable (occlusion, Zeiler and Fergus 2014).

Spans are cut from the text as it was sent, and what is left is read by the same Tagger, so that offsets need no
translation back through cleaning, tokens and windows. Of a long text only the passage that speaks most for the answer
is searched: to leave out one piece after another of forty pages would mean reading forty pages each time.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earful.feedback import Feedback
from earful.tagger import Logits, Tagger
from earful.tags import Evidence, Head, Tags
from earful.taxonomy import URGENCIES

PASSAGE_WORDS = 96
SPANS = 16  # that a passage is cut into, one of which is left out at a time: the work of some fourteen plain answers
MOST = 3  # spans given for each of the two answers
LEAST = 0.01  # probability that leaving out a span must cost for it to count as evidence

Score = Callable[[Logits], NDArray[np.float64]]


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of the text as sent, counted in Unicode code points."""

    start: int
    end: int


def explain(tagger: Tagger, item: Feedback, tags: Tags) -> Tags:
    """The same tags, with the spans of `item.text` that carried the category and the urgency, strongest first."""
    passages = _passages(item.text)
    alone = tagger.logits([item.text[passage[0].start : passage[-1].end] for passage in passages])
    occluded: dict[int, Occluded] = {}  # by passage; both answers are mostly found in the same one
    evidence: list[Evidence] = []
    for head, score in _scores(tagger, tags).items():
        best = int(score(alone).argmax())
        if best not in occluded:
            occluded[best] = _occlude(tagger, item.text, passages[best])
        evidence += _strongest(head, score(alone)[best], score(occluded[best].logits), occluded[best].pieces)
    return tags.model_copy(update={"evidence": evidence})


def _scores(tagger: Tagger, tags: Tags) -> dict[Head, Score]:
    """How probable each answer that was given is, by raw answers."""
    policy, category = tagger.bundle.policy, tagger.bundle.taxonomy.names.index(tags.category.name)
    scores: dict[Head, Score] = {"category": lambda raw: policy.category_probabilities(raw.category)[:, category]}
    if tags.urgency is not None:
        level = URGENCIES.index(tags.urgency.level)
        scores["urgency"] = lambda raw: policy.urgency(_present(raw.urgency)).probabilities[:, level]
    return scores


def _present(urgency: NDArray[np.float32] | None) -> NDArray[np.float32]:
    assert urgency is not None  # an urgency was given, so there is a head for it
    return urgency


def _passages(text: str) -> list[Sequence[Span]]:
    """Words in overlapping passages, so that no evidence is cut by each of two borders."""
    words = [Span(*match.span()) for match in re.finditer(r"\S+", text)]
    starts = range(0, max(1, len(words) - PASSAGE_WORDS // 2), PASSAGE_WORDS // 2)
    return [words[n : n + PASSAGE_WORDS] for n in starts]


class Occluded(NamedTuple):
    """The spans of a passage, and the raw answers to it without each of them."""

    pieces: list[Span]
    logits: Logits


def _occlude(tagger: Tagger, text: str, passage: Sequence[Span]) -> Occluded:
    start, end = passage[0].start, passage[-1].end
    pieces = _cut(passage, SPANS)
    return Occluded(pieces, tagger.logits([text[start : piece.start] + text[piece.end : end] for piece in pieces]))


def _strongest(head: Head, whole: float, without: NDArray[np.float64], pieces: Sequence[Span]) -> list[Evidence]:
    losses = whole - without
    best = [n for n in np.argsort(-losses, kind="stable")[:MOST] if losses[n] >= LEAST]
    return [
        Evidence(head=head, start=pieces[n].start, end=pieces[n].end, weight=round(float(losses[n]), 4)) for n in best
    ]


def _cut(words: Sequence[Span], pieces: int) -> list[Span]:
    """At most so many spans of about as many words each."""
    parts = np.array_split(np.arange(len(words)), min(pieces, len(words)))
    return [Span(words[part[0]].start, words[part[-1]].end) for part in parts]
