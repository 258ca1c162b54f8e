"""A program of the user's own names new topics: a language model behind it, on this machine or elsewhere."""

import json
import shlex
import shutil
import subprocess
from dataclasses import replace

from earful.errors import InputError
from earful.topics import Topic, Topics
from training.progress import Reporter
from training.topics.edits import new_label

SECONDS = 120  # that a program has for one topic
OPTION = "--label-command"


def check(command: str | None) -> None:
    """Raises `InputError` if there is no such program, before anybody waits for a fit."""
    if command is not None and not shutil.which((shlex.split(command) or [""])[0]):
        raise InputError(f"{OPTION} {command}: there is no such program")


def named(topics: Topics, before: Topics | None, command: str, reporter: Reporter) -> Topics:
    """Topics of which those that were not there `before` have the names that a program gives them.

    It is given keywords and redacted examples as JSON, and prints a label. A topic keeps its own label, and that is
    said, where the program fails or its answer cannot be a label.
    """
    old = {topic.id for topic in before.catalogue.topics} if before else set()
    new = [topic for topic in topics.catalogue.active if topic.id not in old]
    with reporter.bar("naming topics anew", len(new)) as bar:
        for topic in new:
            try:
                topics = _renamed(topics, topic, new_label(topics, _asked(command, topic), topic.id))
            except InputError as error:
                reporter.say(f"topic {topic.id} keeps the label “{topic.label}”: {OPTION}: {error}")
            bar.advance(1)
    return topics


def _asked(command: str, topic: Topic) -> str:
    given = json.dumps({"keywords": topic.keywords, "examples": topic.examples}, ensure_ascii=False)
    try:
        answer = subprocess.run(  # noqa: S603  (the user's own program, which is what was asked for)
            shlex.split(command), input=given, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"it could not be asked: {error}") from error
    if answer.returncode:
        said = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
        raise InputError(f"it failed: {said[-1]}")
    return next((line for line in answer.stdout.splitlines() if line.strip()), "")


def _renamed(topics: Topics, topic: Topic, label: str) -> Topics:
    every = (one.model_copy(update={"label": label}) if one.id == topic.id else one for one in topics.catalogue.topics)
    return replace(topics, catalogue=topics.catalogue.model_copy(update={"topics": tuple(every)}))
