"""The endpoint that says how a second model compares."""

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException

from serving.routes.access import needs
from serving.routes.parameters import no_strangers
from serving.schemas import Comparison, Problem, Side, Sides
from serving.shadow import Shadow

router = APIRouter(
    tags=["about"], dependencies=[Depends(no_strangers), Depends(needs("admin"))], responses={404: {"model": Problem}}
)


@router.get("/shadow")
async def shadow(request: Request) -> Comparison:
    """What the model that answers and the one in its shadow say differently, the latest first."""
    found: Shadow = request.app.state.shadow
    if found.tagger is None:
        raise HTTPException(404, "no model answers in the shadow; `earful serve --shadow challenger` lets one")
    return Comparison(
        model=found.tagger.ref,
        share=found.share,
        compared=found.counts["compared"],
        category_differs=found.counts["category"],
        urgency_differs=found.counts["urgency"],
        differing=[
            Sides(text=one.text, answered=Side.of(one.answered), shadow=Side.of(one.shadow))
            for one in reversed(found.kept)
        ],
    )
