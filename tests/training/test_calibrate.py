import numpy as np
import pytest
from numpy.typing import NDArray

from earful.policy import Policy
from earful.tagger import Logits
from training.calibrate import (
    CRITICAL_PRECISION,
    HIGH_PRECISION,
    MEDIUM_PRECISION,
    UNREACHED,
    Answers,
    calibrate,
    tiers,
)


def answered(rows: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Answers that are right as often as they are confident."""
    random = np.random.default_rng(seed)
    confidence = random.beta(4, 1, size=rows)
    return confidence, random.random(rows) < confidence


def test_each_tier_keeps_its_promise_on_its_own_answers() -> None:
    """Many sure and right answers above must not lend their precision to the guesses below."""
    confidence = np.linspace(1.0, 0.0, 800)
    correct = np.concatenate([np.ones(100), np.tile([1, 1, 1, 1, 1, 1, 0], 30), np.tile([1, 0], 245)]).astype(bool)
    high, medium, low = tiers(confidence, correct)
    assert [rule.tier for rule in (high, medium, low)] == ["high", "medium", "low"]
    assert (high.precision or 0) >= HIGH_PRECISION
    assert (medium.precision or 0) >= MEDIUM_PRECISION
    assert high.rows + medium.rows + low.rows == 800
    assert low.min_confidence == 0


@pytest.mark.parametrize("rows", [300, 2000])
def test_a_tier_keeps_its_promise_on_answers_that_set_no_threshold(rows: int) -> None:
    """The best of many thresholds looks better than it is: nine times in ten the promise is to hold all the same."""
    confidence, correct = answered(100_000, seed=0)
    kept = []
    for seed in range(1, 101):
        high, *_ = tiers(*answered(rows, seed))
        kept.append(high.tier != "high" or correct[confidence >= high.min_confidence].mean() >= HIGH_PRECISION)
    assert np.mean(kept) >= 0.85


@pytest.mark.parametrize(("rows", "least", "most"), [(20, 0.25, 0.9), (5000, 0.05, 0.2)])
def test_few_right_answers_do_not_make_a_model_sure_of_everything(rows: int, least: float, most: float) -> None:
    first = np.arange(rows) % 3
    right = np.where(np.arange(rows) % 100 == 99, (first + 1) % 3, first)  # one in a hundred is wrong
    none = np.full(rows, -1)
    policy = calibrate(Logits(np.eye(3, dtype=np.float32)[first]), Answers(right, none, none))
    assert least <= policy.category_temperature <= most


def sorted_out(rows: int) -> tuple[Logits, Answers]:
    """Two categories, answered by turns: the first always right, the second by confidence; every tenth row a third."""
    random = np.random.default_rng(2)
    first = np.where(np.arange(rows) % 10 == 0, 2, np.arange(rows) % 2)
    strength = random.uniform(1, 6, size=rows)
    right = np.where((first == 1) & (random.random(rows) > strength / 5), 0, first)
    logits = (strength[:, None] * np.eye(3)[first]).astype(np.float32)
    return Logits(logits, None), Answers(right, np.full(rows, -1), np.full(rows, -1))


def test_each_category_is_reviewed_below_the_confidence_that_keeps_the_target() -> None:
    logits, right = sorted_out(2000)
    policy = calibrate(logits, right, target_precision=0.9)
    probabilities = policy.category_probabilities(logits.category)
    tagged = np.array([policy.outcome(int(row.argmax()), float(row.max())) == "tagged" for row in probabilities])
    chosen = probabilities.argmax(axis=1)
    assert tagged[chosen == 0].all()
    assert 0 < tagged[chosen == 1].mean() < 0.8
    assert (chosen == right.category)[tagged & (chosen == 1)].mean() >= 0.9


def test_a_category_with_few_answers_takes_the_confidence_of_all() -> None:
    """With a hundred rows no category can bear out 99 in a hundred, so none is tagged unseen."""
    assert calibrate(*sorted_out(100), target_precision=0.99).review_below == (UNREACHED,) * 3


def test_a_tier_that_no_answers_bear_out_is_left_out() -> None:
    confidence = np.linspace(1.0, 0.0, 400)
    assert [rule.tier for rule in tiers(confidence, np.tile([True, False], 200))] == ["low"]


def rows(signal: float) -> tuple[Logits, Answers]:
    """600 rows, a sixth of them critical, whose urgency logits tell the level with `signal` against unit noise."""
    random = np.random.default_rng(0)
    urgency = np.repeat([0, 1, 2, 3], [200, 200, 100, 100])
    score = signal * urgency + random.normal(size=600)
    cuts = signal * np.array([0.5, 1.5, 2.5])
    logits = Logits(np.zeros((600, 2), np.float32), (score[:, None] - cuts).astype(np.float32))
    return logits, Answers(np.zeros(600, np.int64), urgency, np.full(600, -1))


def found(policy: Policy, logits: Logits) -> NDArray[np.bool_]:
    assert logits.urgency is not None
    return policy.urgency(logits.urgency).level == 3


def test_critical_is_given_as_early_as_its_precision_allows() -> None:
    logits, right = rows(signal=1.5)
    policy = calibrate(logits, right)
    critical = right.urgency == 3
    early, even = found(policy, logits), found(policy.model_copy(update={"urgency_cuts": (0.5, 0.5, 0.5)}), logits)
    assert policy.urgency_cuts[:2] == (0.5, 0.5)
    assert critical[early].mean() >= CRITICAL_PRECISION
    assert early[critical].mean() > even[critical].mean() + 0.05


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.99, 1.0])
def test_as_many_are_called_critical_as_were_asked_for(recall: float) -> None:
    logits, right = rows(signal=1.5)
    called = found(calibrate(logits, right, recall), logits)
    assert recall <= called[right.urgency == 3].mean() <= recall + 0.02


def test_critical_is_never_given_later_than_at_even_odds() -> None:
    """Where no cut keeps the precision, missing one is still worse than a false alarm."""
    policy = calibrate(*rows(signal=0.0))
    assert policy.urgency_cuts == (0.5, 0.5, 0.5)


def listing(rows: int) -> tuple[Logits, Answers]:
    """Rows of three categories, each about the next one too half of the time; log odds that tell so, but timidly."""
    random = np.random.default_rng(1)
    first = random.integers(3, size=rows)
    second = np.where(random.random(rows) < 0.5, (first + 1) % 3, -1)
    odds = np.full((rows, 3), -4.0) + random.normal(scale=0.5, size=(rows, 3))
    odds[second >= 0, second[second >= 0]] += 1.5
    odds[np.arange(rows), first] = 4.0
    logits = Logits(10 * np.eye(3, dtype=np.float32)[first], None, odds.astype(np.float32))
    return logits, Answers(first, np.full(rows, -1), second)


def test_a_second_category_is_listed_from_where_most_are_right_and_few_are_missed() -> None:
    logits, right = listing(400)
    assert logits.present is not None
    policy = calibrate(logits, right)
    listed = [
        set(policy.present(row, int(k))) for row, k in zip(policy.presence(logits.present), right.category, strict=True)
    ]
    wanted = [{int(k), int(s)} - {-1} for k, s in zip(right.category, right.secondary, strict=True)]
    assert np.mean([a == b for a, b in zip(listed, wanted, strict=True)]) > 0.8


def test_too_few_second_categories_decide_nothing() -> None:
    assert calibrate(*listing(20)).presence_cut == 0.5
