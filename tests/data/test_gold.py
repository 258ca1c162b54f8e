"""The gold set: never trained on, labelled twice, and the agreement that the datasheet states."""

import json
from typing import Any

import pytest
from sklearn.metrics import cohen_kappa_score

from earful import taxonomy
from earful.feedback import parse
from earful.taxonomy import URGENCIES
from earful.text import normalise
from tests.conftest import ROOT, STARTER, TAXONOMY

FOLDER = ROOT / "data" / "gold"
GOLD: list[dict[str, Any]] = [
    json.loads(line) for line in (FOLDER / "gold.jsonl").read_text(encoding="utf-8").splitlines()
]
STARTER_ROWS = [
    json.loads(line) for file in STARTER.glob("*.jsonl") for line in file.read_text(encoding="utf-8").splitlines()
]


def test_there_are_300_rows_in_balance() -> None:
    assert len({row["id"] for row in GOLD}) == 300
    for name in taxonomy.load(TAXONOMY).names:
        rows = [row for row in GOLD if row["category"] == name]
        assert 15 <= len(rows) <= 26, name
        assert len({row["urgency"] for row in rows}) >= 3, name


def test_none_is_trained_on() -> None:
    assert not {row["id"] for row in GOLD} & {row["id"] for row in STARTER_ROWS}
    trained = {normalise(row["text"]).casefold() for row in STARTER_ROWS}
    assert [row["id"] for row in GOLD if normalise(row["text"]).casefold() in trained] == []


def test_rows_have_allowed_values() -> None:
    names = taxonomy.load(TAXONOMY).names
    for row in GOLD:
        parse({name: row[name] for name in ("id", "text", "channel")})
        for labels in (row, row["first_pass"], row["second_pass"]):
            assert labels["category"] in names, row["id"]
            assert labels["urgency"] in URGENCIES, row["id"]
        assert row["secondary_category"] in {None, *names} - {row["category"]}, row["id"]


@pytest.mark.parametrize(("label", "least"), [("category", 0.85), ("urgency", 0.80)])
def test_two_passes_agree_as_far_as_the_datasheet_says(label: str, least: float) -> None:
    first, second = ([row[name][label] for row in GOLD] for name in ("first_pass", "second_pass"))
    weights = "quadratic" if label == "urgency" else None
    levels = list(URGENCIES) if label == "urgency" else None
    kappa = cohen_kappa_score(first, second, weights=weights, labels=levels)
    assert kappa >= least
    assert f"{label} {kappa:.2f}" in (STARTER / "DATASHEET.md").read_text(encoding="utf-8")
