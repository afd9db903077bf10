"""What the real recordings must show, through pipeline files and `tocsin replay --json`, and by the oracle.

The recordings lie beside the repository, with a README on what each is; where they are absent these
tests are skipped.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import oracle
from cases import SHARED
from oracle import Outcome, Reading
from tocsin.cli import app
from tocsin.rule import parse_rules

DATA = SHARED / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not beside the repository")

SMOKER_RULES: list[dict[str, Any]] = [
    {
        "alert": "SmokerDrop",
        "expr": 'drop(temp_f{device="smoker"}[2m30s]) > 15',
        "clear": 'drop(temp_f{device="smoker"}[2m30s]) < 10',
        "keep_firing_for": "1m",
    },
    {"alert": "FoodStall", "expr": 'spread(temp_f{device=~"food-.*"}[10m]) < 1'},
]
SMOKER_SOURCE = """\
  file: {data}/smoker-temps.csv
  time: {{column: "Time (UTC)", format: "%m/%d/%y %H:%M:%S", zone: UTC}}
  readings:
    Channel1: {{device: smoker, metric: temp_f}}
    Channel2: {{device: food-a, metric: temp_f}}
    Channel3: {{device: food-b, metric: temp_f}}
"""
SMOKER_ALERTS = [
    ("SmokerDrop", "smoker", "2021-05-22T12:34:10Z"),
    ("SmokerDrop", "smoker", "2021-05-22T13:46:10Z"),
    ("FoodStall", "food-b", "2021-05-22T17:18:40Z"),
    ("FoodStall", "food-a", "2021-05-22T17:22:35Z"),
    ("SmokerDrop", "smoker", "2021-05-22T18:48:10Z"),
    ("SmokerDrop", "smoker", "2021-05-22T20:18:10Z"),
    ("FoodStall", "food-b", "2021-05-22T20:43:25Z"),
]

HEART_RULES: list[dict[str, Any]] = [
    {"alert": "Tachycardia", "expr": "bpm > 100", "for": "3 readings"},
    {"alert": "Bradycardia", "expr": "bpm < 50", "for": "3 readings"},
]
HEART_SOURCE = """\
  file: {data}/heart-rate-telemetry.csv
  time: {{column: Time_Stamp, format: "%Y-%m-%d %H:%M:%S.%f", zone: UTC}}
  readings:
    Patient_1: {{device: patient-1, metric: bpm}}
    Patient_2: {{device: patient-2, metric: bpm}}
    Patient_3: {{device: patient-3, metric: bpm}}
    Patient_4: {{device: patient-4, metric: bpm}}
    Patient_5: {{device: patient-5, metric: bpm}}
"""
HEART_EPISODES = {"Tachycardia": 351, "Bradycardia": 29}

SENSOR_RULES: list[dict[str, Any]] = [
    {"alert": "Hot", "expr": "avg(temp_c[10m]) > 75", "by": ["sensor"], "min_coverage": 0}
]
SENSOR_SOURCE = """\
  file: {data}/dados_sensores.txt.gz
  format: json_lines
  time: data_evento
  device: id_sensor
  labels: {{sensor: sensor}}
  readings: {{padrao.leitura.temperatura: temp_c}}
"""
SENSORS_OPEN_AT_THE_END = {
    "sensor13": 76.355,
    "sensor17": 81.131,
    "sensor19": 81.800,
    "sensor21": 76.435,
    "sensor27": 79.328,
    "sensor33": 80.918,
    "sensor46": 81.190,
}


def replay(folder: Path, source: str, rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The alerts that `tocsin replay --json` prints, in their order."""
    pipeline = folder / "pipeline.yaml"
    text = f"pipeline: recording\nsource:\n{source.format(data=DATA)}rules: {json.dumps(rules)}\n"
    pipeline.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(app, ["replay", str(pipeline), "--no-store", "--json"])
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def judge(readings: Iterator[Reading], rules: Sequence[Mapping[str, Any]]) -> Outcome:
    """What the oracle finds in a recording."""
    return oracle.replay(parse_rules(rules, None), readings)


def rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def instant(text: str, pattern: str) -> int:
    """Nanoseconds of a local time, which all recordings take for UTC; to the microsecond, without rounding."""
    time = datetime.strptime(text, pattern).replace(tzinfo=UTC)
    return int(time.replace(microsecond=0).timestamp()) * 1_000_000_000 + time.microsecond * 1_000


