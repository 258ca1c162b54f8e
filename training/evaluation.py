"""Evaluating a registered model or a bundle on labelled rows, for `earful evaluate`."""

from collections.abc import Sequence
from pathlib import Path

from earful.errors import InputError
from earful.settings import RegistrySettings
from earful.tagger import Tagger
from training import evaluate as evaluating
from training import sources
from training.evaluate import Report
from training.progress import Reporter
from training.registry import Registry
from training.settings import Columns


def evaluate(
    data: Sequence[str],
    columns: Columns,
    encoding: str | None,
    model: str,
    registry: RegistrySettings,
    reporter: Reporter,
) -> Report:
    """Measure `model` (alias, version or bundle folder) on labelled rows.

    Raises `InputError` if no row can be used; rows that cannot are said.
    """
    tagger = load(model, registry)
    source = sources.read(data, columns, tagger.bundle.taxonomy, encoding)
    reporter.say(f"read {len(source.examples):,} usable rows, rejected {len(source.rejects):,}")
    for reject in source.rejects[:5]:
        reporter.say(f"  {reject.source} row {reject.row}: {reject.reason}")
    if not source.examples:
        raise InputError(f"{', '.join(data)}: no row can be used")
    with reporter.bar("answering", len(source.examples)) as bar:
        logits = evaluating.run(tagger, source.examples, bar.advance)
    policy, taxonomy = tagger.bundle.policy, tagger.bundle.taxonomy
    answered = evaluating.answer(logits, policy, evaluating.floors(taxonomy, source.examples))
    return evaluating.report(answered, policy, taxonomy.names, source.examples)


def load(model: str, settings: RegistrySettings) -> Tagger:
    """The model that an alias, a version or a bundle folder names."""
    if Path(model).is_dir():
        return Tagger.load(Path(model))
    registry = Registry(settings)
    return registry.load(registry.find(model))
