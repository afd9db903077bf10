"""The producer's half: readings into numbered messages, each once, with the source's position."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tocsin.codecs.readings import Decoder, to_json
from tocsin.connectors.journal import Journal
from tocsin.errors import RunError, SetupError, TakenOver
from tocsin.ingest import Posted
from tocsin.message import JSON, Kind, Message
from tocsin.partition import Partitioner
from tocsin.publisher import READINGS, Publisher, rejects_of
from tocsin.reading import Batch, Series
from tocsin.record import Decoded, Reject
from tocsin.watermark import Watermark

SECOND = 10**9


def publisher(path: Path, series: Series, partitions: Sequence[str] = ("0",), **more: bool) -> Publisher:
    return Publisher(
        Journal(path).producer("p"), Partitioner(series, ["device"], partitions), Watermark(0), to_json, JSON, **more
    )


def step(series: Series, *times: int, device: str = "a", line: int = 1, rejects: Sequence[Reject] = ()) -> Decoded:
    rows = [(series.code(device, "m"), 1_700_000_000 * SECOND + t * SECOND, float(t)) for t in times]
    codes, when, values = zip(*rows, strict=True) if rows else ((), (), ())
    import numpy as np

    batch = Batch(series, np.array(codes, np.int32), np.array(when, np.int64), np.array(values))
    return Decoded(batch, list(rejects), {"line": line})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.journal"


def sent(path: Path) -> list[Message]:
    """All of them: one look gives only so many bytes."""
    journal, found = Journal(path), list[Message]()
    while more := journal.read(found[-1].position if found else 0, 10_000):
        found += more
    return found


def test_every_partition_hears_of_a_producer_before_its_first_reading(path: Path) -> None:
    publisher(path, Series(), ("0", "1"))
    assert [(message.partition, message.kind, message.seq) for message in sent(path)] == [
        ("0", Kind.WATERMARK, 0),
        ("1", Kind.WATERMARK, 0),
    ]


def test_readings_position_and_watermark_are_one(path: Path) -> None:
    series = Series()
    first = publisher(path, series)
    assert first.take([step(series, 1, 2, line=3)]) == 2
    again = publisher(path, Series())
    assert (again.position, again.watermark.value) == ({"line": 3}, 1_700_000_002 * SECOND)
    hello, began, message = sent(path)
    assert (hello.watermark, began.watermark) == (None, None)
    assert (message.seq, message.watermark) == (2, 1_700_000_002 * SECOND)
    assert Decoder(Series()).decode([message]).batch.value.tolist() == [1, 2]


def test_of_several_messages_only_the_last_says_how_far_they_have_come(path: Path) -> None:
    """The readings of the others would be late."""
    series = Series()
    publisher(path, series).take([step(series, *range(READINGS + 1))])
    assert [message.watermark is not None for message in sent(path)] == [False, False, False, True]


def test_every_partition_is_told_when_the_source_began_before_anything_can_be_decided(path: Path) -> None:
    """With a lateness of 10 s the reading of 3 s may still be undercut when that of 13 s comes, and no more after 14 s."""
    series = Series()
    watermark = Watermark(10 * SECOND)
    log, partitioner = Journal(path).producer("p"), Partitioner(series, ["device"], ("0", "1"))
    made = Publisher(log, partitioner, watermark, to_json, JSON)
    for seconds in (5, 3, 13, 14, 1, 20):
        made.take([step(series, seconds)])
    told = [message for message in sent(path) if message.kind == Kind.WATERMARK and message.body]
    assert [(message.partition, int(message.body)) for message in told] == [
        (partition, 1_700_000_003 * SECOND) for partition in ("0", "1")
    ]
    before = [message for message in sent(path) if message.position < told[0].position]
    assert max(message.watermark or 0 for message in before) <= 1_700_000_003 * SECOND


def test_what_could_not_be_read_travels_too(path: Path) -> None:
    series = Series()
    bad = Reject(b"\xff,x", {"file": "a.csv", "line": 7}, "this is no number")
    publisher(path, series).take([step(series, rejects=[bad])])
    assert rejects_of(sent(path)[-1].body) == [bad]


def test_a_reading_without_a_queue_is_kept_for_the_dead_letters(path: Path) -> None:
    series = Series()
    made = Publisher(
        Journal(path).producer("p"), Partitioner(series, ["device"], ["q-a"], "q-{device}"), Watermark(0), to_json, JSON
    )
    others = step(series, 2, 3, device="b")
    made.take([step(series, 1), replace(others, position={"file": "readings.csv"})])
    (reject,) = rejects_of(sent(path)[-1].body)
    place = {"device": "b", "file": "readings.csv"}
    assert (reject.place, reject.reason) == (place, "no queue of `broker:` is for this device")


def test_the_end_is_told_once_and_again_after_more(path: Path) -> None:
    series = Series()
    made = publisher(path, series)
    made.take([step(series, 1)])
    made.finish()
    made.finish()
    publisher(path, series).finish()
    assert [message.kind for message in sent(path)].count(Kind.END) == 1
    more = publisher(path, series)
    more.take([step(series, 2)])
    more.finish()
    assert [message.kind for message in sent(path)][-2:] == [Kind.READINGS, Kind.END]


def test_how_far_it_has_come_is_told_only_when_that_has_changed(path: Path) -> None:
    series = Series()
    made = publisher(path, series)
    made.take([step(series, 1)])
    for _ in range(3):
        made.tell()
    made.tell(1_800_000_000 * SECOND)
    told = [message.watermark for message in sent(path) if message.kind == Kind.WATERMARK]
    assert told == [None, 1_700_000_001 * SECOND, 1_800_000_000 * SECOND]


def test_it_says_again_where_it_is_so_that_nobody_takes_it_for_dead(path: Path) -> None:
    """But not before it has had anything: nobody is to wait for a source that is empty."""
    series = Series()
    made = publisher(path, series, ("0", "1"))
    made.tell(again=True)
    assert [message.seq for message in sent(path)] == [0, 0]
    made.take([step(series, 1)])
    made.tell()
    made.tell(again=True)
    told = [(message.partition, message.watermark) for message in sent(path) if message.kind == Kind.WATERMARK]
    assert told[-4:] == [(partition, 1_700_000_001 * SECOND) for partition in ("0", "1")] * 2
    made.finish()
    made.tell(again=True)
    assert sent(path)[-1].kind == Kind.END


def test_who_has_had_no_reading_yet_is_not_waited_for_while_it_rests(path: Path) -> None:
    """It says so once, and again after what could not be read; with its first reading it is a producer like others."""
    series = Series()
    made = publisher(path, series, ("0", "1"))
    made.rest()
    made.rest()
    publisher(path, series, ("0", "1")).rest()
    assert [message.kind for message in sent(path)] == [Kind.WATERMARK] * 2 + [Kind.END] * 2
    made = publisher(path, series, ("0", "1"))
    made.take([step(series, rejects=[Reject(b"bad", {"line": 2}, "no number")])])
    made.rest()
    assert [message.kind for message in sent(path)[4:]] == [Kind.REJECTS, Kind.END, Kind.END]
    made.take([step(series, 1)])
    made.rest()
    assert sent(path)[-1].kind == Kind.READINGS


def test_the_end_is_told_again_after_what_could_not_be_read(path: Path) -> None:
    """Whoever takes that waits for its producer again."""
    series = Series()
    made = publisher(path, series)
    made.take([step(series, 1)])
    made.finish()
    made.take([step(series, rejects=[Reject(b"bad", {"line": 2}, "no number")])])
    made.finish()
    assert [message.kind for message in sent(path)][-2:] == [Kind.REJECTS, Kind.END]


def test_a_bounded_file_that_goes_backwards_is_refused(path: Path) -> None:
    series = Series()
    with pytest.raises(RunError, match="time goes backwards"):
        publisher(path, series, in_order=True).take([step(series, 5, 3)])
    assert len(sent(path)) == 1


def named(path: Path, series: Series, *queues: str) -> Publisher:
    return Publisher(
        Journal(path).producer("p"), Partitioner(series, ["device"], queues, "{device}"), Watermark(0), to_json, JSON
    )


def test_a_device_more_is_a_queue_more_and_hears_of_the_producer_and_its_end(path: Path) -> None:
    series = Series()
    first = named(path, series, "a")
    first.take([step(series, 1)])
    first.finish()
    more = named(path, series, "b", "a")
    assert {(message.partition, message.kind) for message in sent(path)[-2:]} == {
        ("a", Kind.WATERMARK),
        ("b", Kind.WATERMARK),
    }
    more.finish()
    ends = {message.partition: message.kind for message in sent(path)}
    assert ends == {"a": Kind.END, "b": Kind.END}


def test_a_queue_less_is_refused(path: Path) -> None:
    """What was published into it may wait there."""
    series = Series()
    named(path, series, "a", "b").take([step(series, 1)])
    with pytest.raises(SetupError, match="has published into the partitions a, b, and is to publish into a"):
        named(path, series, "a")


def test_the_beginning_may_be_undercut_in_the_step_that_passes_it(path: Path) -> None:
    """The reading of 3 s is in time when it comes, and that of 100 s, which decides it, comes with it."""
    series = Series()
    log, partitioner = Journal(path).producer("p"), Partitioner(series, ["device"], ("0", "1"))
    made = Publisher(log, partitioner, Watermark(10 * SECOND), to_json, JSON)
    made.take([step(series, 10)])
    made.take([step(series, 3, 100)])
    told = {int(message.body) for message in sent(path) if message.kind == Kind.WATERMARK and message.body}
    assert told == {1_700_000_003 * SECOND}


def test_who_has_nothing_to_say_notices_that_another_process_is_the_producer_now(path: Path) -> None:
    made = publisher(path, Series())
    made.tell()
    Journal(path).producer("other")
    made.tell()
    Journal(path).producer("p")
    with pytest.raises(TakenOver, match="another process publishes 'p' now, so this one stops"):
        made.tell()


def test_another_number_of_partitions_is_refused(path: Path) -> None:
    series = Series()
    publisher(path, series, ("0", "1")).take([step(series, 1)])
    with pytest.raises(SetupError, match="has published into the partitions 0, 1, and is to publish into 0, 1, 2"):
        publisher(path, series, ("0", "1", "2"))


def values_of(path: Path) -> list[list[float]]:
    """The readings of each message that has some."""
    series = Series()
    decoded = [Decoder(series).decode([message]) for message in sent(path) if message.kind == Kind.READINGS]
    return [found.batch.value.tolist() for found in decoded]


def test_posts_of_one_moment_are_one_message_and_one_that_is_repeated_counts_once(path: Path) -> None:
    """Repeated within the moment, in a later one, and after a restart; posts without a key are all taken."""
    series = Series()
    first = publisher(path, series)
    bad = Reject(b"bad", {"source": "http", "line": 1}, "this is no line")
    one, two, three = (step(series, t).batch for t in (1, 2, 3))
    first_, other = Posted(one, [bad], "k1"), Posted(two, [], None)
    assert first.post([first_, other, first_, other], 1_700_000_100 * SECOND) == 3
    assert first.post([first_], 1_700_000_100 * SECOND) == 0
    assert first.post([first_, Posted(three, [], "k2")], 1_700_000_100 * SECOND) == 1
    assert publisher(path, series).post([Posted(three, [], "k2")], 1_700_000_100 * SECOND) == 0
    assert values_of(path) == [[1, 2, 2], [3]]
    assert [rejects_of(message.body) for message in sent(path) if message.kind == Kind.REJECTS] == [[bad]]


def test_no_message_is_larger_than_brokers_take_it(path: Path) -> None:
    """Long labels and long lines go in several; of a line that is too long for one its beginning is kept."""
    series = Series()
    made = publisher(path, series)
    made.take([step(series, *range(2_000), device="d" * 2_000)])
    made.take([step(series, rejects=[Reject(b"x" * 100_000, {"line": line}, "no") for line in range(20)])])
    made.take([step(series, rejects=[Reject(b"y" * 3_000_000, {"line": 21}, "no")])])
    messages = sent(path)
    assert max(len(message.body) for message in messages) < 600_000
    assert [value for values in values_of(path) for value in values] == [float(t) for t in range(2_000)]
    *small, large = [one for message in messages if message.kind == Kind.REJECTS for one in rejects_of(message.body)]
    assert [(len(reject.data), reject.place["line"]) for reject in small] == [(100_000, line) for line in range(20)]
    assert large.data == b"y" * 262_144
    assert large.reason == "no (its first 262,144 of 3,000,000 bytes are kept)"


@pytest.mark.parametrize("beside", [0, 1])
def test_what_has_too_long_a_name_or_place_goes_to_the_dead_letters_and_the_rest_goes_on(
    path: Path, beside: int
) -> None:
    """Whether others are read in the same step or not."""
    series = Series()
    made = publisher(path, series)
    made.take([step(series, 1, device="d" * 70_000), *[step(series, 2, device="e" * 60_000)] * beside])
    made.take([step(series, rejects=[Reject(b"bad", {"key": "k" * 1_500_000, "line": 4}, "r" * 1_500_000)])])
    messages = sent(path)
    assert max(len(message.body) + len(message.key) for message in messages) < 600_000
    assert [value for values in values_of(path) for value in values] == [2.0] * beside
    first, second = [one for message in messages if message.kind == Kind.REJECTS for one in rejects_of(message.body)]
    assert first.reason == "its names and labels have more than 65,536 bytes, too many for a broker"
    assert json.loads(first.data)[0]["value"] == 1
    assert (second.data, second.place["line"]) == (b"bad", 4)
