"""Runs over recorded costs as jobs: asked for, done customer by customer, taken over.

What is done of a customer is committed with the place where it goes on, so a worker
that dies loses one batch at most. One run at a time: rating keeps the other workers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import psycopg
from celery import current_app
from django.db import transaction
from django.db.models import Q

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib import clock, ids, sql
from metering import cost_what_if, recosting
from metering.models import CostRun, CostRunRow
from metering.pipeline import STORE_FAULTS

log = logging.getLogger(__name__)
Kind, State = CostRun.Kind, CostRun.State

TASK = "metering.run_cost_jobs"
# A worker gives way to other tasks after so long, between two batches.
SLICE_S = 20.0
# Without a sign of life for so long, a run is taken over.
STALE = dt.timedelta(seconds=30)
# The lock of the one worker that is on it; it goes with its connection.
LOCK = 0x61666F726F63

Step = Callable[
    [Mapping[str, Any], uuid.UUID, Mapping[str, Any] | None], dict[str, Any]
]
STEPS: Mapping[str, Step] = {
    Kind.RECOST: recosting.step,
    Kind.WHAT_IF: cost_what_if.step,
}
SUMS: Mapping[str, Callable[[Iterable[Mapping[str, Any]]], dict[str, Any]]] = {
    Kind.RECOST: recosting.summarise,
    Kind.WHAT_IF: cost_what_if.summarise,
}
CUSTOMERS = """
SELECT DISTINCT customer_id FROM metering_usagerollup
WHERE tenant_id = %b AND hour >= date_trunc('hour', %b::timestamptz)
  AND (%b::timestamptz IS NULL OR hour < %b)
  AND (%b::uuid IS NULL OR customer_id = %b)
ORDER BY 1
"""


@transaction.atomic
def request(
    *,
    tenant: Tenant,
    kind: CostRun.Kind,
    title: str,
    params: Mapping[str, Any],
    actor: User | None,
    actor_label: str = "",
    customer_id: uuid.UUID | None = None,
) -> CostRun:
    """Store a run over the customers that used something in the time of `params`."""
    since, until = recosting.span(params)
    with sql.cursor() as cursor:
        args = [tenant.pk, since, until, until, customer_id, customer_id]
        keys = [row[0] for row in cursor.execute(CUSTOMERS, args).fetchall()]
    made = CostRun.objects.create(
        tenant=tenant,
        kind=kind,
        title=title[:200],
        params=dict(params),
        customer_count=len(keys),
        requested_by=actor,
        requested_label=actor_label or str(actor or "Aforo"),
    )
    CostRunRow.objects.bulk_create(
        [CostRunRow(tenant=tenant, cost_run=made, customer_id=key) for key in keys],
        batch_size=1_000,
    )
    audit.record(
        tenant=tenant,
        actor=actor,
        actor_label=actor_label,
        action=f"cost_run.{kind}",
        target=made,
        changes={"title": [None, made.title], "customers": [None, len(keys)]},
    )
    transaction.on_commit(_wake)
    return made


def recost_since(
    *,
    tenant: Tenant,
    since: dt.datetime,
    until: dt.datetime | None = None,
    names: Iterable[str] = (),
    title: str,
    actor: User | None = None,
) -> CostRun | None:
    """Ask for costs to follow rates that changed from an instant on; None: not past."""
    if since >= clock.now():
        return None
    params = {
        "since": since.isoformat(),
        "until": until and until.isoformat(),
        "names": sorted(names),
    }
    return request(
        tenant=tenant, kind=Kind.RECOST, title=title, params=params, actor=actor
    )


def _wake() -> None:
    """Tell a worker; a lost message costs the beat's patience."""
    try:
        current_app.send_task(TASK, retry=False)
    except Exception as error:
        # Whatever the transport raises: the run is stored.
        log.warning("workers were not woken: %s", type(error).__name__)


def waiting(now: dt.datetime) -> bool:
    """Tell whether a run is queued, or has no sign of life."""
    rows = CostRun.objects.filter(state__in=CostRun.OPEN_STATES)
    return any(
        state == State.QUEUED or beat is None or beat < now - STALE
        for state, beat in rows.values_list("state", "heartbeat_at")
    )


def run(*, seconds: float = SLICE_S) -> bool:
    """Work on what is asked for, oldest first, for so long; say if any is left."""
    until = time.monotonic() + seconds
    rows = CostRun.objects.filter(state__in=CostRun.OPEN_STATES).order_by("pk")
    with _alone() as alone:
        while alone and time.monotonic() < until:
            found = rows.first()
            if found is None:
                return False
            _run(found, until)
        return alone and rows.exists()


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    """Hold the lock of cost runs; yield whether it was free."""
    with sql.cursor() as cursor:
        row = cursor.execute("SELECT pg_try_advisory_lock(%b)", [LOCK]).fetchone()
    got = bool(row and row[0])
    try:
        yield got
    finally:
        if got:
            # A connection that is lost has given the lock up.
            with contextlib.suppress(psycopg.Error):
                sql.cursor().execute("SELECT pg_advisory_unlock(%b)", [LOCK])


def _run(found: CostRun, until: float) -> None:
    """Do the customers of one run that are left, until it is time to stop."""
    run_id, now = ids.new_id(), clock.now()
    ours = CostRun.objects.filter(pk=found.pk, state__in=CostRun.OPEN_STATES)
    ours.update(
        state=State.RUNNING,
        run=run_id,
        heartbeat_at=now,
        started_at=found.started_at or now,
    )
    try:
        left = CostRunRow.objects.filter(cost_run=found).filter(
            Q(figures__isnull=True) | Q(figures__done=False)
        )
        for row in left.order_by("pk"):
            while not (row.figures or {}).get("done"):
                _step(found, run_id, row)
                if time.monotonic() > until:
                    return
        _finish(found, run_id)
    except STORE_FAULTS:
        raise  # It stays running, and is taken over.
    except Exception as error:
        log.exception("cost run %s failed", found.pk)
        ours.filter(run=run_id).update(
            state=State.FAILED,
            failure=f"{type(error).__name__}: {error}"[:300],
            finished_at=clock.now(),
        )


@transaction.atomic
def _step(found: CostRun, run_id: uuid.UUID, row: CostRunRow) -> None:
    """Do one batch of one customer and keep what came out, in one transaction."""
    CostRun.objects.select_for_update(of=("self",)).get(pk=found.pk, run=run_id)
    row.figures = STEPS[found.kind](found.params, row.customer_id, row.figures)
    row.save(update_fields=["figures"])
    done = CostRunRow.objects.filter(cost_run=found, figures__done=True).count()
    CostRun.objects.filter(pk=found.pk).update(
        done_count=done, heartbeat_at=clock.now()
    )


@transaction.atomic
def _finish(found: CostRun, run_id: uuid.UUID) -> None:
    """Write the result and the end."""
    locked = CostRun.objects.select_for_update(of=("self",)).get(
        pk=found.pk, run=run_id
    )
    rows = CostRunRow.objects.filter(cost_run=found).order_by("pk")
    locked.result = SUMS[found.kind](row.figures or {} for row in rows.iterator(200))
    locked.state, locked.finished_at = State.DONE, clock.now()
    locked.save(update_fields=["result", "state", "finished_at"])
