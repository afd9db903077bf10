"""What is decided by itself, and which expected devices belong where."""

from __future__ import annotations

from tocsin.partition import devices_in, murmur2
from tocsin.unit import Unit, units_of


def test_partitions_are_units_where_every_rule_has_a_label_that_tells_them_apart() -> None:
    assert units_of(["0", "1"], ["device"]) == (Unit("0", ("0",)), Unit("1", ("1",)))


def test_where_rules_have_nothing_in_common_all_is_one_unit() -> None:
    assert units_of(["0", "1"], []) == (Unit("", ("0", "1")),)


def test_one_partition_is_one_unit() -> None:
    assert units_of(["0"], ["device"]) == (Unit("", ("0",)),)


def test_a_queue_is_a_unit_if_the_rules_look_at_no_more_than_one() -> None:
    assert units_of(["north", "south"], ["device", "site"], "{site}") == (
        Unit("north", ("north",)),
        Unit("south", ("south",)),
    )
    assert units_of(["q-a"], ["device"], "q-{device}") == (Unit("q-a", ("q-a",)),)


def test_queues_by_another_label_than_the_rules_look_at_are_one_unit() -> None:
    """A sum over a device's readings needs them all, and they lie in the queues of several sites."""
    assert units_of(["north", "south"], ["device"], "{site}") == (Unit("", ("north", "south")),)


def test_an_expected_device_is_waited_for_in_the_partition_to_which_its_readings_go() -> None:
    """By the same hash as a producer's: murmur2, without its sign, by the number of partitions."""
    devices = {name: {"site": "x"} for name in ("a", "b", "c", "d")}
    found = devices_in(devices, ["device"], ["0", "1"])
    assert found == {
        partition: {
            name: labels
            for name, labels in devices.items()
            if (murmur2(name.encode()) & 0x7FFFFFFF) % 2 == int(partition)
        }
        for partition in ("0", "1")
    }
    assert all(found.values())


def test_an_expected_device_belongs_to_its_queue() -> None:
    found = devices_in({"a": {}, "b": {}}, ["device"], ["q-a", "q-b"], "q-{device}")
    assert found == {"q-a": {"a": {}}, "q-b": {"b": {}}}
