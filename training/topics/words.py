"""What a topic is called: keywords that belong to it and to each other, and a label in its customers' own words."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from bertopic.vectorizers import ClassTfidfTransformer
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from earful.errors import InputError

KEYWORDS = 10
CANDIDATES = 40  # words of each topic that keywords are chosen from
RARE = 0.015  # share of a topic's messages that must have a word: what two people said says nothing of a topic
CLAIM = 0.85  # of the weight that a word has in the topic that it belongs to most, from which it is another's as well
WINDOW = 10  # words that count as said together, as in the usual measure of coherence (Röder et al. 2015)
COHERENCE = 1.0  # weight of the words' being said together, beside their being said here more than elsewhere
PHRASE = (2, 4)  # words in a label
SAMPLE = 500  # messages of a topic that its label is looked for in, and as many of all others
BEGINNING = 500  # characters of each that are read for it
WORD = r"(?u)(?<!@)\b[^\W\d_]{2,}(?:['’][^\W\d_]+)?\b"  # letters, not numbers nor @whom; "didn't" is one
STOP = ENGLISH_STOP_WORDS | {
    "don't", "didn't", "doesn't", "can't", "couldn't", "won't", "wouldn't", "isn't", "wasn't", "aren't", "haven't",
    "hasn't", "i'm", "i've", "i'll", "i'd", "it's", "that's", "you're", "you've", "they're", "there's", "what's",
    "let's", "im", "ive", "dont", "didnt", "cant", "wont", "xx", "xxxx", "http", "https", "www", "com", "amp", "just",
    "got", "did", "does", "let", "want", "really", "know", "like", "going", "get", "us", "please", "thanks", "thank",
}  # fmt: skip

Ints = NDArray[np.int64]


class Words(NamedTuple):
    """`keywords` of a topic, its `label`, and `coherence`: the mean NPMI of the keywords, from -1 to 1."""

    keywords: tuple[str, ...]
    label: str
    coherence: float


def describe(texts: Sequence[str], index: Ints, topics: int) -> list[Words]:
    """Words for each of the topics, from messages and the topic of each (n,), -1 for none.

    Raises `InputError` if the messages have no words, such as emoji alone.
    """
    check(texts)
    vectorizer = CountVectorizer(stop_words=list(STOP), token_pattern=WORD, min_df=2 if len(texts) > 2 * SAMPLE else 1)
    counts = vectorizer.fit_transform([text for text, k in zip(texts, index, strict=True) if k >= 0])
    names = vectorizer.get_feature_names_out()
    weights = _weights(counts, index[index >= 0], topics)
    chosen = _own(weights)
    together = _Together(texts, names, sorted({int(word) for words in chosen for word in words}))
    picked = [_coherent(words, weights[k], together) for k, words in enumerate(chosen)]
    keywords = [tuple(str(names[word]) for word in words) for words in picked]
    labels = _labels(texts, index, keywords)
    return [
        Words(words, label, together.coherence(numbers))
        for words, label, numbers in zip(keywords, labels, picked, strict=True)
    ]


def check(texts: Sequence[str]) -> None:
    """Raises `InputError` if messages have no words, such as emoji alone."""
    words = CountVectorizer(stop_words=list(STOP), token_pattern=WORD).build_analyzer()
    if not any(words(text) for text in texts):
        raise InputError("these messages have no words to name topics by")


def diversity(topics: Sequence[Words]) -> float:
    """The share of different words among all keywords (Dieng et al. 2020)."""
    every = [word for topic in topics for word in topic.keywords]
    return len(set(every)) / max(len(every), 1)


def _weights(counts: csr_matrix, index: Ints, topics: int) -> NDArray[np.float64]:
    """How much each word is a topic's own (topics, words): class-based TF-IDF (Grootendorst 2022)."""
    belongs = csr_matrix((np.ones(len(index)), (index, np.arange(len(index)))), shape=(topics, len(index)))
    by_topic = (belongs @ (counts > 0)).tocsr()  # by messages that have the word: one that repeats it says it once
    common = by_topic.toarray() >= RARE * np.bincount(index, minlength=topics)[:, None]
    dense: NDArray[np.float64] = ClassTfidfTransformer(reduce_frequent_words=True).fit_transform(by_topic).toarray()
    return np.where(common, dense, 0.0)


def _own(weights: NDArray[np.float64]) -> list[Ints]:
    """The words of each topic that no other has a much better claim to, best first."""
    best = weights.max(axis=0)
    order = np.argsort(-weights, axis=1, kind="stable")[:, : 10 * CANDIDATES]
    return [
        row[(weights[k, row] > 0) & (weights[k, row] >= CLAIM * best[row])][:CANDIDATES] for k, row in enumerate(order)
    ]


