"""The models that topics belong to: which one, whether it can know any, and how it is given others."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from earful import bundle as bundles
from earful.bundle import Bundle
from earful.errors import InputError
from earful.settings import RegistrySettings
from earful.tagger import Tagger
from earful.topics import Event, Topics
from training import tracking
from training.registry import CHAMPION, Registry


@dataclass(frozen=True)
class Edited:
    """What an edit made, and what has become of topics by it."""

    version: str
    is_champion: bool
    events: tuple[Event, ...]


def edit(model: str, out: Path, change: Callable[[Topics], Topics], registry: RegistrySettings) -> Edited:
    """Give a model topics that are changed, as a new version, which takes the place that the old one had.

    On one machine edits wait for each other. Raises an `EarfulError`; nothing is changed then.
    """
    bundles.check_writable(out)
    store = Registry(registry)
    with _one_at_a_time(registry):
        old = None if Path(model).is_dir() else store.find(model)
        with chosen(old.version if old else model, registry) as folder:
            before = topics_of(bundles.load(folder))
            after = change(before)
            manifest = bundles.write_with_topics(folder, after, out)
        with tracking.start(registry) as run:
            run.metrics(manifest.metrics)
            version = run.bundle(out)
        serves = store.take_over(old, version) if old else store.enter(version, promoted=False)
    return Edited(version, serves, after.catalogue.events[len(before.catalogue.events) :])


def _one_at_a_time(registry: RegistrySettings) -> AbstractContextManager[object]:
    """A lock beside a local store; of a server's, `take_over` says if somebody else was quicker."""
    return FileLock(f"{registry.file}.lock") if registry.file else nullcontext()


def is_champion(model: str, store: Registry) -> bool:
    """Whether an alias or version names the champion; a folder never does."""
    return not Path(model).is_dir() and CHAMPION in store.find(model).aliases


@contextmanager
def chosen(model: str, registry: RegistrySettings) -> Iterator[Path]:
    """The bundle that an alias, a version or a folder names, for as long as the block lasts."""
    if Path(model).is_dir():
        yield Path(model)
        return
    store = Registry(registry)
    with store.fetched(store.find(model)) as folder:
        yield folder


def load(folder: Path) -> Tagger:
    """The Tagger of a bundle that can know topics. Raises `InputError` of any other."""
    tagger = Tagger.load(folder)
    if "embedding" not in {output.name for output in tagger.bundle.session.get_outputs()}:
        raise InputError("this model was trained by an Earful without topics; train it again")
    return tagger


def topics_of(bundle: Bundle) -> Topics:
    """The topics of a bundle. Raises `InputError` if it has none."""
    if bundle.topics is None:
        raise InputError("this model knows no topics yet; `earful topics fit` finds them")
    return bundle.topics
