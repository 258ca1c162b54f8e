"""`earful train` and what it leaves: a bundle, a run that tells all, a registered model, a pyfunc."""

import json
import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pandas
import pytest
import torch
from mlflow import MlflowClient

from earful import bundle as bundles
from earful import taxonomy as taxonomies
from earful.feedback import Feedback
from earful.policy import Policy
from earful.tagger import Logits, Tagger
from earful.tags import FLAT_COLUMNS
from tests.conftest import Trained, run
from training import encoders, export, finetune, recipe
from training.calibrate import Answers
from training.network import Collator, FeedbackNetwork
from training.settings import Columns, TrainSettings
from training.sources import Example, read


@pytest.fixture
def client(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """mlflow remembers the store of the last training in two places; both are turned to this model's."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained.store)
    mlflow.set_tracking_uri(trained.store)
    mlflow.set_registry_uri(trained.store)
    return MlflowClient(trained.store, trained.store)


def artifacts(client: MlflowClient, run_id: str, path: str = "") -> set[str]:
    return {item.path for item in client.list_artifacts(run_id, path or None)}


def test_the_first_model_is_challenger_and_champion(trained: Trained, client: MlflowClient) -> None:
    assert trained.printed["champion"] is True
    [only] = json.loads(run("models", "--json").stdout)
    assert only["aliases"] == ["challenger", "champion"]
    assert only["metrics"]["category_accuracy"] == trained.printed["metrics"]["category_accuracy"]  # type: ignore[index]


def test_the_run_tells_what_was_done_to_which_data(trained: Trained, client: MlflowClient) -> None:
    [one] = client.search_runs([client.get_experiment_by_name("earful").experiment_id], max_results=1)
    assert one.data.params["data_hash"].startswith("sha256:")
    assert one.data.params["taxonomy_version"] == "2026.11"
    assert one.data.params["base_model"] == "minilm"
    assert one.data.metrics["rows_train"] > 100
    assert len(client.get_metric_history(one.info.run_id, "epoch_eval_loss")) == 3
    names = {
        "category_confusion.png", "category_reliability.png", "category_precision_recall.png",
        "urgency_confusion.png", "urgency_critical.png", "report.json", "mistakes.jsonl",
    }  # fmt: skip
    assert {f"evaluation/{name}" for name in names} <= artifacts(client, one.info.run_id, "evaluation")
    assert "card.md" in artifacts(client, one.info.run_id)
    assert {f"bundle/{name}" for name in bundles.FILES} <= artifacts(client, one.info.run_id, "bundle")


def test_the_printed_metrics_are_those_of_the_bundle(trained: Trained, tagger: Tagger) -> None:
    assert tagger.bundle.manifest.metrics == trained.printed["metrics"]
    wanted = {"category_accuracy", "category_macro_f1", "category_ece", "urgency_kappa", "urgency_recall_high"}
    assert wanted <= set(tagger.bundle.manifest.metrics)


def test_it_learned_something(trained: Trained) -> None:
    """Three epochs on a few hundred rows are not much, but sixteen categories by chance would be 0.06."""
    assert trained.printed["metrics"]["category_accuracy"] > 0.2  # type: ignore[index]


def test_evaluate_measures_by_class_channel_and_tier_through_the_same_tagger(
    trained: Trained, client: MlflowClient
) -> None:
    options = ("evaluate", "--data", trained.data, "--urgency-column", "urgency", "--json")
    by_alias, by_folder = run(*options), run(*options, "--model", trained.bundle)
    assert by_alias.exit_code == by_folder.exit_code == 0, by_alias.output
    found = json.loads(by_alias.stdout)
    assert found == json.loads(by_folder.stdout)
    assert found["rows"] == sum(group["rows"] for group in found["by_channel"].values())
    assert found["rows"] == sum(group["rows"] for group in found["by_tier"].values())
    assert found["by_category"]["billing"]["rows"] > 0


def test_promotion_moves_the_alias_and_rollback_moves_it_back(trained: Trained, client: MlflowClient) -> None:
    first = client.get_model_version_by_alias("earful", "champion")
    second = client.create_model_version("earful", first.source, first.run_id)
    assert run("promote", second.version).exit_code == 0
    assert str(client.get_model_version_by_alias("earful", "champion").version) == str(second.version)
    assert run("rollback").exit_code == 0
    assert str(client.get_model_version_by_alias("earful", "champion").version) == str(first.version)
    again = run("rollback")
    assert again.exit_code == 1
    assert "nothing to go back to" in again.stderr
    client.delete_model_version("earful", second.version)


def test_a_store_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "garbage://x")
    result = run("models")
    assert result.exit_code == 2
    assert (
        result.stderr
        == "error: MLFLOW_TRACKING_URI: is no MLflow store; write sqlite:///…, postgresql://… or http://…\n"
    )


@pytest.mark.parametrize("command", [("models",), ("promote", "1"), ("rollback",), ("score", "in.csv", "out.csv")])
def test_a_mistyped_store_is_said_and_not_made(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlrun/mlflow.db")
    (tmp_path / "in.csv").write_text("text\nhello\n", encoding="utf-8")
    result = run(*command)
    assert result.exit_code == 1
    assert f"there is no store of models at {tmp_path}/mlrun/mlflow.db" in result.stderr
    assert not (tmp_path / "mlrun").exists()


def test_the_default_store_is_that_of_the_folder_one_stands_in(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlruns").mkdir()
    copy = tmp_path / "mlruns" / "mlflow.db"
    shutil.copy(trained.store.removeprefix("sqlite:///"), copy)
    with closing(sqlite3.connect(copy)) as database:
        database.execute("DELETE FROM registered_model_aliases")
        database.commit()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(Path(trained.store.removeprefix("sqlite:///")).parents[1])
    assert "champion" in run("models", "--json").stdout
    monkeypatch.chdir(tmp_path)  # the same process, another folder
    assert "champion" not in run("models", "--json").stdout


def test_training_leaves_the_smallest_numbers_to_whoever_shares_the_process(trained: Trained) -> None:
    assert float(np.float32(1e-40) * np.float32(1)) > 0


@pytest.mark.parametrize("command", [("models",), ("promote", "1"), ("score", "in.csv", "out.csv")])
def test_a_damaged_store_is_said_in_one_line(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.db").write_bytes(b"no database at all " * 100)
    (tmp_path / "in.csv").write_text("text\nhello\n", encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///broken.db")
    result = run(*command)
    assert result.exit_code == 1
    assert "cannot be used" in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


def test_a_bundle_that_is_damaged_in_the_store_is_named_by_its_version(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    (tmp_path / "in.csv").write_text("text\nhello\n", encoding="utf-8")
    mlflow.set_tracking_uri(store)
    folder = mlflow.create_experiment("damaged", artifact_location=(tmp_path / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=folder) as started:
        mlflow.log_artifacts(str(trained.bundle), "bundle")
        mlflow.log_text("{}", "bundle/policy.json")
    store_of = MlflowClient(store, store)
    store_of.create_registered_model("earful")
    store_of.create_model_version("earful", "runs:/unused", started.info.run_id)
    commands = (("promote", "1"), ("score", tmp_path / "in.csv", tmp_path / "out.csv", "--model", "1"))
    damaged = [run(*command) for command in commands]
    shutil.rmtree(tmp_path / "artifacts")
    gone = [run(*command) for command in commands]
    assert [result.exit_code for result in (*damaged, *gone)] == [1] * 4
    said = "error: version 1: policy.json is not the file that was exported; copy the bundle again\n"
    assert [result.stderr for result in damaged] == [said, said]
    assert all("but its bundle is not" in result.stderr for result in gone)


@pytest.mark.parametrize("wanted", ["99", "nobody"])
def test_an_unknown_model_is_said(client: MlflowClient, wanted: str) -> None:
    result = run("promote", wanted)
    assert result.exit_code == 1
    assert f"no model “{wanted}”" in result.stderr


def test_the_pyfunc_answers_as_the_tagger_does(trained: Trained, client: MlflowClient, tagger: Tagger) -> None:
    model = mlflow.pyfunc.load_model("models:/earful@champion")
    texts = ["You charged me twice for the same order.", "", "The app crashes whenever I open it."]
    found = model.predict(pandas.DataFrame({"text": texts}))
    assert list(found.columns) == list(FLAT_COLUMNS)
    assert found["tag_error"].tolist() == ["", "text: is empty; there is nothing to tag", ""]
    one = run("score", _jsonl(trained, texts), trained.bundle.parent / "out.jsonl", "--model", trained.bundle)
    assert one.exit_code == 0, one.output
    scored = [json.loads(line) for line in (trained.bundle.parent / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["tags"]["category"] or "" for row in scored] == found["tag_category"].tolist()


def _jsonl(trained: Trained, texts: list[str]) -> Path:
    path = trained.bundle.parent / "in.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def test_no_pickle_is_logged(trained: Trained, client: MlflowClient) -> None:
    mlruns = Path(trained.store.removeprefix("sqlite:///")).parent
    assert not [path for path in mlruns.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib", ".bin", ".pt")]


def test_a_folder_that_holds_something_else_is_refused_before_training(tmp_path: Path, trained: Trained) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"\xff\xd8")
    result = run("train", "--data", trained.data, "--out", tmp_path)
    assert result.exit_code == 1
    assert "is not a bundle" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_folder_that_cannot_be_written_is_refused_before_training(tmp_path: Path, trained: Trained) -> None:
    (tmp_path / "file").write_text("mine")
    result = run("train", "--data", trained.data, "--out", tmp_path / "file" / "bundle")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    assert "step" not in result.output


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--epochs", "0"), 2, "--epochs"),
        (("--learning-rate", "inf"), 2, "--learning-rate"),
        (("--seed", str(2**32)), 2, "--seed"),
        (("--contrast", "inf"), 2, "--contrast"),
        (("--consistency", "inf"), 2, "--consistency"),
        (("--encoding", "base64"), 1, "base64 is not an encoding of text"),
        (("--test", "/nowhere.csv"), 1, "/nowhere.csv: there is no such file"),
        (("--test-fraction", "0.9"), 2, "--test-fraction"),
        (("--category-column", "nope"), 1, "no column “nope”"),
        (("--taxonomy", "absent.toml"), 1, "absent.toml: cannot be read"),
        (("--base-model", "/nowhere/at/all"), 1, "--base-model /nowhere/at/all"),
        (("--frozen-layers", "7"), 1, "--frozen-layers: 7 are too many; this encoder has 6"),
    ],
)
def test_wrong_options_end_with_one_line(
    trained: Trained, tmp_path: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    result = run("train", "--data", trained.data, "--out", tmp_path / "b", *options)
    assert (result.exit_code, said in result.stderr, "Traceback" in result.output) == (code, True, False), result.output
    assert not (tmp_path / "b").exists()


def test_rows_that_are_all_to_be_tested_on_are_said(trained: Trained, tmp_path: Path) -> None:
    result = run("train", "--data", trained.data, "--test", trained.data, "--out", tmp_path / "b")
    assert result.exit_code == 1
    assert "none is left to learn from: all are to test on, or like one that is" in result.stderr


def test_rejected_rows_are_written_beside_the_bundle(tmp_path: Path, client: MlflowClient) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("text,category\n" + "x,\n" * 3, encoding="utf-8")
    result = run("train", "--data", data, "--out", tmp_path / "b")
    assert result.exit_code == 1
    assert "no row can be used" in result.stderr
    assert len((tmp_path / "b.rejects.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_an_export_that_answers_otherwise_is_found_out() -> None:
    rng = np.random.default_rng(0)
    trained_logits = rng.normal(size=(400, 4)).astype(np.float32)
    right = Answers(trained_logits.argmax(axis=1), np.full(400, -1), np.full(400, -1))
    same = export.parity(Logits(trained_logits, None), Logits(trained_logits, None), right, Policy())
    assert export.problems(same) == []
    exported = trained_logits.copy()
    exported[:20] = -exported[:20]
    other = export.parity(Logits(trained_logits, None), Logits(exported, None), right, Policy())
    assert "category labels disagree on 5.00% of the rows kept back" in export.problems(other)


@pytest.mark.parametrize("unlike", [{"int8"}, {"int8", "float32"}], ids=["int8", "both"])
def test_a_model_that_int8_would_change_keeps_full_precision_or_is_not_made(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unlike: set[str]
) -> None:
    seen = iter(export.PRECISIONS)
    monkeypatch.setattr(export, "problems", lambda found: ["labels moved"] if next(seen) in unlike else [])
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(trained.data.read_text(encoding="utf-8").splitlines()[:150]) + "\n", encoding="utf-8")
    result = run("train", "--data", few, "--epochs", 1, "--no-refit", "--out", tmp_path / "b", "--json")
    assert "the int8 model does not answer as the trained one: labels moved" in result.stderr
    if "float32" in unlike:
        assert (result.exit_code, (tmp_path / "b").exists()) == (1, False)
        return
    assert json.loads(result.stdout)["precision"] == "float32"
    kinds = {node.op_type for node in onnx.load(tmp_path / "b" / "model.onnx").graph.node}
    assert ("MatMul" in kinds, "MatMulIntegerToFloat" in kinds) == (True, False)


@pytest.mark.parametrize("option", ["--refit", "--no-refit"])
def test_a_second_fit_learns_from_the_validation_rows(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    every = [json.loads(line) for line in trained.data.read_text(encoding="utf-8").splitlines()]
    rows = []
    for category, ends in {"billing": (24, 32, 36), "delivery": (24, 32, 36), "praise": (0, 24, 44)}.items():
        some = [row for row in every if row["category"] == category]
        for n, row in enumerate(some[: ends[-1]]):
            side = ("train", "validation", "test")[sum(n >= end for end in ends)]  # no praise among the training rows
            rows.append({"text": row["text"], "category": category, "split": side})
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ("--split-column", "split", "--epochs", 2, option, "--out", tmp_path / "bundle", "--json")
    result = run("train", "--data", data, *options)
    assert result.exit_code == 0, result.output
    learnt = json.loads(result.stdout)["metrics"]["category_accuracy"] > 0.5  # two in three of the test rows are praise
    assert learnt == (option == "--refit")
    assert ("second fit" in (tmp_path / "bundle" / "card.md").read_text(encoding="utf-8")) == (option == "--refit")


def fit_small(rows: Sequence[Example], settings: TrainSettings) -> finetune.Fitted:
    train, held = rows[:40], rows[40:]
    return finetune.fit(encoders.load("minilm"), train, held, ["a", "b"], settings, recipe.choose(settings, train))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_same_seed_gives_the_same_network_and_rows_without_a_label_train_the_other_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "rows.csv"
    lines = [f"story {n},{'ab'[n % 2] if n % 3 else ''},{'high' if n % 3 == 0 else ''}" for n in range(48)]
    data.write_text("text,category,urgency\n" + "\n".join(lines) + "\n", encoding="utf-8")
    rows = read([str(data)], Columns(), None).examples
    settings = TrainSettings(data=(str(data),), epochs=1, batch_size=8, contrast=0)
    monkeypatch.setattr(recipe, "FEW_LABELS", 0)
    monkeypatch.setattr(recipe, "QUICK_TOKENS", 1_000)
    several = (settings, settings, settings.model_copy(update={"consistency": 0.0}))
    fits = [fit_small(rows, one) for one in several]
    np.testing.assert_array_equal(fits[0].held.category, fits[1].held.category)
    assert fits[0].network.urgency is not None
    assert not np.array_equal(fits[0].held.category, fits[2].held.category)
    monkeypatch.setattr(recipe, "QUICK_TOKENS", 10)  # consistency is for what trains quickly
    slow = fit_small(rows, settings)
    np.testing.assert_array_equal(slow.held.category, fits[2].held.category)


def test_a_model_of_urgency_alone_is_learned_from_a_scale_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Trained
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    codes = {"low": "1.0", "normal": "2.0", "high": "3.0", "critical": "4.0"}
    rows = [json.loads(line) for line in trained.data.read_text(encoding="utf-8").splitlines()][::3]
    file, more = tmp_path / "coded.csv", tmp_path / "more.jsonl"
    pandas.DataFrame({"text": [row["text"] for row in rows], "code": [codes[row["urgency"]] for row in rows]}).to_csv(
        file
    )
    more.write_text(json.dumps({"text": "The boiler leaks gas, come now.", "category": "made up", "how_soon": "asap"}))
    result = run(
        "train", "--data", file, "--urgency-column", "code", "--urgency-map", "1=low,2=normal,3=high",
        "--urgency-map", "4=critical,asap=critical", "--urgency-data", more, "--urgency-data-column", "how_soon",
        "--epochs", 2, "--consistency", 0, "--out", tmp_path / "bundle", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "only the urgency is learned" in result.stderr
    metrics = json.loads(result.stdout)["metrics"]
    assert "category_accuracy" not in metrics
    assert metrics["urgency_kappa"] > 0.1  # chance would be 0
    [tags] = Tagger.load(tmp_path / "bundle").tag([Feedback(text="Somebody is spending from my account right now!")])
    assert tags.urgency is not None
    assert (tags.category.name, tags.category.confidence, tags.outcome) == (taxonomies.ANY, 1.0, "tagged")


def test_consistency_costs_what_two_answers_differ_and_nothing_without_dropout() -> None:
    torch.manual_seed(0)
    network = FeedbackNetwork(encoders.load("minilm").model, 3, 0, consistency=100.0)
    labels = {"secondary": finetune.IGNORED, "urgency": finetune.IGNORED}
    batch = Collator(0)([{"windows": [[101, 2000 + n, 102]], "category": n % 3, **labels} for n in range(9)])
    with torch.no_grad():
        eager, calm = network.train()(**batch)["loss"], network.eval()(**batch)["loss"]
        network.consistency = 0.0
        assert network(**batch)["loss"] == calm
        assert eager > network.train()(**batch)["loss"] + 0.05


def test_dropout_in_the_encoder_is_the_same_for_every_token() -> None:
    torch.manual_seed(0)
    network = FeedbackNetwork(encoders.load("minilm").model, 3, 0)
    dropouts = [part for part in network.encoder.modules() if isinstance(part, torch.nn.Dropout) and part.p]
    assert len(dropouts) > 6
    dropped = dropouts[0].train()(torch.ones(2, 5, 1000))
    assert torch.equal(dropped[:, :1].expand_as(dropped), dropped)
    assert not torch.equal(dropped[0], dropped[1])
    torch.testing.assert_close(dropped.mean(), torch.tensor(1.0), atol=0.05, rtol=0)
    assert torch.equal(dropouts[0].eval()(torch.ones(2, 5, 4)), torch.ones(2, 5, 4))


def test_windows_of_one_feedback_are_merged_by_their_tokens() -> None:
    encoder = encoders.load("minilm")
    network = FeedbackNetwork(encoder.model, 3, 4).eval()
    first, second = list(range(1000, 1012)), list(range(2000, 2004))
    labels = {"category": 1, "secondary": 0, "urgency": 2}
    batch = Collator(0)([{"windows": [first, second], **labels}])
    merged = network(**batch)["category"][0].detach().numpy()
    alone = [network(**Collator(0)([{"windows": [one], **labels}]))["category"][0] for one in (first, second)]
    expected = (alone[0] * 12 + alone[1] * 4) / 16
    np.testing.assert_allclose(merged, expected.detach().numpy(), atol=1e-5)


def test_training_does_not_speak_for_the_user_to_whoever_shares_the_process(trained: Trained) -> None:
    assert "MLFLOW_TRACKING_URI" not in os.environ
