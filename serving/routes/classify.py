"""The two endpoints that tag."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from earful import feedback
from earful.errors import FeedbackError
from earful.feedback import Feedback
from earful.tagger import Tagger
from earful.tags import Tags
from serving.schemas import BatchItem, BatchRequest, BatchResponse, ItemError, Problem
from serving.settings import ServeSettings

PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (400, 413, 415, 422)}
router = APIRouter(tags=["tagging"], responses=PROBLEMS)


def _tagger(request: Request) -> Tagger:
    tagger: Tagger = request.app.state.tagger
    return tagger


def _settings(request: Request) -> ServeSettings:
    settings: ServeSettings = request.app.state.settings
    return settings


@router.post("/classify")
async def classify(item: Feedback, tagger: Annotated[Tagger, Depends(_tagger)]) -> Tags:
    """Tag one feedback."""
    return (await run_in_threadpool(tagger.tag, [item]))[0]


@router.post("/classify/batch")
async def classify_batch(
    batch: BatchRequest,
    tagger: Annotated[Tagger, Depends(_tagger)],
    settings: Annotated[ServeSettings, Depends(_settings)],
) -> BatchResponse:
    """Tag many feedbacks; the answer has a result or an error for each, in order."""
    if len(batch.items) > settings.max_batch:
        raise HTTPException(
            413, f"{len(batch.items):,} items are too many; send at most {settings.max_batch:,} at a time"
        )
    return BatchResponse(items=await run_in_threadpool(_tag_all, tagger, batch.items))


def _tag_all(tagger: Tagger, items: list[Any]) -> list[BatchItem]:
    parsed = [_parse(item) for item in items]
    tags = iter(tagger.tag([item for item in parsed if isinstance(item, Feedback)]))
    return [BatchItem(tags=next(tags)) if isinstance(item, Feedback) else BatchItem(error=item) for item in parsed]


def _parse(item: Any) -> Feedback | ItemError:
    try:
        return feedback.parse(item)
    except FeedbackError as error:
        return ItemError(field=error.field, reason=error.reason)
