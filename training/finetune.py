"""Fine-tuning: transformers' Trainer on windows of text, batches grouped by length, the best epoch kept."""

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback

from earful.errors import InputError
from earful.tagger import Logits
from earful.taxonomy import URGENCIES
from earful.text import Windower, normalise
from training import scope as scopes
from training.encoders import Encoder
from training.network import IGNORED, Collator, FeedbackNetwork, has_bf16
from training.recipe import Recipe
from training.sampling import PairTrainer
from training.scope import Scope
from training.settings import TrainSettings
from training.sources import Example

PROBE_STRENGTH, PROBE_STEPS = 10.0, 100  # of the probe that the heads start from
_LAYER = re.compile(r"\blayers?\.(\d+)\.")  # the number of a layer, as Hugging Face's encoders name their parameters
SCOPE_ROWS = 4000  # that are enough to say where training rows lie
READ_AT_ONCE = 32
ANSWERED_AT_ONCE = 8  # in full precision, and with all windows of a text
SAMPLE = 256  # training windows on which the export sees typical activations


@dataclass(frozen=True)
class Fitted:
    """A trained network, its answers to the rows held back, the metrics of each epoch, and some training windows.

    `score` is the mean accuracy of its heads on the rows held back, `epochs` how many passes made the network that was
    kept.
    """

    network: FeedbackNetwork
    held: Logits
    score: float
    history: tuple[Mapping[str, float], ...]
    epochs: int
    sample: tuple[tuple[int, ...], ...]


def dataset(
    examples: Sequence[Example], windower: Windower, categories: Sequence[str], longest: int | None = None
) -> Dataset:
    """Examples as token windows and label indices; `longest` bounds the windows that one example gives."""
    index = {name: n for n, name in enumerate(categories)}
    windows = [some[:longest] for some in windower([normalise(example.feedback.text) for example in examples])]
    levels: dict[str | None, int] = {level: n for n, level in enumerate(URGENCIES)}
    columns = {
        "windows": windows,
        "category": [index.get(example.category or "", IGNORED) for example in examples],
        "secondary": [index.get(example.secondary or "", IGNORED) for example in examples],
        "urgency": [levels.get(example.urgency, IGNORED) for example in examples],
        "length": [sum(map(len, some)) for some in windows],
    }
    return Dataset.from_dict(columns)


def fit(
    encoder: Encoder,
    train: Sequence[Example],
    held: Sequence[Example],
    categories: Sequence[str],
    settings: TrainSettings,
    recipe: Recipe,
    callbacks: Sequence[TrainerCallback] = (),
) -> Fitted:
    """Fine-tune one network; `held` rows choose the epoch that is kept, if the recipe says so.

    Same seed and machine, same result.
    """
    set_seed(settings.seed)
    windower = Windower(encoder.tokenizer, min(settings.window_tokens, encoder.longest), settings.window_overlap)
    levels = len(URGENCIES) if any(example.urgency for example in train) else 0
    several = any(example.secondary for example in train)
    collator = Collator(encoder.pad_id)
    rows = dataset(train, windower, categories, settings.train_windows)
    checks = dataset(held, windower, categories)
    network = FeedbackNetwork(
        encoder.model, len(categories), levels, settings.label_smoothing, several, recipe.consistency, recipe.contrast
    )
    _freeze(encoder.model, settings.frozen_layers)
    rows = Dataset.from_dict({**rows.to_dict(), "before": _start_heads(network, rows, collator)})
    stopping = [EarlyStoppingCallback(settings.patience)] if recipe.best else []
    with tempfile.TemporaryDirectory(prefix="earful-train-") as folder:
        trainer = (PairTrainer if recipe.contrast else Trainer)(
            model=network,
            args=_arguments(settings, recipe, folder),
            train_dataset=rows,
            eval_dataset=checks,
            data_collator=collator,
            optimizers=(_optimizer(network, settings), None),
            compute_metrics=_score,
            callbacks=[*stopping, *callbacks],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        with _without_denormals():
            trainer.train(ignore_keys_for_eval=["present"])
        trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False)  # or it answers in half precision for ever
    answers = _answer(network, checks, collator)
    network.scope = _scope(network, rows, collator)
    state = trainer.state
    return Fitted(
        network=network,
        held=answers,
        score=_mean_accuracy(answers, np.array(checks["category"]), np.array(checks["urgency"])),
        history=tuple(entry for entry in state.log_history if "epoch" in entry),
        epochs=round(recipe.epochs * (state.best_global_step or state.max_steps) / state.max_steps),
        sample=tuple(tuple(item["windows"][0]) for item in rows.select(range(min(SAMPLE, len(rows))))),
    )


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Numbers next to nothing as nothing, which is faster; and as they were again, for whoever shares the process."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _freeze(encoder: Any, layers: int) -> None:
    """Leave the word vectors as they are, and the lowest `layers` with everything below them.

    Half of a small encoder's parameters are its word vectors; moving them costs a fifth of a step and gains nothing.
    """
    if layers > (there := encoder.config.num_hidden_layers):
        raise InputError(f"--frozen-layers: {layers} are too many; this encoder has {there}")
    encoder.get_input_embeddings().requires_grad_(False)
    for name, parameter in encoder.named_parameters():
        number = _LAYER.search(name)
        if int(number[1]) < layers if number else layers and "embed" in name:
            parameter.requires_grad_(False)


