"""How a network is fitted to the rows there are: the choice, that it is told, and that what it chooses works."""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from earful import taxonomy
from earful.feedback import Feedback
from earful.tagger import Tagger
from earful.taxonomy import from_labels
from tests.conftest import STARTER, TAXONOMY, run
from training import encoders, recipe
from training.finetune import IGNORED
from training.network import Collator, FeedbackNetwork
from training.sampling import TOGETHER, InGroups
from training.settings import TrainSettings
from training.sources import Example


def rows(each: int, text: str = "a parcel") -> list[Example]:
    return [
        Example(feedback=Feedback(text=text), source="x", row=n, category=category, urgency=None)
        for category in ("delivery", "billing", "praise")
        for n in range(each)
    ]


def settings(**given: object) -> TrainSettings:
    return TrainSettings.model_validate({"data": ("x.csv",), **given})


def test_few_rows_a_category_are_learned_in_pairs_and_all_of_them() -> None:
    few = recipe.choose(settings(), rows(10))
    assert (few.contrast, few.consistency, few.refit, few.best) == (1, 0, True, False)
    assert few.words
    assert "the middle one has 10" in str(few)
    many = recipe.choose(settings(), rows(100))
    assert (many.contrast, many.consistency, many.refit, many.best) == (0, 1, False, True)
    assert not many.words


def test_what_a_taxonomy_says_of_its_categories_is_there_to_learn_from() -> None:
    said = {
        (row.category, row.feedback.text)
        for row in recipe.words(from_labels(["card_lost", "praise"]), ["card_lost", "praise"])
    }
    assert said == {("card_lost", "card lost"), ("praise", "praise")}
    starter = taxonomy.load(TAXONOMY)
    said = {(row.category, row.feedback.text) for row in recipe.words(starter, starter.names)}
    assert {kind for kind, _ in said} == set(starter.names)
    for kind in starter.categories:
        assert {(kind.name, text) for text in (kind.label, kind.definition, *kind.counts)} <= said
    assert {row.category for row in recipe.words(starter, ["refund"])} == {"refund"}


def test_a_category_that_no_row_has_is_known_as_such_unless_none_has_any() -> None:
    three = from_labels(["a", "b", "c"])
    some = [replace(row, category="ab"[n % 2]) for n, row in enumerate(rows(10))]
    assert recipe.unlabelled(three, some) == ("c",)
    assert recipe.unlabelled(three, [replace(row, category=None) for row in some]) == ()


def test_much_text_is_not_read_twice() -> None:
    assert recipe.choose(settings(), rows(100, "a long story " * 2_000)).consistency == 0


def test_what_was_set_is_done_whatever_the_rows() -> None:
    told = settings(epochs=3, contrast=0, consistency=0.5, refit=False)
    few = recipe.choose(told, rows(10))
    assert (few.epochs, few.contrast, few.consistency, few.refit) == (3, 0, 0.5, False)
    assert recipe.choose(settings(contrast=0.3), rows(100)).contrast == 0.3


def test_every_row_is_learned_once_an_epoch_beside_others_of_its_category() -> None:
    categories = [n % 5 for n in range(103)]
    sampler = InGroups(categories, 0)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(103))
    assert first != second
    assert list(InGroups(categories, 0)) == first
    followed = sum(categories[a] == categories[b] for a, b in pairwise(first))
    assert followed >= 103 * (TOGETHER - 1) / TOGETHER - 5


