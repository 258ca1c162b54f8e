"""How results are shown: as tables for people, as JSON for machines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from earful.errors import InputError
from training.names import NAMES

if TYPE_CHECKING:  # a list of models should not wait for torch
    from earful.topics import Catalogue
    from training.audit import Audit
    from training.evaluate import Report
    from training.pipeline import Trained
    from training.registry import Version
    from training.topics.pipeline import FittedTopics

CLASSES = 30  # more than this are cut from the table; --json has all


def trained(made: "Trained", name: str, as_json: bool) -> None:
    """What a training run made."""
    if as_json:
        _json(
            {
                "bundle": str(made.bundle),
                "version": made.version,
                "champion": made.is_champion,
                "metrics": made.report.metrics,
                "measured_on": made.measured_on,
                "rows": made.report.rows,
                "parity": {"category": made.parity.category_agreement, "urgency": made.parity.urgency_agreement},
                "precision": made.precision,
                "rejected": made.rejected,
                "rejects_file": str(made.rejects_file) if made.rejects_file else None,
            }
        )
        return
    console = Console()
    console.print(_figures(made.report, f"{made.report.rows:,} {made.measured_on}"))
    console.print(
        f"exported as {made.precision}, which agrees with the trained network on "
        f"{made.parity.category_agreement:.2%} of the rows it was compared on"
    )
    role = "champion" if made.is_champion else "challenger; `earful promote challenger` makes it champion"
    console.print(f"bundle {made.bundle}, version {made.version} of {name}: {role}", highlight=False, soft_wrap=True)


def fitted_topics(made: "FittedTopics", as_json: bool) -> None:
    """What a topic fit made."""
    if as_json:
        _json(
            {
                "bundle": str(made.bundle),
                "version": made.version,
                "champion": made.is_champion,
                "metrics": made.catalogue.metrics,
                "events": [event.model_dump() for event in made.events],
                "topics": [topic.model_dump() for topic in made.catalogue.active],
            }
        )
        return
    topics(made.catalogue, as_json=False)
    console = Console()
    for one in made.events:
        if one.kind != "new" or len(made.events) < len(made.catalogue.active):  # of a first fit, all are new
            console.print(f"topic {one.topic}, {one.kind}: {one.said}", highlight=False, soft_wrap=True)
    if not made.events:
        console.print("no topic is new, and none has ended", highlight=False)
    figures = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in made.catalogue.metrics.items())
    console.print(figures, highlight=False, soft_wrap=True)
    role = "champion" if made.is_champion else "challenger; `earful promote challenger` makes it champion"
    console.print(f"bundle {made.bundle}, version {made.version}: {role}", highlight=False, soft_wrap=True)


def topics(catalogue: "Catalogue", as_json: bool) -> None:
    """The topics that messages are given to, largest first."""
    found = sorted(catalogue.active, key=lambda topic: -topic.size)
    if as_json:
        _json([topic.model_dump() for topic in found])
        return
    table = Table("id", "label", "messages", "theme", "keywords", title="topics", box=box.SIMPLE)
    for topic in found:
        table.add_row(str(topic.id), topic.label, f"{topic.size:,}", topic.theme, ", ".join(topic.keywords[:6]))
    Console().print(table)


def topic(catalogue: "Catalogue", id: int, as_json: bool) -> None:
    """One topic with its lineage. Raises `InputError` if there is none of that id."""
    found = catalogue.find(id)
    if found is None:
        raise InputError(f"there is no topic {id}; `earful topics list` shows those there are")
    lineage = catalogue.lineage(id)
    if as_json:
        _json({**found.model_dump(), "lineage": [event.model_dump() for event in lineage]})
        return
    table = Table(show_header=False, title=f"topic {id}: {found.label}", box=box.SIMPLE)
    for name, value in (
        ("state", found.state), ("messages", f"{found.size:,}"), ("theme", found.theme),
        ("keywords", ", ".join(found.keywords)), *(("example", text) for text in found.examples),
        ("categories", _shares(found.categories)), ("urgencies", _shares(found.urgencies)),
        *((event.at[:10], f"{event.kind}: topic {event.topic}, {event.said}") for event in lineage),
    ):  # fmt: skip
        table.add_row(name, value)
    Console().print(table)


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:5])


def report(found: "Report", as_json: bool) -> None:
    """What an evaluation found."""
    if as_json:
        _json(found.model_dump(mode="json"))
        return
    console = Console()
    console.print(_figures(found, f"{found.rows:,} rows"))
    classes = Table("category", "precision", "recall", "F1", "rows", title="by category")
    worst_first = sorted(found.by_category.items(), key=lambda item: item[1].f1)
    for name, m in worst_first[:CLASSES]:
        classes.add_row(name, f"{m.precision:.3f}", f"{m.recall:.3f}", f"{m.f1:.3f}", f"{m.rows:,}")
    console.print(classes)
    for title, groups in (("channel", found.by_channel), ("tier", found.by_tier)):
        table = Table(title, "category right", "urgency right", "rows", title=f"by {title}")
        for name, g in groups.items():
            table.add_row(name, _share(g.category_accuracy), _share(g.urgency_accuracy), f"{g.rows:,}")
        console.print(table)


def audit(found: "Audit", as_json: bool) -> None:
    """What an audit found."""
    if as_json:
        _json(
            {
                "rows": found.rows,
                "rejected": found.rejected,
                "doubtful": len(found.doubts),
                "overlaps": [asdict(overlap) for overlap in found.overlaps],
                "out": str(found.out),
            }
        )
        return
    console = Console()
    pairs = Table("category", "and", "rows that seem meant for the other", title="categories that are confused")
    for overlap in found.overlaps:
        pairs.add_row(overlap.first, overlap.second, f"{overlap.share:.2%}")
    if found.overlaps:
        console.print(pairs)
    if not found.doubts:
        console.print(f"none of {found.rows:,} labels is doubtful", highlight=False)
        return
    share = len(found.doubts) / found.rows
    console.print(
        f"{len(found.doubts):,} of {found.rows:,} labels ({share:.1%}) are doubtful; {found.out} has them, the most "
        f"doubtful first.\nCorrect its column “category”, then: earful train --data … --corrections {found.out}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def versions(found: Sequence["Version"], as_json: bool) -> None:
    """The registered models."""
    if as_json:
        _json(
            [
                {
                    "version": one.version,
                    "aliases": one.aliases,
                    "created_at": one.created_at.isoformat(timespec="seconds"),
                    "run_id": one.run_id,
                    "metrics": {key: value for key, value in one.metrics.items() if key in NAMES},
                }
                for one in found
            ]
        )
        return
    table = Table("version", "alias", "trained", "accuracy", "macro-F1", "kappa", box=box.SIMPLE)  # fits 80 columns
    for one in found:
        figures = (_share(one.metrics.get(key)) for key in ("category_accuracy", "category_macro_f1", "urgency_kappa"))
        table.add_row(one.version, ", ".join(one.aliases), f"{one.created_at:%Y-%m-%d %H:%M}", *figures)
    Console().print(table if found else "no model is registered yet; `earful train` makes the first")


def _figures(found: "Report", measured_on: str) -> Table:
    table = Table("figure", "value", title=f"measured on {measured_on}")
    for key, value in found.metrics.items():
        table.add_row(NAMES[key], f"{value:.4f}")
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))
