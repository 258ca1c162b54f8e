"""The endpoints that say what customers talk about."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from earful.tagger import Tagger
from earful.topics import Topics
from serving.routes.access import needs
from serving.routes.parameters import no_strangers
from serving.schemas import Problem, TopicDetail, TopicList

router = APIRouter(
    tags=["topics"], dependencies=[Depends(no_strangers), Depends(needs("read"))], responses={404: {"model": Problem}}
)


async def _topics(request: Request) -> Topics:
    tagger: Tagger = request.app.state.models.now.tagger
    if tagger.bundle.topics is None:
        raise HTTPException(404, "the model that is answering knows no topics; `earful topics fit` finds them")
    return tagger.bundle.topics


@router.get("/topics")
async def topics(known: Annotated[Topics, Depends(_topics)]) -> TopicList:
    """The topics that messages are given to, largest first, as the last fit saw them."""
    found = sorted(known.catalogue.active, key=lambda topic: -topic.size)
    return TopicList(topics=found, metrics=known.catalogue.metrics)


@router.get("/topics/map", response_class=HTMLResponse)
async def topics_map(known: Annotated[Topics, Depends(_topics)]) -> HTMLResponse:
    """A page to look at: the map of topics, their words, how they join, and when each was talked about."""
    return HTMLResponse(known.page)


@router.get("/topics/{id}")
async def topic(id: Annotated[int, Path(ge=1)], known: Annotated[Topics, Depends(_topics)]) -> TopicDetail:
    """One topic, be it retired, with all that became of it."""
    found = known.catalogue.find(id)
    if found is None:
        raise HTTPException(404, f"there is no topic {id}")
    return TopicDetail(**found.model_dump(), lineage=known.catalogue.lineage(id))
