"""What a person sees while a run goes on: stages, bars, and a line for each epoch, all on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SILENT = Console(quiet=True)
LINES = 20  # in a log, of a training that shows no bar there


class Reporter:
    """Tells the person at the terminal what is being done."""

    def __init__(self, console: Console = SILENT) -> None:
        self.console = console

    def say(self, message: str) -> None:
        """One line that stays."""
        self.console.print(message, markup=False, highlight=False)

    @contextmanager
    def bar(self, label: str, total: int | None) -> Iterator["Bar"]:
        """A bar over `total` units; a total of None pulses."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = not self.console.is_terminal  # in a log file a bar is noise
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as progress:
            yield Bar(progress, progress.add_task(label, total=total))


class Bar:
    """A bar that is being drawn."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, by: int = 1) -> None:
        """So many units more are done."""
        self._progress.advance(self._task, by)

    def update(self, total: int, done: int, label: str) -> None:
        """Set everything at once."""
        self._progress.update(self._task, total=total, completed=done, description=label)


class TrainingBar(TrainerCallback):
    """Steps as a bar, epochs as lines."""

    def __init__(self, reporter: Reporter, bar: Bar) -> None:
        self._reporter, self._bar = reporter, bar
        self._loss = float("nan")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """One optimiser step is done."""
        label = f"training, epoch {int(state.epoch or 0) + 1} of {int(args.num_train_epochs)}"
        self._bar.update(state.max_steps, state.global_step, label)
        if not self._reporter.console.is_terminal and state.global_step % max(1, state.max_steps // LINES) == 0:
            self._reporter.say(f"  step {state.global_step:,} of {state.max_steps:,}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl,
        logs: dict[str, float] | None = None, **_: Any,
    ) -> None:  # fmt: skip
        """Remember the training loss, and say it with the validation loss when that comes."""
        logs = logs or {}
        self._loss = logs.get("loss", self._loss)
        if "eval_loss" in logs:
            self._reporter.say(
                f"  epoch {round(state.epoch or 0)} of {int(args.num_train_epochs)}: "
                f"loss {self._loss:.3f}, validation {logs['eval_loss']:.3f}, score {logs.get('eval_score', 0.0):.3f}"
            )
