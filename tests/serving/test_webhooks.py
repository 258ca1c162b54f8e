"""Support tools' own payloads, signed as they sign them."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from earful.tagger import Tagger
from serving.app import create
from serving.settings import ServeSettings

SECRET, TOKEN = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==", "a-long-token"  # the first is Zendesk's own, for tests
STAMP = "2026-11-28T10:12:07Z"
TEXT = "You charged my card twice for the same bill."
EVENT = {
    "account_id": 22129848,
    "detail": {
        "actor_id": "8447388090494", "assignee_id": None, "brand_id": "8447346621310", "created_at": STAMP,
        "custom_status": "1", "description": TEXT, "external_id": None, "form_id": "8646151517822",
        "group_id": "8447320466430", "id": "5158", "is_public": True, "organization_id": "8447346622462",
        "priority": "LOW", "requester_id": "8447388090494", "status": "OPEN", "subject": "Charged twice",
        "submitter_id": "8447388090494", "tags": ["vip"], "type": "TASK", "updated_at": STAMP,
        "via": {"channel": "email"},
    },
    "event": {}, "id": "cbe4028c-7239-495d-b020-f22348516046", "subject": "zen:ticket:5158", "time": STAMP,
    "type": "zen:event-type:ticket.created", "zendesk_event_version": "2022-11-06",
}  # fmt: skip
TRIGGER = {"id": "5158", "text": TEXT, "channel": "Web form", "customer_id": "77"}
MESSAGE = {
    "event": "message_created", "id": 9, "content": TEXT, "created_at": STAMP, "message_type": "incoming",
    "content_type": "text", "private": False, "content_attributes": {}, "source_id": None,
    "sender": {"id": 3, "name": "Jo", "email": "jo@example.org", "type": "contact"},
    "inbox": {"id": 4, "name": "Website"},
    "conversation": {"id": 12, "inbox_id": 4, "channel": "Channel::WebWidget", "status": "open", "labels": []},
    "account": {"id": 1, "name": "Example"},
}  # fmt: skip


@pytest.fixture
def client(tagger: Tagger) -> TestClient:
    settings = ServeSettings(zendesk_secret=SECRET, chatwoot_token=TOKEN)
    return TestClient(create(tagger, settings), raise_server_exceptions=False)


def zendesk(client: TestClient, payload: Any, secret: str = SECRET, **headers: str) -> Any:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = base64.b64encode(hmac.new(secret.encode(), STAMP.encode() + body, hashlib.sha256).digest()).decode()
    sent = {
        "Content-Type": "application/json",
        "X-Zendesk-Webhook-Signature": signed,
        "X-Zendesk-Webhook-Signature-Timestamp": STAMP,
        **headers,
    }
    return client.post("/webhooks/zendesk", content=body, headers=sent)


def chatwoot(client: TestClient, token: str = TOKEN, **changed: Any) -> Any:
    return client.post(f"/webhooks/chatwoot?token={token}", json={**MESSAGE, **changed})


def tagged(client: TestClient) -> int:
    """How many messages were tagged so far."""
    text = client.get("/metrics").text
    return int(float(next(line for line in text.splitlines() if line.startswith("earful_batch_items_sum")).split()[1]))


@pytest.mark.parametrize("payload", [EVENT, TRIGGER], ids=["event", "trigger"])
def test_a_ticket_comes_back_with_the_call_that_tags_it(client: TestClient, payload: Any) -> None:
    answer = zendesk(client, payload)
    assert answer.status_code == 200, answer.text
    tags, call = answer.json()["tags"], answer.json()["write_back"]
    plain = client.post("/classify", json={"text": TEXT}).json()
    assert tags["id"] == "5158"
    assert tags["category"]["name"] == plain["category"]["name"]
    assert (call["method"], call["path"]) == ("PUT", "/api/v2/tickets/5158.json")
    assert f"earful_{tags['category']['name']}" in call["body"]["ticket"]["additional_tags"]
    assert call["body"]["ticket"]["priority"] in ("low", "normal", "high", "urgent")


def test_a_ticket_that_zendesk_did_not_sign_is_refused(client: TestClient) -> None:
    assert zendesk(client, EVENT, secret="another").status_code == 401
    assert (
        zendesk(client, EVENT, **{"X-Zendesk-Webhook-Signature-Timestamp": "2026-11-28T10:12:08Z"}).status_code == 401
    )
    assert zendesk(client, EVENT, **{"X-Zendesk-Webhook-Signature": ""}).status_code == 401
    assert client.post("/webhooks/zendesk", json=EVENT).status_code == 401
    assert tagged(client) == 0


def test_a_message_sent_again_is_no_second_message(client: TestClient) -> None:
    first = zendesk(client, EVENT, **{"X-Zendesk-Webhook-Invocation-Id": "one"}).json()
    assert zendesk(client, EVENT, **{"X-Zendesk-Webhook-Invocation-Id": "one"}).json() == first
    assert zendesk(client, EVENT, **{"X-Zendesk-Webhook-Invocation-Id": "two"}).status_code == 200
    assert tagged(client) == 2
    assert chatwoot(client).json() == chatwoot(client).json()
    assert tagged(client) == 3


def test_a_customers_message_comes_back_with_the_call_that_writes_its_tags(client: TestClient) -> None:
    answer = chatwoot(client)
    assert answer.status_code == 200, answer.text
    tags, call = answer.json()["tags"], answer.json()["write_back"]
    assert (call["method"], call["path"]) == ("POST", "/api/v1/accounts/1/conversations/12/custom_attributes")
    assert call["body"]["custom_attributes"]["earful_category"] == tags["category"]["name"]
    assert call["body"]["custom_attributes"]["earful_urgency"] == tags["urgency"]["level"]


@pytest.mark.parametrize(
    "changed",
    [{"message_type": "outgoing"}, {"private": True}, {"content": None}, {"content": ""}, {"event": "message_updated"}],
)
def test_what_no_customer_said_is_not_tagged(client: TestClient, changed: dict[str, Any]) -> None:
    answer = chatwoot(client, **changed)
    assert (answer.status_code, answer.content) == (204, b"")
    assert tagged(client) == 0


def test_a_wrong_token_is_refused(client: TestClient) -> None:
    assert chatwoot(client, token="guess").status_code == 401
    assert client.post("/webhooks/chatwoot", json=MESSAGE).status_code == 401


def test_a_payload_that_is_none_is_named_and_never_repeated(client: TestClient) -> None:
    for wrong in (
        b"",
        b"{",
        b"[]",
        b'{"id": "x"}',
        json.dumps({**TRIGGER, "text": " "}).encode(),
        b"\xff",
        b"[" * 9999,
    ):
        answer = zendesk(client, wrong)
        assert answer.status_code in (400, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert TEXT not in answer.text
    assert chatwoot(client, account=None).status_code == 422
    assert chatwoot(client, conversation={"id": "twelve"}).status_code == 422


def test_a_tool_whose_secret_is_not_set_is_not_listened_to(tagger: Tagger) -> None:
    client = TestClient(create(tagger, ServeSettings()))
    assert client.post("/webhooks/zendesk", json=EVENT).status_code == 404
    assert "EARFUL_CHATWOOT_TOKEN" in chatwoot(client).json()["detail"]
