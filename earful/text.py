"""The one way text is cleaned and cut before a model reads it, in training and in serving alike."""

import re
import unicodedata
from collections.abc import Sequence

import emoji
import ftfy
from tokenizers import Tokenizer

_CONFIG = ftfy.TextFixerConfig(unescape_html=True, explain=False, normalization="NFC")
_SYMBOL = re.compile("[\u203c-\u3299\U0001f000-\U0001faff]")  # where emoji lie; most texts are spared the search
_SKIN_TONE = re.compile(r"_[a-z-]+_skin_tone")
_PLAIN = re.compile("[!-%'-~]+(?: [!-%'-~]+)*")  # words of ASCII without “&” and single spaces: nothing to clean
_ROUNDS = 8  # text escaped more often than this ("&amp;amp;…") is an attack, not a message


def normalise(text: str) -> str:
    """Clean one text: mojibake and HTML entities mended, NFC, emoji as words, nothing invisible, single spaces.

    Applying it twice changes nothing more. The result may be empty.
    """
    if _PLAIN.fullmatch(text):
        return text
    for _ in range(_ROUNDS):
        cleaned = _clean(text)
        if cleaned == text:
            break
        text = cleaned
    return text


def _clean(text: str) -> str:
    fixed = ftfy.fix_text(text, _CONFIG)
    if not fixed.isascii():
        if _SYMBOL.search(fixed):
            fixed = emoji.replace_emoji(fixed, _in_words)
        fixed = "".join(char for char in fixed if not _invisible(char))
    return " ".join(fixed.split())


def _in_words(_: str, data: dict[str, str]) -> str:
    """`enraged face` for 😡, whatever the skin: to encoders that have no tokens for emoji all are the same."""
    return f" {_SKIN_TONE.sub('', data['en']).strip(':').replace('_', ' ')} "


def _invisible(char: str) -> bool:
    """Control (Cc), format (Cf) and surrogate (Cs) characters, except white space."""
    return unicodedata.category(char) in ("Cc", "Cf", "Cs") and not char.isspace()


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
