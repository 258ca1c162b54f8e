"""Who may use an endpoint, by the key that they show, and how often."""

from collections.abc import Awaitable, Callable
from math import ceil
from time import time

import structlog
from fastapi import Request, Response
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from earful.errors import InputError
from serving import keys
from serving.errors import problem
from serving.keys import Key, Keys

log = structlog.get_logger()
SHOW = {"WWW-Authenticate": "Bearer"}


class Access:
    """The keys of a service, and how often each was used."""

    def __init__(self, known: Keys) -> None:
        self.keys = known
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check(self, authorization: str | None, scope: keys.Scope) -> Key | None:
        """The key shown in an `Authorization` header, None if none is needed.

        Raises `HTTPException` if it does not open `scope`.
        """
        key = self.known(authorization)
        if key is not None and not key.may(scope):
            raise HTTPException(403, f"the key “{key.name}” may not {scope}; it may {', '.join(key.scopes)}")
        return key

    def known(self, authorization: str | None) -> Key | None:
        """The same, whatever it opens."""
        if not self.keys.required:
            return None
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise HTTPException(401, "show a key: Authorization: Bearer …", SHOW)
        try:
            key = self.keys.find(secret.strip())
        except InputError as error:
            log.error("keys cannot be read", reason=str(error))
            raise HTTPException(503, "keys cannot be read at the moment; the service's log says why") from error
        if key is None:
            raise HTTPException(401, "this key is not known, or was revoked", SHOW)
        return key

    def count(self, key: Key) -> dict[str, str]:
        """Headers that say how often a key may still be used. Raises `HTTPException` if it was too often already."""
        if key.rate is None:
            return {}
        rate = parse(key.rate)
        allowed = self._limiter.hit(rate, key.name)
        headers = self._headers(rate, key)
        if not allowed:
            wait = headers["X-RateLimit-Reset"]
            detail = f"the key “{key.name}” may be used {rate} and was; try again in {wait} s"
            raise HTTPException(429, detail, {**headers, "Retry-After": wait})
        return headers

    def _headers(self, rate: RateLimitItem, key: Key) -> dict[str, str]:
        reset, remaining = self._limiter.get_window_stats(rate, key.name)
        return {
            "X-RateLimit-Limit": str(rate.amount),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(max(1, ceil(reset - time()))),
        }


class Door:
    """ASGI middleware: refuses who shows no key before a body is read, since bodies take memory."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. What has no body is checked by its endpoint alone; webhooks have their own secrets."""
        if scope["type"] == "http" and scope["method"] == "POST" and not scope["path"].startswith("/webhooks/"):
            try:
                self.access.known(Headers(scope=scope).get("authorization"))
            except HTTPException as error:
                answer = problem(error.status_code, error.detail)
                answer.headers.update(error.headers or {})
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def needs(scope: keys.Scope) -> Callable[[Request, Response], Awaitable[None]]:
    """A dependency of endpoints that only keys of that scope open; leaves the key's name in `request.state.key`."""

    async def dependency(request: Request, response: Response) -> None:
        access: Access = request.app.state.access
        key = access.check(request.headers.get("authorization"), scope)
        request.state.key = key.name if key is not None else ""
        if key is not None:
            response.headers.update(access.count(key))

    return dependency
