"""A person makes two topics of one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sklearn.cluster import KMeans

from earful.errors import InputError
from earful.settings import RegistrySettings
from earful.topics import Topic, Topics, event
from training.progress import Reporter
from training.topics import centres, messages, models, words
from training.topics.edits import active, changed
from training.topics.settings import TopicSettings


def splitter(
    settings: TopicSettings, id: int, registry: RegistrySettings, reporter: Reporter
) -> Callable[[Topics], Topics]:
    """Read the messages that a topic is to be split by. Raises `InputError` if too few of them belong to it."""
    with models.chosen(settings.model, registry) as folder:
        tagger = models.load(folder)
        topics = models.topics_of(tagger.bundle)
        topic = active(topics, id)
        read = messages.read(settings, tagger, reporter)
    members = np.flatnonzero(topics.assign(read.own_embeddings) == id)
    if len(members) < centres.FEWEST:
        raise InputError(f"{len(members)} of these messages belong to topic {id}, too few to split it by")
    index = KMeans(2, n_init=10, random_state=settings.seed).fit_predict(read.own_embeddings[members])
    index = index if np.mean(index) <= 0.5 else 1 - index  # the larger part keeps the id
    said = words.describe([read.own_texts[n] for n in members], index.astype(np.int64), 2)
    middles = centres.means(read.own_embeddings[members], index, np.zeros((2, read.embeddings.shape[1]), np.float32))

    def change(before: Topics) -> Topics:
        new = before.catalogue.next_id
        sizes = [round(topic.size * share) for share in (np.mean(index == 0), np.mean(index == 1))]
        parts = [
            topic.model_copy(update={"keywords": said[0].keywords, "size": sizes[0], "pinned": True}),
            Topic(
                id=new, label=said[1].label, keywords=said[1].keywords, size=sizes[1], theme=topic.theme, pinned=True
            ),
        ]
        told = event("split", new, f"“{said[1].label}” was part of “{topic.label}”", (id,))
        kept = before.owners != id
        return replace(
            changed(before, parts, [told]),
            centres=np.concatenate([before.centres[kept], middles]),
            owners=np.concatenate([before.owners[kept], [id, new]]),
        )

    return change