def test_contrast_costs_more_where_categories_lie_together_than_where_they_lie_apart() -> None:
    torch.manual_seed(0)
    network = FeedbackNetwork(encoders.load("minilm").model, 2, 0, contrast=100.0).train()
    texts = ([101, 2000, 102], [101, 9000, 102])

    def loss(categories: list[int]) -> float:
        labels = {"secondary": IGNORED, "urgency": IGNORED}
        batch = [{"windows": [texts[n // 2]], "category": kind, **labels} for n, kind in enumerate(categories)]
        with torch.no_grad():
            return float(network(**Collator(0)(batch))["loss"])

    assert loss([0, 0, 1, 1]) + 20 < loss([0, 1, 0, 1])


def test_train_learns_from_eight_rows_a_category_and_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    data = few_rows(tmp_path)
    result = run("train", "--data", data, "--split-column", "split", "--out", tmp_path / "bundle", "--json")
    assert result.exit_code == 0, result.output
    told = " ".join(result.stderr.split())
    for part in ("few rows a category (the middle one has 8): 10 epochs", "the taxonomy's words", "a second fit"):
        assert part in told
    assert json.loads(result.stdout)["metrics"]["category_accuracy"] > 0.6


def few_rows(folder: Path) -> Path:
    """Eight rows of each of four categories to learn from, some to stop by, some to test on."""
    every = [json.loads(line) for line in (STARTER / "retail.jsonl").read_text(encoding="utf-8").splitlines()]
    taken: Counter[str] = Counter()
    sides = {"train": 8, "validation": 10, "test": 25}
    lines = []
    for row in every:
        n, kind = taken[row["category"]], row["category"]
        if kind not in {"account_access", "delivery", "safety", "praise"} or n >= 25 or len(row["text"]) > 200:
            continue
        taken[kind] += 1
        side = next(name for name, end in sides.items() if n < end)
        lines.append(json.dumps({"text": row["text"], "category": kind, "split": side}))
    data = folder / "few.jsonl"
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return data


def test_rows_without_labels_are_learned_from_with_what_a_first_model_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    data = few_rows(tmp_path)
    every = [json.loads(line) for line in (STARTER / "travel.jsonl").read_text(encoding="utf-8").splitlines()]
    plain = [{"text": row["text"]} for row in every if len(row["text"]) < 150][:100]
    test = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    plain += [{"text": row["text"].upper()} for row in test if row["split"] == "test"]  # never learned from
    (tmp_path / "plain.jsonl").write_text("\n".join(map(json.dumps, plain)) + "\n{}\n", encoding="utf-8")
    options = ("--unlabelled", tmp_path / "plain.jsonl", "--epochs", 2, "--out", tmp_path / "bundle", "--json")
    result = run("train", "--data", data, "--split-column", "split", *options)
    assert result.exit_code == 0, result.output
    told = " ".join(result.stderr.split())
    for part in ("rejected 1", "100 rows without labels", "some with the labels of a first model"):
        assert part in told
    (found,) = re.findall(r"(\d+) of 100 rows without labels are learned from", told)
    assert 75 <= int(found) <= 85
    assert json.loads(result.stdout)["metrics"]["category_accuracy"] > 0.6


def test_a_category_without_rows_is_learned_from_the_taxonomy_and_its_answers_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    known = ("praise", "account_access", "delivery")
    files = sorted(STARTER.glob("*.jsonl"))
    every = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in every if row["category"] in known and len(row["text"]) < 100][::8]
    data = tmp_path / "three.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    starter = taxonomy.load(TAXONOMY)
    four = starter.model_copy(
        update={"categories": [one for one in starter.categories if one.name in (*known, "safety")], "rules": []}
    )
    kept = {one.name for one in four.categories}
    four = four.model_copy(
        update={
            "categories": [
                one.model_copy(update={"does_not_count": [miss for miss in one.does_not_count if miss.goes_to in kept]})
                for one in four.categories
            ]
        }
    )
    file = tmp_path / "taxonomy.toml"
    file.write_text(four.to_toml(), encoding="utf-8")
    result = run(
        "train", "--data", data, "--taxonomy", file, "--epochs", 2, "--consistency", 0, "--out", tmp_path / "bundle",
        "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "since no row has them: “safety”" in result.stderr
    texts = ("The heater gave off smoke and burned my son's hand.", "Thank you, your driver was wonderful!")
    danger, thanks = Tagger.load(tmp_path / "bundle").tag([Feedback(text=text) for text in texts])
    assert (danger.category.name, danger.category.zero_shot, danger.outcome) == ("safety", True, "needs_review")
    assert (thanks.category.name, thanks.category.zero_shot) == ("praise", False)
    assert "It knows them by what the taxonomy says" in (tmp_path / "bundle" / "card.md").read_text(encoding="utf-8")
