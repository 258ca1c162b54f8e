"""The application: a loaded bundle behind the contract's endpoints."""

from pathlib import Path

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from earful import __version__
from earful.emerging import Watch
from earful.tagger import Tagger
from serving import errors
from serving.limits import BodyLimit
from serving.routes import about, candidates, classify, topics
from serving.settings import ServeSettings

SINGLES, BATCHES = 4, 1  # of each kind that are answered at once; more would take memory, and none would be sooner


def create(tagger: Tagger, settings: ServeSettings) -> FastAPI:
    """The service around one tagger."""
    app = FastAPIOffline(  # its /docs needs nothing from the internet
        title="Earful", version=__version__, description="Tags customer feedback.", redoc_url=None
    )
    app.state.tagger, app.state.settings = tagger, settings
    app.state.singles, app.state.batches = CapacityLimiter(SINGLES), CapacityLimiter(BATCHES)
    app.state.acceptance = CapacityLimiter(1)  # versions of a model are made one after the other
    app.state.watch = _watch(tagger, settings)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.include_router(classify.router)
    app.include_router(about.router)
    app.include_router(candidates.router)  # whose paths those of topics would take for ids
    app.include_router(topics.router)
    errors.install(app)
    return app


def _watch(tagger: Tagger, settings: ServeSettings) -> Watch | None:
    """For new topics, if the model knows what earlier messages were like and one process hears them all."""
    topics = tagger.bundle.topics
    if topics is None or topics.past is None or settings.workers > 1:
        return None
    return Watch(topics.past, topics.reading)


def from_environment() -> FastAPI:
    """The service as a worker process starts it: `EARFUL_MODEL` is a bundle folder, found once by the parent."""
    settings = WorkerSettings()
    return create(Tagger.load(Path(settings.model), settings.model_version, settings.threads), settings)


class WorkerSettings(ServeSettings):
    """What the parent tells its workers on top."""

    model_version: str | None = None
