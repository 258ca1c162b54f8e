"""What support tools send of a customer's message, as a Feedback, and the call that writes its tags back."""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator

from earful.feedback import Channel, Feedback
from earful.tags import Tags

ZENDESK_CHANNELS: dict[str, Channel] = {
    "email": "email", "mail": "email", "web": "web_form", "web form": "web_form", "chat": "chat", "messaging": "chat",
    "native_messaging": "chat", "sms": "sms", "voice": "phone", "phone": "phone", "mobile_sdk": "app", "mobile": "app",
    "twitter": "social", "facebook": "social",
}  # fmt: skip
CHATWOOT_CHANNELS: dict[str, Channel] = {
    "Channel::Email": "email", "Channel::WebWidget": "chat", "Channel::Sms": "sms", "Channel::TwilioSms": "sms",
    "Channel::FacebookPage": "social", "Channel::TwitterProfile": "social", "Channel::Instagram": "social",
}  # fmt: skip
PRIORITIES = {"low": "low", "normal": "normal", "high": "high", "critical": "urgent"}
TAG = "earful_"  # what the tags that we write begin with, so that rules in the tool can tell them from others

Id = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]


class Call(BaseModel):
    """A request to the support tool's own API, with the credentials that only its owner has."""

    method: Literal["POST", "PUT"]
    path: str
    body: dict[str, Any]


class Via(BaseModel):
    """How a ticket came."""

    channel: str | None = None


class Detail(BaseModel):
    """The ticket of a Zendesk ticket event."""

    id: Id
    description: str
    created_at: datetime | None = None
    requester_id: Id | None = None
    via: Via = Via()


class TicketEvent(BaseModel):
    """Zendesk's payload of a ticket event, of which this much is read."""

    detail: Detail

    def feedback(self) -> Feedback:
        """The ticket's text. Raises pydantic's `ValidationError`."""
        said = self.detail
        channel = ZENDESK_CHANNELS.get((said.via.channel or "").lower(), "other")
        return Feedback(
            id=said.id,
            text=said.description,
            channel=channel,
            created_at=said.created_at,
            customer_id=said.requester_id,
        )


class Trigger(BaseModel):
    """The JSON of a Zendesk trigger, as docs/webhooks.md has it."""

    id: Id
    text: str
    channel: str | None = None
    customer_id: Id | None = None

    def feedback(self) -> Feedback:
        """The ticket's text. Raises pydantic's `ValidationError`."""
        channel = ZENDESK_CHANNELS.get((self.channel or "").lower(), "other")
        return Feedback(id=self.id, text=self.text, channel=channel, customer_id=self.customer_id or None)


class Numbered(BaseModel):
    """Something of Chatwoot's that has a number."""

    id: int


class Conversation(Numbered):
    """Where a message stands."""

    channel: str | None = None


class Message(BaseModel):
    """Chatwoot's `message_created`, of which this much is read."""

    event: str
    id: Id
    content: str | None = None
    message_type: str | int
    private: bool = False
    created_at: datetime | None = None
    sender: Numbered | None = None
    conversation: Conversation
    account: Numbered

    @property
    def is_customers(self) -> bool:
        """Whether a customer wrote it: agents' messages and notes come by the same way."""
        incoming = self.event == "message_created" and self.message_type in ("incoming", 0)
        return incoming and not self.private and bool(self.content)

    def feedback(self) -> Feedback:
        """The message. Raises pydantic's `ValidationError`."""
        return Feedback(
            id=self.id, text=self.content or "", created_at=self.created_at,
            channel=CHATWOOT_CHANNELS.get(self.conversation.channel or "", "chat"),
            customer_id=str(self.sender.id) if self.sender else None,
        )  # fmt: skip


def zendesk_signature(secret: str, timestamp: str, body: bytes) -> str:
    """What Zendesk sends in `X-Zendesk-Webhook-Signature`: base64 of HMAC-SHA256 over timestamp and body."""
    return base64.b64encode(hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).digest()).decode()


def same(given: str, right: str) -> bool:
    """Whether two secrets are the same, in a time that does not say how far they are."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def to_zendesk(ticket: str, tags: Tags) -> Call:
    """Adds the category, the urgency and the outcome as tags of the ticket, and sets its priority."""
    said = [tags.category.name, *([tags.urgency.level] if tags.urgency else []), tags.outcome]
    body: dict[str, Any] = {"additional_tags": [TAG + name for name in said]}
    if tags.urgency:
        body["priority"] = PRIORITIES[tags.urgency.level]
    return Call(method="PUT", path=f"/api/v2/tickets/{ticket}.json", body={"ticket": body})


def to_chatwoot(message: Message, tags: Tags) -> Call:
    """Sets custom attributes of the conversation."""
    place = f"/api/v1/accounts/{message.account.id}/conversations/{message.conversation.id}/custom_attributes"
    said = {"category": tags.category.name, "owner": tags.route.owner, "outcome": tags.outcome}
    if tags.urgency:
        said["urgency"] = tags.urgency.level
    return Call(
        method="POST", path=place, body={"custom_attributes": {TAG + name: value for name, value in said.items()}}
    )
