"""Closing periods: each step once, in order, held back when something looks wrong."""

from __future__ import annotations

import datetime as dt
import json
import random
import threading
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, connections, transaction

from aforo.core.models import AuditEntry, Notification, OutboxMessage
from aforo.lib import clock, ids
from billing import books, hooks, invoicing, subscriptions, wallets
from billing.ledger import Entry
from billing.models import (
    BillingPeriod,
    CustomerBooks,
    Invoice,
    InvoiceCounter,
    LedgerEntry,
)
from billing.tests.cast import (
    DAY,
    DECEMBER,
    HOUR,
    NOVEMBER,
    OCTOBER,
    breaks,
    close_month,
    event,
    make_cast,
    make_version,
    per_call,
    subscribe,
    use,
    with_fee,
)
from catalog.pricing import NO_STEPS

pytestmark = pytest.mark.django_db
State = BillingPeriod.State


def october() -> BillingPeriod:
    """Return the one period of October."""
    return BillingPeriod.objects.get(start_at=OCTOBER)


def test_a_period_stays_open_until_its_last_instant():
    cast = make_cast()
    subscribe(cast, per_call())
    invoicing.close_periods(NOVEMBER - dt.timedelta(microseconds=1))
    assert october().state == State.OPEN
    invoicing.close_periods(NOVEMBER)
    assert october().state == State.CLOSING


def test_a_closing_period_has_a_draft_without_a_number():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    invoicing.close_periods(NOVEMBER)
    draft = Invoice.objects.get()
    assert (draft.state, draft.number, draft.total) == ("draft", None, 200)


def test_usage_that_arrives_in_the_grace_joins_the_invoice():
    cast = make_cast()
    subscribe(cast, per_call())
    use(cast, [event(OCTOBER)])
    invoicing.close_periods(NOVEMBER)
    use(cast, [event(NOVEMBER - HOUR)], now=NOVEMBER)
    invoicing.close_periods(NOVEMBER + HOUR - dt.timedelta(seconds=1))
    assert october().state == State.CLOSING
    invoicing.close_periods(NOVEMBER + HOUR)
    assert Invoice.objects.get().total == Decimal("0.02")
    assert breaks() == []


def test_an_invoice_waits_for_usage_received_before_the_cut_off():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    waiting = {cast.customer.pk}
    asked = []

    def check(customer_ids, instant):
        asked.append(instant)
        return waiting & set(customer_ids)

    hooks.register_pending_check(check)
    assert close_month() != []
    assert october().state == State.CLOSING
    assert asked[-1] == NOVEMBER + HOUR
    waiting.clear()
    invoicing.close_periods(NOVEMBER + HOUR * 2)
    assert october().state == State.FINALISED
    hooks.forget_pending_check(check)


def test_late_usage_is_an_adjustment_that_names_its_month():
    cast = make_cast()
    subscribe(cast, per_call())
    use(cast, [event(OCTOBER)])
    close_month()
    use(cast, [event(OCTOBER + DAY)], now=NOVEMBER + DAY)
    use(cast, [event(NOVEMBER + DAY)], now=NOVEMBER + DAY)
    (invoice,) = close_month(DECEMBER)
    own, late = invoice.lines.all()
    assert (own.name, own.usage_period) == ("Calls", None)
    assert (late.name, late.usage_period) == (
        "Calls, late usage of October 2026",
        october(),
    )
    assert Invoice.objects.get(period=october()).total == Decimal("0.01")
    assert breaks() == []


def test_a_period_without_entries_is_finalised_without_an_invoice():
    cast = make_cast()
    subscribe(cast, per_call())
    assert close_month() == []
    assert october().state == State.FINALISED


def test_a_run_after_a_long_standstill_catches_up_month_by_month():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    later = OCTOBER + DAY * 130
    invoicing.close_periods(later)
    invoicing.close_periods(later + HOUR)
    numbers = Invoice.objects.order_by("period__start_at").values_list(
        "number", "total"
    )
    assert list(numbers) == [(f"INV-2027-000{n}", Decimal(200)) for n in range(1, 5)]
    assert LedgerEntry.objects.filter(kind="recurring").count() == 5
    assert breaks() == []


def test_each_currency_has_its_own_invoice():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    other = make_cast(tenant=cast.tenant)
    version = make_version(other, per_call("10.5", currency="JPY"))
    with clock.travel(OCTOBER):
        subscriptions.subscribe(
            customer=cast.customer,
            product=other.product,
            plan_version=version,
            start_at=OCTOBER,
            actor=None,
        )
    other.customer, other.agent = cast.customer, cast.agent
    use(other, [event(OCTOBER + DAY) for _ in range(3)])
    totals = {i.currency: i.total for i in close_month()}
    assert totals == {"USD": Decimal("200.00"), "JPY": Decimal(32)}
    assert breaks() == []


def test_a_negative_total_parks_the_customer_and_says_so_once():
    cast = make_cast()
    subscribe(cast, per_call())
    _credit_an_old_mistake(cast)
    assert close_month() == [Invoice.objects.get(state="draft")]
    invoicing.close_periods(NOVEMBER + HOUR * 2)
    own = CustomerBooks.objects.get(pk=cast.customer.pk)
    assert own.parked_reason == "The total is negative: -5 USD."
    notice = Notification.objects.get(kind="invoice.parked", resolved_at=None)
    assert "held back" in notice.text


