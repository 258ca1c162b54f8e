"""What the service shows of itself: figures for Prometheus, and a line in the log for each request."""

import os
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.datastructures import MutableHeaders, State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earful.drift import CHANGED
from earful.feedback import Feedback
from earful.tags import Tags

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ITEMS = (1, 2, 4, 8, 16, 32, 64)
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own variable: where several workers count together
ID = re.compile(r"[\w.:-]{1,100}")  # of a request, as a caller may send it
REQUEST_ID = "X-Request-ID"
ELSEWHERE = "other"  # the path of requests that no endpoint is for: their paths are anybody's to invent
log = structlog.get_logger()


class Figures:
    """Counts and times since the process began; listens to what is answered."""

    def __init__(self, state: State) -> None:
        """`state` is the application's, of which the rest is read when somebody asks."""
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("earful_requests", "Requests.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "earful_request_seconds", "Time from request to answer.", ["path"], buckets=SECONDS, registry=registry
        )
        self.stages = Histogram(
            "earful_batch_seconds", "Longest wait for a batch, and its time in the model.", ["stage"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.items = Histogram("earful_batch_items", "Feedbacks answered together.", buckets=ITEMS, registry=registry)
        self.answers = {
            head: Counter(f"earful_answers_by_{head}", f"Answers by {head}.", [head], registry=registry)
            for head in ("category", "tier", "urgency", "outcome")
        }
        self._now = _Now(state)
        registry.register(self._now)

    def batch(self, items: int, waited: float, took: float) -> None:
        """A batch was answered."""
        self.items.observe(items)
        self.stages.labels("waiting").observe(waited)
        self.stages.labels("model").observe(took)

    def answer(self, item: Feedback, tags: Tags) -> None:
        """Somebody got an answer."""
        self.answers["category"].labels(tags.category.name).inc()
        self.answers["tier"].labels(tags.category.tier).inc()
        self.answers["outcome"].labels(tags.outcome).inc()
        if tags.urgency is not None:
            self.answers["urgency"].labels(tags.urgency.level).inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it; counts and times are of all workers, the rest of the one that is asked."""
        if not os.environ.get(MULTIPROCESS):
            return generate_latest(self.registry)
        every = CollectorRegistry()
        MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        every.register(self._now)
        return generate_latest(every)


class _Now(Collector):
    """What is so at the moment."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Figures that need no counting."""
        state = self._state
        yield GaugeMetricFamily("earful_waiting", "Feedbacks that wait to be begun.", state.batcher.waiting)
        yield GaugeMetricFamily("earful_waiting_tokens", "Tokens of requests in progress.", state.batcher.room.used)
        ref = state.models.now.tagger.ref
        model = InfoMetricFamily("earful_model", "The model that answers.")
        model.add_metric([], {"version": ref.version or "", "bundle": ref.bundle, "taxonomy": ref.taxonomy})
        yield model
        drift = state.models.now.drift
        indices = GaugeMetricFamily(
            "earful_drift", f"Population stability index; from {CHANGED} on it is not what was learned.", labels=["of"]
        )
        for thing, index in (drift.indices() if drift is not None else {}).items():
            indices.add_metric([thing], index)
        yield indices
        if state.follower is not None:
            yield CounterMetricFamily("earful_swaps", "Models taken over.", value=state.follower.swaps)
            yield CounterMetricFamily("earful_refused_models", "Models refused.", value=state.follower.refusals)
        for name, count in state.shadow.counts.items():
            yield CounterMetricFamily(f"earful_shadow_{name}", "Answers that the shadow was asked too.", value=count)


class Seen:
    """ASGI middleware: gives each request an id, counts it, and writes its line."""

    def __init__(self, app: ASGIApp, figures: Figures, log_requests: bool) -> None:
        self.app, self.figures, self.log_requests = app, figures, log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent, start, status = _id(scope), time.perf_counter(), 500

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = sent
            await send(message)

        try:
            await self.app(scope, receive, answered)
        finally:
            self._note(scope, sent, status, time.perf_counter() - start)

    def _note(self, scope: Scope, sent: str, status: int, took: float) -> None:
        path = getattr(scope.get("route"), "path", ELSEWHERE)
        self.figures.requests.labels(path, status).inc()
        self.figures.seconds.labels(path).observe(took)
        if self.log_requests:
            facts: dict[str, Any] = {"method": scope["method"], "path": path, "status": status}
            if name := scope.get("state", {}).get("key"):
                facts["key"] = name
            log.info("request", id=sent, ms=round(took * 1e3, 1), **facts)


def _id(scope: Scope) -> str:
    """The id that a caller sent, if it can be one, or a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return given if ID.fullmatch(given) else uuid.uuid4().hex
