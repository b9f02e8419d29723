"""The boxes of an amendment: all that can be changed, and what is refused where."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

import pytest

from aforo.core.models import Role
from aforo.lib import clock
from billing import credentials
from billing.models import LedgerEntry
from catalog import products
from catalog.models import ProductType
from metering import pipeline, pool
from metering.background import background
from metering.models import EventVoid, UsageEvent
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
from tests.factories import Shop, store_event

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
    assert "What the corrected event costs us is not known: no rate" in words(seen)
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


def test_the_product_can_be_named_and_a_pending_event_is_amended(shop: Shop) -> None:
    other = products.create_product(
        tenant=shop.tenant,
        name="Other",
        code="other",
        type=ProductType.AGENTIC_API,
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
