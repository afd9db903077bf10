"""A day at the smoker: two foods cook for hours, and somebody keeps opening the lid.

The recording looks like a real one.  Every probe reports about once a minute and the logger writes
each value twice, 5 s apart; a row holds the probes that reported at that instant, the others are
blank.  What happens:

    the smoker     warms up, holds its temperature, sags slowly when the fire runs low, and loses
                   25 to 45 °F at once each time the lid is opened
    the foods      go in after an hour, warm up, stall for an hour near 150 °F while they sweat,
                   and go on; food B is the bigger one
    the equipment  food B's probe is wrong for one minute, and the logger sleeps once for 280 s
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HEADER = "Time (UTC),Channel1,Channel2,Channel3\r\n"
TARGET = 235.0
ROOM = 84.0
FRIDGE = 37.0
GAP_SECONDS = 280


@dataclass(frozen=True)
class Story:
    """What happens in one cook, in minutes from its start: drawn once from the seed."""

    lid: dict[int, float]
    foods_in: int
    stalls: tuple[tuple[float, int], tuple[float, int]]
    low_fire: int
    glitch: int
    gap: int

    @staticmethod
    def draw(dice: random.Random) -> Story:
        """Keep the events apart, so that each can be told by its own alert."""
        foods_in = 60
        return Story(
            lid={minute: dice.uniform(25, 45) for minute in (foods_in, dice.randint(120, 130), dice.randint(255, 265))},
            foods_in=foods_in,
            stalls=(_stall(dice), _stall(dice)),
            low_fire=dice.randint(165, 175),
            glitch=dice.randint(290, 300),
            gap=dice.randint(310, 320),
        )


def _stall(dice: random.Random) -> tuple[float, int]:
    """The temperature at which a food begins to sweat, and for how many minutes."""
    return dice.uniform(148, 156), dice.randint(55, 70)


@dataclass(frozen=True)
class Smoker:
    """One cook, as the CSV file that the thermometer's logger wrote."""

    seed: int = 1
    hours: float = 6.0
    start: datetime = datetime(2024, 6, 1, 11, 0, tzinfo=UTC)

    def lines(self) -> Iterator[str]:
        """The header, then a row for each instant at which a probe reported."""
        yield HEADER
        dice = random.Random(self.seed)
        story = Story.draw(dice)
        minutes = range(round(self.hours * 60))
        probes = (
            list(_smoker(story, minutes, dice)),
            list(_food(story, minutes, story.stalls[0], 0.0095)),
            list(_glitched(_food(story, minutes, story.stalls[1], 0.0080), story.glitch)),
        )
        for minute in minutes:
            yield from self._rows(minute, [probe[minute] for probe in probes], story.gap)

    def _rows(self, minute: int, values: list[float | None], gap: int) -> Iterator[str]:
        """The smoker reports at 10 and 15 s, food A at 35 and 40, food B at 40 and 45."""
        for second, channels in ((10, (0,)), (15, (0,)), (35, (1,)), (40, (1, 2)), (45, (2,))):
            cells = [f"{value:.1f}" if value is not None and c in channels else "" for c, value in enumerate(values)]
            if any(cells) and not 0 <= minute * 60 + second - (gap * 60 + 46) < GAP_SECONDS:
                time = self.start + timedelta(minutes=minute, seconds=second)
                yield f"{time:%m/%d/%y %H:%M:%S},{','.join(cells)}\r\n"


def _smoker(story: Story, minutes: range, dice: random.Random) -> Iterator[float]:
    """Each minute the fire makes up a part of what is missing; an open lid takes it away at once."""
    heat, flicker = ROOM, 0.0
    for minute in minutes:
        target = TARGET - 25 if story.low_fire <= minute < story.low_fire + 40 else TARGET
        heat += (target - heat) * (0.06 if target == TARGET else 0.05) - story.lid.get(minute, 0.0)
        flicker += dice.uniform(-1, 1) - 0.3 * flicker
        yield heat + flicker


def _food(story: Story, minutes: range, stall: tuple[float, int], pace: float) -> Iterator[float | None]:
    """A food warms by what it lacks to the smoker's temperature, hardly at all while it sweats."""
    heat, dryness = FRIDGE, 1.0
    plateau, left = stall
    for minute in minutes:
        if minute < story.foods_in:
            yield None
            continue
        sweating = heat >= plateau and left > 0
        left -= sweating
        dryness += ((0.03 if sweating else 1.0) - dryness) * 0.4
        heat += (TARGET - heat) * pace * dryness
        yield heat


def _glitched(values: Iterator[float | None], minute: int) -> Iterator[float | None]:
    for at, value in enumerate(values):
        yield value - 55 if value is not None and at == minute else value
