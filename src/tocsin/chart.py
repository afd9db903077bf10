"""Curves in a terminal: readings over time as text, with the alerts marked on them.

The plot is a grid of character cells, each of 2 by 4 dots.  A terminal shows the dots as braille, a
colour for each curve; elsewhere a cell shows the curve's letter.  While an alert is on, its curve
turns red, or its letter large, and where it began stands the alert's number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.text import Text

from tocsin.instant import SECOND, format_time

BRAILLE = 0x2800
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot in a braille character: by column, then by row from the top."""
MARGIN = 6
FIRING = "bold red"
TIME_STEPS = [minutes * 60 * SECOND for minutes in (1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)]


@dataclass(frozen=True)
class Curve:
    """Readings of one device, in order of time, and when its alerts were on.

    `alerts` are (number, since, until), times in nanoseconds.
    """

    name: str
    letter: str
    colour: str
    readings: Sequence[tuple[int, float]]
    alerts: Sequence[tuple[int, int, int]] = ()


@dataclass
class Cell:
    """One character of the plot."""

    dots: int = 0
    mark: str = ""
    letter: str = " "
    style: str = ""


@dataclass
class Plot:
    """A grid of cells over a span of times and a range of values."""

    width: int
    height: int
    begin: int
    end: int
    low: float
    high: float
    cells: dict[tuple[int, int], Cell] = field(default_factory=dict)

    def column(self, time: int) -> int:
        """The column of dots in which this time lies."""
        return min((time - self.begin) * self.width * 2 // max(self.end - self.begin, 1), self.width * 2 - 1)

    def row(self, value: float) -> int:
        """The row of dots in which this value lies, from the top."""
        return round((self.high - value) / (self.high - self.low) * (self.height * 4 - 1))

    def cell(self, column: int, row: int) -> Cell:
        """The cell around a dot."""
        return self.cells.setdefault((column // 2, row // 4), Cell())

    def draw(self, curve: Curve) -> None:
        """Every reading as a dot, and upright strokes where the value jumps from one to the next."""
        before: tuple[int, int] | None = None
        for time, value in curve.readings:
            column, row = self.column(time), self.row(value)
            firing = any(since <= time < until for _, since, until in curve.alerts)
            joined = before is not None and column - before[0] <= 1
            for each in _between(before[1] if joined and before else row, row):
                cell = self.cell(column, each)
                cell.dots |= DOTS[column % 2][each % 4]
                if firing or cell.style != FIRING:
                    cell.letter = curve.letter.upper() if firing else curve.letter
                    cell.style = FIRING if firing else curve.colour
            before = column, row

    def mark(self, curve: Curve) -> None:
        """The number of each alert where it began, moved aside if another stands there."""
        for number, since, _ in curve.alerts:
            value = next((value for time, value in curve.readings if time >= since), self.low)
            column, row = self.column(since), self.row(value)
            while (cell := self.cell(column, row)).mark and column > 1:
                column -= 2
            cell.mark = str(number)[-1]

    def lines(self, plain: bool) -> Iterator[Text]:
        """The rows of the plot, each with its axis."""
        for row in range(self.height):
            line = Text(f"{self._label(row):>{MARGIN - 2}} {'|' if plain else '│'}")
            for column in range(self.width):
                cell = self.cells.get((column, row), Cell())
                if cell.mark:
                    line.append(cell.mark, style="reverse " + FIRING)
                else:
                    line.append(cell.letter if plain else chr(BRAILLE | cell.dots) if cell.dots else " ", cell.style)
            yield line
        yield Text(" " * (MARGIN - 1) + ("+" if plain else "└") + ("-" if plain else "─") * self.width)
        yield Text(" " * MARGIN + self._times())

    def _label(self, row: int) -> str:
        """A round value, on the row in which it lies."""
        share = (self.high - self.low) / self.height
        top = self.high - share * row
        tick = top // (step := _round_step(self.high - self.low)) * step
        return f"{tick:g}" if tick > top - share else ""

    def _times(self) -> str:
        """Clock times at round steps, where there is room for them."""
        column = (self.end - self.begin) / self.width
        step = next((step for step in TIME_STEPS if step >= 8 * column), TIME_STEPS[-1])
        line = ""
        for time in range(-(-self.begin // step) * step, self.end, step):
            place = round((time - self.begin) / column)
            line = line.ljust(place) + (format_time(time)[11:16] if place + 5 <= self.width else "")
        return line.rstrip()


def chart(curves: Sequence[Curve], width: int, height: int, plain: bool) -> list[Text]:
    """The curves as lines of text of at most `width` characters, a legend first."""
    times = [time for curve in curves for time, _ in curve.readings]
    values = [value for curve in curves for _, value in curve.readings]
    if not times:
        return [Text("no readings")]
    high = max(values) if max(values) > min(values) else min(values) + 1
    plot = Plot(width - MARGIN, height, min(times), max(times), min(values), high)
    for curve in curves:
        plot.draw(curve)
    for curve in curves:
        plot.mark(curve)
    return [_legend(curves, plain), *plot.lines(plain)]


def _legend(curves: Sequence[Curve], plain: bool) -> Text:
    line = Text(" " * MARGIN)
    for curve in curves:
        line.append(f"{curve.letter if plain else '━━'} {curve.name}   ", "" if plain else curve.colour)
    return line.append(
        "large: an alert is on" if plain else "━━ an alert is on",
        "" if plain else FIRING,
    )


def _between(first: int, last: int) -> range:
    return range(min(first, last), max(first, last) + 1)


def _round_step(span: float) -> float:
    """1, 2 or 5 times a power of ten, so that some five of it fill the span."""
    power = 10.0 ** math.floor(math.log10(span / 5))
    return power * next(factor for factor in (1, 2, 5, 10) if power * factor >= span / 5)
