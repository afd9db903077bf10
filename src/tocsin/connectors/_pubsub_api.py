"""What the source and the sink of Pub/Sub share: parameters, topics and subscriptions, and errors made ours.

Requests are made once: the library's own retries would outlast the time that a poll may take.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tocsin.address import Address
from tocsin.connectors import Broker
from tocsin.connectors._options import check_options
from tocsin.errors import NotConnected, RetryLater, SetupError, TocsinError

REQUEST = 5.0
"""Seconds that the service may take to answer."""
ONCE: dict[str, Any] = {"retry": None, "timeout": REQUEST}

ERRORS: dict[str, tuple[type[TocsinError], str]] = {
    "NotFound": (SetupError, "make it there, correct its name in `broker:`, or say `create: true`"),
    "PermissionDenied": (SetupError, "give this account the roles roles/pubsub.publisher and roles/pubsub.subscriber"),
    "Unauthenticated": (SetupError, "check the account's key: GOOGLE_APPLICATION_CREDENTIALS names its file"),
    "DefaultCredentialsError": (SetupError, "name the file of an account's key in GOOGLE_APPLICATION_CREDENTIALS"),
    "RefreshError": (SetupError, "check the account's key: GOOGLE_APPLICATION_CREDENTIALS names its file"),
    "InvalidArgument": (SetupError, "check the names and parameters in `broker:`"),
    "FailedPrecondition": (SetupError, "make the topic and the subscription as `broker:` says"),
    "ResourceExhausted": (RetryLater, "the project's quota is used up for now"),
}
"""The library's errors by name, what happens next, and the remedy; after any other one connects again."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of an address.

    `ordering` publishes with the message's key as ordering key, and makes a subscription that keeps the order.
    A new subscription waits `deadline` seconds for an acknowledgement before it hands a message out again.
    """

    ordering: bool = False
    deadline: int = 60


def settings_of(address: Address) -> Settings:
    """The parameters of an address; SetupError says which one is wrong."""
    check_options(address)
    told = address.options
    return Settings(told.get("ordering") == "true", int(told.get("deadline", 60)))


def library(address: Address) -> Any:
    """Google's library; SetupError says how to get it."""
    try:
        from google.cloud import pubsub_v1
    except ImportError as missing:
        raise SetupError(f"{address}: Pub/Sub needs a library: from the clone, pip install -e '.[pubsub]'") from missing
    return pubsub_v1


def subscriber(pubsub: Any) -> Any:
    """A client that takes answers of any size: the library's own, but for a server that an emulator's address names.

    There the library makes a channel that refuses more than 4 MB, which a pull of full messages soon is.
    """
    server = os.environ.get("PUBSUB_EMULATOR_HOST")
    if not server:
        return pubsub.SubscriberClient()
    import grpc
    from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport

    channel = grpc.insecure_channel(server, [("grpc.max_receive_message_length", -1)])
    return pubsub.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


@contextmanager
def ours(address: Address, doing: str) -> Iterator[None]:
    """Within it the library's errors become ours."""
    from google.api_core.exceptions import GoogleAPIError, from_grpc_error
    from google.auth.exceptions import GoogleAuthError
    from grpc import RpcError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError) as error:
        raise translated(address, doing, error) from error
    except RpcError as error:
        raise translated(address, doing, from_grpc_error(error)) from error  # type: ignore[no-untyped-call]


def translated(address: Address, doing: str, error: BaseException) -> TocsinError:
    """One of the library's errors as one of ours."""
    names = (each.__name__ for each in type(error).__mro__)
    kind, remedy = next((ERRORS[name] for name in names if name in ERRORS), (NotConnected, ""))
    said = getattr(error, "message", "") or str(error) or type(error).__name__
    if is_called(error, "NotFound"):
        # What the service says here is no more than a name, and often the one that `doing` has already.
        named = doing.startswith(("topic ", "subscription "))
        missing = f"{doing} is not there" if named else f"{doing}: it is not there ({said})"
        return kind(f"{address}: {missing}: {address.worded(remedy)}")
    return kind(f"{address}: {doing}: {said}{': ' if remedy else ''}{address.worded(remedy)}")


