"""The guard's pulse: is it enforcing, how fast is it, what do its doors answer."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import redis
from django.conf import settings
from django.db.models import Sum

from aforo.core.models import Tenant
from guard import latency, observing, spool, stores
from guard.models import DoorCount, ObserveOnly

MINUTES: Final = 60  # that the series shows
ENGINE_LIMIT_MS: Final = 5
# Counts are of whole minutes: a rate is taken over the last one and this one.
MINUTE: Final = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Counts:
    """Checks of one minute or of several, by what was answered."""

    allowed: int = 0  # Without those past a warn line.
    warned: int = 0
    throttled: int = 0
    denied: int = 0

    @property
    def total(self) -> int:
        """All checks."""
        return self.allowed + self.warned + self.throttled + self.denied


@dataclass(frozen=True, slots=True)
class Pulse:
    """How the guard is, at one moment."""

    at: dt.datetime
    redis_ms: float | None  # A round trip from this process; None: no answer.
    p50_us: int | None  # Of the doors, over the last five minutes.
    p99_us: int | None
    failed_open: int  # Let through unjudged in 24 hours, with what is not stored yet.
    observing: ObserveOnly | None
    rate: float  # Checks a second.
    recent: Counts  # Of this minute and the last.
    series: tuple[tuple[dt.datetime, Counts], ...]  # Whole minutes, the oldest first.

    @property
    def state(self) -> str:
        """enforcing, observe_only or fail_open."""
        if self.redis_ms is None:
            return "fail_open"
        return "observe_only" if self.observing else "enforcing"


def round_trip_ms() -> float | None:
    """Return how long the guard's Redis takes to answer; None when it does not."""
    started = time.perf_counter()
    try:
        stores.for_pages().ping()
    except (redis.RedisError, OSError):
        return None
    return (time.perf_counter() - started) * 1000


def _counts(rows: Sequence[DoorCount]) -> Counts:
    return Counts(
        sum(row.allowed - row.warned for row in rows),
        sum(row.warned for row in rows),
        sum(row.throttled for row in rows),
        sum(row.denied for row in rows),
    )


def read(tenant: Tenant, now: dt.datetime) -> Pulse:
    """Return the pulse of a tenant's guard; three statements and one ping."""
    this = now.replace(second=0, microsecond=0)
    found = list(DoorCount.objects.filter(minute__gte=this - MINUTES * MINUTE))
    by_minute = {row.minute: row for row in found}
    recent = [row for row in found if row.minute >= this - MINUTE]
    steps = latency.added(
        row.latency for row in found if row.minute >= this - 4 * MINUTE
    )
    series = []
    for back in range(MINUTES, 0, -1):
        minute = this - back * MINUTE
        row = by_minute.get(minute)
        series.append((minute, _counts([row] if row else [])))
    counts = _counts(recent)
    return Pulse(
        at=now,
        redis_ms=round_trip_ms(),
        p50_us=latency.quantile_us(steps, 0.5),
        p99_us=latency.quantile_us(steps, 0.99),
        failed_open=_failed_open(tenant, now),
        observing=observing.current(tenant, now),
        rate=counts.total / (60 + (now - this).total_seconds()),
        recent=counts,
        series=tuple(series),
    )


def _failed_open(tenant: Tenant, now: dt.datetime) -> int:
    """Return how many calls passed unjudged in 24 hours, also those still spooled.

    While Redis is away the worker rests too, so the newest are in the doors' files.
    """
    rows = DoorCount.objects.filter(minute__gte=now - dt.timedelta(days=1))
    stored = rows.aggregate(total=Sum("degraded"))["total"] or 0
    return int(stored) + spool.waiting_degraded(
        settings.GUARD_JOURNAL_DIR, tenant.public_id
    )
