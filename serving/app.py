"""The application: a loaded bundle behind the contract's endpoints."""

import gc
from pathlib import Path

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from earful import __version__
from earful.tagger import Tagger
from serving import errors
from serving.batching import Batcher, Room
from serving.limits import BodyLimit, Turnstile
from serving.models import Models, load
from serving.routes import about, candidates, classify, topics
from serving.settings import ServeSettings


def create(tagger: Tagger, settings: ServeSettings) -> FastAPI:
    """The service around one tagger."""
    app = FastAPIOffline(  # its /docs needs nothing from the internet
        title="Earful", version=__version__, description="Tags customer feedback.", redoc_url=None
    )
    app.state.settings = settings
    app.state.models = models = Models(tagger, settings)
    app.state.batcher = batcher = Batcher(models.tag, settings.max_waiting)
    app.state.batches = Room(settings.max_waiting_batches)
    app.state.explaining = CapacityLimiter(1)
    app.state.acceptance = CapacityLimiter(1)  # versions of a model are made one after the other
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(Turnstile, path=classify.PATH, batcher=batcher)
    app.include_router(classify.router)
    app.include_router(about.router)
    app.include_router(candidates.router)  # whose paths those of topics would take for ids
    app.include_router(topics.router)
    errors.install(app)
    return app


def from_environment() -> FastAPI:
    """The service as a worker process starts it: `EARFUL_MODEL` is a bundle folder, found once by the parent."""
    settings = WorkerSettings()
    app = create(load(Path(settings.model), settings.model_version, settings), settings)
    gc.collect()
    gc.freeze()  # what is loaded by now stays, and need not be looked through again and again while requests wait
    return app


class WorkerSettings(ServeSettings):
    """What the parent tells its workers on top."""

    model_version: str | None = None
