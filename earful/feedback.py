"""Feedback: one thing one customer said. The one record that training, serving and scoring read."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from earful.errors import FeedbackError
from earful.text import normalise

Channel = Literal[
    "email", "phone", "ivr", "chat", "cobrowse", "sms", "social", "review", "survey", "web_form", "app", "mail", "fax",
    "point_of_sale", "kiosk", "field", "other",
]  # fmt: skip
LONGEST_PLACE = 100  # characters of the way to a field at fault, which may lie a thousand levels deep
MAX_TEXT_CHARS = 100_000  # about forty pages; the longest complaint we have met has 33,000


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError("nul", "contains a NUL character; send text, not bytes")
    return text


def _taggable(text: str) -> str:
    if not normalise(_without_nul(text)):
        raise PydanticCustomError("empty", "is empty; there is nothing to tag")
    return text


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _valid_json(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        reason = "holds NaN, Infinity or half of a surrogate pair, which are not valid JSON"
        raise PydanticCustomError("not_json", reason) from None
    return metadata


Identifier = Annotated[str, StringConstraints(max_length=500), AfterValidator(_without_nul)]


class Feedback(BaseModel):
    """One feedback. Only `text` is required; `text` is kept as it was sent.

    A `created_at` without a zone is taken as UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(max_length=MAX_TEXT_CHARS, strict=True), AfterValidator(_taggable)]  # strict: no bytes
    id: Identifier | None = None
    channel: Channel | None = None
    created_at: Annotated[datetime, AfterValidator(_in_utc)] | None = None
    customer_id: Identifier | None = None
    product: Identifier | None = None
    rating: Annotated[float, Field(allow_inf_nan=False, strict=True)] | None = None
    language: Annotated[str, StringConstraints(max_length=35)] | None = None  # BCP 47 tags are at most 35 long
    metadata: Annotated[dict[str, JsonValue], AfterValidator(_valid_json)] = {}


def parse(values: Mapping[str, Any]) -> Feedback:
    """Validate one record. Raises `FeedbackError` naming the first field at fault and what is wrong with it."""
    if isinstance(values, Mapping) and (unknown := [name for name in values if name not in Feedback.model_fields]):
        raise describe({"type": "extra_forbidden", "loc": (unknown[0],), "msg": ""})  # and not a thousand of them
    try:
        return Feedback.model_validate(values)
    except ValidationError as error:
        raise describe(error.errors(include_url=False, include_context=False)[0]) from None


def describe(error: ErrorDetails | Mapping[str, Any]) -> FeedbackError:
    """Turn one pydantic error into ours; never repeats the value, which may be private or not even text."""
    place = ".".join(str(part) for part in error["loc"])[:LONGEST_PLACE]
    field = place.encode(errors="replace").decode() or "feedback"
    reasons = {
        "missing": "is missing",
        "model_type": "must be an object, {…}",
        "model_attributes_type": "must be an object, {…}",
        "extra_forbidden": "is not a known field",
        "string_type": "must be a string",
        "string_unicode": "contains half of a surrogate pair, which is not valid Unicode",
        "string_too_long": f"is too long; at most {MAX_TEXT_CHARS:,} characters are read",
    }
    if error["type"] == "string_too_long" and field != "text":
        return FeedbackError(field, "is too long")
    return FeedbackError(field, reasons.get(error["type"], error["msg"]))
