"""Minimum and maximum spend and discounts of a plan, from usage to the invoice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from aforo.lib import clock
from billing import (
    invariants,
    invoicing,
    safety,
    subscriptions,
    supposed,
)
from billing.models import (
    BillingPeriod,
    CustomerBooks,
    Invoice,
    LedgerEntry,
    UsageTotal,
)
from billing.preview import preview
from billing.tests.cast import (
    DAY,
    DECEMBER,
    NOVEMBER,
    OCTOBER,
    Cast,
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

pytestmark = pytest.mark.django_db
TEN = {"name": "Launch offer", "percent": "10"}


def terms(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return plan JSON with plan-level terms."""
    return {**body, **more}


def calls(count: int, at: Any = OCTOBER + DAY) -> list[Any]:
    """Return so many calls at an instant."""
    return [event(at) for _ in range(count)]


def shown(invoice: Invoice) -> list[tuple[str, Decimal]]:
    """Return an invoice's lines by name and amount."""
    return [(line.name, line.amount) for line in invoice.lines.order_by("position")]


def assert_clean() -> None:
    """Hold the laws of the books, of wallets too."""
    assert [*breaks(), *invariants.wallets_hold()] == []


def change(subscription: Any, cast: Cast, body: Any, at: Any, *, prorate: bool) -> None:
    """Change the plan at an instant."""
    with clock.travel(at):
        subscriptions.change_plan(
            subscription=subscription,
            plan_version=make_version(cast, body, prorate=prorate),
            at=at,
            actor=cast.owner,
        )


def test_a_discount_and_a_minimum_are_lines_of_their_own_after_the_charges():
    cast = make_cast()
    subscribe(cast, terms(with_fee("200"), discounts=[TEN], minimum="500"))
    use(cast, calls(500))
    (invoice,) = close_month()
    assert shown(invoice) == [
        ("Monthly fee", Decimal(200)),
        ("Calls", Decimal(5)),
        ("Launch offer", Decimal("-20.50")),
        ("Minimum spend", Decimal("315.50")),
    ]
    assert invoice.total == 500
    *_, discount, minimum = invoice.lines.order_by("position")
    assert [step["label"] for step in discount.steps] == ["10 % of $205.00"]
    assert [step["label"] for step in minimum.steps] == [
        "minimum spend $500.00, $184.50 used"
    ]
    assert_clean()


def test_a_maximum_caps_all_charges_together():
    cast = make_cast()
    subscribe(cast, terms(with_fee("200"), maximum="203"))
    use(cast, calls(500))
    (invoice,) = close_month()
    assert shown(invoice)[2:] == [("Maximum spend", Decimal(-2))]
    assert invoice.total == 203
    assert_clean()


def test_nothing_is_posted_while_the_period_lasts():
    cast = make_cast()
    subscribe(cast, terms(per_call(), minimum="500"))
    use(cast, calls(3))
    assert LedgerEntry.objects.filter(event_id=None).count() == 0
    made = preview(customer=cast.customer, currency="USD", now=OCTOBER + DAY)
    assert made is not None
    assert [(line.name, line.amount) for line in made.lines] == [
        ("Calls", Decimal("0.03")),
        ("Minimum spend", Decimal("499.97")),
    ]
    assert LedgerEntry.objects.filter(event_id=None).count() == 0


def test_a_minimum_is_due_without_any_usage():
    cast = make_cast()
    subscribe(cast, terms(per_call(), minimum="500"))
    (invoice,) = close_month()
    assert shown(invoice) == [("Minimum spend", Decimal(500))]
    assert_clean()


def test_a_discount_holds_for_periods_that_start_within_its_dates():
    cast = make_cast()
    dated = {**TEN, "from": "2026-11-01", "until": "2026-12-01"}
    subscribe(cast, terms(with_fee("200"), discounts=[dated]))
    totals = [close_month(end)[0].total for end in (NOVEMBER, DECEMBER)]
    assert totals == [200, 180]


def test_the_day_is_that_of_the_customers_zone():
    cast = make_cast(timezone="America/Los_Angeles")
    dated = {**TEN, "from": "2026-10-01"}
    start = OCTOBER + DAY / 24 * 7
    subscribe(cast, terms(with_fee("200"), discounts=[dated]), at=start)
    end = NOVEMBER + DAY / 24 * 7
    (invoice,) = close_month(end)
    assert invoice.total == 180


