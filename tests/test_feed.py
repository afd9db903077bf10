"""Messages of others into the journal: what is acknowledged when, what comes twice, and whose watermark is whose."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tocsin.address import parse_address
from tocsin.codecs import Cell, Column, Constant, JsonSettings, MessageSettings, Part, TimeSettings
from tocsin.codecs.readings import Decoder
from tocsin.connectors import Broker, Polled
from tocsin.connectors.journal import Journal, Retention
from tocsin.errors import NotConnected, SetupError
from tocsin.instant import SECOND
from tocsin.message import Kind, Message
from tocsin.publisher import rejects_of
from tocsin.reading import Series
from tocsin.runners import feed, streams
from tocsin.runners.publish import Publishing, publish
from tocsin.watermark import Watermark

DAY = 86_400 * SECOND


class Shop:
    """A broker of others: what each poll gives, a list of messages or what is raised; then it is closed."""

    rereadable = False
    assigns = False

    def __init__(self, *polls: list[Message] | Exception | Polled) -> None:
        self.polls = list(polls)
        self.acked: list[Message] = []
        self.begun: dict[str, Any] = {}
        self.told: list[str] = []
        self.is_empty = False
        self.before_ack: Callable[[], None] = lambda: None

    def open(self) -> None:
        self.told.append("open")

    def begin(self, partition: str, position: Any = None) -> None:
        self.begun[partition] = position

    def end(self, partition: str) -> None:
        del self.begun[partition]

    def poll(self, _most: int, _timeout: float) -> Polled:
        if not self.polls:
            self.is_empty = True
            return Polled([])
        found = self.polls.pop(0)
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Polled) else Polled(found)

    def ack(self, messages: Sequence[Message]) -> None:
        self.before_ack()
        self.acked += messages

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def close(self) -> None:
        self.told.append("close")


class Log(Shop):
    """One that can be read again."""

    rereadable = True


def message(second: int, partition: str = "q", name: str = "", device: str = "a") -> Message:
    body = json.dumps({"d": device, "t": second, "v": second}).encode()
    return Message(body, partition, key="k", broker_id=name, position=second)


def mapping(device: Part = Column("d")) -> MessageSettings:  # noqa: B008
    return MessageSettings(JsonSettings(TimeSettings(("t",), "unix_s"), (Cell("v", device, Constant("m")),)), "amqp")


def run(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    shop: Shop,
    *,
    url: str = "amqp://h",
    partitions: tuple[str, ...] = ("q",),
    size: int = 10**9,
    until: Callable[[], bool] | None = None,
    settings: MessageSettings | None = None,
) -> int:
    """Publish what the shop has; the number of readings."""
    monkeypatch.setattr(feed, "open_source", lambda *_: shop)
    monkeypatch.setattr(feed, "BEAT", 0.0)
    series = Series()
    parts = Publishing(
        name="p",
        pipeline="p",
        source=None,
        listen=None,
        foreign=(Broker(parse_address(url, {}), "shop", partitions, "{queue}", create=False), settings or mapping()),
        series=series,
        by=("device",),
        watermark=Watermark(0, DAY),
        idle_after=10_000 * SECOND,
        journal=folder / "p.journal",
        before=folder / "p.spool",
        retention=Retention(DAY, size),
        broker=Broker(parse_address("amqp://h", {}), "p"),
        embedded=True,
    )
    return publish(parts, until or (lambda: shop.is_empty)).readings


def journalled(folder: Path) -> list[tuple[str, float]]:
    """Producer and value of every reading in the journal, in order."""
    journal = Journal(folder / "p.journal")
    found = [one for one in journal.read(0, 10_000) if one.kind == Kind.READINGS]
    names = {own: name for name, own in journal._connection.execute("SELECT name, id FROM producers")}
    journal.close()
    decoder = Decoder(Series())
    return [(names[one.producer], value) for one in found for value in decoder.decode([one]).batch.value.tolist()]


def words(folder: Path) -> list[Message]:
    journal = Journal(folder / "p.journal")
    found = journal.read(0, 10_000)
    journal.close()
    return found


def test_messages_are_acknowledged_when_the_journal_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop([message(1), message(2)], [message(3)])
    seen: list[list[tuple[str, float]]] = []
    shop.before_ack = lambda: seen.append(journalled(tmp_path))
    assert run(tmp_path, monkeypatch, shop) == 3
    assert [value for _, value in journalled(tmp_path)] == [1, 2, 3]
    # The two polls may have been gathered into one step.
    assert [len(some) for some in seen] in ([2, 3], [3])
    assert [one.position for one in shop.acked] == [1, 2, 3]


def test_a_message_that_has_a_name_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one poll, in the next one, and after a restart; all of them are acknowledged."""
    shop = Shop([message(1, name="x"), message(1, name="x")], [], [message(1, name="x"), message(2, name="y")])
    assert run(tmp_path, monkeypatch, shop) == 2
    again = Shop([message(2, name="y"), message(3, name="z")])
    assert run(tmp_path, monkeypatch, again) == 1
    assert [value for _, value in journalled(tmp_path)] == [1, 2, 3]
    assert (len(shop.acked), len(again.acked)) == (4, 2)


