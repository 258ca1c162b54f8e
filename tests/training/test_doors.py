"""The registered model through other people's doors: MLflow's command line, Spark, and accelerate's launcher."""

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.conftest import TAXONOMY, Trained

TEXTS = ["You charged me twice for the same order.", "", "The app crashes whenever I open it."]
PATIENCE = 300  # seconds
NO_SPARK = "pyspark is not installed" if importlib.util.find_spec("pyspark") is None else ""
NO_JAVA = "" if shutil.which("java") else "Java is not installed"

SPARK = """
import json, sys
import mlflow
from pyspark.sql import SparkSession

local = {"spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
spark = SparkSession.builder.master("local[1]").config(map=local).getOrCreate()
tag = mlflow.pyfunc.spark_udf(spark, "models:/earful@champion", env_manager="local")
frame = spark.createDataFrame([(text,) for text in json.loads(sys.argv[1])], ["text"])
rows = [row.asDict() for row in frame.withColumn("tags", tag("text")).select("tags.*").collect()]
print(json.dumps([[row["tag_category"], row["tag_error"]] for row in rows]))
"""


def launched(folder: Path, *command: object, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EARFUL_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder, env={**kept, "OMP_WAIT_POLICY": "PASSIVE", **more}, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip


def scored(trained: Trained, folder: Path) -> list[list[str]]:
    """What `earful score` says of the same texts: category and error."""
    (folder / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    ran = launched(folder, "-m", "earful", "score", "in.jsonl", "out.csv", "--model", trained.bundle)
    assert ran.returncode == 0, ran.stderr
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        return [[row["tag_category"], row["tag_error"]] for row in csv.DictReader(file)]


def test_mlflow_models_predict_answers_as_score_does(trained: Trained, tmp_path: Path) -> None:
    frame = {"dataframe_records": [{"text": text} for text in TEXTS]}
    (tmp_path / "in.json").write_text(json.dumps(frame), encoding="utf-8")
    ran = launched(
        tmp_path, "-m", "mlflow", "models", "predict", "--model-uri", "models:/earful@champion", "--content-type",
        "json", "--input-path", "in.json", "--output-path", "out.json", "--env-manager", "local",
        MLFLOW_TRACKING_URI=trained.store,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["predictions"]
    assert [[row["tag_category"], row["tag_error"]] for row in found] == scored(trained, tmp_path)


@pytest.mark.skipif(bool(NO_SPARK or NO_JAVA), reason=NO_SPARK or NO_JAVA)
def test_spark_answers_as_score_does(trained: Trained, tmp_path: Path) -> None:
    ran = launched(
        tmp_path, "-c", SPARK, json.dumps(TEXTS),
        MLFLOW_TRACKING_URI=trained.store, PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == scored(trained, tmp_path)


def test_a_run_that_is_told_to_stop_leaves_nothing_behind_and_is_not_for_ever_running(
    trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / "t").mkdir()
    store = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    options = ("--data", trained.data, "--taxonomy", TAXONOMY, "--urgency-column", "urgency", "--epochs", 50)
    with subprocess.Popen(
        [sys.executable, "-m", "earful", "train", *map(str, options), "--out", "bundle"],
        cwd=tmp_path, env={**os.environ, "MLFLOW_TRACKING_URI": store, "TMPDIR": str(tmp_path / "t")},
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert any("epoch 1 of 50" in line for line in process.stderr)
        process.terminate()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode not in (0, None)
    [run] = MlflowClient(store).search_runs(["1"])
    assert run.info.status == "FAILED"
    assert not (tmp_path / "bundle").exists()
    assert [path.name for path in (tmp_path / "t").iterdir() if path.name.startswith("earful")] == []


def test_accelerate_spreads_a_run_over_processes_and_records_it_once(trained: Trained, tmp_path: Path) -> None:
    lines = trained.data.read_text(encoding="utf-8").splitlines()[:120]
    (tmp_path / "few.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ran = launched(
        tmp_path, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", 2,
        "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", 1,
        "-m", "earful", "train", "--data", "few.jsonl", "--taxonomy", TAXONOMY, "--urgency-column", "urgency",
        "--epochs", 1, "--out", "bundle", "--json",
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/store/mlflow.db",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["version"] == "1"
    assert (tmp_path / "bundle" / "manifest.json").exists()
