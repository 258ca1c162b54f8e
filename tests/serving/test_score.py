import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient

from earful.tagger import Tagger
from earful.tags import FLAT_COLUMNS
from serving.app import create
from serving.settings import ServeSettings
from tests.conftest import Trained, run

Rows = list[dict[str, Any]]
TEXTS = [
    "I was charged twice this month and want my money back.",
    "The parcel never came.",
    "Someone else is logged in to my account, block it now!",
    "Thank you, that was quick.",
]
ROWS: Rows = [{"ref": f"r{n}", "text": text, "note": "päper, “quoted”"} for n, text in enumerate(TEXTS)]
NESTED = [name.removeprefix("tag_") for name in FLAT_COLUMNS]


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: Rows) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def read_csv(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def read_jsonl(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_parquet(path: Path) -> Rows:
    rows: Rows = pyarrow.parquet.read_table(path).to_pylist()
    return rows


WRITE: dict[str, Callable[[Path, Rows], None]] = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}
READ: dict[str, Callable[[Path], Rows]] = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}


def score(source: Path, target: Path, trained: Trained, *more: object) -> dict[str, Any]:
    result = run("score", source, target, "--model", trained.bundle, "--json", *more)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """The tags of a row of any format, as text or None: CSV knows no numbers and no null."""
    nested = row.get("tags")
    tags = {name: row[f"tag_{name}"] for name in NESTED} if nested is None else nested
    assert list(tags) == NESTED
    return {name: str(value) if value not in (None, "") else None for name, value in tags.items()}


def refused(source: Path, target: Path, *more: object) -> str:
    """What a scoring that must fail says: one line and nothing left behind."""
    before = {path: path.read_bytes() for path in target.parent.iterdir() if path.is_file()}
    result = run("score", source, target, *more)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert {path: path.read_bytes() for path in target.parent.iterdir() if path.is_file()} == before
    return result.stderr


@pytest.fixture
def champion(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained.store)
    return "champion"


@pytest.mark.parametrize("output", READ)
@pytest.mark.parametrize("given", WRITE)
def test_every_format_is_scored_into_every_other(tmp_path: Path, trained: Trained, given: str, output: str) -> None:
    source, target = tmp_path / f"in.{given}", tmp_path / f"out.{output}"
    WRITE[given](source, ROWS)
    summary = score(source, target, trained)
    assert (summary["rows"], summary["errors"]) == (4, 0)
    scored = READ[output](target)
    added = list(FLAT_COLUMNS) if output == "csv" else ["tags"]
    assert [list(row) for row in scored] == [["ref", "text", "note", *added]] * 4
    assert [{name: row[name] for name in ROWS[0]} for row in scored] == ROWS
    for row in scored:
        assert flat(row)["error"] is None
        assert flat(row)["outcome"] in ("tagged", "needs_review")
    assert sum(summary["categories"].values()) == 4


def test_the_answers_are_those_of_classify(tmp_path: Path, trained: Trained, tagger: Tagger) -> None:
    write_jsonl(tmp_path / "in.jsonl", ROWS)
    score(tmp_path / "in.jsonl", tmp_path / "out.jsonl", trained)
    scored = [row["tags"] for row in read_jsonl(tmp_path / "out.jsonl")]
    client = TestClient(create(tagger, ServeSettings()))
    answers = [
        item["tags"]
        for item in client.post("/classify/batch", json={"items": [{"text": t} for t in TEXTS]}).json()["items"]
    ]
    for tags, answer in zip(scored, answers, strict=True):
        assert tags["category"] == answer["category"]["name"]
        assert tags["category_confidence"] == answer["category"]["confidence"]
        assert tags["tier"] == answer["category"]["tier"]
        assert tags["urgency"] == answer["urgency"]["level"]
        assert tags["urgency_score"] == answer["urgency"]["score"]
        assert tags["outcome"] == answer["outcome"]
        assert tags["owner"] == answer["route"]["owner"]
        assert tags["model"] == answer["model"]["bundle"]


