"""From examples to a corpus: duplicates removed, and a split that nothing straddles."""

import dataclasses
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from datasketch import MinHash, MinHashLSH
from scipy.cluster.hierarchy import DisjointSet

from earful.errors import InputError
from earful.text import normalise
from training.settings import TrainSettings
from training.sources import SPLITS, Example

SHINGLE = 5  # characters; short enough for texts of ten words
SAME = 0.9  # Jaccard similarity of shingles from which two texts count as one and the later one goes
ALIKE = 0.7  # … from which they are kept on the same side of the split
PERMUTATIONS = 64  # standard error of an estimated similarity about 0.06; candidates are checked exactly
FEWEST = 3  # groups that a label must have before one is kept back

Group = list[int]  # indices of examples that must stay together
Pair = tuple[int, int]


@dataclass(frozen=True)
class Corpus:
    """What a run learns from and is measured on.

    `conflicts` counts texts that came with more than one label (the commonest was kept), `straddling` the groups that
    the caller's own split tears apart. `data_hash` is of texts, labels and sides, whatever files they came from.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    duplicates: int
    near_duplicates: int
    conflicts: int
    straddling: int
    data_hash: str


def build(examples: Sequence[Example], test: Sequence[Example], settings: TrainSettings) -> Corpus:
    """De-duplicate and split. `test` are the caller's own test rows: none is removed for being alike.

    An example that is `corrected` says what its text should be labelled, wherever that text stands. One that `supports`
    is only learned from, and goes if it is like one that is measured on.

    Raises `InputError` if too little is left to train on.
    """
    given = [dataclasses.replace(example, split="test") for example in test]
    unique, duplicates, conflicts = _drop_exact([*given, *_measured_first(examples)])
    kept, pairs = _drop_near(unique)
    groups = _groups(kept, pairs)
    straddling = sum(len({kept[n].split for n in group if not kept[n].supports}) > 1 for group in groups)
    by_side = {side: tuple(kept[n] for n in numbers) for side, numbers in _assign(kept, groups, settings).items()}
    _check(by_side)
    return Corpus(
        train=by_side["train"],
        validation=by_side["validation"],
        test=by_side["test"],
        duplicates=duplicates,
        near_duplicates=len(unique) - len(kept),
        conflicts=conflicts,
        straddling=straddling,
        data_hash=_hash(by_side),
    )


def contradictions(examples: Sequence[Example]) -> list[tuple[Example, Example]]:
    """Examples of (nearly) the same text with different categories, in pairs, the later one first."""
    unique = {(_key(example), example.category): example for example in reversed(examples)}
    kept, pairs = _drop_near(list(reversed(unique.values())))
    shingles = {n: _shingles(kept[n]) for pair in pairs for n in pair}
    return [
        (kept[later], kept[first])
        for first, later in pairs
        if kept[first].category != kept[later].category and _jaccard(shingles[first], shingles[later]) >= SAME
    ]


def distinct(examples: Sequence[Example]) -> list[Example]:
    """Those that (nearly) repeat no earlier one, whatever their labels: a form letter sent by a thousand is one."""
    plain = [dataclasses.replace(example, category=None, urgency=None, split=None) for example in examples]
    return _drop_near(_drop_exact(plain)[0])[0]


def unlike(rows: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """Those of the rows that (nearly) repeat neither one of the others nor an earlier one."""
    known = {(one.source, one.row) for one in others}
    return [one for one in distinct([*others, *rows]) if (one.source, one.row) not in known]


def _measured_first(examples: Iterable[Example]) -> list[Example]:
    """Rows that are to be measured on come first, so that of two duplicates it is the training row that goes."""
    rank = {"test": 0, "validation": 1}
    return sorted(examples, key=lambda example: 3 if example.supports else rank.get(example.split or "", 2))


def _key(example: Example) -> str:
    return normalise(example.feedback.text).casefold()


def _label(example: Example) -> tuple[str | None, str | None]:
    return example.category, example.urgency


def _drop_exact(examples: Sequence[Example]) -> tuple[list[Example], int, int]:
    """One example for each text, how many were dropped as duplicates, and how many texts had several labels."""
    copies: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        copies[_key(example)].append(example)
    given = [[example for example in same if not example.corrected] for same in copies.values()]
    duplicates = sum(len(same) - 1 for same in given if same)
    conflicts = sum(len({_label(example) for example in same}) > 1 for same in given)
    return [_settled(same) for same in copies.values()], duplicates, conflicts


def _settled(same: Sequence[Example]) -> Example:
    """The first copy with the commonest label, among those on the side that counts most; a correction goes before."""
    side = [example for example in same if example.split == same[0].split]
    label, _ = Counter(map(_label, side)).most_common(1)[0]
    chosen = next(example for example in side if _label(example) == label)
    corrected = [example for example in same if example.corrected]  # the last word counts
    category = next((example.category for example in reversed(corrected) if example.category), chosen.category)
    urgency = next((example.urgency for example in reversed(corrected) if example.urgency), chosen.urgency)
    return dataclasses.replace(chosen, category=category, urgency=urgency)


def _shingles(example: Example) -> frozenset[str]:
    text = _key(example)
    return frozenset(text[n : n + SHINGLE] for n in range(max(1, len(text) - SHINGLE + 1)))


def _drop_near(examples: Sequence[Example]) -> tuple[list[Example], list[Pair]]:
    """Drop what nearly repeats an earlier example, and pair what is merely alike.

    A near-duplicate with another label stays, since the one word that differs may be what matters; so does one that
    the caller gave to test on. What is dropped is not looked up again, so a form letter sent a thousand times costs
    a thousand look-ups, not a million comparisons.
    """
    shingles = [_shingles(example) for example in examples]
    hashes = MinHash.generator(([piece.encode() for piece in pieces] for pieces in shingles), num_perm=PERMUTATIONS)
    index = MinHashLSH(threshold=ALIKE, num_perm=PERMUTATIONS)
    kept: list[int] = []
    pairs: list[Pair] = []
    for n, minhash in enumerate(hashes):
        near = {other: _jaccard(shingles[n], shingles[other]) for other in index.query(minhash)}
        repeats = any(like >= SAME and _label(examples[n]) == _label(examples[other]) for other, like in near.items())
        if repeats and examples[n].split != "test":
            continue
        pairs += [(other, n) for other, like in near.items() if like >= ALIKE]
        index.insert(n, minhash)
        kept.append(n)
    place = {n: position for position, n in enumerate(kept)}
    return [examples[n] for n in kept], [(place[first], place[later]) for first, later in pairs]


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def _groups(examples: Sequence[Example], pairs: Iterable[Pair]) -> list[Group]:
    """Examples that are alike or of one customer, together."""
    joined = DisjointSet(range(len(examples)))
    for first, later in pairs:
        joined.merge(first, later)
    first_of: dict[str, int] = {}
    for n, example in enumerate(examples):
        if customer := example.feedback.customer_id:
            joined.merge(first_of.setdefault(customer, n), n)
    return [sorted(subset) for subset in joined.subsets()]


def _assign(examples: Sequence[Example], groups: Sequence[Group], settings: TrainSettings) -> dict[str, list[int]]:
    """Indices by side: the caller's where given; otherwise whole groups are taken from what is left to training.

    How many are wanted is a part of the rows that the caller did not give to test on, however many those are.
    """
    sides: dict[str, list[int]] = {side: [] for side in SPLITS}
    own = [n for n, example in enumerate(examples) if not example.supports]
    for n in own:
        sides[examples[n].split or "train"].append(n)
    whole = len(own) - len(sides["test"])
    for side, fraction in (("test", settings.test_fraction), ("validation", settings.validation_fraction)):
        if not sides[side]:
            free = set(sides["train"])
            wanted = min(round(fraction * whole), settings.max_kept)
            parts = [part for group in groups if (part := [n for n in group if n in free])]
            sides[side] = _take(examples, parts, wanted, settings)
            sides["train"] = sorted(free.difference(sides[side]))
    measured = {*sides["validation"], *sides["test"]}
    apart = [n for group in groups if measured.isdisjoint(group) for n in group if examples[n].supports]
    sides["train"] += apart
    return sides


def _take(examples: Sequence[Example], groups: list[Group], wanted: int, settings: TrainSettings) -> list[int]:
    """At least `wanted` examples in whole groups: the newest, or evenly over the labels."""
    if settings.split == "time":
        return _fill(sorted(groups, key=lambda group: _first_moment(examples, group), reverse=True), wanted)
    order = random.Random(settings.seed)
    shuffled = order.sample(groups, len(groups))
    counts = Counter(_label(examples[group[0]]) for group in groups)
    common = [group for group in shuffled if counts[_label(examples[group[0]])] >= FEWEST]
    by_label = sorted(common, key=lambda group: str(_label(examples[group[0]])))
    size = sum(map(len, by_label))
    step = max(1, size // wanted) if wanted else 1
    return _fill([group for offset in range(step) for group in by_label[offset::step]], wanted)


def _fill(groups: Iterable[Group], wanted: int) -> list[int]:
    taken: list[int] = []
    for group in groups:
        if len(taken) >= wanted:
            break
        taken += group
    return sorted(taken)


def _first_moment(examples: Sequence[Example], group: Group) -> datetime:
    """When a group began: a conversation belongs to the time of its first message."""
    moments = []
    for n in group:
        moment = examples[n].feedback.created_at
        if moment is None:
            raise InputError(
                f"{examples[n].source} row {examples[n].row}: has no date, and --split time needs one in every row; "
                "name the column with --created-at-column"
            )
        moments.append(moment)
    return min(moments)


def _check(sides: Mapping[str, Sequence[Example]]) -> None:
    rows = sum(map(len, sides.values()))
    if not sides["train"]:
        raise InputError(f"of {rows} usable rows none is left to learn from: all are to test on, or like one that is")
    categories = {example.category for example in sides["train"]} - {None}
    if len(categories) < 2 and any(example.category for side in sides.values() for example in side):
        raise InputError(f"{rows} usable rows hold {len(categories)} categories to learn; there must be at least two")
    if len(categories) > rows / FEWEST:
        raise InputError(
            f"{rows} usable rows hold {len(categories)} different categories, too few rows for each to learn from; "
            "is --category-column the right one?"
        )
    if not any(example.category or not categories for example in sides["validation"]):
        raise InputError(f"{rows} usable rows are too few to keep some back for validation; about 50 is the least")


def _hash(sides: Mapping[str, Sequence[Example]]) -> str:
    lines = sorted(
        "\x1f".join((side, _key(example), example.category or "", example.urgency or ""))
        for side, examples in sides.items()
        for example in examples
    )
    return "sha256:" + hashlib.sha256("\x1e".join(lines).encode()).hexdigest()
