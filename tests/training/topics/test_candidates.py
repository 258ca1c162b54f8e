"""What customers have begun to talk about since topics were fitted, up to the topic that a person accepts."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from earful.tagger import Tagger
from serving.app import create
from serving.settings import ServeSettings
from tests.conftest import Trained, run

DRONE = """Your delivery drone dropped my parcel on the neighbour's roof.
The drone hovered over our garden for ten minutes and flew away again with the box.
A drone of yours crashed into my apple tree this morning, propellers everywhere.
Is there a way to keep your drones from flying over my house?
My dog is terrified of the delivery drone, can I have a van instead?
the drone landed in the pond. parcel is soaked
Drone came at 6 am, loud as a chainsaw, woke the whole street
Please stop the drone flights over the school yard, a child was nearly hit.
One propeller of the drone broke off and is stuck in our gutter.
I watched the drone circle three times and then drop the package from five metres.
The app says delivered by drone but there is no landing spot on my balcony!
Why does the drone have a camera pointed at my bedroom window?
Drone delivery was fun the first time, the second one hit my car.
A delivery drone is lying in the road outside number 12, someone should collect it.
how do i opt out of drone delivery
Your drone got tangled in the washing line and took my shirts with it.
Birds attacked the drone and now my order is in the river.
The drone scratched the paint of my new car while landing.
Can the drones not fly at night? The blinking lights keep us awake.
our balcony net stopped your drone, come and get it
The drone refuses to land because of my sunshade, three attempts so far.
Drones buzzing above the cemetery during a funeral, have you no shame?
I ordered a cake and the drone flew it upside down.
When it rains the drone simply leaves the box on the pavement.
Is the pilot of your drone licensed? It passed a hand's breadth from my head.
drone again over our roof terrace, third day running, privacy please""".splitlines()


@pytest.fixture(scope="module")
def bundle(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small model with topics, in a store of these tests' own."""
    folder = tmp_path_factory.mktemp("candidates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        result = run("topics", "fit", "--data", trained.data, "--model", trained.bundle, "--out", folder / "bundle")
        assert result.exit_code == 0, result.output
        yield folder / "bundle"


@pytest.fixture
def client(bundle: Path) -> TestClient:
    """A service that has heard nothing yet."""
    return TestClient(create(Tagger.load(bundle), ServeSettings(model=str(bundle))))


def hear(client: TestClient, texts: list[str]) -> None:
    answer = client.post("/classify/batch", json={"items": [{"text": text} for text in texts]})
    assert answer.status_code == 200
    assert all(item["tags"] for item in answer.json()["items"])


def usual(trained: Trained, rows: int) -> list[str]:
    return [json.loads(line)["text"] for line in trained.data.read_text(encoding="utf-8").splitlines()[-rows:]]


def test_what_nobody_spoke_of_before_is_a_candidate_and_becomes_a_topic(trained: Trained, client: TestClient) -> None:
    hear(client, usual(trained, 400))
    assert client.get("/topics/candidates").json() == {"candidates": []}
    hear(client, [text + " Call me: pat@example.com" for text in DRONE[:1]] + DRONE[1:24])
    (found,) = client.get("/topics/candidates").json()["candidates"]
    assert found["size"] >= 16
    assert found["times"] >= 5
    assert found["since"] <= found["until"]
    assert "drone" in found["keywords"][:2]
    assert all("drone" in text.lower() for text in found["examples"])
    before = client.get("/model").json()
    made = client.post(f"/topics/candidates/{found['id']}", json={"label": "Drones"})
    assert made.status_code == 201, made.text
    topic = made.json()["topic"]
    after = client.get("/model").json()
    assert (after["version"], after["categories"]) == (made.json()["version"], before["categories"])
    for text in DRONE[24:]:
        assert client.post("/classify", json={"text": text}).json()["topic"]["label"] == "Drones"
    shown = client.get(f"/topics/{topic}").json()
    assert [event["kind"] for event in shown["lineage"]] == ["new"]
    assert "drone" in shown["keywords"]
    assert client.get("/topics/candidates").json() == {"candidates": []}
    hear(client, DRONE)
    assert client.get("/topics/candidates").json() == {"candidates": []}


def test_what_is_personal_is_not_shown(client: TestClient) -> None:
    hear(client, [text + " My number: 415-555-0134." for text in DRONE])
    (found,) = client.get("/topics/candidates").json()["candidates"]
    assert not [text for text in found["examples"] if "555" in text]


def test_the_same_message_again_and_again_is_no_candidate(client: TestClient) -> None:
    hear(client, DRONE[:5] * 40)
    assert client.get("/topics/candidates").json() == {"candidates": []}


def test_a_dismissed_candidate_does_not_come_again(client: TestClient) -> None:
    hear(client, DRONE[:20])
    (found,) = client.get("/topics/candidates").json()["candidates"]
    assert client.delete(f"/topics/candidates/{found['id']}").status_code == 204
    assert client.delete(f"/topics/candidates/{found['id']}").status_code == 404
    hear(client, DRONE[20:])
    assert client.get("/topics/candidates").json() == {"candidates": []}


def test_what_cannot_be_accepted_is_said_and_changes_nothing(client: TestClient) -> None:
    hear(client, DRONE)
    (found,) = client.get("/topics/candidates").json()["candidates"]
    taken = client.get("/topics").json()["topics"][0]["label"]
    refused = client.post(f"/topics/candidates/{found['id']}", json={"label": taken})
    assert refused.status_code == 409
    assert "is called" in refused.json()["detail"]
    for wrong in ({}, {"label": "a\0b"}, {"label": " "}, {"label": "x" * 81}, {"label": "\x1b[31mred"}):
        assert client.post(f"/topics/candidates/{found['id']}", json=wrong).status_code == 422
    assert client.post("/topics/candidates/99", json={"label": "Drones"}).status_code == 404
    assert client.get("/topics/candidates").json()["candidates"] == [found]


def test_of_two_people_who_accept_a_candidate_at_once_one_is_told_so(trained: Trained, bundle: Path) -> None:
    app = create(Tagger.load(bundle), ServeSettings(model=str(bundle)))

    async def both() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=None) as client:
            items = [{"text": text} for text in [*usual(trained, 400), *DRONE]]
            await client.post("/classify/batch", json={"items": items})
            ids = [one["id"] for one in (await client.get("/topics/candidates")).json()["candidates"]]
            labels = [{"label": label} for label in ("Drones", "Flying things")]
            sent = [client.post(f"/topics/candidates/{ids[0]}", json=label) for label in labels]
            return sorted(answer.status_code for answer in await asyncio.gather(*sent))

    assert asyncio.run(both()) == [201, 409]


def test_a_service_that_cannot_find_candidates_says_why(trained: Trained, bundle: Path) -> None:
    without = TestClient(create(Tagger.load(trained.bundle), ServeSettings())).get("/topics/candidates")
    assert (without.status_code, "knows no topics" in without.text) == (404, True)
    several = TestClient(create(Tagger.load(bundle), ServeSettings(workers=2))).get("/topics/candidates")
    assert (several.status_code, "workers" in several.text) == (404, True)


def test_a_topic_is_made_of_messages_that_a_person_chose(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "drones.csv"
    path.write_text("body\n" + "".join(f'"{text}"\n' for text in DRONE[:12]), encoding="utf-8")
    options = ("--data", path, "--text-column", "body", "--model", bundle, "--out", tmp_path / "bundle")
    result = run("topics", "add", "Drones", *options)
    assert result.exit_code == 0, result.output
    listed = json.loads(run("topics", "list", "--model", tmp_path / "bundle", "--json").stdout)
    (topic,) = [topic for topic in listed if topic["label"] == "Drones"]
    assert (topic["size"], topic["pinned"], len(topic["examples"])) == (12, True, 3)
    path.write_text("body\n", encoding="utf-8")
    assert "no message" in run("topics", "add", "Drones", *options).stderr
