import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from earful.tags import Tags
from tests.conftest import Trained, run

PATIENCE = 120  # seconds; far more than a start takes, so that only a server that never comes fails
HEAVY = (
    "torch", "transformers", "bertopic", "ray", "mlflow", "datasets", "sentence_transformers", "sklearn", "pandas",
)  # fmt: skip


def environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EARFUL_", "MLFLOW_"))}
    return {**kept, **more}


@contextmanager
def started(folder: Path, arguments: tuple[object, ...], more: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "earful", "serve", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment(more), text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_ready(address: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with httpx.Client(transport=httpx.HTTPTransport(retries=3)) as client:
            try:
                if client.get(f"{address}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                continue
    process.terminate()
    pytest.fail("".join(process.communicate(timeout=PATIENCE)))


@contextmanager
def serving(folder: Path, *arguments: object, **more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    port = free_port()
    with started(folder, ("--port", port, *arguments), more) as process:
        await_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}", process


def failure(folder: Path, *arguments: object, **more: str) -> str:
    """The one line that a service says when it cannot start."""
    with started(folder, arguments, more) as process:
        printed, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, said
    assert printed == ""
    assert said.startswith("error: ")
    assert said.count("\n") == 1, said
    return said


def test_the_printed_command_is_answered_by_the_shell(trained: Trained, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", trained.bundle, EARFUL_LOG_REQUESTS="false") as (address, process):
        assert process.stderr is not None
        printed = next(line for line in process.stderr if line.strip().startswith("curl "))
        assert address in printed
        answer = subprocess.run(printed, shell=True, capture_output=True, text=True, check=True)
        tags = Tags.model_validate_json(answer.stdout)
        assert tags.model.bundle == httpx.get(f"{address}/model").json()["bundle"]
        process.terminate()
        assert "".join(process.communicate(timeout=PATIENCE)) == ""
    assert list(tmp_path.iterdir()) == []


def test_the_champion_of_the_store_is_served(trained: Trained, tmp_path: Path) -> None:
    with serving(tmp_path, MLFLOW_TRACKING_URI=trained.store, TMPDIR=str(tmp_path)) as (
        address,
        _,
    ):  # champion is the default
        assert httpx.get(f"{address}/model").json()["version"] == str(trained.printed["version"])
        answer = httpx.post(f"{address}/classify", json={"text": "I was charged twice."})
        assert answer.json()["model"]["version"] == str(trained.printed["version"])
    assert not list(tmp_path.glob("earful-*"))  # the copy of its bundle is gone


def test_two_workers_answer(trained: Trained, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", trained.bundle, "--workers", 2) as (address, process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if children.exists():
            assert len(children.read_text().split()) >= 2
        answers = [httpx.post(f"{address}/classify", json={"text": "It broke.", "id": str(n)}).json() for n in range(8)]
        assert [answer["id"] for answer in answers] == [str(n) for n in range(8)]
        assert len({answer["category"]["name"] for answer in answers}) == 1


@pytest.mark.parametrize("model", ["nobody", "99"])
def test_a_model_that_is_not_there_ends_the_start_with_its_name(trained: Trained, tmp_path: Path, model: str) -> None:
    assert f"“{model}”" in failure(tmp_path, "--model", model, "--port", free_port(), MLFLOW_TRACKING_URI=trained.store)


def test_a_first_start_without_any_model_says_so(tmp_path: Path) -> None:
    assert "“champion”" in failure(tmp_path, "--port", free_port())


@pytest.mark.parametrize(
    ("variable", "option"), [("EARFUL_MAX_BATCH", ()), ("EARFUL_PORT", ()), ("--port", ("--port", 0))]
)
def test_a_wrong_setting_is_named_where_it_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, option: tuple[object, ...]
) -> None:
    if not option:
        monkeypatch.setenv(variable, "0")
    result = run("serve", *option)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {variable}: ")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_tampered_bundle_is_never_served(trained: Trained, tmp_path: Path, workers: int) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(trained.bundle, bundle)
    policy = json.loads((bundle / "policy.json").read_text())
    (bundle / "policy.json").write_text(json.dumps({**policy, "category_temperature": 0.01}))
    assert "policy.json" in failure(tmp_path, "--model", bundle, "--port", free_port(), "--workers", workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_busy_port_is_named(trained: Trained, tmp_path: Path, workers: int) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        said = failure(tmp_path, "--model", trained.bundle, "--port", port, "--workers", workers)
    assert f"127.0.0.1:{port}" in said
    assert "in use" in said


ONE_REQUEST = f"""
import sys
from pathlib import Path
import serving.app
from fastapi.testclient import TestClient
from earful.tagger import Tagger
from serving.settings import ServeSettings

client = TestClient(serving.app.create(Tagger.load(Path(sys.argv[1])), ServeSettings(log_requests=False)))
assert client.post("/classify", json={{"text": "It broke."}}).status_code == 200
print(*[name for name in {HEAVY} if name in sys.modules])
"""


def test_a_server_that_has_answered_has_loaded_no_training_library(trained: Trained, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", ONE_REQUEST, str(trained.bundle)]
    ran = subprocess.run(command, cwd=tmp_path, env=environment({}), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []
