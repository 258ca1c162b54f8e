"""Who may use the service, and how often."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from earful.tagger import Tagger
from serving.app import create
from serving.settings import ServeSettings
from tests.conftest import Trained, run
from tests.serving.test_process import PATIENCE, failure, free_port, serving, started

ITEM = {"text": "It broke."}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "secret" / "keys.json"
    monkeypatch.setenv("EARFUL_KEYS", str(path))
    return path


@pytest.fixture
def client(tagger: Tagger, file: Path) -> TestClient:
    return TestClient(create(tagger, ServeSettings()))


def made(name: str, *options: str) -> str:
    result = run("keys", "create", name, *options)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def status(client: TestClient, secret: str | None, path: str = "/classify", method: str = "POST") -> int:
    body: Any = {"json": ITEM if path == "/classify" else {"items": [ITEM]}} if method == "POST" else {}
    return client.request(method, path, headers=bearer(secret) if secret else {}, **body).status_code


def test_without_keys_this_machine_may_do_everything(client: TestClient) -> None:
    assert status(client, None) == 200
    assert status(client, None, "/model", "GET") == 200


def test_from_the_first_key_on_every_request_needs_one_without_a_restart(client: TestClient, file: Path) -> None:
    secret = made("helpdesk")
    refused = client.post("/classify", json=ITEM)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["content-type"] == "application/problem+json"
    assert status(client, "earful_guessed") == 401
    assert client.post("/classify", json=ITEM, headers={"Authorization": secret}).status_code == 401
    assert status(client, secret) == 200
    for path in ("/healthz", "/readyz"):
        assert status(client, None, path, "GET") == 200
    file.unlink()
    assert status(client, None) == 401
    assert status(client, secret) == 401


def test_a_key_opens_what_its_scopes_say(client: TestClient) -> None:
    classify, read, admin = (made(scope, "--scope", scope) for scope in ("classify", "read", "admin"))
    asked = {"/classify": "POST", "/classify/batch": "POST", "/model": "GET", "/taxonomy": "GET", "/topics": "GET"}
    for path, method in asked.items():
        wanted = "classify" if method == "POST" else "read"
        other, right = (read, classify) if wanted == "classify" else (classify, read)
        assert status(client, other, path, method) == 403
        assert status(client, right, path, method) in (200, 404)
        assert status(client, admin, path, method) in (200, 404)
    assert status(client, read, "/shadow", "GET") == 403
    assert status(client, read, "/topics/candidates/1", "DELETE") == 403


def test_a_worker_that_replaces_another_asks_for_keys_though_their_file_has_gone(tagger: Tagger, file: Path) -> None:
    client = TestClient(create(tagger, ServeSettings(keys_required=True)))
    assert status(client, None) == status(client, "earful_guessed") == 401


def test_who_shows_no_key_is_refused_before_a_body_is_read(tagger: Tagger, file: Path) -> None:
    made("helpdesk")
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "POST", "path": "/classify/batch", "query_string": b"", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")], "scheme": "http", "server": ("test", 80),
    }  # fmt: skip

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(create(tagger, ServeSettings())(scope, receive, send))
    assert sent[0]["status"] == 401


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"EARFUL_KEYS": "/nowhere/keys.json"}, "/nowhere/keys.json"),
        ({"EARFUL_SHADOW": "nonsense"}, "nonsense"),
        ({"EARFUL_CORS": "https://desk.example"}, "as JSON"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_said_at_the_start(
    trained: Trained, tmp_path: Path, told: dict[str, str], said: str
) -> None:
    with started(tmp_path, ("--model", trained.bundle, "--port", free_port()), told) as process:
        _, printed = process.communicate(timeout=PATIENCE)
    assert process.returncode in (1, 2)
    assert printed.startswith("error: ")
    assert said in printed
    assert printed.count("\n") == 1


def test_a_revoked_key_opens_nothing_from_the_next_request_on(client: TestClient) -> None:
    secret, other = made("one"), made("two")
    assert status(client, secret) == 200
    assert run("keys", "revoke", "one").exit_code == 0
    assert status(client, secret) == 401
    assert status(client, other) == 200
    again = run("keys", "revoke", "one")
    assert (again.exit_code, "no key called “one”" in again.stderr) == (1, True)


def test_what_is_kept_is_no_key_and_nobody_else_may_read_it(file: Path) -> None:
    secret = made("helpdesk", "--rate", "600/minute")
    assert secret.startswith("earful_")
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    (listed,) = json.loads(run("keys", "list", "--json").stdout)
    assert (listed["name"], listed["scopes"], listed["rate"]) == ("helpdesk", ["classify", "read"], "600/minute")


def test_a_key_that_was_used_too_often_waits_and_another_does_not(client: TestClient) -> None:
    busy, other = made("busy", "--rate", "3/hour"), made("other", "--rate", "3/hour")
    answers = [client.post("/classify", json=ITEM, headers=bearer(busy)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"3"}
    assert 0 < int(answers[-1].headers["retry-after"]) <= 3600
    assert status(client, other) == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("two words",), "name"),
        (("x", "--scope", "everything"), "scopes"),
        (("x", "--rate", "often"), "no rate such as"),
        (("x", "--rate", "0/minute"), "no rate such as"),
        (("x", "--rate", "1000/hour;2/minute"), "no rate such as"),
        (("taken",), "already"),
    ],
)
def test_a_key_that_cannot_be_made_is_said(file: Path, arguments: tuple[str, ...], said: str) -> None:
    made("taken")
    before = file.read_text()
    result = run("keys", "create", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert file.read_text() == before


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{"name": "x"}]}', "not JSON"])
def test_a_damaged_file_of_keys_is_named_and_opens_nothing(
    trained: Trained, tagger: Tagger, file: Path, tmp_path: Path, content: str
) -> None:
    client = TestClient(create(tagger, ServeSettings()), raise_server_exceptions=False)
    secret = made("helpdesk")
    assert status(client, secret) == 200
    file.write_text(content)
    refused = client.post("/classify", json=ITEM, headers=bearer(secret))
    assert refused.status_code == 503
    assert file.name not in refused.text
    assert str(file) in failure(tmp_path, "--model", trained.bundle, "--port", free_port(), EARFUL_KEYS=str(file))


def test_other_machines_are_not_listened_to_without_keys_unless_told_so(trained: Trained, tmp_path: Path) -> None:
    address = ("--host", "0.0.0.0", "--model", trained.bundle)
    assert "earful keys create" in failure(tmp_path, *address, "--port", free_port())
    with serving(tmp_path, *address, "--open") as (url, _):
        assert httpx.post(f"{url}/classify", json=ITEM).status_code == 200
        assert httpx.get(f"{url}/docs").status_code == httpx.get(f"{url}/openapi.json").status_code == 404


def test_pages_of_other_origins_may_call_only_if_named(tagger: Tagger, file: Path) -> None:
    asked = {"Origin": "https://desk.example", "Access-Control-Request-Method": "POST"}
    closed = TestClient(create(tagger, ServeSettings()))
    assert "access-control-allow-origin" not in closed.options("/classify", headers=asked).headers
    named = TestClient(create(tagger, ServeSettings(cors=("https://desk.example",))))
    assert named.options("/classify", headers=asked).headers["access-control-allow-origin"] == "https://desk.example"
    other = {**asked, "Origin": "https://elsewhere.example"}
    assert "access-control-allow-origin" not in named.options("/classify", headers=other).headers


def test_keys_that_are_asked_for_are_asked_for_by_a_service_without_a_file(trained: Trained, tmp_path: Path) -> None:
    with serving(tmp_path, "--model", trained.bundle, EARFUL_KEYS_REQUIRED="true") as (address, _):
        assert httpx.post(f"{address}/classify", json=ITEM).status_code == 401
