"""The starter corpus was labelled twice up to a number; where the passes differ is on record, how often is stated."""

import csv
import json
from typing import Any

import pytest
from sklearn.metrics import cohen_kappa_score

from earful import taxonomy
from earful.taxonomy import URGENCIES
from tests.conftest import ROOT, STARTER, TAXONOMY

ONCE = 3001  # the first number, in each industry, of the pieces that were labelled once
ROWS: dict[str, dict[str, Any]] = {
    row["id"]: row
    for file in STARTER.glob("*.jsonl")
    for row in map(json.loads, file.read_text(encoding="utf-8").splitlines())
    if int(row["id"].rsplit("-", 1)[1]) < ONCE
}
with (ROOT / "data" / "labels" / "second_pass.csv").open(encoding="utf-8", newline="") as record:
    DIFFERENCES = {row["id"]: row for row in csv.DictReader(record)}


def test_every_difference_is_settled_by_a_label_or_by_leaving_the_piece_out() -> None:
    names = taxonomy.load(TAXONOMY).names
    for place, row in DIFFERENCES.items():
        assert (place in ROWS) == (row["settled"] == "kept"), place
        assert {row["first_category"], row["second_category"]} <= set(names), place
        assert (row["first_category"], row["first_urgency"]) != (row["second_category"], row["second_urgency"]), place


@pytest.mark.parametrize(("label", "stated"), [("category", "0.947"), ("urgency", "0.986")])
def test_two_passes_agree_as_far_as_the_datasheet_says(label: str, stated: str) -> None:
    alike = [(row[label], row[label]) for place, row in ROWS.items() if place not in DIFFERENCES]
    unlike = [(row[f"first_{label}"], row[f"second_{label}"]) for row in DIFFERENCES.values()]
    first, second = zip(*alike, *unlike, strict=True)
    weights, levels = ("quadratic", list(URGENCIES)) if label == "urgency" else (None, None)
    assert f"{cohen_kappa_score(first, second, weights=weights, labels=levels):.3f}" == stated
    assert f"{label} {stated}" in (STARTER / "DATASHEET.md").read_text(encoding="utf-8")
