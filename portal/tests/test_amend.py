"""Amending on the page of an event: seen first, typed, done once; errors by field."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from aforo.core.models import AuditEntry, Role
from aforo.lib import clock, ids
from aforo.management.commands.verify import breaks
from billing import credentials, invoicing, wallets
from billing.models import BillingPeriod, LedgerEntry
from catalog import products
from metering import pipeline, pool, voiding
from metering.background import background
from metering.models import EventVoid, Session, Unrateable, UsageEvent
from portal.tests.scene import event_path
from portal.tests.test_model_prices import sign_in
from tests.factories import Shop, add_cost, make_shop, store_event

pytestmark = pytest.mark.django_db(transaction=True)
COSTS = {"input_uncached_tokens": "0.000001", "output_tokens": "0.000004"}


@pytest.fixture(autouse=True)
def _no_connections_left() -> Iterator[None]:
    """Close what the event loop holds, so that the database can be emptied."""
    yield
    background.run(pool.close())


@pytest.fixture
def shop() -> Shop:
    """A shop whose costs are known; input $3, output $15 and then $12 a million."""
    made = make_shop()
    for unit, amount in COSTS.items():
        add_cost(made.tenant, model="gpt-4o", unit=unit, amount=amount)
    return made


def store(shop: Shop, **more: Any) -> UsageEvent:
    """Store and rate a call of 1,000 tokens in and 100 out: $0.0045."""
    values: dict[str, Any] = {
        "event_id": "call-7",
        "correlation_id": "work-1",
        "session_key": "run-1",
        "request_id": "req-1",
        "properties": {"model": "gpt-4o", "region": "eu"},
        **more,
    }
    measured = values.pop("measurements", {"input_tokens": 1000, "output_tokens": 100})
    event = store_event(shop, measured, **values)
    pipeline.rate()
    return event


def boxes(client: Client, event: UsageEvent) -> dict[str, str]:
    """Return what the form has, as a browser would send it."""
    form = client.get(f"{event_path(event)}/amend").context["form"]
    found = {name: form[name].value() for name in form.fields}
    return {name: "" if text is None else str(text) for name, text in found.items()}


def change(sent: dict[str, str], name: str, value: str) -> dict[str, str]:
    """Return the boxes with another value of a measurement or property."""
    key = next(k for k, text in sent.items() if k.endswith("-name") and text == name)
    return {**sent, key.replace("-name", "-value"): value, "reason": "a digit too many"}


def preview(client: Client, event: UsageEvent, sent: dict[str, str]) -> Any:
    """Ask what it changes."""
    return client.post(f"{event_path(event)}/amend", {**sent, "do": "preview"})


def confirm(client: Client, event: UsageEvent, sent: dict[str, str], seen: Any) -> Any:
    """Confirm what was seen."""
    digest = seen.context["weighed"].digest
    form = {**sent, "do": "amend", "typed": "amend", "seen": digest}
    return client.post(f"{event_path(event)}/amend", form)


def words(page: Any) -> str:
    """Return the text of a page."""
    return re.sub(r"\s+", " ", strip_tags(page.content.decode()))


def assert_clean() -> None:
    """Every invariant of the data holds."""
    assert {code: found for code, found in breaks().items() if found} == {}


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
    kept = ("customer", "credential", "agent", "team", "product", "occurred_at")
    kept += ("correlation_id", "session_key", "request_id", "event_type", "tool_name")
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


def test_everything_that_can_be_changed_is_changed(shop: Shop) -> None:
    event = store(shop)
    client = sign_in(shop, Role.OWNER)
    sent = boxes(client, event)
    at = clock.now() - dt.timedelta(days=1)
    free = next(k for k in sent if k.startswith("measurement-") and not sent[k])
    sent = change(sent, "output_tokens", "")
    sent = change(sent, "region", "us")
    sent |= {
        "event_type": "mcp.tool_invoked",
        "tool": "search",
        "model": "gpt-4o-mini",
        "occurred_at": at.isoformat(),
        free: "tool_calls",
        free.replace("-name", "-value"): "2",
    }
    seen = preview(client, event, sent)
    labels = [one.label for one in seen.context["changes"]]
    assert labels == [
        *("Type", "Happened at", "Tool", "Model"),
        *("output_tokens", "tool_calls", "region"),
    ]
    assert confirm(client, event, sent, seen).status_code == 302
    new = EventVoid.objects.get().replaced_by
    assert new is not None
    assert (new.event_type, new.tool_name) == ("mcp.tool_invoked", "search")
    assert new.occurred_at == at
    assert new.body["measurements"] == {"input_tokens": "1000", "tool_calls": "2"}
    assert new.body["properties"] == {
        "model": "gpt-4o-mini",
        "tool": "search",
        "region": "us",
    }
    amount = LedgerEntry.objects.get(event_id=new.pk, kind="usage").amount
    assert amount == Decimal("0.003") + Decimal("0.02")
    # Nobody knows what this model costs, and that is said.
    assert "unknown" in words(client.get(event_path(new)))
    assert_clean()


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({}, "__all__", "Nothing is changed yet"),
        ({"reason": ""}, "reason", "This field is required"),
        ({"event_type": ""}, "event_type", "This field is required"),
        ({"occurred_at": "yesterday"}, "occurred_at", "Send RFC 3339"),
        ({"occurred_at": "2026-02-30T00:00:00Z"}, "occurred_at", "no such time"),
        ({"occurred_at": "2020-01-01T00:00:00Z"}, "occurred_at", "too long ago"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "occurred_at", "minutes ahead"),
        ({"product": "x"}, "product", "not a valid UUID"),
        ({"measurement-0-value": "many"}, "measurement-0-value", "is not a number"),
        ({"measurement-0-value": "-1"}, "measurement-0-value", "below zero"),
        ({"measurement-0-value": "1.5"}, "measurement-0-value", "whole numbers"),
        ({"measurement-0-value": "1e30"}, "measurement-0-value", "out of range"),
        ({"measurement-0-name": ""}, "measurement-0-name", "the value of"),
        ({"measurement-1-name": "input_tokens"}, "measurement-1-name", "comes twice"),
        (
            {"measurement-0-value": "", "measurement-1-value": ""},
            "__all__",
            "measurements are missing",
        ),
        (
            {"measurement-2-name": "sk_live_x\ty", "measurement-2-value": "1"},
            "__all__",
            "control characters",
        ),
        (
            {"property-1-name": "model", "property-1-value": "x"},
            "property-1-name",
            "a box of its own",
        ),
        ({"model": "m" * 121}, "model", "at most 120"),
    ],
)
def test_what_is_wrong_is_said_at_its_box(
    shop: Shop, given: dict[str, str], field: str, said: str
) -> None:
    event = store(shop)
    client = sign_in(shop, Role.OPERATIONS)
    sent = {**boxes(client, event), "reason": "wrong", **given}
    answer = preview(client, event, sent)
    assert answer.status_code == 422
    assert said in str(answer.context["form"].errors[field])
    assert "weighed" not in answer.context
    assert "problem" in words(answer)
    for name, text in given.items():
        assert answer.context["form"][name].value() == text
    assert UsageEvent.objects.count() == 1


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


def test_a_usage_block_counts_no_more_where_figures_are_changed(shop: Shop) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    reading = {"api": "openai.chat", "provider": "openai"}
    body = {"usage": usage, "reading": reading}
    first = store(shop, event_id="one", body=body)
    second = store(shop, event_id="two", body=body)
    client = sign_in(shop, Role.OPERATIONS)
    sent = change(boxes(client, first), "input_tokens", "900")
    seen = preview(client, first, sent)
    assert "usage block is left out" in words(seen)
    confirm(client, first, sent, seen)
    new = EventVoid.objects.get(event=first).replaced_by
    assert new is not None
    assert "usage" not in new.body
    assert new.body["measurements"]["input_tokens"] == "900"
    sent = {**boxes(client, second), "model": "gpt-4o-mini", "reason": "the other"}
    seen = preview(client, second, sent)
    assert "usage block is left out" not in words(seen)
    confirm(client, second, sent, seen)
    new = EventVoid.objects.get(event=second).replaced_by
    assert new is not None
    assert new.body["usage"] == usage
    assert new.body["measurements"] == second.body["measurements"]
    assert new.body["properties"]["model"] == "gpt-4o-mini"


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


def test_the_product_can_be_named_and_a_pending_event_is_amended(shop: Shop) -> None:
    other = products.create_product(
        tenant=shop.tenant,
        name="Other",
        code="other",
        type=shop.product.type,
        actor=None,
    )
    event = store_event(
        shop, {"input_tokens": 10}, credential=None, product=other, event_id="call-7"
    )
    client = sign_in(shop, Role.OPERATIONS)
    sent = {**boxes(client, event), "product": str(shop.product.pk), "reason": "wrong"}
    seen = preview(client, event, sent)
    assert [tuple(one) for one in seen.context["changes"]] == [
        ("Product", "Other", "Completions")
    ]
    price, _ = seen.context["figures"]
    assert (price.was, price.why_not_was) == (None, "not rated yet")
    confirm(client, event, sent, seen)
    void = EventVoid.objects.get()
    assert void.was == EventVoid.Was.PENDING
    assert void.replaced_by is not None
    assert void.replaced_by.product == shop.product
    pipeline.rate()
    assert LedgerEntry.objects.filter(event_id__isnull=False).count() == 1
    assert_clean()


def test_a_time_after_the_end_of_the_credential_is_refused(shop: Shop) -> None:
    event = store(shop, at=clock.now() - dt.timedelta(days=2))
    with clock.travel(clock.now() - dt.timedelta(days=1)):
        credentials.revoke(credential=shop.credential, actor=shop.owner)
    client = sign_in(shop, Role.OPERATIONS)
    sent = {**boxes(client, event), "reason": "wrong day"}
    sent["occurred_at"] = clock.now().isoformat()
    errors = preview(client, event, sent).context["form"].errors
    assert "credential had ended" in str(errors["occurred_at"])
    # Figures of its own time can still be put right.
    sent = change(boxes(client, event), "input_tokens", "1")
    seen = preview(client, event, sent)
    assert confirm(client, event, sent, seen).status_code == 302
    new = EventVoid.objects.get().replaced_by
    assert new is not None
    assert new.credential == shop.credential


def test_an_event_that_is_voided_meanwhile_is_not_amended(shop: Shop) -> None:
    event = store(shop)
    client = sign_in(shop, Role.OPERATIONS)
    sent = change(boxes(client, event), "input_tokens", "1")
    seen = preview(client, event, sent)
    voiding.void(event, reason="by somebody else")
    answer = confirm(client, event, sent, seen)
    assert answer["Location"] == event_path(event)
    assert EventVoid.objects.get().replaced_by is None


def test_there_are_always_free_rows_and_lines_are_kept(shop: Shop) -> None:
    event = store(shop, properties={"model": "gpt-4o", "note": "two\nlines"})
    client = sign_in(shop, Role.OPERATIONS)
    form = client.get(f"{event_path(event)}/amend").context["form"]
    assert len(form.measurement_rows()) == 5
    sent = boxes(client, event)
    for place in range(2, 5):
        sent[f"measurement-{place}-name"] = f"m{place}"
        sent[f"measurement-{place}-value"] = str(place)
    sent |= {"reason": "more", "property-0-value": "two\r\nlines"}
    seen = preview(client, event, sent)
    assert len(seen.context["form"].measurement_rows()) == 8
    assert [one.label for one in seen.context["changes"]] == ["m2", "m3", "m4"]
    assert "<textarea" in seen.content.decode()


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
