"""The application: a loaded bundle behind the contract's endpoints."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from earful import __version__
from earful.tagger import Tagger
from serving import errors, logs
from serving.batching import Batcher, Room
from serving.following import Follower
from serving.keys import Keys
from serving.limits import BodyLimit, Turnstile
from serving.models import Models, load
from serving.routes import about, candidates, classify, topics, webhooks
from serving.routes import shadow as comparison
from serving.routes.access import Access, Door
from serving.schemas import Problem
from serving.settings import ServeSettings
from serving.shadow import Shadow
from serving.sight import Figures, Seen


def create(tagger: Tagger, settings: ServeSettings, followed: str | None = None) -> FastAPI:
    """The service around one tagger; it takes over what is behind the name `followed`, if one is given."""
    models, shadow = Models(tagger, settings), Shadow(settings.shadow_share)
    follower = Follower(followed, settings, lambda: models.now.tagger.ref.identity, models.swap) if followed else None
    followers = [follower] if follower and settings.follow_seconds else []
    if settings.shadow is not None:
        followers.append(Follower(settings.shadow, settings, lambda: shadow.identity, shadow.swap))
    facts: dict[str, Any] = {"title": "Earful", "version": __version__, "description": "Tags customer feedback."}
    facts["responses"] = {status: {"model": Problem} for status in (401, 403, 422, 429)}
    facts |= {"redoc_url": None, "lifespan": _running(followers)}
    # Of what FastAPI reports by OpenTelemetry, its logs may hold what customers wrote, and metrics there are already.
    facts["telemetry"] = {
        "tracing": settings.traces,
        "auto_configure": settings.traces,
        "logs": False,
        "metrics": False,
    }
    # FastAPIOffline's /docs needs nothing from the internet
    app = FastAPIOffline(**facts) if settings.has_docs else FastAPI(**facts, openapi_url=None)
    app.state.access = access = Access(Keys(settings.keys, settings.keys_required))
    app.state.settings, app.state.models, app.state.shadow, app.state.follower = settings, models, shadow, follower
    app.state.figures = figures = Figures(app.state)
    app.state.batcher = batcher = Batcher(models.tag, settings.max_waiting, [models, shadow, figures])
    app.state.answered = webhooks.Answered(batcher)
    app.state.batches = Room(settings.max_waiting_batches)
    app.state.explaining, app.state.explanations = CapacityLimiter(1), Room(settings.max_waiting)
    app.state.acceptance = CapacityLimiter(1)  # versions of a model are made one after the other
    if settings.cors:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors, allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(Door, access=access)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(Seen, figures=figures, log_requests=settings.log_requests)
    refused = figures.requests.labels(classify.PATH, 503).inc
    app.add_middleware(Turnstile, path=classify.PATH, batcher=batcher, refused=refused)
    app.include_router(classify.router)
    app.include_router(webhooks.router)
    app.include_router(about.router)
    app.include_router(comparison.router)
    app.include_router(candidates.router)  # whose paths those of topics would take for ids
    app.include_router(topics.router)
    errors.install(app)
    return app


def _running(followers: list[Follower]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(follower.run()) for follower in followers]
        yield
        for task in tasks:
            task.cancel()

    return lifespan


def from_environment() -> FastAPI:
    """The service as a worker process starts it: `EARFUL_MODEL` is a bundle folder, found once by the parent."""
    logs.configure()
    settings = WorkerSettings()
    app = create(load(Path(settings.model), settings.model_version, settings), settings, settings.followed)
    gc.collect()
    gc.freeze()  # what is loaded by now stays, and need not be looked through again and again while requests wait
    return app


class WorkerSettings(ServeSettings):
    """What the parent tells its workers on top."""

    model_version: str | None = None
    followed: str | None = None
