"""What topics are called, and what is left out before they are sought."""

import numpy as np
import pytest

from training.topics import boilerplate, words

BAGS = [
    "My lost bag never came to the hotel", "They lost my bag and the bag claim desk was shut",
    "Still waiting for a lost bag, the claim desk knows nothing", "The bag claim form asks for the same thing twice",
    "Where is my lost bag? The claim desk does not call back",
]  # fmt: skip
BILLS = [
    "I was charged twice on the March invoice", "The invoice says I was charged twice for one month",
    "Charged twice again, and the invoice is wrong", "Please correct the invoice, I was charged twice",
    "An invoice came that I paid already, charged twice",
]  # fmt: skip


def test_topics_are_named_in_their_own_words_and_share_none() -> None:
    bags, bills = words.describe([*BAGS, *BILLS], np.repeat([0, 1], 5), 2)
    assert {"bag", "claim"} <= set(bags.keywords)
    assert {"charged", "invoice"} <= set(bills.keywords)
    assert not set(bags.keywords) & set(bills.keywords)
    assert bags.label in {"lost bag", "claim desk", "bag claim"}
    assert bills.label == "charged twice"
    assert words.diversity([bags, bills]) == 1.0


def test_words_that_are_said_together_are_coherent_and_others_are_not() -> None:
    together = [f"alpha beta gamma number{n}" for n in range(20)] + [f"delta epsilon zeta number{n}" for n in range(20)]
    apart = [word for n in range(20) for word in ("alpha", "beta", "gamma")] + ["delta epsilon zeta"] * 20
    good = words.describe(together, np.repeat([0, 1], 20), 2)[0]
    bad = words.describe(apart, np.repeat([0, 1], [60, 20]), 2)[0]
    assert good.coherence == pytest.approx(1.0, abs=0.3)
    assert bad.coherence == pytest.approx(-1.0, abs=0.01)


def test_a_topic_without_a_phrase_of_its_own_is_called_by_its_keywords() -> None:
    found = words.describe(["refund", "refund", "delay", "delay"], np.array([0, 0, 1, 1]), 2)
    assert [topic.label for topic in found] == ["refund", "delay"]


def test_messages_without_words_have_topics_without_keywords() -> None:
    found = words.describe(["12 34", "56", "ok ok fine", "ok fine"], np.array([0, 0, 1, 1]), 2)
    assert found[0].keywords == ()
    assert found[0].label == "topic 1"


def test_what_many_share_word_for_word_is_left_out_and_what_they_say_is_not() -> None:
    footer = "This e-mail is confidential and meant for its addressee alone."
    texts = [f"Order {n} came late and cold. {footer}" for n in range(30)] + ["It broke.\n> It broke you say?\nYes."]
    made = boilerplate.without(texts)
    assert made[0] == "Order 0 came late and cold."
    assert made[-1] == "It broke. Yes."


def test_a_text_that_is_shared_from_end_to_end_stays() -> None:
    assert boilerplate.without(["Please take me off this list now."] * 30) == ["Please take me off this list now."] * 30
