"""`earful keys`: who may use the service. Reaches for serving, lazily."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from earful.terminal import Json, explained, messages

if TYPE_CHECKING:
    from serving.keys import Keys

app = typer.Typer(help="API keys: made, listed and revoked.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Whose key it is, such as helpdesk.")]


@app.command()
def create(
    name: Name,
    scope: Annotated[list[str] | None, typer.Option(help="classify, read, label or admin; repeatable.")] = None,
    rate: Annotated[str | None, typer.Option(help="How often it may be used, such as 600/minute.")] = None,
) -> None:
    """Make a key, and print it: it cannot be shown again."""
    with explained():
        secret = _keys().create(name, scope or ["classify", "read"], rate)
        typer.echo(secret)
        messages.print("keep it now, it is not shown again; send it as  Authorization: Bearer …", highlight=False)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """The keys that there are, without the keys."""
    with explained():
        keys = _keys().all()
        if as_json:
            typer.echo(json.dumps([key.model_dump(mode="json", exclude={"sha256"}) for key in keys]))
            return
        table = Table("name", "may", "rate", "since")
        for key in keys:
            table.add_row(key.name, ", ".join(key.scopes), key.rate or "", f"{key.created_at:%Y-%m-%d}")
        Console().print(table)


@app.command()
def revoke(name: Name) -> None:
    """Let a key open nothing any more, from the next request on."""
    with explained():
        _keys().revoke(name)
        typer.echo(f"“{name}” is revoked")


def _keys() -> "Keys":
    from serving.keys import Keys
    from serving.settings import ServeSettings

    return Keys(ServeSettings().keys)
