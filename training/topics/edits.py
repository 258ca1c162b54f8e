"""What a person does to topics. Each act is an event in the lineage, makes a new version, and outlasts every fit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from earful.errors import InputError
from earful.topics import Catalogue, Event, Topic, Topics, as_label, event


def rename(topics: Topics, id: int, label: str) -> Topics:
    """Call a topic something else, for good."""
    topic, label = active(topics, id), new_label(topics, label, id)
    said = event("renamed", id, f"from “{topic.label}” to “{label}”")
    return changed(topics, [topic.model_copy(update={"label": label, "pinned": True})], [said])


def merge(topics: Topics, id: int, other: int) -> Topics:
    """Make the messages of `other` those of topic `id`."""
    if id == other:
        raise InputError(f"topic {id} cannot be merged with itself")
    into, gone = active(topics, id), active(topics, other)
    said = event("merged", other, f"“{gone.label}” is part of “{into.label}” now", (id,))
    both = into.model_copy(update={"size": into.size + gone.size})
    made = changed(topics, [both, gone.model_copy(update={"state": "retired"})], [said])
    return replace(made, owners=np.where(topics.owners == other, id, topics.owners))


def retire(topics: Topics, id: int) -> Topics:
    """Give no message to a topic any more, nor to another like it that a fit might find."""
    topic = active(topics, id)
    said = event("retired", id, f"“{topic.label}” was retired")
    return changed(topics, [topic.model_copy(update={"state": "retired"})], [said])


def new_label(topics: Topics, label: str, id: int | None = None) -> str:
    """The label without needless space. Raises `InputError` if it cannot be one, or a topic other than `id` has it."""
    try:
        label = as_label(label)
    except ValueError as error:
        raise InputError(str(error)) from error
    if (other := next((one for one in topics.catalogue.active if one.label == label), None)) and other.id != id:
        raise InputError(f"topic {other.id} is called “{label}” already; merge the two, or choose another name")
    return label


def active(topics: Topics, id: int) -> Topic:
    """The topic with that id. Raises `InputError` if there is none, or it is no longer active."""
    topic = topics.catalogue.find(id)
    if topic is None:
        raise InputError(f"there is no topic {id}; `earful topics list` shows those there are")
    if topic.state != "active":
        last = topics.catalogue.lineage(id)[-1].said
        raise InputError(f"topic {id}, “{topic.label}”, is {topic.state}: {last}; `earful topics show {id}` says more")
    return topic


def changed(topics: Topics, these: Sequence[Topic], events: Sequence[Event]) -> Topics:
    """Topics with some of them changed or added."""
    old = topics.catalogue
    by_id = {topic.id: topic for topic in (*old.topics, *these)}
    catalogue = Catalogue(
        topics=tuple(by_id[id] for id in sorted(by_id)),
        events=(*old.events, *events),
        least=old.least,
        least_read=old.least_read,
        metrics=old.metrics,
    )
    return replace(topics, catalogue=catalogue)