def _arguments(settings: TrainSettings, recipe: Recipe, folder: str) -> TrainingArguments:
    each = "epoch" if recipe.best else "no"
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        max_grad_norm=1.0,
        bf16=has_bf16(),
        use_cpu=not torch.accelerator.is_available(),
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        eval_strategy=each,
        save_strategy=each,
        logging_strategy="epoch",
        save_only_model=True,
        save_total_limit=1,
        load_best_model_at_end=recipe.best,
        metric_for_best_model="score",
        greater_is_better=True,
        label_names=["category", "urgency"],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=settings.seed,
        report_to=[],
        disable_tqdm=True,
    )


def _optimizer(network: FeedbackNetwork, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW. The heads learn fastest, and the encoder's layers slower the nearer they are to the words."""
    inside = dict(network.encoder.named_parameters())
    top = max((int(number) for number in _LAYER.findall(" ".join(inside))), default=0)
    layers: dict[int, list[Tensor]] = defaultdict(list)
    for name, parameter in inside.items():
        if parameter.requires_grad:
            layers[_below_top(name, top)].append(parameter)
    rates = {below: settings.learning_rate * settings.layer_decay**below for below in layers}
    groups = [{"params": layers[below], "lr": rates[below]} for below in sorted(layers)]
    heads = {"params": network.head_parameters(), "lr": settings.head_rate}
    return torch.optim.AdamW([*groups, heads], weight_decay=0.01, fused=True)


def _below_top(name: str, top: int) -> int:
    """How many layers below the top one (number `top`) a parameter of the encoder lies, by its name."""
    number = _LAYER.search(name)
    if number:
        return top - int(number[1])
    return top + 1 if "embed" in name else 0


def _start_heads(network: FeedbackNetwork, rows: Dataset, collator: Collator) -> NDArray[np.float32]:
    """Begin with the best heads for the encoder as it is, so that random ones do not first spoil what it knows.

    Returns what the encoder makes of each row (n, width) at this point.

    Linear probing, then fine-tuning (Kumar et al. 2022). The penalty is that of scikit-learn's logistic regression with
    C = `PROBE_STRENGTH` on features of unit length.
    """
    before, order = _read(network, rows, collator)
    features = before / (scale := before.norm(dim=1).mean())
    labels = [torch.tensor(rows[name])[order] for name in ("category", "secondary", "urgency")]
    heads = [network.category, *([network.urgency.score] if network.urgency is not None else [])]
    heads += [network.present] if network.present is not None else []
    optimizer = torch.optim.LBFGS(network.head_parameters(), max_iter=PROBE_STEPS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = network.loss(network.heads(features), *labels)
        penalty: Tensor = sum((head.weight.square().sum() for head in heads), start=torch.zeros(()))
        loss = loss + penalty / (2 * PROBE_STRENGTH * len(order))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(step)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for head in heads:
            head.weight /= scale
    network.zero_grad()
    made: NDArray[np.float32] = before.numpy()[np.argsort(order)]
    return made


def _scope(network: FeedbackNetwork, rows: Dataset, collator: Collator) -> Scope | None:
    """Where rows with a category lie; None if there are none. Of very many, some are enough."""
    labelled = np.flatnonzero(np.array(rows["category"]) != IGNORED)
    if not len(labelled):
        return None
    some = rows.select(np.random.default_rng(0).permutation(labelled)[:SCOPE_ROWS])
    features, order = _read(network, some, collator)
    return scopes.fit(features.numpy(), np.array(some["category"])[order])


def _read(network: FeedbackNetwork, rows: Dataset, collator: Collator) -> tuple[Tensor, NDArray[np.int64]]:
    """Features of rows (n, width), and the order (n,) in which they were read: by length."""
    parts = _by_length(rows, READ_AT_ONCE)
    return torch.cat([_features(network, collator(list(rows.select(part)))) for part in parts]), np.concatenate(parts)


def _by_length(rows: Dataset, at_once: int) -> list[NDArray[np.int64]]:
    """The numbers of rows, in parts of similar length."""
    order = np.argsort(rows["length"], kind="stable")
    return [order[n : n + at_once] for n in range(0, len(order), at_once)]


def _features(network: FeedbackNetwork, batch: dict[str, Tensor]) -> Tensor:
    network.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
        return network.features(**batch).float()


def _answer(network: FeedbackNetwork, rows: Dataset, collator: Collator) -> Logits:
    """The trained network's answers in full precision, in the order of the rows: what the export must match."""
    network.cpu().eval()
    parts = _by_length(rows, ANSWERED_AT_ONCE)
    with torch.no_grad():
        answers = [network(**collator(list(rows.select(part)))) for part in parts]
    back = np.argsort(np.concatenate(parts))
    return Logits(
        **{name: np.concatenate([one[name].numpy() for one in answers])[back] for name in answers[0] if name != "loss"}
    )


def _score(found: EvalPrediction) -> dict[str, float]:
    """Mean accuracy of the heads: the loss turns up again long before the labels get worse."""
    category, urgency = (np.asarray(labels) for labels in found.label_ids)
    return {"score": _mean_accuracy(_logits(found.predictions), category, urgency)}


def _mean_accuracy(logits: Logits, category: NDArray[np.int64], urgency: NDArray[np.int64]) -> float:
    hits = [logits.category.argmax(axis=1)[category != IGNORED] == category[category != IGNORED]]
    if logits.urgency is not None:
        hits.append((logits.urgency > 0).sum(axis=1)[urgency != IGNORED] == urgency[urgency != IGNORED])
    return float(np.mean([hit.mean() for hit in hits if len(hit)]))


def _logits(predictions: Any) -> Logits:
    parts: tuple[NDArray[np.float32], ...] = predictions if isinstance(predictions, tuple) else (predictions,)
    return Logits(parts[0], parts[1] if len(parts) > 1 else None)
