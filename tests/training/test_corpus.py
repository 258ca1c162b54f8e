"""The corpus: nothing that is alike, and no customer, is on two sides of the split."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earful.errors import InputError
from earful.feedback import Feedback
from training.corpus import Corpus, build
from training.settings import TrainSettings
from training.sources import Example

START = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = [
    "parcel",
    "card",
    "refund",
    "late",
    "broken",
    "agent",
    "phone",
    "code",
    "price",
    "gas",
    "water",
    "login",
    "shirt",
    "driver",
    "hotel",
    "seat",
    "menu",
    "fee",
]


def example(text: str, category: str = "a", row: int = 1, **other: object) -> Example:
    moment, customer, split = (other.get(name) for name in ("created_at", "customer_id", "split"))
    feedback = Feedback.model_validate({"text": text, "created_at": moment, "customer_id": customer})
    return Example("rows.csv", row, feedback, category, None, split)  # type: ignore[arg-type]


def distinct(count: int, **other: object) -> list[Example]:
    """Texts that share no five characters in a row to speak of."""
    return [
        example(
            f"{WORDS[n % 18]}{n} {WORDS[n * 7 % 18]}{n * 31} {n * 977} {WORDS[n * 5 % 18]}", "ab"[n % 2], n, **other
        )
        for n in range(count)
    ]


def choices(**other: object) -> TrainSettings:
    return TrainSettings(data=("rows.csv",), **other)  # type: ignore[arg-type]


def sides(corpus: Corpus) -> dict[str, tuple[Example, ...]]:
    return {"train": corpus.train, "validation": corpus.validation, "test": corpus.test}


def texts(corpus: Corpus) -> list[str]:
    return [one.feedback.text for rows in sides(corpus).values() for one in rows]


def test_exact_copies_are_removed_whatever_their_case_and_spacing() -> None:
    corpus = build([*distinct(60), example("Where  is my BAG?"), example("where is my bag?")], [], choices())
    assert corpus.duplicates == 1
    assert len(texts(corpus)) == 61


def test_copies_with_several_labels_keep_the_commonest() -> None:
    same = [example("what a day this was", label, row) for row, label in enumerate("bab", 100)]
    corpus = build([*distinct(60), *same], [], choices())
    [kept] = [one for rows in sides(corpus).values() for one in rows if one.feedback.text == "what a day this was"]
    assert (kept.category, corpus.conflicts) == ("b", 1)


def test_near_copies_are_removed_unless_their_labels_differ() -> None:
    letter = "I dispute every item on this report and ask that it be verified within thirty days of this letter, ref {}"
    rows = [*distinct(60), example(letter.format(1)), example(letter.format(2)), example(letter.format(3), "b")]
    corpus = build(rows, [], choices())
    assert corpus.near_duplicates == 1
    assert sum("dispute every item" in text for text in texts(corpus)) == 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8)), min_size=60, max_size=120), st.integers(0, 5))
def test_neither_customers_nor_alike_texts_straddle(rows: list[tuple[int, int]], seed: int) -> None:
    """Customers write several messages each; some messages repeat another but for their last words."""
    made = [
        example(
            f"{WORDS[story]} {WORDS[story + 5]} trouble {story * 7919} at the {WORDS[story + 3]} desk, part {n % 3}",
            "ab"[n % 2], n, customer_id=f"c{customer}" if customer else None,
        )
        for n, (story, customer) in enumerate(rows)
    ]  # fmt: skip
    try:
        corpus = build(made, [], choices(seed=seed))
    except InputError:
        return  # one great group: nothing can be kept back, and that is said
    owner: dict[str, str] = {}
    for side, examples in sides(corpus).items():
        for one in examples:
            for key in (one.feedback.customer_id, one.feedback.text.rsplit(",", 1)[0]):
                assert key is None or owner.setdefault(key, side) == side


def test_every_row_is_somewhere_once_and_the_parts_are_as_asked() -> None:
    rows = distinct(400)
    corpus = build(rows, [], choices(validation_fraction=0.1, test_fraction=0.2))
    assert sorted(texts(corpus)) == sorted(one.feedback.text for one in rows)
    assert (len(corpus.validation), len(corpus.test)) == (pytest.approx(40, abs=4), pytest.approx(80, abs=8))
    assert {one.category for one in corpus.test} == {"a", "b"}


def test_the_same_seed_gives_the_same_corpus_and_another_another() -> None:
    rows = distinct(200)
    assert build(rows, [], choices()).data_hash == build(rows, [], choices()).data_hash
    assert build(rows, [], choices()).data_hash != build(rows, [], choices(seed=1)).data_hash


def test_a_split_by_time_keeps_the_newest_for_the_test() -> None:
    rows = [
        example(one.feedback.text, one.category or "", n, created_at=START + timedelta(days=n))
        for n, one in enumerate(distinct(200))
    ]
    corpus = build(rows, [], choices(split="time"))
    newest = {side: max(one.row for one in examples) for side, examples in sides(corpus).items()}
    oldest = {side: min(one.row for one in examples) for side, examples in sides(corpus).items()}
    assert newest["train"] < oldest["validation"]
    assert newest["validation"] < oldest["test"]


def test_a_split_by_time_without_dates_says_which_row_has_none() -> None:
    with pytest.raises(InputError, match=r"row \d+: has no date"):
        build(distinct(100), [], choices(split="time"))


def test_the_callers_split_is_taken_and_its_copies_leave_the_training_side() -> None:
    rows = [
        *distinct(60, split="train"),
        example("only once please", "a", 900, split="train"),
        example("only once please", "a", 901, split="test"),
        *[example(f"checking {word} {word}", "b", 950, split="validation") for word in WORDS],
    ]
    corpus = build(rows, [], choices())
    assert [one.row for one in corpus.test] == [901]
    assert len(corpus.validation) == len(WORDS)
    assert corpus.duplicates == 1


def test_the_callers_own_test_rows_all_stay_and_none_are_taken_from_the_data() -> None:
    own = [example("mine to keep, number one"), example("mine to keep, number one!")]
    corpus = build(distinct(100), own, choices())
    assert len(corpus.test) == 2


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_little_data_is_said(count: int) -> None:
    with pytest.raises(InputError, match="usable rows"):
        build(distinct(count), [], choices())


def test_however_many_rows_are_given_to_test_on_as_many_are_learned_from() -> None:
    rows = distinct(460)
    corpus = build(rows[:60], rows[60:], TrainSettings(data=("x",)))
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (54, 6, 400)


def test_rows_that_support_are_only_learned_from_and_go_if_like_one_that_is_measured_on() -> None:
    rows = distinct(60)
    support = [replace(row, category=None, urgency="low", supports=True) for row in distinct(90)[60:]]
    known = build(rows, [], TrainSettings(data=("x",)))
    like = [
        replace(one, feedback=Feedback(text=one.feedback.text + " now"), category=None, urgency="low", supports=True)
        for one in (known.train[0], known.validation[0], known.test[0])
    ]
    corpus = build([*rows, *support, *like], [], TrainSettings(data=("x",)))
    assert (corpus.validation, corpus.test) == (known.validation, known.test)
    assert {row.feedback.text for row in corpus.train if row.supports} == {
        row.feedback.text for row in (*support, like[0])
    }


def test_a_label_that_is_rare_is_never_kept_back() -> None:
    corpus = build([*distinct(200), example("the only one of its kind", "rare")], [], choices())
    assert "rare" in {one.category for one in corpus.train}


def test_a_correction_wins_field_by_field_and_the_last_one_over_the_first() -> None:
    rows = [replace(row, urgency="low", split="test" if row.row < 20 else "train") for row in distinct(60)]
    said = [
        replace(rows[3], category="z", urgency=None, split=None, corrected=True),
        replace(rows[30], category="y", urgency="high", split=None, corrected=True),
        replace(rows[30], category="z", urgency=None, split=None, corrected=True),
        replace(example("A text that stands nowhere else", "z", 99), corrected=True),
    ]
    corpus = build([*rows, *said], [], choices(validation_fraction=0.1))
    by_row = {one.row: (one.category, one.urgency) for side in sides(corpus).values() for one in side}
    assert (by_row[3], by_row[30], by_row[99]) == (("z", "low"), ("z", "high"), ("z", None))
    assert {one.row for one in corpus.test} == set(range(20))
    assert (corpus.duplicates, corpus.conflicts) == (0, 0)
