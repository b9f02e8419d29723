"""What a running session comes to, as far as there is something to go by."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from aforo.lib.invariants import rows
from aforo.lib.money import ZERO, display
from metering.models import Session
from portal.ui.figures import duration_text

# Fewer ended sessions, a shorter run or fewer events say nothing.
ENDED_MIN = 5
ELAPSED_MIN = dt.timedelta(seconds=30)
EVENTS_MIN = 3
# Ended sessions that are looked at, among so many newest ones of the tenant.
ENDED_MAX = 500
SOUGHT_MAX = 5_000

MEDIANS = """
SELECT count(*), percentile_disc(0.5) WITHIN GROUP (ORDER BY price),
  percentile_disc(0.5) WITHIN GROUP (ORDER BY last_event_at - started_at),
  min(started_at)
FROM (
  SELECT * FROM (
    SELECT id, product_id, state, currency, event_count, price, started_at,
      last_event_at
    FROM metering_session WHERE tenant_id = %(tenant)s
    ORDER BY started_at DESC LIMIT %(sought)s) newest
  WHERE product_id = %(product)s AND currency = %(currency)s AND event_count > 0
    AND state IN ('completed', 'failed', 'expired') AND id <> %(own)s
  ORDER BY started_at DESC LIMIT %(most)s) ended
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a running session may come to; an estimate, never billed."""

    so_far: Decimal
    currency: str
    product: str
    product_id: str
    ended_count: int  # Ended sessions that the medians are of.
    since: dt.datetime  # When the oldest of them began.
    elapsed_ms: int  # From the first event to the last.
    median_ms: int
    median_price: Decimal
    by_pace: Decimal | None  # None: too short, or longer than the median already.

    @property
    def words(self) -> str:
        """The estimate by the pace, in a sentence."""
        used = f"This session has used {display(self.so_far, self.currency)} so far."
        if self.by_pace is None:
            return used
        total = display(self.by_pace, self.currency)
        return f"{used} At the current rate it will reach {total} by completion."

    @property
    def basis(self) -> str:
        """What the estimate by the pace rests on, or why there is none."""
        elapsed, median = duration_text(self.elapsed_ms), duration_text(self.median_ms)
        if self.elapsed_ms >= self.median_ms:
            return (
                f"It has run {elapsed}, as long as half of the ended sessions or"
                f" longer ({median}): its pace does not say when it ends."
            )
        if self.by_pace is None:
            return (
                f"Too little to go by yet for its pace: an estimate needs"
                f" {EVENTS_MIN} events with a price over"
                f" {ELAPSED_MIN.seconds} seconds."
            )
        return (
            f"Its price over the {elapsed} from its first event to its last, for the"
            f" {median} that half of the ended sessions take at most."
        )

    @property
    def is_above(self) -> bool:
        """Whether the session has used more than the median already."""
        return self.so_far > self.median_price


def estimate(session: Session) -> Estimate | None:
    """Return what a running session may come to; None when too little is known.

    One statement, and none for a session that is not running. By the pace so far for
    as long as the median of the product's ended sessions takes; and the median of
    their prices beside it.
    """
    running = session.state in (Session.State.ACTIVE, Session.State.IDLE)
    if not running or session.product is None or not session.event_count:
        return None
    ((count, price, took, since),) = rows(
        MEDIANS,
        tenant=session.tenant_id,
        product=session.product_id,
        currency=session.currency,
        own=session.pk,
        sought=SOUGHT_MAX,
        most=ENDED_MAX,
    )
    if count < ENDED_MIN:
        return None
    elapsed = session.last_event_at - session.started_at
    return Estimate(
        so_far=session.price,
        currency=session.currency,
        product=session.product.name,
        product_id=session.product.public_id,
        ended_count=count,
        since=since,
        elapsed_ms=elapsed // dt.timedelta(milliseconds=1),
        median_ms=took // dt.timedelta(milliseconds=1),
        median_price=price,
        by_pace=_by_pace(session, elapsed, took),
    )


def _by_pace(
    session: Session, elapsed: dt.timedelta, median: dt.timedelta
) -> Decimal | None:
    """Return the price at the pace so far, for as long as the median takes."""
    if session.event_count < EVENTS_MIN or elapsed < ELAPSED_MIN or elapsed >= median:
        return None
    if session.price <= ZERO:
        return None
    micro = dt.timedelta(microseconds=1)
    so_far: Decimal = session.price
    return so_far * Decimal(median // micro) / Decimal(elapsed // micro)
