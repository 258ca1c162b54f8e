"""Where the messages lay that topics were fitted to: what later ones are compared with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earful.vectors import Floats, unit

MOST = 4000  # messages that are kept
SHRINKAGE = 1.0  # of the variances of all directions towards their mean
NEAR = 0.996  # quantile of the cosines between messages, above which two are neighbours
PAIRS = 1000  # messages whose cosines with all others say so


class Past(NamedTuple):
    """`sample` (n, dimensions) of unit length, whitened by `whitening` (width + 1, dimensions), its shift last.

    Whitened, directions in which messages seldom differ count as much as those in which they often do (with shrinkage).
    `near` is the cosine from which two of the messages are neighbours.
    """

    sample: Floats
    whitening: Floats
    near: float

    @classmethod
    def of(cls, embeddings: Floats) -> "Past":
        """What is kept of the messages of a fit (n, width)."""
        rng = np.random.default_rng(0)
        some = embeddings[rng.permutation(len(embeddings))[:MOST]]
        middle = some.mean(axis=0)
        _, scales, directions = np.linalg.svd(some - middle, full_matrices=False)
        variances = scales**2 / len(some)
        whitening = directions.T / np.sqrt(variances + SHRINKAGE * variances.mean())
        sample = unit((some - middle) @ whitening)
        near = float(np.quantile(sample[:PAIRS] @ sample.T, NEAR))
        return cls(sample, np.vstack([whitening, -middle @ whitening]).astype(np.float32), near)

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], rows: int) -> "Past | None":
        """What `arrays` wrote, None if nothing; `rows` is that of `whitening`. Raises `ValueError` if it is amiss."""
        if "past" not in arrays:
            return None
        sample, whitening = (arrays[name].astype(np.float32) for name in ("past", "whitening"))
        whole = whitening.shape == (rows, sample.shape[1]) and len(sample) > 0
        if not whole or not np.isfinite(sample).all() or not np.isfinite(whitening).all():
            raise ValueError("does not say where earlier messages lay")
        return cls(sample, whitening, float(arrays["near"][0]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is written into a bundle: the sample at half of its digits, which are enough to tell what is near."""
        return {"past": self.sample.astype(np.float16), "whitening": self.whitening, "near": np.array([self.near])}

    def place(self, embeddings: Floats) -> Floats:
        """Where messages (n, width) lie once they are whitened (n, dimensions), at length 1."""
        placed: Floats = unit(embeddings @ self.whitening[:-1] + self.whitening[-1])
        return placed

    def share(self, place: Floats) -> float:
        """The share of the messages that are neighbours of one that lies there (dimensions,); never none."""
        return float(np.count_nonzero(self.sample @ place >= self.near) + 1) / len(self.sample)
