import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pydantic import ValidationError

from earful.policy import Policy, TierRule
from earful.taxonomy import URGENCIES

LOGIT = st.floats(-1e4, 1e4, width=32)
CATEGORY_LOGITS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=LOGIT)
TEMPERATURE = st.floats(0.05, 20.0)


@st.composite
def urgency_logits(draw: st.DrawFn) -> NDArray[np.float32]:
    """Cumulative log odds, which fall from left to right."""
    logits = draw(arrays(np.float32, st.tuples(st.integers(1, 5), st.just(3)), elements=LOGIT))
    return -np.sort(-logits, axis=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"category_temperature": 0},
        {"urgency_temperature": -1},
        {"tiers": []},
        {"tiers": [{"tier": "low", "min_confidence": 0.5, "precision": None, "rows": 0}]},
    ],
)
def test_a_policy_that_could_not_answer_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate(wrong)


TIERS = Policy(
    tiers=(
        TierRule(tier="high", min_confidence=0.9, precision=0.97, rows=100),
        TierRule(tier="medium", min_confidence=0.6, precision=0.8, rows=50),
        TierRule(tier="low", min_confidence=0.0, precision=0.4, rows=20),
    )
)


@settings(deadline=None)
@given(CATEGORY_LOGITS, TEMPERATURE)
def test_category_probabilities_sum_to_one_in_the_order_of_the_logits(
    logits: NDArray[np.float32], temperature: float
) -> None:
    probabilities = Policy(category_temperature=temperature).category_probabilities(logits)
    assert probabilities.shape == logits.shape
    assert np.all((probabilities >= 0) & (probabilities <= 1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    rows = np.arange(len(logits))
    assert np.all(probabilities[rows, logits.argmax(axis=1)] == probabilities.max(axis=1))


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.array([[np.log(9.0), 0.0]])
    np.testing.assert_allclose(Policy().category_probabilities(logits), [[0.9, 0.1]])
    np.testing.assert_allclose(Policy(category_temperature=2.0).category_probabilities(logits), [[0.75, 0.25]])


@settings(deadline=None)
@given(urgency_logits(), TEMPERATURE)
def test_urgency_probabilities_sum_to_one_and_agree_with_the_score(
    logits: NDArray[np.float32], temperature: float
) -> None:
    found = Policy(urgency_temperature=temperature).urgency(logits)
    assert np.all((found.probabilities >= 0) & (found.probabilities <= 1))
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0)
    expected = found.probabilities @ np.arange(len(URGENCIES)) / (len(URGENCIES) - 1)
    np.testing.assert_allclose(found.score, expected, atol=1e-12)


@settings(deadline=None)
@given(urgency_logits(), st.tuples(*[st.floats(0.05, 0.95)] * 3))
def test_the_highest_level_whose_cut_is_passed_is_given(
    logits: NDArray[np.float32], cuts: tuple[float, float, float]
) -> None:
    found = Policy(urgency_cuts=cuts).urgency(logits)
    for level, row in zip(found.level, logits, strict=True):
        above = 1 / (1 + np.exp(-np.clip(row.astype(np.float64), -60, 60)))
        assert level == 0 or above[level - 1] >= cuts[level - 1]
        assert all(above[k] < cuts[k] for k in range(level, 3))


@pytest.mark.parametrize(
    ("above", "cuts", "level"),
    [
        ((0.4, 0.2, 0.1), (0.5, 0.5, 0.5), "low"),
        ((0.9, 0.2, 0.1), (0.5, 0.5, 0.5), "normal"),
        ((0.9, 0.8, 0.1), (0.5, 0.5, 0.5), "high"),
        ((0.9, 0.8, 0.7), (0.5, 0.5, 0.5), "critical"),
        ((0.9, 0.8, 0.2), (0.5, 0.5, 0.15), "critical"),  # a lower cut errs on the side of care
        ((0.4, 0.3, 0.2), (0.5, 0.5, 0.1), "critical"),  # also where no other level has even odds
    ],
)
def test_urgency_is_decided_from_cumulative_logits(
    above: tuple[float, ...], cuts: tuple[float, float, float], level: str
) -> None:
    odds = np.array([above]) / (1 - np.array([above]))
    found = Policy(urgency_cuts=cuts).urgency(np.log(odds))
    assert URGENCIES[found.level[0]] == level
    np.testing.assert_allclose(found.score, [sum(above) / 3])
    np.testing.assert_allclose(found.probabilities[0], -np.diff([1.0, *above, 0.0]))


def test_a_floor_raises_a_level_and_lowers_none() -> None:
    odds = np.array([[9.0, 9.0, -9.0], [-9.0, -9.0, -9.0], [9.0, 9.0, 9.0]])
    found = Policy().urgency(odds, floors=[3, 1, 0])
    assert found.level.tolist() == [3, 1, 3]
    assert found.unraised.tolist() == [2, 0, 3]


@pytest.mark.parametrize(
    ("confidence", "tier", "outcome"),
    [
        (1.0, "high", "tagged"),
        (0.9, "high", "tagged"),
        (0.8999, "medium", "tagged"),
        (0.6, "medium", "tagged"),
        (0.5999, "low", "needs_review"),
        (0.0, "low", "needs_review"),
    ],
)
def test_confidence_earns_a_tier_and_the_tier_decides_the_outcome(confidence: float, tier: str, outcome: str) -> None:
    assert TIERS.tier(0, confidence) == tier
    assert TIERS.outcome(0, confidence) == outcome


def test_which_tiers_are_reviewed_is_the_policy_s_to_say() -> None:
    cautious = TIERS.model_copy(update={"review_tiers": ("medium", "low")})
    assert [cautious.outcome(0, rule.min_confidence) for rule in cautious.tiers] == [
        "tagged",
        "needs_review",
        "needs_review",
    ]


def test_a_category_may_have_a_confidence_of_its_own_from_which_nobody_reviews() -> None:
    policy = TIERS.model_copy(update={"review_below": (0.3, 0.95)})
    assert [policy.outcome(k, 0.5) for k in (0, 1)] == ["tagged", "needs_review"]
    assert policy.outcome(0, 0.2) == "needs_review"


def test_a_category_that_no_row_had_is_never_trusted_unseen() -> None:
    for policy in (TIERS, TIERS.model_copy(update={"review_below": (0.3, 0.3)})):
        unseen = policy.model_copy(update={"zero_shot": (1,)})
        assert (unseen.tier(1, 1.0), unseen.outcome(1, 1.0)) == ("low", "needs_review")
        assert (unseen.tier(0, 1.0), unseen.outcome(0, 1.0)) == ("high", "tagged")


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_more_confidence_never_earns_a_worse_tier(one: float, other: float) -> None:
    order = [rule.tier for rule in TIERS.tiers]
    low, high = sorted((one, other))
    assert order.index(TIERS.tier(0, high)) <= order.index(TIERS.tier(0, low))


def test_a_policy_is_the_same_after_writing_and_reading() -> None:
    assert Policy.model_validate_json(TIERS.model_dump_json()) == TIERS


@pytest.mark.parametrize(
    ("languages", "language", "outcome"),
    [
        (("en", "fr"), "fr", "tagged"), (("en",), "fr", "unsupported_language"), (("en",), None, "tagged"),
        ((), "fr", "tagged"),
    ],
)  # fmt: skip
def test_a_language_that_was_not_learned_is_not_supported(
    languages: tuple[str, ...], language: str | None, outcome: str
) -> None:
    assert Policy(languages=languages, review_tiers=()).outcome(0, 0.9, language) == outcome


def test_what_is_out_of_scope_is_not_reviewed_as_what_is_in_it_and_a_foreign_language_comes_first() -> None:
    policy = TIERS.model_copy(update={"languages": ("en",)})
    assert [policy.outcome(0, confidence, "en", inside=False) for confidence in (0.1, 0.95)] == ["out_of_scope"] * 2
    assert policy.outcome(0, 0.95, "fr", inside=False) == "unsupported_language"


def test_present_are_the_first_category_and_all_that_pass_the_cut() -> None:
    policy = Policy(presence_temperature=2.0, presence_cut=0.6)
    probabilities = policy.presence(np.log([[9.0, 1.0, 81.0, 4.0]]))
    np.testing.assert_allclose(probabilities, [[0.75, 0.5, 0.9, 2 / 3]])
    assert policy.present(probabilities[0], 1) == [1, 2, 0, 3]
    assert policy.present(probabilities[0], 0) == [0, 2, 3]
