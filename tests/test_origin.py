"""Origins: each message once, in its order, and how far everybody has come."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tocsin.instant import LONG_AGO, SECOND
from tocsin.message import Kind, Message, Origin, Standing
from tocsin.origin import HELD, Origins
from tocsin.reading import Batch, Flag, Series

SERIES = Series()
CODE = SERIES.code("a", "m")


def message(seq: int, producer: str = "p", partition: str = "0", **more: Any) -> Message:
    return Message(b"", partition, producer=producer, seq=seq, position=seq)._replace(**more)


def origins(*partitions: str, lateness: int = 0) -> Origins:
    return Origins(partitions or ("0",), lateness, 300, now=0)


def seqs(messages: Sequence[Message]) -> list[int]:
    return [message.seq for message in messages]


def admit(found: Origins, messages: Sequence[Message], *times: Sequence[int]) -> list[Flag]:
    """Admits messages, each with readings at these times; their flags."""
    flat = [t for one in times for t in one]
    message_of = np.repeat(np.arange(len(messages)), [len(one) for one in times])
    batch = Batch(SERIES, np.full(len(flat), CODE, np.int32), np.array(flat, np.int64), np.zeros(len(flat)))
    return [Flag(flag) for flag in found.admit(messages, batch, message_of)]


class TestNumbers:
    def test_what_was_seen_before_is_dropped(self) -> None:
        found = origins()
        assert seqs(found.take([message(0), message(1), message(0), message(1), message(2)], 0)) == [0, 1, 2]
        assert seqs(found.take([message(2), message(3)], 0)) == [3]

    def test_what_comes_too_early_waits_for_those_before_it(self) -> None:
        found = origins()
        sent = [message(0), message(2), message(3)]
        assert seqs(found.take(sent, 0)) == [0]
        assert found.holds == 2
        assert [one.seq for one in [*sent, message(1)] if found.is_held(one)] == [2, 3]
        assert seqs(found.take([message(1)], 0)) == [1, 2, 3]
        assert found.holds == 0

    def test_in_whatever_order_they_come_they_are_taken_in_theirs(self) -> None:
        shuffled = [message(seq) for seq in range(1, 100) for _ in range(2)]
        random.Random(7).shuffle(shuffled)
        found = origins()
        taken = found.take([message(0)], 0)
        for one in shuffled:
            taken += found.take([one], 0)
        assert seqs(taken) == list(range(100))

    def test_a_gap_that_lasts_is_given_up_and_counted(self) -> None:
        found = origins()
        found.take([message(0), message(4), message(6)], now=10)
        assert found.give_up(now=39, patience=30) == []
        assert seqs(found.give_up(now=41, patience=30)) == [4]
        assert found.lost == 3
        assert seqs(found.take([message(2), message(5)], now=41)) == [5, 6]

    def test_a_gap_that_holds_back_too_much_is_given_up_at_once(self) -> None:
        found = origins()
        found.take([message(0), *(message(seq) for seq in range(2, HELD + 3))], now=0)
        assert seqs(found.give_up(now=0, patience=30)) == list(range(2, HELD + 3))
        assert found.lost == 1

    def test_producers_and_partitions_have_numbers_of_their_own(self) -> None:
        found = origins("0", "1")
        mixed = [message(0), message(0, "q"), message(0, partition="1"), message(1, "q")]
        assert found.take(mixed, 0) == mixed

    def test_of_a_log_the_first_number_that_is_met_is_where_a_producer_begins(self) -> None:
        assert seqs(origins().take([message(57), message(58)], 0)) == [57, 58]

    def test_elsewhere_the_first_ones_may_be_held_by_a_reader_that_is_gone(self) -> None:
        found = Origins(["0"], 0, 300, now=0, is_log=False)
        assert found.take([message(1), message(2)], 0) == []
        assert seqs(found.take([message(0)], 0)) == [0, 1, 2]
        assert found.take([message(-1, "")], 0) == [message(-1, "")]

    def test_while_there_was_no_connection_nobody_could_be_heard(self) -> None:
        found = origins("0", "1")
        admit(found, found.take([message(0)], 0), [100])
        found.reconnected(now=100)
        assert not found.expire(now=129, patience=30)
        found.take([message(1)], now=129)
        assert found.expire(now=131, patience=30)
        assert found.value == 100

    def test_where_all_fall_silent_at_once_the_foremost_still_counts(self) -> None:
        """As if they had gone one after the other: one told 100, the other 50, and nobody tells more."""
        found = origins("0")
        admit(found, found.take([message(0), message(0, "q")], 0), [100], [50])
        assert found.value == 50
        assert found.expire(now=31, patience=30)
        assert found.value == 100

    def test_that_somebody_is_not_waited_for_any_more_is_to_be_saved_though_nothing_moves(self) -> None:
        found = origins("0")
        admit(found, found.take([message(0)], 0), [100])
        list(found.changed())
        assert found.expire(now=31, patience=30)
        assert (found.value, [one.standing for one in found.changed()]) == (100, [Standing.EXPIRED])
        assert not found.expire(now=99, patience=30)

    def test_a_time_in_which_nobody_could_be_heard_does_not_count(self) -> None:
        """Of 129 seconds 100 do not, for the gap as for the producer that is silent."""
        found = origins("0", "1")
        admit(found, found.take([message(0), message(2)], 0), [100])
        found.unheard_for(100)
        assert not found.expire(now=129, patience=30)
        assert found.give_up(now=129, patience=30) == []
        assert seqs(found.give_up(now=131, patience=30)) == [2]

    def test_foreign_messages_have_no_numbers_and_all_count(self) -> None:
        foreign = [message(-1, "")] * 3
        assert origins().take(foreign, 0) == foreign


class TestWatermark:
    def test_it_is_the_newest_time_less_the_lateness_reading_by_reading(self) -> None:
        found = origins(lateness=10)
        assert admit(found, [message(0)], [100, 95, 90, 89, 120, 109]) == [
            Flag.ACCEPTED, Flag.ACCEPTED, Flag.ACCEPTED, Flag.LATE, Flag.ACCEPTED, Flag.LATE,
        ]  # fmt: skip
        assert (found.value, found.newest) == (110, 120)

    def test_it_is_the_lowest_of_all_producers(self) -> None:
        found = origins()
        admit(found, [message(0, "p", watermark=0), message(0, "q", watermark=0)], [], [])
        assert admit(found, [message(1, "p"), message(1, "q")], [100], [50]) == [Flag.ACCEPTED] * 2
        assert found.value == 50
        assert admit(found, [message(2, "q")], [49, 60, 120]) == [Flag.LATE, Flag.ACCEPTED, Flag.ACCEPTED]
        assert found.value == 100

    def test_a_partition_of_which_nothing_was_heard_holds_it_back_until_it_expires(self) -> None:
        found = origins("0", "1")
        admit(found, [message(0)], [100])
        assert found.value == LONG_AGO
        assert not found.expire(now=30, patience=30)
        found.take([message(1)], now=31)
        assert found.expire(now=31, patience=30)
        assert found.value == 100

    def test_a_silent_producer_holds_it_back_until_it_expires_and_counts_again_when_heard(self) -> None:
        found = origins()
        both = [message(0, "p"), message(0, "q")]
        admit(found, found.take(both, now=0), [100], [50])
        more = found.take([message(1, "p")], now=40)
        admit(found, more, [200])
        assert found.value == 50
        assert found.expire(now=41, patience=30)
        assert found.value == 200
        assert admit(found, [message(1, "q")], [60, 210]) == [Flag.LATE, Flag.ACCEPTED]
        admit(found, [message(2, "p")], [300])
        assert found.value == 210

    def test_a_producers_word_moves_it_without_a_reading(self) -> None:
        found = origins()
        admit(found, [message(0, watermark=500, kind=Kind.WATERMARK)], [])
        assert found.value == 500
        assert admit(found, [message(1)], [499, 500]) == [Flag.LATE, Flag.ACCEPTED]

    def test_who_has_ended_is_not_waited_for_and_when_all_have_everything_is_decided(self) -> None:
        found = origins()
        admit(found, [message(0, "p"), message(0, "q")], [100], [50])
        admit(found, [message(1, "q", kind=Kind.END, watermark=51)], [])
        assert found.value == 100
        admit(found, [message(1, "p", kind=Kind.END, watermark=101)], [])
        assert found.value == 101

    def test_a_reading_far_ahead_of_its_arrival_is_from_the_future_and_moves_nothing(self) -> None:
        found = origins()
        assert admit(found, [message(0, arrival=1000)], [1300, 1301, 900]) == [Flag.ACCEPTED, Flag.FUTURE, Flag.LATE]
        assert found.value == 1300

    def test_foreign_silence_moves_foreign_messages_only(self) -> None:
        found = origins()
        found.advance(500)
        assert found.value == LONG_AGO
        admit(found, [message(-1, "")], [100])
        found.advance(500)
        assert found.value == 500

    @pytest.mark.parametrize("size", [1, 2, 7, 1000])
    def test_how_messages_were_polled_changes_nothing(self, size: int) -> None:
        chance = random.Random(3)
        sent = [
            message(seq // 2, "pq"[seq % 2], watermark=seq * 5 * SECOND if seq % 9 == 0 else None) for seq in range(300)
        ]
        times = [
            [(seq * 5 + chance.randrange(-20, 20)) * SECOND for _ in range(chance.randrange(4))] for seq in range(300)
        ]
        whole, parts = origins(lateness=10 * SECOND), origins(lateness=10 * SECOND)
        expected = admit(whole, whole.take(sent, 0), *times)
        found = []
        for low in range(0, 300, size):
            found += admit(parts, parts.take(sent[low : low + size], 0), *times[low : low + size])
        assert found == expected
        assert (parts.value, parts.newest) == (whole.value, whole.newest)
        assert {Flag.LATE, Flag.ACCEPTED} == set(expected)

    def test_a_producer_that_goes_on_in_one_partition_is_waited_for_in_all(self) -> None:
        """It had ended in both; whichever partition is read first must not run ahead of the other."""
        found = origins("0", "1")
        both = [message(0, watermark=0), message(0, partition="1", watermark=0)]
        ends = [one._replace(seq=1, kind=Kind.END, watermark=101) for one in both]
        admit(found, both, [90], [100])
        admit(found, ends, [], [])
        assert found.value == 101
        assert admit(found, [message(2)], [200]) == [Flag.ACCEPTED]
        assert found.value == 101
        assert {origin.standing for origin in found.changed()} == {Standing.LIVE}
        assert admit(found, [message(2, partition="1")], [150]) == [Flag.ACCEPTED]
        assert found.value == 150


class TestRestart:
    def test_what_changed_is_given_once_and_takes_a_fresh_one_to_where_it_stood(self) -> None:
        found = origins()
        admit(found, found.take([message(0), message(1, watermark=70)], 0), [50], [80])
        saved = list(found.changed())
        assert saved == [Origin("0", "p", 2, 80, 80, Standing.LIVE)]
        assert list(found.changed()) == []
        fresh = origins()
        fresh.restore(saved, found.value, now=100)
        assert (fresh.value, fresh.newest) == (80, 80)
        assert seqs(fresh.take([message(1), message(2)], 100)) == [2]
        assert not fresh.expire(now=129, patience=30)

    def test_what_is_saved_says_where_a_producer_has_ended_and_at_which_number(self) -> None:
        found = origins("0", "1")
        sent = [message(0), message(1, kind=Kind.END), message(0, partition="1", kind=Kind.END)]
        admit(found, found.take(sent[:2], 0), [5], [])
        assert {one.partition: (one.next, one.standing) for one in found.changed()} == {"0": (2, Standing.ENDED)}
        admit(found, found.take(sent[2:], 0), [])
        assert {one.partition: (one.next, one.standing) for one in found.changed()} == {"1": (1, Standing.ENDED)}
