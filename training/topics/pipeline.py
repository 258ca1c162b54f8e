"""The walk of one topic fit: read, embed, cluster, match with what is known, name, write and register."""

from dataclasses import dataclass, replace
from pathlib import Path

from earful import bundle as bundles
from earful.settings import RegistrySettings
from earful.topics import Catalogue, Event
from training import tracking
from training.progress import Reporter
from training.registry import Registry
from training.topics import catalogue, charts, clusters, labels, lineage, messages, models
from training.topics.settings import TopicSettings


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
        known = tagger.bundle.topics
        with reporter.bar("looking for clusters", None):
            model, found = clusters.of_some(read.own_texts, read.own_embeddings, settings.seed)
        with reporter.bar("naming topics", None):
            matched = lineage.match(known, found, read.own_embeddings)
            topics = catalogue.build(known, matched, read, tagger, found)
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
