"""Everything that is decided before the network sees a row: what was read, what was refused, and the corpus."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earful import taxonomy as taxonomies
from earful.errors import InputError
from earful.taxonomy import Taxonomy
from training import corpus, sources
from training.corpus import Corpus
from training.progress import Reporter
from training.settings import Columns, TrainSettings
from training.sources import UNKNOWN_CATEGORY, Example, Reject, Source


@dataclass(frozen=True)
class Prepared:
    """Everything decided before the network sees a row; `unlabelled` rows are like none of the corpus."""

    settings: TrainSettings
    taxonomy: Taxonomy
    corpus: Corpus
    unlabelled: tuple[Example, ...]
    rejects: tuple[Reject, ...]
    rejects_file: Path | None


def prepare(settings: TrainSettings, reporter: Reporter) -> Prepared:
    """Read and check the data, write what was rejected, build the corpus. Raises `InputError`."""
    taxonomy = taxonomies.load(settings.taxonomy) if settings.taxonomy else None
    with reporter.bar("reading", None):
        source = sources.read(settings.data, settings.columns, taxonomy, settings.encoding)
        test = sources.read(settings.test, settings.columns, taxonomy, settings.encoding)
        corrections = _read_corrections(settings, taxonomy, source)
        more = _read_urgency_data(settings)
        plain = sources.read(
            settings.unlabelled, Columns(text=settings.columns.text, category=""), None, settings.encoding
        )
    rejects = (*source.rejects, *test.rejects, *corrections.rejects, *more.rejects, *plain.rejects)
    rejects_file = _write_rejects(rejects, settings.out)
    _say_what_was_read((source, test, more), rejects, rejects_file, reporter)
    if not source.examples:
        raise InputError(
            f"{', '.join(settings.data)}: no row can be used; the first: {_first(source.rejects)}{_hint(source)}"
        )
    if not any(example.category for example in source.examples):
        if taxonomy:
            raise InputError(
                f"{', '.join(settings.data)}: no row has a category in column “{settings.columns.category}”; "
                "to learn the urgency alone, leave out --taxonomy"
            )
        reporter.say(f"no row has a category in column “{settings.columns.category}”: only the urgency is learned")
    if settings.test and not test.examples:
        raise InputError(f"{', '.join(settings.test)}: no row can be used; the first: {_first(test.rejects)}")
    with reporter.bar("looking for duplicates, splitting", None):
        corrected = [dataclasses.replace(example, corrected=True) for example in corrections.examples]
        made = corpus.build([*source.examples, *corrected, *more.examples], test.examples, settings)
        every = (*made.train, *made.validation, *made.test)
        unlabelled = corpus.unlike(plain.examples, every) if plain.examples else []
    _say_what_was_built(made, reporter)
    if settings.unlabelled:
        reporter.say(f"{len(unlabelled):,} rows without labels that are like none of these")
    labels = (label for one in every for label in (one.category, one.secondary) if label)
    return Prepared(
        settings, taxonomy or taxonomies.from_labels(labels), made, tuple(unlabelled), rejects, rejects_file
    )


def _read_corrections(settings: TrainSettings, taxonomy: Taxonomy | None, source: Source) -> Source:
    """Without a taxonomy, the categories of the data are those that there are: a slip of the pen makes no new one."""
    labels = {example.category for example in source.examples if example.category}
    known = taxonomy or (taxonomies.from_labels(labels) if labels else None)
    return sources.read(settings.corrections, Columns(), known, settings.encoding)


def _read_urgency_data(settings: TrainSettings) -> Source:
    """Rows of any data set whose urgencies are worth learning from, whatever else it holds."""
    own = settings.columns
    columns = Columns(text=own.text, category="", urgency=settings.urgency_data_column, urgency_map=own.urgency_map)
    source = sources.read(settings.urgency_data, columns, None, settings.encoding)
    source.examples = [dataclasses.replace(example, supports=True) for example in source.examples]
    return source


def _first(rejects: Sequence[Reject]) -> str:
    return f"row {rejects[0].row}: {rejects[0].reason}" if rejects else "there is none"


def _hint(source: Source) -> str:
    foreign = all(UNKNOWN_CATEGORY in reject.reason for reject in source.rejects)
    return "; without --taxonomy the labels themselves are the categories" if source.rejects and foreign else ""


def _write_rejects(rejects: Sequence[Reject], out: Path) -> Path | None:
    """Beside the bundle, since a run may be refused before there is one."""
    path = out.with_name(f"{out.name}{sources.REJECTS}")
    path.unlink(missing_ok=True)
    if not rejects:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    sources.write_rejects(rejects, path)
    return path


def _say_what_was_read(
    read: Sequence[Source], rejects: Sequence[Reject], rejects_file: Path | None, reporter: Reporter
) -> None:
    usable = sum(len(source.examples) for source in read)
    reporter.say(f"read {usable:,} usable rows, rejected {len(rejects):,}")
    for reason, count in Counter(reject.reason for reject in rejects).most_common(5):
        reporter.say(f"  {count:,} × {reason}")
    if rejects_file:
        reporter.say(f"  all of them, by row: {rejects_file}")
    strange = sum((source.strange_channels for source in read), Counter[str]())
    if strange:
        names = ", ".join(f"“{name}” ({count:,})" for name, count in strange.most_common(3))
        reporter.say(f"  channels that Earful does not know count as “other”: {names}")


def _say_what_was_built(made: Corpus, reporter: Reporter) -> None:
    reporter.say(
        f"removed {made.duplicates:,} duplicates and {made.near_duplicates:,} near-duplicates; "
        f"{len(made.train):,} rows to train, {len(made.validation):,} to validate, {len(made.test):,} to test"
    )
    if made.conflicts:
        reporter.say(f"  {made.conflicts:,} texts came with more than one label; the commonest was kept")
    if made.straddling:
        reporter.say(f"  {made.straddling:,} groups (alike, or one customer) straddle the split that you gave")
