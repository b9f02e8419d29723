"""Runs over recorded costs as jobs: asked for, and done batch by batch."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import transaction

from aforo.core.models import Tenant, User
from aforo.lib import clock, sql
from metering import cost_what_if, recosting
from metering.jobs import Queue, Turn
from metering.models import CostRun, CostRunRow

Kind = CostRun.Kind

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
    made = CostRun(
        tenant=tenant,
        kind=kind,
        title=title[:200],
        params=dict(params),
        requested_by=actor,
    )
    return QUEUE.add(
        made,
        keys,
        action=f"cost_run.{kind}",
        changes={"title": [None, made.title]},
        audit_label=actor_label,
    )


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


def _walk(turn: Turn[CostRun]) -> None:
    """Do and keep batch by batch of each customer."""
    found = turn.job
    step = STEPS[found.kind]
    for row in turn.left():
        while not (row.figures or {}).get("done"):
            with turn.keeping(row):
                row.figures = step(found.params, row.customer_id, row.figures)


def _result(found: CostRun, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what came out for all customers together."""
    return SUMS[found.kind](rows)


QUEUE = Queue(
    name="cost run",
    jobs=CostRun,
    rows=CostRunRow,
    task="metering.run_cost_jobs",
    lock=0x61666F726F63,
    work=_walk,
    summarise=_result,
)
run, waiting = QUEUE.run, QUEUE.waiting
