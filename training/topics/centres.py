"""Where topics lie: centres, each the mean of the messages that are nearest to it."""

import math
from typing import NamedTuple

import numpy as np

from earful.topics import place
from earful.vectors import Floats, Ints, unit

FEWEST = 20  # messages that clusters can be seen in at all
GRAIN = 0.3  # the smallest cluster has this times the root of all messages: 7 of 500, 30 of 10,000, 95 of 100,000
NONE = 0.1  # share of messages that belong to no topic: they are said to, rather than forced into one
ROUNDS = 100  # of moving centres at most
SETTLED = 0.0005  # share of messages that change places in a round, below which they have


class Clusters(NamedTuple):
    """`centres` (clusters, width); the cluster that each message `belongs` to (n,), -1 for none; how near is near."""

    centres: Floats
    belongs: Ints
    least: float


def smallest(messages: int) -> int:
    """How many messages make a cluster."""
    return max(5, round(GRAIN * math.sqrt(messages)))


def settled(embeddings: Floats, centres: Floats, known: int = 0) -> Clusters:
    """Centres (clusters, width) moved until each is the mean of the messages that are nearest to it.

    Only so does a message get the same topic by itself as it got in the fit; and a fit of the same messages that starts
    from these centres changes nothing. A centre that no message is near to stays where it is. The first `known` are
    held half way back to where they were, so that a newcomer beside a topic does not push it aside.
    """
    index = np.full(len(embeddings), -1)
    held = centres[:known]
    for _ in range(ROUNDS):
        near, similarity = place(embeddings, centres, -1.0)
        least = float(np.quantile(similarity, NONE))
        before, index = index, np.where(similarity >= least, near, -1)
        if np.mean(index != before) <= SETTLED:
            break
        centres = means(embeddings, index, centres)
        centres[:known] = unit(centres[:known] + held)
    return Clusters(centres, index, least)


def means(embeddings: Floats, index: Ints, before: Floats) -> Floats:
    """The mean direction (clusters, width) of each cluster's messages, of unit length; `before` where it has none."""
    full = np.unique(index[index >= 0])
    moved = before.copy()
    moved[full] = unit(np.stack([embeddings[index == k].mean(axis=0) for k in full]))
    return moved