def test_a_partial_period_has_its_days_share_when_the_plan_prorates():
    cast = make_cast()
    half = terms(
        with_fee("31"), minimum="62", discounts=[{"name": "Rebate", "amount": "15.5"}]
    )
    subscribe(cast, half, at=OCTOBER + DAY * 21, prorate=True)
    (invoice,) = close_month()
    assert shown(invoice) == [
        ("Monthly fee", Decimal(10)),
        ("Rebate", Decimal(-5)),
        ("Minimum spend", Decimal(15)),
    ]
    assert_clean()


def test_two_plans_in_one_period_have_each_its_own_terms():
    cast = make_cast()
    contract = subscribe(
        cast, terms(per_call("1"), discounts=[TEN], minimum="31"), prorate=True
    )
    use(cast, calls(20))
    changed = OCTOBER + DAY * 21
    new = terms(per_call("1"), discounts=[{"name": "Other", "percent": "50"}])
    change(contract, cast, new, changed, prorate=True)
    use(cast, calls(6, changed + DAY))
    (invoice,) = close_month()
    assert shown(invoice) == [
        ("Calls", Decimal(26)),
        ("Launch offer", Decimal(-2)),
        ("Other", Decimal(-3)),
        # 31 for 21 of 31 days: 21, of which 18 are used.
        ("Minimum spend", Decimal(3)),
    ]
    assert_clean()


def test_without_proration_the_last_plan_sets_minimum_and_amounts():
    cast = make_cast()
    rebate = {"name": "Rebate", "amount": "5"}
    old = terms(per_call("1"), discounts=[rebate, TEN], minimum="100", maximum="15")
    contract = subscribe(cast, {**old, "minimum": "12"})
    use(cast, calls(20))
    changed = OCTOBER + DAY * 21
    new = terms(per_call("1"), discounts=[rebate], minimum="4")
    change(contract, cast, new, changed, prorate=False)
    use(cast, calls(6, changed + DAY))
    (invoice,) = close_month()
    assert shown(invoice) == [
        ("Calls", Decimal(26)),
        ("Launch offer", Decimal(-2)),
        ("Rebate", Decimal(-5)),
        ("Maximum spend", Decimal(-3)),
        ("Minimum spend", Decimal(3)),
    ]
    assert invoice.total == 15 + 4
    assert_clean()


def test_every_contract_of_a_customer_has_its_own_terms():
    cast = make_cast()
    subscribe(cast, terms(with_fee("200"), minimum="300"))
    other = make_cast(tenant=cast.tenant)
    other.customer = cast.customer
    subscribe(other, terms(with_fee("100"), discounts=[TEN]))
    (invoice,) = close_month()
    assert shown(invoice) == [
        ("Monthly fee", Decimal(200)),
        ("Minimum spend", Decimal(100)),
        ("Monthly fee", Decimal(100)),
        ("Launch offer", Decimal(-10)),
    ]
    assert_clean()


def test_late_usage_has_the_terms_of_its_own_month():
    cast = make_cast()
    subscribe(cast, terms(per_call("1"), discounts=[TEN], minimum="18", maximum="27"))
    use(cast, calls(10))
    (october,) = close_month()
    assert shown(october)[1:] == [
        ("Launch offer", Decimal(-1)),
        ("Minimum spend", Decimal(9)),
    ]
    use(cast, calls(30), now=NOVEMBER + DAY)
    use(cast, calls(30, NOVEMBER + DAY))
    (november,) = close_month(DECEMBER)
    late = "late usage of October 2026"
    assert shown(november) == [
        ("Calls", Decimal(30)),
        ("Launch offer", Decimal(-3)),
        (f"Calls, {late}", Decimal(30)),
        (f"Launch offer, {late}", Decimal(-3)),
        (f"Maximum spend, {late}", Decimal(-9)),
        (f"Minimum spend, {late}", Decimal(-9)),
    ]
    # Ten percent off 40 is 36, at most 27; 18 were billed before.
    assert october.total + november.total == 27 + 27
    assert_clean()


