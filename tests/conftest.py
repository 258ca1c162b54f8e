"""A small real model, trained once in the suite through the command line: the real encoder, few rows, few steps."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from earful.__main__ import app
from earful.tagger import Tagger

ROOT = Path(__file__).parent.parent
STARTER = ROOT / "data" / "starter"
SHORT = 150  # characters
TAXONOMY = ROOT / "data" / "taxonomy.toml"


def run(*arguments: object) -> Result:
    """`earful ARGUMENTS`, in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@dataclass(frozen=True)
class Trained:
    """The small model: its bundle, the store that it is registered in, what the command printed, its data."""

    bundle: Path
    store: str
    printed: dict[str, object]
    data: Path


def small_corpus(folder: Path) -> Path:
    """Every fifth of the short pieces of the starter corpus: what a few steps can learn from while somebody waits."""
    path = folder / "small.jsonl"
    lines = [line for file in sorted(STARTER.glob("*.jsonl")) for line in file.read_text(encoding="utf-8").splitlines()]
    short = [line for line in lines if len(json.loads(line)["text"]) < SHORT]
    path.write_text("\n".join(short[::5]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(folder)  # the default store and its artifacts lie in the working directory
    try:
        data = small_corpus(folder)
        result = run(
            "train", "--data", data, "--taxonomy", TAXONOMY, "--urgency-column", "urgency", "--epochs", 3,
            "--consistency", 0, "--validation-fraction", 0.13, "--out", folder / "bundle", "--json",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        store = f"sqlite:///{folder}/mlruns/mlflow.db"
        yield Trained(folder / "bundle", store, json.loads(result.stdout), data)
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def tagger(trained: Trained) -> Tagger:
    return Tagger.load(trained.bundle)
