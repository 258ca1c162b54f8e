"""The endpoints that say what customers have begun to talk about, and let a person make topics of it."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Request
from starlette.exceptions import HTTPException

from earful.emerging import Candidate, Watch
from earful.errors import InputError
from earful.redact import shown
from earful.tagger import Tagger
from serving.acceptance import accept
from serving.routes.access import needs
from serving.routes.parameters import no_strangers
from serving.schemas import AcceptedTopic, CandidateInfo, CandidateList, NewTopic, Problem

SHOWN = 10  # messages of a candidate: the latest
LABEL = [Depends(needs("label"))]
router = APIRouter(
    prefix="/topics/candidates",
    tags=["topics"],
    dependencies=[Depends(no_strangers)],
    responses={404: {"model": Problem}},
)


async def _watch(request: Request) -> Watch:
    watch: Watch | None = request.app.state.models.now.watch
    if watch is not None:
        return watch
    if request.app.state.settings.workers > 1:
        raise HTTPException(404, "each of several workers hears a part; candidates are found by a service with one")
    raise HTTPException(404, "the model that answers knows no topics; `earful topics fit` finds them")


async def _candidate(watch: Annotated[Watch, Depends(_watch)], id: Annotated[int, Path(ge=1)]) -> Candidate:
    found = next((one for one in watch.candidates if one.id == id), None)
    if found is None:
        raise HTTPException(404, f"there is no candidate {id}; candidates are forgotten when the service starts anew")
    return found


def _info(candidate: Candidate, keywords: list[str]) -> CandidateInfo:
    return CandidateInfo(
        id=candidate.id,
        size=candidate.size,
        times=candidate.times,
        since=candidate.since,
        until=candidate.until,
        keywords=keywords,
        examples=[shown(message.text) for message in list(candidate.messages)[-SHOWN:]],
    )


@router.get("", dependencies=[Depends(needs("read"))])
def candidates(watch: Annotated[Watch, Depends(_watch)]) -> CandidateList:
    """What many of the last messages say that few of the fit did, the latest first."""
    found = watch.candidates
    return CandidateList(candidates=list(map(_info, found, watch.keywords(found))))


@router.post("/{id}", dependencies=LABEL, status_code=201, responses={409: {"model": Problem}})
async def accept_candidate(
    request: Request,
    wanted: NewTopic,
    watch: Annotated[Watch, Depends(_watch)],
    candidate: Annotated[Candidate, Depends(_candidate)],
) -> AcceptedTopic:
    """Make a topic of a candidate, under a name; messages are given to it from the answer on."""
    state = request.app.state
    async with state.acceptance:
        if candidate.id not in {one.id for one in watch.candidates}:
            raise HTTPException(409, f"candidate {candidate.id} was accepted or dismissed by somebody else meanwhile")
        if state.follower is not None and await state.follower.is_behind():
            raise HTTPException(409, "the model has changed, and the service is about to take it over; try again")
        tagger: Tagger = state.models.now.tagger
        try:
            made = await to_thread.run_sync(accept, candidate, wanted.label, tagger, state.settings)
        except InputError as error:
            raise HTTPException(409, str(error)) from error
        state.models.extend(made.tagger)
        watch.dismiss(candidate.id)
    return AcceptedTopic(
        topic=made.topic, label=wanted.label, version=made.tagger.ref.version, champion=made.is_champion
    )


@router.delete("/{id}", dependencies=LABEL, status_code=204)
async def dismiss_candidate(
    watch: Annotated[Watch, Depends(_watch)], candidate: Annotated[Candidate, Depends(_candidate)]
) -> None:
    """Forget a candidate; none like it appears until the service starts anew."""
    watch.dismiss(candidate.id)
