import json
import random
import re

import pytest

from earful.explain import explain
from earful.feedback import Feedback
from earful.tagger import Tagger
from earful.tags import Evidence
from earful.taxonomy import URGENCIES
from tests.conftest import Trained

FILLER = "We have been with you since the spring and my sister as well, she lives round the corner from the shop. "
TELLING = "you charged my card twice for the same bill"
BILL = "The invoice is too high and the monthly fee is not what we agreed. "
TEXTS = [
    f"Good morning. {BILL}Today {TELLING}. {FILLER}",
    f"👩‍👩‍👧 {BILL} 🙂 e\u0301te\u0301 — {TELLING} \u200b … {FILLER}",
    (BILL + FILLER) * 3 + f"Why {TELLING}? " + (FILLER + BILL) * 3,
]


def evidence(tagger: Tagger, text: str) -> list[Evidence]:
    item = Feedback(text=text)
    return explain(tagger, item, tagger.tag([item])[0]).evidence or []


@pytest.mark.parametrize("text", [*TEXTS, "x", "  spaced   out\tby\nmany  ", "no" * 3000], ids=range(6))
def test_spans_are_words_of_the_text_as_it_was_sent(tagger: Tagger, text: str) -> None:
    for one in evidence(tagger, text):
        span = text[one.start : one.end]
        assert span
        assert span == span.strip()
        assert one.weight > 0


@pytest.mark.parametrize("text", TEXTS, ids=["plain", "emoji", "long"])
def test_the_strongest_evidence_of_the_category_is_among_the_words_that_tell_it(tagger: Tagger, text: str) -> None:
    assert tagger.tag([Feedback(text=text)])[0].category.name == "billing"
    telling = [match.span() for part in (BILL.strip(), TELLING) for match in re.finditer(re.escape(part), text)]
    best = next(one for one in evidence(tagger, text) if one.head == "category")
    assert any(best.start < end and start < best.end for start, end in telling)


def test_an_answer_loses_more_without_its_evidence_than_without_as_many_other_words(
    trained: Trained, tagger: Tagger
) -> None:
    rows = [json.loads(line)["text"] for line in trained.data.read_text(encoding="utf-8").splitlines()]
    texts = [text for text in rows if len(text.split()) >= 15][:60]
    order = random.Random(0)
    losses = {"category": ([], []), "urgency": ([], [])}
    for text in texts:
        for head, (strongest, other) in losses.items():
            best = next((one for one in evidence(tagger, text) if one.head == head), None)
            if best is not None:
                strongest.append(loss(tagger, text, head, best.start, best.end))
                other.append(loss(tagger, text, head, *another(text, best, order)))
    for head, (strongest, other) in losses.items():
        assert len(strongest) > 30, head
        assert sum(strongest) > 2 * sum(other), head


def another(text: str, best: Evidence, order: random.Random) -> tuple[int, int]:
    words = [match.span() for match in re.finditer(r"\S+", text)]
    size = len(text[best.start : best.end].split())
    first = order.randrange(len(words) - size + 1)
    return words[first][0], words[first + size - 1][1]


def loss(tagger: Tagger, text: str, head: str, start: int, end: int) -> float:
    raw = tagger.logits([text, text[:start] + text[end:]])
    tags, policy = tagger.tag([Feedback(text=text)])[0], tagger.bundle.policy
    if head == "category":
        label = tagger.bundle.taxonomy.names.index(tags.category.name)
        whole, without = policy.category_probabilities(raw.category)[:, label]
    else:
        whole, without = policy.urgency(raw.urgency).probabilities[:, URGENCIES.index(tags.urgency.level)]
    return float(whole - without)
