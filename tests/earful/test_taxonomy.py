from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earful import taxonomy
from earful.errors import TaxonomyError
from earful.taxonomy import URGENCIES
from tests.conftest import TAXONOMY

STARTER_NAMES = """
    billing payment refund delivery product_quality technical_fault account_access fraud_security customer_service
    cancellation compliance safety feature_request question praise other
"""

SMALL = """\
name = "small"
version = "1"

[urgency]
low = { label = "Low", definition = "d", respond_within = "P5D" }
normal = { label = "Normal", definition = "d", respond_within = "P2D" }
high = { label = "High", definition = "d", respond_within = "PT8H" }
critical = { label = "Critical", definition = "d", respond_within = "PT1H" }

[[categories]]
name = "billing"
owner = "money"
respond_within = { high = "PT4H" }

[[categories]]
name = "refund"
label = "Refunds"
owner = "money"
does_not_count = [{ example = "e", goes_to = "billing" }]
"""


def test_the_starter_taxonomy_has_its_sixteen_names_in_order() -> None:
    assert list(taxonomy.load(TAXONOMY).names) == STARTER_NAMES.split()


@pytest.mark.parametrize("read", [lambda: taxonomy.load(TAXONOMY), lambda: taxonomy.parse(SMALL)])
def test_writing_and_reading_back_gives_an_equal_taxonomy(read: Callable[[], taxonomy.Taxonomy]) -> None:
    before = read()
    after = taxonomy.parse(before.to_toml())
    assert after == before
    assert after.digest == before.digest


def test_comments_spacing_and_key_order_do_not_change_the_digest() -> None:
    changed = "# new\n" + SMALL.replace('name = "small"\nversion = "1"\n', 'version   = "1" # one\nname = "small"\n')
    assert changed != SMALL
    assert taxonomy.parse(changed).digest == taxonomy.parse(SMALL).digest


@pytest.mark.parametrize(("old", "new"), [('"PT4H"', '"PT5H"'), ('"Refunds"', '"Refund"'), ('"1"', '"2"')])
def test_content_changes_the_digest(old: str, new: str) -> None:
    assert taxonomy.parse(SMALL.replace(old, new)).digest != taxonomy.parse(SMALL).digest


def test_a_category_answers_within_its_own_time_and_else_within_the_level_s() -> None:
    small = taxonomy.parse(SMALL)
    assert [small.respond_within(0, level) for level in URGENCIES] == ["P5D", "P2D", "PT4H", "PT1H"]
    assert [small.respond_within(1, level) for level in URGENCIES] == ["P5D", "P2D", "PT8H", "PT1H"]


def test_a_category_without_a_label_is_shown_by_its_name() -> None:
    small = taxonomy.parse(SMALL)
    assert [small.label(0), small.label(1)] == ["billing", "Refunds"]


MALFORMED = {
    "duplicate names": (
        ('name = "refund"', 'name = "billing"'),
        'line 16: categories 1 and 2 are both named "billing"',
    ),
    "unknown urgency": (("{ high =", "{ urgent ="), 'line 13: category 1 ("billing"): respond_within: urgent'),
    "missing owner": (('owner = "money"\ndoes', "does"), 'line 15: category 2 ("refund"): owner: is missing'),
    "blank owner": (('owner = "money"\ndoes', 'owner = " "\ndoes'), 'line 18: category 2 ("refund"): owner'),
    "missing name": (('name = "refund"\n', ""), "line 15: category 2: name: is missing"),
    "bad duration": (
        ('"PT4H"', '"4 hours"'),
        'line 13: category 1 ("billing"): respond_within: high: is not an ISO 8601',
    ),
    "no duration": (('"PT4H"', '"PT0S"'), 'line 13: category 1 ("billing"): respond_within: high: is not an ISO 8601'),
    "negative duration": (
        ('"PT4H"', '"-PT4H"'),
        'line 13: category 1 ("billing"): respond_within: high: is not an ISO 8601',
    ),
    "bad level": (('"P5D"', '"soon"'), "line 5: urgency: low: respond_within: is not an ISO 8601"),
    "missing level": (("\nhigh =", "\n# high ="), "line 4: [urgency.high] is missing"),
    "strange level": (("\nhigh =", "\nurgent ="), "line 7: urgency: urgent"),
    "near miss to nowhere": (
        ('goes_to = "billing"', 'goes_to = "bills"'),
        'line 19: "refund" sends a near miss to "bills"',
    ),
    "unknown key": (('label = "Refunds"', 'lable = "Refunds"'), 'line 17: category 2 ("refund"): lable'),
    "unknown stage": (('label = "Refunds"', 'stage = "later"'), 'line 17: category 2 ("refund"): stage'),
    "number for text": (('version = "1"', "version = 1"), "line 2: version: Input should be a valid string"),
    "not TOML": (('version = "1"', "version 1"), "at line 2, column 9"),
}


