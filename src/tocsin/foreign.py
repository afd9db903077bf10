"""What the user's file says of messages of others, made into settings: where they are taken from, and how often they count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.address import parse_address
from tocsin.codecs import MessageSettings
from tocsin.document import Document
from tocsin.errors import SetupError
from tocsin.inputs import Mistake, needed, placed, together
from tocsin.mapping import form_of
from tocsin.shape import Source
from tocsin.topic import Template

if TYPE_CHECKING:
    from tocsin.connectors import Broker

PLACES = {"amqp": "queue", "kafka": "topic", "mqtt": "topic", "pubsub": "subscription"}
"""What each broker's messages wait in."""
FILES_ONLY = ("follow", "sort", "start", "every")


@dataclass(frozen=True, slots=True)
class Foreign:
    """The messages of others that a file takes in; nothing of it is opened, and no secret is read yet.

    `partitions` are the queues, () where the broker says how many there are.  `queue` is what the connector asks for.
    """

    url: str
    scheme: str
    name: str
    partitions: tuple[str, ...]
    queue: str | None
    messages: MessageSettings
    base: Path

    def broker(self, environment: Mapping[str, str]) -> Broker:
        """What a connector is made from; SetupError if the address cannot be used."""
        from tocsin.connectors import Broker

        try:
            address = parse_address(self.url, environment, self.base, "source")
        except ValueError as error:
            raise SetupError(f"`source.{self.scheme}`: {error}") from None
        return Broker(address, self.name, self.partitions, self.queue, create=False)

    @property
    def promise(self) -> str:
        """How often a message counts that is given twice, a sentence for `check`."""
        if self.scheme == "kafka":
            return "exactly once: messages are known by their offsets"
        if self.scheme == "pubsub":
            return "exactly once: messages are known by the ids of Pub/Sub"
        who = "without a `message_id` " if self.scheme == "amqp" else ""
        if self._has_own_times():
            return f"a message {who}that is given twice is published twice, and its readings are known by their times"
        return (
            f"at least once: a message {who}that is given twice counts twice, since its time is that of its arrival; "
            "have its sender put a time into it"
        )

    def _has_own_times(self) -> bool:
        form = self.messages.form
        return form is None or not hasattr(form, "time") or form.time.columns != ("$arrival",)


def foreign_of(source: Source, base: Path, document: Document) -> Foreign | None:
    """What a file says of them; None if it is wrong, and then the document has the mistakes."""
    scheme = next(name for name in PLACES if getattr(source, name) is not None)
    try:
        _check_address(source, scheme, base)
    except Mistake as mistake:
        document.errors.append(placed(mistake, document))  # what else there is can be looked at all the same
    try:
        return _foreign(source, scheme, base)
    except Mistake as mistake:
        document.errors.extend(placed(one, document) for one in mistake.all)
        return None


def _check_address(source: Source, scheme: str, base: Path) -> None:
    from tocsin.connectors._options import check_options

    try:
        check_options(parse_address(getattr(source, scheme), {}, base, "source", scheme))
    except (ValueError, SetupError) as error:
        raise Mistake(str(error), scheme) from None


def _foreign(source: Source, scheme: str, base: Path) -> Foreign:
    checks = [partial(_check_for_files, source, key, scheme) for key in FILES_ONLY]
    if scheme == "mqtt":  # whose topic may say what the mapping then need not
        *_, (made, form) = together(*checks, lambda: _with_template(source, base))
    else:
        *_, made, form = together(*checks, lambda: _waits(source, scheme, base), lambda: form_of(source, scheme, None))
    with_form: Foreign = replace(made, messages=replace(made.messages, form=form))
    return with_form


def _with_template(source: Source, base: Path) -> tuple[Foreign, Any]:
    made = _waits(source, "mqtt", base)
    return made, form_of(source, "mqtt", Template(made.messages.template or ""))


def _waits(source: Source, scheme: str, base: Path) -> Foreign:
    """Where the messages wait, with nothing said of their form."""
    place = PLACES[scheme]
    told = needed(getattr(source, place), place, _EXAMPLES[scheme])
    template = _template(told) if scheme == "mqtt" else None
    topic = _kafka_topic(told) if scheme == "kafka" else ""
    queues = _queues(told) if scheme == "amqp" else ()
    settings = MessageSettings(None, scheme, topic, template.text if template else None)
    made = Foreign(getattr(source, scheme), scheme, topic, queues, None, settings, base)
    if scheme == "amqp":
        return replace(made, name=", ".join(queues), queue="{queue}")
    if scheme == "kafka":
        return made
    return replace(made, partitions=("0",), queue=template.filter if template else told)


def _check_for_files(source: Source, key: str, scheme: str) -> None:
    if getattr(source, key) not in (None, False):
        raise Mistake(f"`{key}` is for files; this source is {scheme}", key)


def _template(text: str) -> Template:
    try:
        found = Template(text)
    except ValueError as error:
        raise Mistake(str(error), "topic") from None
    for name in found.names:
        if name in ("time", "value"):
            raise Mistake(
                f"{{{name}}} cannot stand in a topic: expected {{device}}, {{metric}} or labels such as {{site}}",
                "topic",
            )
    return found


def _kafka_topic(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text):
        raise Mistake(
            f"'{text}' cannot be a topic of Kafka: expected one, of letters, digits, '.', '_' and '-'", "topic"
        )
    return text


def _queues(names: tuple[str, ...]) -> tuple[str, ...]:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise Mistake(f"the queue '{name}' stands here twice: keep one of them", "queue")
    return names


_EXAMPLES = {"amqp": "sensors", "kafka": "sensors", "mqtt": "plant/{device}/{metric}", "pubsub": "sensors-tocsin"}
