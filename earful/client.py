"""A client of the service: `Earful` and, for asyncio, `AsyncEarful`. Needs nothing of a model.

with Earful("https://earful.example", key="earful_…") as earful:
    tags = earful.classify("You charged me twice.", id="ticket-7")
    answers = earful.classify_many([{"text": "Cold food again."}, {"text": ""}])
"""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_retries import Retry, RetryTransport

from earful.errors import FeedbackError, ServiceError
from earful.tags import Tags

LOCAL = "http://127.0.0.1:8000"
TIMEOUT = 10.0  # seconds
RETRIES, BACKOFF = 4, 0.2  # tries after the first; seconds before the first of them, twice as many before each other
AT_ONCE = 500  # feedbacks in one request

Item = Mapping[str, Any]


def _retrying(retries: int) -> Retry:
    """Tagging changes nothing, so that it may be tried again; the service says when (`Retry-After`)."""
    return Retry(total=retries, backoff_factor=BACKOFF, allowed_methods=["GET", "POST"])


def _headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _single(text: str, explain: bool, fields: Item) -> dict[str, Any]:
    params = {"explain": "true"} if explain else {}
    return {"url": "/classify", "json": {"text": text, **fields}, "params": params}


def _many(items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(items), AT_ONCE):
        yield {"url": "/classify/batch", "json": {"items": list(items[start : start + AT_ONCE])}}


def _read(answer: httpx.Response) -> Any:
    """What was answered. Raises `ServiceError` with the service's own words."""
    if answer.is_success:
        return answer.json()
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):  # a proxy's page
        detail = answer.reason_phrase
    raise ServiceError(answer.status_code, f"{answer.url}: {answer.status_code}: {detail}")


def _unreachable(error: httpx.HTTPError) -> ServiceError:
    return ServiceError(None, f"{error.request.url}: cannot be reached: {error or type(error).__name__}")


def _tags(answers: Sequence[Any]) -> list[Tags | FeedbackError]:
    return [
        FeedbackError(**answer["error"]) if answer["error"] else Tags.model_validate(answer["tags"])
        for answer in answers
    ]


class Earful:
    """The service at an address. Safe to share between threads."""

    def __init__(
        self, address: str = LOCAL, key: str | None = None, timeout: float = TIMEOUT, retries: int = RETRIES
    ) -> None:
        """`timeout` is in seconds, of each try; `retries` are the tries after the first."""
        transport = RetryTransport(httpx.HTTPTransport(), _retrying(retries))
        self._http = httpx.Client(base_url=address, headers=_headers(key), timeout=timeout, transport=transport)

    def classify(self, text: str, *, explain: bool = False, **fields: Any) -> Tags:
        """Tags for one text; `fields` are the others of a feedback. Raises `ServiceError`."""
        return Tags.model_validate(self._ask(_single(text, explain, fields)))

    def classify_many(self, items: Sequence[Item]) -> list[Tags | FeedbackError]:
        """Tags, or what is wrong with it, for each feedback, in order. Raises `ServiceError`."""
        return [tags for request in _many(items) for tags in _tags(self._ask(request)["items"])]

    def _ask(self, request: dict[str, Any]) -> Any:
        try:
            return _read(self._http.post(**request))
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    def close(self) -> None:
        """Give back its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncEarful:
    """The same for asyncio."""

    def __init__(
        self, address: str = LOCAL, key: str | None = None, timeout: float = TIMEOUT, retries: int = RETRIES
    ) -> None:
        """As `Earful`."""
        transport = RetryTransport(httpx.AsyncHTTPTransport(), _retrying(retries))
        self._http = httpx.AsyncClient(base_url=address, headers=_headers(key), timeout=timeout, transport=transport)

    async def classify(self, text: str, *, explain: bool = False, **fields: Any) -> Tags:
        """As `Earful.classify`."""
        return Tags.model_validate(await self._ask(_single(text, explain, fields)))

    async def classify_many(self, items: Sequence[Item]) -> list[Tags | FeedbackError]:
        """As `Earful.classify_many`."""
        return [tags for request in _many(items) for tags in _tags((await self._ask(request))["items"])]

    async def _ask(self, request: dict[str, Any]) -> Any:
        try:
            return _read(await self._http.post(**request))
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        """Give back its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
