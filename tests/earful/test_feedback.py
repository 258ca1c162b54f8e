from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earful.errors import FeedbackError
from earful.feedback import MAX_TEXT_CHARS, parse

SECRET = "s3cr3t-4929"
NAMES = ("id", "customer_id", "product")

AT_FAULT: dict[str, tuple[dict[str, Any], str, str]] = {
    "no text": ({}, "text", "is missing"),
    "text null": ({"text": None}, "text", "must be a string"),
    "text number": ({"text": 4929}, "text", "must be a string"),
    "text bytes": ({"text": SECRET.encode()}, "text", "must be a string"),
    "text list": ({"text": [SECRET]}, "text", "must be a string"),
    "text empty": ({"text": ""}, "text", "is empty; there is nothing to tag"),
    "text blank": ({"text": " \t\r\n\u00a0\u3000"}, "text", "is empty; there is nothing to tag"),
    "text invisible": ({"text": "\u200b\u2060\ufeff\u00ad"}, "text", "is empty; there is nothing to tag"),
    "text entities of nothing": ({"text": "&nbsp;&#8203;"}, "text", "is empty; there is nothing to tag"),
    "text with NUL": ({"text": f"{SECRET}\x00"}, "text", "contains a NUL character; send text, not bytes"),
    "text with half a pair": ({"text": f"{SECRET}\ud83d"}, "text", "contains half of a surrogate pair"),
    "text too long": ({"text": SECRET * 10_000}, "text", "is too long; at most 100,000 characters are read"),
    "channel unknown": ({"text": "x", "channel": SECRET}, "channel", "Input should be 'email'"),
    "channel number": ({"text": "x", "channel": 4929}, "channel", "Input should be 'email'"),
    "channel in capitals": ({"text": "x", "channel": "EMAIL"}, "channel", "Input should be 'email'"),
    "created_at words": ({"text": "x", "created_at": SECRET}, "created_at", "Input should be a valid datetime"),
    "created_at list": ({"text": "x", "created_at": [SECRET]}, "created_at", "Input should be a valid datetime"),
    "created_at no such day": ({"text": "x", "created_at": "2026-02-30T00:00:00Z"}, "created_at", "Input should be"),
    "rating word": ({"text": "x", "rating": SECRET}, "rating", "Input should be a valid number"),
    "rating list": ({"text": "x", "rating": [4929]}, "rating", "Input should be a valid number"),
    "rating NaN": ({"text": "x", "rating": float("nan")}, "rating", "Input should be a finite number"),
    "rating infinite": ({"text": "x", "rating": float("inf")}, "rating", "Input should be a finite number"),
    "language number": ({"text": "x", "language": 4929}, "language", "must be a string"),
    "language too long": ({"text": "x", "language": SECRET * 4}, "language", "is too long"),
    "language half a pair": ({"text": "x", "language": f"{SECRET}\ud83d"}, "language", "contains half"),
    "metadata string": ({"text": "x", "metadata": SECRET}, "metadata", "Input should be a valid dictionary"),
    "metadata null": ({"text": "x", "metadata": None}, "metadata", "Input should be a valid dictionary"),
    "metadata not JSON": ({"text": "x", "metadata": {"k": {SECRET}}}, "metadata.k", "input was not a valid JSON value"),
    "unknown field": ({"text": "x", "txet": SECRET}, "txet", "is not a known field"),
    **{f"{name} number": ({"text": "x", name: 4929}, name, "must be a string") for name in NAMES},
    **{f"{name} list": ({"text": "x", name: [SECRET]}, name, "must be a string") for name in NAMES},
    **{f"{name} half a pair": ({"text": "x", name: f"{SECRET}\udc00"}, name, "contains half") for name in NAMES},
    **{f"{name} too long": ({"text": "x", name: SECRET * 50}, name, "is too long") for name in NAMES},
}


@pytest.mark.parametrize(("record", "field", "reason"), AT_FAULT.values(), ids=AT_FAULT)
def test_a_fault_is_named_without_repeating_the_value(record: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(FeedbackError) as caught:
        parse(record)
    assert caught.value.field == field
    assert caught.value.reason.startswith(reason)
    assert str(caught.value) == f"{field}: {caught.value.reason}"
    assert SECRET not in str(caught.value)
    assert "4929" not in str(caught.value)
    str(caught.value).encode()  # an error must be able to travel, whatever came in


def test_the_longest_text_and_names_are_taken() -> None:
    longest = "x" * MAX_TEXT_CHARS
    feedback = parse({"text": longest, "id": "i" * 500, "language": "l" * 35})
    assert (feedback.text, feedback.id) == (longest, "i" * 500)


def test_only_text_is_required() -> None:
    feedback = parse({"text": "late"})
    assert feedback.model_dump(exclude={"text", "metadata"}, exclude_none=True) == {}
    assert feedback.metadata == {}


@settings(deadline=None)
@given(st.text(), st.sampled_from(["a", "1", "?", "👍🏽"]), st.text())
def test_text_is_kept_as_it_was_sent(before: str, visible: str, after: str) -> None:
    text = f"{before} {visible} {after}".replace("\x00", "")
    assert parse({"text": text}).text == text


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("2026-11-21T09:30:00", datetime(2026, 11, 21, 9, 30, tzinfo=UTC)),
        (datetime(2026, 11, 21, 9, 30), datetime(2026, 11, 21, 9, 30, tzinfo=UTC)),  # noqa: DTZ001
        ("2026-11-21T09:30:00Z", datetime(2026, 11, 21, 9, 30, tzinfo=UTC)),
        ("2026-11-21T09:30:00+05:30", datetime(2026, 11, 21, 4, 0, tzinfo=UTC)),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
    ],
)
def test_a_date_without_a_zone_is_taken_as_utc(sent: object, meant: datetime) -> None:
    moment = parse({"text": "late", "created_at": sent}).created_at
    assert moment == meant
    assert moment is not None
    assert moment.utcoffset() is not None


def test_a_zone_that_was_sent_is_kept() -> None:
    moment = parse({"text": "late", "created_at": "2026-11-21T09:30:00+05:30"}).created_at
    assert moment is not None
    assert moment.utcoffset() == timedelta(hours=5, minutes=30)