def test_the_champion_of_the_store_scores_as_its_bundle_does(tmp_path: Path, trained: Trained, champion: str) -> None:
    write_csv(tmp_path / "in.csv", ROWS)
    score(tmp_path / "in.csv", tmp_path / "bundle.csv", trained)
    result = run("score", tmp_path / "in.csv", tmp_path / "champion.csv")  # champion is the default
    assert result.exit_code == 0, result.output
    assert "4 rows scored, 0 with an error" in result.stdout
    by_bundle, by_champion = read_csv(tmp_path / "bundle.csv"), read_csv(tmp_path / "champion.csv")
    assert {row.pop("tag_model") for row in by_champion} == {str(trained.printed["version"])}
    assert {row.pop("tag_model")[:7] for row in by_bundle} == {"sha256:"}
    assert by_champion == by_bundle


def test_types_of_parquet_columns_are_kept(tmp_path: Path, trained: Trained) -> None:
    table = pyarrow.table(
        {
            "text": pyarrow.array(TEXTS, pyarrow.large_string()),
            "rating": pyarrow.array([1, None, 3, 4], pyarrow.int8()),
            "labels": pyarrow.array([["a"], [], None, ["b", "c"]], pyarrow.list_(pyarrow.string())),
            "at": pyarrow.array([0, 1, 2, None], pyarrow.timestamp("us", "UTC")),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    score(tmp_path / "in.parquet", tmp_path / "out.parquet", trained)
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").drop_columns("tags") == table


def test_a_nested_value_of_json_survives_and_is_json_in_csv(tmp_path: Path, trained: Trained) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"text": TEXTS[0], "extra": {"a": [1, None]}}, {"text": TEXTS[1], "late": 7}])
    score(tmp_path / "in.jsonl", tmp_path / "out.jsonl", trained)
    score(tmp_path / "in.jsonl", tmp_path / "out.csv", trained)
    as_json, as_csv = read_jsonl(tmp_path / "out.jsonl"), read_csv(tmp_path / "out.csv")
    assert as_json[0]["extra"] == {"a": [1, None]}
    assert "extra" not in as_json[1]
    assert as_json[1]["late"] == 7
    assert [json.loads(as_csv[0]["extra"]), as_csv[1]["extra"], as_csv[1]["late"]] == [{"a": [1, None]}, "", "7"]


BAD_CSV = (
    b"ref,text\n"
    b"1,It broke.\n"
    b"2,\n"
    b"3,   \n"
    b"4,caf\xe9 was shut\n"
    b"5,one,field too many\n"
    b"6\n"
    b'7,"Two lines,\nand a ""quoted"" word."\n'
    b"8,nul\0nul\n"
    b"9,It broke.\n"
)


@pytest.mark.parametrize("output", READ)
def test_a_row_that_cannot_be_scored_keeps_its_place_and_says_why(
    tmp_path: Path, trained: Trained, output: str
) -> None:
    (tmp_path / "in.csv").write_bytes(BAD_CSV)
    summary = score(tmp_path / "in.csv", tmp_path / f"out.{output}", trained)
    assert (summary["rows"], summary["errors"]) == (9, 6)
    scored = READ[output](tmp_path / f"out.{output}")
    assert [row["ref"] for row in scored] == list("123456789")
    errors = {row["ref"]: flat(row)["error"] or "" for row in scored if flat(row)["error"]}
    why = {"2": "empty", "3": "empty", "4": "encoding", "5": "3 fields", "6": "1 fields", "8": "NUL"}
    assert errors.keys() == why.keys()
    for ref, reason in why.items():
        assert reason in errors[ref]
        assert {flat(scored[int(ref) - 1])[name] for name in NESTED if name != "error"} == {None}
    assert scored[4]["text"] == "one,field too many"
    assert scored[6]["text"] == 'Two lines,\nand a "quoted" word.'
    assert flat(scored[0]) == flat(scored[8])


def test_a_file_of_which_nothing_could_be_tagged_is_written_and_said(tmp_path: Path, trained: Trained) -> None:
    (tmp_path / "in.csv").write_bytes("ref,text\n1,café fermé\n2,déçu\n".encode("latin-1"))
    result = run("score", tmp_path / "in.csv", tmp_path / "out.csv", "--model", trained.bundle)
    assert result.exit_code == 1
    assert "no row could be tagged" in result.stderr
    assert len(READ["csv"](tmp_path / "out.csv")) == 2


