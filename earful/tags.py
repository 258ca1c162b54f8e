"""Tags: what tagging one feedback returns. The answer of `/classify` and, flattened, the columns of a scored file."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from earful.taxonomy import Urgency

Tier = Literal["high", "medium", "low"]
Head = Literal["category", "urgency"]
Outcome = Literal["tagged", "needs_review", "out_of_scope", "unsupported_language"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class CategoryTag(_Part):
    """The category, how sure the model is (calibrated), and what tier of trust that earns.

    `zero_shot` says that the model knows this category by the taxonomy's words alone.
    """

    name: str
    label: str
    confidence: float
    tier: Tier
    zero_shot: bool = False


class Alternative(_Part):
    """Another category that it might be."""

    name: str
    confidence: float


class PresentCategory(_Part):
    """A category that the feedback is about, first or among others; `probability` is that it is there at all."""

    name: str
    probability: float


class UrgencyTag(_Part):
    """The level; `score` places it on the whole scale (0 low, 1 critical); `confidence` is the level's probability.

    `reasons` are the taxonomy's rules that apply to the text. `raised_by` are those of them without which the level
    would be lower: there the model said less, and its confidence in the level is small.
    """

    level: Urgency
    score: float
    confidence: float
    reasons: list[str]
    raised_by: list[str]


class TopicTag(_Part):
    """The topic nearest to this feedback."""

    id: int
    label: str
    similarity: float


class Route(_Part):
    """Who owns the answer, and how soon it is due (ISO 8601; null where the model does not know the urgency)."""

    owner: str
    respond_within: str | None


class Evidence(_Part):
    """A span that carried an answer: `text[start:end]` of the text as sent, in Unicode code points.

    `weight` is by how much the answer's probability falls without it.
    """

    head: Head
    start: int
    end: int
    weight: float


class ModelRef(_Part):
    """Which model answered: registry version (null for a bundle folder), bundle digest, taxonomy version."""

    version: str | None
    bundle: str
    taxonomy: str

    @property
    def identity(self) -> str:
        """The version, or the bundle digest of a model that has none."""
        return self.version or self.bundle


class Tags(_Part):
    """Everything that tagging one feedback returns.

    `alternatives` are what the one category might be instead; `categories` all that are present, `category` first, or
    null when the model was trained without second categories.
    `urgency` is null when the model was trained without urgency labels, `topic` when there is no topic model,
    `evidence` unless it was asked for.
    """

    id: str | None
    category: CategoryTag
    alternatives: list[Alternative]
    categories: list[PresentCategory] | None
    urgency: UrgencyTag | None
    topic: TopicTag | None
    route: Route
    outcome: Outcome
    evidence: list[Evidence] | None = None
    model: ModelRef


FLAT_COLUMNS: dict[str, type] = {
    "tag_category": str,
    "tag_category_confidence": float,
    "tag_tier": str,
    "tag_urgency": str,
    "tag_urgency_score": float,
    "tag_urgency_reasons": str,
    "tag_topic_id": int,
    "tag_topic": str,
    "tag_outcome": str,
    "tag_owner": str,
    "tag_error": str,
    "tag_model": str,
}


def flat(tags: Tags) -> dict[str, Any]:
    """The columns that a scored file gains, in the order of `FLAT_COLUMNS`."""
    urgency, topic = tags.urgency, tags.topic
    values = (
        tags.category.name,
        tags.category.confidence,
        tags.category.tier,
        urgency.level if urgency else None,
        urgency.score if urgency else None,
        ", ".join(urgency.reasons) if urgency else None,
        topic.id if topic else None,
        topic.label if topic else None,
        tags.outcome,
        tags.route.owner,
        None,
        tags.model.version or tags.model.bundle,
    )
    return dict(zip(FLAT_COLUMNS, values, strict=True))


def flat_error(reason: str) -> dict[str, Any]:
    """The same columns for a row that could not be tagged: empty but for `tag_error`."""
    return {**dict.fromkeys(FLAT_COLUMNS), "tag_error": reason}
