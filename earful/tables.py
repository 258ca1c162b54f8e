"""Reading CSV, JSON Lines and Parquet row by row; a row that cannot be read is a row with an error, in its place."""

import csv
import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow
import pyarrow.parquet

from earful.errors import InputError

Format = Literal["csv", "jsonl", "parquet"]
_FORMATS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip
SHOWN = 30  # columns that an error names
UNCLOSED = "unexpected end of data"  # what the csv module says of it
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # utf-8's is left to utf-8-sig


@dataclass(frozen=True)
class Row:
    """One row. `number` counts data rows from 1; `error` says why the row could not be read whole, if it could not."""

    number: int
    values: dict[str, Any]
    error: str | None = None


@dataclass(frozen=True)
class Batch:
    """Rows in order, and for Parquet the record batch that they came from."""

    rows: list[Row]
    native: pyarrow.RecordBatch | None = None


@dataclass(frozen=True)
class Table:
    """An open file of rows; `schema` is Parquet's."""

    path: Path
    columns: tuple[str, ...]
    batches: Iterator[Batch]
    schema: pyarrow.Schema | None = None

    def require(self, column: str) -> None:
        """Raises `InputError` if there is no such column."""
        if column not in self.columns:
            if not self.columns:
                raise InputError(f"{self.path}: has no column “{column}”, nor any other; is it the right file?")
            shown = ", ".join(name[:40] for name in self.columns[:SHOWN])
            more = f" and {len(self.columns) - SHOWN} more" if len(self.columns) > SHOWN else ""
            raise InputError(f"{self.path}: has no column “{column}”; its columns are {shown}{more}")


def format_of(path: Path) -> Format:
    """The format that a file's ending names. Raises `InputError` for any other."""
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise InputError(f"{path}: name it .csv, .tsv, .jsonl or .parquet, so that its format is known") from None


@contextmanager
def open_table(path: Path, encoding: str | None = None, size: int = 2048) -> Iterator[Table]:
    """Open a file of rows, read in batches of `size`. Raises `InputError` if it cannot be read at all.

    `encoding` is for CSV and JSON Lines; without it UTF-8 or what a byte order mark says.
    """
    kind = format_of(path)
    _check_encoding(path, encoding)
    try:
        with path.open("rb") as probe:
            start = probe.read(4)
        if kind == "parquet":
            with pyarrow.parquet.ParquetFile(path) as file:
                yield _parquet(path, file, size)
        else:
            found = encoding or next((name for bom, name in _BOMS if start.startswith(bom)), "utf-8-sig")
            with path.open(encoding=found, errors="surrogateescape", newline="" if kind == "csv" else "\n") as text:
                yield _csv(path, text, size) if kind == "csv" else _jsonl(path, text, size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise InputError(f"{path}: is not {found}; name its --encoding") from error
    except pyarrow.ArrowException as error:
        raise InputError(f"{path}: is not a readable Parquet file: {error}") from error


def _check_encoding(path: Path, encoding: str | None) -> None:
    try:
        "".encode(encoding or "utf-8")  # refuses codecs that are not of text, such as base64
    except LookupError as error:
        raise InputError(f"{path}: {encoding} is not an encoding of text; name one such as cp1252") from error


def _batched(rows: Iterable[Row], size: int) -> Iterator[Batch]:
    rows = iter(rows)
    while chunk := list(islice(rows, size)):
        yield Batch(chunk)


def _csv(path: Path, text: IO[str], size: int) -> Table:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default, 128 kB, is shorter than some letters
    first = text.readline()
    delimiter = max(",;\t|", key=first.count) if first else ","
    text.seek(0)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = _named(name.strip() for name in next(reader))
    except StopIteration:
        raise InputError(f"{path}: is empty; the first line must name the columns") from None
    except csv.Error as error:
        raise InputError(f"{path}: the header cannot be read: {error}") from error
    if any(unicodedata.category(char) in ("Cc", "Cs") and not char.isspace() for name in header for char in name):
        raise InputError(
            f"{path}: does not begin with the names of columns in text; is it a CSV, and is its encoding named?"
        )
    _check_unique(path, header)
    return Table(path, header, _batched(_csv_rows(path, reader, header), size))


def _named(header: Iterable[str]) -> tuple[str, ...]:
    """Spreadsheets leave columns without a name behind: the first stays so, the others are named by their place."""
    names = list(header)
    first = names.index("") if "" in names else None
    return tuple(name or ("" if n == first else f"column_{n + 1}") for n, name in enumerate(names))


def _check_unique(path: Path, columns: Sequence[str]) -> None:
    twice = {name for name in columns if columns.count(name) > 1}
    if twice:
        raise InputError(f"{path}: has more than one column named {', '.join(sorted(twice))}")


def _csv_rows(path: Path, reader: Any, header: tuple[str, ...]) -> Iterator[Row]:
    number = 0
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error) == UNCLOSED:
                reason = "opens a quote that is never closed, so the rows below it cannot be told apart; mend that line"
                raise InputError(f"{path}: line {line} {reason}") from error
            number += 1
            yield Row(number, {}, f"cannot be read as CSV from line {line} on: {error} (look for a stray quote)")
            continue
        if fields:
            number += 1
            yield _csv_row(number, fields, header, line, reader.dialect.delimiter)


