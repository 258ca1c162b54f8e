"""A model that is trained anew knows the topics that the champion knows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from earful import bundle as bundles
from earful.errors import BundleError
from earful.topics import Topics, place, read_as
from earful.vectors import Floats
from training import encoders, features
from training.progress import Reporter
from training.registry import CHAMPION, Registry
from training.topics import reading


def known(registry: Registry, base_model: str, reporter: Reporter) -> Topics | None:
    """The topics of the champion, None if it has none or they lie in another encoder's space."""
    if registry.champion() is None:
        return None
    try:
        with registry.fetched(registry.find(CHAMPION)) as folder:
            champion = bundles.load(folder)
    except BundleError as error:
        reporter.say(f"the champion's topics are not taken over: {error}")
        return None
    if champion.topics is not None and champion.manifest.base_model != base_model:
        reporter.say("the champion's topics are not taken over: it has another --base-model; fit topics again")
        return None
    return champion.topics


def carried(topics: Topics, texts: Sequence[str], answered: Floats, base_model: str) -> Topics:
    """The same topics, for a model that says that these texts lie there (n, width).

    As many of the texts have no topic as by the encoder itself.
    """
    placed = features.embed(encoders.load(base_model), texts)
    seen = reading.fit(answered, placed)
    without = float(np.mean(topics.assign(placed) == 0))
    active = {topic.id for topic in topics.catalogue.active}
    centres = topics.centres[[int(owner) in active for owner in topics.owners]]
    least = topics.catalogue.least
    if len(centres):
        least = float(np.quantile(place(read_as(seen, answered), centres, -1.0)[1], without))
    return replace(topics, reading=seen, catalogue=topics.catalogue.model_copy(update={"least": least}))
