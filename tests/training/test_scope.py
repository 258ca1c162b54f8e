"""Scope: texts unlike any that a model learned from are told by where their features lie."""

import numpy as np
import torch
from numpy.typing import NDArray

from earful.policy import Policy, ScopeRule
from earful.tagger import Logits
from training import scope
from training.calibrate import Answers, calibrate

WIDTH = 6
STRETCH = np.diag([5.0, 1.0, 1.0, 1.0, 1.0, 0.1])  # features that vary much within a category, and little


def clusters(rows: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of three categories (2, 5 and 7), which lie apart in the second feature."""
    random = np.random.default_rng(seed)
    category = random.choice([2, 5, 7], size=rows)
    centres = np.zeros((rows, WIDTH))
    centres[:, 1] = 4 * category
    return (centres + random.normal(size=(rows, WIDTH)) @ STRETCH).astype(np.float32), category


def placed(fitted: scope.Scope, features: NDArray[np.float32]) -> Logits:
    """Answers of a model that is sure of every text, of some a little more by chance."""
    position, nearness = (part.numpy() for part in fitted(torch.tensor(features)))
    logits = np.random.default_rng(3).normal(5.0, 0.1, size=(len(features), 8)).astype(np.float32)
    return Logits(logits, position=position, nearness=nearness)


def test_the_distance_is_that_of_mahalanobis_to_the_nearest_centre() -> None:
    features, category = clusters(20_000)
    places = placed(scope.fit(features, category), features[:50])
    assert places.position is not None
    assert places.nearness is not None
    found = np.square(places.position).sum(axis=1) - 2 * places.nearness.max(axis=1)
    means = np.stack([features[category == kind].mean(axis=0) for kind in (2, 5, 7)])
    gaps = features[:50, None] - means
    within = features - means[np.searchsorted([2, 5, 7], category)]
    squared = np.einsum("nki,ij,nkj->nk", gaps, np.linalg.inv(within.T @ within / len(within)), gaps)
    np.testing.assert_allclose(found, squared.min(axis=1), rtol=0.06, atol=0.1)  # shrunk


def test_what_lies_off_where_rows_vary_little_is_out_of_scope_though_the_model_is_as_sure() -> None:
    fitted = scope.fit(*clusters(2000))
    known, category = clusters(1000, seed=1)
    none = np.full(1000, -1)
    policy = calibrate(placed(fitted, known), Answers(category, none, none), in_scope=0.98)

    def kept(features: NDArray[np.float32]) -> float:
        return float(policy.inside(*(placed(fitted, features)[n] for n in (0, 3, 4))).mean())

    assert kept(known) == 0.98
    assert 0.96 <= kept(clusters(1000, seed=2)[0]) <= 0.995
    assert kept(known + np.eye(WIDTH, dtype=np.float32)[0]) > 0.95  # a step where they vary much anyway
    assert kept(known + np.eye(WIDTH, dtype=np.float32)[5]) < 0.01  # the same step where they do not


def test_few_rows_or_a_share_of_one_leave_every_text_in_scope() -> None:
    fitted = scope.fit(*clusters(2000))
    features, category = clusters(100)
    none = np.full(100, -1)
    assert calibrate(placed(fitted, features), Answers(category, none, none), in_scope=0.98).scope is None
    features, category = clusters(1000)
    none = np.full(1000, -1)
    assert calibrate(placed(fitted, features), Answers(category, none, none)).scope is None
    assert Policy().inside(np.zeros((2, 3)), None, None).tolist() == [True, True]


def test_a_model_that_is_less_sure_is_nearer_to_the_edge() -> None:
    rule = ScopeRule(energy_scale=1.0, distance_scale=1.0, least=0.0)
    place = np.zeros((2, 4)), np.zeros((2, 3))
    sure, unsure = rule.score(np.array([[5.0, 0.0], [1.0, 0.0]]), *place)
    assert sure > unsure
    far, near = rule.score(np.zeros((2, 2)), np.array([[3.0], [1.0]]), np.zeros((2, 1)))
    assert near > far