def is_called(error: BaseException, name: str) -> bool:
    """Whether it is one of the library's errors of this name."""
    return any(each.__name__ == name for each in type(error).__mro__)


class Method:
    """One method of the service for one topic or subscription, by the library's connection, with plain messages.

    The library's own requests wrap every field and every item of a list, which takes longer than all the rest.
    """

    def __init__(self, client: Any, name: str, **place: str) -> None:
        from google.api_core.gapic_v1.routing_header import to_grpc_metadata
        from google.pubsub_v1 import types

        self._call = getattr(client.transport, name)
        self._type = getattr(types, "".join(part.title() for part in name.split("_")) + "Request")
        self._plain = self._type.pb()
        self._place = place
        self._metadata = [to_grpc_metadata(place)]  # type: ignore[no-untyped-call]

    def __call__(self, **fields: Any) -> None:
        """Ask, and wait for the answer."""
        self.begin(**fields).result()

    def begin(self, timeout: float = REQUEST, **fields: Any) -> Any:
        """Ask; the future of the answer."""
        request = self._type.wrap(self._plain(**self._place, **fields))
        return self._call.future(request, timeout=timeout, metadata=self._metadata)


class Topic:
    """A topic of a project, and the subscription of a group to it."""

    def __init__(self, broker: Broker, group: str = "") -> None:
        if broker.partitions != ("0",):
            count = len(broker.partitions)
            raise SetupError(f'{broker.address}: Pub/Sub has one partition, "0", not {count}: `partitions: 1`')
        self.address, self._create = broker.address, broker.create
        self.settings = settings_of(broker.address)
        project, topic = broker.address.host, broker.address.path or broker.name
        # A subscription of others is taken as it is, whatever its topic.
        self._named = bool(topic)
        self.group = group
        self.path = f"projects/{project}/topics/{topic}"
        self.subscription = f"projects/{project}/subscriptions/{broker.queue or f'{topic}-{group}'}"

    def prepare(self, publisher: Any) -> None:
        """Make the topic if it is not there and may be made."""
        with ours(self.address, f"topic {self.path}"):
            try:
                publisher.get_topic(request={"topic": self.path}, **ONCE)
            except Exception as error:
                if not (self._create and is_called(error, "NotFound")):
                    raise
                _make(publisher.create_topic, {"name": self.path})

    def subscribe(self, publisher: Any, subscriber: Any) -> int:
        """Make the subscription if it is not there and may be made, and check it; its deadline in seconds."""
        with ours(self.address, f"subscription {self.subscription}"):
            try:
                found = self._found(subscriber)
            except Exception as error:
                if not (self._create and is_called(error, "NotFound")):
                    raise
                self.prepare(publisher)
                _make(subscriber.create_subscription, self._wanted())
                found = self._found(subscriber)
        if self._named:
            self._check("topic", found.topic, self.path)
            self._check("enable_message_ordering", found.enable_message_ordering, self.settings.ordering)
        return int(found.ack_deadline_seconds)

    def _found(self, subscriber: Any) -> Any:
        return subscriber.get_subscription(request={"subscription": self.subscription}, **ONCE)

    def _wanted(self) -> dict[str, Any]:
        return {
            "name": self.subscription,
            "topic": self.path,
            # Left out it is 0, and the library tries for a minute to make such a subscription.
            "ack_deadline_seconds": self.settings.deadline,
            "enable_message_ordering": self.settings.ordering,
        }

    def _check(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            why = f"its {what} is {found}, expected {wanted}: change `broker:`, or delete the subscription there"
            raise SetupError(f"{self.address}: subscription {self.subscription}: {why}")


def _make(create: Any, request: dict[str, Any]) -> None:
    """Create something, unless somebody else was faster."""
    try:
        create(request=request, **ONCE)
    except Exception as error:
        if not is_called(error, "AlreadyExists"):
            raise
