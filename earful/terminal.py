"""What the commands share: options, and how they speak to the person at the terminal."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from earful.errors import EarfulError

messages = Console(stderr=True)
OURS = ("earful", "training", "serving")
STORES = ("sqlalchemy", "mlflow", "alembic")  # whose exceptions are about a store that is damaged or out of reach

Files = Annotated[
    list[str], typer.Option("--data", help="CSV, JSONL or Parquet file, folder of them, or hub:NAME; repeatable.")
]
Model = Annotated[str, typer.Option(help="Alias, version or bundle folder.")]
Encoding = Annotated[str | None, typer.Option(help="Encoding of CSV and JSONL, if it is not UTF-8.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Text = Annotated[str, typer.Option(help="Column that holds the text.")]
Category = Annotated[str | None, typer.Option(help="Column that holds the category, if it is not “category”.")]
UrgencyMap = Annotated[
    list[str] | None, typer.Option(help="What other urgencies mean: “1=low,2=normal”, “asap=critical”; repeatable.")
]
Column = Annotated[str | None, typer.Option(help="Column of that meaning, if it has another name.")]


def _failed(message: str, code: int = 1) -> typer.Exit:
    """Say what is wrong in one line; what to raise to end with that exit code."""
    messages.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    return typer.Exit(code)


def _setting(place: tuple[int | str, ...], given: Mapping[str, Any] | None) -> str:
    """What a person calls a setting: an option of this command, or a variable of the environment."""
    name = "_".join(str(part) for part in place)
    if name.isupper():
        return name
    return f"--{name.replace('_', '-')}" if given is None or name in given else f"EARFUL_{name.upper()}"


@contextmanager
def explained(given: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Turn what a person can mend into one line and exit code 1 (2 for a wrong option).

    `given` are the options that were set, of a command whose settings may come from the environment too.
    """
    try:
        yield
    except EarfulError as error:
        raise _failed(str(error)) from None
    except OSError as error:  # a full disk, a folder that may not be written to
        raise _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _failed(f"{_setting(first['loc'], given)}: {first['msg']}", code=2) from None
    except SettingsError as error:  # a variable of the environment that should be JSON
        raise _failed(f"{error}; write its value as JSON", code=2) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in OURS:
            raise  # a mistake of ours, not a part that was left out
        how = "install Earful with its train extra, or use the training image"
        raise _failed(f"this needs {package}, which is not installed here: {how}") from None
    except Exception as error:
        if type(error).__module__.split(".")[0] not in STORES:
            raise
        raise _failed(f"the store of runs and models cannot be used: {str(error).strip().splitlines()[0]}") from None


@contextmanager
def tidy_when_stopped() -> Iterator[None]:
    """Told to stop (SIGTERM), clean up as if interrupted at the keyboard, so that nothing is left half done."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def given_options(**options: Any) -> dict[str, Any]:
    """The options that the caller set; what is left out is for the settings to decide."""
    return {name: value for name, value in options.items() if value is not None}
