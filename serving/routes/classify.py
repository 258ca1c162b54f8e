"""The two endpoints that tag."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException

from earful import explain as evidence
from earful import feedback
from earful.errors import DeadlinePassed, FeedbackError
from earful.feedback import Feedback
from earful.tags import Tags
from serving.batching import Batcher, Caller, tokens
from serving.routes.access import needs
from serving.routes.caller import caller
from serving.routes.parameters import no_strangers
from serving.schemas import BatchItem, BatchRequest, BatchResponse, ItemError, Problem
from serving.settings import ServeSettings

PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (400, 413, 415, 503, 504)}
CHUNK_CHARS = 50_000  # of a batch that wait at a time: a second or so, after which a caller may have gone
PATH = "/classify"
EXPLAINING = 14  # times as much as a plain answer
BATCH_LANE = "batch of "  # a caller's batches wait in a lane of their own, and never before its single requests
router = APIRouter(
    tags=["tagging"], responses=PROBLEMS, dependencies=[Depends(no_strangers), Depends(needs("classify"))]
)


async def _settings(request: Request) -> ServeSettings:
    settings: ServeSettings = request.app.state.settings
    return settings


async def _batcher(request: Request) -> Batcher:
    batcher: Batcher = request.app.state.batcher
    return batcher


@router.post(PATH)
async def classify(
    request: Request,
    item: Feedback,
    batcher: Annotated[Batcher, Depends(_batcher)],
    settings: Annotated[ServeSettings, Depends(_settings)],
    who: Annotated[Caller, Depends(caller)],
    explain: Annotated[bool, Query(description="Say which spans of the text carried the answer.")] = False,
) -> Tags:
    """Tag one feedback."""
    if explain and len(item.text) > settings.max_explain_chars:
        raise HTTPException(413, f"texts of at most {settings.max_explain_chars:,} characters are explained")
    if not explain:
        return await batcher.tag(item, who)
    wanted = EXPLAINING * tokens(item.text)
    with request.app.state.explanations.taken(wanted, batcher.speed):
        return await _explained(request, item, who)


async def _explained(request: Request, item: Feedback, who: Caller) -> Tags:
    async with request.app.state.explaining:
        if asyncio.get_running_loop().time() > who.deadline or await who.gone():
            raise DeadlinePassed()
        tagger = request.app.state.models.now.tagger  # that answers and explains, whatever is swapped meanwhile
        return await to_thread.run_sync(lambda: evidence.explain(tagger, item, tagger.tag([item])[0]))


@router.post("/classify/batch")
async def classify_batch(
    request: Request,
    batch: BatchRequest,
    batcher: Annotated[Batcher, Depends(_batcher)],
    settings: Annotated[ServeSettings, Depends(_settings)],
    who: Annotated[Caller, Depends(caller)],
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
    parsed = [_parse(item) for item in batch.items]
    size = sum(tokens(item.text) for item in parsed if isinstance(item, Feedback))
    with request.app.state.batches.taken(size, batcher.speed):
        return BatchResponse(items=await _answers(parsed, batcher, replace(who, lane=BATCH_LANE + who.lane)))


async def _answers(parsed: Sequence[Feedback | ItemError], batcher: Batcher, who: Caller) -> list[BatchItem]:
    """The answers in order, a part of them if nobody waits for them any more."""
    answers: list[BatchItem] = []
    for chunk in _chunks(parsed):
        if await who.gone():
            break
        tags = iter(await batcher.tag_all([item for item in chunk if isinstance(item, Feedback)], who))
        answers += [
            BatchItem(tags=next(tags)) if isinstance(item, Feedback) else BatchItem(error=item) for item in chunk
        ]
    return answers


def _chars(item: Any) -> int:
    text = item.get("text") if isinstance(item, dict) else None
    return len(text) if isinstance(text, str) else 0


def _chunks(items: Sequence[Feedback | ItemError]) -> Iterator[list[Feedback | ItemError]]:
    """Items in order, so many at a time that their text is about `CHUNK_CHARS` long."""
    chunk: list[Feedback | ItemError] = []
    chars = 0
    for item in items:
        chunk.append(item)
        chars += len(item.text) if isinstance(item, Feedback) else 0
        if chars >= CHUNK_CHARS:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def _parse(item: Any) -> Feedback | ItemError:
    try:
        return feedback.parse(item)
    except FeedbackError as error:
        return ItemError(field=error.field, reason=error.reason)
