"""Starting the service: find the model once, then let uvicorn run the workers."""

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from earful.errors import InputError, ModelNotFound
from earful.settings import RegistrySettings
from earful.tagger import Tagger
from serving.keys import Keys
from serving.registry import Found, fetched, standing_for
from serving.settings import ServeSettings
from serving.sight import MULTIPROCESS

GRACE_SECONDS = 20  # that requests in progress are given when the service is told to stop


def serve(settings: ServeSettings, console: Console) -> None:
    """Listen until stopped. Raises `InputError`, `ModelNotFound` or a `BundleError` before anything listens."""
    _check_access(settings)
    _check_address(settings)
    with fetched(settings.model) as found:
        _hand_down(settings, found)
        if settings.workers > 1:
            Tagger.load(Path(found.folder))  # refused here, once, and not by workers that are replaced for ever
            with tempfile.TemporaryDirectory(prefix="earful-metrics-") as counts:
                os.environ[MULTIPROCESS] = counts
                # each reads the bundle for itself, as does the one that replaces it if it dies
                _listen("serving.app:from_environment", settings, console)
            return
        from serving.app import from_environment

        app = from_environment()
    _listen(app, settings, console)  # the bundle is in memory, and its folder gone even if a signal ends us


def _check_access(settings: ServeSettings) -> None:
    Keys(settings.keys)  # a file that cannot be used is said now
    if "keys" in settings.model_fields_set and not settings.keys.exists():
        raise InputError(f"{settings.keys}: there is no such file of keys; `earful keys create NAME` makes it")
    if settings.shadow is not None:
        try:
            standing_for(settings.shadow, RegistrySettings())
        except ModelNotFound as error:
            raise ModelNotFound(f"the shadow “{settings.shadow}”: {error}") from error
    if not settings.is_local and not settings.keys.exists() and not settings.open:
        raise InputError(
            f"{settings.host} is reached from other machines, and there are no keys in {settings.keys}: make one with "
            "`earful keys create NAME`, or say --open if something else asks who is calling"
        )


def _check_address(settings: ServeSettings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
            probe.bind((settings.host, settings.port))
    except OSError as error:
        reason = f"cannot listen there: {error.strerror}; choose another --host or --port"
        raise InputError(f"{settings.host}:{settings.port}: {reason}") from error


def _hand_down(settings: ServeSettings, found: Found) -> None:
    """Leave in the environment what `from_environment` reads."""
    secrets = {"zendesk_secret", "chatwoot_token"}  # which are there already: they come from there alone
    handed_down = {**settings.model_dump(exclude_none=True, exclude=secrets), "model": found.folder}
    handed_down |= {"model_version": found.version, "followed": settings.model}
    # For workers that replace others when the file has gone.
    handed_down["keys_required"] = settings.keys_required or settings.keys.exists()
    handed_down["cors"] = json.dumps(settings.cors)
    os.environ.update({f"EARFUL_{key.upper()}": str(value) for key, value in handed_down.items() if value is not None})


def _listen(app: Any, settings: ServeSettings, console: Console) -> None:
    """`app` is the application, or for several workers where each finds the function that makes it."""
    import uvicorn

    console.print(_invitation(settings), markup=False, highlight=False, soft_wrap=True)
    uvicorn.run(
        app, factory=settings.workers > 1, host=settings.host, port=settings.port, workers=settings.workers,
        log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip


def _invitation(settings: ServeSettings) -> str:
    """A command that works when pasted."""
    address = f"http://{settings.host}:{settings.port}"
    body = '{"text": "You charged me twice this month and I need the money back before Friday."}'
    return (
        f"Earful answers on {address}{f' (API: {address}/docs)' if settings.has_docs else ''}. Try it:\n\n"
        f"  curl -s {address}/classify -H 'Content-Type: application/json' -d '{body}'\n"
    )
