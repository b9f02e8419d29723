"""Jobs that a page starts and does not wait for."""

from __future__ import annotations

import uuid

from celery import shared_task
from django.core.management import call_command

from portal import live_home


@shared_task(name="portal.load_demo")
def load_demo(tenant_id: str) -> None:
    """Fill a tenant with the demo's products, customers and traffic; safe to repeat."""
    call_command("demo", tenant=tenant_id)


@shared_task(name="portal.push_figures")
def push_figures(tenant_id: str) -> None:
    """Swap the figures on the open pages of a tenant."""
    live_home.push_figures(uuid.UUID(tenant_id))
