"""The walk of one topic fit: read, embed, cluster, match with what is known, name, write and register."""

from dataclasses import dataclass, replace
from pathlib import Path

from earful import bundle as bundles
from earful.settings import RegistrySettings
from earful.topics import Catalogue, Event, Topics
from training import tracking
from training.progress import Reporter
from training.registry import Registry
from training.topics import catalogue, charts, clusters, labels, lineage, messages, models, words
from training.topics.lineage import Matched
from training.topics.messages import Messages
from training.topics.settings import TopicSettings

FEW = 0.2  # of the messages of the last fit, below which a person may not have meant topics to end


@dataclass(frozen=True)
class FittedTopics:
    """What a fit made; `events` are what has become of topics by it."""

    bundle: Path
    version: str
    is_champion: bool
    catalogue: Catalogue
    events: tuple[Event, ...]


def fit(settings: TopicSettings, registry: RegistrySettings, reporter: Reporter) -> FittedTopics:
    """Find topics in messages, and give them to a model. Raises an `EarfulError`; nothing is changed then."""
    bundles.check_writable(settings.out)
    labels.check(settings.label_command)
    with models.chosen(settings.model, registry) as folder:
        tagger = models.load(folder)
        read = messages.read(settings, tagger, reporter)
        words.check(read.own_texts)
        known = tagger.bundle.topics
        with reporter.bar("looking for clusters", None):
            model, found = clusters.of_some(read.own_texts, read.own_embeddings, settings.seed)
        with reporter.bar("naming topics", None):
            matched = lineage.match(known, found, read.own_embeddings)
            topics = catalogue.build(known, matched, read, tagger, found)
        _warn_of_few(known, read, matched, reporter)
        if settings.label_command is not None:
            topics = labels.named(topics, known, settings.label_command, reporter)
        with reporter.bar("drawing", None):
            topics = replace(topics, page=charts.page(model, topics, matched, read).encode())
        manifest = bundles.write_with_topics(folder, topics, settings.out)
    with tracking.start(registry) as run, reporter.bar("registering", None):
        run.metrics(manifest.metrics)
        run.topics(settings.model_dump(mode="json"), topics.catalogue.metrics, topics.page.decode())
        version = run.bundle(settings.out)
    store = Registry(registry)
    serves = known is None and models.is_champion(settings.model, store)
    is_champion = store.enter(version, settings.promote or serves)
    return FittedTopics(settings.out, version, is_champion, topics.catalogue, matched.events)


def _warn_of_few(known: Topics | None, read: Messages, matched: Matched, reporter: Reporter) -> None:
    """A week's messages do not mention all that a year's did, and topics that are not mentioned end."""
    before = sum(topic.size for topic in known.catalogue.active) if known else 0
    ended = sum(event.kind == "ended" for event in matched.events)
    if ended and len(read.examples) < FEW * before:
        reporter.say(
            f"{ended} topics end, which these {len(read.examples):,} messages do not mention; the last fit had "
            f"{before:,}: to keep topics, give a fit all the messages that they are to be of"
        )