def test_a_line_that_is_not_json_keeps_its_place(tmp_path: Path, trained: Trained) -> None:
    lines = [
        '{"text": "It broke."}',
        '{"text": ',
        "[1]",
        '{"text": 7}',
        '{"text": null}',
        '{"other": 1}',
        "[" * 100_000,
    ]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, '{"text": "\\ud800"}', '{"text": "It broke."}']) + "\n")
    summary = score(tmp_path / "in.jsonl", tmp_path / "out.jsonl", trained)
    assert (summary["rows"], summary["errors"]) == (9, 7)
    errors = [row["tags"]["error"] for row in read_jsonl(tmp_path / "out.jsonl")]
    assert errors[0] is errors[-1] is None
    expected = ["not JSON", "not a JSON object", "must be a string", "missing", "missing", "not JSON", "surrogate"]
    assert [part in error for part, error in zip(expected, errors[1:-1], strict=True)] == [True] * 7


@pytest.mark.parametrize("output", READ)
@pytest.mark.parametrize("given", WRITE)
def test_rescoring_replaces_the_tags(tmp_path: Path, trained: Trained, given: str, output: str) -> None:
    write_csv(tmp_path / "in.csv", [ROWS[0], {**ROWS[1], "text": ""}])
    score(tmp_path / "in.csv", tmp_path / f"once.{given}", trained)
    once = READ[given](tmp_path / f"once.{given}")
    stale = [
        {**row, **({"tag_owner": "nobody"} if given == "csv" else {"tags": {**row["tags"], "owner": "nobody"}})}
        for row in once
    ]
    WRITE[given](tmp_path / f"stale.{given}", stale)
    score(tmp_path / f"stale.{given}", tmp_path / f"twice.{output}", trained)
    twice = READ[output](tmp_path / f"twice.{output}")
    added = list(FLAT_COLUMNS) if output == "csv" else ["tags"]
    assert [list(row) for row in twice] == [["ref", "text", "note", *added]] * 2
    assert [flat(row) for row in twice] == [flat(row) for row in once]


@pytest.mark.parametrize("output", READ)
def test_a_file_of_headers_alone_is_scored_to_one(tmp_path: Path, trained: Trained, output: str) -> None:
    (tmp_path / "in.csv").write_text("ref,text\n")
    summary = score(tmp_path / "in.csv", tmp_path / f"out.{output}", trained)
    assert summary["rows"] == 0
    assert READ[output](tmp_path / f"out.{output}") == []
    if output == "csv":
        assert (tmp_path / "out.csv").read_text().strip() == ",".join(["ref", "text", *FLAT_COLUMNS])


def test_the_text_may_stand_in_another_column_and_encoding(tmp_path: Path, trained: Trained) -> None:
    (tmp_path / "in.tsv").write_bytes("id\tcomment\n1\tLe café était fermé\n".encode("cp1252"))
    score(tmp_path / "in.tsv", tmp_path / "out.csv", trained, "--text-column", "comment", "--encoding", "cp1252")
    row = read_csv(tmp_path / "out.csv")[0]
    assert (row["comment"], row["tag_error"]) == ("Le café était fermé", "")


def test_more_rows_than_a_batch_come_out_in_order(tmp_path: Path, trained: Trained) -> None:
    write_csv(tmp_path / "in.csv", [{"n": n, "text": "" if n % 10 else "It broke."} for n in range(5000)])
    summary = score(tmp_path / "in.csv", tmp_path / "out.csv", trained)
    assert (summary["rows"], summary["errors"]) == (5000, 4500)
    scored = read_csv(tmp_path / "out.csv")
    assert [int(row["n"]) for row in scored] == list(range(5000))
    assert [bool(row["tag_error"]) for row in scored] == [bool(n % 10) for n in range(5000)]


def test_a_column_named_tags_is_kept_in_csv(tmp_path: Path, trained: Trained) -> None:
    write_csv(tmp_path / "in.csv", [{"text": "It broke.", "tags": "VIP"}])
    score(tmp_path / "in.csv", tmp_path / "out.csv", trained)
    assert READ["csv"](tmp_path / "out.csv")[0]["tags"] == "VIP"


