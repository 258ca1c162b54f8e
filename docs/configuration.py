"""Writes docs/configuration.md from the settings themselves: `python docs/configuration.py`. A test keeps it true."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from earful.settings import RegistrySettings
from serving.settings import ServeSettings
from training.settings import TrainSettings
from training.topics.settings import TopicSettings

PAGE = Path(__file__).with_suffix(".md")
INTRO = """# Configuration

Written from the settings by `python docs/configuration.py`. Command-line options win over the environment.
"""


def page() -> str:
    """The whole page."""
    parts = [
        INTRO,
        _section("Where models are recorded", RegistrySettings, lambda name, field: f"`{field.validation_alias}`"),
        _section("`earful serve`", ServeSettings, lambda name, field: f"`EARFUL_{name.upper()}`"),
        _section("`earful train`", TrainSettings, lambda name, field: f"`{name}`"),
        _section("`earful topics fit`", TopicSettings, lambda name, field: f"`{name}`"),
    ]
    return "\n".join(parts)


def _section(title: str, settings: type[BaseModel], label: Any) -> str:
    fields = {name: field for name, field in settings.model_fields.items() if field.description}
    rows = [f"| {label(name, field)} | {field.description} | {_default(field)} |" for name, field in fields.items()]
    return "\n".join([f"## {title}\n", "| setting | meaning | default |", "| --- | --- | --- |", *rows, ""])


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else "" if field.default in (None, ()) else f"`{field.default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
