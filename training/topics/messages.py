"""Messages that topics are sought in: read, checked, each in the encoder's space, and what the model says of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from earful.errors import InputError
from earful.tagger import Logits, Tagger
from earful.vectors import Floats, Ints
from training import corpus, encoders, evaluate, features, sources
from training.progress import Reporter
from training.sources import Example
from training.topics import boilerplate
from training.topics.centres import FEWEST
from training.topics.settings import TopicSettings


@dataclass(frozen=True)
class Messages:
    """`texts` are without what many share; `embeddings` (n, width) are the encoder's before any fine-tuning.

    `own` are those that repeat no earlier one, by number: clusters are sought in them alone, so that a form letter
    makes no topic. `answers` are the model's.
    """

    examples: Sequence[Example]
    texts: Sequence[str]
    embeddings: Floats
    own: Ints
    answers: Logits

    @cached_property
    def own_texts(self) -> list[str]:
        """The texts that repeat no other."""
        return [self.texts[n] for n in self.own]

    @cached_property
    def own_embeddings(self) -> Floats:
        """Where those lie."""
        return self.embeddings[self.own]


def read(settings: TopicSettings, tagger: Tagger, reporter: Reporter) -> Messages:
    """Read and embed. Raises `InputError` if too few messages are left to find topics in."""
    with reporter.bar("reading", None):
        source = sources.read(settings.data, settings.columns, None, settings.encoding)
    reporter.say(f"read {len(source.examples):,} usable rows, rejected {len(source.rejects):,}")
    for reason, count in Counter(reject.reason for reject in source.rejects).most_common(5):
        reporter.say(f"  {count:,} × {reason}")
    examples = _within(settings, source.examples)
    with reporter.bar("looking for duplicates", None):
        own = _first_of_each(examples)
    if len(own) < FEWEST:
        raise InputError(
            f"{', '.join(settings.data)}: {len(own):,} different messages are too few to find topics in; "
            f"there must be at least {FEWEST}"
        )
    reporter.say(f"{len(examples):,} messages, of which {len(examples) - len(own):,} (nearly) repeat another")
    texts = boilerplate.without([example.feedback.text for example in examples])
    encoder = encoders.load(tagger.bundle.manifest.base_model)
    with reporter.bar("reading messages", len(texts)) as bar:
        embeddings = features.embed(encoder, texts, bar.advance)
    with reporter.bar("tagging messages", len(texts)) as bar:
        answers = evaluate.run(tagger, examples, bar.advance)
    return Messages(examples, texts, embeddings, own, answers)


def _within(settings: TopicSettings, examples: Sequence[Example]) -> list[Example]:
    """The messages of the time that was asked for. Raises `InputError` if one was, and a message has no date."""
    since, until = settings.since, settings.until
    if since is None and until is None:
        return list(examples)
    kept = []
    for example in examples:
        moment = example.feedback.created_at
        if moment is None:
            where = f"{example.source} row {example.row}"
            raise InputError(f"{where}: has no date, which --since and --until need; name it with --created-at-column")
        if (since is None or moment >= since) and (until is None or moment < until):
            kept.append(example)
    return kept


def _first_of_each(examples: Sequence[Example]) -> Ints:
    """The messages that repeat no earlier one, by number."""
    number = {(example.source, example.row): n for n, example in enumerate(examples)}
    kept = corpus.distinct(examples)
    return np.array(sorted(number[example.source, example.row] for example in kept), dtype=np.int64)
