"""The taxonomy: which categories and urgencies there are, what they mean, and who owns them."""

import hashlib
import re
import tomllib
from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from earful import patterns
from earful.errors import TaxonomyError
from earful.text import normalise

Urgency = Literal["low", "normal", "high", "critical"]
URGENCIES: tuple[Urgency, ...] = ("low", "normal", "high", "critical")
Stage = Literal["discover", "buy", "receive", "use", "get_help", "renew", "leave"]
REASONS = {"missing": "is missing", "extra_forbidden": "is not known here; look for a typing error"}
KINDS: dict[int | str, str] = {"categories": "category", "rules": "rule"}  # tables that come in numbers
ANY = "feedback"  # the one category of a model that tells urgencies alone
UNASSIGNED = "unassigned"  # the owner of every category of a taxonomy made from labels alone

Place = tuple[int | str, ...]  # keys and positions that lead to a value, such as ("categories", 2, "owner")

_DURATION = TypeAdapter(timedelta)


def _is_duration(value: str) -> str:
    """An ISO 8601 duration longer than nothing, kept as it was written."""
    try:
        if value.startswith("P") and _DURATION.validate_python(value) > timedelta(0):
            return value
    except ValidationError:
        pass
    raise PydanticCustomError("duration", 'is not an ISO 8601 duration such as "PT4H" or "P2D"')


def _is_pattern(value: str) -> str:
    """A regular expression that can be searched for and does not match everything."""
    if (reason := patterns.fault(value)) is not None:
        raise PydanticCustomError("pattern", "{reason}", {"reason": reason})
    return value


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Duration = Annotated[str, AfterValidator(_is_duration)]
Pattern = Annotated[str, AfterValidator(_is_pattern)]


def _fault(place: Place, message: str) -> PydanticCustomError:
    """What is wrong between several values, and where to point the reader."""
    return PydanticCustomError("inconsistent", message, {"place": place})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class UrgencyLevel(_Part):
    """What one level of urgency means, and how soon it is answered unless a category says otherwise."""

    label: Text
    definition: Text
    respond_within: Duration


class NearMiss(_Part):
    """Feedback that looks like this category and belongs to another."""

    example: Text
    goes_to: Text


class Category(_Part):
    """One thing that feedback can be about. Only `name` and `owner` must be given."""

    name: Text
    label: Text = ""
    definition: str = ""
    counts: list[Text] = []
    does_not_count: list[NearMiss] = []
    owner: Text
    contributors: list[Text] = []
    stage: Stage | None = None
    respond_within: dict[Urgency, Duration] = {}


class Rule(_Part):
    """A reason why feedback is urgent or not, told by its words: regular expressions (RE2), whatever the case.

    `matches` and `does_not_match` are examples that it must keep to. If it `raises_to` a level, a feedback that it
    matches has at least that one, whatever the model says.
    """

    name: Text
    label: Text = ""
    definition: str = ""
    patterns: Annotated[list[Pattern], Field(min_length=1)]
    matches: Annotated[list[Text], Field(min_length=1)]
    does_not_match: list[Text] = []
    raises_to: Urgency | None = None


class Taxonomy(_Part):
    """Categories in the order of their file, and the four urgencies. Versioned by its author, hashed by `digest`.

    `rules` are the rubric of urgency: it gives reasons, and raises where the model must not be the only one to look.
    """

    name: Text
    version: Text
    urgency: dict[Urgency, UrgencyLevel]
    categories: list[Category]
    rules: list[Rule] = []

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        missing = [level for level in URGENCIES if level not in self.urgency]
        if missing:
            raise _fault(("urgency",), f"[urgency.{missing[0]}] is missing")
        if not self.categories:
            raise _fault(("categories",), "there must be at least one [[categories]]")
        seen: dict[str, int] = {}
        for n, category in enumerate(self.categories):
            if category.name in seen:
                both = f"categories {seen[category.name] + 1} and {n + 1}"
                raise _fault(("categories", n, "name"), f'{both} are both named "{category.name}"')
            seen[category.name] = n
        for n, category in enumerate(self.categories):
            for miss in category.does_not_count:
                if miss.goes_to not in seen or miss.goes_to == category.name:
                    raise _fault(
                        ("categories", n, "does_not_count"),
                        f'"{category.name}" sends a near miss to "{miss.goes_to}", which is no other category',
                    )
        self._check_rules()
        return self

    def _check_rules(self) -> None:
        seen: set[str] = set()
        for n, rule in enumerate(self.rules):
            if rule.name in seen:
                raise _fault(("rules", n, "name"), f'two rules are named "{rule.name}"')
            seen.add(rule.name)
            for text in rule.matches:
                if rule not in self.reasons(normalise(text)):
                    raise _fault(("rules", n, "matches"), f'"{rule.name}" does not match its example "{text}"')
            for text in rule.does_not_match:
                if rule in self.reasons(normalise(text)):
                    raise _fault(("rules", n, "does_not_match"), f'"{rule.name}" matches its counter-example "{text}"')

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Category names, in order: index i is the model's label i."""
        return tuple(category.name for category in self.categories)

    @cached_property
    def digest(self) -> str:
        """`sha256:…` of the content; comments, spacing and key order of the file do not count."""
        return "sha256:" + hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def reasons(self, text: str) -> list[Rule]:
        """The rules that apply to a text that was cleaned as `normalise` does, in their order."""
        if not self.rules:
            return []
        found = {self._owners[n] for n in self._finder(text)}
        return [rule for n, rule in enumerate(self.rules) if n in found]

    @cached_property
    def _finder(self) -> patterns.Finder:
        return patterns.Finder([pattern for rule in self.rules for pattern in rule.patterns])

    @cached_property
    def _owners(self) -> tuple[int, ...]:
        """The rule that each pattern of `_finder` belongs to."""
        return tuple(n for n, rule in enumerate(self.rules) for _ in rule.patterns)

    def label(self, category: int) -> str:
        """The readable name of category number `category`."""
        return self.categories[category].label or self.categories[category].name

    def respond_within(self, category: int, urgency: Urgency) -> str:
        """ISO 8601 duration within which such feedback is to be answered."""
        return self.categories[category].respond_within.get(urgency) or self.urgency[urgency].respond_within

    def to_toml(self) -> str:
        """The taxonomy as a file that `parse` reads back as an equal one."""
        return tomli_w.dumps(self.model_dump(exclude_defaults=True))


