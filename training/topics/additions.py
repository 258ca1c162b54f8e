"""A person makes a topic of messages that they chose."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from earful.errors import InputError
from earful.redact import shown
from earful.settings import RegistrySettings
from earful.topics import Topic, Topics, event, read_as
from earful.vectors import unit
from training import sources
from training.topics import models, words
from training.topics.catalogue import EXAMPLES
from training.topics.edits import changed, new_label
from training.topics.settings import TopicSettings


def adder(settings: TopicSettings, label: str, registry: RegistrySettings) -> Callable[[Topics], Topics]:
    """Read the messages, and find where the model says that they lie. Raises `InputError` if there are none."""
    source = sources.read(settings.data, settings.columns, None, settings.encoding)
    texts = [example.feedback.text for example in source.examples]
    if not texts:
        raise InputError(f"{', '.join(settings.data)}: has no message to make a topic of")
    with models.chosen(settings.model, registry) as folder:
        embeddings = models.load(folder).logits(texts).embedding
    assert embeddings is not None  # `models.load` has seen to it
    said = words.describe(texts, np.zeros(len(texts), dtype=np.int64), 1)[0]

    def change(before: Topics) -> Topics:
        placed = unit(read_as(before.reading, embeddings))
        centre = unit(placed.mean(axis=0, keepdims=True))
        near = placed @ centre[0]
        topic = Topic(
            id=before.catalogue.next_id,
            label=new_label(before, label),
            pinned=True,
            keywords=said.keywords,
            examples=tuple(shown(texts[n]) for n in np.argsort(-near)[:EXAMPLES]),
            size=len(texts),
            coherence=said.coherence,
            tightness=round(float(near.mean()), 4),
        )
        told = event("new", topic.id, f"made of {len(texts):,} messages by a person")
        return replace(
            changed(before, [topic], [told]),
            centres=np.concatenate([before.centres, centre]),
            owners=np.append(before.owners, topic.id),
        )

    return change
