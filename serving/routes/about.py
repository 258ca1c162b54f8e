"""The endpoints that say how the service is and what it serves."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException

from earful.drift import CHANGED, FEWEST, Drift
from earful.tagger import Tagger
from earful.taxonomy import Taxonomy
from serving.following import Follower
from serving.routes.access import needs
from serving.routes.parameters import no_strangers
from serving.schemas import DriftInfo, Health, ModelInfo, Problem, RefusedModel
from serving.sight import Figures

READ = [Depends(needs("read"))]
router = APIRouter(tags=["about"], dependencies=[Depends(no_strangers)])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive."""
    return Health(status="ok")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz")
async def readyz() -> Health:
    """The model is loaded and has passed its smoke test; nothing is answered before that."""
    return Health(status="ok")


@router.get("/metrics", dependencies=READ, response_class=PlainTextResponse)
async def metrics(request: Request) -> PlainTextResponse:
    """Figures for Prometheus."""
    figures: Figures = request.app.state.figures
    return PlainTextResponse(figures.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


@router.get("/model", dependencies=READ)
async def model(request: Request) -> ModelInfo:
    """The model that is answering: where it came from, what it can say, how good it was measured to be."""
    tagger: Tagger = request.app.state.models.now.tagger
    manifest = tagger.bundle.manifest
    return ModelInfo(
        version=tagger.ref.version,
        bundle=tagger.ref.bundle,
        taxonomy=tagger.ref.taxonomy,
        base_model=manifest.base_model,
        created_at=manifest.created_at,
        run_id=manifest.run_id,
        categories=list(manifest.labels.category),
        urgencies=list(manifest.labels.urgency),
        metrics=manifest.metrics,
        tiers=[rule.model_dump() for rule in tagger.bundle.policy.tiers],
        refused=_refused(request.app.state.follower),
    )


@router.get("/drift", dependencies=READ, responses={404: {"model": Problem}})
async def drift(request: Request) -> DriftInfo:
    """Whether the last answers are still like those to the rows that the model was measured on."""
    found: Drift | None = request.app.state.models.now.drift
    if found is None:
        raise HTTPException(404, "the model that answers does not know what it was measured on; train it again")
    indices = found.indices()
    changed = [thing for thing, index in indices.items() if index >= CHANGED]
    return DriftInfo(
        answers=found.rows, needed=FEWEST, rows=found.known.rows, threshold=CHANGED, indices=indices, changed=changed
    )


def _refused(follower: Follower | None) -> RefusedModel | None:
    found = follower.refused if follower is not None else None
    return RefusedModel(model=found.model, reason=found.reason, at=found.at) if found is not None else None


@router.get("/taxonomy", dependencies=READ)
async def taxonomy(request: Request) -> Taxonomy:
    """The taxonomy of the model that is answering."""
    tagger: Tagger = request.app.state.models.now.tagger
    return tagger.bundle.taxonomy
