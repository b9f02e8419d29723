"""Jobs that a page starts and does not wait for."""

from __future__ import annotations

from celery import shared_task
from django.core.management import call_command


@shared_task(name="portal.load_demo")
def load_demo(tenant_id: str) -> None:
    """Fill a tenant with the demo's products, customers and traffic; safe to repeat."""
    call_command("demo", tenant=tenant_id)
