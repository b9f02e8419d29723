"""Backtests as jobs: asked for, priced customer by customer, taken over, cancelled.

What is priced of a customer is committed with the count of those that are done, so a
worker that dies loses at most one customer's work. One backtest runs at a time: rating
always keeps the other workers.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from celery import current_app
from django.db import transaction

from aforo.core import audit
from aforo.core.models import Tenant, User
from aforo.lib import clock, ids, sql
from aforo.lib.errors import AforoError
from catalog.models import Product
from metering import backtest_plans
from metering.backtest import Pricer
from metering.backtest_figures import row_figures, summarise
from metering.models import Backtest, BacktestRow
from metering.pipeline import STORE_FAULTS

log = logging.getLogger(__name__)
State = Backtest.State

TASK = "metering.run_backtests"
# A worker gives way to other tasks after so long, between two customers.
SLICE_S = 20.0
# How often the pass over one customer's events looks whether it was cancelled.
LOOK_S = 2.0
# Without a sign of life for so long, a running backtest is taken over.
STALE = dt.timedelta(seconds=30)
# The lock of the one worker that prices backtests; it goes with its connection.
LOCK = 0x61666F726F62


class _Stopped(Exception):
    """The backtest was cancelled or taken over."""


@transaction.atomic
def request(
    *,
    tenant: Tenant,
    month: dt.date,
    plans: Sequence[Mapping[str, Any]],
    customers: Sequence[str] | None,
    product: Product | None,
    actor: User | None,
    actor_label: str = "",
) -> Backtest:
    """Store a backtest for the workers; `customers` None means all.

    `plans` are of backtest_plans.frozen_version and frozen_body. Raises AforoError
    422 as backtest_plans.checked and customers_of do.
    """
    product_id = backtest_plans.checked(plans, product)
    keys = backtest_plans.customers_of(tenant, customers, product_id)
    made = Backtest.objects.create(
        tenant=tenant,
        month=month,
        product_id=product_id,
        plans=list(plans),
        all_customers=customers is None,
        customer_count=len(keys),
        requested_by=actor,
        requested_label=actor_label or str(actor or "Aforo"),
    )
    BacktestRow.objects.bulk_create(
        [BacktestRow(tenant=tenant, backtest=made, customer_id=key) for key in keys],
        batch_size=1_000,
    )
    audit.record(
        tenant=tenant,
        actor=actor,
        actor_label=actor_label,
        action="backtest.requested",
        target=made,
        changes={
            "month": [None, f"{month:%Y-%m}"],
            "plans": [None, ", ".join(plan["label"] for plan in plans)],
            "customers": [None, len(keys)],
        },
    )
    transaction.on_commit(_wake)
    return made


def _wake() -> None:
    """Tell a worker; a lost message costs the beat's patience."""
    try:
        current_app.send_task(TASK, retry=False)
    except Exception as error:
        # Whatever the transport raises: the backtest is stored.
        log.warning("workers were not woken: %s", type(error).__name__)


@transaction.atomic
def cancel(*, backtest_id: uuid.UUID, actor: User | None) -> Backtest:
    """Stop a backtest that waits or runs; what was priced of it is not shown.

    Raises AforoError 409 `backtest_over`.
    """
    found = Backtest.objects.select_for_update(of=("self",)).get(pk=backtest_id)
    if not found.is_open:
        detail = f"The backtest is {found.get_state_display().lower()} already."
        raise AforoError("backtest_over", 409, detail)
    before = found.state
    found.state = State.CANCELLED
    found.finished_at = clock.now()
    found.save(update_fields=["state", "finished_at"])
    audit.record(
        tenant=found.tenant_id,
        actor=actor,
        action="backtest.cancelled",
        target=found,
        changes={"state": [before, found.state]},
    )
    return found


def waiting(now: dt.datetime) -> bool:
    """Tell whether a backtest is queued, or runs without a sign of life."""
    rows = Backtest.objects.filter(state__in=Backtest.OPEN_STATES)
    return any(
        state == State.QUEUED or beat is None or beat < now - STALE
        for state, beat in rows.values_list("state", "heartbeat_at")
    )


