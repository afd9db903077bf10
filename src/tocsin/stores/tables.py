"""The tables, as SQLAlchemy sees them.

Times are nanoseconds since 1970, UTC; labels and keys are JSON objects with sorted names; states are
the words of the ledger.  The views `named_readings` and `named_alerts` say the same with names and
ISO 8601 times, for people who ask in SQL.

A *unit* is what is decided by one engine: a partition of the broker, or all of them.  The numbers of its series begin
at its own number times 2³², so that processes that own different units never have to agree on one.

`readings` is kept in the order (series, time), in the key itself: what is asked of it is always some
series over some time (a chart, a window to rebuild, the newest before an instant), and that is one
seek and one run of pages.  The price is paid by stores of very many series, where each transaction
touches a page of every series that reported.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "4"
"""Raised when the tables change, so that a program never writes into tables that it does not know."""

metadata = MetaData()

Long = BigInteger().with_variant(Integer, "sqlite")
"""A primary key of 64 bits; SQLite's INTEGER has them, and only so it is the row's own number."""

units = Table(
    "units",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("epoch", Integer, nullable=False),
    Column("process", Text, nullable=False),
    Column("lease", BigInteger, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("suspect", Text, nullable=False),
    Column("taking", Integer, nullable=False),
)
"""Which process owns which unit; `epoch` counts them, and only the latest may save.

`name` is that of the partition, or '' for all that there is.  `taking` is 1 once the owner has been given messages.  `deaths`
counts owners in a row that were gone after that, and before they had saved anything; and `suspect` is the message that they
were at, if they took them one by one.
"""

members = Table(
    "members",
    metadata,
    Column("process", Text, primary_key=True),
    Column("lease", BigInteger, nullable=False),
)
"""The processes that share the units, each as long as its lease lasts."""

about = Table(
    "about",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

series = Table(
    "series",
    metadata,
    Column("id", Long, primary_key=True),
    Column("device", ForeignKey("devices.id"), nullable=False),
    Column("metric", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Index("series_of_device", "device", "metric"),
)

readings = Table(
    "readings",
    metadata,
    Column("series", ForeignKey("series.id"), primary_key=True),
    Column("time", BigInteger, primary_key=True),
    Column("value", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""Accepted readings: the ones that rules have seen or, if newer than the watermark, will see."""

flagged_readings = Table(
    "flagged_readings",
    metadata,
    Column("series", ForeignKey("series.id"), primary_key=True),
    Column("time", BigInteger, primary_key=True),
    Column("flag", Text, primary_key=True),
    Column("value", Double, primary_key=True),
    sqlite_with_rowid=False,
)
"""Late, conflicting and future readings: kept and counted, never seen by a rule."""

recent_readings = Table(
    "recent_readings",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("unit", ForeignKey("units.number"), nullable=False),
    Column("newest", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("recent_readings_of_unit", "unit", "newest"),
)
"""Where no readings are kept: those of a step, packed (`kept.py`), until no window can want the newest of them."""

newest_readings = Table(
    "newest_readings",
    metadata,
    Column("series", ForeignKey("series.id"), primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("value", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""Of the packed readings that are gone, the newest of each series."""

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("fired", BigInteger),
    Column("until", BigInteger),
    Column("level", Text),
    Column("value", Double),
    Column("peak", Double),
    Column("last", Double),
    Column("reason", Text, nullable=False),
    UniqueConstraint("rule", "key", "since"),
    Index("alerts_since", "since"),
)

transitions = Table(
    "transitions",
    metadata,
    Column("alert", ForeignKey("alerts.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("level", Text),
    Column("value", Double),
    Column("reason", Text, nullable=False),
    sqlite_with_rowid=False,
)

held_alerts = Table(
    "held_alerts",
    metadata,
    Column("alert", ForeignKey("alerts.id"), primary_key=True),
    Column("unit", ForeignKey("units.number"), nullable=False),
    Column("moves", Integer, nullable=False),
    Column("body", Text, nullable=False),
)
"""The run's own open alerts with what their holds remember, apart from `alerts`, so that a replay,
which puts what it found there, never changes what a run goes on from."""

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("place", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
)
"""`digest` is over place, bytes and reason, so that a line read twice is kept once."""

expected_devices = Table(
    "expected_devices",
    metadata,
    Column("unit", ForeignKey("units.number"), primary_key=True),
    Column("device", Text, primary_key=True),
    sqlite_with_rowid=False,
)
"""The devices that were expected when a unit was decided last: those that join later count from then on."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("unit", ForeignKey("units.number"), primary_key=True),
    Column("position", Text, nullable=False),
    Column("watermark", BigInteger, nullable=False),
    Column("newest", BigInteger, nullable=False),
    Column("first_time", BigInteger),
    Column("rules", Text, nullable=False),
)

idle_advances = Table(
    "idle_advances",
    metadata,
    Column("unit", ForeignKey("units.number"), primary_key=True),
    Column("newest", BigInteger, primary_key=True),
    Column("watermark", BigInteger, nullable=False),
)
"""Where the wall clock moved the watermark to while nothing came after the reading at `newest`."""

origins = Table(
    "origins",
    metadata,
    Column("partition", Text, primary_key=True),
    Column("producer", Text, primary_key=True),
    Column("next", BigInteger, nullable=False),
    Column("mark", BigInteger, nullable=False),
    Column("newest", BigInteger, nullable=False),
    Column("standing", Integer, nullable=False),
    Column("first", BigInteger),
)
"""Who has published into which partition of the broker, and how far of it was taken (`message.Origin`)."""
