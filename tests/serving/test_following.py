"""Another model takes over while the service answers; one that must not serve does not."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from mlflow import MlflowClient

from earful.bundle import MANIFEST, POLICY
from earful.tagger import Tagger
from serving.app import create
from serving.settings import ServeSettings
from tests.conftest import Trained
from tests.serving.test_process import free_port

TRIES = 20_000  # questions; far more than any change takes


@pytest.fixture
def bundle(trained: Trained, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.bundle, tmp_path / "bundle"))


def rewrite(bundle: Path, moment: str) -> str:
    """The same bundle as if it were exported at another moment; its digest."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**manifest, "created_at": moment}))
    return Tagger.load(bundle).ref.bundle


def until(true: Callable[[], Any]) -> Any:
    for _ in range(TRIES):
        if found := true():
            return found
    raise AssertionError("it never came")


def following(name: str, tagger: Tagger, **settings: Any) -> TestClient:
    return TestClient(create(tagger, ServeSettings(follow_seconds=0.01, **settings), followed=name))


def test_a_bundle_written_anew_serves_without_a_restart(bundle: Path) -> None:
    with following(str(bundle), Tagger.load(bundle)) as client:
        digest = rewrite(bundle, "2026-01-01T00:00:00Z")
        until(lambda: client.get("/model").json()["bundle"] == digest)
        assert client.post("/classify", json={"text": "It broke."}).json()["model"]["bundle"] == digest


def test_a_bad_bundle_is_refused_and_said_to_be_and_the_next_good_one_serves(bundle: Path) -> None:
    before, policy = Tagger.load(bundle), (bundle / POLICY).read_text()
    with following(str(bundle), before) as client:
        (bundle / POLICY).write_text(json.dumps({**json.loads(policy), "category_temperature": 0.01}))
        manifest = json.loads((bundle / MANIFEST).read_text())
        (bundle / MANIFEST).write_text(json.dumps({**manifest, "created_at": "2026-01-02T00:00:00Z"}))
        refused = until(lambda: client.get("/model").json()["refused"])
        assert "policy.json" in refused["reason"]
        assert client.get("/model").json()["bundle"] == before.ref.bundle
        assert client.post("/classify", json={"text": "It broke."}).status_code == 200
        (bundle / POLICY).write_text(policy)  # as when a copy is complete at last
        digest = Tagger.load(bundle).ref.bundle
        until(lambda: client.get("/model").json()["bundle"] == digest)
        assert client.get("/model").json()["refused"] is None


@pytest.fixture
def store(trained: Trained, tmp_path: Path) -> str:
    """A copy of the store with a second version, of the same run."""
    shutil.copy(trained.store.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri, uri)
    first = client.get_model_version("earful", "1")
    source = client.get_run(first.run_id).info.artifact_uri
    client.create_model_version("earful", source, first.run_id)
    return uri


def promote(uri: str, version: str, alias: str = "champion") -> None:
    MlflowClient(uri, uri).set_registered_model_alias("earful", alias, version)


def test_a_champion_promoted_in_the_store_serves_and_so_does_the_one_rolled_back_to(
    trained: Trained, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with following("champion", Tagger.load(trained.bundle, "1")) as client:
        for version in ("2", "1"):
            promote(store, version)
            until(lambda version=version: client.get("/model").json()["version"] == version)
            assert client.post("/classify", json={"text": "It broke."}).json()["model"]["version"] == version


@pytest.fixture
def server(store: str, tmp_path: Path) -> Iterator[str]:
    """A real MLflow server on the store."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "--workers", "1"], cwd=tmp_path, start_new_session=True, **quiet) as process:
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=10), timeout=60) as client:
            until(lambda: client.get(f"{address}/health").status_code == 200)
        yield address
        os.killpg(process.pid, signal.SIGTERM)


def test_a_champion_of_a_server_is_followed_too(
    trained: Trained, store: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with following("champion", Tagger.load(trained.bundle, "1")) as client:
        promote(store, "2")
        until(lambda: client.get("/model").json()["version"] == "2")


def test_a_store_that_cannot_be_reached_leaves_what_serves_alone(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uri in (f"http://127.0.0.1:{free_port()}", f"sqlite:///{tmp_path}/nowhere.db", "postgresql://127.0.0.1:1/x"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with following("champion", Tagger.load(trained.bundle, "1")) as client:
            for _ in range(20):
                assert client.get("/model").json()["version"] == "1"
    assert not (tmp_path / "nowhere.db").exists()


def test_no_request_fails_and_every_answer_names_a_model_that_was_there(bundle: Path) -> None:
    digests = {Tagger.load(bundle).ref.bundle}
    app = create(Tagger.load(bundle), ServeSettings(follow_seconds=0.01), followed=str(bundle))

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://t") as client,
        ):
            stop = asyncio.Event()

            async def ask() -> list[httpx.Response]:
                found = []
                while not stop.is_set():
                    found.append(await client.post("/classify", json={"text": "It broke."}, timeout=None))
                return found

            callers = [asyncio.ensure_future(ask()) for _ in range(4)]
            for n in range(5):
                digest = await asyncio.to_thread(rewrite, bundle, f"2026-01-0{n + 1}T00:00:00Z")
                digests.add(digest)
                while (await client.get("/model")).json()["bundle"] != digest:
                    await asyncio.sleep(0)
            stop.set()
            return [answer for answers in await asyncio.gather(*callers) for answer in answers]

    answers = asyncio.run(main())
    assert {answer.status_code for answer in answers} == {200}
    answered = {answer.json()["model"]["bundle"] for answer in answers}
    assert answered <= digests
    assert len(answered) > 1


def stricter(bundle: Path) -> None:
    """The same bundle with other cuts for urgency: almost everything is critical."""
    policy = {**json.loads((bundle / POLICY).read_text()), "urgency_cuts": [0.001, 0.001, 0.001]}
    (bundle / POLICY).write_text(json.dumps(policy))
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"][POLICY] = hashlib.sha256((bundle / POLICY).read_bytes()).hexdigest()
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def test_a_shadow_answers_beside_and_what_differs_is_kept_without_what_is_personal(
    trained: Trained, bundle: Path
) -> None:
    stricter(bundle)
    settings = ServeSettings(follow_seconds=0.01, shadow=str(bundle), shadow_share=1)
    with TestClient(create(Tagger.load(trained.bundle), settings)) as client:
        until(lambda: client.get("/shadow").status_code == 200)
        sent = [{"text": f"Thanks, all {n} fine. Write to jo.{n}@example.org"} for n in range(10)]
        answers = [client.post("/classify", json=one).json() for one in sent]
        found = until(lambda: (now := client.get("/shadow").json())["compared"] == len(sent) and now)
    assert {answer["model"]["bundle"] for answer in answers} == {Tagger.load(trained.bundle).ref.bundle}
    assert found["model"]["bundle"] == Tagger.load(bundle).ref.bundle
    assert found["category_differs"] == 0
    assert found["urgency_differs"] == len(found["differing"]) > 0
    assert {one["shadow"]["urgency"] for one in found["differing"]} == {"critical"}
    assert "example.org" not in json.dumps(found)


def test_without_a_shadow_there_is_nothing_to_compare(tagger: Tagger) -> None:
    with TestClient(create(tagger, ServeSettings())) as client:
        assert client.get("/shadow").status_code == 404
