"""Where in the space of the encoder's features the training rows lie, so that texts unlike any of them can be told."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn


class Scope(nn.Module):
    """Features as a point in a space where each category is a ball of the same size, and how near its centres are.

    There the squared distance to the nearest centre is that of Mahalanobis with one covariance for all categories (Lee
    et al. 2018). Both outputs are linear in the features, as the heads are, so those of windows may be averaged;
    `earful.policy` makes the distance of them.
    """

    def __init__(self, width: int, categories: int) -> None:
        super().__init__()
        self.position = nn.Linear(width, width)
        self.nearness = nn.Linear(width, categories)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, width) → position z (n, width), and z·c - |c|²/2 for every centre c (n, categories)."""
        position = self.position(features)
        return position, self.nearness(position)


def fit(features: NDArray[np.float32], category: NDArray[np.int64]) -> Scope:
    """The scope of training rows: features (n, width) and the category of each (n,), by index.

    The covariance is shrunk (Ledoit and Wolf 2004), since few rows say little of so many features.
    """
    kinds, place = np.unique(category, return_inverse=True)
    means = np.stack([features[place == n].mean(axis=0) for n in range(len(kinds))])
    precision = LedoitWolf(assume_centered=True).fit(features - means[place]).precision_
    whitening, origin = np.linalg.cholesky(precision).T, features.mean(axis=0)
    centres = (means - origin) @ whitening.T
    scope = Scope(features.shape[1], len(kinds))
    weights = {
        "position.weight": whitening, "position.bias": -whitening @ origin,
        "nearness.weight": centres, "nearness.bias": -(centres**2).sum(axis=1) / 2,
    }  # fmt: skip
    scope.load_state_dict({name: torch.tensor(value, dtype=torch.float32) for name, value in weights.items()})
    return scope.requires_grad_(False)
