"""From the caller's files to examples: every row is checked, and a row that cannot be used is kept with its reason."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from dateutil import parser as dates

from earful import feedback as feedbacks
from earful.errors import FeedbackError, InputError
from earful.feedback import Channel, Feedback
from earful.tables import Row, open_table
from earful.taxonomy import URGENCIES, Taxonomy
from training.settings import Columns

HUB = "hub:"
REJECTS = ".rejects.jsonl"  # how the file ends that lists what a run rejected; it is no data
UNKNOWN_CATEGORY = "is not a category of the taxonomy"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Example:
    """A feedback with its right answers; at least one of the two labels is there.

    `secondary` is another category that is present too; `corrected` says that a person gave the labels after seeing
    others. One that `supports` is learned from, and never kept back to be measured on.
    """

    source: str
    row: int
    feedback: Feedback
    category: str | None
    urgency: str | None
    split: str | None = None
    corrected: bool = False
    secondary: str | None = None
    supports: bool = False


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used: where it stands and why."""

    source: str
    row: int
    reason: str


@dataclass
class Source:
    """What was read: usable examples, rejected rows, and remarks that a person should see."""

    examples: list[Example] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    strange_channels: Counter[str] = field(default_factory=Counter)


def read(names: Iterable[str], columns: Columns, taxonomy: Taxonomy | None, encoding: str | None = None) -> Source:
    """Read files, folders of files and `hub:` data sets. Raises `InputError` if one cannot be read at all."""
    source = Source()
    for name in names:
        for where, rows in _open(name, columns, encoding):
            for row in rows:
                _take(source, where, row, columns, taxonomy)
    return source


def _open(name: str, columns: Columns, encoding: str | None) -> Iterator[tuple[str, Iterator[Row]]]:
    if name.startswith(HUB):
        yield name, _hub_rows(name.removeprefix(HUB), columns)
        return
    path = Path(name)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    files = sorted(path.glob("*.jsonl")) + sorted(path.glob("*.csv")) + sorted(path.glob("*.parquet"))
    if path.is_dir() and not files:
        raise InputError(f"{path}: holds no .csv, .jsonl or .parquet file")
    for file in [one for one in files if not one.name.endswith(REJECTS)] if path.is_dir() else [path]:
        yield str(file), _file_rows(file, columns, encoding)


def _file_rows(path: Path, columns: Columns, encoding: str | None) -> Iterator[Row]:
    with open_table(path, encoding) as table:
        for given in _given(columns):
            table.require(given)
        for batch in table.batches:
            yield from batch.rows


def _given(columns: Columns) -> list[str]:
    """The columns that the data must have: text, and what the caller named; a category only if no urgency is named.

    With “” as the column of categories none is asked for.
    """
    named = columns.named
    named.setdefault("text", columns.text)
    if columns.category and "urgency" not in named:
        named.setdefault("category", columns.category)
    return list(named.values())


def _hub_rows(name: str, columns: Columns) -> Iterator[Row]:
    """Rows of a data set of the Hugging Face hub, or of a folder in its layout: `NAME` or `NAME:SPLIT`."""
    import datasets

    name, _, split = name.partition(":")
    if not name:
        raise InputError(f"{HUB}: names no data set; write {HUB}NAME or {HUB}NAME:SPLIT")
    try:
        data = datasets.load_dataset(name, split=split or "train")
    except Exception as error:  # the hub client has some forty ways to fail, most of them not its own classes
        raise InputError(f"{HUB}{name}: cannot be loaded: {error}") from error
    for given in _given(columns):
        if given not in data.column_names:
            raise InputError(f"{HUB}{name}: has no column “{given}”; its columns are {', '.join(data.column_names)}")
    classes = {key: kind for key, kind in data.features.items() if isinstance(kind, datasets.ClassLabel)}
    for number, values in enumerate(data, 1):
        named = {key: kind.int2str(values[key]) for key, kind in classes.items() if (values[key] or 0) >= 0}
        yield Row(number, {**values, **named})


