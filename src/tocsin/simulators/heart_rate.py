"""A ward: several patients' heart rates wander, and now and then one races or slows.

One row is one reading, `time,patient,bpm`; every patient reports every 5 s, a second after the one
before.  An episode takes a patient well past the limits of 50 and 100 beats per minute and lasts
some minutes, so a rule that asks for three readings in a row sees it once; between episodes a
single reading may jump as a loose clip makes it do, which three in a row must not notice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HEADER = "time,patient,bpm\n"
RACING = (120.0, 140.0)
SLOW = (38.0, 43.0)


@dataclass(frozen=True)
class HeartRate:
    """Some patients for some minutes, as one long CSV file in order of time."""

    seed: int = 1
    patients: int = 5
    minutes: float = 15.0
    every_seconds: int = 5
    start: datetime = datetime(2024, 6, 1, 22, 0, tzinfo=UTC)

    def lines(self) -> Iterator[str]:
        """The header, then each round of the patients."""
        yield HEADER
        dice = random.Random(self.seed)
        rounds = round(self.minutes * 60 / self.every_seconds)
        ward = [_heart(rounds, dice) for _ in range(self.patients)]
        for turn in range(rounds):
            for place, heart in enumerate(ward):
                time = self.start + timedelta(
                    seconds=turn * self.every_seconds + place * self.every_seconds / len(ward)
                )
                yield f"{time.isoformat(timespec='milliseconds')[:-6]}Z,patient-{place + 1},{heart[turn]}\n"


def _heart(rounds: int, dice: random.Random) -> list[int]:
    """A walk that is drawn back to what is usual for this patient, or to what ails them."""
    usual, clip_slips = dice.uniform(62, 82), dice.randrange(rounds)
    episode, bpm, walk = _episode(rounds, dice), usual, []
    for turn in range(rounds):
        aim = episode.get(turn, usual)
        bpm += (aim - bpm) * (0.35 if turn in episode else 0.2) + dice.uniform(-1.5, 1.5)
        walk.append(round(bpm) + (60 if turn == clip_slips and turn not in episode else 0))
    return walk


def _episode(rounds: int, dice: random.Random) -> dict[int, float]:
    """The turns of this patient's bad minutes and the heart rate in them; one in three has none."""
    low, high = dice.choice([RACING, SLOW, (0.0, 0.0)])
    length = min(dice.randint(15, 40), rounds)
    first = dice.randint(0, rounds - length)
    aim = dice.uniform(low, high)
    return dict.fromkeys(range(first, first + length), aim) if aim else {}
