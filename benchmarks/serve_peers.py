"""What else would answer over HTTP, as people write it: `python -m benchmarks.serve_peers NAME PORT BUNDLE`.

`floor` is a bare ASGI application with one constant answer. `pipeline` is FastAPI around the transformers pipeline, on
an encoder of the bundle's shape. `litserve` is LitServe, batching, on the bundle's own model file.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed import pipeline
from earful import bundle as bundles


def floor(port: int, folder: Path) -> None:
    """Answers without looking."""
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"label": "billing"}'})

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def naive(port: int, folder: Path) -> None:
    """FastAPI with the transformers pipeline."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Text(BaseModel):
        text: str

    labels = len(bundles.load(folder).taxonomy.names)
    classify, app = pipeline(labels), FastAPI()

    @app.get("/readyz")
    def ready() -> str:
        return "ok"

    @app.post("/classify")
    def answer(item: Text) -> Any:
        return classify([item.text])

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


def litserve(port: int, folder: Path) -> None:
    """LitServe on the same int8 model."""
    from benchmarks.serve_litserve import serve

    serve(port, folder)


PEERS = {"floor": floor, "pipeline": naive, "litserve": litserve}

if __name__ == "__main__":
    name, port, folder = sys.argv[1:]
    print(json.dumps({"peer": name, "port": port}), flush=True)
    PEERS[name](int(port), Path(folder))
