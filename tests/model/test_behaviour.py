"""How the trained starter model behaves when a text changes: what must not matter, and what must.

Each test tries many texts and allows a share to go wrong, since a model is no rule; whatever goes wrong is named.
"""

import random

import pytest

from earful import taxonomy
from tests.conftest import TAXONOMY
from tests.model.conftest import Starter

TEXTS = (
    "You charged me twice for the same month and I want the second amount corrected.",
    "My card is declined at your checkout although there is money on it.",
    "I sent the boots back in March and my money has still not come.",
    "The parcel has been sitting in the depot in Leeds for nine days.",
    "The seams of the coat came apart after a single wash.",
    "The app crashes every time I open the calendar.",
    "I cannot log in, the code goes to my old number.",
    "Somebody bought two phones with my card in a town I have never been to.",
    "Your agent laughed at me and put the phone down.",
    "Please end my subscription at the end of this month.",
    "Under data protection law I ask you to send me a copy of everything you hold on me.",
    "The heater you sold us gives off sparks when we plug it in.",
    "It would be great if the app could show the bus times as well.",
    "Which of your shops is open on Sundays?",
    "Thank you so much, Priya solved it in two minutes and was lovely.",
)
NAMES = {"Priya": "Tobias", "Leeds": "Porto", "March": "August", "Sundays": "Mondays"}
WRAPPINGS = {
    "greeting": "Hello, I hope you are well. {} Many thanks in advance and kind regards.",
    "signature": "{}\n\nSent from my phone",
    "ticket header": "Ticket 4412, received by web form, priority unset\n\n{}",
    "external notice": "CAUTION: this message came from outside the organisation.\n\n{}",
    "signed": "{}\n\nBest,\nMarta Lindqvist\nRiverside Road 8",
    "handle": "@yourhelpdesk {}",
}
RAISED = (
    ("The boiler in the flat makes a noise.", "I smell gas."),
    ("The delivery has not come.", "It is my daughter's insulin and she has none left."),
    ("My order is late.", "I need it by tomorrow morning."),
    ("The invoice is wrong.", "This is the third time I write and nothing has happened."),
    ("The lift in our building is out of order.", "A man is stuck inside and says that his chest hurts."),
    ("I cannot log in.", "Somebody is moving money out of the account as I write."),
    ("The refund has not arrived.", "If it is not here on Friday I am leaving and going to the regulator."),
    ("The new phone gets warm.", "It has just caught fire on the bedside table."),
    ("Our booking system is slow.", "Since eight it is down for the whole hospital and no patient can be admitted."),
    ("I have a question on the tablets you gave me.", "I took four at once by mistake and feel faint."),
    ("There is a wrong entry on my file.", "The court hearing is tomorrow at nine."),
)
LOWERED = (
    ("The delivery has not come.", "No rush at all, whenever you have time."),
    ("The refund has not arrived.", "It came this morning after all, so there is nothing to do."),
    ("The lift in our building is out of order.", "Your engineer has just mended it, thank you."),
    ("I cannot log in.", "I have found the mistake myself; no need to answer."),
    ("You charged me twice for the same month.", "You have put it right already; I only mention it."),
    ("The app crashes every time I open the calendar.", "Just saying, I can live with it."),
    ("My card is declined at your checkout.", "It went through on the second try, all is well."),
)


def complain(wrong: list[str], tried: int, allowed: float) -> None:
    """Fail, naming every text, if more than the `allowed` share went wrong."""
    assert len(wrong) <= allowed * tried, f"{len(wrong)} of {tried} went wrong:\n" + "\n".join(wrong)


def changed(starter: Starter, pairs: list[tuple[str, str, str]]) -> list[str]:
    """The pairs (text, what was done to it, the outcome) whose category is not the same."""
    before = starter.categories(*(text for text, _, _ in pairs))
    after = starter.categories(*(other for _, _, other in pairs))
    return [
        f"{how}: {text!r}: {one} → {two}"
        for (text, how, _), one, two in zip(pairs, before, after, strict=True)
        if one != two
    ]


