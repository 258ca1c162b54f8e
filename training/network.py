"""The network that is trained: one encoder, one head for each question asked of a feedback."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.scope import Scope

PRESENCE = 0.3  # weight of the presence head's loss, which must not pull the encoder from the first category
CONTRAST_TEMPERATURE = 0.1
MEMORY = 1.0  # weight of what the encoder made of a text before it was fine-tuned, which topics are found in
IGNORED = -100  # the label of a row that does not have one; cross_entropy's own convention

# Up to this many tokens a processor trains 1.1 to 1.4 times faster with attention written out than with torch's fused
# kernel; above, what it keeps of every pair of tokens for the backward pass fills the memory.
SHORT = 128


class Logits(NamedTuple):
    """`category` and `present` (n, categories), `urgency` (n, levels - 1); the latter two may be absent.

    Urgency column k is the log odds of a level above k, so columns fall from left to right. `present` are the log odds
    of each category being among those that a feedback is about, first or second.
    """

    category: Tensor
    urgency: Tensor | None
    present: Tensor | None = None


class OrdinalHead(nn.Module):
    """One score and ordered cut points: the cumulative link model of McCullagh (1980)."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)
        self.first = nn.Parameter(torch.tensor(-1.0))
        self.steps = nn.Parameter(torch.full((levels - 2,), 1.0))

    def forward(self, features: Tensor) -> Tensor:
        """Features (n, width) → log odds of being above each level but the last (n, levels - 1)."""
        rises = torch.cumsum(functional.softplus(self.steps), dim=0)
        cuts = torch.cat([self.first.reshape(1), self.first + rises])
        logits: Tensor = self.score(features) - cuts
        return logits


class SharedDropout(nn.Dropout):
    """Dropout that drops the same features of every token of a window (Gal and Ghahramani 2016).

    Random numbers for each token by itself are a fifth of a training step on a processor.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (windows, tokens, width); of other shapes, each number is dropped by itself."""
        if not self.training or hidden.dim() != 3:
            return super().forward(hidden)
        kept = torch.rand(len(hidden), 1, hidden.shape[2], device=hidden.device) >= self.p
        return hidden * (kept / (1 - self.p)).to(hidden.dtype)


def share_dropout(encoder: nn.Module) -> None:
    """Replace every dropout in an encoder by one that is shared between tokens."""
    for name, module in list(encoder.named_modules()):
        if type(module) is nn.Dropout:
            encoder.set_submodule(name, SharedDropout(module.p))


