"""The user's file, read and checked: every part of a pipeline that it describes, or every mistake in it.

    text ──▶ document (values with places) ──▶ shape (keys and kinds) ──▶ Config
                 └──▶ rule (expressions) ──▶ metrics and labels that the source gives ──┘

Nothing is opened here but the file itself and a CSV of devices: `check` works offline.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.advice import advise
from tocsin.codecs import CodecSettings
from tocsin.connectors.file import FileSettings
from tocsin.document import Document, Steps
from tocsin.errors import ConfigError, ConfigErrors, Place, SetupError
from tocsin.foreign import Foreign, foreign_of
from tocsin.inputs import codec_settings, devices_given, devices_in, is_one_source, labels_given, metrics_given
from tocsin.instant import SECOND
from tocsin.rule import Rule, parse_rules, read_rules
from tocsin.shape import File, Source, fill, is_text
from tocsin.stores import Keep
from tocsin.transport import Transport, check_listening, transport_of
from tocsin.words import bad_limits, unknown_words, useless_limits

if TYPE_CHECKING:
    from tocsin.connectors.http import HttpSettings
    from tocsin.engine import Engine
    from tocsin.runners.local import Parts
    from tocsin.runners.owned import Consuming
    from tocsin.runners.publish import Publishing


LIVE_LATENESS = 5 * SECOND
"""How far a reading that was just measured may lag behind the newest, when the file does not say."""


@dataclass(frozen=True, slots=True)
class Config:
    """One pipeline as its file describes it; paths are absolute or relative to here, times nanoseconds.

    Readings come from one of three: `recording`, a file; `http`, where they are posted; `foreign`, messages of others.

    `metrics` are those that the source can give, None where a column names them, `labels` those that a
    reading can have, None where each line names its own.  `direct` says that no broker is named: `run` then
    reads the source itself.
    """

    file: Path
    name: str
    recording: tuple[FileSettings, CodecSettings] | None
    http: str | None
    foreign: Foreign | None
    store: str
    readings: Keep
    rules: list[Rule]
    lateness: int
    idle_after: int
    max_future: int
    staleness: int
    forget_after: int
    devices: dict[str, dict[str, str]]
    notify: list[dict[str, Any]]
    metrics: frozenset[str] | None
    labels: frozenset[str] | None
    transport: Transport
    direct: bool

    @property
    def source(self) -> FileSettings:
        """The file of readings; SetupError if they come in another way."""
        return self._recorded()[0]

    @property
    def codec(self) -> CodecSettings:
        """How the file is read; SetupError if readings come in another way."""
        return self._recorded()[1]

    def _recorded(self) -> tuple[FileSettings, CodecSettings]:
        if self.recording is None:
            raise SetupError(
                f"{self.file}: readings are {'taken from a broker' if self.foreign else 'posted'} here, and there is no recording to read from its start: "
                "`tocsin replay --from store` decides once more what was admitted"
            )
        return self.recording

    def advice(self) -> list[str]:
        """What is allowed but can hardly be meant, a sentence each."""
        told = [*advise(self.rules, staleness=self.staleness), *useless_limits(self.rules, self.labels)]
        if self.notify:
            told.append("`notify` is kept for later: this version tells nobody")
        return told

    def parts(self) -> Parts:
        """What a runner needs, made but not begun; each call makes it anew."""
        from tocsin.runners.local import Parts  # here, because checking a file needs no compiled kernel
        from tocsin.source import open_source
        from tocsin.watermark import Watermark

        engine = self.engine_of("")
        source = open_source(self.source, self.codec, engine.series)
        return Parts(source, self.rules, engine, Watermark(self.lateness, self.max_future))

    def engine_of(self, unit: str) -> Engine:
        """A fresh engine for the unit of this name, which waits for the expected devices that belong there."""
        from tocsin.engine import Engine
        from tocsin.partition import devices_in
        from tocsin.reading import Series
        from tocsin.rule import partition_labels

        devices: Mapping[str, Mapping[str, str]] = self.devices
        if unit:
            by, transport = partition_labels(self.rules), self.transport
            devices = devices_in(devices, by, transport.partitions, transport.queue).get(unit, {})
        return Engine(self.rules, Series(devices), staleness=self.staleness, forget_after=self.forget_after)

    def publishing(self, producer: str | None = None) -> Publishing:
        """What the runner of a producer of this name needs, made but not begun; the pipeline's name when unsaid."""
        from tocsin.connectors.journal import Retention
        from tocsin.reading import Series
        from tocsin.rule import partition_labels
        from tocsin.runners.publish import Publishing
        from tocsin.source import open_source
        from tocsin.watermark import Watermark

        series = Series(self.devices)
        return Publishing(
            name=producer or self.name,
            pipeline=self.name,
            source=open_source(self.source, self.codec, series) if self.recording else None,
            listen=self._listens(),
            foreign=(self.foreign.broker(os.environ), self.foreign.messages) if self.foreign else None,
            series=series,
            by=partition_labels(self.rules),
            watermark=Watermark(self.lateness, self.max_future),
            idle_after=self.idle_after,
            journal=self.transport.journal_of(producer),
            before=self.transport.before(producer),
            retention=Retention(self.transport.retention.age, self.transport.retention.size),
            broker=self.transport.broker(os.environ),
            embedded=self.transport.embedded,
            in_order=bool(self.recording) and not self.source.follow and self.lateness == 0,
        )

    def consuming(self) -> Consuming:
        """What a consumer's runner needs, made but not begun."""
        from tocsin.runners.owned import Consuming

        return Consuming(
            name=self.name,
            rules=self.rules,
            units=self.transport.units(self.rules),
            engine_of=self.engine_of,
            lateness=self.lateness,
            max_future=self.max_future,
            idle_after=self.idle_after,
            broker=self.transport.broker(os.environ),
            journal=self.transport.journal,
        )

    def _listens(self) -> HttpSettings | None:
        from tocsin.address import parse_address
        from tocsin.connectors.http import settings_of

        if self.http is None:
            return None
        try:
            return settings_of(parse_address(self.http, {}, setting="source", kind="http"), self.file.parent)
        except ValueError as error:
            raise SetupError(f"`source.http`: {error}") from None

    def bounded(self) -> Config:
        """The same pipeline to the end of what its source holds now."""
        return replace(self, recording=(replace(self.source, follow=False), self.codec))

    def reading_from(self, path: Path) -> Config:
        """The same pipeline over another recording."""
        return replace(self, recording=(replace(self.source, path=str(path), follow=False), self.codec))