def test_a_message_without_a_name_may_be_published_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, monkeypatch, Shop([message(1)], [], [message(1)])) == 2


def test_what_was_not_saved_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes again, and nothing of it was published: neither partition's readings, nor any name."""
    shop = Shop([message(1, "q", "x"), message(2, "r", "y")])

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr("tocsin.publisher.Publisher.feed", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            run(tmp_path, broken, shop, partitions=("q", "r"))
    assert shop.acked == []
    again = Shop([message(1, "q", "x"), message(2, "r", "y")])
    assert run(tmp_path, monkeypatch, again, partitions=("q", "r")) == 2


def test_a_log_is_read_on_where_the_journal_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Log([message(1, "0"), message(2, "1"), message(3, "0")])
    run(tmp_path, monkeypatch, shop, partitions=("0", "1"))
    assert shop.begun == {"0": None, "1": None}
    again = Log([])
    run(tmp_path, monkeypatch, again, partitions=("0", "1"))
    assert again.begun == {"0": 3, "1": 2}
    with pytest.raises(SetupError, match="this journal was filled from amqp:shop, not from kafka:shop"):
        run(tmp_path, monkeypatch, Log([]), url="kafka://h", partitions=("0", "1"))


def test_each_partition_is_a_producer_with_a_watermark_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog that is read one partition after the other is late for nobody."""
    run(tmp_path, monkeypatch, Shop([message(500, "q")], [], [message(1, "r", device="b")]), partitions=("q", "r"))
    assert journalled(tmp_path) == [("p-q", 500), ("p-r", 1)]
    marks = {one.producer.rpartition("-")[0]: one.watermark for one in words(tmp_path) if one.kind == Kind.READINGS}
    assert marks == {"p-q": 500 * SECOND, "p-r": SECOND}


def test_a_quiet_partition_goes_along_with_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in which nothing has ever come, too."""
    shop = Shop([message(500, "q")])
    monkeypatch.setattr(streams.Stream, "quiet", lambda stream, _: 0.0 if stream.publisher.log.name == "p-q" else 1e6)
    run(tmp_path, monkeypatch, shop, partitions=("q", "silent"))
    told = [one for one in words(tmp_path) if one.producer.startswith("p-silent-")]
    assert told[-1].watermark == 500 * SECOND


def test_where_all_are_quiet_the_clock_moves_them_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The foremost to just past its newest reading, and whoever is behind to the same."""
    shop = Shop([message(500, "q"), message(300, "r")])
    monkeypatch.setattr("tocsin.runners.idle.AWAY", 20_000.0)  # the quiet comes all at once here
    monkeypatch.setattr(streams.Stream, "quiet", lambda *_: 10_000.0 if shop.is_empty else 0.0)
    polls = iter(range(5))
    run(
        tmp_path,
        monkeypatch,
        shop,
        partitions=("q", "r", "s"),
        until=lambda: shop.is_empty and next(polls, None) is None,
    )
    last = {one.producer.rpartition("-")[0]: one.watermark for one in words(tmp_path)}
    assert last == dict.fromkeys(("p-q", "p-r", "p-s"), 500 * SECOND + 1)


@pytest.mark.parametrize("future", [False, True])
def test_a_partition_that_brings_nothing_but_what_no_rule_sees_holds_nobody_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, future: bool
) -> None:
    """What cannot be read, or is from the future.  Six thousand seconds pass with each poll, and the patience is ten thousand."""
    clock = iter(range(0, 10**9, 6_000))
    now = [0.0]
    monkeypatch.setattr(feed, "AWAY", 1e9)
    monkeypatch.setattr("tocsin.runners.idle.AWAY", 1e9)
    monkeypatch.setattr("tocsin.runners.feed.time.monotonic", lambda: now[0])

    class Slow(Shop):
        def poll(self, most: int, timeout: float) -> Polled:
            now[0] = float(next(clock))
            return super().poll(most, timeout)

    junk = message(int(time.time()) + 10_000_000, "r") if future else message(1, "r")._replace(body=b"junk")
    run(tmp_path, monkeypatch, Slow([message(500, "q")], [junk], [junk], [junk]), partitions=("q", "r"))
    last = {one.producer.rpartition("-")[0]: one.watermark for one in words(tmp_path)}
    assert last["p-r"] == last["p-q"]
    assert last["p-q"] is not None
    assert last["p-q"] > 500 * SECOND
    only = Slow([junk], [junk], [junk])
    clock = iter(range(0, 10**9, 6_000))
    now[0] = 0.0
    (tmp_path / "other").mkdir()
    run(tmp_path / "other", monkeypatch, only, partitions=("r",))
    assert words(tmp_path / "other")[-1].kind == Kind.END


def test_a_partition_that_was_another_processes_for_a_while_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kafka hands them out: two processes over one journal share a topic.  What was read and not published yet is the other's."""

    class Handed(Log):
        assigns = True

        def poll(self, most: int, timeout: float) -> Polled:
            polled = super().poll(most, timeout)
            if polled.lost:
                other = Journal(tmp_path / "p.journal").producer("p-0")
                other.append([Message(b"", kind=Kind.WATERMARK)], other.state)
                other.close()
            return polled

    shop = Handed(
        Polled([message(1, "0")], gained=("0",)),
        Polled([]),
        Polled([message(9, "0")]),
        Polled([], lost=("0",)),
        Polled([message(2, "0")], gained=("0",)),
    )
    assert run(tmp_path, monkeypatch, shop, url="kafka://h", partitions=()) == 2
    assert journalled(tmp_path) == [("p-0", 1), ("p-0", 2)]


def test_a_journal_that_is_full_makes_the_source_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop([message(1)])
    run(tmp_path, monkeypatch, shop, size=1, until=lambda: "pause" in shop.told)
    assert shop.told == ["open", "pause", "close"]
    room = Shop([message(2)])
    sizes = iter([False, True])
    monkeypatch.setattr(Journal, "tidy", lambda *_: next(sizes, True))
    run(tmp_path, monkeypatch, room, until=lambda: "resume" in room.told)
    assert room.told == ["open", "pause", "resume", "close"]


def test_a_broker_that_goes_is_connected_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop([message(1, name="x")], NotConnected("gone"), [message(1, name="x"), message(2, name="y")])
    assert run(tmp_path, monkeypatch, shop) == 2
    assert shop.told == ["open", "close", "open", "close"]


def test_what_cannot_be_read_says_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = message(2, name="m-2")._replace(body=b"hello")
    assert run(tmp_path, monkeypatch, Shop([message(1), bad, message(3)])) == 2
    (told,) = [one for one in words(tmp_path) if one.kind == Kind.REJECTS]
    (reject,) = rejects_of(told.body)
    assert reject.data == b"hello"
    assert reject.reason == "expected a JSON object here"
    arrival = reject.place.pop("arrival")
    assert isinstance(arrival, int)
    assert reject.place == {"source": "amqp://h", "queue": "q", "key": "k", "message": "m-2", "line": 1}


def test_what_nobody_understands_is_set_aside_and_a_word_on_a_watermark_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another pipeline of ours, or of somebody who says that it is one."""
    odd = [
        message(1)._replace(kind="strange"),
        message(2)._replace(kind=Kind.REJECTS),
        message(3)._replace(kind=Kind.END),
    ]
    assert run(tmp_path, monkeypatch, Shop(odd)) == 0
    told = [reject for one in words(tmp_path) if one.kind == Kind.REJECTS for reject in rejects_of(one.body)]
    assert [(one.data, one.reason) for one in told] == [
        (odd[0].body, "this cannot be read: it calls itself 'strange'"),
        (odd[1].body, "this cannot be read: it calls itself 'rejects'"),
    ]


def test_the_clock_moves_nothing_while_the_source_is_made_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has to say waits in the broker, and is not late when the journal has room again."""
    shop = Shop([message(500)])
    rooms = [True]
    monkeypatch.setattr(Journal, "tidy", lambda *_: rooms.pop() if rooms else False)
    # Quiet as soon as a look at the clock finds that nothing has come since the one before.
    monkeypatch.setattr(streams.Stream, "quiet", lambda stream, now: 0.0 if stream.quiet_since >= now else 20_000.0)
    looks = iter(range(20))
    run(tmp_path, monkeypatch, shop, until=lambda: "pause" in shop.told and next(looks, None) is None)
    journal = Journal(tmp_path / "p.journal")
    reached = journal.producer("p-q").state["watermark"]
    journal.close()
    assert reached == 500 * SECOND
