"""`earful topics`: find topics, look at them, and say what they are called. Reaches for training, lazily."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from earful.terminal import (
    Column,
    Encoding,
    Files,
    Json,
    Model,
    Text,
    explained,
    given_options,
    messages,
    tidy_when_stopped,
)
from earful.topics import Catalogue, Topics

app = typer.Typer(
    help="What customers actually talk about: found, named, and kept under the same ids.", no_args_is_help=True
)
Id = Annotated[int, typer.Argument(help="Id of a topic.", min=1)]
Out = Annotated[Path, typer.Option(help="Folder of the bundle that is written.")]
OUT = Path("bundles/topics")


@app.command()
def fit(
    data: Files,
    text_column: Text = "text",
    created_at_column: Column = None,
    encoding: Encoding = None,
    since: Annotated[str | None, typer.Option(help="Messages from then on, such as 2026-01-31.")] = None,
    until: Annotated[str | None, typer.Option(help="Messages before then.")] = None,
    model: Model = "champion",
    out: Out = OUT,
    seed: Annotated[int | None, typer.Option(help="Same seed, data and machine: same topics.")] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it champion even if the champion has topics.")
    ] = False,
    label_command: Annotated[
        str | None,
        typer.Option(
            help="Program that names a new topic: given its keywords and examples as JSON, it prints a label."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the topics of messages, and give them to a model, whose known topics keep their ids."""
    with explained(), tidy_when_stopped():
        from earful.settings import RegistrySettings
        from training import view
        from training.progress import Reporter
        from training.settings import Columns
        from training.topics import pipeline
        from training.topics.settings import TopicSettings, read_moment

        columns = Columns(category="", **given_options(text=text_column, created_at=created_at_column))
        settings = TopicSettings(
            data=tuple(data), columns=columns, model=model, out=out, promote=promote,
            since=read_moment("--since", since), until=read_moment("--until", until),
            **given_options(encoding=encoding, seed=seed, label_command=label_command),
        )  # fmt: skip
        view.fitted_topics(pipeline.fit(settings, RegistrySettings(), Reporter(messages)), as_json)


@app.command("list")
def list_topics(model: Model = "champion", as_json: Json = False) -> None:
    """The topics of a model, largest first."""
    with explained():
        from training import view

        view.topics(_catalogue(model), as_json)


@app.command()
def show(id: Id, model: Model = "champion", as_json: Json = False) -> None:
    """One topic, and what became of it over time."""
    with explained():
        from training import view

        view.topic(_catalogue(model), id, as_json)


@app.command()
def rename(
    id: Id, label: Annotated[str, typer.Argument(help="What it is called from now on.")], model: Model = "champion",
    out: Out = OUT,
) -> None:  # fmt: skip
    """Call a topic something else, for good."""
    with explained():
        from training.topics import edits

        _edit(model, out, lambda topics: edits.rename(topics, id, label))


@app.command()
def merge(
    id: Id, other: Annotated[int, typer.Argument(help="The topic that becomes part of it.", min=1)],
    model: Model = "champion", out: Out = OUT,
) -> None:  # fmt: skip
    """Make one topic part of another, for good."""
    with explained():
        from training.topics import edits

        _edit(model, out, lambda topics: edits.merge(topics, id, other))


@app.command()
def retire(id: Id, model: Model = "champion", out: Out = OUT) -> None:
    """Give no message to a topic any more."""
    with explained():
        from training.topics import edits

        _edit(model, out, lambda topics: edits.retire(topics, id))


@app.command()
def split(
    id: Id,
    data: Files,
    text_column: Text = "text",
    encoding: Encoding = None,
    model: Model = "champion",
    out: Out = OUT,
    seed: Annotated[int | None, typer.Option(help="Same seed, data and machine: same parts.")] = None,
) -> None:
    """Make two topics of one, by the messages of --data that belong to it."""
    with explained():
        from earful.settings import RegistrySettings
        from training.progress import Reporter
        from training.settings import Columns
        from training.topics import splits
        from training.topics.settings import TopicSettings

        columns = Columns(category="", **given_options(text=text_column))
        settings = TopicSettings(
            data=tuple(data), columns=columns, model=model, **given_options(encoding=encoding, seed=seed)
        )
        _edit(model, out, splits.splitter(settings, id, RegistrySettings(), Reporter(messages)))


@app.command()
def add(
    label: Annotated[str, typer.Argument(help="What the topic is called.")],
    data: Files,
    text_column: Text = "text",
    encoding: Encoding = None,
    model: Model = "champion",
    out: Out = OUT,
    as_json: Json = False,
) -> None:
    """Make a topic of the messages of --data, such as a few that you have seen of something new."""
    with explained():
        from earful.settings import RegistrySettings
        from training.settings import Columns
        from training.topics import additions
        from training.topics.settings import TopicSettings

        columns = Columns(category="", **given_options(text=text_column))
        settings = TopicSettings(data=tuple(data), columns=columns, model=model, **given_options(encoding=encoding))
        _edit(model, out, additions.adder(settings, label, RegistrySettings()), as_json)


def _catalogue(model: str) -> Catalogue:
    from earful import bundle
    from earful.settings import RegistrySettings
    from training.topics import models

    with models.chosen(model, RegistrySettings()) as folder:
        return models.topics_of(bundle.load(folder)).catalogue


def _edit(model: str, out: Path, change: Callable[[Topics], Topics], as_json: bool = False) -> None:
    from earful.settings import RegistrySettings
    from training.topics import models

    with tidy_when_stopped():
        edited = models.edit(model, out, change, RegistrySettings())
    if as_json:
        events = [event.model_dump(mode="json") for event in edited.events]
        typer.echo(json.dumps({"version": edited.version, "champion": edited.is_champion, "events": events}))
        return
    for event in edited.events:
        typer.echo(f"topic {event.topic}: {event.said}")
    typer.echo(f"version {edited.version} has it{', and is champion' if edited.is_champion else ''}")
