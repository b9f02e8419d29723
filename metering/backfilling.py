"""Old usage brought in by hand: the one door for it, from the API and from staff.

Events older than the ordinary door takes (35 days) come in here, at most 400 days
old. They are flagged `backfilled` and rated by the contract of their time; usage of a
period that has its invoice is billed on the next one.
"""

from __future__ import annotations

from collections.abc import Sequence

from aforo.core import audit
from aforo.core.models import Tenant, User
from metering import ingest, store, wake
from metering.directory import Caller
from metering.identity import BACKFILL_AGE_MAX, Event
from metering.ingest import Judged, Kept
from metering.pool import Connection

# Events of one call, and of one transaction.
EVENTS_MAX = 1_000


async def judge(caller: Caller, raws: Sequence[object]) -> list[Judged]:
    """Return each event as it would be stored, or why it is refused; stores nothing."""
    judged = await ingest.prepare(caller, raws, age_max=BACKFILL_AGE_MAX)
    for item in judged:
        if isinstance(item, Event):
            item.flags.append("backfilled")
    return judged


async def keep(caller: Caller, raws: Sequence[object]) -> Kept:
    """Store old events as the ordinary door stores new ones: each id once for ever."""
    judged = await judge(caller, raws)

    async def work(connection: Connection) -> Kept:
        return await ingest.keep(connection, caller.tenant_id, judged)

    kept: Kept = await store.run(caller.tenant_id, work)
    if kept.customers:
        wake.notify()
    return kept


def tell(
    *,
    tenant: Tenant,
    sent: int,
    refused: int,
    reason: str,
    actor: User | None = None,
    actor_label: str = "",
) -> None:
    """Write down who brought in how many events, and why."""
    audit.record(
        tenant=tenant,
        action="usage.backfilled",
        target=tenant,
        actor=actor,
        actor_label=actor_label,
        changes={"events": [sent, sent - refused]},
        reason=reason,
    )
