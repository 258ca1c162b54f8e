import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earful.tagger import Tagger
from earful.tags import Tags
from earful.taxonomy import URGENCIES
from serving.app import create
from serving.settings import ServeSettings
from tests.conftest import TAXONOMY

MIB = 2**20
JSON = {"Content-Type": "application/json"}
HALF = "\\ud800"  # half of a surrogate pair, as JSON can spell it and UTF-8 cannot
PRIVATE = "4929-1234-5678"


@pytest.fixture(scope="module")
def client(tagger: Tagger) -> Iterator[TestClient]:
    app = create(tagger, ServeSettings(max_batch=1000, max_body_bytes=2 * MIB))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, body: Any, path: str = "/classify", headers: dict[str, str] = JSON) -> Any:
    """Text and bytes are sent as they are, anything else as JSON."""
    raw = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(path, content=raw, headers=headers)


def assert_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    return body


def test_a_feedback_comes_back_with_every_tag_of_the_contract(client: TestClient, tagger: Tagger) -> None:
    sent = {
        "text": "I was charged twice and want the second payment back.",
        "id": "ticket-7",
        "channel": "email",
        "created_at": "2026-11-21T10:00:00+01:00",
        "customer_id": "c-1",
        "product": "Plus",
        "rating": 2,
        "language": "en-GB",
        "metadata": {"queue": {"name": "first line", "wait": [1, 2.5, None, True]}},
    }
    answer = post(client, sent)
    assert answer.status_code == 200
    tags = answer.json()
    taxonomy = tagger.bundle.taxonomy
    category = next(one for one in taxonomy.categories if one.name == tags["category"]["name"])
    assert list(tags) == [
        "id", "category", "alternatives", "categories", "urgency", "topic", "route", "outcome", "evidence", "model",
    ]  # fmt: skip
    assert tags["id"] == "ticket-7"
    assert tags["category"]["label"] == category.label
    assert tags["category"]["tier"] in ("high", "medium", "low")
    assert tags["urgency"]["level"] in URGENCIES
    level = taxonomy.names.index(category.name)
    assert tags["route"] == {
        "owner": category.owner,
        "respond_within": taxonomy.respond_within(level, tags["urgency"]["level"]),
    }
    assert tags["outcome"] in ("tagged", "needs_review")
    assert tags["evidence"] is None
    assert tags["model"] == {"version": None, "bundle": tagger.bundle.digest, "taxonomy": taxonomy.version}
    confidences = [tags["category"]["confidence"], *(other["confidence"] for other in tags["alternatives"])]
    assert confidences == sorted(confidences, reverse=True)
    assert 0 < sum(confidences) <= 1.001
    assert category.name not in [other["name"] for other in tags["alternatives"]]


def test_only_text_is_required(client: TestClient) -> None:
    answer = post(client, {"text": "Thank you"})
    assert answer.status_code == 200
    assert answer.json()["id"] is None


def test_evidence_is_given_when_it_is_asked_for(client: TestClient) -> None:
    text = "🙂 Good morning from Leeds. You charged my card twice for the same bill! Have a nice day."
    answer = client.post("/classify?explain=true", json={"text": text})
    assert answer.status_code == 200
    told = {text[one["start"] : one["end"]] for one in answer.json()["evidence"] if one["head"] == "category"}
    assert {"charged", "card", "bill!"} & set(" ".join(told).split())
    assert client.post("/classify?explain=true", json={"text": "ab " * 7_000}).status_code == 413
    assert client.post("/classify?explain=perhaps", json={"text": text}).status_code == 422