def load(path: str | Path) -> Config:
    """The pipeline in a file; raises ConfigErrors with every mistake in it, SetupError if there is no file."""
    path = Path(path)
    document = Document.read(path, is_text)
    _expect_mapping(document)
    rules = _rules_of_file(document)
    file = fill(document)
    config = _assemble(path, file, rules, document) if file else None
    if config is None or document.errors:
        raise _all(document.errors)
    return config


def rules_from(rules: str | Path | Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Rules as YAML text, as the path of a file (a pipeline's, or a list of rules), or as mappings."""
    if not isinstance(rules, str | Path):
        return parse_rules(rules, None)
    document = Document.read(Path(rules), is_text) if _is_path(rules) else Document.parse(str(rules), "rules", is_text)
    found = _rules_at(document, ()) if isinstance(document.value, list) else _rules_of_file(document)
    if not found and not document.errors:
        document.errors.append(ConfigError("there is no rule here: expected a list of rules", document.place(())))
    if document.errors:
        raise _all(document.errors)
    return list(found.values())


def store_url(text: str, base: Path) -> str:
    """A store's URL with its path taken from `base`; ValueError with a remedy if it is none."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"'{text}' is not a URL: expected sqlite:///{Path(text).stem or 'readings'}.db")
    if scheme != "sqlite":
        raise ValueError(f"there is no store '{scheme}' in this version: expected sqlite:///FILE")
    if not rest.startswith("/") or len(rest) < 2:
        raise ValueError(f"'{text}' names no file: expected three strokes, as in sqlite:///readings.db")
    return f"sqlite:///{base / rest[1:]}"


def _is_path(rules: str | Path) -> bool:
    return isinstance(rules, Path) or ("\n" not in rules and rules.rstrip().endswith((".yaml", ".yml")))


def _expect_mapping(document: Document) -> None:
    if document.value is None:
        raise ConfigError(
            "the file is empty: expected pipeline, source and rules; `tocsin init` writes one to start from",
            document.place(()),
        )
    if not isinstance(document.value, dict):
        raise ConfigError("expected a mapping with the keys pipeline, source and rules", document.place(()))


def _all(errors: list[ConfigError]) -> ConfigErrors:
    def order(error: ConfigError) -> tuple[str, int, int]:
        place = error.place or Place("")
        return place.file, place.line or 0, place.column or 0

    return ConfigErrors(sorted(errors, key=order))


def _rules_of_file(document: Document) -> dict[int, Rule]:
    _expect_mapping(document)
    rules = document.value.get("rules")
    return _rules_at(document, ("rules",)) if isinstance(rules, list) and rules else {}


def _rules_at(document: Document, above: Steps) -> dict[int, Rule]:
    found, errors = read_rules(
        document.value if not above else document.value["rules"],
        lambda steps: document.place((*above, *steps)),
        lambda steps: document.place_of_key((*above, *steps)),
    )
    document.errors.extend(errors)
    return found


def _assemble(path: Path, file: File, rules: Mapping[int, Rule], document: Document) -> Config | None:
    """The pipeline; None if that cannot be told.  Words are looked up even beside other mistakes."""
    base = path.parent
    one = is_one_source(file.source, document)
    posted = file.source.http is not None
    if file.source.http is not None:
        check_listening(file.source.http, base, document)
    recorded, live = file.source.file is not None, file.source.file is None
    codec = codec_settings(file.source, document) if one and recorded else None
    foreign = foreign_of(file.source, base, document) if one and live and not posted else None
    form = foreign.messages.form if foreign else codec
    devices = _devices(file, base, document)
    store = _store(file, base, document)
    is_understood = bool(codec or foreign or (one and posted))
    by_devices = file.broker is not None and file.broker.queue is not None
    if devices is None or (by_devices and not is_understood):  # the source has devices, too
        return None
    named = {**{key: {} for key in (devices_given(form) if form else ())}, **devices}
    transport = transport_of(file.broker, file.pipeline, named, base, document)
    if not is_understood:
        return None
    metrics, labels = (metrics_given(form), labels_given(form, devices)) if form else (None, None)
    document.errors.extend(unknown_words(rules, metrics, labels, document))
    document.errors.extend(bad_limits(rules.values(), devices, document))
    if transport is None:
        return None
    return Config(
        file=path,
        name=file.pipeline,
        recording=(_file(file.source, base), codec) if codec else None,
        http=file.source.http,
        foreign=foreign,
        store=store,
        readings=file.store.readings if file.store else "all",
        rules=list(rules.values()),
        lateness=(LIVE_LATENESS if live else 0) if file.lateness is None else file.lateness,
        idle_after=file.idle_after,
        max_future=file.max_future,
        staleness=file.staleness,
        forget_after=file.forget_after,
        devices=devices,
        notify=file.notify,
        metrics=metrics,
        labels=labels,
        transport=transport,
        direct=file.broker is None and recorded,
    )


def _file(source: Source, base: Path) -> FileSettings:
    return FileSettings(str(base / str(source.file)), source.follow, source.sort)


def _devices(file: File, base: Path, document: Document) -> dict[str, dict[str, str]] | None:
    if not isinstance(file.devices, str):
        return file.devices
    try:
        return devices_in(base / file.devices)
    except ConfigError as error:
        document.errors.append(error)
    except SetupError as error:
        document.errors.append(ConfigError(f"`devices`: {error}", document.place(("devices",))))
    return None


def _store(file: File, base: Path, document: Document) -> str:
    try:
        return store_url((file.store and file.store.url) or f"sqlite:///{file.pipeline}.db", base)
    except ValueError as error:
        document.errors.append(ConfigError(f"`store`: {error}", document.place(("store",))))
        return ""
