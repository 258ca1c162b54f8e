"""Themes: topics that lie near each other, under one heading, so that a person can fold the list."""

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from training.topics.lineage import Matched
from training.topics.words import Words

FEWEST = 6  # topics that are worth folding
WORDS = 2  # in a heading


def themes(matched: Matched, topics: Sequence[int], said: Sequence[Words]) -> list[str]:
    """The theme of each topic: about as many as the root of their number, by average linkage of their centres."""
    if len(topics) < FEWEST:
        return ["" for _ in topics]
    middles = np.stack([matched.middle(id) for id in topics])
    groups = fcluster(linkage(middles, "average", metric="cosine"), round(len(topics) ** 0.5), "maxclust")
    sizes = [int(np.sum(matched.index == id)) for id in topics]
    headings = {}
    for group in set(groups.tolist()):
        largest = sorted(np.flatnonzero(groups == group).tolist(), key=lambda n: -sizes[n])
        words = dict.fromkeys(word for n in largest for word in said[n].keywords[:1])
        headings[group] = ", ".join(list(words)[:WORDS])
    return [headings[group] for group in groups.tolist()]