def smoker_readings() -> Iterator[Reading]:
    for row in rows("smoker-temps.csv"):
        time = instant(row["Time (UTC)"], "%m/%d/%y %H:%M:%S")
        for column, device in (("Channel1", "smoker"), ("Channel2", "food-a"), ("Channel3", "food-b")):
            if row[column]:
                yield Reading(device, "temp_f", time, float(row[column]))


def heart_readings() -> Iterator[Reading]:
    for row in rows("heart-rate-telemetry.csv"):
        time = instant(row["Time_Stamp"], "%Y-%m-%d %H:%M:%S.%f")
        for number in range(1, 6):
            yield Reading(f"patient-{number}", "bpm", time, float(row[f"Patient_{number}"]))


def sensor_readings() -> Iterator[Reading]:
    with gzip.open(DATA / "dados_sensores.txt.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            time = instant(row["data_evento"], "%Y-%m-%dT%H:%M:%S.%fZ")
            value = row["padrao"]["leitura"]["temperatura"]
            yield Reading(row["id_sensor"], "temp_c", time, value, (("sensor", row["sensor"]),))


def test_the_smoker_drops_four_times_and_the_foods_stall_three_times(tmp_path: Path) -> None:
    alerts = replay(tmp_path, SMOKER_SOURCE, SMOKER_RULES)
    assert [(it["rule"], it["key"]["device"], it["since"]) for it in alerts] == SMOKER_ALERTS


def test_the_oracle_finds_the_same_drops_and_stalls() -> None:
    alerts = judge(smoker_readings(), SMOKER_RULES).alerts
    assert [(it.rule, dict(it.key)["device"], oracle.iso(it.since)) for it in alerts] == SMOKER_ALERTS


def test_five_patients_have_351_episodes_of_tachycardia_and_29_of_bradycardia(tmp_path: Path) -> None:
    alerts = replay(tmp_path, HEART_SOURCE, HEART_RULES)
    assert Counter(it["rule"] for it in alerts) == HEART_EPISODES
    assert {it["key"]["device"] for it in alerts} == {f"patient-{number}" for number in range(1, 6)}


def test_the_oracle_finds_the_same_episodes() -> None:
    alerts = judge(heart_readings(), HEART_RULES).alerts
    assert Counter(it.rule for it in alerts if it.fired is not None) == HEART_EPISODES


def test_seven_sensors_are_hot_at_the_end(tmp_path: Path) -> None:
    alerts = replay(tmp_path, SENSOR_SOURCE, SENSOR_RULES)
    still_open = {it["key"]["sensor"]: it["last"] for it in alerts if it["until"] is None}
    assert still_open == pytest.approx(SENSORS_OPEN_AT_THE_END, abs=0.0005)
    assert {it["state"] for it in alerts if it["until"] is None} == {"firing"}


def test_the_oracle_finds_the_same_hot_sensors() -> None:
    alerts = judge(sensor_readings(), SENSOR_RULES).alerts
    still_open = {dict(it.key)["sensor"]: it.last for it in alerts if it.until is None}
    assert still_open == pytest.approx(SENSORS_OPEN_AT_THE_END, abs=0.0005)


@pytest.mark.parametrize(
    ("readings", "source", "rules"),
    [
        (smoker_readings, SMOKER_SOURCE, SMOKER_RULES),
        (heart_readings, HEART_SOURCE, HEART_RULES),
        (sensor_readings, SENSOR_SOURCE, SENSOR_RULES),
    ],
    ids=["smoker", "heart rate", "sensors"],
)
def test_every_alert_on_a_recording_is_the_oracles_to_the_last_field(
    readings: Any, source: str, rules: Sequence[Mapping[str, Any]], tmp_path: Path
) -> None:
    expected = [it for it in judge(readings(), rules).alerts if it.fired is not None]
    alerts = replay(tmp_path, source, rules)
    assert len(alerts) == len(expected)
    for mine, theirs in zip(alerts, expected, strict=True):
        assert (mine["rule"], mine["key"], mine["state"]) == (theirs.rule, dict(theirs.key), theirs.state)
        for name in ("since", "fired", "until"):
            time = getattr(theirs, name)
            assert mine[name] == (None if time is None else oracle.iso(time))
        for name in ("value", "peak", "last"):
            assert mine[name] == pytest.approx(getattr(theirs, name), rel=1e-12, abs=1e-12)
