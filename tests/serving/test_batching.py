"""What many callers at once can rely on: their own answers, soon or a refusal at once, and a fair turn."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from threading import Event
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from earful.feedback import Feedback
from earful.tagger import Tagger
from serving.app import create
from serving.batching import AT_ONCE
from serving.settings import ServeSettings

PATIENCE = 60  # seconds; only what never comes takes them


class Service:
    """A service within one event loop."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self._app, self._client = app, client

    async def post(self, item: Any, path: str = "/classify", **headers: str) -> httpx.Response:
        return await self._client.post(path, json=item, headers=headers)

    def start(self, *given: Any, **headers: str) -> asyncio.Task[httpx.Response]:
        return asyncio.ensure_future(self.post(*given, **headers))

    async def waits_for(self, many: int) -> None:
        await until(lambda: self._app.state.batcher.waiting == many)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0)


class Gate:
    """Stands before `Tagger.tag`: keeps what was to be tagged until it is opened, and remembers it."""

    def __init__(self, tag: Callable[..., Any]) -> None:
        self.calls: list[list[str]] = []
        self.open = Event()
        self._tag = tag

    def __call__(self, tagger: Tagger, items: Sequence[Feedback], hear: Any = None) -> Any:
        self.calls.append([item.text for item in items])
        assert self.open.wait(PATIENCE)
        if any("poison" in item.text for item in items):
            raise RuntimeError("a text that no model can read")
        return self._tag(tagger, items, hear)

    async def calls_are(self, many: int) -> None:
        await until(lambda: len(self.calls) >= many)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(Tagger.tag)
    monkeypatch.setattr(Tagger, "tag", lambda *given: gate(*given))
    yield gate
    gate.open.set()


def served(tagger: Tagger, use: Callable[[Service], Awaitable[None]], **settings: Any) -> None:
    """`use` a service within one event loop."""

    async def main() -> None:
        app = create(tagger, ServeSettings(**settings))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=None) as client:
            await use(Service(app, client))

    asyncio.run(main())


async def occupy(service: Service, gate: Gate) -> list[asyncio.Task[httpx.Response]]:
    """Requests that keep the service busy until the gate is opened."""
    busy = []
    for n in range(AT_ONCE):
        busy.append(service.start({"text": f"busy {n}"}))
        await gate.calls_are(n + 1)
    return busy


def test_what_comes_meanwhile_is_answered_together_and_each_gets_its_own_answer(tagger: Tagger, gate: Gate) -> None:
    async def use(service: Service) -> None:
        busy = await occupy(service, gate)
        waiting = [service.start({"text": f"It broke {n} times.", "id": str(n)}) for n in range(20)]
        await service.waits_for(20)
        gate.open.set()
        answers = await asyncio.gather(*waiting)
        assert [answer.json()["id"] for answer in answers] == [str(n) for n in range(20)]
        assert {answer.status_code for answer in await asyncio.gather(*busy)} == {200}

    served(tagger, use)
    assert len(gate.calls) <= 2 * AT_ONCE


