"""Calibration: temperatures and tiers, fitted on rows that the network was not trained on."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import beta
from sklearn.metrics import precision_recall_curve

from earful.language import detect
from earful.policy import Policy, ScopeRule, TierRule
from earful.tagger import Logits
from earful.taxonomy import URGENCIES
from training.sources import Example

HIGH_PRECISION, MEDIUM_PRECISION = 0.95, 0.80  # what the tiers promise
CRITICAL_PRECISION = 0.65  # of ten answers of "critical" more than six are: a false alarm costs less than a miss
SURE = 0.95  # how sure it must be, by the answers measured, that a promised precision is kept
UNREACHED = 1.01  # a confidence that no answer has
FEWEST_SCOPE_ROWS = 200  # the one or two least of fewer rows would be chance
FEWEST_ROWS = 20  # no cut is chosen on fewer rows
RARE_LANGUAGE = 0.01  # share of rows below which a language was not learned, or is a mistake
COLDEST, HOTTEST = -3.0, 3.0  # log temperature
SPREAD = 0.5  # of log temperatures before any row is seen: a handful of right answers must not make a model sure of all

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """Right answers by index, -1 where a row has none: `category`, `urgency` and `secondary` (n,)."""

    category: Ints
    urgency: Ints
    secondary: Ints


def answers(examples: Sequence[Example], categories: Sequence[str]) -> Answers:
    """The labels of examples as indices."""
    index = {name: n for n, name in enumerate(categories)}
    levels: dict[str | None, int] = {level: n for n, level in enumerate(URGENCIES)}
    return Answers(
        np.array([index.get(example.category or "", -1) for example in examples]),
        np.array([levels.get(example.urgency, -1) for example in examples]),
        np.array([index.get(example.secondary or "", -1) for example in examples]),
    )


def calibrate(
    logits: Logits, right: Answers, critical_recall: float | None = None, target_precision: float | None = None,
    in_scope: float = 1.0,
) -> Policy:  # fmt: skip
    """Temperatures by likelihood (Guo et al. 2017) and a prior around 1, then tiers and cuts by the calibrated answers.

    `critical_recall` is the share of critical rows that are to be called so, whatever false alarms that costs;
    `target_precision` how many of the answers that nobody reviews are to be right, in each category; `in_scope` the
    share of these rows that are to be in scope.
    """
    known = right.category >= 0
    temperature = _category_temperature(logits.category[known], right.category[known])
    policy = Policy(
        category_temperature=temperature,
        urgency_temperature=1.0 if logits.urgency is None else _urgency_temperature(logits.urgency, right.urgency),
    )
    if logits.urgency is not None:
        critical = policy.urgency(logits.urgency).probabilities[:, -1]
        cuts = _urgency_cuts(critical, right.urgency, critical_recall)
        policy = policy.model_copy(update={"urgency_cuts": cuts})
    if not known.any():  # of urgency alone: no confidence in a category says what needs review
        return policy.model_copy(update={"review_tiers": ()})
    probabilities = policy.category_probabilities(logits.category[known])
    first = probabilities.argmax(axis=1)
    if logits.present is not None:
        there = _there(right, logits.present.shape[1])[known]
        policy = policy.model_copy(update={"presence_temperature": _presence_temperature(logits.present[known], there)})
        cut = _presence_cut(policy.presence(logits.present[known]), first, there)
        policy = policy.model_copy(update={"presence_cut": cut})
    confidence, correct = probabilities.max(axis=1), first == right.category[known]
    earned: dict[str, object] = {"tiers": tiers(confidence, correct)}
    if target_precision is not None:
        earned["review_below"] = _review_below(confidence, correct, first, probabilities.shape[1], target_precision)
    earned["scope"] = _scope(logits, known, in_scope)
    return policy.model_copy(update=earned)


def _scope(logits: Logits, known: NDArray[np.bool_], share: float) -> ScopeRule | None:
    """The rule that leaves this share of the rows with a category in scope; None if all are to be, or rows are few."""
    if logits.position is None or logits.nearness is None or known.sum() < FEWEST_SCOPE_ROWS or share == 1.0:
        return None
    parts = logits.category[known], logits.position[known], logits.nearness[known]
    alone = [ScopeRule(energy_scale=a, distance_scale=b, least=0.0) for a, b in ((1.0, np.inf), (np.inf, 1.0))]
    energy, distance = (float(rule.score(*parts).std()) for rule in alone)
    rule = ScopeRule(energy_scale=energy, distance_scale=distance, least=0.0)
    return rule.model_copy(update={"least": float(np.quantile(rule.score(*parts), 1 - share))})


def _there(right: Answers, categories: int) -> NDArray[np.bool_]:
    """Which categories each row is about, first or second: (n, categories)."""
    every = np.arange(categories)
    found: NDArray[np.bool_] = (right.category[:, None] == every) | (right.secondary[:, None] == every)
    return found


def _presence_temperature(logits: NDArray[np.float32], there: NDArray[np.bool_]) -> float:
    def loss(log_temperature: float) -> float:
        found = Policy(presence_temperature=float(np.exp(log_temperature))).presence(logits)
        return float(-np.log(np.maximum(np.where(there, found, 1 - found), 1e-12)).mean())

    return _best(loss, len(there))


def _presence_cut(present: NDArray[np.float64], first: Ints, there: NDArray[np.bool_]) -> float:
    """How probable a category beside the first must be, for the best balance of found and false ones (F1)."""
    others = np.arange(there.shape[1]) != first[:, None]
    if there[others].sum() < FEWEST_ROWS:
        return Policy().presence_cut
    precision, recall, cuts = precision_recall_curve(there[others], present[others])
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(cuts[f1[:-1].argmax()])


def languages(examples: Sequence[Example]) -> tuple[str, ...]:
    """The languages that rows were surely written in, but those of fewer than one in a hundred; the commonest first."""
    found = Counter(filter(None, (detect(example.feedback.text) for example in examples)))
    return tuple(name for name, count in found.most_common() if count >= RARE_LANGUAGE * found.total())


def _urgency_cuts(critical: NDArray[np.float64], right: Ints, recall: float | None) -> tuple[float, float, float]:
    """Even odds for each level but the last: given as early as `recall` asks or `CRITICAL_PRECISION` allows."""
    known = right >= 0
    is_critical = right[known] == len(URGENCIES) - 1
    if recall is None:
        return 0.5, 0.5, min(0.5, _threshold(critical[known], is_critical, CRITICAL_PRECISION) or 0.5)
    if not is_critical.any():
        return 0.5, 0.5, 0.5
    return 0.5, 0.5, float(np.quantile(critical[known][is_critical], 1 - recall, method="lower"))


def _category_temperature(logits: NDArray[np.float32], right: Ints) -> float:
    def loss(log_temperature: float) -> float:
        policy = Policy(category_temperature=float(np.exp(log_temperature)))
        chosen = policy.category_probabilities(logits)[np.arange(len(right)), right]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    return _best(loss, len(right))


def _urgency_temperature(logits: NDArray[np.float32], right: Ints) -> float:
    known = right >= 0

    def loss(log_temperature: float) -> float:
        policy = Policy(urgency_temperature=float(np.exp(log_temperature)))
        chosen = policy.urgency(logits[known]).probabilities[np.arange(known.sum()), right[known]]
        return float(-np.log(np.maximum(chosen, 1e-12)).mean())

    return _best(loss, int(known.sum()))


def _best(loss: Callable[[float], float], rows: int) -> float:
    """The temperature with the least mean loss over so many rows, drawn towards 1 as a normal prior does.

    Of no rows it is 1.
    """
    if not rows:
        return 1.0

    def posterior(log_temperature: float) -> float:
        return loss(log_temperature) + (log_temperature / SPREAD) ** 2 / (2 * rows)

    found = minimize_scalar(posterior, bounds=(COLDEST, HOTTEST), method="bounded")
    return round(float(np.exp(found.x)), 4)


def tiers(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[TierRule, ...]:
    """Tiers from high to low: the lowest confidence from which a tier's own answers surely keep what it promises.

    A tier that the answers do not bear out is left out; what remains is low.
    """
    rules: list[TierRule] = []
    above = 1.0
    for tier, promise in (("high", HIGH_PRECISION), ("medium", MEDIUM_PRECISION)):
        left = confidence < above if rules else np.ones_like(correct)
        threshold = _sure_threshold(confidence[left], correct[left], promise)
        if threshold is not None:
            rules.append(_rule(tier, threshold, above, confidence, correct))
            above = threshold
    return (*rules, _rule("low", 0.0, above, confidence, correct))


def _review_below(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], first: Ints, categories: int, target: float
) -> tuple[float, ...]:
    """For each category the confidence from which its answers surely keep the target; of all, where it has too few."""
    of_all = _sure_threshold(confidence, correct, target) or UNREACHED
    found = []
    for mine in (first == k for k in range(categories)):
        enough = beta.ppf(1 - SURE, max(mine.sum(), 1), 1) >= target  # if every one were right
        found.append((_sure_threshold(confidence[mine], correct[mine], target) or UNREACHED) if enough else of_all)
    return tuple(found)


def _sure_threshold(confidence: NDArray[np.float64], correct: NDArray[np.bool_], promise: float) -> float | None:
    """The lowest confidence from which precision is at least `promise`, with probability `SURE`.

    By the lower bound of Clopper and Pearson (1934). The best of many thresholds looks better than it is: on other
    answers the promise is kept nine times in ten.
    """
    return _lowest(
        confidence, correct, lambda hits, n: beta.ppf(1 - SURE, np.maximum(hits, 1), n - hits + 1) >= promise
    )


def _threshold(confidence: NDArray[np.float64], correct: NDArray[np.bool_], promise: float) -> float | None:
    """The lowest confidence from which so many answers, `FEWEST_ROWS` at least, were right."""
    return _lowest(confidence, correct, lambda hits, n: (hits / n >= promise) & (n >= FEWEST_ROWS))


def _lowest(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], good: Callable[[Ints, Ints], NDArray[np.bool_]]
) -> float | None:
    """The lowest confidence from which answers are `good`, by how many are right and how many there are."""
    order = np.argsort(-confidence, kind="stable")
    found = np.flatnonzero(good(np.cumsum(correct[order]), np.arange(1, len(order) + 1)))
    return float(confidence[order][found[-1]]) if len(found) else None


def _rule(tier: str, low: float, high: float, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> TierRule:
    inside = (confidence >= low) & ((confidence < high) | (high == 1.0))
    rows = int(inside.sum())
    precision = round(float(correct[inside].mean()), 4) if rows else None
    return TierRule.model_validate({"tier": tier, "min_confidence": low, "precision": precision, "rows": rows})
