"""The Python face: frames of every kind in, a table of alerts out."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import tocsin
from tocsin.errors import ConfigError
from tocsin.reading import Flag

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOT = "- {alert: Hot, expr: temp > 80}"


def at(*seconds: float) -> list[datetime]:
    return [NOON + timedelta(seconds=it) for it in seconds]


def columns(**more: Any) -> dict[str, Any]:
    """Hot from noon to 12:00:30, in a; b is cold."""
    return {"device": ["a", "b", "a"], "time": at(0, 10, 30), "value": [90.0, 20.0, 70.0], **more}


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "mapping": dict,
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "table": pa.table,
    "batch": pa.RecordBatch.from_pydict,
    "chunks": lambda given: pa.concat_tables([pa.table(given).slice(0, 1), pa.table(given).slice(1)]),
}
of_each_kind = pytest.mark.parametrize("kind", KINDS)


def rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rule, key, and the seconds from noon to since and until."""

    def seconds(time: Any) -> float | None:
        return None if time is None else (time.to_pydatetime() - NOON).total_seconds()

    return [(it["rule"], it["key"], seconds(it["since"]), seconds(it["until"])) for it in table.to_pylist()]


def complaint(frame: Any, rules: str = HOT) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        tocsin.detect(frame, rules)
    return str(caught.value)


class TestFrames:
    @of_each_kind
    def test_every_kind_of_frame_gives_the_same_alerts(self, kind: str) -> None:
        assert rows(tocsin.detect(KINDS[kind](columns()), HOT)) == [("Hot", {"device": "a"}, 0, 30)]

    @of_each_kind
    def test_a_frame_without_rows_has_no_alerts(self, kind: str) -> None:
        typed = pa.table(columns()).slice(0, 0)
        empty = {"pandas": typed.to_pandas, "polars": lambda: pl.from_arrow(typed)}.get(kind, lambda: typed)()
        assert tocsin.detect(empty, HOT).num_rows == 0

    @of_each_kind
    def test_readings_may_come_in_any_order(self, kind: str) -> None:
        turned = {name: column[::-1] for name, column in columns().items()}
        assert rows(tocsin.detect(KINDS[kind](turned), HOT)) == [("Hot", {"device": "a"}, 0, 30)]

    @of_each_kind
    def test_text_columns_are_labels(self, kind: str) -> None:
        frame = KINDS[kind](columns(site=["roof", "roof", None], note=[1, 2, 3]))
        rules = "- {alert: Hot, expr: 'max(temp[1s]) > 80', by: [site]}\n- {alert: R, expr: 'temp{site=\"roof\"} > 15'}"
        assert rows(tocsin.detect(frame, rules)) == [
            ("Hot", {"site": "roof", "device": None}, 0, 10),
            ("R", {"site": None, "device": "a"}, 0, None),
            ("R", {"site": None, "device": "b"}, 10, None),
        ]

    def test_a_metric_column_says_what_was_measured(self) -> None:
        frame = columns(metric=["temp", "temp", "humidity"])
        assert rows(tocsin.detect(frame, HOT)) == [("Hot", {"device": "a"}, 0, None)]

    @pytest.mark.parametrize("blank", [None, float("nan")])
    def test_a_blank_value_is_no_reading(self, blank: float | None) -> None:
        frame = columns(value=[90.0, None, blank])
        assert rows(tocsin.detect(frame, HOT)) == [("Hot", {"device": "a"}, 0, None)]

    def test_categories_are_texts(self) -> None:
        frame = pd.DataFrame(columns(site=["roof", None, "roof"])).astype({"device": "category", "site": "category"})
        assert rows(tocsin.detect(frame, HOT)) == [("Hot", {"device": "a"}, 0, 30)]

    def test_whole_numbers_are_numbers(self) -> None:
        assert tocsin.detect(columns(value=[90, 20, 70]), HOT)["value"].to_pylist() == [90.0]

    def test_anything_that_becomes_arrow_is_a_frame(self) -> None:
        class Relation:
            def to_arrow(self) -> pa.Table:
                return pa.table(columns())

        assert tocsin.detect(Relation(), HOT).num_rows == 1


