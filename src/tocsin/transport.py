"""What the user's file says about its broker, made into settings; whatever does not fit together is a mistake with its place."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.connectors import PARTITIONED
from tocsin.document import Document
from tocsin.errors import ConfigError, SetupError, did_you_mean
from tocsin.rule import Rule, partition_labels
from tocsin.shape import Broker as BrokerShape
from tocsin.shape import Retention
from tocsin.unit import Unit, units_of

if TYPE_CHECKING:
    from tocsin.connectors import Broker

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Transport:
    """The broker of one pipeline, as its file describes it; nothing of it is opened, and no secret is read yet.

    `journal` is the file of the embedded broker, or of the spool in front of another one.
    """

    url: str
    name: str
    partitions: tuple[str, ...]
    queue: str | None
    create: bool
    retention: Retention
    journal: Path
    base: Path
    group: str

    @property
    def embedded(self) -> bool:
        """Whether the journal is the broker itself."""
        return self.url == "journal"

    def units(self, rules: Sequence[Rule]) -> tuple[Unit, ...]:
        """What of its partitions is decided apart."""
        return units_of(self.partitions, partition_labels(rules), self.queue)

    def journal_of(self, producer: str | None) -> Path:
        """The file of a producer by its name: several share a journal, and each has a spool of its own.

        No name has a plus: a pipeline `x.b` is not the producer `b` of a pipeline `x`.
        """
        if producer is None or self.embedded:
            return self.journal
        return self.journal.with_name(f"{self.journal.stem}+{producer}{self.journal.suffix}")

    def before(self, producer: str | None) -> Path:
        """The file of a producer where `broker:` was a journal and is none now, or the other way round."""
        if not self.embedded:
            return self.journal.with_suffix(".journal")
        return self.journal.with_name(f"{self.journal.stem}{f'+{producer}' if producer else ''}.spool")

    def shared(self, rules: Sequence[Rule]) -> str:
        """Whether several consumers share its partitions, a sentence for `check`; '' where there is one."""
        if len(self.partitions) < 2:
            return ""
        named = "queues" if self.queue else "partitions"
        if len(self.units(rules)) > 1:
            return f"{len(self.partitions)} {named}, each decided by itself: several `tocsin watch` share them"
        why = (
            f"not all words of `queue: {self.queue}` are in the partition key"
            if self.queue
            else "there is no partition key"
        )
        return f"{len(self.partitions)} {named}, decided together by one process, because {why}"

    def broker(self, environment: Mapping[str, str]) -> Broker:
        """What a connector is made from; SetupError if the address cannot be used."""
        from tocsin.address import Address, parse_address
        from tocsin.connectors import Broker

        try:
            address = (
                Address("journal", "", path=str(self.journal))
                if self.embedded
                else parse_address(self.url, environment, self.base)
            )
        except ValueError as error:
            raise SetupError(f"`broker`: {error}") from None
        return Broker(address, self.name, self.partitions, self.queue, self.create, self.group)


def transport_of(
    broker: BrokerShape | None, pipeline: str, devices: Mapping[str, Labels], base: Path, document: Document
) -> Transport | None:
    """The transport that a file describes; None if it describes none, or if it is wrong, which the document then tells."""
    shape = BrokerShape.model_validate("journal") if broker is None else broker
    scheme = shape.url.partition("://")[0].removesuffix("s")
    try:
        _check_address(shape.url, base)
        partitions = tuple(_queues(shape, scheme, devices) if shape.queue else _numbered(shape, scheme))
        name = _filled(shape.name, {"pipeline": pipeline}, "name")
    except _Mistake as mistake:
        document.errors.append(
            ConfigError(f"`broker.{mistake.key}`: {mistake}", document.place(("broker", mistake.key)))
        )
        return None
    return Transport(
        url=shape.url,
        name=name,
        partitions=partitions,
        queue=shape.queue,
        create=shape.create,
        retention=shape.retention,
        journal=base / f"{pipeline}.{'journal' if shape.url == 'journal' else 'spool'}",
        base=base,
        group=pipeline,
    )


def check_listening(url: str, base: Path, document: Document) -> None:
    """See that a server can listen at an address for readings that are posted, and that not everybody may post."""
    from tocsin.address import parse_address
    from tocsin.connectors._options import check_listening, check_options

    try:
        address = parse_address(url, {}, base, "source", "http")
        check_listening(address)
        check_options(address)
    except (ValueError, SetupError) as error:
        document.errors.append(ConfigError(f"`source.http`: {error}", document.place(("source", "http"))))


def _check_address(url: str, base: Path) -> None:
    """What can be told of an address offline, without any secret."""
    from tocsin.address import parse_address
    from tocsin.connectors._options import check_options

    if url == "journal":
        return
    try:
        check_options(parse_address(url, {}, base))
    except (ValueError, SetupError) as error:
        raise _Mistake(str(error), "url") from None


class _Mistake(Exception):
    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


def _numbered(shape: BrokerShape, scheme: str) -> Iterable[str]:
    if shape.partitions > 1 and scheme not in PARTITIONED:
        raise _Mistake(f"{scheme} has one partition: `partitions` is for {' and '.join(PARTITIONED)}", "partitions")
    return map(str, range(shape.partitions))


def _queues(shape: BrokerShape, scheme: str, devices: Mapping[str, Labels]) -> Iterable[str]:
    """The queue of each device that is known, each once and in their order."""
    assert shape.queue is not None
    if scheme != "amqp":
        raise _Mistake(f"{scheme} has no queues: `queue` is for amqp", "queue")
    if shape.partitions > 1:
        raise _Mistake("each queue is a partition already: keep `queue` or `partitions`", "partitions")
    if not devices:
        raise _Mistake("the queues are known by their devices: name these under `devices:`", "queue")
    named = (_filled(shape.queue, {**labels, "device": device}, "queue") for device, labels in devices.items())
    return dict.fromkeys(named)


def _filled(template: str, words: Labels, key: str) -> str:
    """A template with its words put in."""
    try:
        wanted = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise _Mistake(f"'{template}' is no template: {error}", key) from None
    if unknown := sorted(wanted - words.keys()):
        near = did_you_mean(f"{{{unknown[0]}}}", [f"{{{word}}}" for word in words])
        known = ", ".join(f"{{{word}}}" for word in sorted(words))
        raise _Mistake(f"nothing is known to put in for {{{unknown[0]}}}.{near} Expected one of {known}", key)
    return template.format_map(words)