def test_a_person_lets_a_parked_invoice_pass():
    cast = make_cast()
    subscribe(cast, per_call())
    _credit_an_old_mistake(cast)
    close_month()
    (invoice,) = invoicing.release(
        period=october(), reviewed_by=cast.owner, now=NOVEMBER + HOUR * 3
    )
    assert invoice.due == -5
    assert AuditEntry.objects.get(action="invoice.issued").actor == cast.owner
    assert CustomerBooks.objects.get(pk=cast.customer.pk).parked_at is None
    assert not Notification.objects.filter(resolved_at=None).exists()
    assert breaks() == []


def _credit_an_old_mistake(cast) -> None:
    """Append −5 for the calls of October."""
    use(cast, [event(OCTOBER + DAY)])
    first = LedgerEntry.objects.get()
    fields = {
        name: getattr(first, name)
        for name in Entry._fields
        if name
        not in {"id", "event_id", "kind", "amount", "amounts", "quantities", "steps"}
    }
    with books.transaction(cast.customer.pk) as posting:
        posting.append(
            Entry(
                id=ids.new_id(),
                kind="adjustment",
                amount=Decimal("-5.01"),
                amounts=[Decimal("-5.01")],
                quantities=[Decimal(0)],
                steps=[NO_STEPS],
                **fields,
            )
        )


def test_a_line_far_above_its_median_waits_for_a_person():
    cast = make_cast()
    subscribe(cast, per_call(), at=OCTOBER - DAY * 92)
    months = [OCTOBER - DAY * 92, OCTOBER - DAY * 61, OCTOBER - DAY * 30]
    for start, end in zip(months, [*months[1:], OCTOBER], strict=True):
        use(cast, [event(start + DAY)])
        assert len(close_month(end)) == 1
    use(cast, [event(OCTOBER + DAY) for _ in range(11)])
    close_month()
    own = CustomerBooks.objects.get(pk=cast.customer.pk)
    assert own.parked_reason == ("Calls is 0.11 USD; the median of 3 invoices is 0.01.")


def test_one_customers_fault_stops_nobody_else():
    broken, fine = make_cast(), make_cast()
    subscribe(broken, with_fee("200"))
    subscribe(fine, with_fee("200"))
    CustomerBooks.objects.filter(pk=broken.customer.pk).delete()
    close_month()
    assert Invoice.objects.get(state="finalised").customer == fine.customer
    assert Notification.objects.get(kind="invoice.failed").tenant == broken.tenant


def test_an_issued_invoice_never_changes():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    (invoice,) = close_month()
    # Else TRUNCATE is refused for what this transaction still has to check.
    connection.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
    for statement in (
        "UPDATE billing_invoice SET total = 1",
        "UPDATE billing_invoiceline SET amount = 1",
        "DELETE FROM billing_invoiceline",
        "TRUNCATE billing_invoice CASCADE",
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            connection.cursor().execute(statement)
    assert invoice.pdf_digest


def test_an_invoice_is_told_to_the_world_with_the_books():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    (invoice,) = close_month()
    message = OutboxMessage.objects.get(messages__contains="aforo.invoices")
    (told,) = json.loads(message.messages)["aforo.invoices"]
    assert (told["number"], told["total"]) == (invoice.number, "200")


def test_the_number_has_the_year_of_the_sellers_zone():
    cast = make_cast()
    cast.tenant.timezone = "Pacific/Auckland"
    cast.tenant.invoice_prefix = "AC"
    cast.tenant.save()
    subscribe(cast, with_fee("200"), at=DECEMBER)
    end = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    (invoice,) = close_month(end)
    assert invoice.number == "AC-2027-0001"
    assert str(invoice.due_on) == "2027-01-31"


@pytest.mark.django_db(transaction=True)
def test_runs_at_the_same_time_issue_one_invoice():
    cast = make_cast()
    subscribe(cast, with_fee("200"))
    wallets.top_up(
        customer=cast.customer, currency="USD", amount=Decimal(5), actor=None
    )
    use(cast, [event(OCTOBER + DAY) for _ in range(7)])
    _at_once(lambda: invoicing.close_periods(NOVEMBER))
    _at_once(lambda: invoicing.close_periods(NOVEMBER + HOUR))
    assert Invoice.objects.get().number == "INV-2026-0001"
    assert LedgerEntry.objects.filter(kind="recurring").count() == 2
    assert breaks() == []


def _at_once(work, count: int = 4) -> None:
    """Run the work in threads that start together."""
    gate = threading.Barrier(count)
    faults: list[BaseException] = []

    def run() -> None:
        gate.wait()
        try:
            work()
        except BaseException as fault:
            faults.append(fault)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


class Rollback(Exception):
    """What a transaction that is given up raises."""


@pytest.mark.django_db(transaction=True)
def test_numbers_have_no_gaps_although_one_in_five_transactions_is_given_up():
    first = make_cast()
    casts = [first, *(make_cast(tenant=first.tenant) for _ in range(11))]
    for cast in casts:
        subscribe(cast, with_fee("200"))
    invoicing.close_periods(NOVEMBER)
    waiting = list(BillingPeriod.objects.filter(state=State.CLOSING))
    dice = random.Random(7)
    lock = threading.Lock()
    given_up = []

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                period = waiting.pop()
                fails = dice.random() < 0.2
            try:
                with transaction.atomic():
                    invoicing.finalise(period.pk, now=NOVEMBER + HOUR)
                    if fails:
                        raise Rollback
            except Rollback:
                with lock:
                    waiting.append(period)
                    given_up.append(period)

    _at_once(work)
    numbers = sorted(str(invoice) for invoice in Invoice.objects.all())
    assert numbers == [f"INV-2026-{n:04}" for n in range(1, 13)]
    assert InvoiceCounter.objects.get().last == 12
    assert given_up
    assert breaks() == []