class FeedbackNetwork(nn.Module):
    """Mean-pooled encoder with a category head and, if `levels` is not 0, an ordinal urgency head.

    If `several`, a third head says of each category whether it is present, be it as a second one. With `consistency`
    or `contrast` each training step reads every row twice, with different dropout: the one weighs how far apart the
    two answers may lie, the other how far from each other feedback of one category, compared with that of the others.

    A long feedback comes as several windows, each exported on its own. The heads are linear, so the mean of the
    windows' logits, weighted by their tokens, is the head's answer to the mean over all tokens of the feedback.

    A last head says what the encoder made of the feedback before it was fine-tuned: the embedding that topics lie in.
    """

    def __init__(
        self, encoder: nn.Module, categories: int, levels: int, label_smoothing: float = 0.0, several: bool = False,
        consistency: float = 0.0, contrast: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        share_dropout(encoder)
        self.encoder = encoder
        self.dropout = nn.Dropout(0.1)
        self.category = nn.Linear(width, categories)
        self.urgency = OrdinalHead(width, levels) if levels else None
        self.present = nn.Linear(width, categories) if several else None
        self.embedding = nn.Linear(width, width)
        nn.init.eye_(self.embedding.weight)  # before the first step it is right
        nn.init.zeros_(self.embedding.bias)
        self.label_smoothing = label_smoothing
        self.consistency = consistency
        self.contrast = contrast
        self.scope: Scope | None = None  # fitted when the rest is

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Mean over the tokens of every window: both inputs (windows, tokens) → (windows, width)."""
        with _attention(self.encoder, input_ids):
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean: Tensor = (hidden * mask).sum(1) / mask.sum(1)
        return mean

    def features(self, input_ids: Tensor, attention_mask: Tensor, document: Tensor, **_: Tensor) -> Tensor:
        """Mean over the tokens of every document, whose windows `document` names: (documents, width)."""
        by_window = self.pooled(input_ids, attention_mask)
        return merge(by_window, attention_mask.sum(1).float(), document, int(document.max()) + 1)

    def windows(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """What is exported, by name: every window's logits and place; both inputs are (windows, tokens)."""
        features = self.pooled(input_ids, attention_mask)
        found = {name: part for name, part in self.heads(features)._asdict().items() if part is not None}
        found["embedding"] = self.embedding(features)
        if self.scope is not None:
            found["position"], found["nearness"] = self.scope(features)
        return found

    def heads(self, features: Tensor) -> Logits:
        """Logits of features (n, width)."""
        return Logits(
            self.category(features),
            self.urgency(features) if self.urgency is not None else None,
            self.present(features) if self.present is not None else None,
        )

    def forward(
        self, category: Tensor, secondary: Tensor, urgency: Tensor, input_ids: Tensor, attention_mask: Tensor,
        document: Tensor, before: Tensor | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Loss and logits of n documents; `document` (windows,) says which document each window belongs to.

        `category`, `secondary` and `urgency` (n,) hold label indices, `IGNORED` where a row has none; `before`
        (n, width) what the encoder made of each document before it was fine-tuned.
        """
        n, twice = len(category), self.training and (self.consistency or self.contrast)
        if twice:
            input_ids, attention_mask = input_ids.repeat(2, 1), attention_mask.repeat(2, 1)
            document = torch.cat([document, document + n])
            category, secondary, urgency = category.repeat(2), secondary.repeat(2), urgency.repeat(2)
        features = self.features(input_ids, attention_mask, document)
        logits = self.heads(self.dropout(features))
        loss = self.loss(logits, category, secondary, urgency)
        if twice:
            loss = loss + self.consistency * _divergence(*logits.category.chunk(2))
            loss = loss + self.contrast * _contrast(features, category)
        if before is not None:
            kept = functional.cosine_similarity(self.embedding(features), before.repeat(1 + bool(twice), 1))
            loss = loss + MEMORY * (1 - kept).mean()
        return {"loss": loss, **{name: part for name, part in logits._asdict().items() if part is not None}}

    def head_parameters(self) -> list[nn.Parameter]:
        """Everything but the encoder's."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("encoder.")]

    def loss(self, logits: Logits, category: Tensor, secondary: Tensor, urgency: Tensor) -> Tensor:
        """Sum of the heads' mean losses; a row counts for the heads whose label it has."""
        known = category != IGNORED
        loss = logits.category.sum() * 0.0  # keeps every head in the graph when a batch has no label for it
        if known.any():
            loss = loss + functional.cross_entropy(
                logits.category[known], category[known], label_smoothing=self.label_smoothing
            )
        if logits.urgency is not None:
            loss = loss + _ordinal_loss(logits.urgency, urgency)
        if logits.present is not None:
            loss = loss + PRESENCE * _presence_loss(logits.present, category, secondary)
        return loss


def has_bf16() -> bool:
    """Whether this machine is faster in bfloat16: a GPU that can, or a processor with the instructions.

    A processor without them takes fifty times as long as in float32.
    """
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def _attention(encoder: Any, input_ids: Tensor) -> Iterator[None]:
    """The faster kernel for training on tokens of this shape (windows, tokens)."""
    before = encoder.config._attn_implementation
    if input_ids.device.type == "cpu" and input_ids.shape[1] <= SHORT:
        encoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        encoder.set_attn_implementation(before)


def merge(by_window: Tensor, weight: Tensor, document: Tensor, n: int) -> Tensor:
    """Token-weighted mean over the windows of each document: (windows, k) → (n, k)."""
    by_window = by_window.float()
    total = by_window.new_zeros(n, by_window.shape[1]).index_add(0, document, by_window * weight.unsqueeze(1))
    return total / weight.new_zeros(n).index_add(0, document, weight).unsqueeze(1)


def _divergence(one: Tensor, other: Tensor) -> Tensor:
    """How far apart two answers (n, categories) to the same rows are: R-Drop (Liang et al. 2021).

    Half the sum of both Kullback-Leibler divergences, mean over rows.
    """
    first, second = functional.log_softmax(one, -1), functional.log_softmax(other, -1)
    return ((first.exp() - second.exp()) * (first - second)).sum(1).mean() / 2


def _contrast(features: Tensor, category: Tensor) -> Tensor:
    """How much likelier a row (n, width) is to be taken for one of another category than of its own (n,).

    The supervised contrastive loss, its sum outside the logarithm (Khosla et al. 2020), mean over rows with a category.
    """
    known = category != IGNORED
    unit, kind = functional.normalize(features[known].float(), dim=1), category[known]
    itself = torch.eye(len(kind), dtype=torch.bool, device=kind.device)
    alike = (unit @ unit.T / CONTRAST_TEMPERATURE).masked_fill(itself, -torch.inf)
    same = (kind.unsqueeze(1) == kind) & ~itself
    shares = functional.log_softmax(alike, dim=1).masked_fill(~same, 0.0)
    return -(shares.sum(1) / same.sum(1)).sum() / max(len(kind), 1)


def _ordinal_loss(logits: Tensor, levels: Tensor) -> Tensor:
    known = levels != IGNORED
    if not known.any():
        return logits.sum() * 0.0
    above = levels[known].unsqueeze(1) > torch.arange(logits.shape[1], device=levels.device)
    return functional.binary_cross_entropy_with_logits(logits[known], above.float())


def _presence_loss(logits: Tensor, category: Tensor, secondary: Tensor) -> Tensor:
    """Each category by itself is there or not: summed over categories, mean over rows that have a category."""
    known = category != IGNORED
    if not known.any():
        return logits.sum() * 0.0
    there = functional.one_hot(category[known], logits.shape[1])
    second = functional.one_hot(secondary[known].clamp(min=0), logits.shape[1])
    there = (there + second * (secondary[known] != IGNORED).unsqueeze(1)).clamp(max=1)
    every = functional.binary_cross_entropy_with_logits(logits[known], there.float(), reduction="none")
    return every.sum(1).mean()


class Collator:
    """Stacks feedback of different lengths into one batch of windows, padded to the longest."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Items as `finetune.dataset` gives them → the arguments of `FeedbackNetwork.forward`."""
        windows = [torch.tensor(ids) for item in items for ids in item["windows"]]
        ids = nn.utils.rnn.pad_sequence(windows, batch_first=True, padding_value=self.pad_id)
        lengths = torch.tensor([len(window) for window in windows])
        return {
            "category": torch.tensor([item["category"] for item in items]),
            "secondary": torch.tensor([item["secondary"] for item in items]),
            "urgency": torch.tensor([item["urgency"] for item in items]),
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long(),
            "document": torch.tensor([n for n, item in enumerate(items) for _ in item["windows"]]),
            **({"before": torch.tensor([item["before"] for item in items])} if "before" in items[0] else {}),
        }