def _csv_row(number: int, fields: list[str], header: tuple[str, ...], line: int, delimiter: str) -> Row:
    values = dict(zip(header, fields, strict=False))
    if len(fields) != len(header):
        if len(fields) > len(header):  # keep what was there, though it cannot be told where it belongs
            values[header[-1]] = delimiter.join(fields[len(header) - 1 :])
        return Row(number, values, f"line {line} has {len(fields)} fields where the header has {len(header)}")
    return Row(number, values, _undecodable(values))


def _undecodable(values: dict[str, Any]) -> str | None:
    """Bytes that were not in the encoding arrive as lone surrogates U+DC80 to U+DCFF."""
    for name, value in values.items():
        if isinstance(value, str) and not value.isascii() and any("\udc80" <= char <= "\udcff" for char in value):
            return f"{name}: is not in the file's encoding; save it as UTF-8 or name its --encoding"
    return None


def _jsonl(path: Path, text: IO[str], size: int) -> Table:
    """JSON Lines have no header: a first pass finds the columns, in the order of their first appearance."""
    columns = {name: None for row in _jsonl_rows(text) for name in row.values}
    text.seek(0)
    return Table(path, tuple(columns), _batched(_jsonl_rows(text), size))


def _jsonl_rows(text: IO[str]) -> Iterator[Row]:
    for number, line in enumerate((line for line in text if line.strip()), 1):
        yield _jsonl_row(number, line)


def _jsonl_row(number: int, line: str) -> Row:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(number, {}, f"is not JSON: {error}")
    if not isinstance(values, dict):
        return Row(number, {}, "is not a JSON object; each line must be one, {…}")
    return Row(number, values, _undecodable(values))


def _parquet(path: Path, file: pyarrow.parquet.ParquetFile, size: int) -> Table:
    schema = file.schema_arrow
    _check_unique(path, schema.names)
    return Table(path, tuple(schema.names), _parquet_batches(path, file, size), schema)


def _parquet_batches(path: Path, file: pyarrow.parquet.ParquetFile, size: int) -> Iterator[Batch]:
    number = 0
    batches = file.iter_batches(batch_size=size)
    while True:
        try:
            native = next(batches)
        except StopIteration:
            return
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{path}: is damaged after row {number:,}: {error}") from error
        yield Batch([Row(number + n, values) for n, values in enumerate(_values(native), 1)], native)
        number += native.num_rows


def _values(native: pyarrow.RecordBatch) -> list[dict[str, Any]]:
    """Rows as Python values; a column with dates or time zones that Python cannot hold comes as text."""
    try:
        return list(native.to_pylist())
    except (ValueError, OverflowError, LookupError):
        columns = {name: _column(native.column(name)) for name in native.schema.names}
        return [{name: values[n] for name, values in columns.items()} for n in range(native.num_rows)]


def _column(column: pyarrow.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, LookupError):
        if pyarrow.types.is_timestamp(column.type):  # its zone may be one that nobody knows
            column = column.cast(pyarrow.timestamp(column.type.unit))
        return list(column.cast(pyarrow.string()).to_pylist())
