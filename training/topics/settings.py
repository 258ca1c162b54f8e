"""Every choice of a topic fit, in one frozen object that is made once and passed in."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from earful.errors import InputError
from training.settings import Columns


def read_moment(option: str, said: str | None) -> datetime | None:
    """A date as a person writes it, in UTC if it names no zone. Raises `InputError`."""
    if said is None:
        return None
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise InputError(f"{option}: “{said[:40]}” is not a date; write it as 2026-01-31") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


class TopicSettings(BaseModel):
    """Settings of one fit; docs/configuration.md is made from these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[tuple[str, ...], Field(min_length=1, description="Files, folders of files, or hub:NAME.")]
    columns: Columns = Columns(category="")
    encoding: Annotated[str | None, Field(description="Encoding of CSV and JSON Lines; UTF-8 if not given.")] = None
    since: Annotated[datetime | None, Field(description="Messages from then on, by `created_at`.")] = None
    until: Annotated[datetime | None, Field(description="Messages before then.")] = None
    model: Annotated[str, Field(description="Alias, version or bundle folder that is to know the topics.")] = "champion"
    out: Annotated[Path, Field(description="Folder of the bundle that is written.")] = Path("bundles/topics")
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Same seed, same data, same machine: same topics.")] = 0
    promote: Annotated[bool, Field(description="Make it champion even if the champion has topics.")] = False
    label_command: Annotated[
        str | None,
        Field(
            description="Program that names a new topic: given its keywords and examples as JSON, it prints a label."
        ),
    ] = None

    @model_validator(mode="after")
    def _in_order(self) -> "TopicSettings":
        if self.since and self.until and self.since >= self.until:
            raise InputError(f"--since {self.since:%Y-%m-%d} is not before --until {self.until:%Y-%m-%d}")
        return self
