"""A search for settings: each trial is a run, one that is behind is given up, and the best is what is then used."""

import json
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from tests.conftest import Trained, run


class Impatient(optuna.pruners.BasePruner):
    """Gives up every trial but the first."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number > 0


def test_trials_are_runs_and_the_best_settings_are_used(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda **_: Impatient())
    data = tmp_path / "some.jsonl"
    lines = trained.data.read_text(encoding="utf-8").splitlines()
    data.write_text("\n".join(lines[::4]) + "\n", encoding="utf-8")
    result = run(
        "train", "--data", data, "--search", 2, "--epochs", 1, "--learning-rate", 2e-4, "--consistency", 0,
        "--validation-fraction", 0.2, "--out", tmp_path / "bundle", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "trial 1 of 2: score" in result.stderr
    assert "trial 2 of 2: given up early" in result.stderr
    client = MlflowClient(store, store)
    experiment = client.get_experiment_by_name("earful")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    [parent] = [one for one in runs if "mlflow.parentRunId" not in one.data.tags]
    first, second = sorted((one for one in runs if one is not parent), key=lambda one: one.info.run_name or "")
    assert {one.data.tags["mlflow.parentRunId"] for one in (first, second)} == {parent.info.run_id}
    assert {one.info.status for one in runs} == {"FINISHED"}
    assert first.data.params == {"layer_decay": "0.7", "label_smoothing": "0.1"}  # what is used without a search
    assert first.data.metrics["score"] > 0
    assert (second.data.tags["pruned"], "score" in second.data.metrics) == ("true", False)
    assert {key: value for key, value in parent.data.params.items() if key.startswith("found_")} == {
        "found_layer_decay": "0.7", "found_label_smoothing": "0.1",
    }  # fmt: skip
    assert json.loads(result.stdout)["metrics"]["category_accuracy"] > 0
