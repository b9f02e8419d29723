"""One recorded hour stretched over thirty days that have days, nights and weekends."""

from __future__ import annotations

import bisect
import datetime as dt
from dataclasses import dataclass
from itertools import accumulate

# Events may be 35 days old: a replay that was stopped has five days left in which it
# can be taken up again.
DAYS = 30
HOURS = DAYS * 24
HOUR = dt.timedelta(hours=1)
HOUR_MS = 3_600_000
# How busy each hour of a day (UTC) is, as one hexadecimal digit each, and a weekend
# beside a working day.
DAY_SHAPE = tuple(int(digit, 16) for digit in "211112469bccbccba9876543")
WORKDAY, WEEKEND = 10, 4
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Month:
    """The thirty days before an instant, with how busy each hour of them is."""

    end: dt.datetime
    ends: tuple[int, ...]  # Sum of the weights up to the end of each hour.

    @property
    def start(self) -> dt.datetime:
        """When the history begins."""
        return self.end - HOURS * HOUR

    def at(self, part: int, whole: int) -> dt.datetime:
        """Return when `part` of `whole` of all traffic has arrived.

        Whole milliseconds, and the same for the same arguments for ever: event
        bodies carry it, and a resent body must be the same.
        """
        assert 0 <= part < whole
        # In units of 1/whole of a weight, so that nothing is rounded before the end.
        reached = part * self.ends[-1]
        hour = bisect.bisect_right(self.ends, reached // whole)
        before = self.ends[hour - 1] if hour else 0
        weight = self.ends[hour] - before
        inside = (reached - before * whole) * HOUR_MS // (weight * whole)
        return self.start + hour * HOUR + dt.timedelta(milliseconds=inside)


def month_before(end: dt.datetime) -> Month:
    """Return the thirty days before an instant."""
    start = end - HOURS * HOUR
    weights = []
    for hour in range(HOURS):
        at = start + hour * HOUR
        day = WEEKEND if at.weekday() >= SATURDAY else WORKDAY
        weights.append(DAY_SHAPE[at.hour] * day)
    return Month(end, tuple(accumulate(weights)))


def weekend_before(end: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Return the last whole Saturday and Sunday (UTC) before an instant."""
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - dt.timedelta(days=midnight.weekday())
    return monday - dt.timedelta(days=2), monday
