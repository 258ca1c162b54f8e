import numpy as np

from training.calibrate import HIGH_PRECISION, MEDIUM_PRECISION, tiers


def test_each_tier_keeps_its_promise_on_its_own_answers() -> None:
    """Many sure and right answers above must not lend their precision to the guesses below."""
    confidence = np.linspace(1.0, 0.0, 400)
    correct = np.concatenate([np.ones(40), np.tile([1, 1, 1, 1, 1, 0], 10), np.tile([1, 0], 150)]).astype(bool)
    high, medium, low = tiers(confidence, correct)
    assert [rule.tier for rule in (high, medium, low)] == ["high", "medium", "low"]
    assert (high.precision or 0) >= HIGH_PRECISION
    assert (medium.precision or 0) >= MEDIUM_PRECISION
    assert high.rows + medium.rows + low.rows == 400
    assert low.min_confidence == 0


def test_a_tier_that_no_answers_bear_out_is_left_out() -> None:
    confidence = np.linspace(1.0, 0.0, 400)
    assert [rule.tier for rule in tiers(confidence, np.tile([True, False], 200))] == ["low"]
