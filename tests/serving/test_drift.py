"""Whether what comes is still like what the model was measured on."""

import json
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from earful.bundle import MANIFEST
from earful.drift import CHANGED, FEWEST
from earful.tagger import Tagger
from serving.app import create
from serving.settings import ServeSettings
from tests.conftest import Trained


@pytest.fixture
def client(tagger: Tagger) -> TestClient:
    return TestClient(create(tagger, ServeSettings()))


def send(client: TestClient, texts: list[str]) -> None:
    answer = client.post("/classify/batch", json={"items": [{"text": text} for text in texts]})
    assert answer.status_code == 200


def test_nothing_is_said_of_few_answers(client: TestClient) -> None:
    send(client, ["It broke."] * (FEWEST - 1))
    found = client.get("/drift").json()
    assert (found["answers"], found["indices"], found["changed"]) == (FEWEST - 1, {}, [])


def test_messages_like_those_learned_from_are_no_change_and_others_are(trained: Trained, client: TestClient) -> None:
    rows = [json.loads(line)["text"] for line in trained.data.read_text(encoding="utf-8").splitlines()]
    send(client, rows[::2])
    found = client.get("/drift").json()
    assert found["indices"].keys() == {"category", "urgency", "confidence", "length"}
    assert found["indices"]["length"] < CHANGED / 2
    assert found["indices"]["category"] < CHANGED
    assert "category" not in found["changed"]
    for _ in range(3):
        send(client, [f"Thanks, you were wonderful, {n} stars!" for n in range(1000)])
    found = client.get("/drift").json()
    assert {"category", "length"} <= set(found["changed"])
    gauge = [line for line in client.get("/metrics").text.splitlines() if line.startswith('earful_drift{of="length"}')]
    assert float(gauge[0].split()[1]) == found["indices"]["length"] >= CHANGED


def test_a_model_that_does_not_know_says_so(trained: Trained, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(trained.bundle, tmp_path / "bundle"))
    manifest = json.loads((bundle / MANIFEST).read_text())
    assert manifest.pop("reference")["rows"] > 0
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    client = TestClient(create(Tagger.load(bundle), ServeSettings()))
    assert client.get("/drift").status_code == 404
