"""Topics beside plain BERTopic, LDA and NMF, on one file of messages: coherence, diversity, coverage, stability, speed.

    pip install -c constraints.txt -e '.[train,bench]'
    python -m benchmarks.topics --data FILE --text-column text --bundle BUNDLE

Coherence is gensim's c_npmi over the messages themselves, diversity the share of different words among all ten of each
topic, both as OCTIS measures them. Plain BERTopic is given the same embeddings. Stability is the share of messages
that keep their topic when a fit of the same messages starts from what is known, with another seed; of BERTopic, that
on which two seeds agree, topics matched one to one. “fine-tuned” is Earful on the fine-tuned encoder's embeddings.
"""

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from bertopic import BERTopic
from gensim.corpora import Dictionary
from gensim.models.coherencemodel import CoherenceModel
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import NMF, LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from umap import UMAP

from earful.emerging import Watch
from earful.tagger import Tagger
from earful.topics import Topics
from earful.vectors import Ints, unit
from training.progress import Reporter
from training.settings import Columns
from training.topics import catalogue, clusters, lineage, messages, models
from training.topics.lineage import agreement
from training.topics.messages import Messages
from training.topics.settings import TopicSettings
from training.topics.words import WORD

Figures = dict[str, float]
WORDS = 10
ASSIGNED = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--bundle", type=Path, required=True, help="a trained bundle, whose encoder is used by all")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    settings = TopicSettings(data=(options.data,), columns=Columns(category="", text=options.text_column))
    console = Console()
    tagger = models.load(options.bundle)
    read = messages.read(settings, tagger, Reporter(console))
    warnings.simplefilter("ignore")
    rows: dict[str, list[Figures]] = {"Earful": [], "fine-tuned": [], "BERTopic": [], "LDA": [], "NMF": []}
    known: Topics | None = None
    assigned: list[Ints] = []
    for seed in range(options.seeds):
        begun = time.perf_counter()
        _, found = clusters.of_some(read.own_texts, read.own_embeddings, seed)
        matched = lineage.match(known, found, read.own_embeddings)
        topics = catalogue.build(known, matched, read, tagger, found)
        took = time.perf_counter() - begun
        words = [topic.keywords for topic in topics.catalogue.active]
        rows["Earful"].append(
            _figures(read, words, matched.index, took, topics.catalogue.metrics.get("kept"))
            | {"served": topics.catalogue.metrics["agreement_served"]}
        )
        rows["fine-tuned"].append(_fine_tuned(read, tagger, seed))
        known = known or topics
        assigned.append(_plain(read, seed, len(words), rows, assigned))
    _print(rows, console)
    _speed(read, topics, console)
    _cost(read, topics, tagger, console)


def _fine_tuned(read: Messages, tagger: Tagger, seed: int) -> Figures:
    """Earful's way, by what the encoder makes of the messages after it was fine-tuned to the categories."""
    assert read.answers.position is not None
    placed = unit(read.answers.position[read.own])
    moved = replace(read, embeddings=unit(read.answers.position))
    begun = time.perf_counter()
    _, found = clusters.of_some(read.own_texts, placed, seed)
    matched = lineage.match(None, found, placed)
    topics = catalogue.build(None, matched, moved, tagger, found)
    words = [topic.keywords for topic in topics.catalogue.active]
    return _figures(read, words, matched.index, time.perf_counter() - begun, None)


def _plain(read: Messages, seed: int, topics: int, rows: dict[str, list[Figures]], before: Sequence[Ints]) -> Ints:
    """The three others, with as many topics as Earful found where they must be told; BERTopic's assignment."""
    umap = UMAP(
        n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=seed
    )  # its defaults, seeded
    begun = time.perf_counter()
    model = BERTopic(umap_model=umap, vectorizer_model=CountVectorizer(stop_words="english", token_pattern=WORD))
    index = np.array(model.fit_transform(read.own_texts, read.own_embeddings)[0])
    took = time.perf_counter() - begun
    said = [[word for word, _ in model.get_topic(k) if word][:WORDS] for k in range(index.max() + 1)]
    same = agreement(index + 1, before[0]) * float(np.mean((index >= 0) | (before[0] >= 0))) if before else None
    rows["BERTopic"].append(_figures(read, said, index + 1, took, same))
    for name, vectorizer, maker in (
        (
            "LDA",
            CountVectorizer,
            lambda: LatentDirichletAllocation(topics, random_state=seed, learning_method="online"),
        ),
        ("NMF", TfidfVectorizer, lambda: NMF(topics, random_state=seed)),
    ):
        rows[name].append(_matrix(read, vectorizer(stop_words="english", token_pattern=WORD, min_df=5), maker))
    return index


