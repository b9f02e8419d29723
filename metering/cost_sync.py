"""The public price list is taken over, and recorded costs follow it."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from aforo.core.models import Tenant
from aforo.lib import sql
from catalog import cost_sync
from catalog.cost_sync import Name, Report
from metering import cost_jobs

UNKNOWN = """
SELECT model, min(hour) FROM metering_usagerollup
WHERE tenant_id = %b AND cost_unknown_count > 0 AND model <> '' GROUP BY 1
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
