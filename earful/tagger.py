"""The Tagger: feedback in, tags out. Evaluation, `/classify` and `score` all go through this one."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from earful import bundle as bundles
from earful import language
from earful.bundle import Bundle
from earful.errors import BundleManifestInvalid, BundleSmokeTestFailed
from earful.feedback import Feedback
from earful.policy import UrgencyDecisions
from earful.tags import Alternative, CategoryTag, ModelRef, PresentCategory, Route, Tags, TopicTag, UrgencyTag
from earful.taxonomy import URGENCIES, Rule, floor
from earful.text import Windower, normalise
from earful.vectors import Floats

BATCH_TOKENS = 1024  # padded tokens in one inference: enough to fill two cores, few enough to stay in cache
PADDING = 16  # tokens of padding that cost as much as one inference more: half a millisecond
ALTERNATIVES = 3
SMOKE_TOLERANCE = 0.1  # int8 kernels differ between processors by a few hundredths of probability

Hearer = Callable[[Sequence[Feedback], Floats], None]


class Logits(NamedTuple):
    """`category` and `present` (n, categories), `urgency` (n, levels - 1); the latter two None if there is no head.

    `position` (n, width) is where a text lies among those that the model learned from, and `nearness` (n, centres) how
    near to the centre of each category; None if the model does not know. `embedding` (n, width) is where it lies among
    all texts, as the encoder saw them before it was fine-tuned: topics are found there.
    """

    category: Floats
    urgency: Floats | None = None
    present: Floats | None = None
    position: Floats | None = None
    nearness: Floats | None = None
    embedding: Floats | None = None

    @property
    def parts(self) -> list[str]:
        """The names of the parts that there are."""
        return [name for name, part in self._asdict().items() if part is not None]


class Tagger:
    """Tags feedback with one bundle. Safe to share between threads."""

    def __init__(self, bundle: Bundle, version: str | None = None) -> None:
        """`version` is the bundle's version in the registry, None for a bundle folder.

        Raises `BundleManifestInvalid` if the bundle's windows cannot cut a text.
        """
        self.bundle = bundle
        windows = bundle.manifest.windows
        try:
            self._windower = Windower(bundle.tokenizer, windows.size, windows.overlap)
        except ValueError as error:
            raise BundleManifestInvalid(f"{bundle.folder}: {error}") from error
        self._outputs = [output.name for output in bundle.session.get_outputs()]
        self.ref = ModelRef(version=version, bundle=bundle.digest, taxonomy=bundle.taxonomy.version)

    @classmethod
    def load(cls, folder: Path, version: str | None = None, threads: int | None = None) -> "Tagger":
        """Load, verify and smoke-test the bundle in `folder`. Raises a `BundleError`.

        From then on numpy's products use one core in this process: its threads wait busily for more to do, on the cores
        that the model computes on.
        """
        threadpool_limits(1, user_api="blas")
        tagger = cls(bundles.load(folder, threads), version)
        tagger.smoke_test()
        return tagger

    def smoke_test(self) -> None:
        """Raises `BundleSmokeTestFailed` unless a full window fits and the recorded answers come out again."""
        windows = self.bundle.manifest.windows
        try:
            self._infer([[windows.pad_id] * windows.size])
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            reason = f"the model cannot read windows of {windows.size} tokens: {error}"
            raise BundleSmokeTestFailed(f"{self.bundle.folder}: {reason}") from error
        for expected in self.bundle.manifest.smoke:
            probabilities = self.bundle.policy.category_probabilities(self.logits([expected.text]).category)[0]
            found = float(probabilities[self.bundle.taxonomy.names.index(expected.category)])
            if not abs(found - expected.confidence) <= SMOKE_TOLERANCE:
                raise BundleSmokeTestFailed(
                    f"{self.bundle.folder}: “{expected.text}” should be {expected.category} with "
                    f"{expected.confidence:.2f}, and is with {found:.2f}"
                )

    def tag(self, items: Sequence[Feedback], hear: Hearer | None = None) -> list[Tags]:
        """Tags for each feedback, in order; `hear` is told where the model says that they lie, if it does."""
        if not items:
            return []
        policy = self.bundle.policy
        texts = [normalise(item.text) for item in items]
        logits = self._logits(texts)
        if hear is not None and logits.embedding is not None:
            hear(items, logits.embedding)
        categories = policy.category_probabilities(logits.category)
        rules = [self.bundle.taxonomy.reasons(text) for text in texts]
        floors = [floor(reasons) for reasons in rules]
        urgencies = None if logits.urgency is None else policy.urgency(logits.urgency, floors)
        present = None if logits.present is None else policy.presence(logits.present)
        inside = policy.inside(logits.category, logits.position, logits.nearness)
        topics = self._topics(logits)
        return [
            self._tags(item, n, categories[n], bool(inside[n]), urgencies, present, rules[n], topics[n])
            for n, item in enumerate(items)
        ]

    def logits(self, texts: Sequence[str]) -> Logits:
        """The model's raw answers for texts as sent: cleaned, cut into windows, and merged again by text."""
        return self._logits([normalise(text) for text in texts])

    def _logits(self, cleaned: Sequence[str]) -> Logits:
        by_text = self._windower(cleaned)
        owners = np.array([n for n, windows in enumerate(by_text) for _ in windows])
        windows = [window for windows in by_text for window in windows]
        by_window = self._infer(windows)
        weights = np.array([len(window) for window in windows], dtype=np.float32)
        merged = [_merge(part, weights, owners, len(cleaned)) for part in by_window]
        return Logits(**dict(zip(self._outputs, merged, strict=True)))

    def _infer(self, windows: Sequence[list[int]]) -> list[Floats]:
        """One array (windows, k) for each of the model's outputs, in the order of `windows`."""
        parts: list[list[Floats]] = []
        order: list[int] = []
        for batch in batches([len(window) for window in windows]):
            ids, mask = pad([windows[n] for n in batch], self.bundle.manifest.windows.pad_id)
            parts.append(self.bundle.session.run(self._outputs, {"input_ids": ids, "attention_mask": mask}))
            order.extend(batch)
        back = np.argsort(order)
        return [np.concatenate(output)[back] for output in zip(*parts, strict=True)]

    def _topics(self, logits: Logits) -> list[TopicTag | None]:
        """The topic of each text, None where it has none or the bundle knows none."""
        topics = self.bundle.topics
        if topics is None or logits.embedding is None:
            return [None] * len(logits.category)
        return [
            TopicTag(id=near.topic.id, label=near.topic.label, similarity=round(near.similarity, 4)) if near else None
            for near in topics.nearest(logits.embedding)
        ]

    def _language(self, item: Feedback) -> str | None:
        """The language that the caller named, or the one that the text is surely in."""
        return language.primary(item.language) if item.language else language.detect(item.text)

    def _tags(
        self,
        item: Feedback,
        n: int,
        probabilities: NDArray[np.float64],
        inside: bool,
        urgencies: UrgencyDecisions | None,
        present: NDArray[np.float64] | None,
        reasons: Sequence[Rule],
        topic: TopicTag | None,
    ) -> Tags:
        taxonomy, policy = self.bundle.taxonomy, self.bundle.policy
        best, *others = (int(k) for k in np.argsort(-probabilities, kind="stable")[: ALTERNATIVES + 1])
        confidence = float(probabilities[best])
        urgency = _urgency_tag(urgencies, n, reasons) if urgencies is not None else None
        due = taxonomy.respond_within(best, urgency.level) if urgency else None
        return Tags(
            id=item.id,
            category=CategoryTag(
                name=taxonomy.names[best],
                label=taxonomy.label(best),
                confidence=round(confidence, 4),
                tier=policy.tier(best, confidence),
                zero_shot=best in policy.zero_shot,
            ),
            alternatives=[
                Alternative(name=taxonomy.names[k], confidence=round(float(probabilities[k]), 4)) for k in others
            ],
            categories=[
                PresentCategory(name=taxonomy.names[k], probability=round(float(present[n, k]), 4))
                for k in policy.present(present[n], best)
            ]
            if present is not None
            else None,
            urgency=urgency,
            topic=topic,
            route=Route(owner=taxonomy.categories[best].owner, respond_within=due),
            outcome=policy.outcome(best, confidence, self._language(item), inside),
            model=self.ref,
        )


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of similar length, within `BATCH_TOKENS` padded tokens and `PADDING` of them added, each once.

    On four sets of texts the time of a batch is within 2% of the best division of it that there is.
    """
    batch: list[int] = []
    longest = padding = 0
    for n in sorted(range(len(lengths)), key=lengths.__getitem__):
        padding += len(batch) * (lengths[n] - longest)
        if batch and (padding > PADDING or (len(batch) + 1) * lengths[n] > BATCH_TOKENS):
            yield batch
            batch, padding = [], 0
        batch.append(n)
        longest = lengths[n]
    if batch:
        yield batch


def pad(windows: Sequence[Sequence[int]], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids and attention mask (windows, longest) of windows of different lengths."""
    lengths = np.array([len(window) for window in windows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.concatenate(windows)
    return ids, mask.astype(np.int64)


def _merge(part: Floats, weights: Floats, owners: NDArray[np.int64], n: int) -> Floats:
    """Token-weighted mean over each text's windows, as in training: (windows, k) → (n, k)."""
    if len(part) == n:
        return part
    total = np.zeros((n, part.shape[1]), dtype=np.float32)
    np.add.at(total, owners, part * weights[:, None])
    merged: Floats = total / np.bincount(owners, weights, minlength=n).astype(np.float32)[:, None]
    return merged


def _urgency_tag(urgencies: UrgencyDecisions, n: int, reasons: Sequence[Rule]) -> UrgencyTag:
    level, unraised = int(urgencies.level[n]), int(urgencies.unraised[n])
    return UrgencyTag(
        level=URGENCIES[level],
        score=round(float(urgencies.score[n]), 4),
        confidence=round(float(urgencies.probabilities[n, level]), 4),
        reasons=[rule.name for rule in reasons],
        raised_by=[rule.name for rule in reasons if floor([rule]) == level > unraised],
    )
