"""Which settings serve these rows best: Optuna over what is worth searching, each trial a run within the run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training import encoders, finetune
from training.prepare import Prepared
from training.progress import Reporter
from training.recipe import Recipe
from training.sources import Example
from training.tracking import Run

# From and to; on a scale of ratios where the last is true. What the caller set is left as it is.
SPACE: Mapping[str, tuple[float, float, bool]] = {
    "learning_rate": (5e-5, 5e-4, True),
    "layer_decay": (0.6, 0.95, False),
    "label_smoothing": (0.0, 0.2, False),
    "consistency": (0.25, 4.0, True),
}
UNPRUNED = 3  # trials that run to their end, before any is measured against them


class _Pruner(TrainerCallback):
    """Ends a trial that is behind most of those before it at the same epoch."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        metrics: dict[str, float] | None = None, **_: Any,
    ) -> None:  # fmt: skip
        """Tell the score of this epoch."""
        self._trial.report((metrics or {})["eval_score"], round(state.epoch or 0))
        if self._trial.should_prune():
            raise optuna.TrialPruned


def search(
    prepared: Prepared, recipe: Recipe, rows: Sequence[Example], run: Run, reporter: Reporter
) -> tuple[Prepared, Recipe]:
    """The settings and the recipe with the best score on the validation rows, of `settings.search` trials.

    The first trial is of what would have been used without a search, so that what is found is no worse on those rows.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    start = _start(prepared, recipe)
    sampler = optuna.samplers.TPESampler(seed=prepared.settings.seed)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED)
    )
    study.enqueue_trial(start)

    def objective(trial: optuna.Trial) -> float:
        found = {name: _suggest(trial, name) for name in start}
        tried = _with(prepared, recipe, found)
        with run.trial(trial.number, found) as record:
            record(score := _score(*tried, rows, trial, reporter))
        if score is None:
            raise optuna.TrialPruned
        return score

    study.optimize(objective, n_trials=prepared.settings.search, callbacks=[_tell(reporter, prepared.settings.search)])
    run.found(study.best_params)
    return _with(prepared, recipe, study.best_params)


def _start(prepared: Prepared, recipe: Recipe) -> dict[str, float]:
    """What is to be searched, as it would be without."""
    fixed = {name for name in prepared.settings.model_fields_set if getattr(prepared.settings, name) is not None}
    values = {**prepared.settings.model_dump(include=set(SPACE)), "consistency": recipe.consistency}
    return {name: value for name, value in values.items() if name not in fixed and value}


def _suggest(trial: optuna.Trial, name: str) -> float:
    low, high, ratios = SPACE[name]
    return trial.suggest_float(name, low, high, log=ratios)


def _with(prepared: Prepared, recipe: Recipe, found: Mapping[str, float]) -> tuple[Prepared, Recipe]:
    """Prepared rows and a recipe with other settings."""
    others = {name: value for name, value in found.items() if name != "consistency"}
    settings = prepared.settings.model_copy(update=others)
    return replace(prepared, settings=settings), replace(
        recipe, consistency=found.get("consistency", recipe.consistency)
    )


def _score(
    prepared: Prepared, recipe: Recipe, rows: Sequence[Example], trial: optuna.Trial, reporter: Reporter
) -> float | None:
    """Of the rows held back; None if the trial was given up."""
    settings, names = prepared.settings, prepared.taxonomy.names
    with reporter.bar(f"trial {trial.number + 1} of {settings.search}", None):
        encoder, held = encoders.load(settings.base_model), prepared.corpus.validation
        try:
            return finetune.fit(encoder, rows, held, names, settings, recipe, [_Pruner(trial)]).score
        except optuna.TrialPruned:
            return None


def _tell(reporter: Reporter, trials: int) -> Any:
    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        given_up = trial.state == optuna.trial.TrialState.PRUNED
        score = "given up early" if given_up else f"score {trial.value:.3f}"
        best = study.best_trial
        values = ", ".join(f"{name} {value:.4g}" for name, value in trial.params.items())
        so_far = f"best {best.value:.3f} in trial {best.number + 1}"
        reporter.say(f"  trial {trial.number + 1} of {trials}: {score}, {so_far}; {values}")

    return tell
