"""What Kafka's source and sink share: the client's settings, the topic, and the client's errors as ours.

The client (librdkafka) works in threads of its own, connects again by itself, and tells what went wrong
beside its calls, in a callback.  `Faults` keeps that until the next call asks, so that a wrong password is
raised as such and not as the time that was waited in vain.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tocsin.address import TLS
from tocsin.connectors import Broker
from tocsin.connectors._options import check_options
from tocsin.errors import NotConnected, RetryLater, RunError, SetupError, TocsinError

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds that a broker may take for one answer; a broker that is not there is noticed long before."""
_STEP = 0.05
LEAST = 0.001
"""The client counts whole milliseconds: with less it would not wait but spin."""
_MARGIN = 5.0
"""Seconds that the client may be late with saying that there was no answer."""
_leaving: list[tuple[float, AdminClient]] = []
_leaving_lock = Lock()

_PASSWORD = "check user and password, and ?mechanism="  # noqa: S105
_CERTIFICATE = "check ?ca=, ?cert= and ?key=, and that the port speaks TLS"
_GRANT = "grant it to this user with kafka-acls"
ERRORS: dict[int, tuple[type[TocsinError], str]] = {
    KafkaError._AUTHENTICATION: (SetupError, _PASSWORD),
    KafkaError.SASL_AUTHENTICATION_FAILED: (SetupError, _PASSWORD),
    KafkaError.UNSUPPORTED_SASL_MECHANISM: (SetupError, _PASSWORD),
    KafkaError._SSL: (SetupError, _CERTIFICATE),
    KafkaError._INVALID_ARG: (SetupError, _CERTIFICATE),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (SetupError, _GRANT),
    KafkaError.GROUP_AUTHORIZATION_FAILED: (SetupError, _GRANT),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: (SetupError, _GRANT),
    KafkaError.TOPIC_EXCEPTION: (SetupError, "give `name` letters, digits, '.', '_' and '-' only"),
    KafkaError.INVALID_REPLICATION_FACTOR: (SetupError, "set ?replication= to no more than there are brokers"),
    KafkaError.POLICY_VIOLATION: (SetupError, "make the topic as its administrator allows, and set `create: false`"),
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: (SetupError, "another program uses this group: rename the pipeline"),
    KafkaError.MSG_SIZE_TOO_LARGE: (RunError, "raise the topic's max.message.bytes, or publish smaller batches"),
    KafkaError._MSG_TIMED_OUT: (NotConnected, "see whether the topic's brokers are up"),
    KafkaError.THROTTLING_QUOTA_EXCEEDED: (RetryLater, "the user's quota is used up for now"),
}
"""What an error of the client is to us, and what mends it.

Any other is NotConnected: to close and open again is right after whatever passes, and finds what does not.
"""


def settings(broker: Broker) -> dict[str, Any]:
    """The client's settings that an address stands for; raises SetupError for what cannot be meant."""
    address = broker.address
    secure = address.scheme == "kafkas"
    if broker.queue is not None:
        raise SetupError(f"{address}: `queue` is for AMQP: Kafka has one topic with partitions, named by `name`")
    _check_options(broker)
    made = {
        "bootstrap.servers": ",".join(address.servers),
        "security.protocol": ("SASL_" if address.user else "") + ("SSL" if secure else "PLAINTEXT"),
        # The client's own lines would go to stderr; what they say comes by the callback too.
        "log_level": 0,
    }
    if address.user:
        mechanism = address.options.get("mechanism", "PLAIN")
        made |= {"sasl.mechanism": mechanism, "sasl.username": address.user, "sasl.password": address.password}
    places = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
    return made | {place: file for place, name in zip(places, TLS, strict=True) if (file := address.tls_file(name))}


def _check_options(broker: Broker) -> None:
    address = broker.address
    check_options(address)
    if "mechanism" in address.options and not address.user:
        raise SetupError(
            f"{address}: ?mechanism= needs a user: write kafka://user:password@host, or set the environment"
        )


def failure(broker: Broker, error: KafkaError) -> TocsinError:
    """An error of the client as ours, with its remedy; not with the password, whatever the client says."""
    kind, remedy = ERRORS.get(_code(error), (NotConnected, ""))
    text = f"{broker.address}: topic '{broker.name}': {error.str()}" + (f": {remedy}" if remedy else "")
    password = broker.address.password
    return kind(text.replace(password, "***") if password else text)


def _code(error: KafkaError) -> int:
    """What kind of error it is: a certificate that is not trusted is told as such, or as a connection that failed."""
    return int(KafkaError._SSL if "certificate verify failed" in error.str() else error.code())


@contextmanager
def translated(broker: Broker) -> Iterator[None]:
    """What the client raises inside is raised as ours."""
    try:
        yield
    except KafkaException as fault:
        raise failure(broker, fault.args[0]) from fault


