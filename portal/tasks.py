"""Jobs that a page starts and does not wait for."""

from __future__ import annotations

import uuid

from celery import shared_task
from django.core.management import call_command

from portal import live_home


# Ten times what it takes on two idle cores; it goes on where a run was cut off.
@shared_task(name="portal.load_demo", time_limit=1_800)
def load_demo(tenant_id: str) -> None:
    """Fill a tenant with the demo's products, customers and traffic; safe to repeat."""
    call_command("demo", tenant=tenant_id, in_worker=True)


@shared_task(name="portal.push_figures")
def push_figures(tenant_id: str) -> None:
    """Swap the figures on the open pages of a tenant."""
    live_home.push_figures(uuid.UUID(tenant_id))
