"""Refusing requests before they are read: bodies that are too large, and more than will soon be answered."""

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earful.errors import Overloaded
from serving.batching import BYTES_A_TOKEN, Batcher
from serving.errors import overloaded, problem


class BodyLimit:
    """ASGI middleware: answers 413 to a body over `limit` bytes, whether its length was declared or not."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting its bytes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        detail = f"the body is larger than {self.limit:,} bytes; send less at a time"
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.limit:
            await problem(413, detail)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise HTTPException(413, detail)  # of all exceptions, the one that FastAPI does not call a bad body
            return message

        await self.app(scope, counted, send)


class Turnstile:
    """ASGI middleware: answers 503 to a request to tag one feedback when no more may wait.

    It stands before everything else and writes no line: whoever asks more than can be answered takes no more time than
    this of those who are answered.
    """

    def __init__(self, app: ASGIApp, path: str, batcher: Batcher, refused: Callable[[], None]) -> None:
        """`refused` is told of each."""
        self.app, self.path, self.batcher, self.refused = app, path, batcher, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if there is room for it, by the length that it says it has."""
        if scope["type"] == "http" and scope["path"] == self.path:
            declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
            size = int(declared) if declared.isdigit() else 0
            try:
                self.batcher.room.check(size // BYTES_A_TOKEN, self.batcher.speed)
            except Overloaded as error:
                self.refused()
                await overloaded(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)
