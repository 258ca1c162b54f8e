"""Evaluation: how good a bundle is on labelled feedback, through the same Tagger that serves."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, precision_recall_fscore_support

from earful import drift
from earful.drift import Reference
from earful.policy import Policy
from earful.tagger import Logits, Tagger
from earful.taxonomy import URGENCIES, Taxonomy, floor
from earful.text import normalise
from training.calibrate import Answers, answers
from training.sources import Example

ECE_BINS = 15  # Guo et al. 2017
CHUNK = 2048  # feedback per call, so that progress can be shown
WORST = 50
MISTAKE_CHARS = 300
HIGH, CRITICAL = URGENCIES.index("high"), URGENCIES.index("critical")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassMetrics(_Part):
    """How well one category is told apart; `rows` is how often it is right."""

    precision: float
    recall: float
    f1: float
    rows: int


class GroupMetrics(_Part):
    """Accuracy of category and urgency in one channel or one tier; None where there was nothing to measure."""

    category_accuracy: float | None
    urgency_accuracy: float | None
    rows: int


class Mistake(_Part):
    """A wrong answer, the surest first; `text` is its beginning."""

    source: str
    row: int
    text: str
    right: str
    answered: str
    confidence: float


class Report(_Part):
    """Everything measured. `metrics` are the figures of the whole; figures of a head without labels are left out."""

    rows: int
    metrics: dict[str, float]
    by_category: dict[str, ClassMetrics]
    by_channel: dict[str, GroupMetrics]
    by_tier: dict[str, GroupMetrics]
    mistakes: tuple[Mistake, ...]


class Answered(_Part):
    """A bundle's answers: probabilities (n, categories), urgency level, and probabilities (n, levels), or None.

    `tagged` (n,) says which answers need no review, `inside` (n,) which texts are in scope, `listed` (n, categories)
    which categories are said to be present, the first one included.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    category: Floats
    tagged: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    level: Ints | None
    urgency: Floats | None
    listed: NDArray[np.bool_] | None = None


def run(tagger: Tagger, examples: Sequence[Example], progress: Callable[[int], None] = lambda _: None) -> Logits:
    """The bundle's raw answers; `progress` is told how many more are done."""
    parts = []
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        parts.append(tagger.logits([example.feedback.text for example in chunk]))
        progress(len(chunk))
    return Logits(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0].parts})


def answer(logits: Logits, policy: Policy, floors: Sequence[int] = ()) -> Answered:
    """Raw answers as a policy decides them; `floors` (n,) are the levels that the taxonomy's rules ask for, if any."""
    decided = None if logits.urgency is None else policy.urgency(logits.urgency, floors)
    categories = policy.category_probabilities(logits.category)
    inside = policy.inside(logits.category, logits.position, logits.nearness)
    best = zip(categories.argmax(axis=1), categories.max(axis=1), inside, strict=True)
    outcomes = [policy.outcome(int(k), float(confidence), inside=bool(within)) for k, confidence, within in best]
    return Answered(
        category=categories,
        tagged=np.array([outcome == "tagged" for outcome in outcomes], dtype=bool),
        inside=inside,
        listed=None if logits.present is None else _listed(policy.presence(logits.present), categories, policy),
        level=None if decided is None else decided.level,
        urgency=None if decided is None else decided.probabilities,
    )


def _listed(present: Floats, categories: Floats, policy: Policy) -> NDArray[np.bool_]:
    found = np.zeros(present.shape, dtype=bool)
    for n, first in enumerate(categories.argmax(axis=1)):
        found[n, policy.present(present[n], int(first))] = True
    return found


def floors(taxonomy: Taxonomy, examples: Sequence[Example]) -> list[int]:
    """The levels below which the taxonomy's rules let no example fall."""
    return [floor(taxonomy.reasons(normalise(example.feedback.text))) for example in examples]


def reference(answered: Answered, names: Sequence[str], examples: Sequence[Example]) -> Reference:
    """What the rows that were measured on are like, by a bundle's own answers."""
    best, confidence = answered.category.argmax(axis=1), answered.category.max(axis=1)
    levels = [None] * len(best) if answered.level is None else [URGENCIES[level] for level in answered.level]
    return drift.reference(
        drift.facts(example.feedback.text, names[k], float(sure), level)
        for example, k, sure, level in zip(examples, best, confidence, levels, strict=True)
    )


def report(answered: Answered, policy: Policy, names: Sequence[str], examples: Sequence[Example]) -> Report:
    """Measure what a policy decided against the labels; `names` are the categories in their order."""
    right = answers(examples, names)
    chosen = zip(answered.category.argmax(axis=1), answered.category.max(axis=1), strict=True)
    tiers = [policy.tier(int(category), confidence) for category, confidence in chosen]
    channels = [example.feedback.channel or "unknown" for example in examples]
    return Report(
        rows=len(examples),
        metrics=metrics(answered, right),
        by_category=_by_category(answered, right, names),
        by_channel=_by_group(answered, right, channels),
        by_tier=_by_group(answered, right, tiers),
        mistakes=_mistakes(answered, right, examples, names),
    )


