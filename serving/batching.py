"""Requests that wait are answered together: in turn, in batches of so many tokens, and no more than will be soon.

While one batch is answered the next one gathers, so that nothing waits for company: alone, a request is begun at once,
and under load batches fill by themselves. Each lane (one caller's single requests, or its batches) gives one item in
turn, so that nobody's thousand keep another's one waiting. What would not be answered soon is refused at once.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from anyio import to_thread

from earful.errors import DeadlinePassed, Overloaded
from earful.feedback import Feedback
from earful.tags import Tags

BATCH_TOKENS, BATCH_ITEMS = 2048, 64  # of one batch: some tens of milliseconds with short texts
AT_ONCE = 2  # batches, each on half of the cores: while one is read or written, the other is in the network
BYTES_A_TOKEN = 4  # about as many in every language, since rare characters have more bytes and more tokens
TOKENS_A_REQUEST = 16  # as many as could be read in the time that a request takes besides, half a millisecond
GUESS = 5000.0  # tokens a second, until some were counted
MEMORY = 0.9  # how much of the speed so far stays in that speed


def tokens(text: str) -> int:
    """About how many tokens could be read in the time that a text takes, without looking at it."""
    return len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN + TOKENS_A_REQUEST


class Room:
    """So many tokens may wait; where nothing else does, one may be of any size. What is worked on waits no more."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0

    def check(self, wanted: int, speed: float) -> None:
        """Raises `Overloaded` if there is no room for so many, with the seconds until there is, at so many a second."""
        if self.used and self.used + wanted > self.most:
            raise Overloaded(max(1, ceil(self.used / speed)))

    @contextmanager
    def taken(self, wanted: int, speed: float) -> Iterator[None]:
        """Room for so many tokens while the block lasts. Raises as `check`."""
        self.check(wanted, speed)
        self.used += wanted
        try:
            yield
        finally:
            self.used -= wanted


async def _stays() -> bool:
    return False


@dataclass(frozen=True)
class Caller:
    """Who waits: its lane, until when (on the loop's clock), and how to learn whether it has gone."""

    lane: str = ""
    deadline: float = float("inf")
    gone: Callable[[], Awaitable[bool]] = _stays


@dataclass(eq=False)
class Waiting:
    """One feedback that waits for its tags."""

    item: Feedback
    caller: Caller
    tokens: int
    since: float
    room: Room
    answer: asyncio.Future[Tags] = field(repr=False)

    async def wanted(self, now: float) -> bool:
        """Whether somebody still waits for it; if not, or too late, its answer says so."""
        if self.answer.done():
            return False
        if now > self.caller.deadline or await self.caller.gone():
            self.answer.set_exception(DeadlinePassed())
            return False
        return True


Work = Callable[[Sequence[Feedback]], Sequence[Tags]]


class Listener(Protocol):
    """Is told what is done."""

    def batch(self, items: int, waited: float, took: float) -> None:
        """A batch of so many was answered; the first of them waited, and the batch took, so many seconds."""

    def answer(self, item: Feedback, tags: Tags) -> None:
        """Somebody got an answer."""


class Batcher:
    """Gives `work` what waits, in batches and in threads, and each caller its own answer."""

    def __init__(self, work: Work, most_tokens: int, listeners: Sequence[Listener] = ()) -> None:
        """`work` answers items in order and is called from threads; at most `most_tokens` of single requests wait."""
        self._work, self._listeners = work, listeners
        self._lanes: OrderedDict[str, deque[Waiting]] = OrderedDict()
        self._running = 0
        self._tasks: set[asyncio.Task[None]] = set()  # kept, since the loop alone would let them be collected
        self.room = Room(most_tokens)
        self.speed = GUESS

    @property
    def waiting(self) -> int:
        """How many feedbacks wait to be begun."""
        return sum(map(len, self._lanes.values()))

    async def tag(self, item: Feedback, caller: Caller) -> Tags:
        """Tags for one feedback. Raises `Overloaded` or `DeadlinePassed`."""
        wanted = tokens(item.text)
        self.room.check(wanted, self.speed)
        return await self._join(item, caller, wanted, self.room)

    async def tag_all(self, items: Sequence[Feedback], caller: Caller) -> list[Tags]:
        """Tags for each feedback, in order; whoever calls sees to it that they are not too many."""
        free = Room(0)  # the caller has seen to that
        return await asyncio.gather(*(self._join(item, caller, tokens(item.text), free) for item in items))

    def _join(self, item: Feedback, caller: Caller, wanted: int, room: Room) -> asyncio.Future[Tags]:
        loop = asyncio.get_running_loop()
        room.used += wanted
        one = Waiting(item, caller, wanted, loop.time(), room, loop.create_future())
        self._lanes.setdefault(caller.lane, deque()).append(one)
        if self._running < AT_ONCE:
            self._running += 1
            task = loop.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return one.answer

    async def _run(self) -> None:
        """Answer what waits until nothing does."""
        try:
            while batch := await self._take():
                start = time.perf_counter()
                await self._answer(batch)
                self._note(batch, time.perf_counter() - start)
        finally:
            self._running -= 1  # with nothing awaited since nothing was waiting, so that nothing is left behind

    def _note(self, batch: Sequence[Waiting], took: float) -> None:
        self.speed = MEMORY * self.speed + (1 - MEMORY) * sum(one.tokens for one in batch) / took
        waited = asyncio.get_running_loop().time() - took - min(one.since for one in batch)
        for listener in self._listeners:
            listener.batch(len(batch), max(waited, 0.0), took)

    async def _take(self) -> list[Waiting]:
        """One from each lane in turn, until a batch is full.

        While it is looked whether a caller is still there, another batch may take the next: what waits is shared.
        """
        batch: list[Waiting] = []
        size = 0
        while self._lanes and len(batch) < BATCH_ITEMS:
            lane, waiting = next(iter(self._lanes.items()))
            if batch and size + waiting[0].tokens > BATCH_TOKENS:
                break  # it is the first of the next batch
            one = waiting.popleft()
            one.room.used -= one.tokens
            self._lanes.move_to_end(lane)
            if not waiting:
                del self._lanes[lane]
            if await one.wanted(asyncio.get_running_loop().time()):
                batch.append(one)
                size += one.tokens
        return batch

    async def _answer(self, batch: Sequence[Waiting]) -> None:
        try:
            answers = await to_thread.run_sync(self._work, [one.item for one in batch])
        except Exception as error:  # noqa: BLE001  (whatever it is, it belongs to the one caller whose item caused it)
            if len(batch) == 1:
                _settle(batch[0], error)
            else:
                for one in batch:
                    await self._answer([one])
            return
        for one, tags in zip(batch, answers, strict=True):
            _settle(one, tags)
            for listener in self._listeners:
                listener.answer(one.item, tags)


def _settle(one: Waiting, found: Tags | Exception) -> None:
    if one.answer.done():  # its caller has gone in the meantime
        return
    if isinstance(found, Exception):
        one.answer.set_exception(found)
    else:
        one.answer.set_result(found)
