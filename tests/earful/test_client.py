"""The client, against a real service and against one that fails."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from earful.client import AT_ONCE, AsyncEarful, Earful
from earful.errors import FeedbackError, ServiceError
from earful.tags import Tags
from tests.conftest import Trained
from tests.serving.test_process import free_port, serving


@pytest.fixture(scope="module")
def address(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("client"), "--model", trained.bundle) as (address, _):
        yield address


def test_one_text_and_many_are_answered_in_order(address: str) -> None:
    with Earful(address) as earful:
        tags = earful.classify("You charged my card twice.", id="ticket-7", channel="email")
        assert (tags.id, tags.evidence) == ("ticket-7", None)
        assert earful.classify("You charged my card twice.", explain=True).evidence
        items = [{"text": f"It broke {n} times.", "id": str(n)} for n in range(AT_ONCE + 10)]
        items[3] = {"text": ""}
        answers = earful.classify_many(items)
    assert isinstance(answers[3], FeedbackError)
    assert answers[3].field == "text"
    ids = [answer.id for answer in answers if isinstance(answer, Tags)]
    assert ids == [item["id"] for item in items if "id" in item]


def test_asyncio_gets_the_same_answers(address: str) -> None:
    async def main() -> tuple[Tags, list[Tags | FeedbackError]]:
        async with AsyncEarful(address) as earful:
            return await earful.classify("It broke."), await earful.classify_many([{"text": "It broke."}])

    one, (other,) = asyncio.run(main())
    assert isinstance(other, Tags)
    assert one.category.name == other.category.name


def test_what_the_service_refuses_is_said_in_its_own_words(address: str) -> None:
    with Earful(address) as earful, pytest.raises(ServiceError, match="not a known field") as refused:
        earful.classify("It broke.", nickname="Bo")
    assert refused.value.status == 422


def test_a_key_is_sent(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('{"keys": []}')
    with (
        serving(tmp_path, "--model", trained.bundle) as (address, _),
        Earful(address, key="earful_wrong") as earful,
        pytest.raises(ServiceError, match="not known") as refused,
    ):
        earful.classify("It broke.")
    assert refused.value.status == 401


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with (
        Earful(f"http://127.0.0.1:{free_port()}", retries=0) as earful,
        pytest.raises(ServiceError, match="reached") as no,
    ):
        earful.classify("It broke.")
    assert no.value.status is None


@contextmanager
def answering(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers, one after another, and the paths that it was asked for."""
    asked: list[str] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            status, body = left.pop(0)
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_a_service_that_is_busy_is_asked_again(address: str) -> None:
    with Earful(address) as earful:
        tags = earful.classify("It broke.")
    replies = (503, b""), (429, b""), (200, tags.model_dump_json().encode())
    with answering(*replies) as (busy, asked), Earful(busy) as earful:
        assert earful.classify("It broke.") == tags
    assert asked == ["/classify"] * 3


def refusal(*replies: tuple[int, bytes], retries: int = 0) -> tuple[str, int]:
    """What is said after these replies, and how often the server was asked."""
    with answering(*replies) as (address, asked), Earful(address, retries=retries) as earful:
        with pytest.raises(ServiceError) as refused:
            earful.classify("It broke.")
        return str(refused.value), len(asked)


def test_one_that_stays_busy_or_is_no_earful_is_given_up() -> None:
    said, asked = refusal((503, b"{}"), (503, json.dumps({"detail": "busy"}).encode()), retries=1)
    assert "busy" in said
    assert asked == 2
    assert "404" in refusal((404, b"<html>"))[0]
