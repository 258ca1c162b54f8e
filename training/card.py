"""The model card that travels in the bundle: what the model is, what it learned from and how far to trust it."""

from collections.abc import Iterable, Sequence

from earful import __version__
from earful.policy import Policy
from earful.taxonomy import Taxonomy
from training.corpus import Corpus
from training.evaluate import Report
from training.names import NAMES
from training.settings import TrainSettings


def write(
    settings: TrainSettings,
    taxonomy: Taxonomy,
    corpus: Corpus,
    policy: Policy,
    report: Report,
    measured_on: str,
    precision: str,
    refitted: bool,
) -> str:
    """The card, in Markdown."""
    return "\n\n".join(
        [
            f"# {settings.name}: categories of {taxonomy.name} {taxonomy.version}",
            _about(settings, taxonomy, corpus, precision, refitted),
            f"## Measured on {report.rows:,} {measured_on}",
            _table(("figure", "value"), [(NAMES[key], f"{value:.4f}") for key, value in report.metrics.items()]),
            "## Tiers\n\nMeasured on the validation rows, which also set the thresholds.",
            _tiers(policy),
            "## By category",
            _table(
                ("category", "precision", "recall", "F1", "rows"),
                [
                    (k, f"{m.precision:.3f}", f"{m.recall:.3f}", f"{m.f1:.3f}", m.rows)
                    for k, m in report.by_category.items()
                ],
            ),
            _limits(taxonomy, corpus, policy),
        ]
    )


def _about(settings: TrainSettings, taxonomy: Taxonomy, corpus: Corpus, precision: str, refitted: bool) -> str:
    also = ", from which it learned in a second fit" if refitted else ""
    return (
        f"Fine-tuned from `{settings.base_model}` by Earful {__version__} on {len(corpus.train):,} rows, with "
        f"{len(corpus.validation):,} for stopping and calibration{also}. {corpus.duplicates:,} duplicates and "
        f"{corpus.near_duplicates:,} near-duplicates were removed. The model is stored as {precision}.\n\n"
        f"Data `{corpus.data_hash}`, taxonomy `{taxonomy.digest}`."
    )


def _tiers(policy: Policy) -> str:
    rows = [
        (
            rule.tier,
            f"{rule.min_confidence:.3f}",
            "none" if rule.precision is None else f"{rule.precision:.3f}",
            rule.rows,
        )
        for rule in policy.tiers
    ]
    return _table(("tier", "from confidence", "precision", "rows"), rows)


def _limits(taxonomy: Taxonomy, corpus: Corpus, policy: Policy) -> str:
    unseen = [taxonomy.names[k] for k in policy.zero_shot]
    lines = ["## Limits\n"]
    if policy.scope is None:
        lines.append("- It answers with one of its categories whatever it is sent; nothing is out of scope.")
    else:
        lines.append("- Texts unlike those that it learned from are `out_of_scope`, and so are some few of their kind.")
    if unseen:
        lines.append(
            f"- No row taught it these categories: {', '.join(unseen)}. It knows them by what the taxonomy says of "
            "them, and its answers with them are marked `zero_shot` and need review."
        )
    if not any(example.urgency for example in corpus.train):
        lines.append("- It was trained without urgency labels and gives no urgency.")
    return "\n".join(lines) + "\n"


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