def test_more_than_may_wait_is_refused_at_once_and_the_rest_is_answered(tagger: Tagger, gate: Gate) -> None:
    async def use(service: Service) -> None:
        sent = [service.start({"text": "It broke."}) for _ in range(100)]
        done, waiting = await asyncio.wait(sent, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert not gate.open.is_set()  # whoever has an answer by now was refused
        gate.open.set()
        answers = [one.result() for one in done] + list(await asyncio.gather(*waiting))
        refused = [answer for answer in answers if answer.status_code == 503]
        assert 0 < len(refused) < 100
        assert all(answer.headers["content-type"] == "application/problem+json" for answer in refused)
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert {answer.status_code for answer in answers} == {200, 503}
        assert (await service.post({"text": "And now?"})).status_code == 200

    served(tagger, use, max_waiting=200)


def test_a_text_larger_than_all_that_may_wait_is_answered_when_nothing_does(tagger: Tagger) -> None:
    async def use(service: Service) -> None:
        assert (await service.post({"text": "It broke. " * 500})).status_code == 200

    served(tagger, use, max_waiting=10)


def test_a_long_text_in_work_keeps_nobody_else_out(tagger: Tagger, gate: Gate) -> None:
    async def use(service: Service) -> None:
        long = service.start({"text": "It broke. " * 5000})
        await gate.calls_are(1)
        others = [service.start({"text": "short"}) for _ in range(5)]
        await service.waits_for(4)
        gate.open.set()
        assert {answer.status_code for answer in await asyncio.gather(long, *others)} == {200}

    served(tagger, use, max_waiting=200)


def test_an_explanation_that_comes_too_late_is_not_begun(tagger: Tagger) -> None:
    async def use(service: Service) -> None:
        late = await service.post({"text": "It broke."}, "/classify?explain=true", **{"X-Request-Timeout": "1e-9"})
        assert late.status_code == 504
        assert (await service.post({"text": "It broke."}, "/classify?explain=true")).status_code == 200

    served(tagger, use)


def test_what_is_not_begun_in_the_time_given_is_not_tagged(tagger: Tagger, gate: Gate) -> None:
    async def use(service: Service) -> None:
        busy = await occupy(service, gate)
        late = service.start({"text": "late"}, **{"X-Request-Timeout": "0.001"})
        soon = service.start({"text": "soon"}, **{"X-Request-Timeout": "600"})
        await service.waits_for(2)
        then = asyncio.get_running_loop().time() + 0.01
        await until(lambda: asyncio.get_running_loop().time() > then)
        gate.open.set()
        assert (await late).status_code == 504
        assert (await soon).status_code == 200
        await asyncio.gather(*busy)
        assert (await service.post({"text": "x"}, **{"X-Request-Timeout": "never"})).status_code == 422

    served(tagger, use)
    assert not any("late" in texts for texts in gate.calls)


def test_a_batch_of_many_never_keeps_a_single_request_waiting(tagger: Tagger, gate: Gate) -> None:
    async def use(service: Service) -> None:
        busy = await occupy(service, gate)
        items = {"items": [{"text": f"It broke {n} times."} for n in range(300)]}
        batch = service.start(items, "/classify/batch")
        await service.waits_for(300)
        single = service.start({"text": "single"})
        await service.waits_for(301)
        gate.open.set()
        assert (await single).status_code == 200
        assert len((await batch).json()["items"]) == 300
        await asyncio.gather(*busy)

    served(tagger, use)
    assert any("single" in texts for texts in gate.calls[AT_ONCE : 2 * AT_ONCE])


def test_a_text_that_breaks_the_model_fails_alone(tagger: Tagger, gate: Gate) -> None:
    async def use(service: Service) -> None:
        busy = await occupy(service, gate)
        waiting = [service.start({"text": text}) for text in ("before", "poison", "after")]
        await service.waits_for(3)
        gate.open.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 500, 200]
        await asyncio.gather(*busy)

    served(tagger, use)


def test_batches_beyond_what_may_be_in_progress_are_refused(tagger: Tagger, gate: Gate) -> None:
    async def use(service: Service) -> None:
        body = {"items": [{"text": "It broke. " * 100}] * 10}
        first = service.start(body, "/classify/batch")
        await gate.calls_are(1)
        assert (await service.post(body, "/classify/batch")).status_code == 503
        gate.open.set()
        assert (await first).status_code == 200
        assert (await service.post(body, "/classify/batch")).status_code == 200

    served(tagger, use, max_waiting_batches=3000)


@pytest.mark.parametrize("path", ["/classify", "/classify/batch"])
def test_what_nobody_waits_for_is_not_tagged(tagger: Tagger, gate: Gate, path: str) -> None:
    gate.open.set()
    item = {"text": "It broke. " * 5000}
    body = json.dumps(item if path == "/classify" else {"items": [item] * 4}).encode()
    messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": b"", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")], "scheme": "http", "server": ("test", 80),
    }  # fmt: skip

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    asyncio.run(asyncio.wait_for(create(tagger, ServeSettings())(scope, receive, send), PATIENCE))
    assert gate.calls == []
