"""Faults that the books must survive: dying invoice runs, poison, a broken disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests import harness
from tests.factories import TOKENS_PLAN
from tests.scenarios import stage as scene
from tests.scenarios.stage import PRICE, TOKENS, Effects, Shop, Stage, once, until

pytestmark = [pytest.mark.crash, pytest.mark.full, pytest.mark.timeout(900)]

# In the order in which one run passes them.
INVOICE_POINTS = [
    "invoice.close",
    "invoice.lock",
    "invoice.lines",
    "invoice.tax",
    "invoice.number",
    "invoice.finalised",
    "invoice.committed",
    "invoice.pdf",
]
FEE = {
    "key": "fee",
    "name": "Monthly fee",
    "price": {"model": "flat", "amount": "200.00", "due": "advance"},
}
REPLAY = """
import django
django.setup()
from metering import unrateable
from metering.models import Unrateable
listed = list(Unrateable.objects.values_list("pk", flat=True))
print(unrateable.replay(listed, actor=None))
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with scene.opened({}, {}, {}) as running:
        yield running


def test_an_invoice_run_that_dies_at_every_step_ends_with_each_invoice_once():
    with scene.opened(AFORO_INVOICE_GRACE_S="0") as stage:
        struck = stage.arm(INVOICE_POINTS[0])
        stage.seed([{"body": {**TOKENS_PLAN, "charges": [FEE]}}])
        for following in [*INVOICE_POINTS[1:], None]:
            next_slot(stage)
            struck()
            if following is not None:
                struck = stage.arm(following)
        next_slot(stage)
        until(lambda: not unfinished(stage), "every invoice is issued and printed")

        numbers = stage.rows("SELECT number FROM billing_invoice ORDER BY number")
        [(periods,)] = stage.rows(
            "SELECT count(*) FROM billing_billingperiod WHERE state = 'finalised'"
        )
        [(last,)] = stage.rows("SELECT last FROM billing_invoicecounter")
        assert len(numbers) == last == periods >= 2
        stage.verify()


def next_slot(stage: Stage) -> None:
    """Let the worker close periods now, as in the next minute."""
    stage.rows("DELETE FROM core_jobslot RETURNING job")
    command = ["-m", "celery", "-A", "aforo.celery", "call", "billing.close_periods"]
    subprocess.run(
        [sys.executable, *command],
        cwd=harness.ROOT,
        env=harness.clean_env(AFORO_DATA_DIR=str(stage.instance.data_dir)),
        capture_output=True,
        check=True,
    )


def unfinished(stage: Stage) -> bool:
    """Say whether an ended period has no invoice yet, or an invoice no print."""
    [(periods, unprinted)] = stage.rows(
        "SELECT (SELECT count(*) FROM billing_billingperiod"
        "   WHERE end_at <= now() AND state <> 'finalised'),"
        " (SELECT count(*) FROM billing_invoice WHERE pdf_digest = '')"
    )
    return bool(periods or unprinted)


def test_an_event_that_makes_rating_fail_is_set_aside_and_billed_once_after_a_fix(
    stage: Stage,
):
    shop, neighbour = stage.shop(), stage.shop()
    names = ["good", "poison", "good too"]
    with stage.frozen("worker", all_of_it=True):
        stage.post(shop, [shop.event(name) for name in names])
        stage.post(neighbour, [neighbour.event("one")])
        set_tokens(stage, shop, "many")  # Valid JSON, and no number.

    listed = until(
        lambda: stage.rows(
            "SELECT e.event_id, u.reason FROM metering_unrateable u"
            " JOIN metering_usageevent e ON e.id = u.event_id"
            " WHERE u.customer_id = %s",
            shop.customer_id,
        ),
        "the event is set aside",
    )

    assert listed == [("poison", "quarantined")]
    stage.verify()
    assert stage.effects(neighbour) == once(1)
    assert stage.effects(shop) == Effects(
        events=3, entries=2, amount=2 * PRICE, pending=0
    )
    set_tokens(stage, shop, str(TOKENS))
    assert [replay(stage), replay(stage)] == ["(1, 0)", "(0, 0)"]
    stage.verify()
    assert stage.effects(shop) == once(3)


def set_tokens(stage: Stage, shop: Shop, text: str) -> None:
    """Change what is stored of the event `poison`."""
    stage.as_superuser(
        "UPDATE metering_usageevent SET body = jsonb_set(body,"
        f" '{{measurements,input_tokens}}', '\"{text}\"')"
        f" WHERE event_id = 'poison' AND customer_id = '{shop.customer_id}'"
    )


def replay(stage: Stage) -> str:
    """Rate what is listed again; return how many got a price and how many not."""
    answer = subprocess.run(
        [sys.executable, "-c", REPLAY],
        cwd=harness.ROOT,
        env=harness.clean_env(
            AFORO_DATA_DIR=str(stage.instance.data_dir),
            DJANGO_SETTINGS_MODULE="aforo.settings",
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


def test_a_changed_row_of_the_ledger_is_named_by_verify(stage: Stage):
    shop = stage.shop()
    with stage.frozen("worker", all_of_it=True):  # So that they make one batch.
        stage.post(shop, [shop.event(f"e{n}") for n in range(3)])
    until(lambda: stage.effects(shop) == once(3), "all are rated")
    stage.verify()
    [(middle, amount, batches)] = stage.rows(
        "SELECT (array_agg(id ORDER BY id))[2], max(amount), count(DISTINCT version)"
        " FROM billing_ledgerentry WHERE customer_id = %s",
        shop.customer_id,
    )
    assert batches == 1

    set_amount = "UPDATE billing_ledgerentry SET amount = {} WHERE id = '{}'"
    stage.as_superuser(set_amount.format(amount + Decimal("0.01"), middle))
    broken = stage.instance.manage("verify")
    stage.as_superuser(set_amount.format(amount, middle))

    assert broken.returncode == 1
    assert "BREAK I-4" in broken.stdout
    assert str(middle) in broken.stdout
    stage.verify()