@pytest.mark.parametrize("path", ["/classify?explained=true", "/classify/batch?explain=true", "/model?version=1"])
def test_a_query_parameter_that_is_not_known_is_refused_and_named(client: TestClient, path: str) -> None:
    answer = client.get(path) if path.startswith("/model") else client.post(path, json={"text": "x", "items": ["x"]})
    assert answer.status_code == 422
    assert path.split("?")[1].split("=")[0] in {error["field"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_accented_text_is_read_in_every_encoding_that_json_may_have(client: TestClient, charset: str) -> None:
    assert post(client, '{"text": "Le café était fermé", "id": "é"}'.encode(charset)).json()["id"] == "é"


BAD = {
    "cut short": ('{"text": "hel', 400),
    "not JSON": ("text=hello", 400),
    "not UTF-8": (b'{"text": "caf\xe9"}', 400),
    "100,000 brackets": ("[" * 100_000, 400),
    "100,000 nested lists": ('{"text": "a", "metadata": {"a": ' + "[" * 100_000 + "]" * 100_000 + "}}", 400),
    "400 nested lists": ('{"text": "a", "metadata": {"a": ' + "[" * 400 + "]" * 400 + "}}", 422),
    "a number of 5,000 digits": ('{"text": "a", "rating": ' + "1" * 5000 + "}", 400),
    "nothing": ("", 422),
    "null": ("null", 422),
    "a list": ('[{"text": "a"}]', 422),
    "a string": ('"hello"', 422),
    "no text": ("{}", 422),
    "empty text": ({"text": ""}, 422),
    "white space": ({"text": " \t\n\u00a0"}, 422),
    "invisible characters": ({"text": "\u200b\u2060\u00ad"}, 422),
    "a text of 1 MB": ({"text": "a" * 1_000_000}, 413),
    "NUL": ({"text": "a\0b"}, 422),
    "unknown field": ({"text": "a", "nickname": "Bo"}, 422),
    "unknown field that is half a surrogate pair": ('{"text": "a", "\\ud800": 1}', 422),
    "unknown field of 200,000 characters": ({"text": "a", "x" * 200_000: 1}, 422),
    "100,000 unknown fields": ({"text": "a", **{f"x{n}": 1 for n in range(100_000)}}, 422),
    "unknown channel": ({"text": "a", "channel": "pigeon"}, 422),
    "no date": ({"text": "a", "created_at": "tomorrow"}, 422),
    "a date too far": ({"text": "a", "created_at": 1e30}, 422),
    "a rating of 400 digits": ('{"text": "a", "rating": ' + "9" * 400 + "}", 422),
    "an id of 501 characters": ({"text": "a", "id": "i" * 501}, 422),
    "NUL in an id": ({"text": "a", "id": "a\0"}, 422),
    "a rating in words": ({"text": "a", "rating": "4"}, 422),
    "true as rating": ({"text": "a", "rating": True}, 422),
    "NaN as rating": ('{"text": "a", "rating": NaN}', 422),
    "-Infinity as rating": ('{"text": "a", "rating": -Infinity}', 422),
    "1e999 as rating": ('{"text": "a", "rating": 1e999}', 422),
    "NaN in metadata": ('{"text": "a", "metadata": {"n": [NaN]}}', 422),
    "1e999 in metadata": ('{"text": "a", "metadata": {"n": 1e999}}', 422),
    "half a pair as text": (f'{{"text": "{HALF}"}}', 422),
    "half a pair within text": (f'{{"text": "good {HALF} bad"}}', 422),
    "half a pair in id": (f'{{"text": "a", "id": "{HALF}"}}', 422),
    "half a pair in channel": (f'{{"text": "a", "channel": "{HALF}"}}', 422),
    "half a pair as metadata key": (f'{{"text": "a", "metadata": {{"{HALF}": 1}}}}', 422),
    "half a pair as metadata value": (f'{{"text": "a", "metadata": {{"a": "{HALF}"}}}}', 422),
    "half a pair deep in metadata": (f'{{"text": "a", "metadata": {{"a": [{{"{HALF}": "{HALF}"}}]}}}}', 422),
    "half a pair as field": (f'{{"text": "a", "{HALF}": 1}}', 422),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status"), BAD.values(), ids=BAD)
def test_a_bad_body_is_a_problem_document(client: TestClient, body: Any, status: int) -> None:
    answer = post(client, body)
    assert_problem(answer, status)
    assert len(answer.content) < 10_000  # whatever was sent


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("text", [1, 1.5, True, None, [], {}, ["a"]]),
        ("id", [1, True, [], {}]),
        ("channel", [1, "", "EMAIL", [], {}]),
        ("created_at", ["", "soon", True, [], {}]),
        ("customer_id", [1, [], {}]),
        ("product", [1, [], {}]),
        ("rating", ["many", "", [], {}]),
        ("language", [1, [], {}]),
        ("metadata", [1, "a", None, [], [["a", 1]]]),
    ],
)
def test_a_value_of_the_wrong_type_is_named_by_its_field(client: TestClient, field: str, wrong: list[Any]) -> None:
    for value in wrong:
        problem = assert_problem(post(client, {"text": "a", field: value}), 422)
        assert {error["field"].split(".")[0] for error in problem["errors"]} == {field}


@pytest.mark.parametrize(
    "body",
    [
        {"text": f"{PRIVATE}\0"},
        {"text": "a", "channel": PRIVATE},
        {"text": "a", "rating": PRIVATE},
        {"text": "a", "created_at": PRIVATE},
        {"text": "a", "nickname": PRIVATE},
        {"text": [PRIVATE]},
        PRIVATE,
        [PRIVATE],
        f'{{"text": "{PRIVATE}',
        f'{{"text": "a", "metadata": {{"card": ["{PRIVATE}", NaN]}}}}',
    ],
)
def test_a_refusal_never_repeats_what_was_sent(client: TestClient, body: Any) -> None:
    answer = post(client, body)
    assert 400 <= answer.status_code < 500
    assert PRIVATE not in answer.text
    batched = post(client, {"items": [body]}, "/classify/batch")
    assert PRIVATE not in batched.text


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/xml"}, {"Content-Type": "nonsense"}]
)
@pytest.mark.parametrize("path", ["/classify", "/classify/batch"])
def test_a_body_that_is_not_called_json_is_told_what_to_call_it(
    client: TestClient, path: str, headers: dict[str, str]
) -> None:
    problem = assert_problem(post(client, '{"text": "a"}', path, headers), 415)
    assert "Content-Type: application/json" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/classify", 405),
        ("PUT", "/classify", 405),
        ("DELETE", "/classify/batch", 405),
        ("POST", "/model", 405),
        ("GET", "/", 404),
        ("GET", "/classify/../../etc/passwd", 404),
        ("POST", "/nowhere", 404),
    ],
)
def test_a_wrong_method_or_path_is_a_problem_document(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert_problem(answer, status)
    assert (answer.headers.get("allow") is not None) == (status == 405)


@pytest.mark.parametrize("path", ["/classify", "/classify/batch"])
@pytest.mark.parametrize("declared", [True, False], ids=["with its length", "chunked"])
def test_a_body_over_the_limit_is_refused(client: TestClient, path: str, declared: bool) -> None:
    body = b'{"text": "' + b"a" * (2 * MIB) + b'"}'
    chunks = (body[at : at + 65536] for at in range(0, len(body), 65536))
    answer = client.post(path, content=body if declared else chunks, headers=JSON)
    assert ("content-length" in answer.request.headers) == declared
    assert "2,097,152 bytes" in assert_problem(answer, 413)["detail"]


def test_a_length_over_the_limit_is_refused_before_the_body_is_read(client: TestClient) -> None:
    assert_problem(post(client, {"text": "a"}, headers={**JSON, "Content-Length": str(2 * MIB + 1)}), 413)


def test_a_chunked_body_within_the_limit_is_answered(client: TestClient) -> None:
    assert client.post("/classify", content=iter([b'{"text":', b' "hello"}']), headers=JSON).status_code == 200


GOOD = [
    {"text": "I was charged twice this month.", "id": "one"},
    {"text": "The parcel never came and nobody answers the phone, for two weeks now, whatever I try."},
    {"text": "Thanks!", "id": "three"},
]


def test_one_bad_item_never_fails_the_rest(client: TestClient) -> None:
    bad = [
        '{"text": ""}', "1", "null", '"x"', "[]", "{}", f'{{"text": "{HALF}"}}', '{"text": "a", "rating": NaN}',
        f'{{"text": "a", "metadata": {{"{HALF}": 1}}}}', f'{{"text": "a", "{HALF}": 1}}', '{"text": "a", "nick": 1}',
        json.dumps({"text": "a" * 100_001}), "[" * 400 + "]" * 400,
    ]  # fmt: skip
    items = [item for n, refused in enumerate(bad) for item in (refused, json.dumps(GOOD[n % 3]))]
    answer = post(client, '{"items": [' + ", ".join(items) + "]}", "/classify/batch")
    assert answer.status_code == 200, answer.text[:500]
    found = answer.json()["items"]
    assert len(found) == len(items)
    for refused in found[::2]:
        assert refused["tags"] is None
        assert refused["error"].keys() == {"field", "reason"}
    for n, tagged in enumerate(found[1::2]):
        assert tagged["error"] is None
        assert tagged["tags"]["id"] == GOOD[n % 3].get("id")
        Tags.model_validate(tagged["tags"])


def test_a_batch_answers_in_the_order_sent_as_classify_does(client: TestClient) -> None:
    together = [item["tags"] for item in post(client, {"items": GOOD}, "/classify/batch").json()["items"]]
    for sent, tags in zip(GOOD, together, strict=True):
        alone = post(client, sent).json()
        assert tags["id"] == sent.get("id")
        # int8 inference lets batch-mates in by a few hundredths
        assert tags["category"]["confidence"] == pytest.approx(alone["category"]["confidence"], abs=0.1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"items": [{"text": "a"}] * 10_000}, 413),
        ({"items": []}, 422),
        ({"items": {}}, 422),
        ({"items": "ab"}, 422),
        ({}, 422),
        ([{"text": "a"}], 422),
        ({"items": [{"text": "a"}], "more": 1}, 422),
        ('{"items": [' + "[" * 100_000, 400),
    ],
    ids=["10,000 items", "no items", "an object", "a string", "nothing", "a bare list", "unknown field", "nested"],
)
def test_a_bad_batch_is_a_problem_document(client: TestClient, body: Any, status: int) -> None:
    assert_problem(post(client, body, "/classify/batch"), status)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_running_service_is_alive_and_ready(client: TestClient, path: str) -> None:
    assert client.get(path).json() == {"status": "ok"}


