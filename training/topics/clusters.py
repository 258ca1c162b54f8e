"""Clusters of messages: BERTopic over UMAP and HDBSCAN, seeded, as fine as there are messages for."""

from collections.abc import Sequence

import numpy as np
from bertopic import BERTopic
from hdbscan import HDBSCAN
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer
from umap import UMAP

from earful.vectors import Floats, Ints, unit
from training.topics.centres import smallest

MOST = 100_000  # messages that are clustered; of more, a sample, and the rest find their places by its centres
NEIGHBOURS, DIMENSIONS, CORE = 15, 5, 5
COMPONENTS = 50  # of the embeddings, in which neighbours are sought: fewer numbers to compare


def found(texts: Sequence[str], embeddings: Floats, seed: int) -> tuple[BERTopic, Ints]:
    """BERTopic, fitted; and the cluster of each message (n,), -1 for none. Same seed and machine, same clusters."""
    neighbours = min(NEIGHBOURS, len(texts) - 1)
    model = BERTopic(
        embedding_model=None,
        umap_model=UMAP(
            n_neighbors=neighbours, n_components=DIMENSIONS, min_dist=0.0, metric="euclidean", random_state=seed,
            n_jobs=1, init="spectral" if len(texts) > 10 * DIMENSIONS else "random",
        ),
        hdbscan_model=HDBSCAN(min_cluster_size=smallest(len(texts)), min_samples=CORE, core_dist_n_jobs=1),
        vectorizer_model=CountVectorizer(stop_words="english"),
        calculate_probabilities=False,
    )  # fmt: skip
    index, _ = model.fit_transform(list(texts), _principal(embeddings, seed))
    return model, np.array(index)


def of_some(texts: Sequence[str], embeddings: Floats, seed: int) -> tuple[BERTopic, Ints]:
    """The same; of very many messages, a sample is clustered, and the others have no cluster."""
    some = np.sort(np.random.default_rng(seed).permutation(len(texts))[:MOST])
    model, index = found([texts[n] for n in some], embeddings[some], seed)
    every = np.full(len(texts), -1, dtype=np.int64)
    every[some] = index
    return model, every


def _principal(embeddings: Floats, seed: int) -> Floats:
    if embeddings.shape[1] <= COMPONENTS or len(embeddings) <= COMPONENTS:
        return embeddings
    return unit(PCA(COMPONENTS, random_state=seed).fit_transform(embeddings))