def _take(source: Source, where: str, row: Row, columns: Columns, taxonomy: Taxonomy | None) -> None:
    """Check one row and put it where it belongs."""
    secondary = columns.name("secondary_category")
    try:
        if row.error:
            raise FeedbackError("row", row.error)
        example = Example(
            where,
            row.number,
            _feedback(row.values, columns, source.strange_channels),
            _category(row.values.get(columns.category) if columns.category else None, columns.category, taxonomy),
            _urgency(row.values.get(columns.name("urgency")), columns),
            _split(row.values, columns),
            secondary=_category(row.values.get(secondary), secondary, taxonomy),
        )
        if columns.labelled and example.category is None and example.urgency is None:
            what = (columns.category, "is empty, and there is no urgency either; nothing to learn from")
            raise FeedbackError(*what) if columns.category else FeedbackError(columns.name("urgency"), "is empty")
    except FeedbackError as error:
        source.rejects.append(Reject(where, row.number, str(error)))
    else:
        source.examples.append(example)


def _feedback(values: Mapping[str, Any], columns: Columns, strange: Counter[str]) -> Feedback:
    record: dict[str, Any] = {"text": values.get(columns.text)}
    if record["text"] is None:
        raise FeedbackError(columns.text, "is missing")
    for name in ("id", "customer_id"):
        if (value := values.get(columns.name(name))) not in (None, ""):
            record[name] = str(value)
    if (moment := values.get(columns.name("created_at"))) not in (None, ""):
        record["created_at"] = _date(moment, columns.name("created_at"))
    if channel := values.get(columns.name("channel")):
        record["channel"] = _channel(str(channel), strange)
    try:
        return feedbacks.parse(record)
    except FeedbackError as error:
        name = columns.text if error.field == "text" else columns.name(error.field)
        raise FeedbackError(name, error.reason) from None


def _channel(value: str, strange: Counter[str]) -> str:
    """A channel of ours, or `other`: a metric by channel is not worth losing rows for."""
    name = value.strip().lower().replace(" ", "_").replace("-", "_")
    if name in get_args(Channel):
        return name
    strange[value] += 1
    return "other"


def _date(value: Any, column: str) -> datetime:
    """ISO 8601 first, then seconds since 1970, then whatever dateutil makes of it (month first where ambiguous)."""
    if isinstance(value, datetime):
        return value
    text = str(value).strip()
    try:
        if text.isdigit() and len(text) > 8:
            return datetime.fromtimestamp(int(text), UTC)
        parsed: datetime = dates.parse(text)
    except (ValueError, OverflowError, OSError):
        raise FeedbackError(column, f"“{text[:40]}” is not a date; write it as 2026-11-21T09:30:00Z") from None
    return parsed


def _category(value: Any, column: str, taxonomy: Taxonomy | None) -> str | None:
    name = "" if value is None else str(value).strip()
    if not name:
        return None
    if len(name) > 200:
        raise FeedbackError(column, "is longer than 200 characters; is this the right column?")
    if taxonomy is not None and name not in taxonomy.names:
        near = difflib.get_close_matches(name, taxonomy.names, n=1)
        hint = f"; did you mean “{near[0]}”?" if near else ""
        raise FeedbackError(column, f"“{name}” {UNKNOWN_CATEGORY}{hint}")
    return name


def _urgency(value: Any, columns: Columns) -> str | None:
    said = "" if value is None else str(value).strip().lower()
    said = re.sub(r"^(\d+)\.0+$", r"\1", said)  # as a table writes 2 where some rows have none
    level = columns.urgency_map.get(said, said)
    if level and level not in URGENCIES:
        how = f"use {', '.join(URGENCIES)}, or say which of them it means with --urgency-map"
        raise FeedbackError(columns.name("urgency"), f"“{said[:40]}” is not an urgency; {how}")
    return level or None


def _split(values: Mapping[str, Any], columns: Columns) -> str | None:
    if columns.split is None:
        return None
    split = str(values.get(columns.split) or "").strip().lower()
    if split not in SPLITS:
        raise FeedbackError(columns.split, f"“{split[:40]}” is not a split; use {', '.join(SPLITS)}")
    return split


def write_rejects(rejects: Iterable[Reject], path: Path) -> None:
    """Write rejected rows as JSON Lines, beside and renamed. Rows are named by place; their text is not repeated."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", encoding="utf-8") as file:
        for reject in rejects:
            line = {"source": reject.source, "row": reject.row, "reason": reject.reason}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    beside.replace(path)
