"""The starter model, trained as `make run` trains it."""

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from earful.feedback import Feedback
from earful.tagger import Tagger
from earful.tags import Tags
from tests.conftest import ROOT, run


@dataclass(frozen=True)
class Starter:
    """The starter model, and its figures on the gold set, as `earful train` printed them."""

    tagger: Tagger
    metrics: dict[str, float]

    def tag(self, *texts: str) -> list[Tags]:
        """Tags of each text."""
        return self.tagger.tag([Feedback(text=text) for text in texts])

    def categories(self, *texts: str) -> list[str]:
        """The category of each text."""
        return [tags.category.name for tags in self.tag(*texts)]

    def urgency(self, *texts: str) -> list[float]:
        """Where each text lies between low (0) and critical (1)."""
        return [tags.urgency.score for tags in self.tag(*texts) if tags.urgency]


def command() -> list[str]:
    """The arguments with which `make run` trains, from the Makefile itself, with absolute paths."""
    made = re.search(r"earful (train .*?--promote)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.DOTALL)
    assert made
    arguments = shlex.split(made[1].replace("\\\n", " "))
    return [str(ROOT / part) if part.startswith("data/") else part for part in arguments]


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Starter:
    folder = tmp_path_factory.mktemp("starter")
    before = Path.cwd()
    os.chdir(folder)  # the store and the bundle lie in the working directory
    try:
        result = run(*command(), "--json")
    finally:
        os.chdir(before)
    assert result.exit_code == 0, result.output
    return Starter(Tagger.load(folder / "bundles" / "latest"), json.loads(result.stdout)["metrics"])
