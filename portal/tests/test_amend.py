"""Amending on the page of an event: seen first, typed, and done once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock, ids
from billing import invoicing, wallets
from billing.models import BillingPeriod, LedgerEntry
from metering import pool, voiding
from metering.background import background
from metering.models import EventVoid, Session, Unrateable, UsageEvent
from portal.tests.amend_kit import (
    assert_clean,
    boxes,
    change,
    confirm,
    preview,
    priced_shop,
    store,
    words,
)
from portal.tests.scene import event_path
from portal.tests.test_model_prices import sign_in
from tests.factories import Shop, make_shop

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_connections_left() -> Iterator[None]:
    """Close what the event loop holds, so that the database can be emptied."""
    yield
    background.run(pool.close())


@pytest.fixture
def shop() -> Shop:
    """A shop whose costs are known; input $3, output $15 and then $12 a million."""
    return priced_shop()


def test_what_it_changes_is_seen_before_and_done_when_it_is_typed(shop: Shop) -> None:
    wallets.top_up(
        customer=shop.customer, currency="USD", amount=Decimal(5), actor=shop.owner
    )
    event = store(shop)
    path = event_path(event)
    client = sign_in(shop, Role.OPERATIONS)
    assert f'href="{path}/amend"' in client.get(path).content.decode()
    sent = change(boxes(client, event), "input_tokens", "100")
    seen = preview(client, event, sent)
    assert seen.status_code == 200
    assert not EventVoid.objects.exists()
    assert UsageEvent.objects.count() == 1
    ((label, was, new),) = seen.context["changes"]
    assert (label, was, new) == ("input_tokens", "1000", "100")
    price, cost = seen.context["figures"]
    assert (price.was, price.new) == (Decimal("0.0045"), Decimal("0.0018"))
    assert (cost.was, cost.new) == (Decimal("0.0014"), Decimal("0.0005"))
    text = words(seen)
    assert f"{shop.customer.name} will owe $0.0027 less." in text
    assert "$0.0027 go back to the wallet." in text
    # The word has to be typed.
    form = {**sent, "do": "amend", "seen": seen.context["weighed"].digest}
    refused = client.post(f"{path}/amend", form)
    assert refused.status_code == 422
    assert "Type amend to go on." in words(refused)
    assert not EventVoid.objects.exists()
    done = confirm(client, event, sent, seen)
    void = EventVoid.objects.get()
    new_event = void.replaced_by
    assert new_event is not None
    assert done["Location"] == event_path(new_event)
    assert (void.reason, new_event.event_id) == ("a digit too many", "call-7~2")
    kept = (
        *("customer", "credential", "agent", "team", "product", "occurred_at"),
        *("correlation_id", "session_key", "request_id", "event_type", "tool_name"),
    )
    for name in kept:
        assert getattr(new_event, name) == getattr(event, name), name
    assert new_event.body["properties"] == event.body["properties"]
    entry = AuditEntry.objects.get(action="event.amended")
    assert (entry.reason, entry.actor is not None) == ("a digit too many", True)
    page = words(client.get(done["Location"]))
    assert "The event is amended." in page
    assert "Corrections" in page
    old = client.get(path)
    assert f"{path}/amend" not in old.content.decode()
    assert client.get(f"{path}/amend").status_code == 302
    assert confirm(client, event, sent, seen).status_code == 302
    assert EventVoid.objects.count() == 1
    session = Session.objects.get()
    assert (session.event_count, session.price) == (1, Decimal("0.0018"))
    assert_clean()


def test_a_period_with_an_invoice_keeps_it_and_the_next_one_has_the_rest(
    shop: Shop,
) -> None:
    start = clock.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    event = store(shop, at=start - dt.timedelta(days=3))
    with clock.travel(start + dt.timedelta(hours=2)):
        invoicing.close_periods(clock.now())
    with clock.travel(start + dt.timedelta(hours=4)):
        invoicing.close_periods(clock.now())
    closed = BillingPeriod.objects.get(
        customer=shop.customer,
        start_at__lt=event.occurred_at,
        end_at__gt=event.occurred_at,
    )
    assert closed.state == BillingPeriod.State.FINALISED
    client = sign_in(shop, Role.OPERATIONS)
    sent = change(boxes(client, event), "input_tokens", "2000")
    seen = preview(client, event, sent)
    assert f"The invoice of {closed.start_at:%B %Y} was issued and stays" in words(seen)
    assert "will owe $0.003 more." in words(seen)
    assert confirm(client, event, sent, seen).status_code == 302
    made = LedgerEntry.objects.exclude(version=1).filter(usage_period=closed)
    late = made.exclude(billing_period=closed)
    assert {entry.kind for entry in late} == {"reversal", "adjustment"}
    assert sum(entry.amount for entry in late) == Decimal("0.003")
    assert_clean()


def test_what_became_another_effect_meanwhile_is_shown_again(shop: Shop) -> None:
    event = store(shop)
    client = sign_in(shop, Role.OPERATIONS)
    sent = change(boxes(client, event), "output_tokens", "200")
    seen = preview(client, event, sent)
    # The cheaper tier is reached by somebody else's million.
    store(shop, event_id="big", measurements={"output_tokens": 1_000_000})
    again = confirm(client, event, sent, seen)
    assert again.status_code == 422
    assert "This is not what you saw" in words(again)
    assert not EventVoid.objects.exists()
    assert again.context["figures"][0].new == Decimal("0.003") + Decimal("0.0024")
    assert "Part of it: other events of the period cost" in words(again)
    # Other boxes are another effect too.
    other = change(sent, "output_tokens", "300")
    assert confirm(client, event, other, again).status_code == 422
    assert not EventVoid.objects.exists()
    assert confirm(client, event, sent, again).status_code == 302
    assert_clean()


def test_only_those_who_operate_amend_and_only_their_own(shop: Shop) -> None:
    event = store(shop)
    path = event_path(event)
    for role in (Role.VIEWER, Role.FINANCE, Role.PRODUCT_MANAGER):
        client = sign_in(shop, role)
        assert f"{path}/amend" not in client.get(path).content.decode()
        for answer in (client.get(f"{path}/amend"), client.post(f"{path}/amend")):
            assert answer.status_code == 403
    stranger = sign_in(make_shop(), Role.OWNER)
    assert stranger.get(f"{path}/amend").status_code == 404
    assert stranger.post(f"{path}/amend", {"reason": "x"}).status_code == 404
    assert stranger.get("/events/evt_nothing/amend").status_code == 404
    assert Client().get(f"{path}/amend").status_code == 302
    # Another seller's product is no choice.
    foreign = make_shop().product
    client = sign_in(shop, Role.OPERATIONS)
    sent = {**boxes(client, event), "product": str(foreign.pk), "reason": "x"}
    assert "product" in preview(client, event, sent).context["form"].errors


def test_an_event_without_a_price_gets_one_and_one_that_would_have_none_is_said(
    shop: Shop,
) -> None:
    event = store(shop, measurements={"tokans": 5})
    assert Unrateable.objects.get().reason == "unknown_metric"
    client = sign_in(shop, Role.OPERATIONS)
    sent = boxes(client, event)
    sent |= {"measurement-0-name": "input_tokens", "reason": "misspelt"}
    seen = preview(client, event, sent)
    price, _ = seen.context["figures"]
    assert (price.was, price.new) == (None, Decimal("0.000015"))
    confirm(client, event, sent, seen)
    assert not Unrateable.objects.filter(resolved_at=None).exists()
    new = EventVoid.objects.get().replaced_by
    assert new is not None
    sent = {**boxes(client, new), "measurement-0-name": "tokens?", "reason": "worse"}
    seen = preview(client, new, sent)
    text = words(seen)
    assert "The corrected event would have no price" in text
    assert "Define a metric with this field" in text
    assert seen.context["figures"][0].new is None
    confirm(client, new, sent, seen)
    assert Unrateable.objects.get(resolved_at=None).event.event_id == "call-7~3"
    assert_clean()


def test_an_event_that_is_voided_meanwhile_is_not_amended(shop: Shop) -> None:
    event = store(shop)
    client = sign_in(shop, Role.OPERATIONS)
    sent = change(boxes(client, event), "input_tokens", "1")
    seen = preview(client, event, sent)
    voiding.void(event, reason="by somebody else")
    answer = confirm(client, event, sent, seen)
    assert answer["Location"] == event_path(event)
    assert EventVoid.objects.get().replaced_by is None


def test_the_page_takes_the_same_statements_however_much_there_is(
    shop: Shop, django_assert_max_num_queries: Any
) -> None:
    event = store(shop, measurements={f"m{n}": 1 for n in range(40)})
    client = sign_in(shop, Role.OPERATIONS)
    path = f"{event_path(event)}/amend"
    client.get(path)
    with django_assert_max_num_queries(16):
        client.get(path)
    assert ids.parse_public("evt", path.split("/")[2]) == event.pk
