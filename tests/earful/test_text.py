import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from earful.bundle import TOKENIZER
from earful.text import Windower, normalise
from tests.conftest import Trained

JOINER = "\u200d"
MESSY = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cc", "Cf", "Zs", "Zl", "Zp", "Mn"]),
        st.sampled_from("&;#x0aÃ¢©ltgp\u00ad\u200b\u2028\u0085\ufeff" + JOINER),
    )
)
WORDS = st.lists(st.sampled_from(["a", "refund,", "unbelievably", "Zürich", "12.50", "€9", "ok!", "🙂", "𝔘", "日本語"]))
SIZES = [(3, 0), (8, 0), (8, 3), (16, 13), (16, 4)]


@settings(deadline=None)
@given(MESSY)
@example("&amp;amp;amp;lt;b&amp;gt;")
@example("e\u0301\u200b &nbsp; \ud83d")
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@settings(deadline=None)
@given(MESSY)
@example("pay\u00adment &#8203;&shy; \u202eevil\u202c\x07")
@example("bell &#7; here")
def test_nothing_invisible_and_no_double_space_remains(text: str) -> None:
    cleaned = normalise(text)
    categories = {unicodedata.category(char) for char in cleaned}
    assert not categories & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert "  " not in cleaned
    assert cleaned == cleaned.strip()


@pytest.mark.parametrize(
    ("emoji", "words"),
    [
        ("😡", "enraged face"), ("👩‍🔧", "woman mechanic"), ("👨‍👩‍👧‍👦", "family man woman girl boy"),
        ("❤️", "red heart"), ("👍🏽", "thumbs up"), ("👎🏿", "thumbs down"), ("🇩🇪", "Germany"), ("1️⃣", "keycap 1"),
        ("🙂🙂", "slightly smiling face slightly smiling face"),
    ],
)  # fmt: skip
def test_emoji_are_read_as_words(emoji: str, words: str) -> None:
    assert normalise(f" thank  you{emoji}!") == f"thank you {words} !"


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("The cafÃ© was closed", "The café was closed"),
        ("I donâ€™t know", "I don't know"),
        ("â‚¬50 gone", "€50 gone"),
        ("fish &amp; chips", "fish & chips"),
        ("5 &lt; 6 &euro;", "5 < 6 €"),
        ("twice &amp;amp; escaped", "twice & escaped"),
        ("cafe\u0301", "café"),
        ("one\r\n\ttwo\u00a0\u3000three", "one two three"),
    ],
)
def test_mojibake_entities_and_white_space_are_mended(broken: str, mended: str) -> None:
    assert normalise(broken) == mended


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\u2060\ufeff", "&nbsp;&#8203;"])
def test_a_text_with_nothing_visible_becomes_empty(text: str) -> None:
    assert normalise(text) == ""


@pytest.fixture(scope="module")
def tokenizer_file(trained: Trained) -> bytes:
    return (trained.bundle / TOKENIZER).read_bytes()


def content(tokenizer_file: bytes, text: str) -> list[int]:
    """Every token of the text, uncut and without special tokens."""
    tokenizer = Tokenizer.from_buffer(tokenizer_file)
    tokenizer.no_truncation()
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


@pytest.fixture(scope="module")
def windowers(tokenizer_file: bytes) -> dict[tuple[int, int], Windower]:
    return {sizes: Windower(Tokenizer.from_buffer(tokenizer_file), *sizes) for sizes in SIZES}


@settings(deadline=None)
@given(words=WORDS, sizes=st.sampled_from(SIZES))
def test_windows_hold_every_token_in_order_and_overlap_by_what_was_asked(
    tokenizer_file: bytes, windowers: dict[tuple[int, int], Windower], words: list[str], sizes: tuple[int, int]
) -> None:
    size, overlap = sizes
    text = " ".join(words)
    [windows] = windowers[sizes]([text])
    expected = content(tokenizer_file, text)
    assert all(len(window) <= size for window in windows)
    first, *rest = [window[1:-1] for window in windows]  # without [CLS] and [SEP]
    for before, after in zip([first, *rest], rest, strict=False):
        assert before[len(before) - overlap :] == after[:overlap]
    assert [*first, *(token for window in rest for token in window[overlap:])] == expected
    assert len(windows) == 1 or len(expected) > size - 2


def test_a_text_of_exactly_one_window_is_not_cut(tokenizer_file: bytes) -> None:
    windower = Windower(Tokenizer.from_buffer(tokenizer_file), size=8, overlap=3)
    fits, longer = windower(["a a a a a a", "a a a a a a a"])
    assert [len(window) for window in fits] == [8]
    assert [len(window) for window in longer] == [8, 6]


@pytest.mark.parametrize(("size", "overlap"), [(16, -1), (16, 14), (16, 16), (2, 0)])
def test_an_overlap_that_leaves_no_room_is_refused(tokenizer_file: bytes, size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap {overlap} leaves no room in windows of {size} tokens"):
        Windower(Tokenizer.from_buffer(tokenizer_file), size, overlap)