class TestTimes:
    @pytest.mark.parametrize(
        "times",
        [
            ["2024-01-01T12:00:00Z", "2024-01-01T13:00:10+01:00", "2024-01-01 12:00:30"],
            [time.replace(tzinfo=None) for time in at(0, 10, 30)],
            [time.astimezone(timezone(timedelta(hours=5))) for time in at(0, 10, 30)],
            np.array(["2024-01-01T12:00:00", "2024-01-01T12:00:10", "2024-01-01T12:00:30"], "datetime64[s]"),
            np.array(["2024-01-01T12:00:00", "2024-01-01T12:00:10", "2024-01-01T12:00:30"], "datetime64[ns]"),
        ],
        ids=["texts", "without a zone", "of another zone", "seconds", "nanoseconds"],
    )
    def test_they_may_be_written_in_many_ways(self, times: Any) -> None:
        assert rows(tocsin.detect(columns(time=times), HOT)) == [("Hot", {"device": "a"}, 0, 30)]

    def test_a_day_begins_at_midnight_utc(self) -> None:
        frame = columns(time=[date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 2)])
        assert rows(tocsin.detect(frame, HOT)) == [("Hot", {"device": "a"}, -43_200, 43_200)]


class TestMistakes:
    def test_a_column_that_is_not_there(self) -> None:
        frame = {"devise": ["a"], "time": at(0), "value": [1.0]}
        assert complaint(frame) == (
            "the frame has no column 'device', only devise, time, value. Did you mean 'devise'?"
        )

    def test_a_metric_that_must_be_named(self) -> None:
        assert complaint(columns(), "- {alert: A, expr: temp > 80 and humidity > 1}") == (
            "the frame has no column 'metric', and the rules speak of humidity, temp: add the column"
        )

    def test_values_that_are_no_numbers(self) -> None:
        assert complaint(columns(value=["90", "20", "70"])) == "the column 'value' holds string: expected numbers"

    def test_a_value_that_is_infinite(self) -> None:
        assert complaint(columns(value=[90.0, float("-inf"), 1.0])).startswith(
            "the value of 'b' at 2024-01-01 12:00:10"
        )

    def test_times_that_are_plain_numbers(self) -> None:
        assert "convert it to timestamps first" in complaint(columns(time=[0, 10, 30]))

    def test_times_that_are_no_times(self) -> None:
        assert complaint(columns(time=["noon"] * 3)).startswith("'noon' in the column 'time' is not an ISO 8601 time")

    def test_a_time_beyond_what_nanoseconds_can_hold(self) -> None:
        assert complaint(columns(time=[datetime(3000, 1, 1)] * 3))  # noqa: DTZ001 (of no zone, as in many a frame)

    @pytest.mark.parametrize("text", ["3000-01-01T00:00:00Z", "0001-01-01T00:00:00Z"])
    def test_a_text_of_a_time_beyond_what_nanoseconds_can_hold(self, text: str) -> None:
        assert text in complaint(columns(time=[text] * 3))

    @pytest.mark.parametrize("name", ["device", "time"])
    def test_readings_without_a_device_or_a_time(self, name: str) -> None:
        frame = columns()
        frame[name] = [*frame[name][:2], None]
        assert complaint(frame) == f"the frame has 1 readings without a {name}: drop them first"

    def test_what_is_no_frame(self) -> None:
        assert complaint([1, 2]) == "expected a frame that Arrow can read (pandas, Polars, PyArrow), not list"

    def test_rules_that_are_wrong(self) -> None:
        with pytest.raises(ConfigError, match="Did you mean 'drop'"):
            tocsin.detect(columns(), "- {alert: A, expr: 'dorp(temp[1m]) > 1'}")

    def test_there_is_nothing_else_in_the_package(self) -> None:
        with pytest.raises(AttributeError, match="module 'tocsin' has no attribute 'detekt'"):
            _ = tocsin.detekt