def misspelt(text: str, seed: int) -> str:
    """Two neighbouring letters exchanged in each of two longer words."""
    words = text.split()
    chance = random.Random(seed)
    for n in chance.sample([n for n, word in enumerate(words) if len(word) > 4], 2):
        k = chance.randrange(1, len(words[n]) - 2)
        words[n] = words[n][:k] + words[n][k + 1] + words[n][k] + words[n][k + 2 :]
    return " ".join(words)


def test_the_texts_themselves_are_understood(starter: Starter) -> None:
    expected = [
        "billing payment refund delivery product_quality technical_fault account_access fraud_security",
        "customer_service cancellation compliance safety feature_request question praise",
    ]
    right = " ".join(expected).split()
    found = starter.categories(*TEXTS)
    wrong = [f"{text!r} should be {a}, is {b}" for text, a, b in zip(TEXTS, right, found, strict=True) if a != b]
    complain(wrong, len(TEXTS), allowed=0.1)


@pytest.mark.parametrize("how", WRAPPINGS)
def test_what_surrounds_a_text_does_not_change_its_category(starter: Starter, how: str) -> None:
    pairs = [(text, how, WRAPPINGS[how].format(text)) for text in TEXTS]
    complain(changed(starter, pairs), len(pairs), allowed=0.2)


def test_names_and_places_do_not_change_the_category(starter: Starter) -> None:
    pairs = [
        (text, f"{name} → {other}", text.replace(name, other))
        for text in TEXTS
        for name, other in NAMES.items()
        if name in text
    ]
    assert len(pairs) == len(NAMES)
    complain(changed(starter, pairs), len(pairs), allowed=0.0)


def test_case_and_a_missing_full_stop_do_not_change_the_category(starter: Starter) -> None:
    pairs = [(text, how, change(text)) for text in TEXTS for how, change in CASES.items()]
    complain(changed(starter, pairs), len(pairs), allowed=0.05)


CASES = {"upper case": str.upper, "lower case": str.lower, "no full stop": lambda text: text.rstrip(".?")}


def test_slips_of_the_keyboard_do_not_change_the_category(starter: Starter) -> None:
    pairs = [(text, "misspelt", misspelt(text, seed)) for text in TEXTS for seed in range(3)]
    complain(changed(starter, pairs), len(pairs), allowed=0.15)


def moved(starter: Starter, pairs: tuple[tuple[str, str], ...]) -> list[tuple[float, str]]:
    """By how much the second sentence of each pair moves the urgency of the first, and both in words."""
    before = starter.urgency(*(text for text, _ in pairs))
    after = starter.urgency(*(f"{text} {more}" for text, more in pairs))
    return [
        (b - a, f"{text!r} + {more!r}: {a:.2f} → {b:.2f}")
        for (text, more), a, b in zip(pairs, before, after, strict=True)
    ]


def test_danger_deadlines_and_repetition_raise_urgency(starter: Starter) -> None:
    complain([said for by, said in moved(starter, RAISED) if by < 0.1], len(RAISED), allowed=0.1)


def test_no_rush_lowers_urgency(starter: Starter) -> None:
    complain([said for by, said in moved(starter, LOWERED) if by > -0.05], len(LOWERED), allowed=0.15)


@pytest.mark.parametrize("shout", [str.upper, lambda text: text.rstrip(".?") + "!!!!"], ids=["capitals", "marks"])
def test_shouting_alone_does_not_raise_the_level(starter: Starter, shout: "type[str]") -> None:
    calm, loud = (starter.urgency(*texts) for texts in (TEXTS, [shout(text) for text in TEXTS]))
    wrong = [f"{text!r}: {a:.2f} → {b:.2f}" for text, a, b in zip(TEXTS, calm, loud, strict=True) if b > a + 1 / 6]
    complain(wrong, len(TEXTS), allowed=0.1)


