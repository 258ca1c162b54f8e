"""`earful topics`, from messages to topics that are served, through the command line and HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from earful.feedback import Feedback
from earful.tagger import Tagger
from serving.app import create
from serving.settings import ServeSettings
from tests.conftest import Trained, run

STORE = "MLFLOW_TRACKING_URI"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of these tests' own, in which nothing is registered yet."""
    folder = tmp_path_factory.mktemp("topics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STORE, f"sqlite:///{folder}/mlflow.db")
        yield folder


@pytest.fixture(scope="module")
def messages(trained: Trained, store: Path) -> Path:
    """Real pieces with dates, one of them sent a hundred times, and an address in each."""
    rows = [json.loads(line) for line in trained.data.read_text(encoding="utf-8").splitlines()]
    made = [
        {"text": row["text"] + " Write to pat@example.com.", "created_at": f"2026-0{n % 6 + 1}-15T10:00:00Z"}
        for n, row in enumerate(rows)
    ]
    path = store / "messages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*made, *[made[7]] * 100]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def fitted(trained: Trained, store: Path, messages: Path) -> dict[str, Any]:
    """The first fit, for the small model."""
    result = run("topics", "fit", "--data", messages, "--model", trained.bundle, "--out", store / "bundle", "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def answer(*arguments: object) -> Any:
    result = run("topics", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def some(messages: Path, rows: int) -> Path:
    """The first of the messages, in a file of their own."""
    path = messages.with_name(f"{rows}.jsonl")
    path.write_text("".join(messages.read_text(encoding="utf-8").splitlines(keepends=True)[:rows]), encoding="utf-8")
    return path


def test_a_fit_finds_topics_that_hold_most_messages_and_says_how_good_they_are(fitted: dict[str, Any]) -> None:
    topics, metrics = fitted["topics"], fitted["metrics"]
    assert len(topics) == metrics["topics"] >= 5
    assert len({topic["id"] for topic in topics}) == len(topics)
    assert metrics["coverage"] >= 0.85
    assert metrics["diversity"] >= 0.95
    assert metrics["agreement_served"] >= 0.7
    assert {event["kind"] for event in fitted["events"]} == {"new"}
    assert fitted["champion"]
    for topic in topics:
        assert topic["keywords"]
        assert topic["size"] == sum(topic["days"].values()) > 0
        assert sum(topic["categories"].values()) == pytest.approx(1, abs=0.01)
        assert topic["theme"]


def test_examples_are_redacted_and_what_all_share_is_no_keyword(fitted: dict[str, Any]) -> None:
    examples = [text for topic in fitted["topics"] for text in topic["examples"]]
    assert examples
    assert not [text for text in examples if "pat@example.com" in text]
    assert [text for text in examples if "[EMAIL_1]" in text]


def test_the_service_gives_a_message_the_topic_that_it_is_an_example_of(store: Path, fitted: dict[str, Any]) -> None:
    tagger = Tagger.load(store / "bundle")
    pairs = [(text, topic["id"]) for topic in fitted["topics"] for text in topic["examples"] if len(text) < 290]
    tags = tagger.tag([Feedback(text=text.replace("[EMAIL_1]", "pat@example.com")) for text, _ in pairs])
    given = [tag.topic.id if tag.topic else None for tag in tags]
    assert sum(id == right for id, (_, right) in zip(given, pairs, strict=True)) >= 0.8 * len(pairs)
    assert tagger.tag([Feedback(text="zxqv 123 ///")])[0].topic is None


def test_topics_are_listed_and_shown(fitted: dict[str, Any]) -> None:
    assert {topic["id"] for topic in answer("list")} == {topic["id"] for topic in fitted["topics"]}
    first = fitted["topics"][0]
    assert [event["kind"] for event in answer("show", first["id"])["lineage"]] == ["new"]
    assert first["keywords"][0] in run("topics", "show", first["id"]).stdout
    assert run("topics", "list").exit_code == 0


def test_what_a_person_did_and_every_id_outlast_a_fit_with_another_seed(
    store: Path, messages: Path, fitted: dict[str, Any]
) -> None:
    one, two, three, four, *rest = (topic["id"] for topic in fitted["topics"])
    assert run("topics", "rename", one, "Named by hand", "--out", store / "renamed").exit_code == 0
    merged = run("topics", "merge", two, three, "--out", store / "merged")
    assert "is champion" in merged.stdout
    assert run("topics", "retire", four, "--out", store / "retired").exit_code == 0
    again = answer("fit", "--data", messages, "--seed", 1, "--out", store / "again", "--promote")
    assert again["metrics"]["kept"] >= 0.9
    assert {event["kind"] for event in again["events"]} <= {"new"}  # of messages that had no topic
    topics = {topic["id"]: topic for topic in again["topics"]}
    assert topics[one]["label"] == "Named by hand"
    assert {id for id in topics if id <= max(rest)} == {one, two, *rest}
    assert [event["kind"] for event in answer("show", three)["lineage"]] == ["new", "merged"]
    assert answer("show", four)["state"] == "retired"


def test_a_model_that_does_not_serve_is_no_champion_for_its_first_topics(
    trained: Trained, store: Path, messages: Path, fitted: dict[str, Any]
) -> None:
    few = some(messages, 100)
    assert not answer("fit", "--data", few, "--model", trained.bundle, "--out", store / "few")["champion"]


NAMER = """
import json, sys
topic = json.load(sys.stdin)
if "pat@example.com" in str(topic):
    sys.exit("not redacted")
if topic["keywords"][0] < "n":
    sys.exit("cannot say")
print("\\n  About", topic["keywords"][0])
"""


def test_new_topics_are_named_by_a_program_where_it_can(trained: Trained, store: Path, messages: Path) -> None:
    (store / "namer.py").write_text(NAMER)
    options = ("fit", "--data", some(messages, 400), "--model", trained.bundle, "--out", store / "named", "--json")
    result = run("topics", *options, "--label-command", f"{sys.executable} {store / 'namer.py'}")
    topics = json.loads(result.stdout)["topics"]
    asked = [topic for topic in topics if topic["label"].startswith("About ")]
    assert asked
    assert all(topic["label"] == f"About {topic['keywords'][0]}" for topic in asked)
    for topic in topics:
        if topic not in asked:
            assert f"topic {topic['id']} keeps the label" in result.stderr
            assert "cannot say" in result.stderr
    wrong = run("topics", *options, "--label-command", "no-such-program")
    assert (wrong.exit_code, "there is no such program" in wrong.stderr) == (1, True)


def test_a_fit_that_is_killed_leaves_everything_as_it_was(trained: Trained, store: Path, messages: Path) -> None:
    before = run("models", "--json").stdout
    command = [sys.executable, "-m", "earful", "topics", "fit", "--data", str(messages), "--out", str(store / "killed")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=store) as fitting:
        assert fitting.stderr is not None
        assert any("repeat another" in line for line in fitting.stderr)
        fitting.kill()
    assert run("models", "--json").stdout == before
    assert not (store / "killed").exists()


def test_two_edits_at_once_both_last_and_leave_the_challenger_where_it_is(
    store: Path, messages: Path, fitted: dict[str, Any]
) -> None:
    known = some(messages, 400)
    result = run(
        "topics", "fit", "--data", known, "--out", store / "challenger", "--json"
    )  # a challenger, not promoted
    challenger = json.loads(result.stdout)["version"]
    first, second = (topic["id"] for topic in answer("list")[:2])
    edits = [
        subprocess.Popen(
            [sys.executable, "-m", "earful", "topics", "rename", str(id), label, "--out", str(store / label)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for id, label in ((first, "one of them"), (second, "the other"))
    ]  # fmt: skip
    said = [edit.communicate(timeout=120)[1].decode() for edit in edits]
    assert [edit.returncode for edit in edits] == [0, 0], said
    labels = {topic["id"]: topic["label"] for topic in answer("list")}
    assert (labels[first], labels[second]) == ("one of them", "the other")
    models = json.loads(run("models", "--json").stdout)
    assert {model["version"] for model in models if "challenger" in model["aliases"]} == {challenger}


def test_messages_whose_words_cannot_be_told_have_topics_all_the_same(
    trained: Trained, store: Path, fitted: dict[str, Any]
) -> None:
    things = ("包裹", "退款", "账单", "客服", "密码", "航班", "网络", "食物")
    rows = [
        f"我的{thing}有问题{n}次了,请{how}处理"
        for thing in things
        for n in range(12)
        for how in ("尽快", "马上", "今天")
    ]
    path = store / "chinese.jsonl"
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    result = run("topics", "fit", "--data", path, "--model", trained.bundle, "--out", store / "chinese", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["topics"]


def test_one_topic_becomes_two(store: Path, messages: Path, fitted: dict[str, Any]) -> None:
    largest = max(fitted["topics"], key=lambda topic: topic["size"])["id"]
    model = store / "bundle"
    result = run("topics", "split", largest, "--data", messages, "--model", model, "--out", store / "parts")
    assert result.exit_code == 0, result.output
    parts = {topic["id"]: topic for topic in answer("list", "--model", store / "parts")}
    new = max(parts)
    assert new == max(topic["id"] for topic in fitted["topics"]) + 1
    assert parts[largest]["size"] >= parts[new]["size"] > 0
    assert set(parts[largest]["keywords"]) != set(parts[new]["keywords"])
    assert answer("show", new, "--model", store / "parts")["lineage"][0]["others"] == [largest]


def test_topics_are_to_be_had_over_http(store: Path, fitted: dict[str, Any]) -> None:
    client = TestClient(create(Tagger.load(store / "bundle"), ServeSettings()))
    listed = client.get("/topics").json()
    assert {topic["id"] for topic in listed["topics"]} == {topic["id"] for topic in fitted["topics"]}
    assert listed["metrics"] == fitted["metrics"]
    first = fitted["topics"][0]
    assert client.get(f"/topics/{first['id']}").json()["keywords"] == first["keywords"]
    assert client.get("/topics/999").status_code == 404
    assert client.get("/topics/first").status_code == 422
    page = client.get("/topics/map")
    assert page.headers["content-type"].startswith("text/html")
    assert "Over time" in page.text


def test_a_model_without_topics_says_so(trained: Trained) -> None:
    client = TestClient(create(Tagger.load(trained.bundle), ServeSettings()))
    answer = client.get("/topics")
    assert answer.status_code == 404
    assert "knows no topics" in answer.json()["detail"]
    result = run("topics", "list", "--model", trained.bundle)
    assert result.exit_code == 1
    assert "knows no topics yet" in result.stderr


def test_a_file_is_scored_with_its_topics(store: Path, messages: Path, fitted: dict[str, Any]) -> None:
    assert run("score", messages, store / "tagged.jsonl", "--model", store / "bundle").exit_code == 0
    tags = [json.loads(line)["tags"] for line in (store / "tagged.jsonl").read_text(encoding="utf-8").splitlines()]
    labels = {topic["id"]: topic["label"] for topic in fitted["topics"]}
    having = [tag for tag in tags if tag["topic_id"] is not None]
    assert len(having) >= 0.85 * len(tags)
    assert all(tag["topic"] == labels[tag["topic_id"]] for tag in having)


BAD = {
    "three messages": (["a b", "c d", "e f"], (), "3 different messages are too few"),
    "one message": (["My bag is lost."] * 10_000, (), "1 different messages are too few"),
    "nothing": (["", " "], (), "0 different messages are too few"),
    "no dates": ([f"message {n}" for n in range(30)], ("--since", "2026-01-01"), "has no date"),
    "no date at all": (["x"], ("--until", "soon"), "“soon” is not a date"),
    "backwards": (["x"], ("--since", "2026-02-01", "--until", "2026-01-01"), "is not before --until"),
    "no words": (["".join(chr(0x1F600 + n * k % 67) for k in range(1, 9)) for n in range(60)], (), "have no words"),
    "no column": (["x"], ("--text-column", "body"), "no column “body”"),
}


@pytest.mark.parametrize(("texts", "options", "said"), BAD.values(), ids=BAD)
def test_what_no_topics_can_be_found_in_is_said_and_changes_nothing(
    tmp_path: Path, trained: Trained, fitted: dict[str, Any], texts: list[str], options: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    before = run("models", "--json").stdout
    result = run("topics", "fit", "--data", path, "--model", trained.bundle, "--out", tmp_path / "b", *options)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not (tmp_path / "b").exists()
    assert run("models", "--json").stdout == before


def test_a_model_that_is_trained_anew_knows_the_topics_of_the_champion(
    store: Path, messages: Path, trained: Trained, fitted: dict[str, Any]
) -> None:
    result = run(
        "train", "--data", trained.data, "--epochs", 1, "--consistency", 0, "--contrast", 0, "--frozen-layers", 4,
        "--out", store / "anew", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    known = {topic["id"]: topic["label"] for topic in answer("list")}
    assert {topic["id"]: topic["label"] for topic in answer("list", "--model", store / "anew")} == known
    texts = [json.loads(line)["text"] for line in messages.read_text(encoding="utf-8").splitlines()][:300]
    before, after = (
        [tag.topic.id if tag.topic else 0 for tag in Tagger.load(bundle).tag([Feedback(text=text) for text in texts])]
        for bundle in (store / "again", store / "anew")
    )
    assert sum(one == other for one, other in zip(before, after, strict=True)) >= 0.6 * len(texts)
