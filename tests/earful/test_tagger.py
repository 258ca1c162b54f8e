import dataclasses
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer

from earful import taxonomy
from earful.bundle import TOKENIZER
from earful.errors import BundleSmokeTestFailed
from earful.feedback import Feedback
from earful.language import detect
from earful.tagger import ALTERNATIVES, BATCH_TOKENS, PADDING, Tagger, batches, pad
from earful.tags import Tags
from earful.taxonomy import URGENCIES
from earful.text import Windower, normalise
from tests.conftest import TAXONOMY, Trained

NEAR = 0.001  # of a probability or a logit: sums of floats may round differently in another batch
CLEAR = 0.1  # by how much the best category leads

SHORT = [
    "You charged my card twice for the same invoice, give me the money back.",
    "Thank you so much, your staff were wonderful!",
    "I cannot log in, the password reset mail never comes.",
    "Please add a dark mode to the app.",
    "Somebody in another country is spending from my account right now!",
    "Where is my parcel?",
    "ok",
]
LONG = " ".join(f"Call {n}: I waited {n} minutes, was cut off, and nobody rang me back." for n in range(60))
MIXED = [LONG, *SHORT, LONG[: len(LONG) // 2], *reversed(SHORT)]


def tag(tagger: Tagger, texts: Sequence[str]) -> list[Tags]:
    return tagger.tag([Feedback(text=text, id=str(n)) for n, text in enumerate(texts)])


def probabilities(tagger: Tagger, texts: Sequence[str]) -> NDArray[np.float64]:
    return tagger.bundle.policy.category_probabilities(tagger.logits(texts).category)


def test_answers_come_in_the_order_of_the_questions_whatever_their_lengths(tagger: Tagger) -> None:
    together = probabilities(tagger, MIXED)
    alone = np.concatenate([probabilities(tagger, [text]) for text in MIXED])
    np.testing.assert_allclose(together, alone, atol=NEAR)
    assert len(np.unique(alone.round(3), axis=0)) > len(SHORT)  # or any order would do
    assert [tags.id for tags in tag(tagger, MIXED)] == [str(n) for n in range(len(MIXED))]


def test_a_clear_text_has_the_same_label_alone_and_among_others(tagger: Tagger) -> None:
    leads = np.diff(np.sort(probabilities(tagger, MIXED), axis=1)[:, -2:]).ravel()
    clear = np.flatnonzero(leads > CLEAR)
    assert len(clear) > 2
    together = tag(tagger, MIXED)
    for n in clear:
        assert tag(tagger, [MIXED[n]])[0].category.name == together[n].category.name


def test_a_long_text_is_answered_with_the_token_weighted_mean_of_its_windows(trained: Trained, tagger: Tagger) -> None:
    manifest, session = tagger.bundle.manifest, tagger.bundle.session
    text = LONG[: len(LONG) // 2] + " Thank you so much, everybody was wonderful!" * 10
    tokenizer = Tokenizer.from_file(str(trained.bundle / TOKENIZER))
    [windows] = Windower(tokenizer, manifest.windows.size, manifest.windows.overlap)([normalise(text)])
    assert len(windows) > 2
    assert len(windows[-1]) < 0.8 * len(windows[0])
    for name, merged in tagger.logits([text])._asdict().items():
        ids = [pad([window], manifest.windows.pad_id) for window in windows]
        answers = [session.run([name], {"input_ids": i, "attention_mask": mask})[0][0] for i, mask in ids]
        expected = np.average(answers, axis=0, weights=[len(window) for window in windows])
        np.testing.assert_allclose(merged[0], expected, atol=NEAR)
        assert np.abs(expected - np.mean(answers, axis=0)).max() > 5 * NEAR  # or the weights would not matter


def test_the_end_of_a_long_text_is_read(tagger: Tagger) -> None:
    changed = LONG + " The charger caught fire and burned my hand, I am in hospital." * 40
    assert np.abs(probabilities(tagger, [LONG]) - probabilities(tagger, [changed])).max() > NEAR


def test_no_feedback_gives_no_tags(tagger: Tagger) -> None:
    assert tagger.tag([]) == []


def test_tags_have_the_promised_shape(tagger: Tagger) -> None:
    [tags] = tagger.tag([Feedback(text=SHORT[0], id="a-1")])
    found: dict[str, Any] = json.loads(tags.model_dump_json())
    assert {key: set(value) for key, value in found.items() if isinstance(value, dict)} == {
        "category": {"name", "label", "confidence", "tier", "zero_shot"},
        "urgency": {"level", "score", "confidence", "reasons", "raised_by"},
        "route": {"owner", "respond_within"},
        "model": {"version", "bundle", "taxonomy"},
    }
    assert (found["id"], found["topic"], found["evidence"]) == ("a-1", None, None)
    assert set(found) == {
        "id", "category", "alternatives", "categories", "urgency", "topic", "route", "outcome", "evidence", "model",
    }  # fmt: skip


FRENCH = "Bonjour, ma carte ne marche pas depuis hier soir, que dois-je faire ?"


@pytest.mark.parametrize(
    ("text", "language", "supported"),
    [(FRENCH, None, False), (FRENCH, "en-GB", True), (SHORT[0], None, True), (SHORT[0], "fr", False)],
)
def test_a_language_that_nothing_was_learned_from_is_said(
    tagger: Tagger, text: str, language: str | None, supported: bool
) -> None:
    [tags] = tagger.tag([Feedback(text=text, language=language)])
    assert (tags.outcome != "unsupported_language") == supported
    assert tags.category.name in tagger.bundle.taxonomy.names  # the best guess is there all the same


@pytest.mark.parametrize("text", [*SHORT, LONG, "?", "👍🏽", "日本語のテキスト", "&lt;3 &amp; cafÃ©", "x" * 5000])
def test_tags_obey_the_contract(tagger: Tagger, text: str) -> None:
    [tags] = tagger.tag([Feedback(text=text)])
    starter, policy = taxonomy.load(TAXONOMY), tagger.bundle.policy
    chosen = starter.names.index(tags.category.name)
    assert tags.urgency is not None
    assert tags.category.label == starter.label(chosen)
    assert tags.route.owner == starter.categories[chosen].owner
    assert tags.route.respond_within == starter.respond_within(chosen, tags.urgency.level)
    logits = tagger.logits([text])
    [row] = policy.category_probabilities(logits.category)
    [inside] = policy.inside(logits.category, logits.position, logits.nearness)
    ranked = np.argsort(-row, kind="stable")[: ALTERNATIVES + 1]
    names = [tags.category.name, *(other.name for other in tags.alternatives)]
    confidences = [tags.category.confidence, *(other.confidence for other in tags.alternatives)]
    assert names == [starter.names[k] for k in ranked]
    assert confidences == [round(float(row[k]), 4) for k in ranked]
    assert tags.category.tier == policy.tier(int(ranked[0]), row.max())
    assert tags.categories
    assert tags.categories[0].name == tags.category.name
    assert all(0 <= one.probability <= 1 for one in tags.categories)
    assert all(one.probability >= policy.presence_cut for one in tags.categories[1:])
    assert len({one.name for one in tags.categories}) == len(tags.categories)
    assert tags.outcome == policy.outcome(int(ranked[0]), row.max(), detect(text), inside)
    assert tags.urgency.level in URGENCIES
    assert 0 <= tags.urgency.score <= 1
    assert 0 <= tags.urgency.confidence <= 1


def test_a_rule_raises_the_urgency_and_says_so_where_the_model_said_less(tagger: Tagger) -> None:
    """A model that calls nothing critical is the harder case: what the words alone tell must come through."""
    meek = tagger.bundle.policy.model_copy(update={"urgency_cuts": (0.5, 0.5, 1.0)})
    bundle = dataclasses.replace(tagger.bundle, policy=meek)
    texts = ["Nice app, thanks. By the way, I want to kill myself.", "Nice app, thanks, no rush."]
    raised, plain = (tags.urgency for tags in tag(Tagger(bundle), texts))
    assert raised
    assert (raised.level, raised.reasons, raised.raised_by) == ("critical", ["harm"], ["harm"])
    assert plain
    assert (plain.reasons, plain.raised_by) == (["no_rush"], [])
    assert plain.level != "critical"


def test_tags_name_the_model_that_answered(trained: Trained) -> None:
    tagger = Tagger.load(trained.bundle, version="7", threads=1)
    [tags] = tagger.tag([Feedback(text=SHORT[0])])
    assert tags.model.model_dump() == {
        "version": "7",
        "bundle": tagger.bundle.digest,
        "taxonomy": taxonomy.load(TAXONOMY).version,
    }


def test_what_normalising_mends_does_not_change_the_tags(tagger: Tagger) -> None:
    plain, messy = tag(tagger, ["The café & bar don't answer", "  The cafÃ©\u200b &amp; bar\r\n don't answer "])
    assert plain.model_dump(exclude={"id"}) == messy.model_dump(exclude={"id"})


def test_a_tagger_can_be_shared_between_threads(tagger: Tagger) -> None:
    expected = [tags.category.name for tags in tag(tagger, SHORT)]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: tag(tagger, SHORT), range(16)):
            assert [tags.category.name for tags in found] == expected


@settings(deadline=None)
@given(st.lists(st.integers(1, 512), max_size=300))
def test_batches_hold_each_index_once_within_their_budget(lengths: list[int]) -> None:
    made = list(batches(lengths))
    assert sorted(n for batch in made for n in batch) == list(range(len(lengths)))
    for batch in made:
        longest = max(lengths[n] for n in batch)
        assert len(batch) * longest <= BATCH_TOKENS
        assert sum(longest - lengths[n] for n in batch) <= PADDING


def test_texts_of_one_length_share_full_batches() -> None:
    full = BATCH_TOKENS // 10
    assert [len(batch) for batch in batches([10] * (2 * full + 1))] == [full, full, 1]


def test_a_text_is_not_padded_to_the_length_of_a_much_longer_one() -> None:
    assert list(batches([100, 8, 9, 8])) == [[1, 3, 2], [0]]


def test_a_window_larger_than_the_budget_is_still_read() -> None:
    assert sorted(map(tuple, batches([BATCH_TOKENS + 1, 1]))) == [(0,), (1,)]


def test_a_bundle_whose_windows_its_model_cannot_read_is_refused(trained: Trained, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(trained.bundle, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["windows"]["size"] = 513
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleSmokeTestFailed, match="windows of 513 tokens"):
        Tagger.load(bundle)
