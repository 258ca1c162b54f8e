"""Scoring a file: every row comes out, with its tags or with why it has none. Nothing is left half-written."""

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from earful import feedback
from earful.errors import FeedbackError, InputError
from earful.feedback import Feedback
from earful.tables import Batch, Row, Table, format_of, open_table
from earful.tagger import Tagger
from earful.tags import FLAT_COLUMNS, Tags, flat, flat_error
from serving.registry import fetched

NESTED = "tags"
Answer = Tags | str  # tags, or why there are none
Write = Callable[[Batch, Sequence[Answer]], None]


@dataclass
class Summary:
    """What a scoring run did."""

    rows: int = 0
    errors: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    urgencies: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    model: str = ""

    def add(self, answers: Sequence[Answer]) -> None:
        """Count the answers of one batch."""
        self.rows += len(answers)
        for answer in answers:
            if isinstance(answer, str):
                self.errors += 1
                continue
            self.categories[answer.category.name] += 1
            self.outcomes[answer.outcome] += 1
            if answer.urgency:
                self.urgencies[answer.urgency.level] += 1

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {key: dict(value) if isinstance(value, Counter) else value for key, value in vars(self).items()}

    def sentence(self) -> str:
        """For people."""
        top = ", ".join(f"{name} {count:,}" for name, count in self.categories.most_common(5))
        return f"{self.rows:,} rows scored, {self.errors:,} with an error (see tag_error); most common: {top or 'none'}"


def score(source: Path, target: Path, model: str, text_column: str, encoding: str | None, console: Console) -> Summary:
    """Tag `source` into `target`, which appears when it is complete. Raises an `EarfulError`."""
    format_of(target)
    if source.resolve() == target.resolve():
        raise InputError(f"{target}: is the file that is read; name another to write")
    with fetched(model) as found:
        tagger = Tagger.load(Path(found.folder), found.version)
    summary = Summary(model=found.version or tagger.bundle.digest)
    with open_table(source, encoding) as table:
        table.require(text_column)
        _check_names(table, target)
        with _progress(console) as advance, _writer(target, table) as write:
            for batch in table.batches:
                _check_earlier_tags(table, batch.rows)
                answers = tag_rows(tagger, batch.rows, text_column)
                write(batch, answers)
                summary.add(answers)
                advance(summary)
    return summary


def tag_rows(tagger: Tagger, rows: Sequence[Row], text_column: str) -> list[Answer]:
    """Tags for each row, or why it has none, in order."""
    parsed = [_parse(row, text_column) for row in rows]
    tags = iter(tagger.tag([item for item in parsed if isinstance(item, Feedback)]))
    return [next(tags) if isinstance(item, Feedback) else item for item in parsed]


def _parse(row: Row, text_column: str) -> Feedback | str:
    if row.error:
        return row.error
    text = row.values.get(text_column)
    if text is None:
        return f"{text_column}: is missing"
    try:
        return feedback.parse({"text": text})
    except FeedbackError as error:
        return f"{text_column}: {error.reason}"


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[Summary], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_interactive) as progress:
        task = progress.add_task("scoring")

        def advance(summary: Summary) -> None:
            rate = summary.rows / max(progress.tasks[0].elapsed or 0.0, 0.001)
            progress.update(task, description=f"{summary.rows:,} rows, {summary.errors:,} errors, {rate:,.0f} rows/s")

        yield advance