def test_model_says_what_is_answering(client: TestClient, tagger: Tagger) -> None:
    model = client.get("/model").json()
    manifest = json.loads((tagger.bundle.folder / "manifest.json").read_text())
    for name in ("base_model", "created_at", "run_id", "metrics"):
        assert model[name] == manifest[name]
    assert model["categories"] == manifest["labels"]["category"]
    assert model["urgencies"] == list(URGENCIES)
    answered = post(client, {"text": "hello"}).json()["model"]
    assert answered == {name: model[name] for name in ("version", "bundle", "taxonomy")}


def test_taxonomy_is_that_of_the_file_trained_with(client: TestClient) -> None:
    served, written = client.get("/taxonomy").json(), tomllib.loads(TAXONOMY.read_text(encoding="utf-8"))
    assert served["version"] == written["version"]
    assert [one["name"] for one in served["categories"]] == [one["name"] for one in written["categories"]]
    assert [one["owner"] for one in served["categories"]] == [one["owner"] for one in written["categories"]]


def test_openapi_describes_every_endpoint(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    tagging, about = (
        {"/classify", "/classify/batch"},
        {"/healthz", "/readyz", "/model", "/taxonomy", "/shadow", "/metrics", "/drift"},
    )
    assert paths.keys() == tagging | about | {
        "/topics",
        "/topics/{id}",
        "/topics/map",
        "/topics/candidates",
        "/topics/candidates/{id}",
        "/webhooks/zendesk",
        "/webhooks/chatwoot",
    }


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # surrogates too
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "text", "id", "channel", "created_at", "customer_id", "product", "rating", "language", "metadata", "nickname",
)  # fmt: skip
ALMOST = st.fixed_dictionaries({"text": ANY_TEXT}, optional=dict.fromkeys(FIELDS[1:], ANYTHING))
BODIES = st.one_of(
    ALMOST,
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING),
    st.fixed_dictionaries({"text": ANY_TEXT, "metadata": st.dictionaries(ANY_TEXT, ANYTHING, max_size=3)}),
    ANYTHING,
    st.binary(max_size=60),
)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES)
def test_no_body_whatever_breaks_classify(client: TestClient, body: Any) -> None:
    answer = post(client, body if isinstance(body, bytes) else json.dumps(body))
    if answer.status_code == 200:
        Tags.model_validate(answer.json())
    else:
        assert 400 <= answer.status_code < 500
        assert_problem(answer, answer.status_code)


def test_a_batch_with_too_much_text_is_refused_with_both_figures(tagger: Tagger) -> None:
    with TestClient(create(tagger, ServeSettings(max_batch_chars=50))) as small:
        assert post(small, {"items": [{"text": "a" * 25}] * 2}, "/classify/batch").status_code == 200
        body = assert_problem(post(small, {"items": [{"text": "a" * 26}] * 2}, "/classify/batch"), 413)
    assert "52 characters" in body["detail"]
    assert "at most 50 at a time" in body["detail"]


def test_a_batch_that_is_tagged_in_parts_keeps_its_order(client: TestClient) -> None:
    long = "The parcel never came. " * 1500
    items = [{"text": long, "id": "0"}, {"text": "ok", "id": "1"}, {"text": long, "id": "2"}, {"text": ""}]
    answers = post(client, {"items": items}, "/classify/batch").json()["items"]
    assert [one["tags"] and one["tags"]["id"] for one in answers] == ["0", "1", "2", None]
    assert answers[3]["error"]["field"] == "text"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_can_be_asked_without_a_body(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_documentation_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    needed = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(needed) >= 2
    assert [path for path in needed if not path.startswith("/") or client.get(path).status_code != 200] == []
