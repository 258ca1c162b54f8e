"""The command line: `earful COMMAND`. It and `…_commands` alone may reach for training and serving, lazily."""

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from earful import key_commands, topic_commands
from earful.errors import InputError
from earful.terminal import (
    Category,
    Column,
    Encoding,
    Files,
    Json,
    Model,
    Text,
    UrgencyMap,
    explained,
    given_options,
    messages,
    tidy_when_stopped,
)

app = typer.Typer(
    name="earful",
    help="Hear your customers: train on labelled feedback, tag new feedback, keep score of your models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(topic_commands.app, name="topics")
app.add_typer(key_commands.app, name="keys")
# Both libraries report their use to their makers unless told not to before they are loaded.
UNREPORTED = {"ORT_DISABLE_TELEMETRY": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


@app.command()
def train(
    data: Files,
    test: Annotated[list[str] | None, typer.Option(help="Rows to test on, instead of a part of --data.")] = None,
    corrections: Annotated[
        list[str] | None, typer.Option(help="Corrected rows (text, category, urgency); their labels win.")
    ] = None,
    unlabelled: Annotated[
        list[str] | None,
        typer.Option(help="Rows without labels: those that a first model is surest of are learned from; repeatable."),
    ] = None,
    text_column: Text = "text",
    category_column: Category = None,
    secondary_column: Annotated[
        str | None, typer.Option(help="Column of a second category that is present too.")
    ] = None,
    urgency_column: Column = None,
    urgency_map: UrgencyMap = None,
    urgency_data: Annotated[
        list[str] | None, typer.Option(help="More rows, that only the urgency is learned from; repeatable.")
    ] = None,
    urgency_data_column: Annotated[
        str | None, typer.Option(help="Their column of urgencies, if not “urgency”.")
    ] = None,
    id_column: Column = None,
    created_at_column: Column = None,
    customer_column: Column = None,
    channel_column: Column = None,
    split_column: Annotated[str | None, typer.Option(help="Column that says train, validation or test.")] = None,
    encoding: Encoding = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="Taxonomy file; without it the labels are the categories.")
    ] = None,
    base_model: Annotated[str, typer.Option(help="minilm, a Hugging Face encoder id, or a folder.")] = "minilm",
    out: Annotated[Path, typer.Option(help="Folder of the bundle.")] = Path("bundles/latest"),
    split: Annotated[
        Literal["group", "time"] | None, typer.Option(help="Keep rows back at random, or the newest.")
    ] = None,
    validation_fraction: Annotated[float | None, typer.Option(help="Part kept for stopping and calibration.")] = None,
    test_fraction: Annotated[float | None, typer.Option(help="Part kept for the final figures.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data; chosen by its size if not given.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Feedback per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate of the encoder.")] = None,
    frozen_layers: Annotated[
        int | None, typer.Option(help="Lowest layers of the encoder to leave as they are, to train faster.")
    ] = None,
    consistency: Annotated[
        float | None, typer.Option(help="Weight of R-Drop, which doubles the time. 1 where that is quick, else 0.")
    ] = None,
    contrast: Annotated[
        float | None,
        typer.Option(help="Weight of a loss on pairs of one category. 1 where they have few rows, else 0."),
    ] = None,
    critical_recall: Annotated[
        float | None, typer.Option(help="Share of critical rows to be called so, whatever false alarms that costs.")
    ] = None,
    target_precision: Annotated[
        float | None, typer.Option(help="Share of right ones among the answers that nobody reviews; the rest need it.")
    ] = None,
    in_scope: Annotated[
        float | None, typer.Option(help="Share of rows like those learned from that are in scope; 1: every text is.")
    ] = None,
    search: Annotated[
        int | None, typer.Option(help="Trials of other rates and weights (Optuna), before the fit that is kept.")
    ] = None,
    refit: Annotated[
        bool | None,
        typer.Option(help="Learn from the validation rows too, in a second fit; so it is where categories have few."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, data and machine: same model.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it champion even if there is one.")] = False,
    as_json: Json = False,
) -> None:
    """Fine-tune a model on labelled feedback, measure it, and register it as challenger."""
    with explained(), tidy_when_stopped():
        from earful.settings import RegistrySettings
        from training import pipeline, view
        from training.progress import Reporter
        from training.settings import Columns, TrainSettings, read_levels

        columns = Columns(
            **given_options(
                text=text_column, category=category_column, secondary_category=secondary_column,
                urgency=urgency_column, id=id_column,
                created_at=created_at_column, customer_id=customer_column, channel=channel_column, split=split_column,
                urgency_map=read_levels(urgency_map or ()),
            )
        )  # fmt: skip
        registry = RegistrySettings()
        settings = TrainSettings(
            data=tuple(data), test=tuple(test or ()), corrections=tuple(corrections or ()), columns=columns, out=out,
            urgency_data=tuple(urgency_data or ()), unlabelled=tuple(unlabelled or ()),
            base_model=base_model, promote=promote,
            **given_options(
                urgency_data_column=urgency_data_column,
                encoding=encoding, taxonomy=taxonomy, split=split, validation_fraction=validation_fraction,
                test_fraction=test_fraction, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
                frozen_layers=frozen_layers, consistency=consistency, contrast=contrast,
                critical_recall=critical_recall, target_precision=target_precision, in_scope=in_scope,
                search=search, refit=refit, seed=seed,
            ),
        )  # fmt: skip
        made = pipeline.train(settings, registry, Reporter(messages))
        if made is not None:
            view.trained(made, registry.name, as_json)


@app.command()
def evaluate(
    data: Files,
    model: Model = "champion",
    text_column: Text = "text",
    category_column: Category = None,
    urgency_column: Column = None,
    urgency_map: UrgencyMap = None,
    channel_column: Column = None,
    encoding: Encoding = None,
    as_json: Json = False,
) -> None:
    """Measure a model on labelled feedback: by category, channel and confidence tier."""
    with explained():
        from earful.settings import RegistrySettings
        from training import evaluation, view
        from training.progress import Reporter
        from training.settings import Columns, read_levels

        columns = Columns(
            **given_options(
                text=text_column, category=category_column, urgency=urgency_column, channel=channel_column,
                urgency_map=read_levels(urgency_map or ()),
            )
        )  # fmt: skip
        found = evaluation.evaluate(data, columns, encoding, model, RegistrySettings(), Reporter(messages))
        view.report(found, as_json)


@app.command()
def audit(
    data: Files,
    out: Annotated[Path, typer.Option(help="CSV of the doubtful rows, to be corrected and given to train.")] = Path(
        "audit.csv"
    ),
    text_column: Text = "text",
    category_column: Category = None,
    encoding: Encoding = None,
    base_model: Annotated[str, typer.Option(help="minilm, a Hugging Face encoder id, or a folder.")] = "minilm",
    as_json: Json = False,
) -> None:
    """Find labels that are probably wrong, and categories that are confused."""
    with explained():
        from training import audit as auditing
        from training import view
        from training.progress import Reporter
        from training.settings import Columns

        columns = Columns(**given_options(text=text_column, category=category_column))
        found = auditing.audit(data, columns, encoding, base_model, out, Reporter(messages))
        view.audit(found, as_json)


@app.command()
def score(
    source: Annotated[Path, typer.Argument(metavar="IN", help="CSV, JSONL or Parquet.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="CSV, JSONL or Parquet; replaced only when complete.")],
    model: Model = "champion",
    text_column: Text = "text",
    encoding: Encoding = None,
    as_json: Json = False,
) -> None:
    """Tag every row of a file: it keeps its columns and gains the tags."""
    with explained(), tidy_when_stopped():
        from serving import score as scoring

        summary = scoring.score(source, target, model, text_column, encoding, messages)
        typer.echo(json.dumps(summary.as_dict()) if as_json else summary.sentence())
        if summary.rows and summary.errors == summary.rows:
            raise InputError(f"{source}: no row could be tagged; {target} says why in tag_error")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.")] = None,
    model: Annotated[str | None, typer.Option(help="Alias, version or bundle folder.")] = None,
    shadow: Annotated[str | None, typer.Option(help="Another, to compare with unseen by callers.")] = None,
    open_: Annotated[bool | None, typer.Option("--open", help="Listen beyond this machine without keys.")] = None,
) -> None:
    """Answer /classify over HTTP."""
    options = given_options(host=host, port=port, workers=workers, model=model, shadow=shadow, open=open_)
    with explained(options):
        from serving import run
        from serving.settings import ServeSettings

        run.serve(ServeSettings(**options), messages)


@app.command()
def models(as_json: Json = False) -> None:
    """List the registered models, newest first."""
    with explained():
        from earful.settings import RegistrySettings
        from training import view
        from training.registry import Registry

        view.versions(Registry(RegistrySettings()).versions(), as_json)


@app.command()
def promote(version: Annotated[str, typer.Argument(help="Version or alias, such as challenger.")]) -> None:
    """Make a version champion, once its bundle has passed its smoke test."""
    with explained():
        from earful.settings import RegistrySettings
        from training.registry import Registry

        typer.echo(f"version {Registry(RegistrySettings()).promote(version).version} is champion")


@app.command()
def rollback() -> None:
    """Make the champion before this one champion again."""
    with explained():
        from earful.settings import RegistrySettings
        from training.registry import Registry

        typer.echo(f"version {Registry(RegistrySettings()).rollback().version} is champion again")


def main() -> None:
    """Entry point of the `earful` command."""
    os.environ.update({**UNREPORTED, **os.environ})
    app()


if __name__ == "__main__":
    main()
