"""What many messages have in common word for word: quoted mail, signatures, forms. It must not make a topic."""

import re
from collections import Counter
from collections.abc import Sequence

SHARED = 0.005  # of all messages that have a sentence, from which nobody wrote it for the occasion
FEWEST = 20  # messages that have it, at least
WORDS = 5  # of a sentence, at least: "Please help." is said by many, and meant
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")  # near enough for counting
_QUOTED = re.compile(r"^\s*>.*$", re.MULTILINE)


def without(texts: Sequence[str]) -> list[str]:
    """Texts without quoted lines and shared sentences; one that is nothing else stays as it was."""
    sentences = [_sentences(text) for text in texts]
    counts = Counter(key for some in sentences for key in {_key(sentence) for sentence in some})
    most = max(FEWEST, SHARED * len(texts))
    own = [
        " ".join(one for one in some if counts[_key(one)] < most or len(_key(one).split()) < WORDS)
        for some in sentences
    ]
    return [kept if kept.strip() else text for kept, text in zip(own, texts, strict=True)]


def _sentences(text: str) -> list[str]:
    return [part for part in _SENTENCE.split(_QUOTED.sub("", text)) if part.strip()]


def _key(sentence: str) -> str:
    return " ".join(re.findall(r"\w+", sentence.casefold()))