def test_a_second_late_batch_adds_only_what_it_changes():
    cast = make_cast()
    subscribe(cast, terms(per_call("1"), minimum="18"))
    use(cast, calls(10))
    totals = [close_month()[0].total]
    for start, end in ((NOVEMBER, DECEMBER), (DECEMBER, DECEMBER + DAY * 31)):
        use(cast, calls(5), now=start + DAY)
        (invoice,) = close_month(end)
        totals.append(invoice.total)
    # Each month has its own minimum of 18; 20 calls of October are two beyond it.
    assert totals == [18, 18, 18 + 2]
    assert_clean()


def test_a_closed_period_is_made_again_without_late_usage():
    cast = make_cast()
    subscribe(cast, terms(with_fee("20"), discounts=[TEN], minimum="30"))
    use(cast, calls(333))
    (invoice,) = close_month()
    use(cast, calls(50), now=NOVEMBER + DAY)
    close_month(DECEMBER)
    period = BillingPeriod.objects.get(start_at=OCTOBER)
    (contract,) = supposed.contracts(period, cast.product.pk)
    again = supposed.billed(
        period, currency="USD", subscriptions={contract.subscription_id}
    )
    assert [(li.charge_key, li.amount) for li in again] == [
        (line.charge_key, line.amount) for line in invoice.lines.all()
    ]
    steps = {line.charge_key: line.steps for line in invoice.lines.all()}
    for line in again:
        assert line.charge_key == "calls" or line.steps == steps[line.charge_key]


def test_fixed_parts_of_the_terms_count_as_recurring_and_the_rest_does_not():
    cast = make_cast()
    subscribe(cast, terms(with_fee("200"), discounts=[TEN]))
    use(cast, calls(500))
    close_month()
    row = UsageTotal.objects.get(period__start_at=OCTOBER)
    assert (row.spend, row.recurring) == (5, Decimal(200) - Decimal("20.50"))
    kinds = LedgerEntry.objects.filter(
        basis__charge_keys=["plan:discount:launch-offer"]
    )
    assert {(e.kind, e.amount) for e in kinds} == {
        ("recurring", Decimal(-20)),
        ("adjustment", Decimal("-0.50")),
    }
    assert_clean()


def test_rounding_of_small_lines_never_makes_a_total_negative():
    cast = make_cast()
    body = per_call("0.004")
    first = body["charges"][0]
    body["charges"] = [
        {**first, "key": f"c{n}", "filter": {"kind": str(n)}} for n in range(3)
    ]
    subscribe(cast, terms(body, discounts=[{"name": "All", "percent": "100"}]))
    use(cast, [event(OCTOBER + DAY, properties={"kind": str(n)}) for n in range(3)])
    (invoice,) = close_month()
    assert invoice.total == 0
    assert_clean()


def test_a_maximum_is_printed_to_the_cent():
    cast = make_cast()
    body = per_call("33.335")
    first = body["charges"][0]
    body["charges"] = [
        {**first, "key": f"c{n}", "filter": {"kind": str(n)}} for n in range(3)
    ]
    subscribe(cast, terms(body, maximum="100"))
    use(cast, [event(OCTOBER + DAY, properties={"kind": str(n)}) for n in range(3)])
    (invoice,) = close_month()
    assert (invoice.total, shown(invoice)[-1][1]) == (100, Decimal("-0.02"))
    assert_clean()


def test_terms_are_no_reason_to_hold_an_invoice_back():
    cast = make_cast()
    subscribe(cast, terms(per_call("1"), minimum="1000", discounts=[TEN]))
    ends = [NOVEMBER, DECEMBER, DECEMBER + DAY * 31, DECEMBER + DAY * 62]
    start = OCTOBER
    for end, used in zip(ends, (1100, 1100, 1100, 900), strict=True):
        use(cast, calls(used, start + DAY), now=start + DAY)
        (invoice,) = close_month(end)
        assert invoice.state == Invoice.State.FINALISED
        start = end
    assert safety.MEDIAN_COUNT_MIN <= 3
    assert CustomerBooks.objects.get(pk=cast.customer.pk).parked_at is None
    assert_clean()


def test_a_run_that_is_repeated_posts_the_terms_once():
    cast = make_cast()
    subscribe(cast, terms(per_call("1"), minimum="10"))
    use(cast, calls(3))
    close_month()
    invoicing.close_periods(NOVEMBER + DAY)
    entries = LedgerEntry.objects.filter(basis__charge_keys__contains=["plan:minimum"])
    assert [(e.kind, e.amount) for e in entries] == [("recurring", Decimal(7))]
