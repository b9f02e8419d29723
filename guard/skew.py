"""How far apart the clocks are: limits go by Redis', periods by Postgres'."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Final

from aforo.lib import sql
from guard import stores

# Above it a window may open or end where the books say otherwise.
SKEW_MAX: Final = dt.timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True)
class Skew:
    """A difference of clocks, and how long it took to read both."""

    difference: dt.timedelta  # positive: Postgres is ahead
    took: dt.timedelta

    @property
    def apart(self) -> dt.timedelta:
        """What of the difference the reading does not explain."""
        return max(abs(self.difference) - self.took, dt.timedelta(0))


def measure() -> Skew:
    """Return how Postgres' clock differs from Redis'; raises redis.RedisError."""
    client = stores.for_projection()
    client.ping()  # The time of connecting must not count.
    with sql.cursor() as cursor:
        cursor.execute("SELECT 1")
        before = time.monotonic()
        seconds, micros = client.time()
        row = cursor.execute("SELECT clock_timestamp()").fetchone()
        took = time.monotonic() - before
    assert row is not None
    of_redis = dt.datetime.fromtimestamp(seconds, dt.UTC)
    of_redis += dt.timedelta(microseconds=micros)
    return Skew(row[0] - of_redis, dt.timedelta(seconds=took))
