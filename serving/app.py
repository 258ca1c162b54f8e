"""The application: a loaded bundle behind the contract's endpoints."""

from pathlib import Path

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from earful import __version__
from earful.tagger import Tagger
from serving import errors
from serving.limits import BodyLimit
from serving.routes import about, classify, topics
from serving.settings import ServeSettings

SINGLES, BATCHES = 4, 1  # of each kind that are answered at once; more would take memory, and none would be sooner


def create(tagger: Tagger, settings: ServeSettings) -> FastAPI:
    """The service around one tagger."""
    app = FastAPIOffline(  # its /docs needs nothing from the internet
        title="Earful", version=__version__, description="Tags customer feedback.", redoc_url=None
    )
    app.state.tagger, app.state.settings = tagger, settings
    app.state.singles, app.state.batches = CapacityLimiter(SINGLES), CapacityLimiter(BATCHES)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.include_router(classify.router)
    app.include_router(about.router)
    app.include_router(topics.router)
    errors.install(app)
    return app


def from_environment() -> FastAPI:
    """The service as a worker process starts it: `EARFUL_MODEL` is a bundle folder, found once by the parent."""
    settings = WorkerSettings()
    return create(Tagger.load(Path(settings.model), settings.model_version, settings.threads), settings)


class WorkerSettings(ServeSettings):
    """What the parent tells its workers on top."""

    model_version: str | None = None
