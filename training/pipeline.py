"""The walk of one training run: read, build the corpus, fit, export, calibrate, evaluate, record, register."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from accelerate import PartialState

from earful import bundle as bundles
from earful.bundle import Labels, SmokeAnswer, TaxonomyRef, Windows
from earful.errors import InputError, ParityError
from earful.policy import Policy
from earful.settings import RegistrySettings
from earful.tagger import Logits, Tagger
from earful.taxonomy import URGENCIES
from earful.topics import Topics
from training import card, encoders, evaluate, export, finetune, selftrain, tracking
from training import recipe as recipes
from training.calibrate import answers, calibrate, languages
from training.encoders import Encoder
from training.evaluate import Report
from training.export import Parity, Precision
from training.finetune import Fitted
from training.plots import draw
from training.prepare import Prepared, prepare
from training.progress import Reporter, TrainingBar
from training.recipe import Recipe
from training.registry import Registry
from training.search import search
from training.settings import TrainSettings
from training.sources import Example
from training.topics import carry

NAMED = 5  # categories that are named in one line
SMOKE_TEXTS = (
    "I was charged twice this month and nobody answers the phone.",
    "It stopped working yesterday. What should I do?",
    "Thank you, everything is fine now!",
)


@dataclass(frozen=True)
class Trained:
    """What a run made. `measured_on` says which rows `report` is about."""

    bundle: Path
    version: str
    is_champion: bool
    report: Report
    measured_on: str
    parity: Parity
    precision: Precision
    rejected: int
    rejects_file: Path | None


def train(settings: TrainSettings, registry: RegistrySettings, reporter: Reporter) -> Trained | None:
    """Run the whole walk. None in the helper processes of a distributed run, which only fit.

    Raises an `EarfulError` for anything a person can mend; no bundle is written and no model registered then.
    """
    bundles.check_writable(settings.out)
    prepared = prepare(settings, reporter)
    for option, given in (("--search", settings.search), ("--unlabelled", settings.unlabelled)):
        if given and PartialState().num_processes > 1:
            raise InputError(f"{option}: runs in one process; leave it out, or do not spread the fit")
    encoder = encoders.load(settings.base_model)
    recipe = recipes.choose(settings, prepared.corpus.train)
    if not PartialState().is_main_process:
        fitted = _fit(prepared, encoder, recipe, Reporter())
        _fit_again(prepared, replace(recipe, epochs=fitted.epochs), Reporter())
        return None
    reporter.say(str(recipe))
    if unlabelled := recipes.unlabelled(prepared.taxonomy, prepared.corpus.train):
        some = ", ".join(f"“{name}”" for name in unlabelled[:NAMED]) + (", …" if len(unlabelled) > NAMED else "")
        reporter.say(f"  learned from what the taxonomy says of them, since no row has them: {some}")
    with tracking.start(registry) as run:
        names = {
            "name": prepared.taxonomy.name,
            "version": prepared.taxonomy.version,
            "digest": prepared.taxonomy.digest,
        }
        run.data(settings, prepared.corpus, names, len(prepared.rejects))
        if settings.search:
            rows = (*prepared.corpus.train, *_words(prepared, recipe))
            prepared, recipe = search(prepared, recipe, rows, run, reporter)
        fitted = _fit(prepared, encoder, recipe, reporter)
        if prepared.unlabelled:
            believed = _believed(prepared, encoder, fitted, reporter)
            recipe = recipes.with_believed(recipe, settings, (*prepared.corpus.train, *believed))
            reporter.say(str(recipe))
            fitted = _fit(prepared, encoders.load(settings.base_model), recipe, reporter, believed)
        last = _fit_again(prepared, replace(recipe, epochs=fitted.epochs), reporter)
        run.recipe(recipe)
        run.epochs(fitted.history)
        store = Registry(registry)
        topics = carry.known(store, settings.base_model, reporter)
        return _finish(prepared, encoder, fitted, last, run, store, topics, reporter)


def _fit(
    prepared: Prepared, encoder: Encoder, recipe: Recipe, reporter: Reporter, believed: Sequence[Example] = ()
) -> Fitted:
    made, names = prepared.corpus, prepared.taxonomy.names
    rows = (*made.train, *_words(prepared, recipe), *believed)
    with reporter.bar("training", None) as bar:
        callbacks = [TrainingBar(reporter, bar)]
        return finetune.fit(encoder, rows, made.validation, names, prepared.settings, recipe, callbacks)


def _believed(prepared: Prepared, encoder: Encoder, fitted: Fitted, reporter: Reporter) -> list[Example]:
    """The rows without labels that a first model, as exported, is surest of, with its labels.

    Neither that model nor the one that learns from them may know the validation rows: it would be calibrated on what it
    has heard of.
    """
    first = _export(prepared, encoder, fitted, prepared.corpus.validation, reporter, Policy())
    rows, names = prepared.unlabelled, prepared.taxonomy.names
    with reporter.bar("answering rows without labels", len(rows)) as bar:
        found = selftrain.labelled(first.tagger, rows, names, bar.advance)
    reporter.say(f"{len(found):,} of {len(rows):,} rows without labels are learned from, with the labels of this model")
    return found


def _words(prepared: Prepared, recipe: Recipe) -> list[Example]:
    """What the taxonomy says, of all categories where rows are few, and of those that have none wherever."""
    taxonomy = prepared.taxonomy
    unlabelled = recipes.unlabelled(taxonomy, prepared.corpus.train)
    if recipe.words:
        return recipes.words(taxonomy, taxonomy.names)
    return recipes.COPIES * recipes.words(taxonomy, unlabelled)


def _fit_again(prepared: Prepared, recipe: Recipe, reporter: Reporter) -> Fitted | None:
    """A second fit, from the start and to the end, that learns from the validation rows too.

    What stopping and calibration needed is a tenth of the rows; only the test rows must stay unseen. None if the
    recipe does without.
    """
    settings, made = prepared.settings, prepared.corpus
    if not (recipe.refit and made.test):  # without test rows it could not be measured
        return None
    reporter.say("a second fit learns from the validation rows too")
    encoder = encoders.load(settings.base_model)
    rows = (*made.train, *made.validation, *_words(prepared, recipe))
    to_the_end = replace(recipe, best=False)
    with reporter.bar("training on the validation rows too", None) as bar:
        callbacks = [TrainingBar(reporter, bar)]
        return finetune.fit(encoder, rows, made.test, prepared.taxonomy.names, settings, to_the_end, callbacks)


def _finish(
    prepared: Prepared, encoder: Encoder, fitted: Fitted, last: Fitted | None, run: tracking.Run, registry: Registry,
    topics: Topics | None, reporter: Reporter,
) -> Trained:  # fmt: skip
    """Export, evaluate, write the bundle and register it."""
    settings, made, names = prepared.settings, prepared.corpus, prepared.taxonomy.names
    exported = _export(prepared, encoder, fitted, made.validation, reporter)
    if last is not None:
        exported = _export(prepared, encoder, last, made.test, reporter, exported.policy)
    unlabelled = recipes.unlabelled(prepared.taxonomy, made.train)
    known = {"languages": languages(made.train), "zero_shot": tuple(map(names.index, unlabelled))}
    policy, tagger = exported.policy.model_copy(update=known), exported.tagger
    measured = made.test or made.validation
    measured_on = "test rows" if made.test else "validation rows (which also set the stopping point and the thresholds)"
    answered_already = last is not None or not made.test  # the rows that were compared are those to be measured on
    logits = exported.answers if answered_already else _answer(tagger, made.test, reporter)
    answered = evaluate.answer(logits, policy, evaluate.floors(prepared.taxonomy, measured))
    report = evaluate.report(answered, policy, names, measured)
    run.evaluation(report, measured_on, exported.parity, exported.precision)
    run.figures(draw(answered, answers(measured, names), names))
    content = {
        **exported.content,
        bundles.POLICY: policy.model_dump_json(indent=2).encode(),
        bundles.CARD: card.write(
            settings, prepared.taxonomy, made, policy, report, measured_on, exported.precision, last is not None
        ).encode(),
    }
    if topics is not None and logits.embedding is not None:
        with reporter.bar("taking over the champion's topics", None):
            texts = [example.feedback.text for example in measured]
            content |= carry.carried(topics, texts, logits.embedding, settings.base_model).files()
    manifest = _manifest(prepared, encoder, fitted, run.id)
    manifest |= {"metrics": report.metrics, "smoke": _smoke(tagger, policy)}
    manifest["reference"] = evaluate.reference(answered, names, measured)
    bundles.write(settings.out, content, **manifest)
    if policy.review_below and min(policy.review_below) > 1:
        reporter.say(
            f"the rows kept back do not bear out a precision of {settings.target_precision:g}: all need review"
        )
    version, is_champion = _register(settings, run, registry, reporter)
    return Trained(
        bundle=settings.out,
        version=version,
        is_champion=is_champion,
        report=report,
        measured_on=measured_on,
        parity=exported.parity,
        precision=exported.precision,
        rejected=len(prepared.rejects),
        rejects_file=prepared.rejects_file,
    )


@dataclass(frozen=True)
class Exported:
    """A model that answers as the trained network does, its answers to the rows kept back, and its calibration."""

    content: dict[str, bytes]
    tagger: Tagger
    answers: Logits
    policy: Policy
    parity: Parity
    precision: Precision


def _export(
    prepared: Prepared, encoder: Encoder, fitted: Fitted, held: Sequence[Example], reporter: Reporter,
    policy: Policy | None = None,
) -> Exported:  # fmt: skip
    """The smallest model that answers the rows `held` back as the trained one; calibrated on them unless with `policy`.

    Raises `ParityError` if none does.
    """
    settings = prepared.settings
    right = answers(held, prepared.taxonomy.names)
    full = export.to_onnx(fitted.network)
    for precision in export.PRECISIONS:
        with reporter.bar(f"exporting as {precision}", None):
            content = _content(prepared, encoder, export.at(precision, full, fitted.sample, encoder.pad_id))
            tagger = _draft(content, _manifest(prepared, encoder, fitted, ""))
        found = _answer(tagger, held, reporter)
        with reporter.bar("calibrating", None):
            decided = policy or calibrate(
                found, right, settings.critical_recall, settings.target_precision, settings.in_scope
            )
            parity = export.parity(fitted.held, found, right, decided)
        if not (problems := export.problems(parity)):
            return Exported(content, tagger, found, decided, parity, precision)
        reporter.say(f"the {precision} model does not answer as the trained one: {'; '.join(problems)}")
    raise ParityError(f"the exported model does not answer as the trained one: {'; '.join(problems)}")


def _draft(content: dict[str, bytes], manifest: dict[str, object]) -> Tagger:
    """What the bundle will be, to be measured."""
    with tempfile.TemporaryDirectory(prefix="earful-bundle-") as folder:
        bundles.write(Path(folder) / "draft", content, **manifest)
        return Tagger.load(Path(folder) / "draft")


def _content(prepared: Prepared, encoder: Encoder, model: bytes) -> dict[str, bytes]:
    """The files of a bundle, with a policy and a card that are yet to be written."""
    encoder.tokenizer.no_truncation()
    return {
        bundles.MODEL: model,
        bundles.TOKENIZER: encoder.tokenizer.to_str().encode(),
        bundles.TAXONOMY: prepared.taxonomy.to_toml().encode(),
        bundles.POLICY: Policy().model_dump_json().encode(),
        bundles.CARD: b"",
    }


def _manifest(prepared: Prepared, encoder: Encoder, fitted: Fitted, run_id: str) -> dict[str, object]:
    taxonomy, settings = prepared.taxonomy, prepared.settings
    size = min(settings.window_tokens, encoder.longest)
    return {
        "base_model": encoder.name,
        "taxonomy": TaxonomyRef(name=taxonomy.name, version=taxonomy.version, digest=taxonomy.digest),
        "labels": Labels(category=taxonomy.names, urgency=URGENCIES if fitted.network.urgency is not None else ()),
        "windows": Windows(size=size, overlap=settings.window_overlap, pad_id=encoder.pad_id),
        "run_id": run_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "metrics": {},
        "smoke": (),
    }


def _answer(tagger: Tagger, examples: Sequence[Example], reporter: Reporter) -> Logits:
    with reporter.bar("answering rows kept back", len(examples)) as bar:
        return evaluate.run(tagger, examples, bar.advance)


def _smoke(tagger: Tagger, policy: Policy) -> tuple[SmokeAnswer, ...]:
    """Answers that the bundle must give again wherever it is loaded; the texts are ours, never a customer's."""
    names = tagger.bundle.taxonomy.names
    found = []
    for text in SMOKE_TEXTS:
        probabilities = policy.category_probabilities(tagger.logits([text]).category)[0]
        best = int(probabilities.argmax())
        found.append(SmokeAnswer(text=text, category=names[best], confidence=round(float(probabilities[best]), 4)))
    return tuple(found)


def _register(settings: TrainSettings, run: tracking.Run, registry: Registry, reporter: Reporter) -> tuple[str, bool]:
    """Register the bundle as challenger; as champion too if there is none or the caller asked for it."""
    with reporter.bar("registering", None):
        version = run.bundle(settings.out)
        return version, registry.enter(version, settings.promote)
