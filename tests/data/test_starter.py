import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import Any, get_args

import pytest

from earful import taxonomy
from earful.feedback import Channel, parse
from earful.taxonomy import URGENCIES
from earful.text import normalise
from tests.conftest import STARTER, TAXONOMY

ROWS: list[dict[str, Any]] = [
    json.loads(line)
    for file in sorted(STARTER.glob("*.jsonl"))
    for line in file.read_text(encoding="utf-8").splitlines()
]
CATEGORIES = taxonomy.load(TAXONOMY).names
KEYS = {"id", "text", "channel", "industry", "category", "secondary_category", "urgency", "urgency_reason"}


def words(row: dict[str, Any]) -> list[str]:
    return re.findall(r"\w+", row["text"].casefold())


def sequences(items: list[str] | str, size: int) -> set[Any]:
    return {tuple(items[n : n + size]) for n in range(len(items) - size + 1)}


def sharing(pieces: dict[str, set[Any]]) -> Iterator[tuple[str, str, int]]:
    """Pairs of rows that have pieces in common, and how many."""
    holders = defaultdict(list)
    for name, some in pieces.items():
        for piece in some:
            holders[piece].append(name)
    shared = Counter(pair for names in holders.values() for pair in combinations(names, 2))
    return ((one, other, count) for (one, other), count in shared.items())


def test_there_are_at_least_2400_rows_and_no_id_occurs_twice() -> None:
    assert len(ROWS) >= 2400
    assert [name for name, count in Counter(row["id"] for row in ROWS).items() if count > 1] == []


@pytest.mark.parametrize("industry", sorted(file.stem for file in STARTER.glob("*.jsonl")))
def test_rows_have_the_allowed_keys_and_values(industry: str) -> None:
    for row in (row for row in ROWS if row["industry"] == industry):
        place = row["id"]
        assert set(row) == KEYS, place
        assert row["category"] in CATEGORIES, place
        assert row["secondary_category"] in {None, *CATEGORIES} - {row["category"]}, place
        assert row["urgency"] in URGENCIES, place
        assert row["urgency_reason"].strip(), place
        parse({name: row[name] for name in ("id", "text", "channel")})


def test_a_row_lies_in_the_file_of_its_industry() -> None:
    for file in STARTER.glob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        assert {row["industry"] for row in rows} == {file.stem}


def test_every_category_has_at_least_twenty_rows_that_span_three_urgency_levels() -> None:
    levels = {name: Counter(row["urgency"] for row in ROWS if row["category"] == name) for name in CATEGORIES}
    assert {name: count.total() for name, count in levels.items() if count.total() < 20} == {}
    assert {name: set(count) for name, count in levels.items() if len(count) < 3} == {}


def test_every_channel_occurs() -> None:
    assert {row["channel"] for row in ROWS} == set(get_args(Channel))


def test_no_two_texts_share_nine_words_in_a_row() -> None:
    assert list(sharing({row["id"]: sequences(words(row), 9) for row in ROWS})) == []


def test_no_two_texts_are_nearly_the_same() -> None:
    told = [row for row in ROWS if len(words(row)) > 6]  # shorter ones cannot help resembling each other
    pieces = {row["id"]: sequences(words(row), 5) for row in told}
    alike = [(one, other) for one, other, count in sharing(pieces) if count / len(pieces[one] | pieces[other]) > 0.25]
    assert alike == []


def test_no_text_occurs_twice() -> None:
    texts = Counter(normalise(row["text"]).casefold() for row in ROWS)
    assert [text for text, count in texts.items() if count > 1] == []


def test_a_category_alone_does_not_tell_the_urgency() -> None:
    levels = {name: Counter(row["urgency"] for row in ROWS if row["category"] == name) for name in CATEGORIES}
    guessed = sum(count.most_common(1)[0][1] for count in levels.values())
    assert guessed / len(ROWS) < 0.55


def test_texts_run_from_three_words_or_fewer_to_250_or_more() -> None:
    lengths = [len(row["text"].split()) for row in ROWS]
    assert min(lengths) <= 3
    assert max(lengths) >= 250
