"""What travels beside the bodies of messages, as columns with one value for each message.

$key              Kafka's key, the routing key, the ordering key
$topic            the topic, or the queue
$time             the broker's timestamp, nanoseconds
$arrival          when it became durable here, nanoseconds
$topic.NAME       the word of that name in a template of topics
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tocsin.codecs import Beside as Named
from tocsin.codecs import LineProtocolSettings, MessageSettings, NumbersSettings
from tocsin.message import Message
from tocsin.topic import Template


class Beside:
    """The columns that one mapping looks at."""

    def __init__(self, settings: MessageSettings) -> None:
        self._template = Template(settings.template) if settings.template is not None else None
        self._named = bool(self._template and self._template.names)
        self._settings = settings
        self._wanted = _wanted(settings)
        self._words: dict[str, tuple[str, ...] | None] = {}

    def wrong(self, message: Message) -> str:
        """Why a message cannot be meant, or an empty text."""
        if not self._named or self._words_of(message.key) is not None:
            return ""
        assert self._template is not None
        return f"the topic '{message.key}' is none of {self._template.text}"

    def columns(self, messages: Sequence[Message], arrivals: Sequence[int]) -> dict[str, Any]:
        """The columns that are looked at."""
        return {name: self._column(name, messages, arrivals) for name in self._wanted}

    def _column(self, name: str, messages: Sequence[Message], arrivals: Sequence[int]) -> Any:
        if name == "$arrival":
            return pa.array(arrivals, pa.int64())
        if name == "$time":
            return pa.array([message.time for message in messages], pa.int64())
        if name == "$key":
            return pa.array([message.key for message in messages], pa.string())
        if name == "$topic":
            return pa.array([topic_of(message, self._settings) for message in messages], pa.string())
        assert self._template is not None
        place = self._template.names.index(name.removeprefix("$topic."))
        return pa.array([(self._words_of(message.key) or ())[place] for message in messages], pa.string())

    def _words_of(self, topic: str) -> tuple[str, ...] | None:
        assert self._template is not None
        if topic not in self._words:
            if len(self._words) >= _MOST:
                self._words.clear()
            self._words[topic] = self._template.words(topic)
        return self._words[topic]


def topic_of(message: Message, settings: MessageSettings) -> str:
    """The topic that a message came by, or the queue."""
    return settings.topic or (message.partition if settings.scheme == "amqp" else message.key)


def _wanted(settings: MessageSettings) -> list[str]:
    form = settings.form
    if form is None or isinstance(form, LineProtocolSettings | NumbersSettings):
        return []
    parts = [part for cell in form.cells for part in (cell.device, cell.metric, *(part for _, part in cell.labels))]
    times = form.time.columns if form.time.beside else ()
    return list(dict.fromkeys([*times, *(part.name for part in parts if isinstance(part, Named))]))


_MOST = 1 << 18
"""So many topics are remembered; then all are taken apart anew."""
