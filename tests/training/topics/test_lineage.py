"""What becomes of topics when messages are looked at anew, on messages that lie where the test puts them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from earful.errors import InputError
from earful.topics import Catalogue, Topic, Topics
from earful.vectors import Floats, Ints, unit
from training.topics import edits, lineage
from training.topics.lineage import Matched

WIDTH = 32
EACH = 60
WIDE = 0.25


def cloud(direction: int, messages: int = EACH, spread: float = 0.08, beside: int | None = None) -> Floats:
    """Messages around one axis, or between two."""
    rng = np.random.default_rng(direction)
    middle = np.eye(WIDTH, dtype=np.float32)[direction]
    if beside is not None:
        middle = middle + np.eye(WIDTH, dtype=np.float32)[beside] / 1.6
    return unit(middle + spread * rng.normal(size=(messages, WIDTH)).astype(np.float32))


def stack(*parts: Floats) -> tuple[Floats, Ints]:
    """Messages, and which part each is of."""
    return np.concatenate(parts), np.concatenate([np.full(len(part), n) for n, part in enumerate(parts)])


def known(found: Matched, embeddings: Floats, states: dict[int, str] | None = None) -> Topics:
    """What a fit would have written down."""
    topics = tuple(
        Topic(
            id=id, label=f"topic {id}", tightness=found.tightness(id, embeddings),
            state=(states or {}).get(id, "active" if id in found.active else "ended"),
        )
        for id in sorted({*found.owners.tolist(), *found.closed})
    )  # fmt: skip
    return Topics(
        Catalogue(topics=topics, events=found.events, least=found.least, least_read=found.least),
        found.centres,
        found.owners,
        np.eye(WIDTH + 1, WIDTH, dtype=np.float32),
    )


def kinds(found: Matched) -> list[tuple[str, int]]:
    return [(event.kind, event.topic) for event in found.events]


@pytest.fixture
def three() -> tuple[Floats, Ints]:
    return stack(cloud(0), cloud(1), cloud(2))


def ids(found: Matched, parts: Ints) -> list[int]:
    """The topic of most messages of each part."""
    return [int(np.bincount(found.index[parts == n]).argmax()) for n in range(parts.max() + 1)]


def test_the_first_clusters_are_topics_in_order_and_hold_nearly_every_message(three: tuple[Floats, Ints]) -> None:
    found = lineage.match(None, three[1], three[0])
    assert kinds(found) == [("new", 1), ("new", 2), ("new", 3)]
    assert ids(found, three[1]) == [1, 2, 3]
    assert np.mean(found.index > 0) >= 0.85
    assert (found.index[found.index > 0] == three[1][found.index > 0] + 1).all()


@pytest.mark.parametrize("other", [[0, 0, 1], [1, 0, 2], [1, -1, 0], [0, 1, 1]], ids=str)
def test_other_clusters_of_the_same_messages_change_nothing(three: tuple[Floats, Ints], other: Sequence[int]) -> None:
    embeddings, parts = three
    before = lineage.match(None, parts, embeddings)
    after = lineage.match(known(before, embeddings), np.array(other)[parts], embeddings)
    assert kinds(after) == []
    assert (after.index == before.index).all()


def test_a_cluster_halved_by_another_seed_is_still_one_topic(three: tuple[Floats, Ints]) -> None:
    embeddings, parts = three
    before = lineage.match(None, parts, embeddings)
    halved = np.where((parts == 0) & (np.arange(len(parts)) % 2 == 0), 3, parts)
    after = lineage.match(known(before, embeddings), halved, embeddings)
    assert kinds(after) == []
    assert (after.index == before.index).all()


def test_what_was_not_there_before_is_a_new_topic_and_the_others_keep_their_ids(three: tuple[Floats, Ints]) -> None:
    before = lineage.match(None, three[1], three[0])
    embeddings, parts = stack(cloud(0), cloud(1), cloud(2), cloud(3))
    after = lineage.match(known(before, three[0]), parts, embeddings)
    assert kinds(after) == [("new", 4)]
    assert ids(after, parts) == [1, 2, 3, 4]


def test_messages_at_the_edge_of_a_topic_are_no_new_one_that_takes_its_others() -> None:
    embeddings, parts = stack(cloud(0, 120, WIDE), cloud(1, 120, WIDE))
    before = lineage.match(None, parts, embeddings)
    edge = np.where((before.index == 0) & (parts == 0), 0, -1)
    after = lineage.match(known(before, embeddings), edge, embeddings)
    assert kinds(after) == []
    assert (after.index == before.index).all()


def test_the_neighbour_of_a_retired_topic_keeps_its_messages() -> None:
    embeddings, parts = stack(cloud(0, 120, 0.2), cloud(0, 120, 0.2, beside=1), cloud(2, 120, 0.2))
    before = known(lineage.match(None, parts, embeddings), embeddings)
    after = lineage.match(edits.retire(before, 2), parts, embeddings)
    others = np.isin(before.assign(embeddings), [1, 3])
    assert (after.index[others] == before.assign(embeddings)[others]).all()


def test_a_topic_that_nobody_talks_of_ends_and_comes_back_under_its_id(three: tuple[Floats, Ints]) -> None:
    before = lineage.match(None, three[1], three[0])
    embeddings, parts = stack(cloud(0, 200), cloud(1, 200))
    without = lineage.match(known(before, three[0]), parts, embeddings)
    assert kinds(without) == [("ended", 3)]
    assert without.active == [1, 2]
    again = lineage.match(known(without, embeddings), three[1], three[0])
    assert kinds(again) == [("returned", 3)]
    assert ids(again, three[1]) == [1, 2, 3]


def test_a_topic_whose_messages_have_moved_apart_splits_and_the_larger_part_keeps_the_id() -> None:
    embeddings, parts = stack(cloud(0, 120, WIDE), cloud(1, 120, WIDE))
    before = lineage.match(None, parts, embeddings)
    moved, now = stack(cloud(0, 120, WIDE, beside=4), cloud(0, 80, WIDE, beside=5), cloud(1, 120, WIDE))
    after = lineage.match(known(before, embeddings), np.where(now == 0, -1, now - 1), moved)
    assert ("split", 3) in kinds(after)
    assert after.events[0].others == (1,)
    assert ids(after, now) == [1, 3, 2]


def test_topics_that_have_come_together_merge_into_the_older() -> None:
    embeddings, parts = stack(cloud(0), cloud(0, beside=1), cloud(2))
    before = lineage.match(None, parts, embeddings)
    known_ = known(before, embeddings)
    closer = replace(known_, centres=unit(known_.centres + 9 * known_.centres[[0, 0, 2]]))
    after = lineage.match(closer, np.where(parts == 2, 1, 0), embeddings)
    assert kinds(after) == [("merged", 2)]
    assert ids(after, parts) == [1, 1, 3]


def test_what_a_person_merged_stays_merged(three: tuple[Floats, Ints]) -> None:
    embeddings, parts = three
    before = known(lineage.match(None, parts, embeddings), embeddings)
    after = lineage.match(edits.merge(before, 1, 2), parts, embeddings)
    assert kinds(after) == []
    assert ids(after, parts) == [1, 1, 3]


def test_what_a_person_retired_stays_retired(three: tuple[Floats, Ints]) -> None:
    embeddings, parts = three
    before = known(lineage.match(None, parts, embeddings), embeddings)
    after = lineage.match(edits.retire(before, 2), parts, embeddings)
    assert kinds(after) == []
    assert after.active == [1, 3]


def test_every_act_of_a_person_is_in_the_lineage(three: tuple[Floats, Ints]) -> None:
    topics = known(lineage.match(None, three[1], three[0]), three[0])
    topics = edits.retire(edits.merge(edits.rename(topics, 1, "  lost   bags "), 1, 2), 3)
    assert topics.catalogue.find(1).label == "lost bags"  # type: ignore[union-attr]
    assert [event.kind for event in topics.catalogue.lineage(1)] == ["new", "renamed", "merged"]
    assert [topic.id for topic in topics.catalogue.active] == [1]
    assert topics.catalogue.next_id == 4


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda topics: edits.rename(topics, 9, "x"), "there is no topic 9"),
        (lambda topics: edits.rename(topics, 1, " "), "a label has 1 to 80 characters"),
        (lambda topics: edits.rename(topics, 1, "topic 2"), "topic 2 is called “topic 2” already"),
        (lambda topics: edits.merge(topics, 1, 1), "cannot be merged with itself"),
        (lambda topics: edits.retire(edits.retire(topics, 1), 1), "topic 1, “topic 1”, is retired"),
    ],
)
def test_what_cannot_be_done_is_said(three: tuple[Floats, Ints], act: object, said: str) -> None:
    topics = known(lineage.match(None, three[1], three[0]), three[0])
    with pytest.raises(InputError, match=said):
        act(topics)  # type: ignore[operator]


def test_no_cluster_at_all_is_no_topic() -> None:
    embeddings = cloud(0, 50, spread=1.0)
    found = lineage.match(None, np.full(50, -1), embeddings)
    assert (found.active, kinds(found)) == ([], [])
    assert not found.index.any()


def test_agreement_is_of_the_best_matching_names() -> None:
    one, other = np.array([1, 1, 2, 2, 0, 3]), np.array([5, 5, 0, 0, 1, -1])
    assert lineage.agreement(one, other) == 1.0
    assert lineage.agreement(one, np.array([5, 0, 0, 0, 0, 0])) == pytest.approx(3 / 5)