def floor(reasons: Iterable[Rule]) -> int:
    """The lowest level, as an index of `URGENCIES`, that the rules which apply to a text allow."""
    return max((URGENCIES.index(rule.raises_to) for rule in reasons if rule.raises_to), default=0)


def load(path: Path) -> Taxonomy:
    """Read a taxonomy file. Raises `TaxonomyError` naming the file and the place at fault."""
    try:
        return parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TaxonomyError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TaxonomyError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except TaxonomyError as error:
        raise TaxonomyError(f"{path}: {error}") from error


def parse(text: str) -> Taxonomy:
    """Read a taxonomy from TOML. Raises `TaxonomyError` naming the place at fault."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TaxonomyError(f"is not TOML: {error}") from error
    try:
        return Taxonomy.model_validate(content)
    except ValidationError as error:
        faults = [_line(text, _place(item)) + _describe(item["loc"], _reason(item), content) for item in error.errors()]
        raise TaxonomyError("; ".join(faults)) from error


def _place(item: ErrorDetails) -> Place:
    place: Place = item.get("ctx", {}).get("place", item["loc"])
    return place


def _reason(item: ErrorDetails) -> str:
    return REASONS.get(item["type"], item["msg"])


def _line(text: str, place: Place) -> str:
    """`line 12: `, the line of the last part of `place` that can be found in the file; nothing if there is none."""
    lines = text.splitlines()
    tables = [n for n, line in enumerate(lines) if line.lstrip().startswith("[[")]
    found, end = -1, len(lines)
    for before, part in zip(("", *place), place, strict=False):
        headers = [n for n in tables if re.match(rf"\s*\[\[\s*{before}\s*\]\]", lines[n])] if before in KINDS else []
        if isinstance(part, int) and part < len(headers):
            found = headers[part]
            end = next((n for n in tables if n > found), end)
        elif isinstance(part, str):
            key = re.compile(rf'\s*\[.*\b{re.escape(part)}\b|(.*[\s{{,"])?{re.escape(part)}"?\s*=')
            found = next((n for n in range(max(found, 0), end) if key.match(lines[n])), found)
    return f"line {found + 1}: " if found >= 0 else ""


def _describe(place: Place, message: str, content: dict[str, object]) -> str:
    """`category 3 ("refund"): owner: is missing` rather than `categories.2.owner`."""
    if len(place) >= 2 and place[0] in KINDS and isinstance(place[1], int):
        entry = content[str(place[0])][place[1]]  # type: ignore[index]
        name = entry.get("name") if isinstance(entry, dict) else None
        head = f"{KINDS[place[0]]} {place[1] + 1}" + (f' ("{name}")' if name else "")
        place = (head, *place[2:])
    return ": ".join([*(str(part) for part in place if part != "[key]"), message])


def from_labels(labels: Iterable[str]) -> Taxonomy:
    """The taxonomy of data that came without one: its labels in sorted order, owned by nobody yet.

    Without labels it has a single category, `ANY`.
    """
    names = sorted(set(labels)) or [ANY]
    digest = hashlib.sha256("\x00".join(names).encode()).hexdigest()[:8]
    levels = {"low": "P5D", "normal": "P2D", "high": "PT8H", "critical": "PT1H"}
    return Taxonomy.model_validate(
        {
            "name": "from-labels",
            "version": f"labels-{digest}",
            "urgency": {
                level: {"label": level.capitalize(), "definition": level, "respond_within": duration}
                for level, duration in levels.items()
            },
            "categories": [{"name": name, "label": name, "owner": UNASSIGNED} for name in names],
        }
    )
