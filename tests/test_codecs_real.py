"""Recordings as they are found in the world: each is read whole, with the counts that its description gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sources import Row, lines_of, read, wide_cells
from tocsin.codecs import Cell, Column, Constant, CsvSettings, JsonLinesSettings, NumbersSettings, TimeSettings
from tocsin.instant import SECOND, parse_time

DATA = Path(__file__).parents[2] / "shared" / "data"


def recording(name: str) -> str:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not beside the repository")
    return str(path)


def spans(rows: list[Row]) -> dict[str, tuple[int, str, str]]:
    """For each device the number of its readings, the first time and the last."""
    found: dict[str, list[str]] = {}
    for time, device, _, _ in rows:
        found.setdefault(device, []).append(time)
    return {device: (len(times), times[0], times[-1]) for device, times in found.items()}


def test_the_smoker_has_sparse_rows_and_two_digit_years() -> None:
    time = TimeSettings(("Time (UTC)",), "%m/%d/%y %H:%M:%S")
    settings = CsvSettings(time, wide_cells(Channel1="smoker", Channel2="food-a", Channel3="food-b"))
    rows, rejects, _ = read(recording("smoker-temps.csv"), settings)
    assert spans(rows) == {
        "smoker": (962, "2021-05-22T12:20:15Z", "2021-05-22T20:19:15Z"),
        "food-a": (1043, "2021-05-22T13:46:35Z", "2021-05-22T22:14:50Z"),
        "food-b": (1104, "2021-05-22T13:46:40Z", "2021-05-22T22:27:00Z"),
    }
    assert rejects == []
    smoker = [value for _, device, _, value in rows if device == "smoker"]
    assert (min(smoker), max(smoker)) == (84.2, 268.3)


def test_the_heart_rates_of_five_patients_have_an_unnamed_first_column() -> None:
    cells = wide_cells(**{f"Patient_{number}": f"p{number}" for number in range(1, 6)})
    rows, rejects, _ = read(recording("heart-rate-telemetry.csv"), CsvSettings(TimeSettings(("Time_Stamp",)), cells))
    assert Counter(row[1] for row in rows) == {f"p{number}": 999 for number in range(1, 6)}
    assert rejects == []
    assert rows[0] == ("2024-06-08T21:26:38.619245Z", "p1", "v", 23.0)
    assert rows[-1][0].startswith("2024-06-08T21:35:03")


@pytest.mark.parametrize(
    ("name", "count", "lowest", "highest", "last"),
    [
        ("heart-rate-hr11839.txt", 1800, 73.4, 106.8, "2024-01-01T00:14:59.5Z"),
        ("heart-rate-hr207.txt", 950, 52.1, 75.5, "2024-01-01T00:07:54.5Z"),
    ],
)
def test_a_heart_rate_of_one_number_a_line_is_evenly_spaced(
    name: str, count: int, lowest: float, highest: float, last: str
) -> None:
    settings = NumbersSettings(parse_time("2024-01-01T00:00:00Z"), SECOND // 2, "p", "bpm")
    rows, rejects, _ = read(recording(name), settings)
    values = [row[3] for row in rows]
    assert (len(rows), rows[0][0], rows[-1][0], rejects) == (count, "2024-01-01T00:00:00Z", last, [])
    assert (round(min(values), 1), round(max(values), 1)) == (lowest, highest)


def test_the_plant_has_nested_objects_in_an_archive() -> None:
    cell = Cell("padrao.leitura.temperatura", Column("id_sensor"), Constant("temp"), (("sensor", Column("sensor")),))
    settings = JsonLinesSettings(TimeSettings(("data_evento",)), (cell,))
    rows, rejects, steps = read(recording("dados_sensores.txt.gz"), settings)
    assert (len(rows), rejects) == (10_000, [])
    assert (min(row[3] for row in rows), max(row[3] for row in rows)) == (4.1, 90.2)
    assert len({row[0] for row in rows}) == 200
    sensors = Counter(
        dict(step.batch.series.describe(int(code))[2])["sensor"] for step in steps for code in step.batch.code
    )
    assert (len(sensors), min(sensors.values()), max(sensors.values())) == (50, 162, 244)


def test_the_household_has_date_and_time_apart_and_semicolons() -> None:
    names = ["Global_active_power", "Global_reactive_power", "Voltage", "Global_intensity"]
    names += [f"Sub_metering_{number}" for number in (1, 2, 3)]
    cells = tuple(Cell(name, Constant("home"), Constant(name.lower())) for name in names)
    settings = CsvSettings(TimeSettings(("Date", "Time"), "%d/%m/%Y %H:%M:%S"), cells, ";", missing=("?",))
    rows, rejects, _ = read(recording("household-power-2days.csv"), settings)
    assert Counter(row[2] for row in rows) == {name.lower(): 2880 for name in names}
    assert (rows[0][0], rows[-1][0], rejects) == ("2007-02-01T00:00:00Z", "2007-02-02T23:59:00Z", [])


def test_the_intervals_of_a_utility_are_local_and_newest_first() -> None:
    path = recording("utility-intervals.csv")
    cells = (Cell("interval_kWh", Column("meter_uid"), Constant("kwh")),)
    form = "%m/%d/%Y %H:%M"
    strict = CsvSettings(TimeSettings(("interval_start",), form, "US/Pacific"), cells)
    _, rejects, _ = read(path, strict)
    assert [reject.reason.split(" in ")[0] for reject in rejects] == ["'11/04/2018 01:00' happens twice"]
    earlier = CsvSettings(TimeSettings(("interval_start",), form, "US/Pacific", "earlier"), cells)
    rows, rejects, _ = read(path, earlier, sort=True)
    assert (len(rows), lines_of(rejects)) == (9403, [])
    assert (rows[0][0], rows[-1][0]) == ("2018-01-11T08:00:00Z", "2019-02-07T03:00:00Z")
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert round(sum(row[3] for row in rows), 1) == 5244.7


def test_the_registrations_of_a_utility_have_unix_times() -> None:
    cell = Cell("zipcode", Column("service_id"), Constant("zip"), (("type", Column("type")),))
    settings = CsvSettings(TimeSettings(("reg_time",), "unix_s"), (cell,))
    rows, rejects, steps = read(recording("utility-registrations.csv"), settings)
    assert (len(rows), rejects) == (5000, [])
    assert "2017-01-01T05:00:00Z" <= min(rows)[0] <= max(rows)[0] <= "2017-01-04T05:00:00Z"
    kinds = Counter(
        dict(step.batch.series.describe(int(code))[2])["type"] for step in steps for code in step.batch.code
    )
    assert kinds == {"household": 4700, "business": 300}


def test_the_electricity_of_a_utility_has_no_header() -> None:
    header = ("service_id", "user_name", "type", "reading_time", "state", "consumption", "end_time")
    cell = Cell("consumption", Column("service_id"), Constant("kwh"))
    settings = CsvSettings(TimeSettings(("reading_time",), "unix_s"), (cell,), header=header)
    rows, rejects, _ = read(recording("utility-electricity-sample.csv"), settings)
    times = ["2017-01-01T05:00:05Z", "2017-01-01T05:00:10Z", "2017-01-01T05:00:15Z"]
    assert ([row[0] for row in rows], rejects) == (times, [])
    assert rows[0][3] == 0.1576334819070297
