"""Files: read to the end, gone on with after a stop, and followed through rotation and truncation."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from pathlib import Path

import pytest

from sources import LONG, TS, Row, lines_of, long_csv, read, rows_of, write
from tocsin.codecs import CodecSettings, CsvSettings, NumbersSettings
from tocsin.connectors.file import FileSettings, Source
from tocsin.errors import EndOfInput, RunError, SetupError
from tocsin.instant import SECOND
from tocsin.reading import Series
from tocsin.record import Decoded, Position, Record
from tocsin.source import DecodingSource, open_source

HEADER = "ts,device,name,value\n"


def line_of(second: int) -> str:
    return f"2024-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z,a,v,{second}\n"


def text_of(*seconds: int) -> str:
    return HEADER + "".join(map(line_of, seconds))


def values(rows: list[Row]) -> list[int]:
    return [int(row[3]) for row in rows]


def records_of(source: Source, max_bytes: int) -> list[Record]:
    records: list[Record] = []
    try:
        while True:
            records += source.poll(max_bytes)
    except EndOfInput:
        return records


class Follower:
    """Follows a file and gives the values that have come so far."""

    def __init__(self, path: str, position: Position | None = None, codec: CodecSettings | None = None) -> None:
        self.source: DecodingSource = open_source(FileSettings(path, follow=True), codec or long_csv(), Series())
        self.source.open(position)
        self.position = position
        self.rejects: list[int] = []
        self.steps: list[Decoded] = []

    def values(self, polls: int = 6) -> list[int]:
        """What comes within so many polls: some pass before a file counts as rotated away."""
        found: list[int] = []
        for _ in range(polls):
            step = self.source.poll()
            if step is not None:
                self.position = json.loads(json.dumps(step.position))
                self.rejects += lines_of(step.rejects)
                self.steps.append(step)
                found += values(rows_of(step))
        return found


@pytest.mark.parametrize("max_bytes", [1, 7, 64, 1 << 20])
def test_records_are_whole_lines_and_lie_end_to_end(tmp_path: Path, max_bytes: int) -> None:
    text = text_of(*range(20)) + "no line end"
    path = write(tmp_path, text)
    source = Source(FileSettings(path))
    source.open()
    records = records_of(source, max_bytes)
    source.close()
    assert b"".join(record.data for record in records).decode() == text
    assert all(record.data.endswith(b"\n") for record in records[:-1])
    offset, line = 0, 1
    for record in records:
        assert (record.place["offset"], record.place["line"]) == (offset, line)
        offset, line = offset + len(record.data), line + record.data.count(b"\n")
        assert (record.end["offset"], record.end["line"]) == (offset, line)


@pytest.mark.parametrize("packed", [False, True])
def test_reading_goes_on_exactly_after_any_position(tmp_path: Path, packed: bool) -> None:
    text = text_of(*range(300)).encode()
    path = write(tmp_path, gzip.compress(text) if packed else text)
    source = Source(FileSettings(path))
    source.open()
    records = records_of(source, 512)
    source.close()
    assert len(records) > 3
    for record in records:
        rest, rejects, _ = read(path, long_csv(), position=json.loads(json.dumps(record.end)))
        done = text[: record.end["offset"]].count(b"\n") - 1
        assert values(rest) == list(range(done, 300))
        assert rejects == []


def test_the_numbers_of_lines_go_on_too(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0, 1))
    _, _, (step,) = read(path, long_csv())
    with Path(path).open("a") as file:
        file.write("bad\n" + line_of(2))
    rows, rejects, _ = read(path, long_csv(), position=step.position)
    assert (values(rows), lines_of(rejects)) == ([2], [4])


def test_a_finished_file_has_nothing_more(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0, 1))
    _, _, (step,) = read(path, long_csv())
    assert read(path, long_csv(), position=step.position) == ([], [], [])


def test_a_file_that_was_rewritten_is_read_from_its_start(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(*range(5)))
    _, _, (step,) = read(path, long_csv())
    write(tmp_path, text_of(*range(10, 30)))
    assert values(read(path, long_csv(), position=step.position)[0]) == list(range(10, 30))
    write(tmp_path, text_of(9))
    assert values(read(path, long_csv(), position=step.position)[0]) == [9]


def test_a_gz_file_is_known_by_its_bytes_not_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(text_of(0, 1).encode()) + gzip.compress(line_of(2).encode()), "data.txt")
    assert values(read(path, long_csv())[0]) == [0, 1, 2]


def test_what_lies_before_the_damage_of_an_archive_is_read(tmp_path: Path) -> None:
    packed = gzip.compress("".join([HEADER, *map(line_of, range(50_000))]).encode())
    path = write(tmp_path, packed[: len(packed) // 2])
    source = open_source(FileSettings(path), long_csv(), Series())
    source.open()
    found: list[int] = []

    def read_on() -> None:
        while step := source.poll():
            found.extend(values(rows_of(step)))

    with pytest.raises(RunError, match=r"the gz archive is damaged or cut off after line \d+"):
        read_on()
    source.close()
    assert len(found) > 1000
    assert found == list(range(len(found)))


def test_an_archive_that_is_damaged_at_once_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(text_of(0).encode())[:-12])
    with pytest.raises(SetupError, match="the gz archive is damaged or cut off"):
        read(path, long_csv())


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, text_of(0), "readings.csv")
    with pytest.raises(SetupError, match=r"there is no such file\. Did you mean 'readings\.csv'\?"):
        read(str(tmp_path / "reading.csv"), long_csv())
    with pytest.raises(
        SetupError, match=r"there is no such file\. Expected it there, or another name in `source.file`$"
    ):
        read(str(tmp_path / "nowhere" / "reading.csv"), long_csv())


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="this is a folder, expected a file"):
        read(str(tmp_path), long_csv())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0))
    Path(path).chmod(0)
    with pytest.raises(SetupError, match="may not be read"):
        read(path, long_csv())


def test_a_permission_error_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tocsin.connectors.file._open", refuse)
    with pytest.raises(SetupError, match="may not be read: grant read permission with `chmod u\\+r`"):
        read(write(tmp_path, text_of(0)), long_csv())


def test_the_part_that_is_done_grows_to_one(tmp_path: Path) -> None:
    source = open_source(FileSettings(write(tmp_path, text_of(*range(10)))), long_csv(), Series())
    source.open()
    assert source.done == 0.0
    source.poll()
    assert source.done == 1.0
    source.close()


def test_sort_puts_a_file_in_order_of_time_and_keeps_the_order_of_lines_within_one(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(5, 3) + "2024-01-01T00:00:03Z,b,v,33\nbad\n" + line_of(1))
    rows, rejects, (step,) = read(path, long_csv(), sort=True)
    assert values(rows) == [1, 3, 33, 5]
    assert lines_of(rejects) == [5]
    assert read(path, long_csv(), sort=True, position=step.position) == ([], [], [])


def test_a_sorted_file_goes_on_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.source.STEP", 2)
    path = write(tmp_path, text_of(4, 3, 2, 1, 0))
    _, _, steps = read(path, long_csv(), sort=True)
    assert [values(rows_of(step)) for step in steps] == [[0, 1], [2, 3], [4]]
    assert values(read(path, long_csv(), sort=True, position=steps[0].position)[0]) == [2, 3, 4]


def test_a_sorted_file_may_grow_only_after_what_was_read(tmp_path: Path) -> None:
    """One more reading at 1 s would move those that were not read yet: one would be read twice, another never."""
    path = write(tmp_path, text_of(4, 0, 2))
    _, _, (step,) = read(path, long_csv(), sort=True)
    write(tmp_path, text_of(4, 0, 2, 5))
    assert values(read(path, long_csv(), sort=True, position=step.position)[0]) == [5]
    write(tmp_path, text_of(4, 0, 2, 1))
    with pytest.raises(RunError, match="has other readings before 2024-01-01T00:00:04Z"):
        read(path, long_csv(), sort=True, position=step.position)


def test_a_file_that_is_followed_cannot_be_sorted() -> None:
    with pytest.raises(ValueError, match="has no end and cannot be sorted"):
        FileSettings("x.csv", follow=True, sort=True)


def test_a_gz_file_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="a gz archive cannot be followed"):
        Follower(write(tmp_path, gzip.compress(b"x")))


def test_a_growing_file_is_followed_and_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0))
    follower = Follower(path)
    assert follower.values() == [0]
    with Path(path).open("a") as file:
        file.write(line_of(1) + line_of(2)[:-3])
        file.flush()
        assert follower.values() == [1]
        file.write(line_of(2)[-3:])
    assert follower.values() == [2]
    assert follower.source.done is None
    follower.source.close()


def test_an_empty_file_may_be_followed_and_gets_its_header_later(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    follower = Follower(path)
    assert follower.values() == []
    write(tmp_path, text_of(0))
    assert follower.values() == [0]
    follower.source.close()


def test_a_wrong_column_is_refused_when_the_header_of_a_followed_file_comes(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    follower = Follower(path)
    write(tmp_path, "ts,devise,name,value\n")
    with pytest.raises(SetupError, match="Did you mean 'devise'"):
        follower.values()
    follower.source.close()


@pytest.mark.parametrize("header", [HEADER, ""])
def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(tmp_path: Path, header: str) -> None:
    path = write(tmp_path, text_of(0))
    follower = Follower(path)
    assert follower.values() == [0]
    with Path(path).open("a") as old:
        Path(path).rename(path + ".1")
        write(tmp_path, header + line_of(3))
        old.write(line_of(1))
        old.flush()
        assert follower.values(1) == [1]
        old.write(line_of(2).rstrip("\n"))
    assert follower.values() == [2, 3]
    assert follower.rejects == []
    follower.source.close()


def test_files_that_were_rotated_while_nobody_looked_are_read_in_turn(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0))
    follower = Follower(path)
    assert follower.values() == [0]
    for number, second in ((2, 1), (1, 2)):
        Path(path).rename(f"{path}.{number}")
        time.sleep(0.02)
        write(tmp_path, text_of(second))
    assert follower.values(20) == [1, 2]
    follower.source.close()


def test_following_goes_on_in_a_file_that_was_rotated_during_a_stop(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0, 1))
    follower = Follower(path)
    assert follower.values() == [0, 1]
    follower.source.close()
    with Path(path).open("a") as file:
        file.write(line_of(2))
    Path(path).rename(path + ".1")
    time.sleep(0.02)
    write(tmp_path, text_of(3))
    again = Follower(path, follower.position)
    assert again.values() == [2, 3]
    again.source.close()


@pytest.mark.parametrize("seconds", [(7,), tuple(range(7, 27))], ids=["shorter", "longer"])
@pytest.mark.parametrize("header", [HEADER, ""])
def test_a_truncated_file_begins_anew(tmp_path: Path, seconds: tuple[int, ...], header: str) -> None:
    path = write(tmp_path, text_of(*range(5)))
    follower = Follower(path)
    assert follower.values() == list(range(5))
    write(tmp_path, header + "".join(map(line_of, seconds)))
    assert follower.values() == list(seconds)
    assert follower.rejects == []
    follower.source.close()


def test_what_was_copied_away_before_a_truncation_is_found_in_the_copy(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0))
    follower = Follower(path)
    assert follower.values() == [0]
    Path(path + ".1").write_text(text_of(0, 1))
    time.sleep(0.02)
    write(tmp_path, text_of(2))
    assert follower.values(10) == [1, 2]
    follower.source.close()


def test_numbers_keep_their_interval_across_a_rotation(tmp_path: Path) -> None:
    path = write(tmp_path, "60\n61\n", "data.txt")
    follower = Follower(path, codec=NumbersSettings(0, SECOND, "p", "bpm"))
    assert follower.values() == [60, 61]
    Path(path).rename(path + ".1")
    write(tmp_path, "62\n", "data.txt")
    assert follower.values() == [62]
    assert [int(time) // SECOND for step in follower.steps for time in step.batch.time] == [0, 1, 2]
    follower.source.close()


def test_a_poll_that_waits_returns_when_something_comes_and_when_it_is_closed(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0))
    follower = Follower(path)
    assert follower.values() == [0]
    assert follower.source.poll(timeout=0.1) is None
    with Path(path).open("a") as file:
        threading.Timer(0.1, print, [line_of(1)], {"end": "", "file": file, "flush": True}).start()
        assert follower.source.poll(timeout=5.0) is not None
    begin = time.monotonic()
    threading.Timer(0.1, follower.source.close).start()
    assert follower.source.poll(timeout=60.0) is None
    assert time.monotonic() - begin < 30


def test_columns_of_a_rotated_file_may_stand_in_another_order(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(0))
    follower = Follower(path, codec=CsvSettings(TS, LONG))
    assert follower.values() == [0]
    Path(path).rename(path + ".1")
    write(tmp_path, "value,name,device,ts\n1,v,a,2024-01-01T00:00:01Z\n")
    assert follower.values() == [1]
    follower.source.close()
