"""Reading labelled rows: what can be used is used, what cannot is kept with its place and its reason."""

import json
from pathlib import Path

import pytest
from datasets import Dataset

from earful import taxonomy as taxonomies
from earful.errors import InputError
from tests.conftest import TAXONOMY
from training.settings import Columns, read_levels
from training.sources import read, write_rejects


def table(folder: Path, content: str, name: str = "rows.csv") -> str:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('"",billing,high,', "text: is empty"),
        ("hello,bililng,high,", "did you mean “billing”?"),
        ("hello,billing,urgent,", "“urgent” is not an urgency; use low, normal, high, critical"),
        ("hello,billing,high,tomorrow-ish", "created_at: “tomorrow-ish” is not a date"),
        ("hello,,,", "nothing to learn from"),
        ("hello,billing", "has 2 fields where the header has 4"),
        ("hel\x00lo,billing,high,", "NUL"),
    ],
)
def test_a_bad_row_is_rejected_with_its_number_and_reason(tmp_path: Path, row: str, reason: str) -> None:
    data = table(
        tmp_path, f"text,category,urgency,created_at\nfine,refund,low,2026-01-02\n{row}\nalso fine,refund,low,\n"
    )
    source = read([data], Columns(), taxonomies.load(TAXONOMY))
    assert [example.row for example in source.examples] == [1, 3]
    [reject] = source.rejects
    assert reject.row == 2
    assert reason in reject.reason


def test_bytes_of_another_encoding_are_rejected_by_row_and_read_when_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text,category\nplain,a\ncafé closed,b\n".encode("cp1252"))
    source = read([str(path)], Columns(), None)
    assert [example.row for example in source.examples] == [1]
    assert "is not in the file's encoding" in source.rejects[0].reason
    assert read([str(path)], Columns(), None, "cp1252").examples[1].feedback.text == "café closed"


def test_without_a_taxonomy_any_label_is_a_category(tmp_path: Path) -> None:
    source = read([table(tmp_path, "text,category\none,Can't Tell\ntwo, longlines \n")], Columns(), None)
    assert [example.category for example in source.examples] == ["Can't Tell", "longlines"]


def test_a_row_with_one_of_two_labels_is_kept(tmp_path: Path) -> None:
    source = read([table(tmp_path, "text,category,urgency\none,a,\ntwo,,HIGH\n")], Columns(), None)
    assert [(example.category, example.urgency) for example in source.examples] == [("a", None), (None, "high")]


def test_urgencies_of_another_scale_are_mapped_and_those_that_are_not_are_named(tmp_path: Path) -> None:
    data = table(tmp_path, "text,u\none,1.0\ntwo,ASAP\nthree,high\nfour,7\n")
    columns = Columns(urgency="u", urgency_map=read_levels(["1=low, 2=low", "asap=critical"]))
    source = read([data], columns, None)
    assert [example.urgency for example in source.examples] == ["low", "critical", "high"]
    [reject] = source.rejects
    assert "u: “7” is not an urgency" in reject.reason
    assert "--urgency-map" in reject.reason


@pytest.mark.parametrize("said", ["1=urgent", "low", "=low", "1=low,,2=high"])
def test_a_map_of_urgencies_of_another_form_is_refused(said: str) -> None:
    with pytest.raises(InputError, match="VALUE=LEVEL"):
        read_levels([said])


def test_a_channel_that_is_not_ours_counts_as_other_and_is_said(tmp_path: Path) -> None:
    source = read([table(tmp_path, "text,category,channel\none,a,Web Form\ntwo,b,pigeon\n")], Columns(), None)
    assert [example.feedback.channel for example in source.examples] == ["web_form", "other"]
    assert source.strange_channels == {"pigeon": 1}


@pytest.mark.parametrize("moment", ["2015-02-24 11:35:52 -0800", "31-Jul-18", "1371085161", "2026-11-21T09:30:00Z"])
def test_dates_as_exports_write_them_are_read(tmp_path: Path, moment: str) -> None:
    source = read([table(tmp_path, f"text,category,created_at\none,a,{moment}\n")], Columns(), None)
    assert source.examples[0].feedback.created_at is not None


def test_a_missing_column_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column “narrative”; its columns are text, category"):
        read([table(tmp_path, "text,category\none,a\n")], Columns(text="narrative"), None)


@pytest.mark.parametrize("name", ["absent.csv", "rows.xlsx", "empty_folder"])
def test_what_cannot_be_read_at_all_is_an_input_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty_folder").mkdir()
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=name):
        read([str(tmp_path / name)], Columns(), None)


def test_a_hub_data_set_is_read_with_the_names_of_its_classes(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Dataset.from_dict({"text": ["one", "two"], "label": ["late", "lost"]}).to_parquet(folder / "train.parquet")
    source = read([f"hub:{folder}"], Columns(category="label"), None)
    assert [(example.row, example.category) for example in source.examples] == [(1, "late"), (2, "lost")]


def test_an_unknown_hub_data_set_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        read([f"hub:{tmp_path / 'nowhere'}"], Columns(), None)


def test_a_hub_data_set_without_a_name_is_an_input_error() -> None:
    with pytest.raises(InputError, match="names no data set"):
        read(["hub:"], Columns(), None)


def test_rejects_are_written_by_place_without_their_text(tmp_path: Path) -> None:
    source = read([table(tmp_path, "text,category\nsecret story,\n")], Columns(), None)
    write_rejects(source.rejects, tmp_path / "rejects.jsonl")
    [line] = (tmp_path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["row"] == 1
    assert "secret story" not in line