class _Together:
    """How often words are said within `WINDOW` words of each other, of some words, by number."""

    def __init__(self, texts: Sequence[str], names: Sequence[str], words: Sequence[int]) -> None:
        self._place = {word: n for n, word in enumerate(words)}
        vocabulary = {str(names[word]): n for word, n in self._place.items()}
        windows = CountVectorizer(vocabulary=vocabulary, tokenizer=str.split, token_pattern=None, lowercase=False)
        seen = windows.transform(_windows(texts)) > 0
        both = (seen.T.astype(np.float64) @ seen.astype(np.float64)).toarray() / max(seen.shape[0], 1)
        alone = both.diagonal()
        with np.errstate(divide="ignore", invalid="ignore"):
            npmi = np.log(both / np.outer(alone, alone)) / -np.log(both)
        self._npmi = np.where(both > 0, np.nan_to_num(npmi, nan=0.0), -1.0)

    def npmi(self, word: int, others: Sequence[int]) -> NDArray[np.float64]:
        """Normalised pointwise mutual information of a word with each of others (Bouma 2009)."""
        return self._npmi[self._place[word], [self._place[other] for other in others]]

    def coherence(self, words: Sequence[int]) -> float:
        """The mean over all pairs."""
        pairs = [self.npmi(word, words[:n]) for n, word in enumerate(words) if n]
        return round(float(np.concatenate(pairs).mean()), 4) if pairs else 0.0


def _windows(texts: Sequence[str]) -> list[str]:
    """Texts as windows of words, each window half new."""
    found = []
    for text in texts:
        words = re.findall(WORD, text.lower())
        found += [" ".join(words[n : n + WINDOW]) for n in range(0, max(1, len(words) - WINDOW // 2), WINDOW // 2)]
    return found


def _coherent(words: Ints, weights: NDArray[np.float64], together: _Together) -> list[int]:
    """So many of a topic's words that are said together, one after another, beginning with its own most."""
    left = [int(word) for word in words]
    picked = left[:1]
    left = left[1:]
    top = max(weights[picked[0]], np.finfo(float).tiny) if picked else 1.0
    while left and len(picked) < KEYWORDS:
        scores = [weights[word] / top + COHERENCE * together.npmi(word, picked).mean() for word in left]
        picked.append(left.pop(int(np.argmax(scores))))
    return picked


def _labels(texts: Sequence[str], index: Ints, keywords: Sequence[tuple[str, ...]]) -> list[str]:
    """A phrase for each topic that its messages use and others do not, no two the same."""
    rng = np.random.default_rng(0)
    taken: set[str] = set()
    labels = []
    for k, words in enumerate(keywords):
        inside, outside = np.flatnonzero(index == k), np.flatnonzero(index != k)
        mine = [texts[n][:BEGINNING] for n in rng.permutation(inside)[:SAMPLE]]
        rest = [texts[n][:BEGINNING] for n in rng.permutation(outside)[:SAMPLE]]
        phrases = [phrase for phrase in _phrases(mine, rest, words) if phrase not in taken]
        label = phrases[0] if phrases else ", ".join(words[:3]) or f"topic {k + 1}"
        taken.add(label)
        labels.append(label)
    return labels


def _phrases(mine: Sequence[str], rest: Sequence[str], words: Sequence[str]) -> list[str]:
    """Phrases of a topic's messages with one of its first keywords in them, best first."""
    vectorizer = CountVectorizer(ngram_range=PHRASE, token_pattern=WORD, min_df=min(3, len(mine)), binary=True)
    try:
        counts = vectorizer.fit_transform(mine)
    except ValueError:  # no phrase is said so often
        return []
    names = vectorizer.get_feature_names_out()
    here = np.asarray(counts.mean(axis=0)).ravel()
    there = np.asarray(vectorizer.transform(rest).mean(axis=0)).ravel() if len(rest) else np.zeros_like(here)
    scores = {str(name): _score(str(name), a, b, words) for name, a, b in zip(names, here, there, strict=True)}
    return [name for name, score in sorted(scores.items(), key=lambda item: (-item[1], item[0])) if score > 0]


def _score(phrase: str, here: float, there: float, words: Sequence[str]) -> float:
    parts = phrase.split()
    content = [part for part in parts if part not in STOP]
    if parts[0] in STOP or parts[-1] in STOP or not set(content) & set(words[:5]) or len(set(content)) < 2:
        return 0.0
    return float(here * np.log((here + 0.001) / (there + 0.001)) * len(content) ** 0.5)
