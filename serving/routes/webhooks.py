"""What support tools send when a message comes: checked, tagged, and answered with the call that writes the tags back.

A message that is sent again, as these tools do when an answer was late, gets the answer that it got, and is no second
message.
"""

import asyncio
from typing import Annotated, Any

from cachetools import LRUCache
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import SecretStr, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from earful.feedback import Feedback
from earful.tags import Tags
from serving import webhooks
from serving.batching import Batcher, Caller
from serving.routes.parameters import no_strangers
from serving.schemas import Hooked, Problem
from serving.webhooks import Message, TicketEvent, Trigger

KEPT = 10_000  # answers, the last given
STATUSES = (400, 404, 503)
PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in STATUSES}
NOTHING: dict[int | str, dict[str, Any]] = {204: {"description": "No customer's message: there is nothing to tag."}}
TICKET: TypeAdapter[TicketEvent | Trigger] = TypeAdapter(TicketEvent | Trigger)
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
router = APIRouter(
    prefix="/webhooks", tags=["webhooks"], dependencies=[Depends(no_strangers)], responses=PROBLEMS
)  # fmt: skip


class Answered:
    """The answers of the last messages, by the id that the tool gave each, so that none is tagged twice."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._tasks: LRUCache[str, asyncio.Task[Tags]] = LRUCache(KEPT)

    async def tag(self, id: str, item: Feedback, lane: str) -> Tags:
        """Tags of a message, or those that it was given before. Raises `Overloaded`."""
        task = self._tasks.get(id)
        if task is None or (task.done() and task.exception() is not None):
            task = self._tasks[id] = asyncio.create_task(self._batcher.tag(item, Caller(lane)))
        return await asyncio.shield(task)


def _secret(request: Request, name: str) -> str:
    secret: SecretStr | None = getattr(request.app.state.settings, name)
    if secret is None:
        raise HTTPException(404, f"this service does not listen to that tool: EARFUL_{name.upper()} is not set")
    return secret.get_secret_value()


def _refuse_unless(right: bool) -> None:
    if not right:
        raise HTTPException(401, "this was not sent by whoever knows the secret that the service was given")


async def _read(request: Request, kind: TypeAdapter[Any]) -> Any:
    try:
        return kind.validate_json(await request.body())
    except ValidationError as error:
        raise _invalid(error) from None


def _feedback(payload: TicketEvent | Trigger | Message) -> Feedback:
    try:
        return payload.feedback()
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> RequestValidationError:
    return RequestValidationError(error.errors(include_url=False, include_context=False, include_input=False))


@router.post("/zendesk")
async def zendesk(request: Request) -> Hooked:
    """A ticket, as a ticket event or by a trigger (docs/webhooks.md), signed by Zendesk."""
    secret, headers = _secret(request, "zendesk_secret"), request.headers
    stamp, given = (headers.get(f"x-zendesk-webhook-signature{part}", "") for part in ("-timestamp", ""))
    _refuse_unless(webhooks.same(given, webhooks.zendesk_signature(secret, stamp, await request.body())))
    item = _feedback(await _read(request, TICKET))
    sent = headers.get("x-zendesk-webhook-invocation-id") or f"{item.id} {item.text}"
    tags = await request.app.state.answered.tag(f"zendesk {sent}", item, "zendesk")
    return Hooked(tags=tags, write_back=webhooks.to_zendesk(str(item.id), tags))


@router.post("/chatwoot", responses=NOTHING, response_model=Hooked)
async def chatwoot(
    request: Request, token: Annotated[str, Query(description="The token that the service was given.")] = ""
) -> Hooked | Response:
    """A `message_created`; the token is part of the address that Chatwoot is given."""
    _refuse_unless(webhooks.same(token, _secret(request, "chatwoot_token")))
    message: Message = await _read(request, MESSAGE)
    if not message.is_customers:
        return Response(status_code=204)
    item = _feedback(message)
    tags = await request.app.state.answered.tag(f"chatwoot {message.account.id} {item.id}", item, "chatwoot")
    return Hooked(tags=tags, write_back=webhooks.to_chatwoot(message, tags))
