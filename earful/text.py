"""The one way text is cleaned and cut before a model reads it, in training and in serving alike."""

import unicodedata
from collections.abc import Sequence

import ftfy
from tokenizers import Tokenizer

_CONFIG = ftfy.TextFixerConfig(unescape_html=True, explain=False, normalization="NFC")
_ROUNDS = 8  # text escaped more often than this ("&amp;amp;…") is an attack, not a message


def normalise(text: str) -> str:
    """Clean one text: mojibake and HTML entities mended, NFC, no control or invisible characters, single spaces.

    Applying it twice changes nothing more. The result may be empty.
    """
    for _ in range(_ROUNDS):
        cleaned = _clean(text)
        if cleaned == text:
            break
        text = cleaned
    return text


def _clean(text: str) -> str:
    fixed = ftfy.fix_text(text, _CONFIG)
    if not fixed.isascii():
        fixed = "".join(char for char in fixed if not _invisible(char))
    return " ".join(fixed.split())


def _invisible(char: str) -> bool:
    """Control (Cc), format (Cf) and surrogate (Cs) characters, except white space and the joiner inside emoji."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs") and not char.isspace() and char != "\u200d"


class Windower:
    """Cuts texts into overlapping windows of token ids, so that long feedback is read whole.

    A text of up to `size` tokens, special tokens included, is one window. A longer one becomes several, each
    sharing `overlap` tokens with the one before.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, overlap: int) -> None:
        """`tokenizer` is configured in place. Raises `ValueError` if `overlap` leaves a window no room to advance."""
        if not 0 <= overlap < size - tokenizer.num_special_tokens_to_add(is_pair=False):
            raise ValueError(f"overlap {overlap} leaves no room in windows of {size} tokens")
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=size, stride=overlap)
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> list[list[list[int]]]:
        """Token ids of every window of every (normalised) text: texts → windows → ids."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [[window.ids for window in (first, *first.overflowing)] for first in encodings]
