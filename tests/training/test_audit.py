"""`earful audit`: labels spoilt on purpose are found, and the file that it writes can be corrected and learned from."""

import csv
import json
import random
from pathlib import Path

import pytest

from tests.conftest import Trained, run

SPOILT = 25
PICKED = ("billing", "delivery", "praise", "account_access")


@pytest.fixture(scope="module")
def rows(trained: Trained) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in trained.data.read_text(encoding="utf-8").splitlines()]
    return [{"text": row["text"], "category": row["category"]} for row in lines if row["category"] in PICKED]


def write(rows: list[dict[str, str]], path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "category"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_labels_that_were_spoilt_are_most_of_what_is_found(rows: list[dict[str, str]], tmp_path: Path) -> None:
    chance = random.Random(0)
    chosen = chance.sample(range(len(rows)), SPOILT)
    spoilt = {n: chance.choice([name for name in PICKED if name != rows[n]["category"]]) for n in chosen}
    given = [{**row, "category": spoilt.get(n, row["category"])} for n, row in enumerate(rows)]
    data = write(given, tmp_path / "a.csv")
    result = run("audit", "--data", data, "--out", tmp_path / "out.csv", "--json")
    assert result.exit_code == 0, result.output
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert json.loads(result.stdout)["doubtful"] == len(found)
    places = [int(row["row"]) - 1 for row in found]
    assert len(set(places) & set(spoilt)) > 0.7 * SPOILT
    assert len(set(places[:SPOILT]) & set(spoilt)) > 0.5 * SPOILT  # the most doubtful first
    right = [row["suggested"] == rows[n]["category"] for row, n in zip(found, places, strict=True) if n in spoilt]
    assert sum(right) > 0.8 * len(right)


def test_the_same_text_with_another_label_is_found(rows: list[dict[str, str]], tmp_path: Path) -> None:
    text = "The parcel that I ordered for my mother came to the wrong house, and nobody there had heard of us."
    twice = [{"text": text, "category": "delivery"}, *rows, {"text": f"{text.upper()} ", "category": "praise"}]
    assert run("audit", "--data", write(twice, tmp_path / "a.csv"), "--out", tmp_path / "out.csv").exit_code == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = {row["row"]: row for row in csv.DictReader(file)}
    assert found[str(len(twice))]["suggested"] == "delivery"


def test_a_corrected_file_is_what_train_learns_from(
    rows: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    two = [row for row in rows if row["category"] in ("billing", "praise")]
    spoilt = [row for row in two if row["category"] == "praise"][4:]
    wrong = write([{**row, "category": "billing"} if row in spoilt else row for row in two], tmp_path / "wrong.csv")
    praise = [{**row, "text": row["text"].upper()} for row in spoilt]
    options = ("--epochs", 1, "--consistency", 0, "--out", tmp_path / "bundle", "--json")
    result = run("train", "--data", wrong, "--corrections", write(praise, tmp_path / "corrected.csv"), *options)
    assert result.exit_code == 0, result.output
    assert "removed 0 duplicates" in result.stderr
    found = run("evaluate", "--data", write(two, tmp_path / "right.csv"), "--model", tmp_path / "bundle", "--json")
    assert json.loads(found.stdout)["metrics"]["category_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["only one,a"] * 3, "two categories of at least 5 rows"),
        (["text here,a", "other,b"], "two categories of at least 5 rows"),
    ],
)
def test_too_little_to_judge_by_is_said(tmp_path: Path, lines: list[str], said: str) -> None:
    (tmp_path / "few.csv").write_text("text,category\n" + "\n".join(lines) + "\n", encoding="utf-8")
    result = run("audit", "--data", tmp_path / "few.csv", "--out", tmp_path / "out.csv")
    assert (result.exit_code, said in result.stderr) == (1, True), result.output
    assert not (tmp_path / "out.csv").exists()


def test_a_file_that_somebody_may_have_corrected_is_not_written_over(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine", encoding="utf-8")
    result = run("audit", "--data", trained.data, "--out", tmp_path / "out.csv")
    assert (result.exit_code, "is there already" in result.stderr) == (1, True)
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "mine"


def test_a_slip_in_a_correction_is_rejected_and_makes_no_category(
    rows: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    slip = write([{"text": rows[0]["text"], "category": "bililng"}], tmp_path / "slip.csv")
    options = ("--epochs", 1, "--consistency", 0, "--out", tmp_path / "bundle", "--json")
    result = run("train", "--data", write(rows, tmp_path / "a.csv"), "--corrections", slip, *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rejected"] == 1
    assert "“bililng” is not a category of the taxonomy; did you mean “billing”?" in " ".join(result.stderr.split())
