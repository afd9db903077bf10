"""Curves as text: they fit, they show every reading, and an alert is seen where it was."""

from __future__ import annotations

import pytest

from tocsin.chart import Curve, chart

MINUTE = 60 * 10**9


def rows(*curves: Curve, width: int = 40, height: int = 10, plain: bool = True) -> list[str]:
    return [line.plain for line in chart(curves, width, height, plain)]


def climb(*alerts: tuple[int, int, int], letter: str = "s") -> Curve:
    """From 0 to 100 in a hundred minutes: a straight line from corner to corner."""
    return Curve("smoker", letter, "yellow", [(minute * MINUTE, float(minute)) for minute in range(101)], alerts)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(("width", "height"), [(80, 18), (40, 10), (20, 4)])
def test_no_line_of_the_plot_is_wider_than_asked(width: int, height: int, plain: bool) -> None:
    plot = rows(climb((1, 50 * MINUTE, 60 * MINUTE)), width=width, height=height, plain=plain)[1:]
    assert len(plot) == height + 2
    assert max(map(len, plot)) <= width


def test_a_straight_climb_goes_from_corner_to_corner() -> None:
    plot = [row[6:] for row in rows(climb())[1:-2]]
    assert plot[0].endswith("s")
    assert plot[-1].startswith("s")
    assert [row.index("s") for row in plot] == sorted((row.index("s") for row in plot), reverse=True)


def test_a_jump_is_joined_by_an_upright_stroke() -> None:
    """From 0 to 100 in one minute of two hundred, every row between has its dot."""
    jump = Curve("x", "x", "red", [(minute * MINUTE, 0.0 if minute < 100 else 100.0) for minute in range(200)])
    assert all("x" in row for row in rows(jump)[1:-2])


def test_a_curve_is_large_while_its_alert_is_on_and_numbered_where_it_began() -> None:
    text = "".join(row[6:] for row in reversed(rows(climb((7, 50 * MINUTE, 75 * MINUTE)))[1:-2])).replace(" ", "")
    before, after = text.split("7")
    assert set(before) == {"s"}
    assert after.startswith("S")
    assert after.endswith("s")


def test_two_alerts_that_begin_at_one_place_stand_side_by_side() -> None:
    begun = rows(climb((1, 50 * MINUTE, 75 * MINUTE)), climb((2, 50 * MINUTE, 75 * MINUTE), letter="b"))
    assert any("21" in row for row in begun)


def test_away_from_a_terminal_there_is_nothing_but_ascii() -> None:
    assert "\n".join(rows(climb((1, 0, MINUTE)))).isascii()
    assert not "\n".join(rows(climb(), plain=False)).isascii()


def test_the_axes_have_round_values_and_times() -> None:
    """A range of 0 to 100 is labelled every 20; a hundred minutes every half hour."""
    plot = rows(climb(), width=59)
    assert [row[:4].strip() for row in plot[1:-2] if row[:4].strip()] == ["100", "80", "60", "40", "20"]
    assert plot[-1].split() == ["00:00", "00:30", "01:00", "01:30"]


def test_no_reading_and_a_single_value_are_charts_too() -> None:
    assert rows(Curve("x", "x", "red", [])) == ["no readings"]
    assert any("x" in row for row in rows(Curve("x", "x", "red", [(0, 5.0)]))[1:])
