"""Every choice of a training run, in one frozen object that is made once and passed in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from earful.errors import InputError
from earful.taxonomy import URGENCIES, Urgency

Fraction = Annotated[float, Field(ge=0.0, lt=0.5)]


class Columns(BaseModel):
    """Which column of the data holds what. Those with a None are used only if the data has a column of that name.

    `urgency_map` says what values of the urgency column mean that are not urgencies themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = "text"
    category: str = "category"
    secondary_category: str | None = None
    urgency: str | None = None
    id: str | None = None
    created_at: str | None = None
    customer_id: str | None = None
    channel: str | None = None
    split: str | None = None
    urgency_map: dict[str, Urgency] = {}

    @property
    def labelled(self) -> bool:
        """Whether rows must have a label; “” as the column of categories, and no column of urgencies: texts alone."""
        return bool(self.category or self.urgency)

    @property
    def named(self) -> dict[str, str]:
        """The columns that were named by the caller, by field."""
        given = self.model_dump(exclude_unset=True, exclude={"urgency_map"})
        return {field: column for field, column in given.items() if column}

    def name(self, field: str) -> str:
        """The column that holds `field`: the one given, or the one of the same name."""
        return getattr(self, field) or field


def read_levels(said: Sequence[str]) -> dict[str, Urgency]:
    """`["1=low,2=normal", "asap=critical"]` as a mapping. Raises `InputError` if it is not of this form."""
    levels: dict[str, Urgency] = {level: level for level in URGENCIES}
    found: dict[str, Urgency] = {}
    for pair in (pair for pairs in said for pair in pairs.split(",")):
        value, equals, level = (part.strip().lower() for part in pair.rpartition("="))
        if not (value and equals) or level not in levels:
            raise InputError(
                f"--urgency-map: “{pair[:40]}” is not of the form VALUE=LEVEL with {', '.join(URGENCIES)} as level"
            )
        found[value] = levels[level]
    return found


class TrainSettings(BaseModel):
    """Settings of one run; docs/configuration.md is made from these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[tuple[str, ...], Field(min_length=1, description="Files, folders of files, or hub:NAME.")]
    test: Annotated[
        tuple[str, ...], Field(description="Rows to test on; without it a part of `data` is kept back.")
    ] = ()
    corrections: Annotated[
        tuple[str, ...], Field(description="Corrected rows (`text`, `category`, `urgency`): their labels win.")
    ] = ()
    urgency_data: Annotated[
        tuple[str, ...], Field(description="More rows that only the urgency is learned from; none is kept back.")
    ] = ()
    unlabelled: Annotated[
        tuple[str, ...],
        Field(description="Rows without labels; those that a first model is surest of are learned from."),
    ] = ()
    urgency_data_column: Annotated[str, Field(description="Column of `urgency_data` that holds the urgency.")] = (
        "urgency"
    )
    columns: Columns = Columns()
    encoding: Annotated[str | None, Field(description="Encoding of CSV and JSON Lines; UTF-8 if not given.")] = None
    taxonomy: Annotated[Path | None, Field(description="Taxonomy file; without it the labels are the categories.")] = (
        None
    )
    base_model: Annotated[str, Field(description="Hugging Face encoder: `minilm`, an id or a folder.")] = "minilm"
    out: Annotated[Path, Field(description="Folder of the bundle that is written.")] = Path("bundles/latest")

    split: Annotated[Literal["group", "time"], Field(description="Keep rows back at random or the newest ones.")] = (
        "group"
    )
    validation_fraction: Annotated[Fraction, Field(description="Part kept for stopping and calibration.")] = 0.1
    test_fraction: Annotated[Fraction, Field(description="Part kept for the final figures.")] = 0.1
    max_kept: Annotated[PositiveInt, Field(description="Most rows kept back for validation, and again for test.")] = (
        2000
    )

    epochs: Annotated[
        PositiveInt | None, Field(description="Passes over the data; chosen by its size if not given.")
    ] = None
    batch_size: Annotated[PositiveInt, Field(description="Feedback per step.")] = 32
    learning_rate: Annotated[float, Field(gt=0, lt=1, description="Peak rate of the encoder's top layer.")] = 1e-4
    layer_decay: Annotated[
        float, Field(gt=0, le=1, description="Rate of each layer of the encoder, as a part of that of the one above.")
    ] = 0.7
    frozen_layers: Annotated[
        int, Field(ge=0, description="Lowest layers of the encoder that are left as they are, to train faster.")
    ] = 0
    head_rate: Annotated[float, Field(gt=0, lt=1, description="Peak rate of the heads.")] = 5e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1, description="Share of the target spread evenly.")] = 0.1
    consistency: Annotated[
        float | None,
        Field(
            ge=0,
            le=100,
            description="Weight of agreement between two answers of each step; 1 where that is quick, else 0.",
        ),
    ] = None
    contrast: Annotated[
        float | None,
        Field(
            ge=0,
            le=100,
            description="Weight of a loss on pairs of one category; 1 where categories have few rows, else 0.",
        ),
    ] = None
    patience: Annotated[PositiveInt, Field(description="Epochs without a better validation score before stopping.")] = 3
    window_tokens: Annotated[int, Field(ge=16, le=512, description="Tokens per window.")] = 256
    window_overlap: Annotated[int, Field(ge=0, description="Tokens shared by neighbouring windows.")] = 32
    train_windows: Annotated[PositiveInt, Field(description="Windows of one feedback that a step reads.")] = 4
    critical_recall: Annotated[
        float | None,
        Field(gt=0, le=1, description="Share of critical rows to be called so; else as many as its precision allows."),
    ] = None
    target_precision: Annotated[
        float | None,
        Field(gt=0, lt=1, description="Share of right ones among the answers of a category that nobody reviews."),
    ] = None
    in_scope: Annotated[
        float,
        Field(gt=0, le=1, description="Share of rows like those learned from that are in scope; 1: every text is."),
    ] = 0.98
    search: Annotated[
        int, Field(ge=0, le=1000, description="Trials of other rates and weights before the fit that is kept.")
    ] = 0
    refit: Annotated[
        bool | None,
        Field(description="Learn from the validation rows too, in a second fit; so it is where categories have few."),
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Same seed, same data, same machine: same model.")] = 0

    name: Annotated[str, Field(description="Name of the registered model.")] = "earful"
    promote: Annotated[bool, Field(description="Make it champion even if there is one.")] = False
