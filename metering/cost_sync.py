"""The public price list is taken over, and recorded costs follow it."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from aforo.core.happenings import Kind, Severity, tell
from aforo.core.models import Tenant
from aforo.lib import sql
from aforo.lib.money import plain
from catalog import cost_sync
from catalog.cost_sync import Name, Report
from metering import cost_jobs

UNKNOWN = """
SELECT model, min(hour) FROM metering_usagerollup
WHERE tenant_id = %b AND cost_unknown_count > 0 AND model <> '' GROUP BY 1
"""


USED = """
SELECT DISTINCT model FROM metering_usagerollup
WHERE tenant_id = %b AND model = ANY(%b) AND hour > now() - interval '90 days'
"""


@transaction.atomic
def run(*, dry_run: bool = False, only: Iterable[Name] = ()) -> Report:
    """Follow the list; ask for recosting where a price changed in the past.

    What had no price at all and was used is recosted too: its cost becomes known.
    """
    report = cost_sync.sync(dry_run=dry_run, only=only)
    if dry_run:
        return report
    since = report.backdated_from
    for tenant in Tenant.objects.all():
        _tell_rises(tenant, report)
        if since is not None:
            cost_jobs.recost_since(
                tenant=tenant,
                since=since,
                names={found.model for found in report.applied},
                title="Changes of the price list",
            )
        if report.added:
            _recost_unknown(tenant)
    return report


def _tell_rises(tenant: Tenant, report: Report) -> None:
    """Tell a tenant which of the models that it used cost more, each rise once."""
    risen = [d for d in report.applied if d.ratio is not None and d.ratio > 0]
    if not risen:
        return
    with sql.cursor() as cursor:
        rows = cursor.execute(USED, [tenant.pk, list({d.model for d in risen})])
        used = {row[0] for row in rows.fetchall()}
    for found in risen:
        if found.model not in used or found.before is None or found.ratio is None:
            continue
        before = found.before.amount / found.before.per
        after = found.after.amount / found.after.per
        since = found.after.valid_from
        tell(
            Kind.COST_RISEN,
            tenant=tenant,
            scope=f"{found.provider}/{found.model}/{found.key.unit}",
            severity=Severity.WARN,
            text=f"{found.model} {found.key.unit.replace('_', ' ')} cost"
            f" {100 * found.ratio:.1f} % more from {since:%-d %b %Y %H:%M} UTC",
            key=f"{since.isoformat()}:{plain(found.after.amount)}",
            figures={
                "before": before,
                "after": after,
                "ratio": found.ratio,
                "from": since,
                "unit": found.key.unit,
            },
            url="/settings/model-prices?tab=changes",
        )


def _recost_unknown(tenant: Tenant) -> None:
    """Cost what was used when it had no price yet."""
    with sql.cursor() as cursor:
        rows = cursor.execute(UNKNOWN, [tenant.pk]).fetchall()
    if rows:
        cost_jobs.recost_since(
            tenant=tenant,
            since=min(hour for _, hour in rows),
            names={model for model, _ in rows},
            title="Models that had no price",
        )
