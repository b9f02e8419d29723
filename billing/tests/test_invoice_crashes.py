"""Kill -9 at every step of issuing an invoice: one invoice, no gap, same PDF."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from aforo.lib import clock
from aforo.lib.crash import POINTS
from billing import invoicing, pdf
from billing.models import Invoice, InvoiceCounter, LedgerEntry
from billing.tests.cast import (
    DAY,
    HOUR,
    NOVEMBER,
    OCTOBER,
    breaks,
    event,
    make_cast,
    subscribe,
    use,
    with_fee,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]
ROOT = Path(__file__).resolve().parents[2]
RUN = """
import datetime, django, sys
django.setup()
from aforo.lib import clock
from billing import invoicing
for text in sys.argv[1:]:
    now = datetime.datetime.fromisoformat(text)
    with clock.travel(now):
        invoicing.close_periods(now)
"""


def run_and_die(point: str) -> int:
    """Close October in a process that dies at a point; return its exit code."""
    url = os.environ["DATABASE_URL"]
    name = str(connection.settings_dict["NAME"])
    env = {
        **os.environ,
        "AFORO_CRASH": point,
        "DJANGO_SETTINGS_MODULE": "aforo.settings",
        "DATABASE_URL": url.replace("/aforo?", f"/{name}?"),
    }
    times = [NOVEMBER.isoformat(), (NOVEMBER + HOUR).isoformat()]
    command = [sys.executable, "-c", RUN, *times]
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


@pytest.mark.parametrize("point", sorted(p for p in POINTS if p.startswith("invoice.")))
def test_a_run_that_dies_is_finished_by_the_next(point):
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    use(cast, [event(OCTOBER + DAY) for _ in range(3)])
    assert run_and_die(f"{point}:1") == -signal.SIGKILL
    for now in (NOVEMBER, NOVEMBER + HOUR * 2):
        with clock.travel(now):
            invoicing.close_periods(now)
    invoice = Invoice.objects.get()
    assert invoice.number == "INV-2026-0001"
    assert InvoiceCounter.objects.get().last == 1
    assert LedgerEntry.objects.filter(kind="recurring").count() == 2
    assert pdf.digest(pdf.render(invoice)) == invoice.pdf_digest
    assert breaks() == []