def run(*, seconds: float = SLICE_S) -> bool:
    """Price what is asked for, oldest first, for about so long; say if any is left.

    Idempotent: one worker at a time has the lock, others return at once. A backtest
    whose worker died goes on where that one was.
    """
    until = time.monotonic() + seconds
    with _alone() as alone:
        while alone and time.monotonic() < until:
            rows = Backtest.objects.filter(state__in=Backtest.OPEN_STATES)
            found = rows.order_by("pk").first()
            if found is None:
                return False
            _run(found, until)
        open_ones = Backtest.objects.filter(state__in=Backtest.OPEN_STATES)
        return alone and open_ones.exists()


@contextlib.contextmanager
def _alone() -> Iterator[bool]:
    """Hold the lock of backtests; yield whether it was free."""
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


def _run(found: Backtest, until: float) -> None:
    """Price the customers of one backtest that are left, until it is time to stop."""
    run_id = ids.new_id()
    try:
        if _claim(found, run_id):
            _price_rest(found, run_id, until)
    except _Stopped:
        log.info("backtest %s was stopped", found.pk)
    except STORE_FAULTS:
        raise  # It stays running, and is taken over.
    except Exception as error:
        log.exception("backtest %s failed", found.pk)
        _fail(found, run_id, f"{type(error).__name__}: {error}")


def _claim(found: Backtest, run_id: uuid.UUID) -> bool:
    """Make this worker the one that prices a backtest; False when it is over."""
    now = clock.now()
    rows = Backtest.objects.filter(pk=found.pk, state__in=Backtest.OPEN_STATES)
    return bool(
        rows.update(
            state=State.RUNNING,
            run=run_id,
            heartbeat_at=now,
            started_at=found.started_at or now,
        )
    )


def _price_rest(found: Backtest, run_id: uuid.UUID, until: float) -> None:
    """Price and keep customer by customer; the last one makes the result."""
    pricer = Pricer(
        tenant_id=found.tenant_id,
        month=found.month,
        plans=[backtest_plans.thawed(p, found.product_id) for p in found.plans],
        product_id=found.product_id,
    )
    beat = _watch(found, run_id)
    left = BacktestRow.objects.filter(backtest=found, figures__isnull=True)
    for key in list(left.order_by("pk").values_list("pk", flat=True)):
        row = BacktestRow.objects.select_related("customer").get(pk=key)
        figures = row_figures(pricer.price(row.customer, beat=beat))
        with transaction.atomic():
            _still_ours(found, run_id)
            BacktestRow.objects.filter(pk=key).update(figures=figures)
            done = BacktestRow.objects.filter(backtest=found, figures__isnull=False)
            Backtest.objects.filter(pk=found.pk).update(
                done_count=done.count(), heartbeat_at=clock.now()
            )
        if time.monotonic() > until:
            return
    _finish(found, run_id)


def _watch(found: Backtest, run_id: uuid.UUID) -> Callable[[], None]:
    """Return what raises _Stopped, seconds after the backtest was cancelled."""
    last = time.monotonic()
    ours = Backtest.objects.filter(pk=found.pk, run=run_id, state=State.RUNNING)

    def look() -> None:
        nonlocal last
        if time.monotonic() - last >= LOOK_S:
            last = time.monotonic()
            if not ours.exists():
                raise _Stopped

    return look


def _still_ours(found: Backtest, run_id: uuid.UUID) -> Backtest:
    """Return the backtest locked; raise _Stopped when it is no longer ours."""
    rows = Backtest.objects.select_for_update(of=("self",))
    locked = rows.filter(pk=found.pk, run=run_id, state=State.RUNNING).first()
    if locked is None:
        raise _Stopped
    return locked


def _finish(found: Backtest, run_id: uuid.UUID) -> None:
    """Write the result and the end in one transaction."""
    with transaction.atomic():
        locked = _still_ours(found, run_id)
        rows = BacktestRow.objects.filter(backtest=found).order_by("pk")
        locked.result = summarise(
            (row.figures or {} for row in rows.iterator(200)),
            plan_count=len(found.plans),
        )
        locked.state = State.DONE
        locked.finished_at = clock.now()
        locked.save(update_fields=["result", "state", "finished_at"])


def _fail(found: Backtest, run_id: uuid.UUID, failure: str) -> None:
    """Say why a backtest cannot be finished."""
    ours = Backtest.objects.filter(pk=found.pk, run=run_id, state=State.RUNNING)
    ours.update(state=State.FAILED, failure=failure[:300], finished_at=clock.now())
