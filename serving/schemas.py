"""What the service is sent and answers, beyond `Feedback` and `Tags` themselves."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from earful.tags import ModelRef, Tags
from earful.topics import Event, Topic, as_label
from serving.webhooks import Call


class BatchRequest(BaseModel):
    """Many feedbacks. Each is checked by itself, so that a bad one never fails the rest."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[Any], Field(min_length=1, description="Feedback objects, as for /classify.")]


class ItemError(BaseModel):
    """Why one item of a batch could not be tagged."""

    field: str
    reason: str


class BatchItem(BaseModel):
    """The answer to one item: tags, or what was wrong with it."""

    tags: Tags | None = None
    error: ItemError | None = None


class BatchResponse(BaseModel):
    """One answer for each item sent, in order."""

    items: list[BatchItem]


class TopicList(BaseModel):
    """Topics, and how good they are as a whole."""

    topics: list[Topic]
    metrics: dict[str, float]


class TopicDetail(Topic):
    """A topic with what became of it, oldest first."""

    lineage: list[Event]


class CandidateInfo(BaseModel):
    """What may become a topic: how many messages so far, from when to when, and the last of them, redacted.

    `times` as many lay together, when it was found, as among the messages that topics were fitted to.
    """

    id: int
    size: int
    times: float
    since: datetime
    until: datetime
    keywords: list[str]
    examples: list[str]


class CandidateList(BaseModel):
    """Candidates, the latest first."""

    candidates: list[CandidateInfo]


class NewTopic(BaseModel):
    """What a candidate is to be called."""

    model_config = ConfigDict(extra="forbid")

    label: Annotated[str, AfterValidator(as_label)]


class AcceptedTopic(BaseModel):
    """The topic that was made, the version of the model that has it, and whether that one is champion."""

    topic: int
    label: str
    version: str | None
    champion: bool


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ItemError] = []


class Health(BaseModel):
    """Whether the service is alive, or ready."""

    status: Literal["ok"]


class RefusedModel(BaseModel):
    """A model that was to take over, and why it did not."""

    model: str
    reason: str
    at: datetime


class ModelInfo(BaseModel):
    """The model that is answering, and the last one that was to take over from it and must not."""

    version: str | None
    bundle: str
    taxonomy: str
    base_model: str
    created_at: str
    run_id: str | None
    categories: list[str]
    urgencies: list[str]
    metrics: dict[str, float]
    tiers: list[dict[str, Any]]
    refused: RefusedModel | None


class DriftInfo(BaseModel):
    """The last answers beside those to the rows that the model was measured on, by population stability index.

    `indices` are of each thing compared, and empty until as many answers as `needed` were given; `changed` are those at
    the `threshold` or above.
    """

    answers: int
    needed: int
    rows: int
    threshold: float
    indices: dict[str, float]
    changed: list[str]


class Side(BaseModel):
    """What one of two models said."""

    category: str
    confidence: float
    urgency: str | None

    @classmethod
    def of(cls, tags: Tags) -> "Side":
        """The part of an answer that is compared."""
        urgency = tags.urgency.level if tags.urgency is not None else None
        return cls(category=tags.category.name, confidence=tags.category.confidence, urgency=urgency)


class Sides(BaseModel):
    """One message, redacted, that two models said different things of."""

    text: str
    answered: Side
    shadow: Side


class Comparison(BaseModel):
    """How a model in the shadow compares with the one that answers."""

    model: ModelRef
    share: float
    compared: int
    category_differs: int
    urgency_differs: int
    differing: list[Sides]


class Hooked(BaseModel):
    """The tags of a support tool's message, and the call that writes them back."""

    tags: Tags
    write_back: Call