def test_every_example_of_the_taxonomy_goes_where_the_taxonomy_says(starter: Starter) -> None:
    """Those that count and the near misses: the model has seen none of them."""
    categories = taxonomy.load(TAXONOMY).categories
    cases = [(text, category.name) for category in categories for text in category.counts]
    cases += [(miss.example, miss.goes_to) for category in categories for miss in category.does_not_count]
    found = starter.tag(*(text for text, _ in cases))
    wrong = [
        f"{text!r} should be {right}, is {tags.category.name} ({tags.category.confidence:.2f})"
        for (text, right), tags in zip(cases, found, strict=True)
        if tags.category.name != right
    ]
    complain(wrong, len(cases), allowed=0.2)
    for category in categories:
        mine = [tags.category.name for (_, right), tags in zip(cases, found, strict=True) if right == category.name]
        assert category.name in mine, f"{category.name}: none of its {len(mine)} cases was understood"


def test_the_gold_set_is_read_about_as_well_as_the_readme_says(starter: Starter) -> None:
    assert starter.metrics["category_accuracy"] >= 0.7
    assert starter.metrics["urgency_kappa"] >= 0.75
    assert starter.metrics["urgency_recall_critical"] >= 0.8


TWO_ISSUES = {
    "The parcel never came, and your agent on the phone called me a liar.": {"delivery", "customer_service"},
    "You billed me for two months I did not use, and now I cannot log in to see the invoice.": {
        "billing",
        "account_access",
    },
    "The heater arrived ten days late and then it sparked and scorched the wall.": {"delivery", "safety"},
    "I want to cancel the contract, and I want the deposit back.": {"cancellation", "refund"},
    "The app crashes at checkout, and the card was charged twice all the same.": {"technical_fault", "billing"},
    "The soup was cold and the waiter laughed at us when we said so.": {"product_quality", "customer_service"},
}


def test_two_issues_in_one_message_are_both_listed(starter: Starter) -> None:
    listed = [{one.name for one in tags.categories or []} for tags in starter.tag(*TWO_ISSUES)]
    both = [found >= wanted for found, wanted in zip(listed, TWO_ISSUES.values(), strict=True)]
    assert sum(both) >= 3, listed


def test_one_issue_is_mostly_listed_alone(starter: Starter) -> None:
    texts = ["The parcel never came.", "Thank you, that was quick.", "I cannot log in.", "Please cancel my contract."]
    assert sum(len(tags.categories or []) == 1 for tags in starter.tag(*texts)) >= 3


BAD = [
    "Terrible",
    "awful!",
    "Bad",
    "Worst ever.",
    "Horrible experience",
    "👎",
    "😡",
    "Really disappointing",
    "dreadful",
]
GOOD = ["Great", "lovely!", "Good", "Best ever.", "Wonderful experience", "👍", "😍", "Really pleased", "excellent"]


def test_a_bare_verdict_is_praise_only_if_it_is_a_good_one(starter: Starter) -> None:
    assert [text for text, name in zip(BAD, starter.categories(*BAD), strict=True) if name == "praise"] == []
    assert starter.categories(*GOOD).count("praise") >= len(GOOD) - 1


FOREIGN = [
    "def area(radius): return 3.14159 * radius ** 2  # metres",
    "Whisk the egg whites until stiff, fold them into the batter and bake for forty minutes.",
    "The heart pumps blood through two circuits, one to the lungs and one to the rest of the body.",
    "Whose woods are these? The moon had risen over the frozen lake, and an owl called twice.",
    "SELECT name, count(*) FROM orders GROUP BY name HAVING count(*) > 3;",
    "In 1648 the treaties of Westphalia ended thirty years of war in central Europe.",
    "asdf qwer zxcv hjkl uiop vbnm",
    "0x7f3a 0x00ff 0x1c 0x9e 0x44 0xab 0xcd",
    "The derivative of a product is the first times the derivative of the second plus the second times the first's.",
    "Knight to f6, bishop takes e5, and White resigned on move forty-one.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    '{"status": 200, "items": [1, 2, 3], "next": null}',
]


def test_some_texts_that_are_no_feedback_are_out_of_scope_and_hardly_any_feedback_is(starter: Starter) -> None:
    """Broad categories leave little outside: a third of these is what to expect, and nearly none of the gold set."""
    assert sum(tags.outcome == "out_of_scope" for tags in starter.tag(*FOREIGN)) >= 3
    assert starter.metrics["category_in_scope_share"] >= 0.94
