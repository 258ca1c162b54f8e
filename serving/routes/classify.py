"""The two endpoints that tag."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException

from earful import explain as evidence
from earful import feedback
from earful.emerging import Watch
from earful.errors import FeedbackError
from earful.feedback import Feedback
from earful.tagger import Hearer, Tagger
from earful.tags import Tags
from serving.routes.parameters import no_strangers
from serving.schemas import BatchItem, BatchRequest, BatchResponse, ItemError, Problem
from serving.settings import ServeSettings

PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (400, 413, 415, 422)}
CHUNK_CHARS = 50_000  # of a batch that are tagged at a time: a second or so, after which a caller may have gone
Made = TypeVar("Made")
router = APIRouter(tags=["tagging"], responses=PROBLEMS, dependencies=[Depends(no_strangers)])


def _tagger(request: Request) -> Tagger:
    tagger: Tagger = request.app.state.tagger
    return tagger


def _settings(request: Request) -> ServeSettings:
    settings: ServeSettings = request.app.state.settings
    return settings


def _hearer(request: Request) -> Hearer | None:
    watch: Watch | None = request.app.state.watch
    return watch.hear if watch is not None else None


async def _answer(request: Request, limiter: CapacityLimiter, work: Callable[..., Made], *given: Any) -> Made | None:
    """Work in a thread, when there is room for it; None if the caller has gone by then."""
    async with limiter:
        if await request.is_disconnected():
            return None
        return await to_thread.run_sync(work, *given)


@router.post("/classify")
async def classify(
    request: Request,
    item: Feedback,
    tagger: Annotated[Tagger, Depends(_tagger)],
    settings: Annotated[ServeSettings, Depends(_settings)],
    hear: Annotated[Hearer | None, Depends(_hearer)],
    explain: Annotated[bool, Query(description="Say which spans of the text carried the answer.")] = False,
) -> Tags:
    """Tag one feedback."""
    if explain and len(item.text) > settings.max_explain_chars:
        raise HTTPException(413, f"texts of at most {settings.max_explain_chars:,} characters are explained")
    tags = await _answer(request, request.app.state.singles, _tag_one, tagger, item, explain, hear)
    if tags is None:
        raise HTTPException(503, "the caller has gone")  # which nobody reads
    return tags


def _tag_one(tagger: Tagger, item: Feedback, explain: bool, hear: Hearer | None) -> Tags:
    tags = tagger.tag([item], hear)[0]
    return evidence.explain(tagger, item, tags) if explain else tags


@router.post("/classify/batch")
async def classify_batch(
    request: Request,
    batch: BatchRequest,
    tagger: Annotated[Tagger, Depends(_tagger)],
    settings: Annotated[ServeSettings, Depends(_settings)],
    hear: Annotated[Hearer | None, Depends(_hearer)],
) -> BatchResponse:
    """Tag many feedbacks; the answer has a result or an error for each, in order."""
    if len(batch.items) > settings.max_batch:
        raise HTTPException(
            413, f"{len(batch.items):,} items are too many; send at most {settings.max_batch:,} at a time"
        )
    if (chars := sum(map(_chars, batch.items))) > settings.max_batch_chars:
        raise HTTPException(
            413, f"{chars:,} characters of text are too many; send at most {settings.max_batch_chars:,} at a time"
        )
    answers: list[BatchItem] = []
    for chunk in _chunks(batch.items):
        found = await _answer(request, request.app.state.batches, _tag_all, tagger, chunk, hear)
        if found is None:  # nobody is waiting any more
            break
        answers += found
    return BatchResponse(items=answers)


def _chars(item: Any) -> int:
    text = item.get("text") if isinstance(item, dict) else None
    return len(text) if isinstance(text, str) else 0


def _chunks(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Items in order, so many at a time that their text is about `CHUNK_CHARS` long."""
    chunk: list[Any] = []
    chars = 0
    for item in items:
        chunk.append(item)
        chars += _chars(item)
        if chars >= CHUNK_CHARS:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def _tag_all(tagger: Tagger, items: Sequence[Any], hear: Hearer | None) -> list[BatchItem]:
    parsed = [_parse(item) for item in items]
    tags = iter(tagger.tag([item for item in parsed if isinstance(item, Feedback)], hear))
    return [BatchItem(tags=next(tags)) if isinstance(item, Feedback) else BatchItem(error=item) for item in parsed]


def _parse(item: Any) -> Feedback | ItemError:
    try:
        return feedback.parse(item)
    except FeedbackError as error:
        return ItemError(field=error.field, reason=error.reason)