def _matrix(read: Messages, vectorizer: CountVectorizer, maker: Callable[[], LatentDirichletAllocation]) -> Figures:
    begun = time.perf_counter()
    counts = vectorizer.fit_transform(read.own_texts)
    weights = (model := maker()).fit_transform(counts)
    took = time.perf_counter() - begun
    names = vectorizer.get_feature_names_out()
    said = [[str(names[n]) for n in np.argsort(-row)[:WORDS]] for row in model.components_]
    return _figures(read, said, weights.argmax(axis=1) + 1, took, None)


def _figures(read: Messages, words: Sequence[Sequence[str]], index: Ints, took: float, kept: float | None) -> Figures:
    full = [list(some) for some in words if len(some) == WORDS]
    tokens = [re.findall(WORD, text.lower()) for text in read.own_texts]
    coherence = CoherenceModel(
        topics=full, texts=tokens, dictionary=Dictionary(tokens), coherence="c_npmi", processes=1
    )
    every = [word for some in full for word in some]
    figures = {
        "topics": float(len(words)),
        "coherence": float(coherence.get_coherence()),
        "diversity": len(set(every)) / len(every),
        "coverage": float(np.mean(index > 0)),
        "seconds": took,
    }
    return figures if kept is None else {**figures, "kept": kept}


def _print(rows: dict[str, list[Figures]], console: Console) -> None:
    names = ["topics", "coherence", "diversity", "coverage", "kept", "served", "seconds"]
    table = Table("", *names, title="median over seeds")
    medians = {
        who: {name: float(np.median(found)) for name in names if (found := [one[name] for one in some if name in one])}
        for who, some in rows.items()
    }
    for who, figures in medians.items():
        table.add_row(who, *(f"{figures[name]:.3f}" if name in figures else "" for name in names))
    console.print(table)
    print(json.dumps(medians))


def _speed(read: Messages, topics: Topics, console: Console) -> None:
    """A thousand messages, their embeddings given: nearest centre beside a warm `BERTopic.transform`."""
    model = BERTopic(umap_model=UMAP(random_state=0, n_components=5, min_dist=0.0, metric="cosine"))
    model.fit(read.own_texts, read.own_embeddings)
    some, texts = read.own_embeddings[:ASSIGNED], read.own_texts[:ASSIGNED]
    ours, theirs = [], []
    for _ in range(6):  # the first of each is not counted
        begun = time.perf_counter()
        topics.nearest(some)
        between = time.perf_counter()
        model.transform(texts, some)
        ours.append(between - begun)
        theirs.append(time.perf_counter() - between)
    ratio = np.median(theirs[1:]) / np.median(ours[1:])
    console.print(
        f"{ASSIGNED:,} messages: {1000 * np.median(ours[1:]):.1f} ms; "
        f"BERTopic.transform {1000 * np.median(theirs[1:]):.0f} ms, {ratio:.0f} times"
    )


def _cost(read: Messages, topics: Topics, tagger: Tagger, console: Console) -> None:
    """A message at a time, with topics and watched for new ones, beside the same model without."""
    assert topics.past is not None
    plain, knowing = (Tagger(replace(tagger.bundle, topics=known)) for known in (None, topics))
    watch = Watch(topics.past, topics.reading)
    items = [example.feedback for example in read.examples]
    knowing.tag(items[:ASSIGNED], watch.hear)
    ratios = []
    for item in items[ASSIGNED : 2 * ASSIGNED]:
        begun = time.perf_counter()
        plain.tag([item])
        between = time.perf_counter()
        knowing.tag([item], watch.hear)
        ratios.append((time.perf_counter() - between) / (between - begun))
    console.print(f"a message takes {np.median(ratios):.2f} of its time without topics")


if __name__ == "__main__":
    main()
