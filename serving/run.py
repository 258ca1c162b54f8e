"""Starting the service: find the model once, then let uvicorn run the workers."""

import os

from rich.console import Console

from serving.registry import find
from serving.settings import ServeSettings


def serve(settings: ServeSettings, console: Console) -> None:
    """Listen until stopped. Raises `ModelNotFound`, or a `BundleError` before anything listens."""
    found = find(settings.model)
    handed_down = {**settings.model_dump(exclude_none=True), "model": found.folder, "model_version": found.version}
    os.environ.update({f"EARFUL_{key.upper()}": str(value) for key, value in handed_down.items() if value is not None})
    import uvicorn

    from serving.app import from_environment

    app = from_environment() if settings.workers == 1 else "serving.app:from_environment"
    console.print(_invitation(settings), markup=False, highlight=False, soft_wrap=True)
    uvicorn.run(
        app, factory=settings.workers > 1, host=settings.host, port=settings.port, workers=settings.workers,
        log_level="warning", access_log=False,
    )  # fmt: skip


def _invitation(settings: ServeSettings) -> str:
    """A command that works when pasted."""
    address = f"http://{settings.host}:{settings.port}"
    body = '{"text": "You charged me twice this month and I need the money back before Friday."}'
    return (
        f"Earful answers on {address} (API: {address}/docs). Try it:\n\n"
        f"  curl -s {address}/classify -H 'Content-Type: application/json' -d '{body}'\n"
    )
