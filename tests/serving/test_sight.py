"""What the service shows of itself: figures, request ids, lines in the log."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from earful.tagger import Tagger
from serving.app import create
from serving.settings import ServeSettings
from tests.conftest import Trained
from tests.serving.test_process import PATIENCE, serving

PRIVATE = "4929-1234-5678"
ITEM = {"text": f"Charged twice, card {PRIVATE}."}


@pytest.fixture
def client(tagger: Tagger) -> TestClient:
    return TestClient(create(tagger, ServeSettings()))


def figures(text: str) -> dict[str, float]:
    """Values by name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_answered_is_counted_by_what_was_said(client: TestClient, tagger: Tagger) -> None:
    tags = client.post("/classify", json=ITEM).json()
    client.post("/classify/batch", json={"items": [ITEM, ITEM, {"text": ""}]})
    client.post("/classify", json={"text": ""})
    client.get("/somewhere/else")
    found = figures(client.get("/metrics").text)
    assert found["earful_requests_total[('path', '/classify'), ('status', '200')]"] == 1
    assert found["earful_requests_total[('path', '/classify'), ('status', '422')]"] == 1
    assert found["earful_requests_total[('path', '/classify/batch'), ('status', '200')]"] == 1
    assert found["earful_requests_total[('path', 'other'), ('status', '404')]"] == 1
    assert found["earful_request_seconds_count[('path', '/classify')]"] == 2
    assert found[f"earful_answers_by_category_total[('category', '{tags['category']['name']}')]"] == 3
    assert found[f"earful_answers_by_urgency_total[('urgency', '{tags['urgency']['level']}')]"] == 3
    assert found[f"earful_answers_by_outcome_total[('outcome', '{tags['outcome']}')]"] == 3
    assert found["earful_batch_items_sum[]"] == 3
    assert found["earful_waiting[]"] == found["earful_waiting_tokens[]"] == 0
    assert any(tagger.bundle.digest in name for name in found if name.startswith("earful_model_info"))


@pytest.mark.parametrize("sent", ["ticket-7", None, "half a line\nand more", "x" * 101, "é"])
def test_every_answer_has_an_id_the_callers_own_if_it_can_be_one(client: TestClient, sent: str | None) -> None:
    headers = {} if sent is None else {"X-Request-ID": sent.encode("latin-1")}
    for answer in (client.post("/classify", json=ITEM, headers=headers), client.get("/nowhere", headers=headers)):
        given = answer.headers["x-request-id"]
        assert given == sent if sent == "ticket-7" else re.fullmatch("[0-9a-f]{32}", given)


def test_a_line_of_the_log_says_everything_but_what_was_said(trained: Trained, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", trained.bundle) as (address, process):
        httpx.post(f"{address}/classify", json=ITEM, headers={"X-Request-ID": "seven"})
        httpx.post(f"{address}/classify?{PRIVATE}", json=ITEM)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert PRIVATE not in said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("id") == "seven"]
    assert line.keys() == {"event", "level", "timestamp", "id", "method", "path", "status", "ms"}
    assert (line["method"], line["path"], line["status"]) == ("POST", "/classify", 200)


def test_several_workers_count_together(trained: Trained, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", trained.bundle, "--workers", 2, EARFUL_LOG_REQUESTS="false") as (address, _):
        for _ in range(12):
            httpx.post(f"{address}/classify", json=ITEM)
        name = "earful_requests_total[('path', '/classify'), ('status', '200')]"
        for _ in range(100):  # the last may be counted a moment after it was answered
            found = figures(httpx.get(f"{address}/metrics").text)
            if found[name] == 12:
                break
    assert found[name] == 12
    assert found["earful_batch_items_sum[]"] == 12


class Collector(BaseHTTPRequestHandler):
    """Receives traces as an OpenTelemetry collector does."""

    received: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.received.append(self.path.encode() + self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_traces_go_to_a_collector_without_what_was_said(trained: Trained, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        Thread(target=collector.serve_forever, daemon=True).start()
        told = {
            "EARFUL_TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        with serving(tmp_path, "--model", trained.bundle, **told) as (address, process):
            httpx.post(f"{address}/classify", json=ITEM)
            httpx.post(f"{address}/classify", json={"text": [PRIVATE]})
            process.terminate()
            process.communicate(timeout=PATIENCE)
        collector.shutdown()
    sent = b"".join(Collector.received)
    assert b"/v1/traces" in sent
    assert b"/classify" in sent
    assert PRIVATE.encode() not in sent