@contextmanager
def _writer(target: Path, table: Table) -> Iterator[Write]:
    """Write beside the target and rename at the end; an error leaves the target as it was."""
    beside = target.with_name(f".{os.getpid()}.{target.name}.part")  # another run may be writing to the same target
    opener = {"csv": _csv_writer, "jsonl": _jsonl_writer, "parquet": _parquet_writer}[format_of(target)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with opener(beside, table) as write:
            yield write
        beside.replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # there is nothing to remove, or nowhere it could be
            beside.unlink()


def _check_names(table: Table, target: Path) -> None:
    """Raises `InputError` if a column of the caller's has the name of one that is to be written.

    Tags of an earlier scoring, which the new ones replace, are known by being complete.
    """
    ours = [name for name in FLAT_COLUMNS if name in table.columns]
    if ours and len(ours) < len(FLAT_COLUMNS):
        raise _taken(table, ours[0])
    if NESTED in table.columns and format_of(table.path) == "csv" and format_of(target) != "csv":
        raise _taken(table, NESTED)
    if NESTED in table.columns and table.schema is not None:
        kind = table.schema.field(NESTED).type
        if not pyarrow.types.is_struct(kind) or {part.name for part in kind} != set(_NAMES):
            raise _taken(table, NESTED)


def _check_earlier_tags(table: Table, rows: Sequence[Row]) -> None:
    """The same for JSON Lines, whose columns are known by their values alone."""
    if format_of(table.path) == "jsonl" and NESTED in table.columns:
        for row in rows:
            value = row.values.get(NESTED)
            if value is not None and not (isinstance(value, dict) and set(value) == set(_NAMES)):
                raise _taken(table, NESTED, f" row {row.number}:")


def _taken(table: Table, column: str, place: str = "") -> InputError:
    return InputError(
        f"{table.path}:{place} already has a column “{column}”, which is where tags are written; rename it first"
    )


def _kept(table: Table) -> list[str]:
    """The columns that are carried over: all but the tags of an earlier scoring, which the new ones replace."""
    replaced = {*FLAT_COLUMNS, NESTED} if format_of(table.path) != "csv" else set(FLAT_COLUMNS)
    return [name for name in table.columns if name not in replaced]


def _flat(answer: Answer) -> dict[str, Any]:
    return flat_error(answer) if isinstance(answer, str) else flat(answer)


def _nested(answer: Answer) -> Mapping[str, Any]:
    """The flat columns without their prefix, which the nesting makes needless."""
    return dict(zip(_NAMES, _flat(answer).values(), strict=True))


@contextmanager
def _csv_writer(path: Path, table: Table) -> Iterator[Write]:
    columns = _kept(table)
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.name.endswith(".tsv.part") else ",")
        writer.writerow([*columns, *FLAT_COLUMNS])

        def write(batch: Batch, answers: Sequence[Answer]) -> None:
            for row, answer in zip(batch.rows, answers, strict=True):
                kept = [_text(row.values.get(name)) for name in columns]
                writer.writerow([*kept, *_flat(answer).values()])

        yield write


@contextmanager
def _jsonl_writer(path: Path, table: Table) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:

        def write(batch: Batch, answers: Sequence[Answer]) -> None:
            for row, answer in zip(batch.rows, answers, strict=True):
                kept = {name: value for name, value in row.values.items() if name not in FLAT_COLUMNS}
                line = {**kept, NESTED: _nested(answer)}
                file.write(_json(line) + "\n")

        yield write


_ARROW = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int64()}
_NAMES = tuple(name.removeprefix("tag_") for name in FLAT_COLUMNS)  # inside the nested column
_STRUCT = pyarrow.struct([(name, _ARROW[kind]) for name, kind in zip(_NAMES, FLAT_COLUMNS.values(), strict=True)])


@contextmanager
def _parquet_writer(path: Path, table: Table) -> Iterator[Write]:
    columns = _kept(table)
    given = table.schema or pyarrow.schema([(name, pyarrow.string()) for name in columns])
    schema = pyarrow.schema([given.field(name) for name in columns]).append(pyarrow.field(NESTED, _STRUCT))
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:

        def write(batch: Batch, answers: Sequence[Answer]) -> None:
            tags = pyarrow.array([_nested(answer) for answer in answers], _STRUCT)
            kept = [_arrow_column(batch, name) for name in columns]
            writer.write_batch(pyarrow.RecordBatch.from_arrays([*kept, tags], schema=schema))

        yield write


def _arrow_column(batch: Batch, name: str) -> pyarrow.Array:
    """A column as it was in Parquet; from a text format, strings: its type is not known before its last row."""
    if batch.native is not None:
        return batch.native.column(name)
    return pyarrow.array([_text(row.values.get(name)) for row in batch.rows], pyarrow.string())


def _json(value: Any) -> str:
    """JSON of whatever a row may hold; NaN and infinities, which JSON does not have, become null."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if "NaN" not in text and "Infinity" not in text:
        return text
    return json.dumps(json.loads(text, parse_constant=lambda _: None), ensure_ascii=False)


def _text(value: Any) -> str | None:
    """A value of any format as one of a text format; bytes that were not text come out as escapes."""
    if value is None:
        return None
    if isinstance(value, dict | list | bool | int | float):
        value = _json(value)
    text = value.isoformat() if isinstance(value, date | time) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()