@pytest.mark.parametrize(
    ("given", "output", "row"),
    [
        ("csv", "jsonl", {"text": "It broke.", "tags": "VIP"}),
        ("csv", "csv", {"text": "It broke.", "tag_owner": "me"}),
        ("jsonl", "csv", {"text": "It broke.", "tags": ["VIP"]}),
        ("parquet", "parquet", {"text": "It broke.", "tags": "VIP"}),
    ],
)
def test_a_column_of_the_caller_is_never_overwritten(
    tmp_path: Path, trained: Trained, given: str, output: str, row: dict[str, object]
) -> None:
    WRITE[given](tmp_path / f"in.{given}", [row])
    said = refused(tmp_path / f"in.{given}", tmp_path / f"out.{output}", "--model", trained.bundle)
    assert f"already has a column “{list(row)[1]}”" in said


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, trained: Trained) -> None:
    write_csv(tmp_path / "in.csv", ROWS)
    (tmp_path / "out.csv").write_text("kept")
    said = refused(tmp_path / "in.csv", tmp_path / "out.csv", "--model", trained.bundle, "--text-column", "body")
    assert "“body”" in said
    assert "ref, text, note" in said


@pytest.mark.parametrize("model", ["nobody", "99"])
def test_a_model_that_is_not_there_is_named(tmp_path: Path, champion: str, model: str) -> None:
    write_csv(tmp_path / "in.csv", ROWS)
    assert f"“{model}”" in refused(tmp_path / "in.csv", tmp_path / "out.csv", "--model", model)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", ROWS)
    assert "no bundle here" in refused(tmp_path / "in.csv", tmp_path / "out.csv", "--model", tmp_path)


def test_the_file_that_is_read_is_never_written(tmp_path: Path, trained: Trained) -> None:
    write_csv(tmp_path / "in.csv", ROWS)
    (tmp_path / "link.csv").symlink_to("in.csv")
    for target in (tmp_path / "in.csv", tmp_path / "link.csv"):
        assert "name another" in refused(tmp_path / "in.csv", target, "--model", trained.bundle)


@pytest.mark.parametrize("target", ["folder.csv", "file/out.csv", "out.xlsx", "out"])
def test_a_target_that_cannot_be_written_is_refused(tmp_path: Path, trained: Trained, target: str) -> None:
    write_csv(tmp_path / "in.csv", ROWS)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("a file, where a folder is wanted")
    result = run("score", tmp_path / "in.csv", tmp_path / target, "--model", trained.bundle)
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith(f"error: {tmp_path / target}: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("**/*.part"))


@pytest.mark.parametrize("output", READ)
def test_a_run_that_fails_on_the_way_leaves_the_target_as_it_was(tmp_path: Path, trained: Trained, output: str) -> None:
    source = tmp_path / "in.csv"
    rows = "text\n" + "It broke.\n" + "-\n" * 3000
    source.write_bytes(rows.encode("utf-16") + b"\x00\xd8")  # half of a pair: met when a batch has been written
    target = tmp_path / f"out.{output}"
    target.write_bytes(b"what was there")
    assert "utf-16" in refused(source, target, "--model", trained.bundle)


@pytest.mark.parametrize(
    ("name", "content"),
    [("absent.csv", None), ("empty.csv", b""), ("twice.csv", b"text,text\na,b\n"), ("no.parquet", b"PAR1, it says")],
)
def test_an_input_that_cannot_be_read_is_refused(
    tmp_path: Path, trained: Trained, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert name in refused(tmp_path / name, tmp_path / "out.csv", "--model", trained.bundle)


def test_values_of_parquet_are_plain_in_csv_and_valid_in_json(tmp_path: Path, trained: Trained) -> None:
    source = tmp_path / "in.parquet"
    moment = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    columns = {
        "text": ["It broke."], "at": [moment], "day": [moment.date()], "price": [Decimal("12.50")],
        "odd": [float("nan")], "list": [[1.0, float("inf")]],
    }  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.table(columns), source)
    for name in ("out.csv", "out.jsonl"):
        assert run("score", source, tmp_path / name, "--model", trained.bundle).exit_code == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["at"], row["day"], row["price"]) == ("2026-03-01T09:30:00+00:00", "2026-03-01", "12.50")
    line = json.loads((tmp_path / "out.jsonl").read_text("utf-8"), parse_constant=lambda name: pytest.fail(name))
    assert (line["odd"], line["list"]) == (None, [1.0, None])