def waiting(broker: Broker, positions: Mapping[str, Any]) -> dict[str, int]:
    """How far the end of each partition lies behind the store's position. Asked beside the group, which notices nothing."""
    faults = Faults(broker)
    with translated(broker):
        asked = Consumer({**settings(broker), "group.id": f"{broker.name}-looks", "error_cb": faults.heard})
    try:
        found = {}
        for name in broker.partitions:
            place = TopicPartition(broker.name, int(name))
            try:
                low, high = asked.get_watermark_offsets(place, timeout=PATIENCE)
            except KafkaException as fault:
                faults.check()
                raise failure(broker, fault.args[0]) from fault
            found[name] = max(0, high - max(low, int(positions.get(name, low))))
        return found
    finally:
        asked.close()


class Faults:
    """What a client told beside its calls, until it is asked for."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._fault: TocsinError | None = None
        self._detail = ""

    def __bool__(self) -> bool:
        return self._fault is not None

    def heard(self, error: KafkaError) -> None:
        """The client's callback: it tells of single connections too, which it mends itself."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            silent = "it is silent or closes the connection; if always, it may expect TLS (kafkas://) or a password"
            detail = self._detail or silent
            self.keep(NotConnected(f"{self._broker.address}: no broker answers: {detail}"))
        elif error.fatal() or _code(error) in ERRORS:
            self.keep(failure(self._broker, error))
        else:
            self._detail = error.str()

    def keep(self, fault: TocsinError) -> None:
        """Raise this at the next `check`; the first stays, for what follows is its consequence."""
        self._fault = self._fault or fault

    def check(self) -> None:
        """Raise what was told, once."""
        fault, self._fault = self._fault, None
        try:
            if fault is not None:
                raise fault
        finally:
            del fault  # else the error's traceback holds the error, and with it a client, until the collector comes


def _let_go_later(admin: AdminClient) -> None:
    """Keep a client until nothing that it was asked can be answered any more.

    It answers in a thread of its own, in which Python may collect garbage; and librdkafka ends the process if a client goes
    in its own thread. An error of ours that was raised holds the client by its traceback, in a cycle that waits for the collector.
    """
    now = time.monotonic()
    with _leaving_lock:
        gone = [client for until, client in _leaving if until <= now]
        _leaving[:] = [*(one for one in _leaving if one[0] > now), (now + PATIENCE + _MARGIN, admin)]
    gone.clear()


class Topic:
    """A broker's topic, as it is looked at and made before anything flows."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._faults = Faults(broker)
        made = {**settings(broker), "error_cb": self._faults.heard}
        with translated(broker):
            self._admin = AdminClient(made)

    def ready(self) -> None:
        """Make the topic if it is to be made, and check that it is as described."""
        try:
            self._be_ready()
        finally:
            _let_go_later(self._admin)

    def _be_ready(self) -> None:
        found = self._partitions()
        if found is None:
            if not self._broker.create:
                remedy = self._broker.address.worded("make it, or set `create: true`")
                raise SetupError(f"{self._named()} is not there: {remedy}")
            found = self._create()
        wanted = len(self._broker.partitions)
        if wanted and found != wanted:
            remedy = f"set `partitions: {found}`, or another `name`"
            raise SetupError(f"{self._named()} has {found} partitions, expected {wanted}: {remedy}")

    def _named(self) -> str:
        return f"{self._broker.address}: topic '{self._broker.name}'"

    def _partitions(self) -> int | None:
        """How many there are; None if there is no such topic.  Asking so never makes it."""
        name = self._broker.name
        asked = self._admin.describe_topics(TopicCollection([name]), request_timeout=PATIENCE)
        try:
            return len(self._answer(asked[name]).partitions)
        except KafkaException as fault:
            if fault.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise failure(self._broker, fault.args[0]) from fault

    def _create(self) -> int:
        name, number = self._broker.name, len(self._broker.partitions)
        asked = self._admin.create_topics([NewTopic(name, number, self._replication())], request_timeout=PATIENCE)
        try:
            self._answer(asked[name])
        except KafkaException as fault:
            # Another process was faster; what it made is checked as any other.
            if fault.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise failure(self._broker, fault.args[0]) from fault
        return self._appeared()

    def _appeared(self) -> int:
        """How many partitions the new topic has, once the brokers have told each other of it."""
        deadline = time.monotonic() + PATIENCE
        while (found := self._partitions()) is None:
            if time.monotonic() > deadline:
                raise NotConnected(f"{self._named()} was made, but is not seen yet")
            self._admin.poll(_STEP)
        return found

    def _replication(self) -> int:
        return int(self._broker.address.options.get("replication", 1))

    def _answer(self, asked: Future[T]) -> T:
        """What was asked for; a fault that is told meanwhile is raised at once."""
        while not asked.done():
            self._admin.poll(_STEP)
            self._faults.check()
        return asked.result()
