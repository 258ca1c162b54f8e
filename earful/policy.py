"""The policy: how a model's raw answers become decisions. The one place where a threshold is applied."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from earful.tags import Outcome, Tier
from earful.taxonomy import URGENCIES

Floats = NDArray[np.float64]
Raw = NDArray[np.floating]


class TierRule(BaseModel):
    """Answers at or above `min_confidence` belong to `tier`; `precision` is what was measured on `rows` answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: Tier
    min_confidence: float
    precision: float | None
    rows: int


class ScopeRule(BaseModel):
    """A text scores `energy / energy_scale - distance / distance_scale`; below `least` it is out of scope.

    The energy is the log of the sum of the category logits' exponents (Liu et al. 2020), the distance the squared one
    to the nearest centre of a category. Each has as its scale how far it spreads over rows of the kind learned from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    energy_scale: Annotated[float, Field(gt=0)]
    distance_scale: Annotated[float, Field(gt=0)]
    least: float

    def score(self, category: Raw, position: Raw, nearness: Raw) -> Floats:
        """How much each text is like those learned from (n,); see `earful.tagger.Logits` for the arguments."""
        energy = np.logaddexp.reduce(category.astype(np.float64), axis=1)
        distance = np.square(position.astype(np.float64)).sum(axis=1) - 2 * nearness.max(axis=1)
        found: Floats = energy / self.energy_scale - distance / self.distance_scale
        return found


class Policy(BaseModel):
    """Temperatures and thresholds, fitted on rows that the network was not trained on.

    `urgency_cuts[k]` is how probable a level above k must be for it to be given, `presence_cut` how probable a category
    must be to be listed beside the first. `tiers` run from high to low, the last one from 0; an answer in
    `review_tiers` is `needs_review`. `languages` are those that the model learned from, as `earful.language.detect`
    names them; none means that they are not known. `review_below`, if it is not empty, decides instead of
    `review_tiers`: for each category, in their order, the confidence below which an answer is `needs_review`. Without
    `scope` no text is out of it. The categories in `zero_shot`, by index, are those that no labelled row had: nothing
    has shown how often such answers are right, so they are in the last tier and `needs_review`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    category_temperature: Annotated[float, Field(gt=0)] = 1.0
    urgency_temperature: Annotated[float, Field(gt=0)] = 1.0
    urgency_cuts: tuple[float, float, float] = (0.5, 0.5, 0.5)
    presence_temperature: Annotated[float, Field(gt=0)] = 1.0
    presence_cut: float = 0.5
    tiers: tuple[TierRule, ...] = (TierRule(tier="low", min_confidence=0.0, precision=None, rows=0),)
    review_tiers: tuple[Tier, ...] = ("low",)
    review_below: tuple[float, ...] = ()
    languages: tuple[str, ...] = ()
    scope: ScopeRule | None = None
    zero_shot: tuple[int, ...] = ()

    @field_validator("tiers")
    @classmethod
    def _every_confidence_has_a_tier(cls, tiers: tuple[TierRule, ...]) -> tuple[TierRule, ...]:
        starts = [rule.min_confidence for rule in tiers]
        if starts != sorted(starts, reverse=True) or not starts or starts[-1] != 0.0:
            raise PydanticCustomError("tiers", "must run from high to low, the last one from 0")
        return tiers

    def tier(self, category: int, confidence: float) -> Tier:
        """The best tier that an answer earns."""
        if category in self.zero_shot:
            return self.tiers[-1].tier
        return next(rule.tier for rule in self.tiers if confidence >= rule.min_confidence)

    def inside(self, category: Raw, position: Raw | None, nearness: Raw | None) -> NDArray[np.bool_]:
        """Which texts (n,) are in scope; see `earful.tagger.Logits` for the arguments."""
        if self.scope is None or position is None or nearness is None:
            return np.ones(len(category), dtype=bool)
        kept: NDArray[np.bool_] = self.scope.score(category, position, nearness) >= self.scope.least
        return kept

    def outcome(self, category: int, confidence: float, language: str | None = None, inside: bool = True) -> Outcome:
        """Whether an answer to a text, in that language (None: not known) and in scope, may be acted on unseen."""
        if language and self.languages and language not in self.languages:
            return "unsupported_language"
        if not inside:
            return "out_of_scope"
        if category in self.zero_shot:
            return "needs_review"
        if self.review_below:
            return "needs_review" if confidence < self.review_below[category] else "tagged"
        return "needs_review" if self.tier(category, confidence) in self.review_tiers else "tagged"

    def category_probabilities(self, logits: Raw) -> Floats:
        """Calibrated probabilities (n, categories) from logits of the same shape."""
        scaled = logits.astype(np.float64) / self.category_temperature
        exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        result: Floats = exponents / exponents.sum(axis=1, keepdims=True)
        return result

    def presence(self, logits: Raw) -> Floats:
        """Calibrated probabilities (n, categories), each by itself, from log odds of the same shape."""
        return _logistic(logits.astype(np.float64) / self.presence_temperature)

    def present(self, probabilities: Floats, first: int) -> list[int]:
        """The categories that are present, `first` first and then the most probable: (categories,) → indices."""
        others = (int(k) for k in np.argsort(-probabilities, kind="stable") if k != first)
        return [first, *(k for k in others if probabilities[k] >= self.presence_cut)]

    def urgency(self, logits: Raw, floors: Sequence[int] = ()) -> "UrgencyDecisions":
        """Levels from cumulative log odds (n, levels - 1), none below its floor (n,), if there are floors."""
        above = _logistic(logits.astype(np.float64) / self.urgency_temperature)
        edges = np.hstack([np.ones((len(above), 1)), above, np.zeros((len(above), 1))])
        probabilities = edges[:, :-1] - edges[:, 1:]
        passed = above >= np.array(self.urgency_cuts)
        level = (passed * np.arange(1, len(URGENCIES))).max(axis=1)  # the highest level whose cut is passed
        raised = np.maximum(level, floors) if len(floors) else level
        return UrgencyDecisions(raised, above.sum(axis=1) / (len(URGENCIES) - 1), probabilities, level)


def _logistic(log_odds: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -60, 60)))
    return result


class UrgencyDecisions(NamedTuple):
    """`level` (n,) indexes `URGENCIES`; `score` (n,) is the expected level, 0 to 1; `probabilities` is (n, levels).

    `unraised` (n,) is the level that the model alone would give.
    """

    level: NDArray[np.int64]
    score: Floats
    probabilities: Floats
    unraised: NDArray[np.int64]