def metrics(answered: Answered, right: Answers) -> dict[str, float]:
    """Accuracy, macro-F1 and calibration error of the category; kappa, recalls and calibration error of the urgency."""
    found: dict[str, float] = {}
    known = right.category >= 0
    if known.any():
        truth, probabilities = right.category[known], answered.category[known]
        chosen = probabilities.argmax(axis=1)
        found["category_accuracy"] = float(accuracy_score(truth, chosen))
        found["category_macro_f1"] = float(f1_score(truth, chosen, average="macro", labels=np.unique(truth)))
        found["category_ece"] = calibration_error(probabilities.max(axis=1), chosen == truth)
        found["category_in_scope_share"] = float(answered.inside[known].mean())
        tagged = answered.tagged[known]
        found["category_tagged_share"] = float(tagged.mean())
        if tagged.any():
            found["category_tagged_precision"] = float((chosen == truth)[tagged].mean())
    if answered.listed is not None and (right.secondary >= 0).any():
        found |= _secondary_metrics(answered.listed, answered.category.argmax(axis=1), right)
    known = right.urgency >= 0
    if answered.level is not None and answered.urgency is not None and known.any():
        found |= _urgency_metrics(answered.level[known], answered.urgency[known], right.urgency[known])
    return {name: round(value, 4) for name, value in found.items()}


def _secondary_metrics(listed: NDArray[np.bool_], first: Ints, right: Answers) -> dict[str, float]:
    """How many second categories are listed; how many of those listed beside the first are there, first or second."""
    second = np.flatnonzero(right.secondary >= 0)
    found = {"secondary_recall": float(listed[second, right.secondary[second]].mean())}
    rows, others = np.nonzero(listed & (np.arange(listed.shape[1]) != first[:, None]))
    if len(rows):
        there = (others == right.secondary[rows]) | (others == right.category[rows])
        found["secondary_precision"] = float(there.mean())
    return found


def _urgency_metrics(level: Ints, probabilities: Floats, truth: Ints) -> dict[str, float]:
    every = list(range(len(URGENCIES)))
    confidence = probabilities[np.arange(len(level)), level]
    found = {
        "urgency_accuracy": float(accuracy_score(truth, level)),
        "urgency_ece": calibration_error(confidence, level == truth),
    }
    if len(set(truth)) > 1:  # kappa of a single level is undefined
        found["urgency_kappa"] = float(cohen_kappa_score(truth, level, weights="quadratic", labels=every))
    for name, least in (("high", HIGH), ("critical", CRITICAL)):
        if (truth >= least).any():
            found[f"urgency_recall_{name}"] = float((level[truth >= least] >= least).mean())
        if (level >= least).any():
            found[f"urgency_precision_{name}"] = float((truth[level >= least] >= least).mean())
    return found


def calibration_error(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over `ECE_BINS` equal bins."""
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = [abs(confidence[bins == n].mean() - correct[bins == n].mean()) * (bins == n).mean() for n in np.unique(bins)]
    return float(sum(gaps))


def _by_category(answered: Answered, right: Answers, names: Sequence[str]) -> dict[str, ClassMetrics]:
    known = right.category >= 0
    if not known.any():
        return {}
    truth, chosen = right.category[known], answered.category[known].argmax(axis=1)
    every = list(range(len(names)))
    columns = precision_recall_fscore_support(truth, chosen, labels=every, zero_division=0.0)
    return {
        names[n]: ClassMetrics(precision=round(p, 4), recall=round(r, 4), f1=round(f, 4), rows=int(rows))
        for n, (p, r, f, rows) in enumerate(zip(*columns, strict=True))
        if rows
    }


def _by_group(answered: Answered, right: Answers, groups: Sequence[str]) -> dict[str, GroupMetrics]:
    labels = np.array(groups)
    return {group: _group(answered, right, labels == group) for group in sorted(set(groups))}


def _group(answered: Answered, right: Answers, inside: NDArray[np.bool_]) -> GroupMetrics:
    category, urgency = inside & (right.category >= 0), inside & (right.urgency >= 0)
    chosen = answered.category.argmax(axis=1)
    return GroupMetrics(
        category_accuracy=_share(chosen[category] == right.category[category]),
        urgency_accuracy=None if answered.level is None else _share(answered.level[urgency] == right.urgency[urgency]),
        rows=int(inside.sum()),
    )


def _share(hits: NDArray[np.bool_]) -> float | None:
    return round(float(hits.mean()), 4) if len(hits) else None


def _mistakes(
    answered: Answered, right: Answers, examples: Sequence[Example], names: Sequence[str]
) -> tuple[Mistake, ...]:
    chosen, confidence = answered.category.argmax(axis=1), answered.category.max(axis=1)
    wrong = np.flatnonzero((right.category >= 0) & (chosen != right.category))
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:WORST]
    return tuple(
        Mistake(
            source=examples[n].source,
            row=examples[n].row,
            text=examples[n].feedback.text[:MISTAKE_CHARS],
            right=names[right.category[n]],
            answered=names[chosen[n]],
            confidence=round(float(confidence[n]), 4),
        )
        for n in worst
    )
