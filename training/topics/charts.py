"""A page of BERTopic's own figures: the map of topics, their words, how they join, and when each was talked about."""

import html
import logging
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time

from bertopic import BERTopic
from plotly.graph_objects import Figure

from earful.topics import Topic, Topics
from training.topics.lineage import Matched
from training.topics.messages import Messages

HEAD = "<!doctype html><html><head><meta charset='utf-8'><title>Topics</title></head><body>"
END = "</body></html>"
FEWEST = 5  # topics that a map is drawn of
SHOWN = 40  # topics whose words and times are drawn: the largest
PERIODS = 20  # on the axis of time, at most


def page(model: BERTopic, topics: Topics, matched: Matched, read: Messages) -> str:
    """One HTML document that needs nothing else; `model` is made to know the topics as they are now."""
    found = sorted(topics.catalogue.active, key=lambda topic: -topic.size)
    if len(found) < FEWEST:
        return f"{HEAD}<p>There are too few topics to draw.</p>{END}"
    place = {topic.id: n for n, topic in enumerate(found)}
    index = [place.get(int(id), -1) for id in matched.index]
    logging.getLogger("BERTopic").setLevel(logging.ERROR)  # advice to whoever would go on with the model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.update_topics(read.own_texts, topics=index, vectorizer_model=model.vectorizer_model)
        model.set_topic_labels({-1: "none"} | {n: _name(topic) for n, topic in enumerate(found)})
        figures = [(title, figure) for title, draw in _figures(model, read, index) if (figure := _drawn(draw))]
    parts = [
        f"<h2>{title}</h2>{figure.to_html(full_html=False, include_plotlyjs=n == 0)}"
        for n, (title, figure) in enumerate(figures)
    ]
    note = f"<p>As a fit saw it on {datetime.now(UTC).date()}; /topics has what was done since.</p>"
    return f"{HEAD}{note}{''.join(parts)}{END}"


def _name(topic: Topic) -> str:
    return html.escape(f"{topic.id} {topic.label}")


def _drawn(draw: Callable[[], Figure]) -> Figure | None:
    """A figure, if BERTopic can draw it: of messages in Chinese, whose words it cannot tell, there is no map."""
    try:
        return draw()
    except ValueError:
        return None


def _figures(model: BERTopic, read: Messages, index: list[int]) -> Iterator[tuple[str, Callable[[], Figure]]]:
    yield "Map", lambda: model.visualize_topics(custom_labels=True, use_ctfidf=True)
    yield "Words", lambda: model.visualize_barchart(top_n_topics=SHOWN, custom_labels=True)
    yield "How topics join", lambda: model.visualize_hierarchy(custom_labels=True, use_ctfidf=True)
    moments = [read.examples[int(n)].feedback.created_at for n in read.own]
    if all(moments) and len({moment.date() for moment in moments if moment}) > 1:
        # pandas 3 refuses the keyword with which BERTopic reads dates that are text
        days = [datetime.combine(moment.date(), time()) for moment in moments if moment]
        over_time = model.topics_over_time(
            read.own_texts, days, topics=index, nr_bins=min(PERIODS, len(set(days))), evolution_tuning=False
        )
        yield "Over time", lambda: model.visualize_topics_over_time(over_time, top_n_topics=SHOWN, custom_labels=True)
