"""Which partition a reading belongs to."""

from __future__ import annotations

import pytest

from tocsin.partition import Partitioner, murmur2
from tocsin.reading import Series


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # From the tests of Apache Kafka's own Utils.murmur2 (UtilsTest.testMurmur2), there with a sign.
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_hash_is_kafkas(text: str, expected: int) -> None:
    assert murmur2(text.encode()) == expected % 2**32


def test_a_key_is_always_in_one_partition_and_all_partitions_are_used() -> None:
    series = Series()
    codes = series.codes([f"d{number % 100}" for number in range(200)], "temp")
    places = Partitioner(series, ["device"], ["0", "1", "2", "3"]).places()[codes]
    assert places[:100].tolist() == places[100:].tolist()
    assert set(places.tolist()) == {0, 1, 2, 3}


def test_series_of_one_key_are_together_whatever_their_device_is() -> None:
    series = Series()
    a, b = series.code("a", "kwh", {"state": "NY"}), series.code("b", "kwh", {"state": "NY"})
    partitioner = Partitioner(series, ["state"], ["0", "1", "2", "3"])
    assert partitioner.places()[a] == partitioner.places()[b]
    assert partitioner.key(a) == "NY"


def test_a_template_names_the_queue_and_an_unknown_one_is_none() -> None:
    series = Series()
    known, other = series.code("food-a", "temp"), series.code("food-x", "temp")
    places = Partitioner(series, ["device"], ["01-smoker", "02-food-a"], "02-{device}").places()
    assert places[[known, other]].tolist() == [1, -1]


def test_new_series_find_their_place_later() -> None:
    series = Series()
    partitioner = Partitioner(series, ["device"], ["0", "1"])
    series.code("a", "m")
    assert len(partitioner.places()) == 1
    series.code("b", "m")
    assert len(partitioner.places()) == 2
