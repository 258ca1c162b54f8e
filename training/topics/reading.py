"""From where the model says that a text lies to where the encoder placed it: one pass gives the encoder's topic."""

import numpy as np
from scipy.linalg import solve

from earful.vectors import Floats, unit

STRENGTH = 1.0  # of the penalty on leaving the model's answer as it is
ENOUGH = 20_000  # messages to fit it on


def fit(model: Floats, encoder: Floats) -> Floats:
    """The affine map (width + 1, width), its shift last, that brings the one's embeddings (n, width) near the other's.

    Ridge regression, towards changing nothing. The model's embeddings are close already, least so on messages unlike
    those that it learned from.
    """
    rows = np.random.default_rng(0).permutation(len(model))[:ENOUGH]
    given, wanted = unit(model[rows]).astype(np.float64), encoder[rows].astype(np.float64)
    given_mean, wanted_mean = given.mean(axis=0), wanted.mean(axis=0)
    given, wanted = given - given_mean, wanted - wanted_mean
    width = given.shape[1]
    change = solve(given.T @ given + STRENGTH * np.eye(width), given.T @ (wanted - given), assume_a="pos")
    weights = np.eye(width) + change
    return np.vstack([weights, wanted_mean - given_mean @ weights]).astype(np.float32)
