"""A simulated recording looks like the real one, and the same seed gives the same bytes."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from itertools import pairwise

import pytest

from tocsin import simulators
from tocsin.simulators.heart_rate import HeartRate
from tocsin.simulators.smoker import GAP_SECONDS, HEADER, Smoker

SEEDS = range(1, 9)


def cook(seed: int = 1) -> list[tuple[datetime, list[float | None]]]:
    rows = []
    for line in list(Smoker(seed=seed).lines())[1:]:
        time, *cells = line.rstrip("\r\n").split(",")
        rows.append(
            (datetime.strptime(time + "Z", "%m/%d/%y %H:%M:%S%z"), [float(cell) if cell else None for cell in cells])
        )
    return rows


def channel(rows: list[tuple[datetime, list[float | None]]], number: int) -> list[tuple[datetime, float]]:
    return [(time, value) for time, cells in rows if (value := cells[number]) is not None]


def ward(seed: int = 1) -> dict[str, list[int]]:
    rates = defaultdict(list)
    for line in list(HeartRate(seed=seed).lines())[1:]:
        _, patient, bpm = line.split(",")
        rates[patient].append(int(bpm))
    return rates


def test_the_folder_is_the_registry() -> None:
    """A simulator is found by the name of its file, as a user writes it."""
    assert simulators.names() == ["heart-rate", "smoker"]
    assert simulators.load("heart-rate") is HeartRate
    with pytest.raises(KeyError):
        simulators.load("toaster")


@pytest.mark.parametrize("name", simulators.names())
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name: str) -> None:
    simulate = simulators.load(name)
    assert list(simulate(seed=3).lines()) == list(simulate(seed=3).lines())
    assert list(simulate(seed=3).lines()) != list(simulate(seed=4).lines())


def test_a_cook_has_the_columns_and_line_ends_of_the_real_file() -> None:
    lines = list(Smoker().lines())
    assert lines[0] == HEADER == "Time (UTC),Channel1,Channel2,Channel3\r\n"
    assert all(line.endswith("\r\n") and line.count(",") == 3 for line in lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_are_sparse_and_in_order_of_time(seed: int) -> None:
    """No row has all three probes, each has at least one, and no instant comes twice."""
    rows = cook(seed)
    assert {sum(value is not None for value in cells) for _, cells in rows} == {1, 2}
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(rows))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_probe_writes_its_value_twice_five_seconds_apart(number: int) -> None:
    readings = channel(cook(), number)
    pairs = list(zip(readings[::2], readings[1::2], strict=True))
    assert all((second - first).seconds == 5 and value == again for (first, value), (second, again) in pairs)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_logger_sleeps_once(seed: int) -> None:
    """Otherwise no two rows are a minute apart."""
    gaps = [(later - earlier).seconds for (earlier, _), (later, _) in pairwise(cook(seed))]
    assert [gap for gap in gaps if gap >= 60] == [gap for gap in gaps if gap >= GAP_SECONDS]
    assert sum(gap >= 60 for gap in gaps) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_lid_is_opened_three_times(seed: int) -> None:
    """Each time the smoker loses more than 15 °F from one minute to the next, and never otherwise."""
    readings = [value for _, value in channel(cook(seed), 0)[::2]]
    assert sum(before - after > 15 for before, after in pairwise(readings)) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_food_b_has_one_wrong_reading_and_food_a_none(seed: int) -> None:
    """A food that warms never loses 40 °F in a minute."""
    falls = [
        sum(before - after > 40 for (_, before), (_, after) in pairwise(channel(cook(seed), number)[::2]))
        for number in (1, 2)
    ]
    assert falls == [0, 1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", [1, 2])
def test_each_food_stalls_for_about_an_hour_and_goes_on(number: int, seed: int) -> None:
    """The minutes after which a food gains less than 1 °F in ten follow each other; then it gets hot."""
    values = [value for _, value in channel(cook(seed), number)[::2]]
    slow = [minute for minute in range(len(values) - 10) if 0 <= values[minute + 10] - values[minute] < 1]
    assert slow == list(range(slow[0], slow[-1] + 1))
    assert 45 < len(slow) < 70
    assert values[-1] > 200


@pytest.mark.parametrize("seed", SEEDS)
def test_heart_rates_are_those_of_living_people(seed: int) -> None:
    rates = ward(seed)
    assert list(rates) == [f"patient-{number}" for number in range(1, 6)]
    assert all(len(rate) == 180 and min(rate) > 30 and max(rate) < 160 for rate in rates.values())


def test_the_default_ward_has_patients_who_race_one_who_slows_and_well_ones() -> None:
    """Three readings in a row beyond a limit are an episode; a slipped clip is one reading only."""

    def lasts(rate: list[int], low: int, high: int) -> bool:
        return any(all(low < bpm < high for bpm in rate[i : i + 3]) for i in range(len(rate) - 2))

    rates = ward().values()
    assert [lasts(rate, 100, 999) for rate in rates] == [False, False, True, False, True]
    assert [lasts(rate, 0, 50) for rate in rates] == [True, False, False, False, False]
    assert all(max(rate) > 100 for rate in rates), "a slip takes those who never race beyond the limit, for one reading"


def test_more_patients_and_a_longer_night_are_settings() -> None:
    assert len(list(HeartRate(patients=8, minutes=2).lines())) == 1 + 8 * 24
    assert len(list(Smoker(hours=1).lines())) == 1 + 60 * 2, "the foods are not in yet"
