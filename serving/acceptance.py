"""A candidate becomes a topic while the service goes on answering: the model's next version has it, and takes over.

Making a version needs the store of models and what training knows of words, so `accept` asks a process of its own
(`earful topics add`), as `serving.registry` does.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from earful.emerging import Candidate
from earful.errors import InputError
from earful.tagger import Tagger
from serving.models import load
from serving.settings import ServeSettings


@dataclass(frozen=True)
class Accepted:
    """The Tagger that knows the new topic, and whether its version is champion."""

    tagger: Tagger
    topic: int
    is_champion: bool


def accept(candidate: Candidate, label: str, tagger: Tagger, settings: ServeSettings) -> Accepted:
    """Make a topic of a candidate's messages. Raises `InputError` in the words of `earful topics add`."""
    model = tagger.ref.version or settings.model
    with tempfile.TemporaryDirectory(prefix="earful-topic-") as folder:  # which nobody else may read
        messages, bundle = Path(folder, "messages.jsonl"), Path(folder, "bundle")
        messages.write_text("".join(json.dumps({"text": one.text}) + "\n" for one in candidate.messages), "utf-8")
        asked = subprocess.run(  # noqa: S603  (our own interpreter and module; a label is an argument, not a command)
            [sys.executable, "-m", "earful", "topics", "add", f"--data={messages}", f"--model={model}",
             f"--out={bundle}", "--json", "--", label],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if asked.returncode:
            said = asked.stderr.strip().splitlines() or ["the topic could not be made"]
            raise InputError(said[-1].removeprefix("error: "))
        made = json.loads(asked.stdout.splitlines()[-1])
        return Accepted(load(bundle, made["version"], settings), made["events"][-1]["topic"], made["champion"])