@pytest.mark.parametrize(("change", "place"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_taxonomy_is_refused_with_file_line_and_place(
    tmp_path: Path, change: tuple[str, str], place: str
) -> None:
    file = tmp_path / "taxonomy.toml"
    content = SMALL.replace(*change, 1)
    assert content != SMALL
    file.write_text(content, encoding="utf-8")
    with pytest.raises(TaxonomyError) as caught:
        taxonomy.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert place in str(caught.value)


RULES = (
    SMALL
    + """
[[rules]]
name = "deadline"
patterns = ['by (mon|fri)day', 'deadline']
matches = ["I need it BY Friday."]
does_not_match = ["It came on Friday."]
raises_to = "high"

[[rules]]
name = "late"
patterns = ['\\blate\\b']
matches = ["It is late."]
"""
)
MISWRITTEN = {
    "no expression": (("'deadline'", "'(deadline'"), 'line 23: rule 1 ("deadline"): patterns: 1: is no regular expr'),
    "looking ahead": (("'deadline'", "'a(?=b)'"), 'line 23: rule 1 ("deadline"): patterns: 1: is no regular expr'),
    "matching all": (("'deadline'", "'x*'"), 'line 23: rule 1 ("deadline"): patterns: 1: matches nothing at all'),
    "no pattern": (("['by (mon|fri)day', 'deadline']", "[]"), 'line 23: rule 1 ("deadline"): patterns: List should'),
    "missed example": (("BY Friday", "by then"), 'line 24: "deadline" does not match its example "I need it by then."'),
    "caught example": (("came on", "came by"), 'line 25: "deadline" matches its counter-example "It came by Friday."'),
    "strange level": (('"high"\n\n[[rules', '"soon"\n\n[[rules'), 'line 26: rule 1 ("deadline"): raises_to: Input'),
    "no name": (('name = "late"', ""), "line 28: rule 2: name: is missing"),
    "same name": (('name = "late"', 'name = "deadline"'), 'line 29: two rules are named "deadline"'),
}


@pytest.mark.parametrize(("change", "place"), MISWRITTEN.values(), ids=MISWRITTEN)
def test_a_rule_that_does_not_keep_to_its_examples_is_refused_with_its_line(
    change: tuple[str, str], place: str
) -> None:
    content = RULES.replace(*change, 1)
    assert content != RULES
    with pytest.raises(TaxonomyError) as caught:
        taxonomy.parse(content)
    assert str(caught.value).startswith(place)


def test_rules_give_the_reasons_of_a_text_and_the_level_that_they_raise_it_to() -> None:
    found = taxonomy.parse(RULES)
    reasons = {text: found.reasons(text) for text in ("Late! The DEADLINE is near", "it is late", "It was later.", "")}
    assert [[rule.name for rule in some] for some in reasons.values()] == [["deadline", "late"], ["late"], [], []]
    assert [URGENCIES[taxonomy.floor(some)] for some in reasons.values()] == ["high", "low", "low", "low"]
    assert taxonomy.parse(found.to_toml()) == found
    assert taxonomy.parse(SMALL).reasons("deadline") == []


@pytest.mark.parametrize("entries", ["categories = []", "categories = [1]", "categories = 3", ""])
def test_a_taxonomy_without_categories_is_refused(entries: str) -> None:
    head = f"{entries}\n{SMALL[: SMALL.index('[[categories]]')]}"
    with pytest.raises(TaxonomyError, match="categor"):
        taxonomy.parse(head)


def test_not_utf8_is_refused_with_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "taxonomy.toml"
    file.write_bytes(SMALL.replace("Refunds", "Remboursé").encode("latin-1"))
    with pytest.raises(TaxonomyError, match=rf"{file}: byte \d+ is not UTF-8"):
        taxonomy.load(file)


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TaxonomyError, match="cannot be read"):
        taxonomy.load(tmp_path / name)


@settings(deadline=None)
@given(st.lists(st.text(min_size=1).filter(str.strip).map(str.strip), min_size=1))
def test_labels_alone_make_a_taxonomy_that_can_be_written(labels: list[str]) -> None:
    made = taxonomy.from_labels(labels)
    assert made.names == tuple(sorted(set(labels)))
    assert taxonomy.parse(made.to_toml()).digest == made.digest
    assert taxonomy.from_labels(reversed(labels)).digest == made.digest


def test_a_file_that_an_editor_began_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(SMALL, encoding="utf-8-sig")
    assert taxonomy.load(tmp_path / "t.toml") == taxonomy.parse(SMALL)


def test_a_near_miss_goes_to_another_category() -> None:
    with pytest.raises(TaxonomyError, match="no other category"):
        taxonomy.parse(SMALL.replace('goes_to = "billing"', 'goes_to = "refund"'))
