"""Who calls, and how long they wait."""

import asyncio
from typing import Annotated

from fastapi import Header, Request

from serving.batching import Caller


async def caller(
    request: Request,
    x_request_timeout: Annotated[
        float | None,
        Header(gt=0, le=3600, description="Seconds within which an answer is of use; 504 if not begun by then."),
    ] = None,
) -> Caller:
    """The caller of a request that waits for tags."""
    deadline = float("inf") if x_request_timeout is None else asyncio.get_running_loop().time() + x_request_timeout
    return Caller(lane=request.state.key, deadline=deadline, gone=request.is_disconnected)