class TestDetect:
    def test_rules_may_be_text_a_file_or_mappings(self, tmp_path: Path) -> None:
        path = tmp_path / "rules.yaml"
        path.write_text(HOT, encoding="utf-8")
        for rules in (HOT, path, str(path), [{"alert": "Hot", "expr": "temp > 80"}]):
            assert tocsin.detect(columns(), rules).num_rows == 1

    def test_the_table_tells_everything_of_an_alert(self) -> None:
        frame = columns(value=[90.0, 20.0, 95.0])
        table = tocsin.detect(frame, HOT)
        assert table.schema.field("since").type == pa.timestamp("ns", "UTC")
        [alert] = table.to_pylist()
        del alert["since"], alert["fired"]
        assert alert == {
            "rule": "Hot",
            "key": {"device": "a"},
            "until": None,
            "state": "firing",
            "level": None,
            "value": 90.0,
            "peak": 95.0,
            "last": 95.0,
            "reason": None,
        }

    def test_an_alert_that_never_fired_is_there_only_when_asked_for(self) -> None:
        rules = "- {alert: Hot, expr: temp > 80, for: 1h}"
        assert tocsin.detect(columns(), rules).num_rows == 0
        [alert] = tocsin.detect(columns(), rules, pending=True).to_pylist()
        assert (alert["state"], alert["fired"]) == ("inactive", None)

    def test_expected_devices_bring_labels_and_are_missed(self) -> None:
        rules = "- {alert: Gone, expr: 'missing(temp[20s])', by: [device, site]}"
        found = rows(tocsin.detect(columns(), rules, devices={"c": {"site": "roof"}}))
        assert found == [
            ("Gone", {"device": "a", "site": None}, 20, 30),
            ("Gone", {"device": "c", "site": "roof"}, 20, None),
            ("Gone", {"device": "b", "site": None}, 30, None),
        ]

    def test_a_key_may_be_forgotten(self) -> None:
        frame = {"device": ["a", "b"], "time": at(0, 1000), "value": [90.0, 1.0]}
        [alert] = tocsin.detect(frame, HOT, forget_after="10m").to_pylist()
        assert (alert["state"], alert["reason"]) == ("resolved", "forgotten")

    def test_a_bare_metric_grows_stale_as_it_was_told_to(self) -> None:
        frame = {
            "device": ["a", "a"],
            "metric": ["temp", "humidity"],
            "time": at(0, 60),
            "value": [90.0, 1.0],
        }
        rules = "- {alert: Both, expr: temp > 80 and humidity > 0}"
        assert tocsin.detect(frame, rules).num_rows == 1
        with pytest.warns(UserWarning, match="rule 'Both' was unknown in all of its 2 evaluations"):
            assert tocsin.detect(frame, rules, staleness="59s").num_rows == 0

    def test_a_rule_that_no_reading_matches_is_told(self) -> None:
        frame = {"device": ["a"], "metric": ["temperature"], "time": at(0), "value": [90.0]}
        with pytest.warns(UserWarning, match="rule 'Hot' was never evaluated"):
            assert tocsin.detect(frame, "- {alert: Hot, expr: temp > 80}").num_rows == 0

    def test_nothing_at_all_gives_an_empty_table(self) -> None:
        assert tocsin.detect({"device": [], "time": [], "value": []}, HOT).num_rows == 0

    def test_of_the_same_reading_twice_the_first_counts(self) -> None:
        frame = {"device": ["a"] * 3, "time": at(0, 0, 0), "value": [90.0, 90.0, 10.0]}
        assert tocsin.detect(frame, HOT)["last"].to_pylist() == [90.0]


class TestEngine:
    def test_it_decides_frames_as_they_come(self) -> None:
        engine = tocsin.Engine(HOT)
        first = engine.process(columns(), "2024-01-01T12:00:10Z")
        assert [move.to.name for move in first.transitions] == ["FIRING"]
        assert [move.to.name for move in engine.process(None, "2024-01-01T12:01:00Z").transitions] == ["RESOLVED"]

    @pytest.mark.parametrize(
        "watermark",
        [
            NOON + timedelta(seconds=30),
            (NOON + timedelta(seconds=30)).replace(tzinfo=None),
            (NOON + timedelta(seconds=30)).astimezone(timezone(timedelta(hours=-3))),
            "2024-01-01T12:00:30",
            np.datetime64("2024-01-01T12:00:30"),
            1_704_110_430_000_000_000,
        ],
        ids=["utc", "no zone", "another zone", "text", "numpy", "nanoseconds"],
    )
    def test_a_watermark_may_be_written_in_many_ways(self, watermark: Any) -> None:
        engine = tocsin.Engine(HOT)
        engine.process(columns(), watermark)
        assert engine.watermark == 1_704_110_430_000_000_000

    def test_each_reading_has_a_flag(self) -> None:
        engine = tocsin.Engine(HOT)
        engine.process(None, NOON + timedelta(seconds=5))
        frame = {"device": ["a"] * 4, "time": at(0, 10, 10, 10), "value": [1.0, 2.0, 2.0, 3.0]}
        decision = engine.process(frame, NOON + timedelta(seconds=5))
        assert [Flag(flag) for flag in decision.flags] == [Flag.LATE, Flag.ACCEPTED, Flag.REPEAT, Flag.CONFLICT]

    def test_it_goes_on_from_a_snapshot_that_was_pickled(self) -> None:
        rules = "- {alert: Hot, expr: 'avg(temp[20s]) > 80', min_coverage: 0, for: 2 readings}"
        engine, fresh = tocsin.Engine(rules), tocsin.Engine(rules)
        engine.process({"device": ["a", "a"], "time": at(0, 10), "value": [90.0, 75.0]}, NOON + timedelta(seconds=5))
        fresh.restore(pickle.loads(pickle.dumps(engine.snapshot())))
        ledgers = [
            [move.ledger() for move in it.process(None, NOON + timedelta(seconds=20)).transitions]
            for it in (engine, fresh)
        ]
        assert ledgers[0] == ledgers[1]
        assert '"to": "firing"' in ledgers[0][0]
